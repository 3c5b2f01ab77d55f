"""Faces in a mirror: the P of a photo that is flipped left to right."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.types import Array, FaceParams, MorphableModel

# Bases come from float16 files.
_TOLERANCE = 1e-3
_FLIP = np.array([-1.0, 1.0, 1.0], np.float32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MirrorMap:
  """What mirroring does to the labels of a face.

  Attributes:
    signs: (N_I + N_E,) of `coefficient_signs`.
    landmarks: (N,) int32: landmark i of the mirrored face is landmark landmarks[i];
      -1 where the scheme has only one of the two, as AFLW's has of some on the lids.
  """

  signs: Array
  landmarks: Array


def mirror_map(model: MorphableModel, scheme: str) -> MirrorMap | None:
  """The map of a face model and a landmark scheme.

  Args:
    model: the 3DMM.
    scheme: the name of one of its landmark schemes.

  Returns:
    The map; None if the bases are not symmetric (`coefficient_signs`).

  Raises:
    KeyError: if the model has no such scheme.
  """
  signs = coefficient_signs(model)
  if signs is None:
    return None
  vertices = np.asarray(model.landmark_schemes[scheme])
  is_twin = vertices[None, :] == np.asarray(model.symmetry)[vertices][:, None]
  return MirrorMap(
    signs, np.where(is_twin.any(axis=1), is_twin.argmax(axis=1), -1).astype(np.int32)
  )


def coefficient_signs(model: MorphableModel) -> np.ndarray | None:
  """What mirroring a face does to its coefficients.

  Every basis of the built-in model is either symmetric or antisymmetric, so a
  mirrored face has the same coefficients up to their signs. Others may need a matrix,
  or may not contain their own mirror images.

  Args:
    model: the 3DMM.

  Returns:
    (N_I + N_E,) of 1 and -1; None if the model has no vertex symmetry, or a basis
    that is neither symmetric nor antisymmetric.
  """
  if model.symmetry is None:
    return None
  twin = np.asarray(model.symmetry)
  mean = np.asarray(model.mean_shape)
  if np.linalg.norm(mean[twin] * _FLIP - mean) > _TOLERANCE * np.linalg.norm(mean):
    return None
  signs = []
  for bases in (model.identity_basis, model.expression_basis):
    for basis in np.asarray(bases, np.float32):
      mirrored = basis[twin] * _FLIP
      sign = 1.0 if np.vdot(basis, mirrored) >= 0 else -1.0
      if np.linalg.norm(mirrored - sign * basis) > _TOLERANCE * np.linalg.norm(basis):
        return None
      signs.append(sign)
  return np.array(signs, np.float32)


def mirror_params(
  face_params: FaceParams, signs: Array, width: int | Array
) -> FaceParams:
  """P of the same face in the image flipped left to right.

  Eq. (3) with u' = width - 1 - u and x' = -x.

  Args:
    face_params: P in pixels of the image.
    signs: (N_I + N_E,) of `coefficient_signs`.
    width: () of the image, pixels.

  Returns:
    P in pixels of the flipped image.
  """
  num_identity = face_params.identity.shape[0]
  camera = jnp.asarray(face_params.camera) * jnp.array(
    [[1.0, -1.0, -1.0, -1.0], [-1.0, 1.0, 1.0, 1.0]]
  )
  return FaceParams(
    camera=camera.at[0, 3].add(width - 1),
    identity=face_params.identity * signs[:num_identity],
    expression=face_params.expression * signs[num_identity:],
  )


def mean_with_mirror(
  face_params: FaceParams, of_flipped: FaceParams, signs: Array, width: int | Array
) -> FaceParams:
  """The mean of P and of the P that was found in the flipped image.

  Args:
    face_params: P in pixels of the image.
    of_flipped: P in pixels of the flipped image.
    signs: (N_I + N_E,) of `coefficient_signs`.
    width: () of the image, pixels.

  Returns:
    P in pixels of the image.
  """
  return jax.tree.map(
    lambda a, b: (a + b) / 2, face_params, mirror_params(of_flipped, signs, width)
  )
