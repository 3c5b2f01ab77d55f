"""What the cases work on: face models of any size, posed faces, cached crops.

All of it is made from the built-in face model, so that anybody can repeat a
measurement.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.settings import Settings
from pifa_jax.datasets import crop_cache
from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import boxes, masks, morphable_model, projection
from pifa_jax.types import Array, FaceParams, MorphableModel, flatten_params

# At the least: one is made on the host, and put on the device, in tiles as well.
_COPIES = 3
NUM_CROPS = 256  # cached crops that the batches of the parts data and train come from


def rendered_part(model: MorphableModel) -> MorphableModel:
  """Restricts a model to its rendered vertices, as the network keeps them.

  Args:
    model: the 3DMM.

  Returns:
    The model on its region 'rendered', without any region.
  """
  part = morphable_model.restrict(model, np.asarray(masks.rendered_vertices(model)))
  return part.replace(regions={})


def memory_problem(num_vertices: int, dtype: str) -> str:
  """Why a face model of `dense_model` does not fit this machine.

  Linux ends a program that takes too much, without a word: it is asked before.

  Args:
    num_vertices: Q.
    dtype: 'float32' or 'float64'.

  Returns:
    What it needs, what there is, and what would do; '' if it fits or nobody knows.
  """
  try:
    memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  except (AttributeError, ValueError, OSError):
    return ''
  model = load_face_model('builtin')  # finer ones have as many shapes
  shapes = 1 + model.num_identity + model.num_expression
  one = _COPIES * 3 * shapes * np.dtype(dtype).itemsize
  if num_vertices * one <= memory:
    return ''
  power = 10 ** int(np.log10(memory / one))
  most = int(memory / one / power) * power
  return (
    f'needs {num_vertices * one / 1e9:.0f} GB of memory, and this machine has '
    f'{memory / 1e9:.0f}; use at most {most}'
  )


@functools.cache
def _finest():
  return rendered_part(load_face_model('builtin-2'))


def dense_model(num_vertices: int) -> MorphableModel:
  """Makes a face model of any number of vertices, all of them rendered.

  Fewer vertices than builtin-2 renders are an even choice of them. More vertices are
  random points within its triangles, where a finer mesh would have them.

  Args:
    num_vertices: Q.

  Returns:
    The model; it has no triangles. A smaller model has up to 68 vertices fewer than
    asked for, because landmarks may be among the chosen ones.
  """
  model = _finest()
  if num_vertices <= model.num_vertices:
    return _thinned(model, num_vertices)
  return _grown(model, num_vertices)


def _thinned(model, num_vertices):
  """An even choice of the vertices."""
  # The 68 landmarks stay: masks and P^0 are made from them.
  landmarks = model.landmark_schemes['ibug68']
  last = model.num_vertices - 1
  ids = np.linspace(0, last, max(num_vertices - 68, 1)).astype(int)
  ids = np.unique(np.concatenate([ids, landmarks, [model.nose_tip]]))
  return morphable_model.restrict(model, ids).replace(
    triangles=np.zeros((0, 3), np.int32)
  )


def _grown(model, num_vertices):
  """The model with random points of its triangles added."""
  missing = num_vertices - model.num_vertices
  rng = np.random.default_rng(0)
  triangles = np.asarray(model.triangles)
  at = triangles[rng.permutation(np.arange(missing) % len(triangles))]
  weights = rng.dirichlet(np.ones(3), len(at)).astype(np.float32)

  def grown(array):
    inner = sum(array[..., at[:, i], :] * weights[:, i : i + 1] for i in range(3))
    return np.concatenate([array, inner], axis=-2)

  normals = grown(np.asarray(model.mean_normals))
  return model.replace(
    mean_shape=grown(np.asarray(model.mean_shape)),
    identity_basis=grown(np.asarray(model.identity_basis)),
    expression_basis=grown(np.asarray(model.expression_basis)),
    mean_normals=normals / np.linalg.norm(normals, axis=1, keepdims=True),
    triangles=np.zeros((0, 3), np.int32),
  )


def layer_model(
  settings: Settings, num_vertices: int
) -> tuple[MorphableModel, jax.Array]:
  """Makes the face model that the layer is measured with, and its mask.

  Args:
    settings: face_model and dtype count.
    num_vertices: Q; 0 = the rendered vertices of the face model.

  Returns:
    (model, mask): the 3DMM on the device, and (Q,) a of Eq. (11).
  """
  model = (
    dense_model(num_vertices)
    if num_vertices
    else rendered_part(load_face_model(settings.face_model))
  )
  if jax.default_backend() == 'cpu':  # as the network's geometry
    model = morphable_model.tile(model)

  def as_dtype(array):
    floats = np.issubdtype(np.asarray(array).dtype, np.floating)
    return jnp.asarray(array, settings.dtype) if floats else jnp.asarray(array)

  model = jax.tree.map(as_dtype, model)
  return model, jnp.asarray(masks.vertex_mask(model, 'nose'), settings.dtype)


def posed_faces(
  model: MorphableModel, batch: int, image_size: int, seed: int
) -> FaceParams:
  """Makes faces from profile to profile that fill V, with random shapes.

  Args:
    model: the 3DMM.
    batch: B.
    image_size: side of V, pixels.
    seed: of shapes, pitch and roll.

  Returns:
    FaceParams with a leading B.
  """
  rng = np.random.default_rng(seed)
  start = boxes.initial_params(model, image_size)
  yaw = np.deg2rad(np.linspace(-80, 80, batch) if batch > 1 else np.array([25.0]))
  pitch, roll = np.deg2rad(rng.normal(size=(2, batch)) * 8)
  rotations = jax.vmap(projection.rotation_from_euler)(yaw, pitch, roll)
  cameras = jax.vmap(projection.camera_from_pose, in_axes=(0, None, None))(
    rotations, start.camera[0, 0], start.camera[:, 3]
  )
  dtype = model.mean_shape.dtype

  def sample(stddev):
    sizes = rng.normal(size=(batch, len(stddev))) * 0.6
    return jnp.asarray(sizes * np.asarray(stddev), dtype)

  return FaceParams(
    camera=cameras.astype(dtype),
    identity=sample(model.identity_stddev),
    expression=sample(model.expression_stddev),
  )


def splat_inputs(
  model: MorphableModel, mask: Array, face: FaceParams
) -> tuple[Array, Array, Array, Array]:
  """Computes what `visualization.splat` takes, for all vertices of one face.

  Args:
    model: the 3DMM.
    mask: (Q,) a of Eq. (11).
    face: P.

  Returns:
    Positions (Q, 2) in pixels, depth (Q,), values g a (Q,) of Eqs. (8) and (11), and
    whether each vertex faces the camera (Q,).
  """
  vertices = morphable_model.shape(model, face)
  front = projection.frontability(face.camera, model.mean_normals)
  return (
    projection.project(face.camera, vertices),
    projection.depth(face.camera, vertices),
    front * mask,
    front > 0,
  )


def cotangent(size: int, seed: int, dtype: str) -> np.ndarray:
  """Makes the weights of the sum over V that is differentiated.

  Args:
    size: side of V, pixels.
    seed: of the weights.
    dtype: of the weights.

  Returns:
    (size, size), normally distributed.
  """
  return np.random.default_rng(seed).normal(size=(size, size)).astype(dtype)


def cached_faces(landmark_model: MorphableModel, seed: int) -> crop_cache.CropCache:
  """Makes a crop cache in memory: noise with P^0's landmarks.

  Args:
    landmark_model: `projection.landmark_model` of the scheme.
    seed: of the noise.

  Returns:
    NUM_CROPS crops.
  """
  side = crop_cache.IMAGE_SIZE
  face = boxes.initial_params(landmark_model, round(side / crop_cache.MARGIN))
  points = np.asarray(projection.project(face.camera, landmark_model.mean_shape))
  edge = side * (1 - 1 / crop_cache.MARGIN) / 2
  repeat = lambda row: np.repeat(np.asarray(row)[None], NUM_CROPS, axis=0)
  camera = jnp.asarray(face.camera).at[:, 3].add(edge)
  return crop_cache.CropCache(
    images=np.random.default_rng(seed).integers(
      0, 256, (NUM_CROPS, side, side, 3), np.uint8
    ),
    landmarks=repeat(points + edge).astype(np.float32),
    visible=np.ones((NUM_CROPS, len(points)), bool),
    params=repeat(flatten_params(face.replace(camera=camera))).astype(np.float32),
    boxes=repeat([edge - 0.5, edge - 0.5, side - 2 * edge, side - 2 * edge]).astype(
      np.float32
    ),
    residuals=np.zeros(NUM_CROPS, np.float32),
    poses=np.zeros((NUM_CROPS, 3), np.float32),
    pixel_sizes=np.ones(NUM_CROPS, np.float32),
    names=[''] * NUM_CROPS,
    groups=[''] * NUM_CROPS,
    content_hash='',
    meta={},
  )
