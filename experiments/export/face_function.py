"""The exported function: crops in, landmarks, visibility, P and pose out."""

from collections.abc import Callable
from typing import Any

import jax
from jax import export
import jax.numpy as jnp

from pifa_jax.geometry import morphable_model, projection
from pifa_jax.learning import network
from pifa_jax.types import Array, FaceParams, MorphableModel, unflatten_params

# What the function returns, in the order of the formats that have no names.
OUTPUTS = (
  'landmarks',
  'visible',
  'frontability',
  'params',
  'yaw_degrees',
  'pitch_degrees',
  'roll_degrees',
)


def crops_of(crop_size: int, batch_size: int, name: str) -> jax.ShapeDtypeStruct:
  """Shape and type of the function's argument.

  Args:
    crop_size: S, pixels.
    batch_size: B; 0 = any.
    name: of B, if it is any.

  Returns:
    (B, S, S, 3) uint8.
  """
  batch = batch_size or export.symbolic_shape(name)[0]
  return jax.ShapeDtypeStruct((batch, crop_size, crop_size, 3), jnp.uint8)


def face_function(
  net: network.PifaNetwork,
  variables: dict[str, Any],
  geometry: network.NetworkGeometry,
  model: MorphableModel,
  scheme: str,
) -> Callable[[Array], dict[str, jax.Array]]:
  """The function of crops alone; weights and face model are its constants.

  Args:
    net: the network.
    variables: its {'params', 'batch_stats'}.
    geometry: of `network.network_geometry`, for its config.
    model: the 3DMM that it was trained with.
    scheme: a landmark scheme of the model.

  Returns:
    A function of crops (B, S, S, 3) uint8 RGB. It returns a dictionary:
    'landmarks' (B, N, 2) crop pixels (Eq. 3); 'visible' (B, N) bool and
    'frontability' (B, N) g (Eq. 8); 'params' (B, 8 + N_I + N_E) P in crop pixels;
    'yaw_degrees', 'pitch_degrees', 'roll_degrees' (B,).

  Raises:
    ValueError: if the model has no such scheme.
  """
  part = projection.landmark_model(model, scheme)

  def function(crops: Array) -> dict[str, jax.Array]:
    image = crops.astype(jnp.float32) / 127.5 - 1.0
    found: Any = net.apply(variables, image, geometry)
    vector = found['params'][-1]
    faces = unflatten_params(vector, model.num_identity)
    return {'params': vector, **jax.vmap(lambda face: _describe(face, part))(faces)}

  return function


def _describe(face: FaceParams, part: MorphableModel) -> dict[str, jax.Array]:
  """What is reported of one face."""
  front = projection.frontability(face.camera, part.mean_normals)
  pose = projection.pose_from_camera(face.camera)
  return {
    'landmarks': jnp.asarray(
      projection.project(face.camera, morphable_model.shape(part, face))
    ),
    'visible': jnp.asarray(projection.is_visible(front)),
    'frontability': front,
    **{f'{name}_degrees': jnp.rad2deg(pose[name]) for name in ('yaw', 'pitch', 'roll')},
  }
