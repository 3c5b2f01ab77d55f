"""Follows faces through the frames of a video: the last frame gives the next boxes."""

from collections.abc import Sequence
import dataclasses
from typing import Any, Protocol

import numpy as np
import scipy.optimize

from pifa_jax import settings
from pifa_jax.detection import Detections
from pifa_jax.detection.detections import overlap
from pifa_jax.files.box_files import box_problem
from pifa_jax.inference import face_rows
from pifa_jax.inference.aligner import AlignedFaces
from pifa_jax.settings import setting

# A detected face is that of a track where the boxes share this much of their union.
_SAME_FACE = 0.3
# Two tracks that share more are on the same face.
_SAME_TRACK = 0.5
# From one frame to the next a face moves less than this share of its size, and grows or
# shrinks by less than this factor. Fast heads of sport clips at 25 Hz move by a third.
_MOVES, _GROWS = 0.6, 1.4
# More where frames are further apart than at this rate, Hz, or some were broken: at
# most so many times as much.
_RATE, _LATEST = 25.0, 3.0
# Against the box of a detector, whose size and place are less sure.
_MOVES_AT_FIRST, _GROWS_AT_FIRST = 0.6, 2.0
# A first pass does not turn its box with the head; beyond this roll a second one does.
_ROLLED = np.deg2rad(15.0)
# Looks in a row without the face, after which a track ends that has no confidence. More
# for turned heads: detectors miss most profiles.
_UNSEEN, _UNSEEN_TURNED, _TURNED = 2, 5, np.deg2rad(45.0)
# While a face is lost, seconds between looks; a look takes as long as fitting faces.
_BETWEEN = 0.2


class _Detector(Protocol):
  def detect(self, image: np.ndarray) -> Detections:
    """Finds the faces of an image; see `detection.Detector`."""
    ...


class _Aligner(Protocol):
  @property
  def given_scale(self) -> float:
    """Side of a box to give over that of the landmarks' box."""
    ...

  def align(
    self,
    variables: dict[str, Any],
    image: np.ndarray,
    boxes: np.ndarray,
    *,
    passes: int = 1,
  ) -> AlignedFaces:
    """Fits the face of every box; see `inference.Aligner`."""
    ...


@dataclasses.dataclass(frozen=True)
class TrackingSettings:
  """How faces are followed; each field has its own help."""

  detect_every: float = setting(
    1.0,
    'Seconds between looks of the detector for new faces; it also looks at the start '
    'and when a face is lost.',
    low=0,
  )
  min_confidence: float = setting(
    0.3,
    'A face is lost where its confidence is lower. Without effect for weights without '
    'a confidence.',
    low=0,
    high=1,
  )
  keep_lost: float = setting(
    1.0,
    'Seconds for which a lost face keeps its number, if it comes back where it was.',
    low=0,
  )

  def __post_init__(self):
    settings.check(self)


@dataclasses.dataclass(frozen=True)
class TrackedFrame:
  """The faces of one frame.

  Attributes:
    ids: (n,) int, ascending: the number of every face, which it keeps from frame to
      frame and which no other face gets.
    faces: of the same order.
    looked: whether the detector ran.
    ended: ids that will not come again.
  """

  ids: np.ndarray
  faces: AlignedFaces
  looked: bool = False
  ended: tuple[int, ...] = ()

  def __len__(self) -> int:
    return len(self.ids)


class _Track:
  """One face.

  Attributes:
    id: its number.
    box: (4,) about its landmarks, of the last frame with the face.
    time: of that frame, seconds.
    face: one row, of this frame; None while it is lost.
    has_confidence: whether its faces have a confidence.
    unseen: looks in a row that have not found it.
  """

  def __init__(self, number: int, face: AlignedFaces, time: float):
    self.id, self.unseen = number, 0
    self.has_confidence = face.confidence is not None
    self.found(face, time)

  def found(self, face: AlignedFaces, time: float) -> None:
    """The face in a frame."""
    self.face: AlignedFaces | None = face
    self.box, self.time = landmark_boxes(face)[0], time


