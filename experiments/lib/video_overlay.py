"""What was found in a frame of a video, drawn on it."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pifa_jax.inference import AlignedFaces
from pifa_jax.results import overlays

_SIDE = 640  # small frames are enlarged to about this
# Of the faces, by their numbers, in turn.
_COLORS = (
  (255, 205, 60),
  (120, 235, 255),
  (255, 130, 200),
  (170, 255, 120),
  (190, 160, 255),
  (255, 165, 100),
)


def draw(image: np.ndarray, ids: np.ndarray, faces: AlignedFaces) -> np.ndarray:
  """Draws landmarks (green visible, red hidden), boxes, numbers and poses.

  Args:
    image: (H, W, 3) uint8 RGB.
    ids: (n,) the numbers of the faces.
    faces: in the same order.

  Returns:
    (s H, s W, 3) uint8; s is a whole number, the same for all frames of a size.
  """
  figure, points = _landmarks(image, faces.landmarks['ibug68'], faces.visible['ibug68'])
  pen = ImageDraw.Draw(figure)
  for row, number in enumerate(ids):
    color = _COLORS[int(number) % len(_COLORS)]
    (left, top), (right, bottom) = points[row].min(axis=0), points[row].max(axis=0)
    pen.rectangle((left, top, right, bottom), outline=color)
    yaw, pitch, roll = (
      float(np.rad2deg(faces.pose[name][row])) for name in ('yaw', 'pitch', 'roll')
    )
    text = f'{number}: yaw {yaw:.0f} pitch {pitch:.0f} roll {roll:.0f}'
    if faces.confidence is not None:
      text += f', {faces.confidence[row]:.2f}'
    place = (max(left, 2), max(top - 17, 1))
    pen.text(
      place, text, fill=color, stroke_width=1, stroke_fill=(0, 0, 0), font_size=13
    )
  return np.asarray(figure)


def draw_points(
  image: np.ndarray, points: Sequence[np.ndarray], visible: Sequence[np.ndarray]
) -> np.ndarray:
  """Draws landmarks alone.

  Args:
    image: (H, W, 3) uint8 RGB.
    points: (N, 2) of every face, pixels.
    visible: (N,) bool of every face.

  Returns:
    As `draw`.
  """
  return np.asarray(_landmarks(image, points, visible)[0])


def _landmarks(image, points, visible):
  """The picture with landmarks, and where they are in it."""
  height, width = image.shape[:2]
  scale = max(1, round(_SIDE / max(height, width)))
  if scale > 1:
    size = (width * scale, height * scale)
    image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
  # Integers are pixel centres in both grids.
  points = (np.asarray(points, np.float64) + 0.5) * scale - 0.5
  figure = overlays.draw_landmarks(image, list(points), list(visible), enlarge=False)
  return figure, points
