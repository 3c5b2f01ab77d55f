"""The search for the face of one box: passes, and other first boxes where in doubt."""

from collections.abc import Generator
import dataclasses
from typing import Any

import numpy as np

from pifa_jax.inference import signs as signs_lib
from pifa_jax.inference.confidence import Confidence

# Nothing is gained by rotating heads that are as upright as most in training.
_UPRIGHT = np.deg2rad(15.0)
# Right, down, and side of the other first boxes, in those of the first one.
_OTHERS = (
  (0.0, 0.0, 0.8),
  (0.0, 0.0, 1.3),
  (-0.2, 0.0, 1.0),
  (0.2, 0.0, 1.0),
  (0.0, -0.2, 1.0),
  (0.0, 0.2, 1.0),
  (-0.15, -0.15, 1.2),
  (0.15, -0.15, 1.2),
)
_GO_ON = 3  # of them
# A result is replaced by another one that is surer by this much: faces that were found
# must not change by chance.
_CLEARLY = 0.1


@dataclasses.dataclass(frozen=True)
class Plan:
  """How to search.

  Attributes:
    passes: calls of the network one after the other, each in the box of the landmarks
      that the one before has found.
    first_scale: side of the first box over that of the given box.
    box_scale: side of the further boxes over that of the landmarks' box.
    upright: further boxes are rotated with the head.
    confidence: tells doubtful results; None = all results are taken as they are.
  """

  passes: int = 1
  first_scale: float = 1.0
  box_scale: float = 1.0
  upright: bool = False
  confidence: Confidence | None = None

  @property
  def confidence_of_first(self) -> bool:
    """Whether first passes are compared: not if nothing is searched again."""
    return self.confidence is not None and any(self.confidence.retry_below.values())

  def check(self, *, mirror: bool) -> None:
    """Refuses a confidence that was not fitted for this kind of search.

    Args:
      mirror: whether the mirrored crops are fitted, too.

    Raises:
      ValueError: with one sentence.
    """
    if self.confidence is None:
      return
    kinds = ['further'] if self.passes > 1 else []
    if self.confidence_of_first or not kinds:
      kinds.append('first')
    for kind in kinds:
      name = f'{"mirror" if mirror else "plain"}_{kind}'
      if name not in self.confidence.functions:
        raise ValueError(
          f'The confidence has no function {name!r}, only '
          f'{", ".join(sorted(self.confidence.functions))}; make it again with '
          'python -m experiments.calibrate, or search as it was fitted.'
        )


@dataclasses.dataclass(frozen=True)
class Request:
  """One crop to fit.

  Attributes:
    image: (H, W, 3) uint8 RGB.
    box: (4,) square, outer edges in pixels of the photo, before it is rotated.
    angle: radians, clockwise as one sees the photo.
  """

  image: np.ndarray
  box: np.ndarray
  angle: float


@dataclasses.dataclass(frozen=True)
class Result:
  """A face that was found.

  Attributes:
    box: (4,) of the last pass, before it was made a square.
    angle: of the last pass.
    found: of the last pass: 'params', 'landmarks', ..., 'signs'.
    signs: of the search.
    confidence: in [0, 1], or None.
  """

  box: np.ndarray
  angle: float
  found: dict[str, Any]
  signs: dict[str, float]
  confidence: float | None

  @property
  def all_signs(self) -> dict[str, float]:
    """Those of the last call and of the search."""
    return {**self.found['signs'], **self.signs}


