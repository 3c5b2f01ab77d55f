"""Found faces as arrays: merged, mapped to another convention, put in order."""

from collections.abc import Sequence
import dataclasses

import numpy as np

# Two boxes are of one face where they overlap by this much of their union, or where the
# smaller one lies in the other by this much of its area: detectors take an eye or a
# mouth of a face that fills the photo for a face.
_SAME_UNION = 0.3
_SAME_INSIDE = 0.7


@dataclasses.dataclass(frozen=True)
class Detections:
  """Faces that were found in a photo.

  Attributes:
    boxes: (n, 4) float64 x, y, width, height of the outer edges, pixels of the photo.
    scores: (n,) float64 of the detector, 0 to 1.
    points: (n, 5, 2) eyes, tip of the nose and corners of the mouth, in each pair the
      left one in the image first; None if the detector finds none.
  """

  boxes: np.ndarray
  scores: np.ndarray
  points: np.ndarray | None = None

  def __len__(self) -> int:
    return len(self.boxes)

  def take(self, rows: np.ndarray) -> 'Detections':
    """Some of the faces, in the order of the rows.

    Args:
      rows: row numbers, or (n,) bool.

    Returns:
      These faces.
    """
    points = None if self.points is None else self.points[rows]
    return Detections(self.boxes[rows], self.scores[rows], points)

  def moved(self, factor: float) -> 'Detections':
    """The same faces in a photo of another size.

    Args:
      factor: new size over old size.

    Returns:
      The faces; edges map to edges, as in `geometry.boxes`.
    """
    boxes = self.boxes.copy()
    boxes[:, :2] = (boxes[:, :2] + 0.5) * factor - 0.5
    boxes[:, 2:] *= factor
    points = self.points
    if points is not None:
      points = (points + 0.5) * factor - 0.5
    return Detections(boxes, self.scores, points)


def no_faces() -> Detections:
  """No face at all."""
  return Detections(np.zeros((0, 4)), np.zeros(0))


@dataclasses.dataclass(frozen=True)
class BoxMap:
  """From the boxes of a detector to the square boxes of the 68 landmarks.

  Both numbers are measured by `experiments.fit_detector_boxes`. A shift to the side
  would change its sign with the mirrored face, so that there is none.

  Attributes:
    size: side of the square over sqrt(w h) of the detector's box.
    down: shift of the centre over sqrt(w h).
  """

  size: float = 1.0
  down: float = 0.0

  def apply(self, boxes: np.ndarray) -> np.ndarray:
    """Maps boxes.

    Args:
      boxes: (n, 4) of the detector.

    Returns:
      (n, 4) squares.
    """
    side = np.sqrt(np.prod(boxes[:, 2:], axis=1, keepdims=True))
    centre = boxes[:, :2] + boxes[:, 2:] / 2 + self.down * side * [0.0, 1.0]
    half = self.size * side / 2
    return np.concatenate([centre - half, 2 * half, 2 * half], axis=1)


def overlap(box: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """How much of each other boxes cover.

  Args:
    box: (4,) x, y, width, height.
    boxes: (n, 4).

  Returns:
    (n,) intersection over union, and (n,) intersection over the smaller area.
  """
  low = np.maximum(box[:2], boxes[:, :2])
  high = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
  shared = np.prod(np.maximum(high - low, 0.0), axis=1)
  area, areas = np.prod(box[2:]), np.prod(boxes[:, 2:], axis=1)
  tiny = np.finfo(np.float64).tiny
  return (
    shared / np.maximum(area + areas - shared, tiny),
    shared / np.maximum(np.minimum(area, areas), tiny),
  )


def merge(parts: Sequence[Detections]) -> Detections:
  """One detection per face out of several looks at a photo: the one of best score.

  Non-maximum suppression that also drops what lies inside a better box, or around it.

  Args:
    parts: faces in the same coordinates; all with points, or none.

  Returns:
    The faces, best score first.
  """
  parts = [part for part in parts if len(part)]
  if not parts:
    return no_faces()
  points = [part.points for part in parts if part.points is not None]
  every = Detections(
    np.concatenate([part.boxes for part in parts]),
    np.concatenate([part.scores for part in parts]),
    np.concatenate(points) if points else None,
  )
  every = every.take(np.argsort(-every.scores, kind='stable'))
  kept: list[int] = []
  for row, box in enumerate(every.boxes):
    of_union, of_smaller = overlap(box, every.boxes[kept])
    if not np.any((of_union > _SAME_UNION) | (of_smaller > _SAME_INSIDE)):
      kept.append(row)
  return every.take(np.array(kept, np.int64))


def in_order(faces: Detections) -> Detections:
  """Largest area first; of equal ones the left one, then the upper one.

  Args:
    faces: in any order.

  Returns:
    The same faces.
  """
  x, y, width, height = faces.boxes.T
  return faces.take(np.lexsort((y, x, -width * height)))
