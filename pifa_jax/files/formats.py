"""Files of landmarks and fitted faces; `mesh_files` writes meshes.

Formats: .pts .npy .json .csv .mat .npz

In memory points are 0-based pixels (an integer is a pixel's centre) and boxes outer
edges; every file keeps its own field's habits, stated at its function.
"""

import contextlib
import csv
import dataclasses
import io
import json
import math
import os
import pathlib
import re
from typing import Any
import zipfile

import numpy as np

from pifa_jax.files import content as content_lib
from pifa_jax.files import matlab_files

_MAX_POINTS = 100_000
_MAX_BYTES = 64 << 20  # of a file of landmarks
LANDMARK_SUFFIXES = ('.pts', '.json', '.ljson', '.npy', '.csv', '.mat')
HIDDEN_POINTS = ('auto', 'negative', 'minus_one', 'none')
# A landmark this many times as far from the middle of its face as the median landmark
# is no landmark: on a face the farthest of 68 is 2.5 times as far, in profile 3.
_FARTHEST = 8.0
_MAT_POINTS = ('pt3d_68', 'pts_3d', 'pt2d', 'pts_2d', 'landmarks')


class NoLandmarksError(ValueError):
  """A sound file of a type that may hold landmarks holds something else."""


@dataclasses.dataclass(frozen=True)
class LandmarkFile:
  """What a file says of faces.

  Attributes:
    points: (n, N, 2) float32 0-based pixels of n faces; NaN where not labelled.
    visible: (n, N) bool: labelled, and not marked as hidden.
    boxes: (n, 4) float32 outer edges x, y, width, height, NaN where a face has none;
      None if no face has one.
    marks_hidden: whether negative coordinates were read as marks of hidden points.
    is_ambiguous: whether some negative coordinates may be marks as well as points
      outside the photo, and were taken for points.
    is_video: whether the faces are of different frames, not of one photo.
    notes: decisions for the user, phrases such as 'a third column was read as depth'.
  """

  points: np.ndarray
  visible: np.ndarray
  boxes: np.ndarray | None = None
  marks_hidden: bool = False
  is_ambiguous: bool = False
  is_video: bool = False
  notes: tuple[str, ...] = ()


def read_landmarks(
  path: str | os.PathLike[str], *, hidden_points: str = 'auto'
) -> LandmarkFile:
  """Reads a file of landmarks of any known kind, chosen by its suffix.

  - .pts: iBUG's text, 1-based; one face.
  - .json: COCO's way, 0-based: "keypoints" [x, y, v, ...], v = 0 not labelled, 1
    labelled but hidden, 2 visible, and "bbox" [x, y, w, h]; or a whole COCO file of
    one photo ("annotations"). Or "landmarks" [[x, y], ...] with "visible" [...] or
    "occluded" [...] and "box" [x, y, w, h]. null or NaN = not labelled.
  - .ljson (or .json with the same content): Menpo's, versions 1 to 3, 0-based rows
    y, x; null = not labelled.
  - .npy: (N, 2), (N, 3), (n, N, 2) or (n, N, 3), 0-based; not visible where not
    finite. A third column that holds 0, 1 and 2 alone is COCO's v (without any 2:
    1 = visible); all zeros, or any other numbers, are depth, which is not used.
  - .csv: OpenFace's, 0-based: columns x_0, ..., y_0, ...; a row a face or a frame;
    rows with success = 0 are left out.
  - .mat: "pt3d_68" (3, 68) or "pts_3d" (68, 2), else "pt2d" (2, N) or "pts_2d"
    (N, 2), of 300W-LP and AFLW2000-3D, or "landmarks" (N, 2) or (n, N, 2); 1-based;
    -1 or NaN = not labelled.

  Where a file does not say itself which points are hidden, `hidden_points` does: see
  `mark_hidden`.

  Args:
    path: the file.
    hidden_points: one of `HIDDEN_POINTS`.

  Returns:
    Its faces.

  Raises:
    FileNotFoundError: if it does not exist.
    NoLandmarksError: if it is a sound .json, .csv or .mat about other things.
    ValueError: if it cannot be read, with the reason.
  """
  path = pathlib.Path(path)
  suffix = path.suffix.lower()
  if hidden_points not in HIDDEN_POINTS:
    raise ValueError(
      f'hidden_points={hidden_points!r} is not one of {", ".join(HIDDEN_POINTS)}.'
    )
  if suffix == '.pts':
    return _one_face(_pts_numbers(path), path, hidden_points, base=1)
  if suffix in ('.json', '.ljson'):
    return _read_json(path, hidden_points)
  if suffix == '.npy':
    return _read_npy(path, hidden_points)
  if suffix == '.csv':
    return _read_openface(path)
  if suffix == '.mat':
    return _read_mat(path, hidden_points)
  raise ValueError(
    f'{path.name} is no file of landmarks; they end in {", ".join(LANDMARK_SUFFIXES)}.'
  )


