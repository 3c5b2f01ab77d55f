"""Aligns the faces of many photos; they are opened and written beside the network."""

from collections import deque
from collections.abc import Iterator, Sequence
import concurrent.futures
import dataclasses
import json
import pathlib
from typing import Any, TextIO

import numpy as np

from experiments.align.faces import FindBoxes
from experiments.align.progress import Progress
from experiments.align.report import NO_FACE, Counts, Failures
from experiments.align.stages import Stages
from experiments.align_outputs.writer import Writer
from experiments.lib import cli
from pifa_jax.files import box_files
from pifa_jax.files.images import decode_image
from pifa_jax.inference import AlignedFaces, Aligner
from pifa_jax.results.face_json import face_record
from pifa_jax.results.fitted_face import FittedFace, fitted_face
from pifa_jax.types import MorphableModel

_AHEAD = 4  # photos that are opened before their turn, or wait to be written


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
class Session:
  """What aligning photos needs and leaves.

  Attributes:
    aligner: of the run.
    variables: of its network.
    model: its face model.
    find_boxes: where faces are looked for; called in another thread.
    are_detected: they are a detector's, not the user's.
    passes: of the aligner.
    min_confidence: faces below are left out.
    results: the open results.jsonl.
    writer: of the other files.
    failures: what could not be done.
    counts: what was done.
    stages: how long it took.
  """

  aligner: Aligner
  variables: dict[str, Any]
  model: MorphableModel
  find_boxes: FindBoxes
  are_detected: bool
  passes: int
  min_confidence: float
  results: TextIO
  writer: Writer
  failures: Failures
  counts: Counts
  stages: Stages = dataclasses.field(default_factory=Stages)

  def align(self, photos: dict[str, pathlib.Path], progress: Progress) -> None:
    """Aligns the faces of all photos; what fails does not keep the others back.

    Args:
      photos: name -> file.
      progress: hears of every photo.
    """
    opened: deque[_Opened] = deque()

    def usable():
      opening = self._opened(photos, progress)
      for photo in self.stages.timed(opening, 'waiting for photos', inside='fitting'):
        opened.append(photo)
        yield photo.image, photo.boxes.boxes[photo.good]

    found = self.aligner.align_many(self.variables, usable(), passes=self.passes)
    with self.stages.whole(), concurrent.futures.ThreadPoolExecutor(1) as pool:
      writing: deque[tuple[str, concurrent.futures.Future]] = deque()
      for faces in self.stages.timed(found, 'fitting'):
        photo = opened.popleft()
        rows = self._believed(photo, faces)
        fitted = [self._fitted(photo, faces, row) for row in rows]
        numbers = [int(photo.boxes.rows[photo.good[row]]) for row in rows]
        with self.stages.during('noting'):
          self._tell(photo.name, fitted, numbers)
        if fitted:
          self._collect(writing, _AHEAD - 1)
          future = pool.submit(self._write, photo, fitted, numbers)
          writing.append((photo.name, future))
        progress.step()
      self._collect(writing, 0)

  def _write(self, photo, fitted, numbers):
    with self.stages.during('writing'):
      return self.writer.photo(photo.name, photo.image, fitted, numbers)

  def _opened(self, photos, progress) -> Iterator[_Opened]:
    """Photos with a box that can be used; they are opened in a thread, ahead."""
    names = iter(photos)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      ahead: deque[tuple[str, concurrent.futures.Future]] = deque()
      while True:
        while len(ahead) < _AHEAD and (name := next(names, None)) is not None:
          ahead.append((name, pool.submit(self._open, name, photos[name])))
        if not ahead:
          return
        name, future = ahead.popleft()
        try:
          image, boxes = future.result()
        except (OSError, ValueError) as error:
          self.failures.add(name, str(error))
          progress.step()
          continue
        self.counts.opened += 1
        for row, reason in boxes.problems.items():
          self.failures.add(name, reason, row)
        if self.are_detected and not len(boxes.boxes):
          self.failures.add(name, NO_FACE)
        good = self._usable(name, boxes, image)
        if good:
          yield _Opened(name, image, boxes, good)
        else:
          progress.step()

  def _open(self, name, path):
    with self.stages.during('reading'):
      try:
        data = path.read_bytes()
      except OSError as error:
        raise ValueError(f'it cannot be read: {error.strerror}') from error
      image = decode_image(data, 'it')
    with self.stages.during('detecting'):
      return image, self.find_boxes(name, image)

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

  def _believed(self, photo: _Opened, faces: AlignedFaces) -> list[int]:
    """The faces that are kept: all of them, or those of enough confidence."""
    every = list(range(len(faces)))
    if faces.confidence is None or not self.min_confidence:
      return every
    kept = [row for row in every if faces.confidence[row] >= self.min_confidence]
    wanted = f'--min_confidence={self.min_confidence:g}'
    self.counts.dropped += len(every) - len(kept)
    if not self.are_detected:
      # The user says that there is a face.
      for row in sorted(set(every) - set(kept)):
        number = int(photo.boxes.rows[photo.good[row]])
        reason = f'its confidence {faces.confidence[row]:.2f} is below {wanted}'
        self.failures.add(photo.name, reason, number)
    elif not kept:
      best = float(np.max(faces.confidence))
      self.failures.add(
        photo.name, f'{NO_FACE}: the best confidence, {best:.2f}, is below {wanted}'
      )
    return kept

  def _fitted(self, photo: _Opened, faces: AlignedFaces, row: int) -> FittedFace:
    boxes, index = photo.boxes, photo.good[row]
    return fitted_face(
      self.model,
      faces,
      row,
      photo=photo.image,
      given_box=boxes.boxes[index],
      score=None if boxes.scores is None else float(boxes.scores[index]),
    )

  def _tell(self, name: str, fitted: Sequence[FittedFace], numbers: Sequence[int]):
    """Writes the lines of a photo; 'face' is the row in the boxes."""
    for face, number in zip(fitted, numbers, strict=True):
      line = {'image': name, 'face': number, **face_record(face)}
      self.results.write(_as_json(line) + '\n')
    self.counts.faces += len(fitted)
    self.counts.photos += bool(fitted)
    self.counts.doubtful += sum(bool(face.doubtful) for face in fitted)

  def _collect(self, writing, most: int) -> None:
    """Waits until at most so many photos are yet to be written."""
    while len(writing) > most:
      name, future = writing.popleft()
      for number, reason in future.result():
        self.failures.add_file(name, reason, number)


def _as_json(line):
  """A line of results.jsonl; null for what is no number."""
  try:
    return json.dumps(line, allow_nan=False)
  except ValueError:
    return json.dumps(cli.json_value(line))
