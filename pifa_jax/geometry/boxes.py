"""Boxes and crops: P and points between image and crop, jitter, P^0.

A box is (x, y, width, height) of its OUTER EDGES in image coordinates, where an
integer is a pixel centre: the box of a whole W x H image is (-0.5, -0.5, W, H).
Pure functions of ONE face; `vmap` for more.
"""

import functools

import jax
import jax.numpy as jnp

from pifa_jax.types import Array, FaceParams, MorphableModel


def crop_points(points: Array, box: Array, crop_size: int) -> Array:
  """Image points -> pixels of the box's crop.

  Edges map to edges: x -> (x - x0) N / w - 0.5 (BUILD_NOTES.md D-02).

  Args:
    points: (N, 2) image pixels.
    box: (4,) outer edges.
    crop_size: N pixels a side.

  Returns:
    (N, 2) crop pixels.
  """
  return (points - box[:2]) * (crop_size / box[2:]) - 0.5


def uncrop_points(points: Array, box: Array, crop_size: int) -> Array:
  """The inverse of `crop_points`.

  Args:
    points: (N, 2) crop pixels.
    box: (4,) outer edges.
    crop_size: pixels a side.

  Returns:
    (N, 2) image pixels.
  """
  return (points + 0.5) * (box[2:] / crop_size) + box[:2]


def crop_params(face_params: FaceParams, box: Array, crop_size: int) -> FaceParams:
  """P in image pixels -> P in pixels of the box's crop.

  m1' = (N/w) m1, m4' = (N/w)(m4 - x0) - 0.5; row 2 with h and y0.

  Args:
    face_params: P of one face.
    box: (4,) outer edges.
    crop_size: N pixels a side.

  Returns:
    P whose camera projects into the crop.
  """
  camera = jnp.asarray(face_params.camera)
  factor = crop_size / box[2:]
  return face_params.replace(
    camera=jnp.concatenate(
      [
        camera[:, :3] * factor[:, None],
        ((camera[:, 3] - box[:2]) * factor - 0.5)[:, None],
      ],
      axis=1,
    )
  )


def uncrop_params(face_params: FaceParams, box: Array, crop_size: int) -> FaceParams:
  """The inverse of `crop_params`.

  Args:
    face_params: P in crop pixels.
    box: (4,) outer edges.
    crop_size: pixels a side.

  Returns:
    P in image pixels.
  """
  camera = jnp.asarray(face_params.camera)
  factor = box[2:] / crop_size
  return face_params.replace(
    camera=jnp.concatenate(
      [
        camera[:, :3] * factor[:, None],
        ((camera[:, 3] + 0.5) * factor + box[:2])[:, None],
      ],
      axis=1,
    )
  )


def rotate_points(points: Array, centre: Array, angle: Array) -> Array:
  """Rotates points about another one, clockwise as one sees the image.

  Args:
    points: (..., 2) pixels.
    centre: (2,) pixels.
    angle: () radians.

  Returns:
    (..., 2) pixels.
  """
  return centre + (points - centre) @ _rotation(angle).T


def rotate_params(face_params: FaceParams, centre: Array, angle: Array) -> FaceParams:
  """P of the same face in an image that is rotated like `rotate_points`.

  Args:
    face_params: P of one face, pixels.
    centre: (2,) pixels.
    angle: () radians.

  Returns:
    P whose landmarks are the rotated ones.
  """
  camera = jnp.asarray(face_params.camera)
  return face_params.replace(
    camera=jnp.concatenate(
      [
        _rotation(angle) @ camera[:, :3],
        rotate_points(camera[:, 3], centre, angle)[:, None],
      ],
      axis=1,
    )
  )


def _rotation(angle: Array) -> jax.Array:
  c, s = jnp.cos(angle), jnp.sin(angle)
  return jnp.stack([jnp.stack([c, -s]), jnp.stack([s, c])])


def scale_camera(camera: Array, factor: float | Array) -> jax.Array:
  """M of the same face on the same crop at another size.

  114 -> 57 is factor 1/2: rotation times factor, t' = (t + 0.5) factor - 0.5.

  Args:
    camera: (2, 4) M.
    factor: () new size over old size.

  Returns:
    (2, 4) M.
  """
  camera = jnp.asarray(camera)
  return jnp.concatenate(
    [camera[:, :3] * factor, (camera[:, 3:] + 0.5) * factor - 0.5], axis=1
  )


