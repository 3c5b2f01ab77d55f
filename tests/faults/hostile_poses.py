"""R15 and R16: how many faces there are, and parameters that no face has."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import projection, visualization
from pifa_jax.inference import Aligner
from pifa_jax.learning import network
from pifa_jax.types import unflatten_params
from tests.faults.tally import Scale, Tally
from tests.toy_model import TOY_CONFIG, make_toy_model

_SIZE = 16
_AT_ONCE = 50
# Around those that are compiled: 1, 8 and 16.
_COUNTS = (0, 1, 7, 9, 16, 17, 100)


def _kinds(rng, num_identity, num_expression):
  """Endless (name, P, whether all vertices are one point)."""
  for number in itertools.count():
    camera = 0.08 * rng.normal(size=(2, 4))
    camera[:, 3] = rng.uniform(0, _SIZE, 2)
    coeffs = rng.normal(size=num_identity + num_expression)
    name = ('empty', 'outside', 'zero', 'one_point', 'behind', 'degenerate', 'far')[
      number % 7
    ]
    if name == 'empty':  # a face of less than a pixel
      camera[:, :3] *= 10.0 ** rng.uniform(-8, -3)
    elif name == 'outside':
      camera[:, 3] += _SIZE * rng.choice([-40, 40], 2)
    elif name == 'zero':
      camera[:, :3] = 0
    elif name == 'behind':  # all vertices near the mask's centre face away
      camera[:, :3] = 0.08 * np.array([[-1.0, 0, 0], [0, -1, 0]])
    elif name == 'degenerate':
      camera[1, :3] = camera[0, :3] * rng.choice([1.0, -1.0, 0.0])
    elif name == 'far':
      camera[:, 3] = 1e6 * rng.choice([-1, 1], 2)
      coeffs *= 10.0 ** rng.uniform(0, 6)
    yield name, np.concatenate([camera.ravel(), coeffs]), name == 'one_point'


def gradients(scale: Scale, render=visualization.visualize) -> Tally:
  """R16: value and gradient of V, landmarks and visibility at hostile P.

  Args:
    scale: 140 parameters, or 1,001.
    render: what draws V.

  Returns:
    The counts; identical = all of them are finite.
  """
  model = make_toy_model()
  point = model.replace(
    mean_shape=0 * model.mean_shape,
    identity_basis=0 * model.identity_basis,
    expression_basis=0 * model.expression_basis,
  )

  def one(vector, is_point):
    face = unflatten_params(vector, model.num_identity)
    # The named mask is one of distances within a face, and a point has none.
    ones = jnp.ones(point.num_vertices)
    drawn = [
      render(model, face, image_size=_SIZE),
      render(point, face, image_size=_SIZE, mask=ones),
    ]
    parts = (
      jnp.where(is_point, drawn[1], drawn[0]),
      projection.landmarks(model, face, 'ibug68'),
      projection.landmark_visibility(model, face, 'ibug68'),
      *projection.pose_from_camera(face.camera).values(),
    )
    return sum(jnp.sum(jnp.sin(part)) for part in parts)

  step = jax.jit(jax.vmap(jax.value_and_grad(one)))
  tally = Tally()
  kinds = _kinds(np.random.default_rng(0), model.num_identity, model.num_expression)
  for _ in range(scale.count(3, 21)):
    names, vectors, points = zip(*itertools.islice(kinds, _AT_ONCE), strict=True)
    values, grads = step(jnp.asarray(vectors, jnp.float32), np.array(points))
    for name, value, grad in zip(names, values, grads, strict=True):
      fine = bool(np.isfinite(value)) and bool(np.isfinite(grad).all())
      tally.add('identical' if fine else 'silent', f'{name}: not finite')
  return tally


def numbers_of_faces(scale: Scale, sizes: int = 3) -> Tally:
  """R15: no face, one, many, and what is left over from whole batches.

  Args:
    scale: up to 100 faces, or 10,000.
    sizes: how many batch sizes may be compiled.

  Returns:
    The counts; identical = as many faces as boxes, in their order, as if each were
    alone, and no further batch size was compiled.
  """
  tally, model = Tally(), make_toy_model()
  aligner = Aligner(model, TOY_CONFIG)
  net = network.PifaNetwork(TOY_CONFIG, model.num_params)
  geometry = network.network_geometry(model, TOY_CONFIG)
  variables = network.init_variables(net, geometry, seed=0)
  rng = np.random.default_rng(0)
  photo = rng.integers(0, 255, (60, 80, 3), np.uint8)
  before = aligner._fit._cache_size()
  for count in (*_COUNTS, *((10_000,) if scale.full else ())):
    boxes = np.concatenate(
      [rng.uniform(0, 40, (count, 2)), rng.uniform(20, 40, (count, 2))], axis=1
    )
    found = aligner.align(variables, photo, boxes)
    points = found.landmarks['ibug68']
    alone = [
      aligner.align(variables, photo, boxes[[i]]).landmarks['ibug68'][0]
      for i in {0, count // 2, count - 1}
      if 0 <= i < count
    ]
    same = [points[i] for i in {0, count // 2, count - 1} if 0 <= i < count]
    if points.shape != (count, 68, 2) or not np.isfinite(points).all():
      tally.add('silent', f'{count} faces gave landmarks of shape {points.shape}')
    elif not np.allclose(alone, same, atol=1e-3):
      tally.add('silent', f'{count} faces: some are others than alone')
    elif aligner._fit._cache_size() - before > sizes:
      tally.add('other', f'{count} faces: another batch size was compiled')
    else:
      tally.add('identical')
  return tally