def _bytes(path):
  with open(path, 'rb') as file:
    data = file.read(_MAX_BYTES + 1)
  if len(data) > _MAX_BYTES:
    raise ValueError(
      f'{path.name} is larger than {_MAX_BYTES >> 20} MiB; no file of landmarks is.'
    )
  return data


def _text(path):
  """A text file's content, after a look at whether it is one."""
  data = _bytes(path)
  foreign = content_lib.foreign_content(data)
  if foreign is not None:
    raise ValueError(f'{path.name} is not a {path.suffix} file but {foreign}')
  try:
    return data.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise ValueError(f'{path.name} is not a text file') from error


def mark_hidden(
  numbers: np.ndarray, rule: str, *, base: int
) -> tuple[np.ndarray, np.ndarray, bool, bool]:
  """Tells points from marks of hidden points among one face's coordinates.

  Label sets write points that cannot be seen as negative coordinates: MERL-RAV has
  (-x, -y) for a point at (x, y) that an object hides, and (-1, -1) for one that the
  head itself hides and that has no location; others write (0, 0) for the latter.
  But a point of a face at the photo's edge may have a negative coordinate, too.

  Rules:
  - 'negative': pairs of negative numbers are MERL-RAV's marks.
  - 'minus_one': (-1, -1) has no location; all other numbers are points.
  - 'none': all numbers are points.
  - 'auto': let B be the box of the points that are not such pairs, grown by half its
    longer side on every side. (-1, -1) and (0, 0) have no location if they lie
    outside the box grown by a tenth, or stand there twice: no two landmarks share a
    place. A pair (-x, -y) is a mark if (x, y) lies in B and (-x, -y) outside. If
    there is any mark, or if fewer than four other points are there, all pairs are
    marks ('negative'). Pairs that lie in B, with no mark in the file, are points,
    and ambiguous.

  Args:
    numbers: (N, 2) as in the file; NaN = not labelled.
    rule: one of `HIDDEN_POINTS`.
    base: the number of the first pixel in the file, 0 or 1.

  Returns:
    (N, 2) 0-based points, NaN without a location; (N,) bool visible; whether there
    were marks; and whether there were pairs that may be marks.
  """
  numbers = np.asarray(numbers, np.float64)
  known = np.isfinite(numbers).all(axis=1)
  numbers = np.where(known[:, None], numbers, np.nan)
  with np.errstate(invalid='ignore'):
    pair = (numbers < 0).all(axis=1)
    minus_one, zero = (numbers == -1).all(axis=1), (numbers == 0).all(axis=1)
  nowhere, marked, ambiguous = np.zeros_like(known), np.zeros_like(known), False
  if rule == 'negative':
    nowhere, marked = minus_one, pair & ~minus_one
  elif rule == 'minus_one':
    nowhere = minus_one
  elif rule == 'auto' and (pair | zero).any():
    others = known & ~pair & ~zero
    if others.sum() < 4:
      nowhere, marked = minus_one | (zero & (zero.sum() > 1)), pair & ~minus_one
    else:
      low, high = numbers[others].min(axis=0), numbers[others].max(axis=0)
      side = max(high - low)
      inside = lambda p, part: (
        (p >= low - part * side) & (p <= high + part * side)
      ).all(axis=1)
      with np.errstate(invalid='ignore'):
        here, there = inside(numbers, 0.5), inside(-numbers, 0.5)
        near = inside(numbers, 0.1)
      has = lambda mark: mark.sum() > 1 or bool((mark & ~near).any())
      marked = pair & ~minus_one & there & ~here
      if marked.any() or has(minus_one):
        nowhere, marked = minus_one.copy(), pair & ~minus_one
      else:
        ambiguous = bool((pair & here).any())
      if has(zero):
        nowhere = nowhere | zero
  points = np.where(marked[:, None], -numbers, numbers) - base
  points = np.where(nowhere[:, None], np.nan, points)
  hidden = nowhere | marked
  return points, known & ~hidden, bool(hidden.any()), ambiguous


