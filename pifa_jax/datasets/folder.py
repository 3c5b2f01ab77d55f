"""A plain folder of photos, each with a .pts, .json, .npy or .mat beside it."""

import collections
import pathlib

import numpy as np

from pifa_jax.datasets.samples import (
  LazySamples,
  Reject,
  Sample,
  SampleSet,
  list_images_below,
)
from pifa_jax.files.formats import LANDMARK_SUFFIXES, read_landmarks

HOW_TO_GET = (
  '--data_dir must hold photos with a .pts, .json, .npy or .mat of the same '
  'name beside each, in it or in its folders train/ and test/.'
)


def read_folder(data_dir: str | pathlib.Path | None, split: str) -> SampleSet:
  """Reads a folder; all faces must have the same number of landmarks.

  Args:
    data_dir: with train/ and test/ inside, or only photos: these are then
      both splits. Folders in them are looked into.
    split: 'train' or 'test'.

  Returns:
    The split. A face without a box of its own has that of its landmarks.

  Raises:
    FileNotFoundError: if there is no such folder, or no photo in it.
    ValueError: for another split.
  """
  root, image_paths = _images(data_dir, split)
  rows, rejects = [], []
  for path in image_paths:
    name = path.relative_to(root).as_posix()
    try:
      rows.append((path, _sample(path, name)))
    except (OSError, ValueError) as error:
      rejects.append(Reject(name, str(error)))
  if rows:
    counts = collections.Counter(len(sample.visible) for _, sample in rows)
    usual = counts.most_common(1)[0][0]
    rejects += [
      Reject(
        sample.name, f'it has {len(sample.visible)} landmarks, most others {usual}'
      )
      for _, sample in rows
      if len(sample.visible) != usual
    ]
    rows = [row for row in rows if len(row[1].visible) == usual]
  return SampleSet(LazySamples(*zip(*rows)) if rows else [], rejects, [])


def files_folder(data_dir: str | pathlib.Path | None, split: str) -> list[pathlib.Path]:
  """The files that decide what `read_folder` gives."""
  _, image_paths = _images(data_dir, split)
  return image_paths + [label for path in image_paths if (label := _label(path))]


def _images(data_dir, split):
  if split not in ('train', 'test'):
    raise ValueError(f'split={split!r}; a folder has train and test.')
  if not data_dir:
    raise FileNotFoundError(f'No --data_dir was given: {HOW_TO_GET}')
  root = pathlib.Path(data_dir).expanduser()
  inside = root / split if (root / split).is_dir() else root
  if not inside.is_dir():
    raise FileNotFoundError(f'There is no folder {inside}: {HOW_TO_GET}')
  found = list_images_below(inside)
  if not found:
    raise FileNotFoundError(f'There are no photos in {inside}: {HOW_TO_GET}')
  return root, found


def _label(image_path):
  for suffix in LANDMARK_SUFFIXES:
    for end in (suffix, suffix.upper()):
      if image_path.with_suffix(end).is_file():
        return image_path.with_suffix(end)
  return None


def _sample(path, name):
  label = _label(path)
  if label is None:
    raise ValueError(
      f'there is no {path.stem}{" or ".join(LANDMARK_SUFFIXES)} beside it'
    )
  found = read_landmarks(label)
  if len(found.points) != 1:
    raise ValueError(f'{label.name} has {len(found.points)} faces; one a photo is read')
  points, visible = found.points[0], found.visible[0]
  if visible.sum() < 4:
    raise ValueError(f'only {visible.sum()} landmarks are visible; 4 are needed')
  box = found.box
  if box is None:
    low, high = points[visible].min(axis=0), points[visible].max(axis=0)
    box = np.concatenate([low, high - low])
    if not min(high - low) > 0:
      raise ValueError('its landmarks lie on one line; give it a box')
  return Sample(name, b'', points, visible, box.astype(np.float32))
