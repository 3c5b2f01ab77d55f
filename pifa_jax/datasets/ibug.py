"""Folders of photographs with iBUG .pts files: 300W (Sec. 4.2).

300W as it is distributed: lfpw/{trainset,testset}, helen/{trainset,testset},
afw, ibug, each a folder of pictures with a .pts of the same name beside each.
"""

import pathlib

import numpy as np

from pifa_jax.datasets.samples import LazySamples, Reject, Sample, SampleSet

# Sec. 4.2: 3,148 for training; common (554) and challenging (135) for testing.
SPLITS = {'train': ('lfpw/trainset', 'helen/trainset', 'afw'),
          'test': ('lfpw/testset', 'helen/testset', 'ibug')}
_MAX_POINTS = 1000
_PICTURES = ('.jpg', '.jpeg', '.png', '.bmp')


def read_300w(data_dir: str | pathlib.Path | None, split: str) -> SampleSet:
  """Reads one split; the box of a face is that of its 68 landmarks.

  Args:
    data_dir: the folder that holds lfpw, helen, afw and ibug.
    split: 'train' or 'test'.

  Returns:
    The split, with all landmarks visible.

  Raises:
    FileNotFoundError: if a folder is missing.
    ValueError: for an unknown split.
  """
  if split not in SPLITS:
    raise ValueError(f'split={split!r}; 300W has train and test.')
  paths, samples, rejects = [], [], []
  for path in picture_files(data_dir, split):
    name = str(path.relative_to(pathlib.Path(data_dir).expanduser()))
    labels = next((path.with_suffix(end) for end in ('.pts', '.PTS')
                   if path.with_suffix(end).exists()), None)
    try:
      if labels is None:
        raise ValueError(f'there is no {path.stem}.pts beside it')
      points = read_pts(labels)
      if points.shape != (68, 2):
        raise ValueError(f'{labels.name} has {len(points)} points, not 68')
      low, high = points.min(axis=0), points.max(axis=0)
      paths.append(path)
      samples.append(Sample(
          name, b'', points, np.ones(68, bool),
          np.concatenate([low, high - low]).astype(np.float32)))
    except (OSError, ValueError) as error:
      rejects.append(Reject(name, str(error)))
  return SampleSet(LazySamples(paths, samples), rejects, [])


def picture_files(data_dir: str | pathlib.Path | None,
                  split: str) -> list[pathlib.Path]:
  """The pictures of a split, in a fixed order.

  Raises:
    FileNotFoundError: if a folder is missing.
  """
  if not data_dir:
    raise FileNotFoundError(
        'No --data_dir was given: it must hold lfpw/, helen/, afw/ and ibug/ of '
        '300W, which iBUG (Imperial College London) gives to researchers; '
        '`python -m experiments.train --flagfile=demo.flags` runs without it.')
  root, files = pathlib.Path(data_dir).expanduser(), []
  for folder in SPLITS[split]:
    if not (root / folder).is_dir():
      raise FileNotFoundError(
          f'There is no folder {root / folder}: --data_dir must hold lfpw/, helen/ '
          '(each with trainset/ and testset/), afw/ and ibug/ of 300W.')
    files += sorted(p for p in (root / folder).iterdir()
                    if p.suffix.lower() in _PICTURES)
  return files


def read_pts(path: pathlib.Path) -> np.ndarray:
  """Points of an iBUG .pts file, 1-based there, 0-based here.

  Args:
    path: a text file "version: 1 / n_points: 68 / { / x y / ... / }".

  Returns:
    (N, 2) float32 pixels.

  Raises:
    ValueError: if it is not such a file, or a number is not finite.
  """
  try:
    text = path.read_bytes()[:1_000_000].decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise ValueError(f'{path.name} is not a text file') from error
  head, brace, rest = text.partition('{')
  body, end, _ = rest.partition('}')
  if not brace or not end:
    raise ValueError(f'{path.name} has no {{ points }}: it is not a .pts file, or '
                     'only a part of one')
  rows = [line.split() for line in body.splitlines() if line.strip()]
  if len(rows) > _MAX_POINTS:
    raise ValueError(f'{path.name} has {len(rows)} points')
  try:
    points = np.array([[float(x), float(y)] for x, y in rows], np.float32)
  except ValueError as error:
    raise ValueError(f'{path.name} has a line that is not "x y" with decimal '
                     'points') from error
  wanted = [line.split(':')[1].strip() for line in head.splitlines()
            if line.strip().startswith('n_points:')]
  if wanted and wanted[0] != str(len(points)):
    raise ValueError(f'{path.name} says n_points: {wanted[0]} but has '
                     f'{len(points)}')
  if not np.all(np.isfinite(points)):
    raise ValueError(f'{path.name} has a point that is not finite')
  return points.reshape(-1, 2) - 1.0
