"""Files of face boxes: {"photo.jpg": [[x, y, width, height], ...], ...}.

In memory a box is x, y, width, height of its outer edges in 0-based pixels, where an
integer is a pixel's centre. Everything here takes what people's detectors write apart
and says, row by row, what cannot be used.
"""

import collections
from collections.abc import Iterable, Mapping
import dataclasses
import json
import os
import pathlib
import posixpath
from typing import Any, Literal

import numpy as np

from pifa_jax.files import formats, images

BoxFormat = Literal['xywh', 'xyxy']
BOX_FORMATS: tuple[BoxFormat, ...] = ('xywh', 'xyxy')
_NUMBERS = {'xywh': '[x, y, width, height]', 'xyxy': '[x1, y1, x2, y2]'}
# Farther from the origin than any photo reaches.
_FARTHEST = 1e7
# Sides of boxes over the photo's; larger ones are of another photo or another unit.
_LARGEST = 10
# A box that is right may reach out of its photo: of a face that is cut off, or by the
# margin of a detector.
_FAR_OUTSIDE = 0.25
# Corners may lie a little outside as well, for the same reasons.
_CORNER_MARGIN = 0.05
# Of 554 faces of photos no box reaches out by a quarter. Corners without area are
# nearly impossible.
_MANY_WRONG = {'xywh': 0.2, 'xyxy': 0.02}
_NEARLY_ALL = 0.98


@dataclasses.dataclass(frozen=True)
class PhotoBoxes:
  """What a box file says of one photo.

  Attributes:
    rows: (n,) row number of each box in the file, from 0.
    boxes: (n, 4) float64 x, y, width, height; not checked for sense yet.
    scores: (n,) float64 of the detector, or None if the file has none.
    problems: row number -> why this row holds no box.
  """

  rows: np.ndarray
  boxes: np.ndarray
  scores: np.ndarray | None
  problems: dict[int, str]


def read_boxes(
  path: str | os.PathLike[str], box_format: BoxFormat = 'xywh'
) -> tuple[dict[str, PhotoBoxes], dict[str, str]]:
  """Reads a file of boxes.

  Args:
    path: a JSON file.
    box_format: what the four numbers of a box are: 'xywh' or 'xyxy' (two corners).

  Returns:
    Name -> boxes, and name -> reason for the photos whose value is no table of boxes.

  Raises:
    OSError: if the file cannot be read.
    ValueError: if it is no JSON object.
  """
  path = pathlib.Path(path)
  content, repeated = _parse(path.read_bytes(), path.name)
  found: dict[str, PhotoBoxes] = {}
  failures: dict[str, str] = {}
  for name, value in content.items():
    try:
      if name in repeated:
        raise ValueError(f'it stands in {path.name} more than once; merge its boxes')
      found[name] = parse_boxes(value, box_format)
    except ValueError as error:
      failures[name] = str(error)
  return found, failures


def _parse(data, name):
  """The JSON object, and the names that stand in it twice.

  Unlike `formats.parse_json` it lets NaN and Infinity pass: they spoil one box.
  """
  repeated: set[str] = set()

  def pairs(items):
    found = dict(items)
    if len(found) < len(items):
      counts = collections.Counter(key for key, _ in items)
      repeated.update(key for key, count in counts.items() if count > 1)
    return found

  try:
    content = json.loads(data.decode('utf-8-sig'), object_pairs_hook=pairs)
  except (ValueError, RecursionError):
    content = None
  is_list = isinstance(content, list)
  if is_list or (
    isinstance(content, dict) and {'images', 'annotations'} <= set(content)
  ):
    raise ValueError(
      f'{name} holds {"a list" if is_list else "COCO annotations"}; '
      f'wanted boxes by name: {{"photo.jpg": [{_NUMBERS["xywh"]}, ...], ...}}.'
    )
  if not isinstance(content, dict):
    # It says what is wrong.
    return formats.parse_json(data, name), set()
  return content, repeated


