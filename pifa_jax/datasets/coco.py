"""Data sets in COCO's keypoint format, COCO-WholeBody's faces included.

Annotation files (.json) with "images" [{"id", "file_name"}] and "annotations"
[{"image_id", "keypoints" [x, y, v, ...], "bbox" [x, y, w, h]}], anywhere in the folder,
and the photos, anywhere in it. 0-based. Of COCO-WholeBody, "face_kpts" (68 points) and
"face_box" are read in place of the body's keypoints.
"""

import collections
import pathlib
from typing import Any

import numpy as np

from pifa_jax.datasets.samples import (
  MissingSplitError,
  Reject,
  Sample,
  SampleSet,
  data_root,
  label_problem,
  landmark_box,
  photo_samples,
)
from pifa_jax.files.formats import coco_keypoints, parse_json
from pifa_jax.files.images import image_key

HOW_TO_GET = (
  '--data_dir must hold COCO annotation files (.json with "images" and "annotations") '
  'and the photos that they name, in folders of any names.'
)
# The split of an annotation file is the word that its name has: ..._train2017.json.
_SPLITS = ('train', 'val', 'test')


def read_coco(data_dir: str | pathlib.Path | None, split: str) -> SampleSet:
  """Reads one split; every annotation is a face.

  Args:
    data_dir: the folder.
    split: 'train', 'val', 'test': the files with this word in their names; 'all':
      every file. A single file without such a word is for training.

  Returns:
    The split. Faces are named photo#annotation and grouped by photo. Those without
    any labelled keypoint are left out and counted in a note.

  Raises:
    FileNotFoundError: if there are no annotations.
    MissingSplitError: if there are some, but none of this split.
    ValueError: for another split, or if a file is damaged.
  """
  if split not in (*_SPLITS, 'all'):
    raise ValueError(f'split={split!r}; COCO files have {", ".join(_SPLITS)} and all.')
  root, sources = data_root(data_dir, HOW_TO_GET)
  files = sources.find_files(root, '.json')
  chosen = _of_split(root, files, split)
  contents, notes = [], []
  for path in chosen:
    try:
      contents.append(_annotations(sources.use(path)))
    except ValueError as error:
      notes.append(f'Not read as annotations: {error}')
  if not any(contents):
    raise FileNotFoundError(
      f'There are no annotations in {root}: {HOW_TO_GET} {" ".join(notes[:1])}'.rstrip()
    )
  photos = collections.defaultdict(list)
  listing = sources.find_images(root, deep=True)
  for path in listing.images:
    photos[image_key(path.name)].append(path)
  paths: list[pathlib.Path] = []
  samples: list[Sample] = []
  rejects: list[Reject] = []
  unlabelled = 0
  absent: set[str] = set()
  for images, annotations in filter(None, contents):
    for annotation in annotations:
      keypoints, box = _face(annotation)
      if keypoints is None:
        unlabelled += 1
        continue
      image = images.get(str(annotation.get('image_id')), '')
      name = f'{image}#{annotation.get("id", len(samples) + len(rejects))}'
      try:
        path = _find(photos, image, root)
        if path is None:
          absent.add(image)
          raise ValueError(f'the photo {image or "that it names"} is not there')
        samples.append(_sample(keypoints, box, name, group=image))
        paths.append(path)
      except ValueError as error:
        rejects.append(Reject(name, str(error)))
  if unlabelled:
    notes.append(f'{unlabelled} annotations have no labelled keypoint: left out.')
  if listing.skipped:
    notes.append(f'Not read as photos: {listing.skipped_text()}.')
  missing = (f'{len(absent)} photos that the annotations name',) if absent else ()
  rejects += _reject_odd_counts(paths, samples)
  return SampleSet(
    photo_samples(sources, paths, samples), rejects, notes, sources, missing
  )


def _reject_odd_counts(paths, samples):
  """Takes faces with another number of landmarks than most out of both lists."""
  counts = collections.Counter(len(sample.visible) for sample in samples)
  rejects = []
  if len(counts) > 1:
    usual = counts.most_common(1)[0][0]
    for row in reversed(range(len(samples))):
      count = len(samples[row].visible)
      if count != usual:
        reason = f'it has {count} landmarks, most others {usual}'
        rejects.append(Reject(samples[row].name, reason))
        del samples[row], paths[row]
  return rejects


def _of_split(root, files, split):
  if split == 'all' or not files:
    return files
  words = {
    path: next((word for word in _SPLITS if word in path.stem.lower()), None)
    for path in files
  }
  named = sorted({word for word in words.values() if word})
  chosen = [path for path in files if words[path] == split]
  if not chosen and split == 'train' and not named:
    return files
  if not chosen:
    raise MissingSplitError(
      f'{root} has no annotations for {split}, since no .json has that word in its '
      f'name{f"; there is {chr(44).join(named)}" if named else ""}: choose another '
      '--split, or --split=all for weights that were not trained on them.'
    )
  return chosen


def _annotations(path) -> tuple[dict[str, str], list[dict[str, Any]]] | None:
  """Image id -> file name, and the annotations; None for a file of another kind."""
  content = parse_json(path.read_bytes(), path.name, allow_nan=True)
  images, annotations = content.get('images'), content.get('annotations')
  if images is None or annotations is None:
    return None
  if not all(
    isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    for rows in (images, annotations)
  ):
    raise ValueError(
      f'{path.name}: "images" and "annotations" must be lists of objects.'
    )
  names = {
    str(row.get('id')): image_key(str(row.get('file_name', ''))) for row in images
  }
  return names, annotations


def _face(annotation):
  """The keypoints and the box of an annotation; None if no point is labelled."""
  if annotation.get('face_kpts') is not None:
    keypoints, box = annotation['face_kpts'], annotation.get('face_box')
    if not annotation.get('face_valid', True):
      keypoints = None
  else:
    keypoints, box = annotation.get('keypoints'), annotation.get('bbox')
  if not isinstance(keypoints, list) or not any(keypoints):
    return None, None
  return keypoints, box


def _find(photos, image, root):
  """The photo that an annotation names; None if there is none."""
  candidates = photos.get(image.rpartition('/')[2], [])
  ends = [
    path
    for path in candidates
    if f'/{image_key(path.relative_to(root).as_posix())}'.endswith(f'/{image}')
  ]
  if len(ends) > 1:
    raise ValueError(
      f'{len(ends)} photos are called {image}; give --data_dir the folder of one split'
    )
  return ends[0] if ends else None


def _sample(keypoints, box, name, *, group):
  points, visible = coco_keypoints(keypoints, name)
  if box is None:
    box = landmark_box(points, visible)
  else:
    box = np.asarray(box, object)
    if box.shape != (4,) or not all(isinstance(x, (int, float)) for x in box):
      raise ValueError(f'its bbox {str(box.tolist())[:60]} is not x, y, width, height')
  box = box.astype(np.float32)
  problem = label_problem(box, points, visible)
  if problem:
    raise ValueError(problem)
  return Sample(name, b'', points.astype(np.float32), visible, box, group=group)
