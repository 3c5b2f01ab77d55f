"""The AFLW subset of the paper in its release format, read from a folder.

  BoundingBox.mat   bboxesTr (n, 4), bboxesT (m, 4): rows x y w h
  Landmark.mat      phisTr, phisT: rows x1..xN y1..yN v1..vN
  TrainImages/1.jpg ... TestImages/1.jpg ...

Everything counts from 1, as in Matlab.
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
from pifa_jax.files.matlab_files import read_numbers

_KEYS = {
  'train': ('bboxesTr', 'phisTr', 'TrainImages'),
  'test': ('bboxesT', 'phisT', 'TestImages'),
}

HOW_TO_GET = (
  'the folder must hold BoundingBox.mat, Landmark.mat, TrainImages/ and '
  "TestImages/ as in Jourabloo and Liu's release of the 3,901 + 1,299 faces; the "
  'photos come from AFLW, which TU Graz gives to researchers on request. '
  'Without it, `python -m experiments.train --flagfile=demo.flags` trains on '
  'built-in faces.'
)


def read_aflw(data_dir: str | pathlib.Path | None, split: str) -> SampleSet:
  """Reads one split; images stay encoded.

  A Matlab box (x, y, w, h) covers w x h pixels from pixel (x, y) on, counted
  from 1: its outer edges start at (x - 1.5, y - 1.5) in 0-based coordinates.

  Labels and boxes are judged here; images that cannot be decoded, or do not
  meet their box, when they are cropped. Photos that are not there are rejected one
  by one, and their number is named in `missing`.

  Args:
    data_dir: the release folder.
    split: 'train' or 'test'.

  Returns:
    The split.

  Raises:
    FileNotFoundError: if the folder or one of its tables is missing.
    MissingSplitError: if the folder of the split's photos is missing.
    ValueError: if a file is not what its name says, or counts do not agree.
  """
  root, sources, folder = _release(data_dir, split)
  boxes, labels, listed = _tables(root, sources, split, folder)
  landmarks, visible, notes = split_labels(labels)
  paths, samples, rejects, absent = [], [], [], 0
  for number, (box, points, seen) in enumerate(
    zip(boxes, landmarks, visible, strict=True), start=1
  ):
    path = listed.get(str(number))
    name = f'{folder}/{path.name if path else f"{number}.jpg"}'
    reason = label_problem(box, points, seen)
    if reason is None and path is None:
      absent += 1
      reason = 'the photo is not there'
    if reason is not None:
      rejects.append(Reject(name, reason))
      continue
    paths.append(path)
    samples.append(
      Sample(name, b'', points.astype(np.float32), seen, box.astype(np.float32))
    )
  missing = (f'{absent} of {len(boxes)} photos of {folder}/',) if absent else ()
  return SampleSet(
    photo_samples(sources, paths, samples), rejects, notes, sources, missing
  )


def _release(data_dir, split):
  """The folder, the record of what is read, and the folder of the split's photos."""
  if split not in _KEYS:
    raise ValueError(f'split={split!r}; AFLW has train and test.')
  root, sources = data_root(data_dir, HOW_TO_GET)
  for name in ('BoundingBox.mat', 'Landmark.mat'):
    if not sources.is_file(root / name):
      raise FileNotFoundError(f'There is no {root / name}: {HOW_TO_GET}')
  folder = _KEYS[split][2]
  if not sources.is_dir(root / folder):
    raise MissingSplitError(
      f'The split {split} of AFLW is not there, since there is no folder '
      f'{root / folder}: {HOW_TO_GET}'
    )
  return root, sources, folder


