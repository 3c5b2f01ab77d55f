"""A plain folder of photos, each with a file of landmarks beside it."""

import collections
import dataclasses
import pathlib

import numpy as np

from pifa_jax.datasets.samples import (
  MissingSplitError,
  Reject,
  Sample,
  SampleSet,
  data_root,
  far_box,
  landmark_box,
  landmark_problem,
  photo_samples,
)
from pifa_jax.files import formats
from pifa_jax.files.formats import LANDMARK_SUFFIXES

HOW_TO_GET = (
  '--data_dir must hold photos with a file of landmarks of the same name beside each '
  f'({", ".join(LANDMARK_SUFFIXES)}), in it or in its folders train/ and test/.'
)
# Folders of these names hold a split, wherever they lie and however they are written.
_SPLIT_FOLDERS = {
  'train': ('train', 'training', 'trainset', 'trainimages'),
  'test': ('test', 'testing', 'testset', 'testimages'),
}


def read_folder(
  data_dir: str | pathlib.Path | None, split: str, *, hidden_points: str = 'auto'
) -> SampleSet:
  """Reads a folder; all faces must have the same number of landmarks.

  A photo belongs to the split whose name (train, training or trainset; test, testing
  or testset) one of its folders has. Where no folder has such a name, all photos are
  for training: there is no test split, since scores of training photos mean nothing.
  The split 'all' is every photo, for scoring weights that were trained on others.

  A file with several faces gives as many samples, named photo#1, photo#2, ...

  Where a file of the folder marks hidden points by negative coordinates, those of all
  its files are read as marks: see `formats.mark_hidden`.

  Args:
    data_dir: the folder; folders in it are looked into.
    split: 'train', 'test' or 'all'.
    hidden_points: see `formats.read_landmarks`.

  Returns:
    The split. A face without a box of its own has that of its landmarks.

  Raises:
    FileNotFoundError: if there is no such folder, or no photo in it.
    MissingSplitError: if the folder has photos but not this split.
    ValueError: for another split.
  """
  if split not in ('train', 'test', 'all'):
    raise ValueError(f'split={split!r}; a folder has train, test and all.')
  root, sources = data_root(data_dir, HOW_TO_GET)
  listing = sources.find_images(root, deep=True)
  notes = []
  if listing.skipped:
    notes.append(f'Not read as photos: {listing.skipped_text()}.')
  if not listing.images:
    raise FileNotFoundError(
      f'There are no photos in {root}: {HOW_TO_GET} {" ".join(notes)}'.rstrip()
    )
  image_paths, more = _of_split(root, listing.images, split)
  found, rejects = {}, []
  for path in image_paths:
    name = path.relative_to(root).as_posix()
    try:
      found[path] = _read(sources, path, hidden_points)
    except (OSError, ValueError) as error:
      rejects.append(Reject(name, str(error)))
  notes += more + _agree_on_marks(found, hidden_points)
  paths, samples = [], []
  for path, (_, labels) in found.items():
    name = path.relative_to(root).as_posix()
    for number in range(len(labels.points)):
      face = name if len(labels.points) == 1 else f'{name}#{number + 1}'
      try:
        samples.append(_sample(labels, number, face, group=name))
        paths.append(path)
      except ValueError as error:
        rejects.append(Reject(face, str(error)))
  counts = collections.Counter(len(sample.visible) for sample in samples)
  if len(counts) > 1:
    usual = counts.most_common(1)[0][0]
    odd = [i for i, sample in enumerate(samples) if len(sample.visible) != usual]
    rejects += [
      Reject(
        samples[i].name,
        f'it has {len(samples[i].visible)} landmarks, most others {usual}',
      )
      for i in odd
    ]
    paths = [path for i, path in enumerate(paths) if i not in set(odd)]
    samples = [sample for i, sample in enumerate(samples) if i not in set(odd)]
  return SampleSet(photo_samples(sources, paths, samples), rejects, notes, sources)


