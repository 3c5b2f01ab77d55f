"""WFLW: 98 landmarks, 7,500 + 2,500 faces (Wu et al., CVPR 2018).

  WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt
  WFLW_images/<folder>/<photo>.jpg

A line a face: 196 numbers x1 y1 ... x98 y98, the box's first and last pixel (x, y, x,
y), six attributes (0 or 1), and the photo's name in WFLW_images. 0-based. One photo may
have several faces.
"""

import pathlib

import numpy as np

from pifa_jax.datasets.samples import (
  MissingSplitError,
  Reject,
  Sample,
  SampleSet,
  data_root,
  label_problem,
  photo_samples,
)
from pifa_jax.files.content import foreign_content
from pifa_jax.files.images import image_key

HOW_TO_GET = (
  '--data_dir must hold list_98pt_rect_attr_train.txt, list_98pt_rect_attr_test.txt '
  'and the folder WFLW_images, unpacked from the two archives of WFLW (Wu et al., CVPR '
  '2018), which its authors give away on their page.'
)
POINTS = 98
# Subsets of the test set, by the column of their attribute.
ATTRIBUTES = ('pose', 'expression', 'illumination', 'makeup', 'occlusion', 'blur')
SPLITS = ('train', 'test', *ATTRIBUTES)
_FIELDS = 2 * POINTS + 4 + len(ATTRIBUTES) + 1


def read_wflw(data_dir: str | pathlib.Path | None, split: str) -> SampleSet:
  """Reads one split; the box is the given one, all landmarks are visible.

  Args:
    data_dir: the folder; lists and photos may lie anywhere in it.
    split: 'train', 'test', or the part of the test set with an attribute.

  Returns:
    The split. Faces are named photo#line and grouped by photo.

  Raises:
    FileNotFoundError: if neither list is there, or no photo.
    MissingSplitError: if only the other list is there.
    ValueError: for another split, or if a list is damaged.
  """
  if split not in SPLITS:
    raise ValueError(f'split={split!r}; WFLW has {", ".join(SPLITS)}.')
  root, sources = data_root(data_dir, HOW_TO_GET)
  lists = {path.name: path for path in sources.find_files(root, '.txt')}
  lists = {
    name: lists[f'list_98pt_rect_attr_{name}.txt']
    for name in ('train', 'test')
    if f'list_98pt_rect_attr_{name}.txt' in lists
  }
  if not lists:
    raise FileNotFoundError(
      f'There is no list_98pt_rect_attr_train.txt in {root}: {HOW_TO_GET}'
    )
  wanted = 'train' if split == 'train' else 'test'
  if wanted not in lists:
    raise MissingSplitError(
      f'The split {split} of WFLW is not in {root}: there is no '
      f'list_98pt_rect_attr_{wanted}.txt.'
    )
  photos = {}
  for path in sources.find_images(root, deep=True).images:
    # Named by the last two parts: <folder>/<photo>.jpg.
    photos[image_key('/'.join(path.parts[-2:]))] = path
  paths: list[pathlib.Path] = []
  samples: list[Sample] = []
  rejects: list[Reject] = []
  absent: set[str] = set()
  for number, row in enumerate(_rows(sources.use(lists[wanted])), start=1):
    numbers, image = row
    attributes = numbers[-len(ATTRIBUTES) :]
    if split in ATTRIBUTES and not attributes[ATTRIBUTES.index(split)]:
      continue
    name = f'{image}#{number}'
    points = numbers[: 2 * POINTS].reshape(POINTS, 2)
    first, last = numbers[2 * POINTS : 2 * POINTS + 4].reshape(2, 2)
    box = np.concatenate([first - 0.5, last - first + 1]).astype(np.float32)
    visible = np.isfinite(points).all(axis=1)
    reason = label_problem(box, points, visible)
    found = photos.get('/'.join(image.split('/')[-2:]))
    if reason is None and found is None:
      absent.add(image)
      reason = 'the photo is not there'
    if reason is not None or found is None:
      rejects.append(Reject(name, reason or ''))
      continue
    paths.append(found)
    samples.append(
      Sample(name, b'', points.astype(np.float32), visible, box, group=image)
    )
  missing = (f'{len(absent)} photos that the list names',) if absent else ()
  return SampleSet(
    photo_samples(sources, paths, samples), rejects, [], sources, missing
  )


def _rows(path):
  """Yields the 206 numbers and the photo's name of every line."""
  data = path.read_bytes()
  foreign = foreign_content(data)
  if foreign is not None:
    raise ValueError(f'{path.name} is not the list of WFLW but {foreign}.')
  for number, line in enumerate(
    data.decode('utf-8-sig', 'replace').splitlines(), start=1
  ):
    if not line.strip():
      continue
    fields = line.strip().split(maxsplit=_FIELDS - 1)
    try:
      numbers = np.array([float(field) for field in fields[:-1]])
    except ValueError:
      numbers = np.zeros(0)
    if len(fields) != _FIELDS or len(numbers) != _FIELDS - 1:
      raise ValueError(
        f'{path.name}, line {number}: wanted {_FIELDS - 1} numbers and a name, as in '
        'list_98pt_rect_attr_train.txt of the release.'
      )
    yield numbers, image_key(fields[-1])
