"""The parts of eyeballs: iris, pupil and white."""

import numpy as np

# Radii over that of the eyeball.
_IRIS, _PUPIL = 0.45, 0.25


def eye_regions(
  mean: np.ndarray, left: np.ndarray, right: np.ndarray
) -> dict[str, np.ndarray]:
  """Regions of a face model that has eyeballs.

  Args:
    mean: (Q, 3) mean shape, looking along +z.
    left: (K,) vertex ids of the eyeball on the image's left.
    right: (K,) those of the other one.

  Returns:
    name -> vertex ids: eyeball_, iris_, pupil_ left and right, 'iris' and 'eye_white'.
  """
  regions = {}
  for side, ball in (('left', left), ('right', right)):
    centre = (mean[ball].max(axis=0) + mean[ball].min(axis=0)) / 2
    away = np.hypot(*(mean[ball] - centre)[:, :2].T)
    front = mean[ball, 2] > centre[2]
    regions[f'eyeball_{side}'] = ball
    regions[f'iris_{side}'] = ball[front & (away < _IRIS * away.max())]
    regions[f'pupil_{side}'] = ball[front & (away < _PUPIL * away.max())]
  regions['iris'] = np.union1d(regions['iris_left'], regions['iris_right'])
  regions['eye_white'] = np.setdiff1d(np.union1d(left, right), regions['iris'])
  return regions
