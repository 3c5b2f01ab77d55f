"""Finds the landmarks, their visibility and the head's pose in photos.

  python -m experiments.align --input=DIR --boxes=boxes.json
  python -m experiments.align --checkpoint=runs/aflw --input=DIR --boxes=boxes.json

boxes.json holds the faces: {"photo.jpg": [[x, y, width, height], ...], ...}, in pixels,
with the names as in --input; a fifth number from 0 to 1 is a detector's score. Writes
results.jsonl, a line per face, with the confidence that it was found, failures.jsonl,
and an overlay per photo, in folders like those of --input.
"""

from collections import deque
from collections.abc import Iterator
import concurrent.futures
import dataclasses
import json
import pathlib
import sys
from typing import Any, TextIO

from absl import flags
import numpy as np

from experiments.lib import (
  cli,
  confidence_file,
  figures,
  output_files,
  path_flags,
  restore,
)
from pifa_jax.files import box_files
from pifa_jax.files.images import decode_image, find_images, read_image_size
from pifa_jax.geometry.mirror import coefficient_signs
from pifa_jax.inference import AlignedFaces, Aligner, Confidence
from pifa_jax.types import MorphableModel

restore.define_flags()
path_flags.define_path('input', None, 'A photo, or a folder of them.')
path_flags.define_path(
  'boxes', None, 'JSON file of boxes: {"photo.jpg": [[x, y, width, height], ...]}.'
)
flags.DEFINE_enum(
  'box_format',
  'xywh',
  box_files.BOX_FORMATS,
  'What the numbers of a box are: x, y, width, height, or two corners x1, y1, x2, y2.',
)
flags.DEFINE_integer(
  'passes',
  2,
  '2 = fit again in the box of the landmarks that the first pass found: the given '
  'boxes need not fit closely. 1 = half the work.',
  lower_bound=1,
  upper_bound=5,
)
flags.DEFINE_boolean(
  'mirror',
  True,
  'Fit the mirrored photo, too, and take the mean: more accurate, at twice the work. '
  'Without effect for face models that have no symmetry.',
)
flags.DEFINE_boolean(
  'upright',
  True,
  'Turn the photo for the further passes where the head is turned in it by more than '
  '15 degrees.',
)
path_flags.define_path(
  'confidence',
  None,
  'File of experiments.calibrate; default: what the weights hold. Without either, '
  'faces have no confidence, and doubtful ones are not searched again.',
)
flags.DEFINE_boolean(
  'retry',
  True,
  'Where the confidence is low, try other first boxes, moved and scaled: six times '
  'the work for these faces.',
)
flags.DEFINE_boolean(
  'overlay', True, 'Write each photo with its landmarks drawn on it.'
)

_AHEAD = 4  # photos that are decoded before their turn
_WANTED_BOXES = '{"photo.jpg": [[x, y, width, height], ...]}'


@dataclasses.dataclass
class _Failures:
  """What could not be done; the rest goes on.

  Attributes:
    lines: of failures.jsonl: the photo, the row of its box if one face failed, and why.
  """

  lines: list[dict[str, Any]] = dataclasses.field(default_factory=list)

  def add(self, name: str, reason: str, face: int | None = None) -> None:
    """Notes a photo, or one face of it, with the reason."""
    place = {} if face is None else {'face': face}
    self.lines.append({'image': name, **place, 'reason': reason})

  def __len__(self) -> int:
    return len(self.lines)


@dataclasses.dataclass
class _Counts:
  """What was done, for the last line.

  Attributes:
    faces: that were aligned.
    photos: with at least one aligned face.
    overlays: that were written.
  """

  faces: int = 0
  photos: int = 0
  overlays: int = 0


