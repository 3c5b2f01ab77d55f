"""Landmarks of the jaw that slide along the contour of a turned face.

Annotators of 2D landmarks mark the visible outline where the jaw itself is hidden.
The vertex that lies there changes with the pose ("landmark marching": Zhu et al.,
CVPR 2015): among vertices at the height of the landmark, the outermost one.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import morphable_model, projection
from pifa_jax.types import Array, FaceParams, MorphableModel

# The points of a landmark scheme that make the line of the jaw, from the image's left
# ear round the chin to its right ear; the middle one is the chin.
JAW_LINES: dict[str, tuple[int, ...]] = {
  'ibug68': tuple(range(17)),
  'wflw98': tuple(range(33)),
  'jd106': tuple(range(33)),
  'insightface106': (
    *(1, *range(9, 17), *range(2, 9)),
    0,
    *(*range(24, 17, -1), *range(32, 24, -1), 17),
  ),
}


def jaw_points(scheme: str = 'ibug68') -> np.ndarray:
  """The points of a landmark scheme that slide along the contour.

  Args:
    scheme: 'ibug68', 'wflw98', 'jd106' or 'insightface106'. Other schemes label the
      jaw at fixed places, or the chin alone.

  Returns:
    (2 K,) positions in the scheme from the image's left ear to its right one, without
    the chin, which is seen at any yaw.

  Raises:
    ValueError: if the scheme's points do not slide.
  """
  if scheme not in JAW_LINES:
    raise ValueError(
      f'The landmark scheme {scheme!r} has no jaw points that could march along the '
      f'contour; {", ".join(map(repr, JAW_LINES))} have.'
    )
  line = np.asarray(JAW_LINES[scheme])
  return np.delete(line, len(line) // 2)


def contour_candidates(
  model: MorphableModel, *, count: int = 24, scheme: str = 'ibug68'
) -> np.ndarray:
  """The vertices along which every jaw landmark may slide.

  The sector between a landmark's own direction about the vertical axis and the middle
  of the face is cut into `count` parts. In each of them the landmark may slide to the
  rendered vertex that is nearest to its height.

  Args:
    model: a 3DMM in millimetres with the scheme.
    count: C sectors.
    scheme: of the landmarks, one that `jaw_points` knows.

  Returns:
    (2 K, C) int32 vertex ids, a row for every one of `jaw_points`.

  Raises:
    ValueError: if the model does not have the scheme, or its points do not slide.
  """
  jaw = jaw_points(scheme)
  if scheme not in model.landmark_schemes:
    raise ValueError(
      f'The face model has no landmark scheme {scheme!r}, whose jaw '
      'points slide along the contour.'
    )
  mean = np.asarray(model.mean_shape, np.float64)
  rendered = np.asarray(model.regions.get('rendered', np.arange(len(mean))))
  landmarks = np.asarray(model.landmark_schemes[scheme])
  # The axis runs through the ears' depth: that of the outermost jaw points.
  depth = mean[landmarks[jaw[[0, -1]]], 2].mean()
  angle = np.arctan2(mean[:, 0], mean[:, 2] - depth)
  rows = []
  for b in landmarks[jaw]:
    ends = np.linspace(angle[b], 0.0, count + 1)
    row = [b]
    for start, end in itertools.pairwise(ends[1:]):
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
  model: MorphableModel,
  face_params: FaceParams,
  landmarks: Array,
  candidates: Array,
  *,
  scheme: str = 'ibug68',
) -> jax.Array:
  """The vertices of the landmarks in one pose.

  Args:
    model: the 3DMM.
    face_params: P.
    landmarks: (N,) vertex ids of a frontal face.
    candidates: (2 K, C) of `contour_candidates`.
    scheme: of the landmarks; says which of them are of the jaw.

  Returns:
    (N,) vertex ids: hidden jaw points have moved to the contour.
  """
  places = jaw_points(scheme)
  landmarks = jnp.asarray(landmarks)
  jaw = landmarks[places]
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
  outward = jnp.where(jnp.arange(len(places)) < len(places) // 2, -1.0, 1.0)
  reach = (points @ right).reshape(candidates.shape) * outward[:, None]
  best = jnp.take_along_axis(
    jnp.asarray(candidates), jnp.argmax(reach, axis=1)[:, None], axis=1
  )[:, 0]
  return landmarks.at[places].set(jnp.where(hidden, best, jaw))