def _of_split(root, image_paths, split):
  """The photos of a split, and notes about those that are in none."""
  places: dict[str, list[pathlib.Path]] = {name: [] for name in ('train', 'test', '')}
  for path in image_paths:
    parts = {part.lower() for part in path.relative_to(root).parts[:-1]}
    of = [name for name, words in _SPLIT_FOLDERS.items() if parts & set(words)]
    places[of[-1] if of else ''].append(path)
  if split == 'all':
    return image_paths, []
  if not places['train'] and not places['test']:
    if split == 'train':
      return image_paths, []
    raise MissingSplitError(
      f'{root} has no folder test/, so none of its {len(image_paths)} photos is for '
      'testing: put test photos into one, or say --split=all to score every photo with '
      'weights that were not trained on them.'
    )
  if not places[split]:
    other = 'test' if split == 'train' else 'train'
    raise MissingSplitError(
      f'{root} has a folder {other}/ but no photos in a folder {split}/: put some there'
      + (', or say --split=all to score every photo.' if split == 'test' else '.')
    )
  notes = []
  if places['']:
    folders = sorted({p.relative_to(root).parent.as_posix() for p in places['']})
    notes.append(
      f'{len(places[""])} photos are in no split, since they lie neither in train/ nor '
      f'in test/: those in {", ".join(folders[:3])}.'
    )
  return places[split], notes


def _read(sources, path, hidden_points):
  label = sources.find_beside(path, LANDMARK_SUFFIXES)
  if label is None:
    raise ValueError(
      f'there is no {path.stem}{" or ".join(LANDMARK_SUFFIXES)} beside it'
    )
  labels = formats.read_landmarks(label, hidden_points=hidden_points)
  others = [suffix for suffix in LANDMARK_SUFFIXES if suffix != label.suffix.lower()]
  if sources.find_beside(path, others) is not None:
    note = (
      f'photos have other files of landmarks beside the {label.suffix} that is read'
    )
    labels = dataclasses.replace(labels, notes=(*labels.notes, note))
  if labels.is_video:
    raise ValueError(
      f'{label.name} has rows of different frames of a video, not faces of one photo'
    )
  return label, labels


def _agree_on_marks(found, hidden_points):
  """Reads negative coordinates alike in all files; changes `found`; gives notes."""
  notes = []
  marking = sum(labels.marks_hidden for _, labels in found.values())
  doubtful = [path for path, (_, labels) in found.items() if labels.is_ambiguous]
  if marking and hidden_points == 'auto':
    for path in doubtful:
      label = found[path][0]
      found[path] = label, formats.read_landmarks(label, hidden_points='negative')
    notes.append(
      f'Hidden points: {marking + len(doubtful)} files mark them by negative '
      'coordinates or (0, 0); such points count as not visible (--hidden_points).'
    )
  elif doubtful:
    notes.append(
      f'Hidden points: {len(doubtful)} files have points with two negative '
      'coordinates that may lie just outside the photo, such as '
      f'{found[doubtful[0]][0].name}; they were read as points. If they mark hidden '
      'points, say --hidden_points=negative.'
    )
  shared = collections.Counter(label for label, _ in found.values())
  twice = [label for label, count in shared.items() if count > 1]
  if twice:
    notes.append(
      f'{len(twice)} files of landmarks lie beside several photos of the same name, '
      f'such as {twice[0].name}; they were read for each of them.'
    )
  said = collections.Counter(
    note for _, labels in found.values() for note in labels.notes
  )
  notes += [
    f'{count} {note}.' if note.startswith('photos') else f'In {count} files {note}.'
    for note, count in said.items()
  ]
  return notes


def _sample(labels, number, name, *, group):
  points, visible = labels.points[number], labels.visible[number]
  problem = landmark_problem(points, visible)
  if problem:
    raise ValueError(problem)
  has_box = labels.boxes is not None and np.isfinite(labels.boxes[number]).all()
  box = labels.boxes[number] if has_box else landmark_box(points, visible)
  problem = far_box(box, points, visible)
  if problem:
    raise ValueError(problem)
  return Sample(
    name,
    b'',
    points,
    visible,
    box.astype(np.float32),
    group=group if len(labels.points) > 1 else '',
  )
