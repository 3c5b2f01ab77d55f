"""Landmarks of the jaw that slide along the contour of a turned face.

Annotators of 2D landmarks mark the visible outline where the jaw itself is hidden.
The vertex that lies there changes with the pose ("landmark marching": Zhu et al.,
CVPR 2015): among vertices at the height of the landmark, the outermost one.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import morphable_model, projection
from pifa_jax.types import Array, FaceParams, MorphableModel

# Jaw points of the 68 without the chin, which is seen at any yaw: iBUG 1-8, 10-17.
JAW = np.array([*range(8), *range(9, 17)])


def contour_candidates(model: MorphableModel, *, count: int = 24) -> np.ndarray:
  """The vertices along which every jaw landmark may slide.

  The sector between a landmark's own direction about the vertical axis and the middle
  of the face is cut into `count` parts. In each of them the landmark may slide to the
  rendered vertex that is nearest to its height.

  Args:
    model: a 3DMM in millimetres with the scheme 'ibug68'.
    count: C sectors.

  Returns:
    (16, C) int32 vertex ids, a row for every entry of `JAW`.

  Raises:
    ValueError: if the model has no 'ibug68'.
  """
  if 'ibug68' not in model.landmark_schemes:
    raise ValueError(
      "The face model has no landmark scheme 'ibug68', whose jaw "
      'points slide along the contour.'
    )
  mean = np.asarray(model.mean_shape, np.float64)
  rendered = np.asarray(model.regions.get('rendered', np.arange(len(mean))))
  landmarks = np.asarray(model.landmark_schemes['ibug68'])
  # The axis runs through the ears' depth: that of the outermost jaw points.
  depth = mean[landmarks[[0, 16]], 2].mean()
  angle = np.arctan2(mean[:, 0], mean[:, 2] - depth)
  rows = []
  for b in landmarks[JAW]:
    ends = np.linspace(angle[b], 0.0, count + 1)
    row = [b]
    for start, end in zip(ends[1:-1], ends[2:]):
      low, high = min(start, end), max(start, end)
      inside = rendered[
        (angle[rendered] >= low)
        & (angle[rendered] <= high)
        & (np.abs(mean[rendered, 1] - mean[b, 1]) < 12.0)
      ]
      row.append(
        inside[np.argmin(np.abs(mean[inside, 1] - mean[b, 1]))]
        if len(inside)
        else row[-1]
      )
    rows.append(row + [row[-1]] * (count - len(row)))
  return np.array(rows, np.int32)


def march(
  model: MorphableModel, face_params: FaceParams, landmarks: Array, candidates: Array
) -> jax.Array:
  """The vertices of the 68 landmarks in one pose.

  Args:
    model: the 3DMM.
    face_params: P.
    landmarks: (68,) vertex ids of a frontal face.
    candidates: (16, C) of `contour_candidates`.

  Returns:
    (68,) vertex ids: hidden jaw points have moved to the contour.
  """
  landmarks = jnp.asarray(landmarks)
  jaw = landmarks[JAW]
  hidden = ~projection.is_visible(
    projection.frontability(face_params.camera, model.mean_normals[jaw])
  )
  flat = jnp.asarray(candidates).reshape(-1)
  part = model.replace(
    mean_shape=model.mean_shape[flat],
    identity_basis=model.identity_basis[:, flat],
    expression_basis=model.expression_basis[:, flat],
  )
  points = projection.project(
    face_params.camera, morphable_model.shape(part, face_params)
  )
  # The image's direction that is across the face: up, turned clockwise.
  up = face_params.camera[:, 1]
  right = jnp.stack([-up[1], up[0]])
  outward = jnp.where(jnp.arange(len(JAW)) < 8, -1.0, 1.0)
  reach = (points @ right).reshape(candidates.shape) * outward[:, None]
  best = jnp.take_along_axis(
    jnp.asarray(candidates), jnp.argmax(reach, axis=1)[:, None], axis=1
  )[:, 0]
  return landmarks.at[JAW].set(jnp.where(hidden, best, jaw))
