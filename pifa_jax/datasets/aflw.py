"""The AFLW subset of the paper in its release format, read from a folder.

  BoundingBox.mat   bboxesTr (n, 4), bboxesT (m, 4): rows x y w h
  Landmark.mat      phisTr, phisT: rows x1..xN y1..yN v1..vN
  TrainImages/1.jpg ... TestImages/1.jpg ...

Everything counts from 1, as in Matlab.
"""

import dataclasses
import pathlib

import numpy as np

from pifa_jax.datasets.samples import Reject, Sample

_KEYS = {'train': ('bboxesTr', 'phisTr', 'TrainImages'),
         'test': ('bboxesT', 'phisT', 'TestImages')}

_HOW_TO_GET = (
    "the folder must hold BoundingBox.mat, Landmark.mat, TrainImages/ and "
    "TestImages/ as in Jourabloo and Liu's release of the 3,901 + 1,299 faces; the "
    'photographs come from AFLW, which TU Graz gives to researchers on request. '
    'Without it, `python -m experiments.train --flagfile=demo.flags` trains on '
    'built-in faces.')


@dataclasses.dataclass(frozen=True)
class AflwSplit:
  """One split.

  Attributes:
    samples: usable rows, in the order of the files.
    rejects: the others, with reasons.
    notes: sentences for the user: what was decided from the data.
  """

  samples: list[Sample]
  rejects: list[Reject]
  notes: list[str]


def read_aflw(data_dir: str | pathlib.Path | None, split: str) -> AflwSplit:
  """Reads one split; images stay encoded.

  A Matlab box (x, y, w, h) covers w x h pixels from pixel (x, y) on, counted
  from 1: its outer edges start at (x - 1.5, y - 1.5) in 0-based coordinates.

  Args:
    data_dir: the release folder.
    split: 'train' or 'test'.

  Returns:
    The split.

  Raises:
    FileNotFoundError: if the folder or one of its files is missing.
    ValueError: if a file is not what its name says, or counts do not agree.
  """
  boxes, labels, files = read_tables(data_dir, split)
  landmarks, visible, notes = split_labels(labels)
  samples, rejects = [], []
  for row, (box, points, seen, path) in enumerate(
      zip(boxes, landmarks, visible, files)):
    del row
    name = f'{path.parent.name}/{path.name}'
    reason = _problem(box, points, seen)
    if reason is None:
      try:
        data = path.read_bytes()
      except OSError as error:
        reason = f'cannot be read ({error.strerror})'
    if reason is not None:
      rejects.append(Reject(name, reason))
      continue
    samples.append(Sample(name, data, points.astype(np.float32), seen,
                          box.astype(np.float32)))
  return AflwSplit(samples, rejects, notes)


def read_tables(data_dir: str | pathlib.Path | None, split: str
                ) -> tuple[np.ndarray, np.ndarray, list[pathlib.Path]]:
  """The raw tables of a split: boxes (outer edges), labels, image paths.

  Raises:
    FileNotFoundError, ValueError: see `read_aflw`.
  """
  if split not in _KEYS:
    raise ValueError(f'split={split!r}; AFLW has train and test.')
  if not data_dir:
    raise FileNotFoundError(f'No --data_dir was given: {_HOW_TO_GET}')
  root = pathlib.Path(data_dir).expanduser()
  box_key, label_key, folder = _KEYS[split]
  for name in ('BoundingBox.mat', 'Landmark.mat', folder):
    if not (root / name).exists():
      raise FileNotFoundError(f'There is no {root / name}: {_HOW_TO_GET}')
  boxes = _read_mat(root / 'BoundingBox.mat', box_key)
  labels = _read_mat(root / 'Landmark.mat', label_key)
  if boxes.ndim != 2 or boxes.shape[1] != 4:
    raise ValueError(f'{root / "BoundingBox.mat"}: {box_key} has shape '
                     f'{boxes.shape} but rows must be x y w h.')
  if labels.ndim != 2 or labels.shape[1] % 3 or not labels.shape[1]:
    raise ValueError(f'{root / "Landmark.mat"}: {label_key} has shape '
                     f'{labels.shape} but rows must be x1..xN y1..yN v1..vN.')
  if len(boxes) != len(labels):
    raise ValueError(f'{root}: {len(boxes)} boxes ({box_key}) but {len(labels)} '
                     f'rows of landmarks ({label_key}); the two files are not of '
                     'one release.')
  listed = {path.stem: path for path in sorted((root / folder).iterdir())
            if path.suffix.lower() in ('.jpg', '.jpeg', '.png')}
  files = [listed.get(str(n), root / folder / f'{n}.jpg')
           for n in range(1, len(boxes) + 1)]
  boxes = np.concatenate([boxes[:, :2] - 1.5, boxes[:, 2:]], axis=1)
  return boxes, labels, files


