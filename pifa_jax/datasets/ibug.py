"""Folders of photos with iBUG .pts files: 300W (Sec. 4.2).

300W as it is distributed: lfpw/{trainset,testset}, helen/{trainset,testset},
afw, ibug, each a folder of images with a .pts of the same name beside each.
"""

import pathlib

from pifa_jax.datasets.samples import (
  MissingSplitError,
  Reject,
  Sample,
  SampleSet,
  data_root,
  landmark_box,
  photo_samples,
)
from pifa_jax.files import formats

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


def read_300w(
  data_dir: str | pathlib.Path | None, split: str, *, hidden_points: str = 'auto'
) -> SampleSet:
  """Reads one split; the box of a face is that of its 68 landmarks.

  Args:
    data_dir: the folder that holds lfpw, helen, afw and ibug. Parts that are not
      there are named in `missing`.
    split: 'train', 'test', or a part of the test set: 'common', 'challenging'.
    hidden_points: see `formats.read_landmarks`; 300W itself labels every point.

  Returns:
    The split.

  Raises:
    FileNotFoundError: if there is no part of 300W.
    MissingSplitError: if there are others, but none of this split.
    ValueError: for an unknown split.
  """
  if split not in SPLITS:
    raise ValueError(f'split={split!r}; 300W has {", ".join(SPLITS)}.')
  root, sources = data_root(data_dir, HOW_TO_GET)
  there = {
    folder: sources.is_dir(root / folder)
    for folders in SPLITS.values()
    for folder in folders
  }
  if not any(there.values()):
    raise FileNotFoundError(f'There is no folder {root / "lfpw"}: {HOW_TO_GET}')
  wanted = SPLITS[split]
  missing = tuple(f'{folder}/' for folder in wanted if not there[folder])
  if len(missing) == len(wanted):
    raise MissingSplitError(
      f'The split {split} of 300W is not in {root}: there is no {", ".join(missing)}.'
    )
  paths, samples, rejects, notes = [], [], [], []
  for folder in wanted:
    if not there[folder]:
      continue
    listing = sources.find_images(root / folder)
    if listing.skipped:
      notes.append(f'{folder}/, not read as photos: {listing.skipped_text()}.')
    for path in listing.images:
      name = path.relative_to(root).as_posix()
      try:
        samples.append(_sample(sources, path, name, hidden_points))
        paths.append(path)
      except (OSError, ValueError) as error:
        rejects.append(Reject(name, str(error)))
  return SampleSet(
    photo_samples(sources, paths, samples), rejects, notes, sources, missing
  )


def _sample(sources, path, name, hidden_points):
  label = sources.find_beside(path, ('.pts',))
  if label is None:
    raise ValueError(f'there is no {path.stem}.pts beside it')
  labels = formats.read_landmarks(label, hidden_points=hidden_points)
  points, visible = labels.points[0], labels.visible[0]
  if points.shape != (68, 2):
    raise ValueError(f'{label.name} has {len(points)} points, not 68')
  return Sample(name, b'', points, visible, landmark_box(points, visible))
