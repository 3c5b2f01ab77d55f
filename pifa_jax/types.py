"""The data that flows through the library: face model, face parameters, batch.

All three are frozen dataclasses registered as JAX pytrees, so that they pass
through `jit`, `vmap` and `grad` unchanged.

Frames, fixed once for the whole project:
  model frame  x right (of the image, for a frontal face), y up, +z towards
               the viewer; any unit (the built-in face is in millimetres).
  image frame  u right, v down, 0-based; an integer is a pixel centre, so pixel
               i spans [i - 0.5, i + 0.5].
  boxes        (x, y, width, height) of the OUTER EDGES; the box of a whole
               W x H image is (-0.5, -0.5, W, H).
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MorphableModel:
  """A 3D Morphable Model: Eqs. (1)-(2), Sec. 3.1.

  Attributes:
    mean_shape: (Q, 3) S_0 in model units.
    identity_basis: (N_I, Q, 3) S^I, model units per unit coefficient.
    identity_stddev: (N_I,) standard deviation of every identity coefficient.
    expression_basis: (N_E, Q, 3) S^E.
    expression_stddev: (N_E,) standard deviation of every expression coefficient.
    triangles: (T, 3) int32 vertex ids, counter-clockwise seen from outside.
    mean_normals: (Q, 3) N_0, unit length, OUTWARD.
    nose_tip: () int32 vertex id.
    landmark_schemes: name -> (N,) int32 vertex ids, the vector b of Eq. (3).
    regions: name -> (K,) int32 vertex ids ('eye_left', 'lips', ...). The
      visualization layer renders the vertices of 'rendered'; all vertices if the
      model has no such region.
    symmetry: (Q,) int32 id of the mirror vertex, or None where unknown.
    tiles: mean shape and bases again, as `morphable_model.tile` lays them out, or None.
  """

  mean_shape: Array
  identity_basis: Array
  identity_stddev: Array
  expression_basis: Array
  expression_stddev: Array
  triangles: Array
  mean_normals: Array
  nose_tip: Array
  landmark_schemes: Mapping[str, Array]
  regions: Mapping[str, Array]
  symmetry: Array | None = None
  tiles: Array | None = None

  @property
  def num_vertices(self) -> int:
    """Q."""
    return self.mean_shape.shape[0]

  @property
  def num_identity(self) -> int:
    """N_I."""
    return self.identity_basis.shape[0]

  @property
  def num_expression(self) -> int:
    """N_E."""
    return self.expression_basis.shape[0]

  @property
  def num_params(self) -> int:
    """Length of the flat parameter vector: 8 + N_I + N_E."""
    return CAMERA_SIZE + self.num_identity + self.num_expression

  def replace(self, **changes: Any) -> 'MorphableModel':
    """A copy with some fields changed; tiles of other bases are dropped.

    Args:
      **changes: field = its new value.

    Returns:
      The copy.
    """
    if {'identity_basis', 'expression_basis'} & set(changes):
      changes.setdefault('tiles', None)
    return dataclasses.replace(self, **changes)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FaceParams:
  """P = {M, p} of one face (Sec. 3.1).

  Attributes:
    camera: (2, 4) M of Eq. (4). Columns 0-2: pixels per model unit; column 3:
      pixels.
    identity: (N_I,) p^I; multiplies the basis exactly as in Eq. (1).
    expression: (N_E,) p^E.
  """

  camera: Array
  identity: Array
  expression: Array

  def replace(self, **changes: Any) -> 'FaceParams':
    """A copy with some fields changed.

    Args:
      **changes: field = its new value.

    Returns:
      The copy.
    """
    return dataclasses.replace(self, **changes)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
  """What one training or evaluation step sees; B faces in crop pixels.

  Attributes:
    image: (B, S, S, 3) float32 in [-1, 1].
    landmarks: (B, N, 2) target U in crop pixels.
    visible: (B, N) bool; the landmarks that count in Eq. (7) and in the NME.
    face_params: FaceParams with a leading B: the target P in crop pixels.
    box_size: (B,) normaliser d of the NME in crop pixels: sqrt(w h) of the
      provided box.
    weight: (B,) 1 for a real face, 0 for padding.
  """

  image: Array
  landmarks: Array
  visible: Array
  face_params: FaceParams
  box_size: Array
  weight: Array


# What follows is the one place that knows the order of the flat P.
CAMERA_SIZE = 8


def flatten_params(face_params: FaceParams) -> jax.Array:
  """FaceParams -> flat vector in the order m1..m8, identity, expression.

  Args:
    face_params: P, with any leading axes.

  Returns:
    (..., 8 + N_I + N_E).
  """
  camera = jnp.asarray(face_params.camera)
  return jnp.concatenate(
    [
      camera.reshape(camera.shape[:-2] + (CAMERA_SIZE,)),
      face_params.identity,
      face_params.expression,
    ],
    axis=-1,
  )


def unflatten_params(vector: Array, num_identity: int) -> FaceParams:
  """Flat vector -> FaceParams; the inverse of `flatten_params`.

  Args:
    vector: (..., 8 + N_I + N_E).
    num_identity: N_I.

  Returns:
    FaceParams with the same leading axes.
  """
  shape = vector[..., CAMERA_SIZE:]
  return FaceParams(
    camera=camera_of(vector),
    identity=shape[..., :num_identity],
    expression=shape[..., num_identity:],
  )


def camera_of(vector: Array) -> Array:
  """M alone out of flat vectors.

  Args:
    vector: (..., 8 + N_I + N_E).

  Returns:
    (..., 2, 4).
  """
  return vector[..., :CAMERA_SIZE].reshape(vector.shape[:-1] + (2, 4))
