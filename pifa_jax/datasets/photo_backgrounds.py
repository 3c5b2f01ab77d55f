"""Photos that lie behind synthetic faces."""

from collections.abc import Iterable
import pathlib

import numpy as np

from pifa_jax.datasets.samples import Reject
from pifa_jax.files.images import decode_image, list_images_below

SIDE = 256  # pixels: a part of half the side still has a crop's detail
_LEAST = 64  # pixels
_LONGEST = 4  # sides' ratio beyond which the rest is left out


def list_backgrounds(folder: str | pathlib.Path) -> list[pathlib.Path]:
  """The photos in a folder and in the folders inside.

  Args:
    folder: of photos, which should show no people.

  Returns:
    Paths, in a fixed order.

  Raises:
    FileNotFoundError: if there is no such folder, or no photo in it.
  """
  root = pathlib.Path(folder)
  if not root.is_dir():
    raise FileNotFoundError(
      f'There is no folder {root}; give one of photos '
      'without people, for the backgrounds.'
    )
  found = list_images_below(root)
  if not found:
    raise FileNotFoundError(
      f'There are no photos (.jpg, .png, ...) in {root}; backgrounds need one at least.'
    )
  return found


def read_backgrounds(paths: Iterable[pathlib.Path]) -> tuple[np.ndarray, list[Reject]]:
  """Cuts photos into squares.

  Args:
    paths: of the photos.

  Returns:
    (N, SIDE, SIDE, 3) uint8: every photo in as few squares of its shorter side
    as cover it, evenly spread, but in four at most; and what could not be used.

  Raises:
    ValueError: if no photo can be used.
  """
  squares, rejects = [], []
  for path in paths:
    try:
      squares += _squares(decode_image(path.read_bytes(), path.name))
    except (OSError, ValueError) as error:
      rejects.append(Reject(path.name, str(error)))
  if not squares:
    raise ValueError(
      f'None of the {len(rejects)} photos for the backgrounds can '
      f'be used; the first: {rejects[0].reason}'
    )
  return np.stack(squares), rejects


def _squares(image):
  from PIL import Image

  height, width = image.shape[:2]
  side = min(height, width)
  if side < _LEAST:
    raise ValueError(
      f'{width} x {height} pixels are too few, {_LEAST} a side are needed.'
    )
  length = min(max(height, width), _LONGEST * side)
  starts = np.linspace(0, length - side, -(-length // side))
  corners = [(s, 0) if width > height else (0, s) for s in starts]
  image = Image.fromarray(image)
  return [
    np.asarray(
      image.resize(
        (SIDE, SIDE), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side)
      )
    )
    for x, y in corners
  ]