def impossible_points(points: np.ndarray, visible: np.ndarray) -> str | None:
  """Names points that cannot belong to the face of the others.

  Args:
    points: (N, 2) pixels of one face.
    visible: (N,) bool.

  Returns:
    'point 12 at (-850, -3) lies ...', numbered from 1; None if all may be right.
  """
  rows = np.flatnonzero(visible)
  if len(rows) < 5:
    return None
  some = np.asarray(points, np.float64)[rows]
  gap = np.linalg.norm(some - np.median(some, axis=0), axis=1)
  far = gap > _FARTHEST * max(np.median(gap), 1e-9)
  if not far.any() or not np.median(gap):
    return None
  x, y = some[far][0]
  more = f' and {far.sum() - 1} more' if far.sum() > 1 else ''
  return (
    f'point {rows[far][0] + 1} at ({x:g}, {y:g}){more} cannot belong to the face of '
    'the other points; if such numbers mark hidden points, say so with --hidden_points'
  )


def _faces(numbers, path, rule, *, base, visible=None, boxes=None, notes=(), **more):
  """A LandmarkFile of (n, N, 2) numbers as they stand in a file."""
  numbers = np.asarray(numbers, np.float64)
  known = np.isfinite(numbers).all(axis=-1, keepdims=True)
  # NaN means not labelled; an infinite number is an error of who wrote it.
  _finite(np.where(np.isnan(numbers), 0.0, numbers), path)
  rows = [
    mark_hidden(face, rule, base=base) for face in np.where(known, numbers, np.nan)
  ]
  points = np.stack([row[0] for row in rows])
  seen = np.stack([row[1] for row in rows])
  if visible is not None:
    seen &= visible
  for row, (face, usable) in enumerate(zip(points, seen, strict=True)):
    problem = impossible_points(face, usable) if rule != 'none' else None
    if problem and len(points) == 1:
      raise ValueError(f'{path.name}: {problem}')
    if problem:
      usable[:] = False
      notes = (*notes, f'{path.name}, face {row + 1}: {problem}')
  return LandmarkFile(
    points.astype(np.float32),
    seen,
    None if boxes is None else np.asarray(boxes, np.float32),
    marks_hidden=any(row[2] for row in rows),
    is_ambiguous=any(row[3] for row in rows),
    notes=tuple(notes),
    **more,
  )


def _one_face(numbers, path, rule, *, base, visible=None, box=None, **more):
  return _faces(
    numbers[None],
    path,
    rule,
    base=base,
    visible=None if visible is None else visible[None],
    boxes=None if box is None else box[None],
    **more,
  )


def read_pts(path: str | os.PathLike[str]) -> np.ndarray:
  """Points of an iBUG .pts file, 1-based there, 0-based here; every pair is a point.

  Args:
    path: a text file "version: 1 / n_points: 68 / { / x y / ... / }".

  Returns:
    (N, 2) float32 pixels.

  Raises:
    ValueError: if it is not such a file, or a number is not finite.
  """
  path = pathlib.Path(path)
  return _finite(_pts_numbers(path) - 1.0, path)


# What may stand before the points: "version: 1", "n_points: 68", comments.
_PTS_HEADER = re.compile(r'\s*(\w[\w ]*:[^<>]*|#.*|//.*)?\s*')


