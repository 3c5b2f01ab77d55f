"""Folders of photos with iBUG .pts files: 300W (Sec. 4.2).

300W as it is distributed: lfpw/{trainset,testset}, helen/{trainset,testset},
afw, ibug, each a folder of images with a .pts of the same name beside each.
"""

import pathlib

import numpy as np

from pifa_jax.datasets.samples import (
  LazySamples,
  Reject,
  Sample,
  SampleSet,
  find_label,
  list_images,
)
from pifa_jax.files.formats import read_pts

# Sec. 4.2: 3,148 for training; common (554) and challenging (135) for testing.
SPLITS = {
  'train': ('lfpw/trainset', 'helen/trainset', 'afw'),
  'test': ('lfpw/testset', 'helen/testset', 'ibug'),
  'common': ('lfpw/testset', 'helen/testset'),
  'challenging': ('ibug',),
}
HOW_TO_GET = (
  '--data_dir must hold lfpw/ and helen/ (each with trainset/ and testset/), afw/ '
  'and ibug/ of 300W, which iBUG (Imperial College London) gives to researchers; '
  '`python -m experiments.train --flagfile=demo.flags` runs without it.'
)


def read_300w(data_dir: str | pathlib.Path | None, split: str) -> SampleSet:
  """Reads one split; the box of a face is that of its 68 landmarks.

  Args:
    data_dir: the folder that holds lfpw, helen, afw and ibug.
    split: 'train', 'test', or a part of the test set: 'common', 'challenging'.

  Returns:
    The split, with all landmarks visible.

  Raises:
    FileNotFoundError: if a folder is missing.
    ValueError: for an unknown split.
  """
  paths, samples, rejects = [], [], []
  for path in _images(data_dir, split):
    name = path.relative_to(pathlib.Path(data_dir).expanduser()).as_posix()
    try:
      points = read_pts(find_label(path, '.pts'))
      if points.shape != (68, 2):
        raise ValueError(f'{path.stem}.pts has {len(points)} points, not 68')
      low, high = points.min(axis=0), points.max(axis=0)
      paths.append(path)
      samples.append(
        Sample(
          name,
          b'',
          points,
          np.ones(68, bool),
          np.concatenate([low, high - low]).astype(np.float32),
        )
      )
    except (OSError, ValueError) as error:
      rejects.append(Reject(name, str(error)))
  return SampleSet(LazySamples(paths, samples), rejects, [])


def files_300w(data_dir: str | pathlib.Path | None, split: str) -> list[pathlib.Path]:
  """The files that decide what `read_300w` gives."""
  image_paths = _images(data_dir, split)
  return image_paths + [path.with_suffix('.pts') for path in image_paths]


def _images(data_dir, split):
  if split not in SPLITS:
    raise ValueError(f'split={split!r}; 300W has {", ".join(SPLITS)}.')
  if not data_dir:
    raise FileNotFoundError(f'No --data_dir was given: {HOW_TO_GET}')
  root, files = pathlib.Path(data_dir).expanduser(), []
  for folder in SPLITS[split]:
    if not (root / folder).is_dir():
      raise FileNotFoundError(f'There is no folder {root / folder}: {HOW_TO_GET}')
    files += list_images(root / folder)
  return files