def main(run: cli.Run) -> int:
  """Aligns the faces of all photos.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  if not f.input or not f.boxes:
    raise cli.UserError(
      'Say what to align: --input=PHOTO or FOLDER, and --boxes=FILE.json with '
      f'{_WANTED_BOXES}.'
    )
  workdir = pathlib.Path(run.folder(f.workdir))
  photos = _photos(pathlib.Path(f.input), workdir)
  failures = _Failures()
  boxes = _boxes(pathlib.Path(f.boxes), photos, pathlib.Path(f.input), failures)
  _check_format(boxes, photos, f.box_format)
  trained_run = restore.open_run(f.checkpoint)
  model = restore.face_model(trained_run, f, _log)
  step, variables, checkpoint = trained_run.load(model, f.weights)
  aligner = _aligner(trained_run, model, _confidence(trained_run, checkpoint))
  run.make_folder(f.workdir)
  run.open(str(workdir), checkpoint=checkpoint, checkpoint_step=step)

  counts = _Counts()
  with open(workdir / 'results.jsonl', 'w', encoding='utf-8') as file:
    session = _Session(aligner, variables, workdir, file, failures, counts)
    session.align({name: photos[name] for name in photos if name in boxes}, boxes)
  return _report(workdir, counts, len(photos), failures)


def _confidence(trained_run, checkpoint: str) -> Confidence | None:
  """That of --confidence, else that of the weights; None if there is none."""
  f = flags.FLAGS
  card = {}
  if isinstance(trained_run, restore.WeightsFile):
    card = trained_run.content.card
  found = None
  if f.confidence:
    found = confidence_file.read(
      f.confidence, {checkpoint, card.get('checkpoint', checkpoint)}
    )
  elif 'confidence' in card:
    found = Confidence.from_json(card['confidence'])
  if found is None:
    _log(
      'These weights have no confidence: results have "confidence": null, and doubtful '
      'faces are not searched again; python -m experiments.calibrate makes one.'
    )
  elif not f.retry:
    found = dataclasses.replace(found, retry_below={})
  return found


def _aligner(
  trained_run, model: MorphableModel, confidence: Confidence | None
) -> Aligner:
  """The aligner that the flags ask for."""
  f, config = flags.FLAGS, trained_run.config
  schemes = [
    name
    for name in ('ibug68', 'aflw34', config.landmark_scheme)
    if name in model.landmark_schemes
  ]
  return Aligner(
    model,
    config.network,
    schemes=tuple(dict.fromkeys(schemes)),
    mirror=f.mirror and coefficient_signs(model) is not None,
    box_scale=config.augment.box_scale,
    upright=f.upright,
    confidence=confidence,
  )


def _photos(path: pathlib.Path, workdir: pathlib.Path) -> dict[str, pathlib.Path]:
  """Name -> file, by name; names are relative to the folder."""
  if path.is_file():
    return {path.name: path}
  if not path.is_dir():
    raise cli.UserError(
      f'There is no photo or folder {path}; give --input one that exists.'
    )
  listing = find_images(path, deep=True)
  if listing.skipped:
    _log(f'Not read as photos: {listing.skipped_text()}.')
  found, skipped = output_files.inputs_only(listing.images, path, str(workdir))
  for sentence in skipped:
    _log(sentence)
  if not found:
    raise cli.UserError(
      f'There is no photo in {path}; give --input a folder of .jpg, .png, ...'
    )
  return {p.relative_to(path).as_posix(): p for p in found}


def _boxes(
  path: pathlib.Path,
  photos: dict[str, pathlib.Path],
  source: pathlib.Path,
  failures: _Failures,
) -> dict[str, box_files.PhotoBoxes]:
  """Name of a photo -> its boxes; what is wrong with the others goes to `failures`."""
  if not path.is_file():
    raise cli.UserError(
      f'There is no file {path}; give --boxes a JSON file of {_WANTED_BOXES}.'
    )
  found, refused = box_files.read_boxes(path, flags.FLAGS.box_format)
  root = source if source.is_dir() else source.parent
  matched, problems = box_files.match_names([*found, *refused], photos, root)
  for name in [*found, *refused]:
    if name in problems:
      failures.add(name, problems[name])
    elif name not in matched:
      # A photo chosen from the folder that the file describes is no failure.
      if source.is_dir():
        meant = box_files.similar_name(name, photos)
        hint = '' if meant is None else f'; {meant} is there, is it meant?'
        failures.add(name, f'it has boxes but is not in --input{hint}')
    elif name in refused:
      failures.add(matched[name], refused[name])
  for name in sorted(set(photos) - set(matched.values())):
    failures.add(name, f'{path} has no box for it')
  boxes = {matched[name]: found[name] for name in found if name in matched}
  scored = sum(of_photo.scores is not None for of_photo in boxes.values())
  if scored:
    _log(
      f'{path.name}: the fifth number of a box is taken for its score, in '
      f'{output_files.count_of(scored, "photo")}; it is in results.jsonl as "score".'
    )
  return boxes


def _check_format(
  boxes: dict[str, box_files.PhotoBoxes],
  photos: dict[str, pathlib.Path],
  box_format: box_files.BoxFormat,
) -> None:
  """Warns where the boxes look as if they were in the other format."""
  tables, sizes = [], []
  for name, of_photo in boxes.items():
    try:
      size = read_image_size(photos[name])
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
    _log(
      f'Warning: many boxes reach far out of their photos or have no area when they '
      f'are read as {box_format}, and would fit as {other}; if they are '
      f'{other}, start again with --box_format={other}.'
    )


@dataclasses.dataclass(frozen=True)
class _Opened:
  """A photo that is being aligned.

  Attributes:
    name: of the photo.
    image: (H, W, 3) uint8 RGB.
    boxes: of the photo.
    good: rows of the boxes in which a face is looked for.
  """

  name: str
  image: np.ndarray
  boxes: box_files.PhotoBoxes
  good: list[int]


@dataclasses.dataclass(frozen=True)
class _Session:
  """What aligning photos needs and leaves.

  Attributes:
    aligner: of the run.
    variables: of its network.
    workdir: where overlays go.
    results: the open results.jsonl.
    failures: what could not be done.
    counts: what was done.
  """

  aligner: Aligner
  variables: dict[str, Any]
  workdir: pathlib.Path
  results: TextIO
  failures: _Failures
  counts: _Counts

  def align(
    self, photos: dict[str, pathlib.Path], boxes: dict[str, box_files.PhotoBoxes]
  ) -> None:
    """Aligns the faces of all photos; what fails does not keep the others back."""
    f = flags.FLAGS
    opened: deque[_Opened] = deque()

    def usable():
      for photo in self._opened(photos, boxes):
        opened.append(photo)
        yield photo.image, photo.boxes.boxes[photo.good]

    for faces in self.aligner.align_many(self.variables, usable(), passes=f.passes):
      photo = opened.popleft()
      for face, index in enumerate(photo.good):
        line = _line(photo.name, faces, face, photo.boxes, index)
        self.results.write(json.dumps(cli.json_value(line)) + '\n')
      self.counts.faces += len(faces)
      self.counts.photos += 1
      if f.overlay:
        self._save_overlay(photo.name, photo.image, faces)

  def _opened(self, photos, boxes) -> Iterator[_Opened]:
    """Photos with a box that can be used; they are decoded in a thread, ahead."""
    names = iter(photos)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      ahead: deque[tuple[str, concurrent.futures.Future]] = deque()
      while True:
        while len(ahead) < _AHEAD and (name := next(names, None)) is not None:
          ahead.append((name, pool.submit(_decode, photos[name])))
        if not ahead:
          return
        name, future = ahead.popleft()
        of_photo = boxes[name]
        for row, reason in of_photo.problems.items():
          self.failures.add(name, reason, row)
        try:
          image = future.result()
        except (OSError, ValueError) as error:
          self.failures.add(name, str(error))
          continue
        good = self._usable(name, of_photo, image)
        if good:
          yield _Opened(name, image, of_photo, good)

  def _usable(self, name, boxes, image) -> list[int]:
    """The boxes of a photo in which a face can be looked for."""
    height, width = image.shape[:2]
    good = []
    for index, box in enumerate(boxes.boxes):
      reason = box_files.box_problem(box, width, height)
      if reason is None:
        good.append(index)
      else:
        self.failures.add(name, reason, int(boxes.rows[index]))
    return good

  def _save_overlay(self, name, image, faces):
    try:
      path = output_files.output_path(self.workdir, name, '_overlay.png')
      figures.photo(image, faces.landmarks['ibug68'], faces.visible['ibug68']).save(
        path, compress_level=1
      )
      self.counts.overlays += 1
    except (OSError, ValueError) as error:
      self.failures.add(name, f'its overlay cannot be written: {error}')


def _decode(path: pathlib.Path) -> np.ndarray:
  return decode_image(path.read_bytes(), 'it')


def _line(
  name: str, faces: AlignedFaces, face: int, boxes: box_files.PhotoBoxes, index: int
) -> dict[str, Any]:
  """One face as a JSON object; 'face' is its row in the box file."""
  rounded = lambda array, digits: np.round(
    np.asarray(array, np.float64), digits
  ).tolist()
  degrees = {
    key: float(np.round(np.rad2deg(faces.pose[key][face]), 3))
    for key in ('yaw', 'pitch', 'roll')
  }
  score = {} if boxes.scores is None else {'score': float(boxes.scores[index])}
  return {
    'image': name,
    'face': int(boxes.rows[index]),
    'box': boxes.boxes[index].tolist(),
    **score,
    'landmarks': {k: rounded(v[face], 3) for k, v in faces.landmarks.items()},
    'visible': {k: v[face].tolist() for k, v in faces.visible.items()},
    'frontability': {k: rounded(v[face], 4) for k, v in faces.frontability.items()},
    **{f'{key}_degrees': value for key, value in degrees.items()},
    'rotation': rounded(faces.pose['rotation'][face], 6),
    'confidence': None
    if faces.confidence is None
    else float(np.round(faces.confidence[face], 4)),
  }


def _report(
  workdir: pathlib.Path, counts: _Counts, num_photos: int, failures: _Failures
) -> int:
  """Writes failures.jsonl and says what was done; returns the exit code."""
  with open(workdir / 'failures.jsonl', 'w', encoding='utf-8') as file:
    file.writelines(json.dumps(line) + '\n' for line in failures.lines)
  for line in failures.lines[:20]:
    face = f', face {line["face"]}' if 'face' in line else ''
    _log(f'failed: {line["image"]}{face}: {line["reason"]}')
  if len(failures) > 20:
    _log(f'failed: {len(failures) - 20} more, see failures.jsonl.')
  number = output_files.count_of
  overlays = f', {number(counts.overlays, "overlay")}' if counts.overlays else ''
  print(
    f'{number(counts.faces, "face")} in {counts.photos} of '
    f'{number(num_photos, "photo")}, {number(len(failures), "failure")}; wrote '
    f'results.jsonl, failures.jsonl{overlays} to {workdir}.'
  )
  return cli.EXIT_SOME_FAILED if failures.lines else cli.EXIT_OK


def _log(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