def _tables(root, sources, split, folder):
  """Boxes (n, 4) outer edges, labels (n, 3 N), and number -> path of the photos."""
  box_key, label_key, _ = _KEYS[split]
  boxes = read_numbers(root / 'BoundingBox.mat', [box_key])[box_key]
  labels = read_numbers(root / 'Landmark.mat', [label_key])[label_key]
  if boxes.ndim != 2 or boxes.shape[1] != 4:
    raise ValueError(
      f'{root / "BoundingBox.mat"}: {box_key} has shape '
      f'{boxes.shape} but rows must be x y w h.'
    )
  if labels.ndim != 2 or labels.shape[1] % 3 or not labels.shape[1]:
    raise ValueError(
      f'{root / "Landmark.mat"}: {label_key} has shape '
      f'{labels.shape} but rows must be x1..xN y1..yN v1..vN.'
    )
  if len(boxes) != len(labels):
    raise ValueError(
      f'{root}: {len(boxes)} boxes ({box_key}) but {len(labels)} '
      f'rows of landmarks ({label_key}); the two files are not of '
      'one release.'
    )
  listed = {path.stem: path for path in sources.find_images(root / folder).images}
  beyond = [
    path.name
    for stem, path in listed.items()
    if stem.isascii() and stem.isdigit() and int(stem) > len(boxes)
  ]
  if beyond:
    raise ValueError(
      f'{root / folder} holds {beyond[0]} but {box_key} has only '
      f'{len(boxes)} rows; images and tables are not of one '
      'release.'
    )
  return np.concatenate([boxes[:, :2] - 1.5, boxes[:, 2:]], axis=1), labels, listed


def split_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
  """Rows of labels -> 0-based points and their visibility.

  The release does not say whether v = 1 means visible or hidden, so the data
  decide, by the first of these that tells the two values apart:
  1. hidden landmarks have no position: (0, 0), (-1, -1) or NaN;
  2. hidden landmarks crowd: those on the self-occluded side of a turned face are
     nearer to their neighbours than the same landmarks of other faces;
  3. most landmarks are visible.
  If all v are equal, all landmarks with a position are visible.

  Args:
    labels: (n, 3N), 1-based.

  Returns:
    (n, N, 2) points, (n, N) bool visible, and sentences that state the decision.
  """
  count = labels.shape[1] // 3
  x, y, v = (labels[:, i * count : (i + 1) * count] for i in range(3))
  missing = ~np.isfinite(x) | ~np.isfinite(y) | ((x == y) & ((x == 0) | (x == -1)))
  points = np.stack([x, y], axis=-1) - 1.0
  values = np.unique(v[np.isfinite(v)])
  if len(values) <= 1:
    note = (
      f'Visibility: every v is {values[0]:g}; '
      if len(values)
      else 'Visibility: no v is a number; '
    )
    return points, ~missing, [note + 'all landmarks with a position count as visible.']
  large = v > (values[0] + values[-1]) / 2
  small = np.isfinite(v) & ~large
  lacking = np.mean(missing[large]), np.mean(missing[small])
  crowding = _crowding(points, large & ~missing, small & ~missing)
  if lacking[0] != lacking[1]:
    large_is_visible = lacking[0] < lacking[1]
    why = (
      f'{100 * lacking[0]:.1f} % of the landmarks with the larger v have no '
      f'position, {100 * lacking[1]:.1f} % of the others'
    )
  elif abs(np.log(crowding)) > 0.05:
    large_is_visible = crowding > 1
    why = (
      f'landmarks with the larger v are {crowding:.2f} times as far from '
      'their neighbours as with the smaller'
    )
  else:
    large_is_visible = large.sum() >= small.sum()
    why = f'{100 * large.sum() / v.size:.1f} % have the larger v'
  visible = (large if large_is_visible else small) & ~missing
  return (
    points,
    visible,
    [
      f'Visibility: the {"larger" if large_is_visible else "smaller"} v means '
      f'visible ({why}).'
    ],
  )


def _crowding(points, large, small):
  """Distance to the nearest landmark where v is large over where it is small.

  Every landmark is compared with itself in other faces, as some lie closer
  together than others. 1 where there is nothing to compare.
  """
  known = large | small
  ratios = []
  distance = np.full(known.shape, np.nan)
  for row, (face, some) in enumerate(zip(points, known, strict=True)):
    if some.sum() < 4:
      continue
    face = face[some]
    gaps = np.linalg.norm(face[:, None] - face, axis=-1)
    size = gaps.max()
    np.fill_diagonal(gaps, np.inf)
    if size > 0:
      distance[row, some] = gaps.min(axis=1) / size
  for column in range(known.shape[1]):
    with_large = distance[large[:, column], column]
    with_small = distance[small[:, column], column]
    if min(np.isfinite(with_large).sum(), np.isfinite(with_small).sum()) >= 5:
      pair = np.nanmean(with_large), np.nanmean(with_small)
      if min(pair) > 0:
        ratios.append(np.log(pair[0] / pair[1]))
  return float(np.exp(np.median(ratios))) if ratios else 1.0