class Tracker:
  """Takes the frames of a video one after the other and gives the faces of each."""

  def __init__(
    self,
    aligner: _Aligner,
    variables: dict[str, Any],
    detector: _Detector,
    config: TrackingSettings | None = None,
  ):
    """A tracker without faces.

    Args:
      aligner: fits faces in boxes.
      variables: of its network.
      detector: finds the boxes of new and of lost faces.
      config: how faces are followed; None = the defaults.
    """
    self._aligner, self._variables, self._detector = aligner, variables, detector
    self._config = TrackingSettings() if config is None else config
    self._tracks: list[_Track] = []
    self._number = 0
    self._time: float | None = None  # of the frame before
    self._looked: float | None = None  # when the detector ran last
    self._nothing: AlignedFaces | None = None

  def next(self, image: np.ndarray, time: float) -> TrackedFrame:
    """The faces of the next frame.

    Args:
      image: (H, W, 3) uint8 RGB, all frames of one size.
      time: of the frame, seconds, later than that of the frame before.

    Returns:
      The faces; those that are lost at the moment are not among them.

    Raises:
      ValueError: if the image has another shape or type, or the time does not grow.
    """
    late, step = 1.0, 0.0
    if self._time is not None:
      step = time - self._time
      if not step > 0:
        raise ValueError(
          f'next(): time={time} s is not after that of the frame before, '
          f'{self._time} s.'
        )
      late = min(max(step * _RATE, 1.0), _LATEST)
    self._time = time
    before = {track.id for track in self._tracks}
    lost_now = self._follow(image, time, late)
    lost = any(track.face is None for track in self._tracks)
    waited = np.inf if self._looked is None else time - self._looked
    # Times of frames are rounded: a look that is due by half a frame is due.
    soon = waited + step / 2
    looks = (
      self._looked is None
      or lost_now
      or soon >= self._config.detect_every
      or (lost and soon >= _BETWEEN)
    )
    if looks:
      self._look(image, time)
      self._looked = time
    self._drop(time)
    tracks = [track for track in self._tracks if track.face is not None]
    return TrackedFrame(
      ids=np.array([track.id for track in tracks], np.int64),
      faces=self._joined([track.face for track in tracks if track.face is not None]),
      looked=bool(looks),
      ended=tuple(sorted(before - {track.id for track in self._tracks})),
    )

  def _follow(self, image, time, late):
    """Fits the faces of the frame before; returns whether one was lost just now."""
    height, width = image.shape[:2]
    followed, boxes = [], []
    lost_now = False
    for track in self._tracks:
      box = _scaled(track.box, self._aligner.given_scale)
      if track.face is None:
        continue
      if box_problem(box, width, height) is None:
        followed.append(track)
        boxes.append(box)
      else:
        track.face, lost_now = None, True
    rolled = np.array([_is_rolled(track.face) for track in followed], bool)
    for passes, chosen in ((1, ~rolled), (2, rolled)):
      rows = np.flatnonzero(chosen)
      if not len(rows):
        continue
      faces = self._aligner.align(
        self._variables, image, np.array([boxes[r] for r in rows]), passes=passes
      )
      for place, row in enumerate(rows):
        track = followed[row]
        face = face_rows.take(faces, [place])
        if self._believes(face, track.box, image, late * _MOVES, _GROWS**late):
          track.found(face, time)
        else:
          track.face, lost_now = None, True
    return lost_now

  def _look(self, image, time):
    """Runs the detector: new faces, lost ones that are back, and ones confirmed."""
    boxes = np.asarray(self._detector.detect(image).boxes, np.float64).reshape(-1, 4)
    height, width = image.shape[:2]
    good = [box_problem(box, width, height) is None for box in boxes]
    boxes = boxes[np.array(good, bool)]
    owner = self._owners(boxes)
    seen = set(owner.values())
    for track in self._tracks:
      track.unseen = 0 if track.id in seen else track.unseen + 1
    by_id = {track.id: track for track in self._tracks}
    followed = [track for track in self._tracks if track.face is not None]
    candidates: list[tuple[np.ndarray, _Track | None]] = []
    for row, box in enumerate(boxes):
      known = by_id.get(owner.get(row, -1))
      if known is not None and known.face is not None:
        continue
      if known is None and followed:
        # Part of a face that is followed, such as an eye of a large one.
        shares = overlap(box, np.array([t.box for t in followed]))
        if (shares[0] > _SAME_FACE).any() or (shares[1] > 0.7).any():
          continue
      candidates.append((box, known))
    # Detectors miss profiles. Without a confidence any ground would do for a face.
    candidates += [
      (track.box, track)
      for track in self._tracks
      if track.face is None and track.id not in seen and track.has_confidence
    ]
    if not candidates:
      return
    faces = self._aligner.align(
      self._variables, image, np.array([box for box, _ in candidates]), passes=2
    )
    for row, (box, known) in enumerate(candidates):
      face = face_rows.take(faces, [row])
      if not self._believes(face, box, image, _MOVES_AT_FIRST, _GROWS_AT_FIRST):
        continue
      if known is None:
        self._tracks.append(_Track(self._number, face, time))
        self._number += 1
      else:
        known.found(face, time)

  def _owners(self, boxes):
    """Row of a detected box -> id of the track that it is the face of."""
    if not len(boxes) or not self._tracks:
      return {}
    table = np.array([overlap(track.box, boxes)[0] for track in self._tracks])
    # A pair that overlaps too little counts nothing: it must not win against others.
    rows, columns = scipy.optimize.linear_sum_assignment(
      np.where(table >= _SAME_FACE, table, 0.0), maximize=True
    )
    return {
      int(column): self._tracks[row].id
      for row, column in zip(rows, columns, strict=True)
      if table[row, column] >= _SAME_FACE
    }

  def _believes(self, face, before, image, moves, grows):
    """Whether a fitted face may be that of a box: confident, and not far away."""
    points = np.asarray(face.landmarks['ibug68'][0])
    if not np.isfinite(points).all():
      return False
    if face.confidence is not None and (
      face.confidence[0] < self._config.min_confidence
    ):
      return False
    (box,) = landmark_boxes(face)
    height, width = image.shape[:2]
    centre = box[:2] + box[2:] / 2
    if not (np.abs(centre / [width - 1, height - 1] - 0.5) <= 0.5).all():
      return False  # more than half of it is outside
    side, side_before = np.sqrt(np.prod(box[2:])), np.sqrt(np.prod(before[2:]))
    if not 1 / grows <= side / side_before <= grows:
      return False
    shift = np.linalg.norm(centre - before[:2] - before[2:] / 2)
    return bool(shift <= moves * max(side, side_before))

  def _drop(self, time):
    """Ends what is lost for long, seen by no look, or on the face of another track."""
    kept: list[_Track] = []
    for track in self._tracks:
      if track.face is None:
        if time - track.time <= self._config.keep_lost:
          kept.append(track)
        continue
      unseen = _UNSEEN_TURNED if _is_turned(track.face) else _UNSEEN
      if track.face.confidence is None and track.unseen >= unseen:
        continue
      others = [other.box for other in kept if other.face is not None]
      if others and (overlap(track.box, np.array(others))[0] > _SAME_TRACK).any():
        continue
      kept.append(track)
    self._tracks = kept

  def _joined(self, faces: Sequence[AlignedFaces]) -> AlignedFaces:
    if faces:
      return face_rows.join(faces)
    if self._nothing is None:
      # Its shapes cost a trace of the network, once.
      self._nothing = self._aligner.align(
        self._variables, np.zeros((8, 8, 3), np.uint8), np.zeros((0, 4))
      )
    return self._nothing


def landmark_boxes(faces: AlignedFaces) -> np.ndarray:
  """The boxes of the 68 landmarks.

  Args:
    faces: with the scheme 'ibug68'.

  Returns:
    (n, 4) float64 squares of the boxes' areas, at least a pixel wide.
  """
  points = np.asarray(faces.landmarks['ibug68'], np.float64)
  low, high = points.min(axis=1), points.max(axis=1)
  side = np.sqrt(np.prod(np.maximum(high - low, 1.0), axis=1, keepdims=True))
  return np.concatenate(
    [(low + high) / 2 - side / 2, np.repeat(side, 2, axis=1)], axis=1
  )


def _scaled(box, factor):
  centre, sides = box[:2] + box[2:] / 2, box[2:] * factor
  return np.concatenate([centre - sides / 2, sides])


def _is_rolled(face):
  # As the aligner decides: the angle of the model's y axis in the image.
  up = np.asarray(face.params.camera)[0, :, 1]
  return abs(np.arctan2(up[0], -up[1])) > _ROLLED


def _is_turned(face):
  return abs(float(face.pose['yaw'][0])) > _TURNED