def square_box(box: Array) -> jax.Array:
  """The square of the same centre and area.

  Crops are square by default: an anisotropic one makes M stop being weak
  perspective (BUILD_NOTES.md D-06).

  Args:
    box: (4,) outer edges.

  Returns:
    (4,) outer edges, width = height = sqrt(w h).
  """
  side = jnp.sqrt(box[2] * box[3])
  centre = box[:2] + box[2:] / 2
  return jnp.concatenate([centre - side / 2, jnp.stack([side, side])])


def points_box(points: Array, visible: Array) -> jax.Array:
  """The bounding box of the visible points.

  Args:
    points: (N, 2) pixels.
    visible: (N,) bool; at least one.

  Returns:
    (4,) x, y, width, height, pixels; infinite if nothing is visible.
  """
  low = jnp.min(jnp.where(visible[:, None], points, jnp.inf), axis=0)
  high = jnp.max(jnp.where(visible[:, None], points, -jnp.inf), axis=0)
  return jnp.concatenate([low, high - low])


def jitter_box(
  key: Array,
  box: Array,
  *,
  shift: float = 0.1,
  scale: float = 0.1,
  anisotropic: bool = False,
  box_scale: float = 1.0,
) -> jax.Array:
  """A box with noise on location and size (Sec. 4's 20 variations).

  Args:
    key: of jax.random.
    box: (4,) outer edges.
    shift: the centre moves by uniform +-shift of width and height.
    scale: the sides are multiplied by uniform [1 - scale, 1 + scale].
    anisotropic: one factor for the width and another for the height.
    box_scale: the sides are multiplied by this, too, for boxes of another
      convention.

  Returns:
    (4,) outer edges.
  """
  move, size = jax.random.split(key)
  centre = (
    box[:2]
    + box[2:] / 2
    + box[2:] * jax.random.uniform(move, (2,), minval=-shift, maxval=shift)
  )
  factor = jax.random.uniform(size, (2,), minval=1 - scale, maxval=1 + scale)
  sides = box_scale * box[2:] * (factor if anisotropic else factor[0])
  return jnp.concatenate([centre - sides / 2, sides])


def scale_box(box: Array, factor: float | Array) -> jax.Array:
  """The box of the same centre and `factor` times the sides.

  Args:
    box: (4,) outer edges.
    factor: () of width and height.

  Returns:
    (4,) outer edges.
  """
  sides = box[2:] * factor
  return jnp.concatenate([box[:2] + (box[2:] - sides) / 2, sides])


def initial_params(
  model: MorphableModel, crop_size: int, crop_scale: float = 1.0
) -> FaceParams:
  """P^0: the frontal mean face whose landmark box fills the face box.

  The scale is isotropic, by the square root of the box's area, and the box is centred.
  So P^0 is a constant in crop coordinates (BUILD_NOTES.md D-06).

  Args:
    model: a 3DMM with the 'ibug68' scheme.
    crop_size: pixels.
    crop_scale: side of the crop over that of the face box.

  Returns:
    P^0 in crop pixels, all coefficients zero.

  Raises:
    ValueError: if the model has no 'ibug68' scheme.
  """
  if 'ibug68' not in model.landmark_schemes:
    raise ValueError(
      "The face model has no 'ibug68' landmark scheme, which places the mean "
      'face in the box; add the 68 vertex ids to its landmark_schemes.'
    )
  camera = _filling(
    model.mean_shape,
    model.landmark_schemes['ibug68'],
    crop_size=crop_size,
    crop_scale=crop_scale,
  )
  return FaceParams(
    camera=camera,
    identity=jnp.zeros(model.num_identity),
    expression=jnp.zeros(model.num_expression),
  )


@functools.partial(jax.jit, static_argnames=('crop_size', 'crop_scale'))
def _filling(vertices, ids, *, crop_size, crop_scale):
  """The frontal camera whose box of these vertices has the area of the face box."""
  points = vertices[ids]
  low, high = jnp.min(points[:, :2], axis=0), jnp.max(points[:, :2], axis=0)
  scale = crop_size / crop_scale / jnp.sqrt(jnp.prod(high - low))
  middle = (low + high) / 2
  # The crop's centre is (crop_size - 1) / 2; image rows run down.
  centre = (crop_size - 1) / 2
  camera = jnp.array([[1.0, 0, 0, 0], [0, -1.0, 0, 0]]) * scale
  return camera.at[:, 3].set(
    jnp.stack([centre - scale * middle[0], centre + scale * middle[1]])
  )
