"""Where faces are looked for: boxes of a file, or those that a detector finds."""

from collections.abc import Callable
import pathlib

import numpy as np

from experiments.align.photos import Photos
from experiments.align.report import Failures
from experiments.lib import cli, output_files
from pifa_jax.detection import Detector
from pifa_jax.files import box_files
from pifa_jax.files.images import read_image_size

WANTED_BOXES = '{"photo.jpg": [[x, y, width, height], ...]}'
Log = Callable[[str], None]
# The boxes of a decoded photo, by its name.
FindBoxes = Callable[[str, np.ndarray], box_files.PhotoBoxes]


def of_detector(detector: Detector) -> FindBoxes:
  """Looks for the boxes of a photo when it is opened.

  Args:
    detector: that finds them.

  Returns:
    The function; faces are numbered as the detector orders them.
  """

  def find(name: str, image: np.ndarray) -> box_files.PhotoBoxes:
    del name
    found = detector.detect(image)
    return box_files.PhotoBoxes(np.arange(len(found)), found.boxes, found.scores, {})

  return find


def read_boxes(
  path: pathlib.Path,
  box_format: box_files.BoxFormat,
  photos: Photos,
  failures: Failures,
  log: Log,
) -> dict[str, box_files.PhotoBoxes]:
  """Reads a file of boxes.

  Args:
    path: of the file.
    box_format: what its numbers are.
    photos: of the run.
    failures: gets what is wrong with photos and names.
    log: prints a sentence for the user.

  Returns:
    Name of a photo -> its boxes.

  Raises:
    UserError: if there is no such file.
    ValueError: if it holds no boxes.
  """
  if not path.is_file():
    raise cli.UserError(
      f'There is no file {path}; give --boxes a JSON file of {WANTED_BOXES}.'
    )
  found, refused = box_files.read_boxes(path, box_format)
  matched, problems = box_files.match_names(
    [*found, *refused], photos.files, photos.root
  )
  for name in [*found, *refused]:
    if name in problems:
      failures.add(name, problems[name])
    elif name not in matched:
      # A photo chosen from the folder that the file describes is no failure.
      if photos.are_folders:
        meant = box_files.similar_name(name, photos.files)
        hint = '' if meant is None else f'; {meant} is there, is it meant?'
        failures.add(name, f'it has boxes but is not in --input{hint}')
    elif name in refused:
      failures.add(matched[name], refused[name])
  for name in sorted(set(photos.files) - set(matched.values())):
    failures.add(name, f'{path} has no box for it')
  boxes = {matched[name]: found[name] for name in found if name in matched}
  scored = sum(of_photo.scores is not None for of_photo in boxes.values())
  if scored:
    log(
      f'{path.name}: the fifth number of a box is taken for its score, in '
      f'{output_files.count_of(scored, "photo")}; it is in results.jsonl as "score".'
    )
  _check_format(boxes, photos.files, box_format, log)
  return boxes


def _check_format(boxes, files, box_format, log):
  """Warns where the boxes look as if they were in the other format."""
  tables, sizes = [], []
  for name, of_photo in boxes.items():
    try:
      size = read_image_size(files[name])
    except (OSError, ValueError):
      continue  # fails with its reason when it is its turn
    tables.append(of_photo.boxes)
    sizes.append(np.tile(size, (len(of_photo.boxes), 1)))
  if not tables:
    return
  other = box_files.other_format(
    np.concatenate(tables), np.concatenate(sizes), box_format
  )
  if other is not None:
    log(
      f'Warning: many boxes reach far out of their photos or have no area when they '
      f'are read as {box_format}, and would fit as {other}; if they are '
      f'{other}, start again with --box_format={other}.'
    )
