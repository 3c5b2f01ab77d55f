"""AFW with its six landmarks (Sec. 4.1): 468 faces in 205 photos.

As its authors (Zhu and Ramanan, CVPR 2012) give it away: anno.mat beside the
folder testimages. anno is a cell of one row a photo: file name, cells of a
face's box [x1 y1; x2 y2], of its yaw, pitch, roll, and of its six landmarks: left
eye, right eye, nose tip, mouth left, mouth centre, mouth right (as they lie in the
image); NaN where not visible. Everything counts from 1.
"""

import pathlib
from typing import Any

import numpy as np

from pifa_jax.datasets.samples import (
  Reject,
  Sample,
  SampleSet,
  data_root,
  far_box,
  photo_samples,
)
from pifa_jax.files.images import image_key
from pifa_jax.files.matlab_files import read_mat

HOW_TO_GET = (
  '--data_dir must hold anno.mat and testimages/ of the Annotated Faces '
  'in the Wild set (Zhu and Ramanan, CVPR 2012), from its authors.'
)


def read_afw(data_dir: str | pathlib.Path | None, split: str = 'test') -> SampleSet:
  """Reads the set; it is for testing alone.

  Args:
    data_dir: the folder.
    split: 'test'.

  Returns:
    The faces, named photo#number; 1 or more labelled landmarks each.

  Raises:
    FileNotFoundError: if something is missing.
    ValueError: for another split, or if anno.mat is not as described.
  """
  if split != 'test':
    raise ValueError(f'split={split!r}; AFW has test alone.')
  root, sources = data_root(data_dir, HOW_TO_GET)
  photos = root / 'testimages'
  if not sources.is_file(root / 'anno.mat') or not sources.is_dir(photos):
    raise FileNotFoundError(
      f'There is no anno.mat with testimages/ beside it in {root}: {HOW_TO_GET}'
    )
  there = {image_key(path.name): path for path in sources.find_images(photos).images}
  paths, samples, rejects, absent = [], [], [], set()
  for row in _rows(root):
    # Names from a file must not lead out of the folder.
    image = image_key(_text(row[0])).rpartition('/')[2]
    columns = [_cells(value) for value in row[1:4]]
    for number, (box, pose, points) in enumerate(_faces(columns), start=1):
      name = f'{image}#{number}'
      try:
        sample = _sample(name, box, pose, points, group=image)
        if image not in there:
          absent.add(image)
          raise ValueError(f'there is no {image} in testimages')
        paths.append(there[image])
        samples.append(sample)
      except ValueError as error:
        rejects.append(Reject(name, str(error)))
  missing = (f'{len(absent)} photos of testimages/',) if absent else ()
  return SampleSet(
    photo_samples(sources, paths, samples), rejects, [], sources, missing
  )


def _rows(root):
  anno = read_mat(root / 'anno.mat', ('anno',)).get('anno')
  if (
    not isinstance(anno, np.ndarray)
    or anno.dtype != object
    or anno.ndim != 2
    or anno.shape[1] < 4
  ):
    raise ValueError(
      f'{root / "anno.mat"} has no cell "anno" of four columns; it '
      'is not the file of the release.'
    )
  return anno


def _text(value: Any) -> str:
  if isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
    value = value.ravel()[0]
  return value if isinstance(value, str) else ''


def _cells(value):
  """The entries of a cell; a table on its own is a cell of one."""
  if isinstance(value, np.ndarray) and value.dtype == object:
    return list(value.ravel())
  return [value]


def _faces(columns):
  """Boxes, poses and landmarks side by side; what is missing is None."""
  for number in range(max(map(len, columns))):
    yield [column[number] if number < len(column) else None for column in columns]


def _numbers(value, what, shapes):
  if (
    not isinstance(value, np.ndarray)
    or value.dtype.kind not in 'fiu'
    or value.shape not in shapes
  ):
    raise ValueError(
      f'its {what} is not a table of {" x ".join(map(str, shapes[0]))} numbers'
    )
  return value.astype(np.float64)


def _sample(name, box, pose, points, group):
  points = _numbers(points, 'landmarks', ((6, 2),)) - 1.0
  visible = np.isfinite(points).all(axis=1)
  if not visible.any():
    raise ValueError('no landmark is labelled')
  corners = _numbers(box, 'box', ((2, 2), (1, 4))).reshape(2, 2)
  low, high = corners.min(axis=0), corners.max(axis=0)
  if not np.all(np.isfinite(corners)) or min(high - low) <= 0:
    raise ValueError(f'its box {corners.tolist()} has no area')
  angles = None
  if pose is not None:
    yaw = _numbers(pose, 'pose', ((1, 3), (3, 1))).ravel()[0]
    # The signs of the angles are not documented: only the size of yaw is used, for
    # the yaw bins.
    angles = np.array([np.nan, yaw, np.nan], np.float32)
  # From pixel (x1, y1) to pixel (x2, y2), both counted from 1 and inside.
  outer = np.array([*(low - 1.5), *(high - low + 1.0)], np.float32)
  problem = far_box(outer, points, visible)
  if problem:
    raise ValueError(problem)
  return Sample(
    name,
    b'',
    np.where(visible[:, None], points, np.nan).astype(np.float32),
    visible,
    outer,
    pose=angles,
    group=group,
  )
