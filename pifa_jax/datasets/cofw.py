"""COFW: 29 landmarks with occlusion, 1,345 + 507 faces (Burgos-Artizzu, ICCV 2013).

COFW_train.mat or COFW_train_color.mat with IsTr (a cell of images), bboxesTr (n, 4)
rows x y w h and phisTr (n, 87) rows x1..x29 y1..y29 o1..o29, o = 1 where an object
hides the point; COFW_test... with IsT, bboxesT, phisT. Counted from 1, as in Matlab.
The files of the release are of Matlab's version 7.3 and need the package h5py.
"""

import collections.abc
import pathlib

import numpy as np

from pifa_jax.datasets.samples import (
  LazySamples,
  MissingSplitError,
  Reject,
  Sample,
  SampleSet,
  data_root,
  label_problem,
)
from pifa_jax.files.images import encode_png
from pifa_jax.files.matlab_files import read_mat

HOW_TO_GET = (
  '--data_dir must hold COFW_train_color.mat and COFW_test_color.mat (or the grey '
  'COFW_train.mat and COFW_test.mat) of COFW (Burgos-Artizzu et al., ICCV 2013), from '
  "Caltech's data archive."
)
POINTS = 29
_KEYS = {'train': ('IsTr', 'bboxesTr', 'phisTr'), 'test': ('IsT', 'bboxesT', 'phisT')}
_HDF5 = b'\x89HDF\r\n\x1a\n'


def read_cofw(data_dir: str | pathlib.Path | None, split: str) -> SampleSet:
  """Reads one split; points that an object hides are not visible.

  Args:
    data_dir: the folder.
    split: 'train' or 'test'.

  Returns:
    The split; images are given as PNG files.

  Raises:
    FileNotFoundError: if no file of COFW is there.
    MissingSplitError: if only the file of the other split is there.
    ValueError: for another split; if a file is damaged; or if it is of version 7.3
      and h5py is not installed.
  """
  if split not in _KEYS:
    raise ValueError(f'split={split!r}; COFW has train and test.')
  root, sources = data_root(data_dir, HOW_TO_GET)
  files: dict[str, pathlib.Path] = {}
  for path in sorted(sources.find_files(root, '.mat'), reverse=True):
    for name in _KEYS:
      # "..._color.mat" comes before "....mat" in this order.
      if path.name.lower() in (f'cofw_{name}.mat', f'cofw_{name}_color.mat'):
        files.setdefault(name, path)
  if not files:
    raise FileNotFoundError(f'There is no COFW_{split}.mat in {root}: {HOW_TO_GET}')
  if split not in files:
    raise MissingSplitError(
      f'The split {split} of COFW is not in {root}: there is no COFW_{split}.mat.'
    )
  path = sources.use(files[split])
  images, boxes, labels = _read(path, _KEYS[split])
  if boxes.shape != (len(images), 4) or labels.shape != (len(images), 3 * POINTS):
    raise ValueError(
      f'{path.name}: {len(images)} images, boxes {boxes.shape} and landmarks '
      f'{labels.shape} do not agree; wanted rows of 4 and of {3 * POINTS} numbers.'
    )
  rows, samples, rejects = [], [], []
  for row, (box, label) in enumerate(zip(boxes, labels, strict=True)):
    name = f'{split}/{row + 1}'
    x, y, hidden = label.reshape(3, POINTS)
    points = np.stack([x, y], axis=1) - 1.0
    visible = np.isfinite(points).all(axis=1) & (hidden == 0)
    box = np.concatenate([box[:2] - 1.5, box[2:]]).astype(np.float32)
    reason = label_problem(box, points, visible)
    if reason is not None:
      rejects.append(Reject(name, reason))
      continue
    rows.append(row)
    samples.append(Sample(name, b'', points.astype(np.float32), visible, box))
  return SampleSet(
    LazySamples(lambda row: encode_png(images[row]), rows, samples),
    rejects,
    [],
    sources,
  )


def _read(path, keys):
  """The images (a sequence of uint8 arrays), boxes and landmarks of a file."""
  with open(path, 'rb') as file:
    head = file.read(1024)
  if _HDF5 in head:  # Matlab puts it after 512 bytes of text
    return _read_hdf5(path, keys)
  content = read_mat(path, keys)
  for key in keys:
    if not isinstance(content.get(key), np.ndarray):
      raise ValueError(f'{path.name} has no variable {key!r}; it is not of COFW.')
  images, boxes, labels = (content[key] for key in keys)
  if boxes.dtype.kind not in 'fiu' or labels.dtype.kind not in 'fiu':
    raise ValueError(f'{path.name}: boxes or landmarks are no tables of numbers.')
  images = list(images.ravel()) if images.dtype == object else []
  for number, image in enumerate(images, start=1):
    _check_image(image, number, path)
  return images, boxes.astype(np.float64), labels.astype(np.float64)


def _check_image(image, number, path):
  if (
    not isinstance(image, np.ndarray)
    or image.dtype != np.uint8
    or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
    or not image.size
  ):
    raise ValueError(
      f'{path.name}: image {number} is no table of grey values or colours.'
    )


def _read_hdf5(path, keys):
  """Version 7.3: HDF5, whose axes are in the opposite order."""
  try:
    import h5py
  except ImportError as error:
    raise ValueError(
      f'{path.name} is a Matlab file of version 7.3, which needs the package h5py: '
      '"pip install h5py", or save it with "-v7" in Matlab.'
    ) from error
  try:
    with h5py.File(path, 'r') as file:
      missing = [key for key in keys if key not in file]
      if missing:
        raise ValueError(f'it has no variable {missing[0]!r}')
      count = file[keys[0]].size
      boxes, labels = (np.asarray(file[key], np.float64).T for key in keys[1:])
      images = _Hdf5Images(path, keys[0], count)
      if count:
        _check_image(images[0], 1, path)
    return images, boxes, labels
  # h5py raises OSError, KeyError, RuntimeError, TypeError, ... on damaged files.
  except Exception as error:
    raise ValueError(
      f'{path.name} is not a file of COFW that can be read ({error}); get it again.'
    ) from error


class _Hdf5Images(collections.abc.Sequence):
  """The images of a file of version 7.3, read at every access."""

  def __init__(self, path, key, count):
    self._path, self._key, self._count = path, key, count

  def __len__(self):
    return self._count

  def __getitem__(self, index):
    import h5py

    with h5py.File(self._path, 'r') as file:
      image = np.asarray(file[np.asarray(file[self._key]).ravel()[index]])
    return np.ascontiguousarray(np.transpose(image))