def _read_mat(path, key):
  import scipy.io
  try:
    content = scipy.io.loadmat(path, variable_names=[key])
  # scipy raises many kinds on damaged files, none of them documented.
  except Exception as error:  # pylint: disable=broad-except
    head = path.read_bytes()[:100].lstrip().lower()
    what = ("it is a web page saved under the file's name"
            if head.startswith((b'<!doctype', b'<html')) else str(error))
    raise ValueError(f'{path} is not a Matlab file that can be read: {what}; get '
                     'it again.') from error
  if key not in content:
    raise ValueError(f'{path} has no variable {key!r}; it is not the release\'s '
                     'file.')
  value = content[key]
  if value.dtype.kind not in 'fiu':
    raise ValueError(f'{path}: {key!r} holds {value.dtype}, not numbers.')
  return value.astype(np.float64)


def split_labels(labels: np.ndarray
                 ) -> tuple[np.ndarray, np.ndarray, list[str]]:
  """Rows of labels -> 0-based points and their visibility.

  The release does not say whether v = 1 means visible or hidden, so the data
  decide: a hidden landmark often has no position, (0, 0); if none is without, the
  rarer value is taken as hidden, because in a balanced set of poses most
  landmarks of a face are visible. If all v are equal, all are visible.

  Args:
    labels: (n, 3N).

  Returns:
    (n, N, 2) points, (n, N) bool visible, and sentences that state the decision.
  """
  count = labels.shape[1] // 3
  x, y, v = (labels[:, i * count:(i + 1) * count] for i in range(3))
  missing = ~np.isfinite(x) | ~np.isfinite(y) | ((x == 0) & (y == 0))
  known = v[np.isfinite(v)]
  values = np.unique(known)
  if len(values) <= 1:
    visible = np.ones(v.shape, bool)
    note = f'Visibility: every v is {values[0] if len(values) else "NaN"}; all ' \
           'landmarks with a position count as visible.'
  else:
    on = v > (values[0] + values[-1]) / 2
    share_on = np.mean(missing[on]) if on.any() else 0.0
    share_off = np.mean(missing[~on]) if (~on).any() else 0.0
    if share_on != share_off:
      one_is_visible = share_on < share_off
      why = (f'{100 * share_on:.1f} % of those with the larger v lack a position, '
             f'{100 * share_off:.1f} % of the others')
    else:
      one_is_visible = np.mean(on) >= 0.5
      why = f'{100 * np.mean(on):.1f} % have the larger v'
    visible = on if one_is_visible else ~on
    note = (f'Visibility: the {"larger" if one_is_visible else "smaller"} v means '
            f'visible ({why}).')
  points = np.stack([x, y], axis=-1) - 1.0
  return points, visible & ~missing, [note]


def _problem(box, points, visible):
  if not np.all(np.isfinite(box)):
    return 'the box is not finite'
  if box[2] <= 0 or box[3] <= 0:
    return f'the box is {box[2]:g} x {box[3]:g}'
  if visible.sum() < 4:
    return f'only {visible.sum()} landmarks are labelled; 4 are needed'
  if not np.all(np.isfinite(points[visible])):
    return 'a visible landmark is not finite'
  centre, size = box[:2] + box[2:] / 2, np.sqrt(box[2] * box[3])
  if np.min(np.abs(points[visible] - centre).max(axis=1)) > 2 * size:
    return 'the box is nowhere near the landmarks'
  return None