def _pts_numbers(path):
  """(N, 2) float64 numbers of a .pts file, as they stand there."""
  text = _text(path)
  head, brace, rest = text.partition('{')
  body, end, tail = rest.partition('}')
  if not brace or not end:
    raise ValueError(
      f'{path.name} has no {{ points }}: it is not a .pts file, or only a part of one'
    )
  odd = [line for line in head.splitlines() if not _PTS_HEADER.fullmatch(line)]
  if odd or (tail.strip() and '{' not in tail):
    line = (odd or tail.strip().splitlines())[0].strip()
    raise ValueError(
      f'{path.name} is not a .pts file: it has the line {line[:40]!r} outside of '
      '{ points }'
    )
  rows = [line.split() for line in body.splitlines() if line.strip()]
  if len(rows) > _MAX_POINTS:
    raise ValueError(f'{path.name} has {len(rows)} points')
  wide = [row for row in rows if len(row) != 2]
  if wide:
    raise ValueError(
      f'{path.name} has the line {" ".join(wide[0])[:40]!r}, which is not "x y"; files '
      'with depth or flags beside the points go into .npy or .json'
    )
  try:
    points = np.array([[float(x), float(y)] for x, y in rows], np.float64)
  except ValueError as error:
    raise ValueError(
      f'{path.name} has a line that is not "x y" with decimal points'
    ) from error
  if not len(points):
    raise ValueError(f'{path.name} has no points between its braces')
  wanted = re.search(r'^\s*n_?points\s*:\s*(\S*)', head, re.MULTILINE)
  if wanted and wanted[1] != str(len(points)):
    raise ValueError(
      f'{path.name} says n_points: {wanted[1][:20]} but has {len(points)}'
    )
  return points


def _finite(points, path):
  """float32 points that are numbers of pixels."""
  if not np.all(np.abs(points) < 1e7):  # False for NaN as well
    raise ValueError(f'{path.name} has a point that is not finite')
  return points.astype(np.float32)


def _read_npy(path, rule):
  points = _npy_array(path)
  shape = points.shape
  if points.ndim == 2:
    points = points[None]
  if points.ndim != 3 or points.shape[2] not in (2, 3) or not points.size:
    raise ValueError(
      f'{path.name} has shape {shape}; wanted (N, 2) or (N, 3), or one more axis in '
      'front for n faces.'
    )
  points = np.where(np.isfinite(points), points, np.nan)
  visible = None
  notes: tuple[str, ...] = ()
  if points.shape[2] == 3:
    flags = points[..., 2]
    values = np.unique(flags[np.isfinite(flags)])
    if len(values) > 1 and np.isin(values, (0, 1, 2)).all():
      visible = flags == (2 if values[-1] == 2 else 1)
      labelled = flags > 0 if values[-1] == 2 else np.ones_like(visible)
      points = np.where(labelled[..., None], points, np.nan)
      notes = ('the third column was read as visibility',)
    elif np.any(values != 0):
      notes = ('the third column was read as depth and is not used',)
    points = points[..., :2]
  return _faces(points, path, rule, base=0, visible=visible, notes=notes)