def parse_boxes(value: Any, box_format: BoxFormat = 'xywh') -> PhotoBoxes:
  """The boxes of one photo, as JSON has them.

  One box of four numbers, or a list of such boxes. A fifth number of every row is the
  score of the detector if all of them lie from 0 to 1. Numbers are never regrouped.

  Args:
    value: the JSON value.
    box_format: what the four numbers of a box are: 'xywh' or 'xyxy' (two corners).

  Returns:
    The boxes; rows that are not four numbers are in `problems`.

  Raises:
    ValueError: if the value is no table of boxes at all.
  """
  wanted = _NUMBERS[box_format]
  if not isinstance(value, list):
    raise ValueError(f'its boxes are {_shown(value)}; wanted [{wanted}, ...]')
  rows = [value] if value and not isinstance(value[0], list) else value
  counts = [len(row) if isinstance(row, list) else 0 for row in rows]
  table = [row for row in rows if _is_numbers(row)]
  of_four = len(rows) == 4 and len(table) == 4 and len(set(counts)) == 1
  if of_four and counts[0] not in (4, 5):
    raise ValueError(
      f'its boxes are 4 rows of {counts[0]} numbers (row 0 is {_shown(rows[0])}); if '
      f'every column is a box, write them as rows: [{wanted}, ...]'
    )
  # A column is a score only where every box has one.
  scored = {len(row) for row in table} & {4, 5} == {5}
  for i, row in enumerate(rows):
    if scored and counts[i] == 5 and _is_numbers(row) and not 0 <= row[4] <= 1:
      raise ValueError(
        f'row {i} of its boxes is {_shown(row)}, and its fifth number is no score from '
        f'0 to 1; wanted {wanted} or {wanted[:-1]}, score]'
      )
  width = 5 if scored else 4
  good = [i for i, row in enumerate(rows) if counts[i] == width and _is_numbers(row)]
  problems = {
    i: f'row {i} of its boxes is {_shown(row)}; wanted {wanted}'
    for i, row in enumerate(rows)
    if i not in set(good)
  }
  numbers = np.array([rows[i] for i in good], np.float64)
  # An empty list has no columns.
  numbers = numbers if good else np.zeros((0, width))
  boxes = numbers[:, :4]
  if box_format == 'xyxy':
    boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
  return PhotoBoxes(
    np.array(good, np.int64), boxes, numbers[:, 4] if scored else None, problems
  )


def _is_numbers(row):
  return isinstance(row, list) and all(
    # An integer of JSON may be too large for a float.
    isinstance(x, float)
    or (isinstance(x, int) and not isinstance(x, bool) and abs(x) < _FARTHEST)
    for x in row
  )


def _shown(value):
  text = str(value)
  return text if len(text) <= 60 else text[:57] + '...'


def box_problem(box: np.ndarray, width: int, height: int) -> str | None:
  """Why no face can be looked for in a box.

  Args:
    box: (4,) x, y, width, height of its outer edges.
    width: of the photo, pixels.
    height: of the photo, pixels.

  Returns:
    The reason, or None if the box is good. It may reach out of the photo.
  """
  x, y, w, h = (float(value) for value in box)
  shown = f'the box {[x, y, w, h]}'
  if not np.all(np.abs([x, y, w, h]) < _FARTHEST):
    return f'{shown} is not in pixels; every number must be finite and below 1e7'
  if w <= 0 or h <= 0:
    return f'{shown} has no area; width and height must be above 0'
  if w < 2 or h < 2:
    return f'{shown} is smaller than two pixels; boxes are in pixels, not in fractions'
  # The outer edges of the photo: integers are the centres of pixels.
  if x + w <= -0.5 or y + h <= -0.5 or x >= width - 0.5 or y >= height - 0.5:
    return f'{shown} lies outside the photo, which has {width} x {height} pixels'
  if max(w, h) > _LARGEST * max(width, height):
    return (
      f'{shown} is more than {_LARGEST} times as large as the photo, which has '
      f'{width} x {height} pixels'
    )
  return None