def search(
  plan: Plan, image: np.ndarray, given: np.ndarray
) -> Generator[list[Request], list[Any], Result]:
  """Searches the face of a box.

  Args:
    plan: how.
    image: (H, W, 3) uint8 RGB.
    given: (4,) the box, outer edges.

  Yields:
    Lists of crops to fit; wants the list of their outcomes.

  Returns:
    The face.
  """
  first = scaled(given, plan.first_scale)
  (result,) = yield from _first_passes(plan, image, given, [first])
  for _ in range(plan.passes - 1):
    (result,) = yield from _further_passes(plan, image, given, [result])
  if plan.confidence is None or not plan.confidence.doubts(result.all_signs):
    return result
  # In doubt: other first boxes, and those that look best go on.
  others = yield from _first_passes(plan, image, given, other_boxes(first))
  others.sort(key=lambda other: -other.confidence)
  others = others[:_GO_ON]
  if plan.passes > 1:
    # The first result may be on its way to the face, too.
    others.append(result)
    for _ in range(plan.passes - 1):
      others = yield from _further_passes(plan, image, given, others)
  best = max(others, key=lambda other: other.confidence)
  return best if best.confidence > result.confidence + _CLEARLY else result


def other_boxes(box: np.ndarray) -> list[np.ndarray]:
  """The first boxes that a doubtful search tries.

  Args:
    box: (4,) the first one, outer edges.

  Returns:
    Boxes that are moved to the sides, or that are smaller or larger.
  """
  box = np.asarray(box, np.float64)
  return [
    scaled(box + [u * box[2], v * box[3], 0, 0], factor) for u, v, factor in _OTHERS
  ]


def scaled(box: np.ndarray, factor: float) -> np.ndarray:
  """The box of the same centre with sides times a factor."""
  box = np.asarray(box, np.float64)
  if factor == 1:
    return box
  return np.concatenate([box[:2] + (1 - factor) / 2 * box[2:], factor * box[2:]])


def _first_passes(plan, image, given, boxes):
  """One result a box, without anything before it."""
  outcomes = yield [Request(image, _square(box), 0.0) for box in boxes]
  return [
    _result(plan, given, box, 0.0, found, None)
    for box, found in zip(boxes, outcomes, strict=True)
  ]


def _further_passes(plan, image, given, results):
  """The next pass of every result."""
  places = []
  for result in results:
    angle = _roll_angle(result.found['params'].camera) if plan.upright else 0.0
    points = result.found['landmarks']['ibug68']
    places.append((_box_about(points, angle, plan.box_scale), angle))
  outcomes = yield [Request(image, _square(box), angle) for box, angle in places]
  return [
    _result(plan, given, box, angle, found, result.found['landmarks']['ibug68'])
    for (box, angle), found, result in zip(places, outcomes, results, strict=True)
  ]


def _result(plan, given, box, angle, found, before):
  signs = signs_lib.of_a_search(found['landmarks']['ibug68'], before, given)
  sure = None
  # The first of several passes is judged only among others.
  judged = before is not None or plan.passes == 1 or plan.confidence_of_first
  if plan.confidence is not None and judged:
    sure = plan.confidence({**found['signs'], **signs})
  return Result(box, angle, found, signs, sure)


def _square(box):
  """`boxes.square_box` in NumPy."""
  x, y, width, height = np.asarray(box, np.float64)
  side = np.sqrt(width * height)
  return np.array(
    [x + (width - side) / 2, y + (height - side) / 2, side, side], np.float32
  )


def _roll_angle(camera):
  """The clockwise angle from up in the photo to up of the head; a small one is 0."""
  up = camera[:, 1]  # where the model's y axis points; rows run down
  angle = float(np.arctan2(up[0], -up[1]))
  return angle if abs(angle) > _UPRIGHT else 0.0


def _box_about(points, angle, box_scale):
  """The box about (N, 2) points, yet to be rotated; at least a pixel wide."""
  points = points.astype(np.float64)
  middle = points.mean(axis=0)
  upright = _rotated(points, middle, -angle)
  low, high = upright.min(axis=0), upright.max(axis=0)
  centre = _rotated((low + high) / 2, middle, angle)
  sides = box_scale * np.maximum(high - low, 1.0)
  return np.concatenate([centre - sides / 2, sides])


def _rotated(points, centre, angle):
  """`boxes.rotate_points` in NumPy."""
  cos, sin = np.cos(angle), np.sin(angle)
  return centre + (points - centre) @ np.array([[cos, sin], [-sin, cos]])