def _npy_array(path):
  data = _bytes(path)
  try:
    # The header is checked against the bytes that are there before NumPy asks for
    # memory.
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    reader = (
      np.lib.format.read_array_header_1_0
      if version == (1, 0)
      else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = reader(stream)
    if dtype.kind not in 'fiu':
      raise ValueError(f'it holds {dtype}, not numbers')
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
      raise ValueError('it is cut off')
    return np.load(io.BytesIO(data), allow_pickle=False).astype(np.float64)
  # A mutated header is parsed as Python text, with whatever that may raise.
  except Exception as error:
    foreign = content_lib.foreign_content(data)
    reason = f'it is {foreign}' if foreign and b'NUMPY' not in data[:6] else error
    raise ValueError(
      f'{path.name} is not a .npy file of numbers ({reason}).'
    ) from error


def _read_openface(path):
  """OpenFace 2: "Output Format" of its documentation; older files pad their names."""
  rows = list(csv.reader(io.StringIO(_text(path), newline='')))
  names = [name.strip() for name in rows[0]] if rows else []
  count = sum(re.fullmatch(r'x_\d+', name) is not None for name in names)
  wanted = [f'{axis}_{i}' for i in range(count) for axis in 'xy']
  if not count or not set(wanted) <= set(names):
    raise NoLandmarksError(
      f'{path.name} has no columns x_0, y_0, ... of landmarks in pixels; a .csv must '
      'be as OpenFace writes it.'
    )
  if len(set(names)) != len(names):
    raise ValueError(f'{path.name} has two columns of one name.')
  columns = {name: number for number, name in enumerate(names)}
  faces, frames = [], set()
  for number, row in enumerate(rows[1:], start=2):
    if not row:
      continue
    try:
      value = lambda name, row=row: float(row[columns[name]])
      if 'success' in columns and value('success') == 0:
        continue
      if 'frame' in columns:
        frames.add(value('frame'))
      faces.append([value(name) for name in wanted])
    except (IndexError, ValueError) as error:
      raise ValueError(
        f'{path.name}, line {number}: it has {len(row)} fields, or one that is not a '
        f'number; wanted {len(names)} as in the first line.'
      ) from error
  if not faces:
    raise ValueError(f'{path.name} has no row of a face that was found.')
  points = np.array(faces).reshape(len(faces), count, 2)
  return _faces(points, path, 'none', base=0, is_video=len(frames) > 1)


def _read_mat(path, rule):
  content = matlab_files.read_mat(path, _MAT_POINTS)
  if not content:
    raise NoLandmarksError(f'{path.name} has none of {", ".join(_MAT_POINTS)}.')
  name = next(n for n in _MAT_POINTS if n in content)
  value = content[name]
  if not isinstance(value, np.ndarray) or value.dtype.kind not in 'fiu':
    raise ValueError(f'{path.name}: {name} is not a table of numbers.')
  points = value.astype(np.float64)
  if name in ('pt3d_68', 'pt2d'):
    if points.ndim != 2 or points.shape[0] not in (2, 3) or not points.shape[1]:
      raise ValueError(
        f'{path.name}: {name} has shape {points.shape}; wanted (2, N) or (3, N).'
      )
    points = points[:2].T
  if points.ndim == 2:
    points = points[None]
  if points.ndim != 3 or points.shape[2] != 2 or not points.size:
    raise ValueError(
      f'{path.name}: {name} has shape {value.shape}; wanted (N, 2), or (n, N, 2) for n '
      'faces.'
    )
  # The releases of 300W-LP and AFLW2000-3D write -1 for what is not labelled.
  missing = (points == -1).all(axis=-1, keepdims=True) & (rule != 'none')
  return _faces(np.where(missing, np.nan, points), path, rule, base=1)


def parse_json(data: bytes, name: str, *, allow_nan: bool = False) -> dict[str, Any]:
  """A JSON object, from bytes of any origin.

  Args:
    data: UTF-8 text.
    name: of the file, for messages.
    allow_nan: accept NaN, which is not JSON but which many programs write.

  Returns:
    The object.

  Raises:
    ValueError: if it is not one, an object in it has a name twice, or it holds an
      infinite number, or NaN unless allowed.
  """

  def constant(text):
    if allow_nan and text == 'NaN':
      return math.nan
    raise ValueError(f'it holds {text}')

  def pairs(items):
    found = dict(items)
    if len(found) < len(items):
      names = [name for name, _ in items]
      twice = next(name for name in names if names.count(name) > 1)
      raise ValueError(f'one object has the name {twice[:40]!r} twice')
    return found

  try:
    value = json.loads(
      data.decode('utf-8-sig'), parse_constant=constant, object_pairs_hook=pairs
    )
  except (ValueError, RecursionError) as error:
    foreign = content_lib.foreign_content(data)
    text = f'it is {foreign}' if foreign else str(error).split('\n')[0][:120]
    raise ValueError(
      f'{name} is not JSON that can be read ({text}); it should hold one '
      'object, {"name": value, ...}: write it again.'
    ) from error
  if not isinstance(value, dict):
    raise ValueError(
      f'{name} is not a JSON object but a {type(value).__name__}; it '
      'should hold {"name": value, ...}.'
    )
  return value


def _numbers(value, what, name):
  """A JSON list, or list of lists, as an array; null = NaN."""
  try:
    # None becomes NaN; text that looks like a number is not one.
    table = np.asarray(value, np.float64)
    kinds = np.asarray(value, object).ravel()
    if any(isinstance(item, (str, list)) for item in kinds):
      raise ValueError
    return table
  except (TypeError, ValueError, OverflowError, RecursionError) as error:
    raise ValueError(f'{name}: {what} is not a list of numbers.') from error


def _vector(value, length, what, name):
  """A JSON list of `length` numbers; None = of any length."""
  table = _numbers(value, what, name)
  if table.ndim != 1 or not table.size or length not in (None, len(table)):
    wanted = 'a list of numbers' if length is None else f'{length} numbers'
    raise ValueError(f'{name}: {what} has shape {table.shape}; wanted {wanted}.')
  return table


def _rows(value, width, what, name):
  """A JSON list of rows of `width` numbers."""
  table = _numbers(value, what, name)
  if table.ndim != 2 or table.shape[1] != width or not table.size:
    raise ValueError(
      f'{name}: {what} has shape {table.shape}; wanted rows of {width} numbers.'
    )
  return table


def _box(value, name):
  """(4,) x, y, width, height of a JSON value; None stays None."""
  if value is None:
    return None
  box = _vector(value, 4, 'the box', name)
  if not np.all(np.abs(box) < 1e7) or min(box[2:]) <= 0:
    raise ValueError(f'{name}: the box {box.tolist()} is not x, y, width, height.')
  return box


def coco_keypoints(value: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
  """Keypoints of one face in COCO's way.

  Args:
    value: the JSON value, [x, y, v, x, y, v, ...] or rows [x, y, v]; null or NaN in
      place of a coordinate, or v = 0, means not labelled.
    name: of the file, for messages.

  Returns:
    (N, 2) float64 points, NaN where not labelled, and (N,) bool visible (v = 2).

  Raises:
    ValueError: if it is not that.
  """
  table = _numbers(value, 'keypoints', name)
  if table.ndim == 1 and table.size and table.size % 3 == 0:
    # The format's own layout: one flat list of triples.
    table = table.reshape(-1, 3)
  if table.ndim != 2 or table.shape[1:] != (3,) or not table.size:
    raise ValueError(
      f'{name}: keypoints has shape {table.shape}; wanted triples x, y, v.'
    )
  points, flag = table[:, :2], np.where(np.isnan(table[:, 2]), 0, table[:, 2])
  if not np.isin(flag, (0, 1, 2)).all():
    raise ValueError(f'{name}: a v of keypoints is not 0, 1 or 2.')
  labelled = (flag > 0) & ~np.isnan(points).any(axis=1)
  return np.where(labelled[:, None], points, np.nan), labelled & (flag == 2)


def _read_json(path, rule):
  name = path.name
  content = parse_json(_bytes(path), name, allow_nan=True)
  if 'annotations' in content:
    return _coco_photo(content, path)
  if isinstance(content.get('landmarks'), dict) or 'groups' in content:
    return _one_face(_ljson_points(content, name), path, rule, base=0)
  box = _box(content.get('bbox', content.get('box')), name)
  if 'keypoints' in content:
    points, visible = coco_keypoints(content['keypoints'], name)
    # v says what is hidden: no mark is looked for among the coordinates.
    return _one_face(points, path, 'none', base=0, visible=visible, box=box)
  if 'landmarks' not in content:
    raise NoLandmarksError(f'{name} has neither "keypoints" nor "landmarks".')
  points = _rows(content['landmarks'], 2, 'landmarks', name)
  flagged: np.ndarray | None = None
  for key, seen in (('visible', True), ('occluded', False)):
    if content.get(key) is not None:
      flags = _vector(content[key], None, key, name)
      if len(flags) != len(points):
        raise ValueError(
          f'{name} has {len(points)} landmarks but {len(flags)} entries of {key}.'
        )
      flagged = (np.nan_to_num(flags) > 0) == seen
  return _one_face(points, path, rule, base=0, visible=flagged, box=box)


def _coco_photo(content, path):
  """The faces of a COCO file that is about one photo."""
  faces = content['annotations']
  if not isinstance(faces, list) or not all(isinstance(face, dict) for face in faces):
    raise ValueError(f'{path.name}: "annotations" is not a list of objects.')
  faces = [face for face in faces if face.get('keypoints')]
  if len({str(face.get('image_id')) for face in faces}) > 1:
    raise ValueError(
      f'{path.name} holds the faces of several photos; read it with --dataset=coco.'
    )
  if not faces:
    raise ValueError(f'{path.name} has no annotation with "keypoints".')
  marks = [coco_keypoints(face['keypoints'], path.name) for face in faces]
  if len({len(visible) for _, visible in marks}) > 1:
    raise ValueError(f'{path.name} has faces with different numbers of keypoints.')
  boxes = [_box(face.get('bbox'), path.name) for face in faces]
  return _faces(
    np.stack([points for points, _ in marks]),
    path,
    'none',
    base=0,
    visible=np.stack([visible for _, visible in marks]),
    boxes=None
    if all(box is None for box in boxes)
    else [np.full(4, np.nan) if box is None else box for box in boxes],
  )


def _ljson_points(content, name):
  """(N, 2) x, y of Menpo's .ljson, whose rows are y, x."""
  groups = content.get('groups')
  if isinstance(groups, dict):  # version 3: named groups, one is enough
    if len(groups) != 1:
      raise ValueError(f'{name} has {len(groups)} groups of landmarks; one is read.')
    content = next(iter(groups.values()))
    if not isinstance(content, dict):
      raise ValueError(f'{name}: its group is not an object.')
  elif isinstance(groups, list):  # version 1: a list of parts of the face
    try:
      points = [row['point'] for group in groups for row in group['landmarks']]
    except (KeyError, TypeError) as error:
      raise ValueError(f'{name}: a group has no landmarks with a "point".') from error
    content = {'landmarks': {'points': points}}
  landmarks = content.get('landmarks')
  if not isinstance(landmarks, dict) or 'points' not in landmarks:
    raise ValueError(f'{name} has no "points" in its "landmarks".')
  return _rows(landmarks['points'], 2, 'points', name)[:, ::-1]


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
  """Writes a file whole or not at all.

  Args:
    path: the file; what was there is replaced.
    data: its content.
  """
  path = pathlib.Path(path)
  temporary = path.with_name(path.name + '.tmp')
  try:
    temporary.write_bytes(data)
    os.replace(temporary, path)
  except OSError:
    # On a full disk its bytes are missed elsewhere.
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)
    raise


def write_pts(path: str | os.PathLike[str], points: np.ndarray) -> None:
  """Writes landmarks as an iBUG .pts file, which is 1-based.

  Args:
    path: the file.
    points: (N, 2) 0-based pixels.
  """
  lines = [f'{x + 1:.3f} {y + 1:.3f}' for x, y in np.asarray(points, np.float64)]
  text = '\n'.join(['version: 1', f'n_points: {len(lines)}', '{', *lines, '}', ''])
  write_atomically(path, text.encode())


def write_json(
  path: str | os.PathLike[str],
  points: np.ndarray,
  visible: np.ndarray,
  box: np.ndarray | None = None,
  **more,
) -> None:
  """Writes one face in COCO's way: see `read_landmarks`.

  Args:
    path: the file.
    points: (N, 2) 0-based; NaN = not labelled.
    visible: (N,) bool.
    box: (4,) outer edges.
    **more: JSON values to keep beside them.
  """
  flag = np.where(np.isfinite(points).all(axis=-1), np.where(visible, 2, 1), 0)
  rows = [
    [round(float(x), 3), round(float(y), 3), int(v)] if v else [0, 0, 0]
    for (x, y), v in zip(points, flag, strict=True)
  ]
  content = {
    'keypoints': [number for row in rows for number in row],
    'num_keypoints': int((flag > 0).sum()),
    **more,
  }
  if box is not None:
    content['bbox'] = [round(float(x), 3) for x in box]
  write_atomically(path, (json.dumps(content) + '\n').encode())


def write_npz(path: str | os.PathLike[str], **arrays) -> None:
  """Writes plain arrays; the same bytes for the same arrays.

  Args:
    path: the file.
    **arrays: name = array, of numbers or text.
  """
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, 'w') as archive:
    for name, value in arrays.items():
      member = io.BytesIO()
      np.save(member, np.asarray(value), allow_pickle=False)
      # A fixed date: the time of writing is not part of a result.
      archive.writestr(
        zipfile.ZipInfo(f'{name}.npy', (1980, 1, 1, 0, 0, 0)), member.getvalue()
      )
  write_atomically(path, stream.getvalue())