def other_format(
  boxes: np.ndarray, sizes: np.ndarray, box_format: BoxFormat
) -> BoxFormat | None:
  """Guesses whether boxes are in the other format than they were read in.

  Corners that are read as xywh reach far out of the photos; xywh that are read as
  corners often have no area. The other format is named only where many boxes are wrong
  as they were read (more than a fifth by a quarter of their area, or more than a
  fiftieth of the corners) and all but a fiftieth would be right in the other format.
  Corners of photos that are cut close to the faces can pass unnoticed.

  Args:
    boxes: (n, 4) x, y, width, height, of all photos, as read.
    sizes: (n, 2) width and height of the photo of each box, pixels.
    box_format: how they were read.

  Returns:
    The other format, or None if there is no sign of it.
  """
  boxes, sizes = np.asarray(boxes, np.float64), np.asarray(sizes, np.float64)
  usable = np.all(np.abs(boxes) < _FARTHEST, axis=1)
  boxes, sizes = boxes[usable], sizes[usable]
  if not len(boxes):
    return None
  other: BoxFormat = 'xyxy' if box_format == 'xywh' else 'xywh'
  sign = -1.0 if box_format == 'xywh' else 1.0
  swapped = np.concatenate([boxes[:, :2], boxes[:, 2:] + sign * boxes[:, :2]], axis=1)
  wrong = outside_share(boxes, sizes) > _FAR_OUTSIDE
  fits = outside_share(swapped, sizes) <= _CORNER_MARGIN
  many = wrong.mean() > _MANY_WRONG[box_format]
  return other if many and fits.mean() >= _NEARLY_ALL else None


def outside_share(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
  """How much of each box lies outside its photo.

  Args:
    boxes: (n, 4) x, y, width, height of the outer edges.
    sizes: (n, 2) width and height of the photos, pixels.

  Returns:
    (n,) share of the area, 0 to 1; 1 for a box without area.
  """
  low = np.maximum(boxes[:, :2], -0.5)
  high = np.minimum(boxes[:, :2] + boxes[:, 2:], sizes - 0.5)
  inside = np.prod(np.maximum(high - low, 0.0), axis=1)
  area = np.prod(np.maximum(boxes[:, 2:], 0.0), axis=1)
  return np.where(area > 0, 1.0 - inside / np.where(area > 0, area, 1.0), 1.0)


def similar_name(name: str, photos: Iterable[str]) -> str | None:
  """The photo that a name may have been meant for, though it does not match.

  Args:
    name: of a box file, that means no photo.
    photos: names of the photos.

  Returns:
    The only photo that differs in capitals, in its folder or in its suffix alone; None
    if there is none, or there are several.
  """
  forms = (
    lambda text: images.image_key(text).casefold(),
    lambda text: posixpath.basename(images.image_key(text)).casefold(),
    lambda text: posixpath.splitext(images.image_key(text))[0].casefold(),
  )
  photos = list(photos)
  for form in forms:
    found = [photo for photo in photos if form(photo) == form(name)]
    if len(found) == 1:
      return found[0]
  return None


def match_names(
  names: Iterable[str], photos: Mapping[str, pathlib.Path], root: pathlib.Path
) -> tuple[dict[str, str], dict[str, str]]:
  """Which photo each name of a box file means.

  A name that is a photo's own comes first, then one that `images.image_key` makes
  equal, then one that leads to the same file, by a link or as an absolute path.

  Args:
    names: of the box file.
    photos: name -> file.
    root: the folder that the names are relative to.

  Returns:
    Name of the box file -> name of the photo; and name -> reason where two names mean
    one photo, or one name several. Names that mean no photo are in neither.
  """
  keys: dict[str, list[str]] = {}
  files: dict[str, list[str]] = {}
  for photo, path in photos.items():
    keys.setdefault(images.image_key(photo), []).append(photo)
    files.setdefault(os.path.realpath(path), []).append(photo)
  matched: dict[str, str] = {}
  problems: dict[str, str] = {}
  owner: dict[str, str] = {}
  # Exact names first: a spelling of another must not take their photo.
  for name in sorted(names, key=lambda name: name not in photos):
    key = images.image_key(name)
    found = (
      [name]
      if name in photos
      else keys.get(key) or files.get(os.path.realpath(root / key)) or []
    )
    if len(found) > 1:
      problems[name] = f'it may mean {" or ".join(found)}; write the name as it stands'
    elif found and found[0] in owner:
      problems[name] = (
        f'it is the same photo as {owner[found[0]]!r}; put all boxes under one name'
      )
    elif found:
      matched[name] = found[0]
      owner[found[0]] = name
  return matched, problems
