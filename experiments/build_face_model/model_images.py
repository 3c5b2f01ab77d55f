"""The image of a face model: landmarks by number, first modes at +-3 sigma.

Used by `experiments.build_face_model --image`.
"""

import os

import numpy as np
from PIL import Image, ImageDraw

from experiments.lib import mesh_images
from experiments.lib.mesh_images import YAWS
from pifa_jax.face_models import subdivision
from pifa_jax.geometry import morphable_model
from pifa_jax.types import FaceParams, MorphableModel

_TILE = 150  # pixels, like all sizes here: side of one face of a mode
_PANEL = 550  # side of one numbered face
_DETAIL_HEIGHT = 480  # of the enlarged eyes and mouth
_CAPTION = 18
_SIGMAS = 3.0
_NUM_MODES = 5
_COLUMNS = 1 + 2 * _NUM_MODES  # the mean, then both ends of every mode
# Enlarged: (y of the middle, half of what is shown), millimetres.
_EYES, _MOUTH = (17.0, 62.0), (-37.0, 31.0)


def save(model: MorphableModel, path: str | os.PathLike[str]) -> None:
  """Writes the image of a face model as a palette .png.

  Args:
    model: the 3DMM in millimetres, not subdivided, with the scheme 'ibug68'.
    path: the .png to write.
  """
  fine = subdivision.subdivide(model, levels=1)
  width = max(_COLUMNS * _TILE, len(YAWS) * _PANEL)
  block = len(YAWS) * _TILE + _CAPTION
  top = _PANEL + _DETAIL_HEIGHT + _CAPTION
  sheet = Image.new('RGB', (width, top + 2 * block), 'white')
  _paste_landmarks(sheet, fine, model.landmark_schemes['ibug68'])
  for kind in ('identity', 'expression'):
    _paste_modes(sheet, model, fine, kind, top)
    top += block
  sheet.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
    path, optimize=True
  )


def _paste_landmarks(sheet, fine, numbers):
  """The mean shape with its landmarks, from three sides and enlarged."""
  for i, yaw in enumerate(YAWS):
    centre = (30 * np.sin(np.radians(yaw)), -8)
    panel = mesh_images.numbered(
      fine, numbers, yaw, size=_PANEL, half_width=112.0, centre=centre
    )
    sheet.paste(panel, (i * _PANEL, 0))
  half = sheet.width // 2
  for i, (y, half_width) in enumerate((_EYES, _MOUTH)):
    detail = mesh_images.numbered(
      fine, numbers, 0, size=half, half_width=half_width, centre=(0, y)
    )
    upper = (detail.height - _DETAIL_HEIGHT) // 2
    strip = detail.crop((0, upper, detail.width, upper + _DETAIL_HEIGHT))
    sheet.paste(strip, (i * half, _PANEL))
  _write(
    sheet,
    _PANEL + _DETAIL_HEIGHT,
    'mean shape with the 68 iBUG landmarks by number (1-based); yaw 0, 45, 90 degrees, '
    'eyes and mouth enlarged',
  )


def _paste_modes(sheet, model, fine, kind, top):
  """The mean and both ends of the first modes, one column each, one yaw a row."""
  _write(
    sheet,
    top,
    f'mean, then the first {_NUM_MODES} {kind} modes at '
    f'-{_SIGMAS:g} and +{_SIGMAS:g} standard deviations; yaw '
    f'{", ".join(map(str, YAWS))} degrees',
  )
  for column in range(_COLUMNS):
    vertices = _mode_vertices(model, fine, kind, column)
    for row, yaw in enumerate(YAWS):
      centre = (45 * np.sin(np.radians(yaw)), 5)
      image, _, _ = mesh_images.render(
        fine, vertices, yaw, size=_TILE, half_width=150.0, centre=centre
      )
      place = (column * _TILE, top + _CAPTION + row * _TILE)
      sheet.paste(Image.fromarray(image), place)


def _mode_vertices(model, fine, kind, column):
  coefficients = {
    'identity': np.zeros(model.num_identity, np.float32),
    'expression': np.zeros(model.num_expression, np.float32),
  }
  if column:
    mode, sign = (column - 1) // 2, (-1, 1)[(column - 1) % 2]
    stddev = getattr(model, f'{kind}_stddev')[mode]
    coefficients[kind][mode] = sign * _SIGMAS * stddev
  params = FaceParams(camera=np.zeros((2, 4), np.float32), **coefficients)
  return np.asarray(morphable_model.shape(fine, params))


def _write(sheet, y, text):
  ImageDraw.Draw(sheet).text((4, y + 2), text, fill=(0, 0, 0), font_size=12)
