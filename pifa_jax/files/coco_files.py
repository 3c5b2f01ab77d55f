"""Files of COCO's keypoint format, written: the faces of many photos in one file."""

from collections.abc import Sequence
import json
import os
from typing import Any

import numpy as np

from pifa_jax.files.formats import write_atomically


class CocoFile:
  """Collects faces, and writes them as one file.

  Points are 0-based pixels whose integers are pixel centres, as `read_landmarks` and
  `datasets.coco` read them; v = 1 is a point that the head hides, 2 a visible one, 0
  one without a location.
  """

  def __init__(self, keypoints: Sequence[str], *, category: str = 'face'):
    """Starts an empty file.

    Args:
      keypoints: the names of the N points, all different.
      category: what the annotations are of.
    """
    self._num_points = len(keypoints)
    self._category: dict[str, Any] = {
      'id': 1,
      'name': category,
      'supercategory': 'person',
      'keypoints': list(keypoints),
      'skeleton': [],
    }
    self._images: list[str] = []
    # As text: a tenth of the memory of the objects.
    self._faces: list[str] = []

  def add_photo(self, name: str, width: int, height: int) -> int:
    """Adds a photo.

    Args:
      name: relative to the folder of the photos.
      width: pixels.
      height: pixels.

    Returns:
      Its id.
    """
    number = len(self._images) + 1
    self._images.append(
      _json({'id': number, 'file_name': name, 'width': width, 'height': height})
    )
    return number

  def add_face(
    self,
    photo: int,
    points: np.ndarray,
    visible: np.ndarray,
    box: np.ndarray,
    **more: Any,
  ) -> int:
    """Adds a face.

    Args:
      photo: id of its photo.
      points: (N, 2) pixels; NaN = without a location.
      visible: (N,) bool.
      box: (4,) x, y, width, height of the outer edges.
      **more: JSON values to keep with the annotation, such as score=0.9.

    Returns:
      Its id.

    Raises:
      ValueError: if there are not N points, or there is no such photo.
    """
    points = np.asarray(points, np.float64)
    wanted = self._num_points
    if points.shape != (wanted, 2) or np.shape(visible) != (wanted,):
      raise ValueError(
        f'add_face(): points {points.shape} and visible {np.shape(visible)}; wanted '
        f'({wanted}, 2) and ({wanted},).'
      )
    if not 1 <= photo <= len(self._images):
      raise ValueError(f'add_face(): there is no photo {photo} of {len(self._images)}.')
    number = len(self._faces) + 1
    labelled = np.isfinite(points).all(axis=1)
    flags = np.where(labelled, np.where(visible, 2, 1), 0)
    box = np.asarray(box, np.float64)
    self._faces.append(
      _json(
        {
          'id': number,
          'image_id': photo,
          'category_id': 1,
          'iscrowd': 0,
          'bbox': [round(float(x), 3) for x in box],
          'area': round(float(box[2] * box[3]), 3),
          'num_keypoints': int(labelled.sum()),
          'keypoints': [
            number
            for (x, y), v in zip(points, flags, strict=True)
            for number in (
              (round(float(x), 3), round(float(y), 3), int(v)) if v else (0, 0, 0)
            )
          ],
          **more,
        }
      )
    )
    return number

  def write(self, path: str | os.PathLike[str]) -> None:
    """Writes what was collected.

    Args:
      path: the file.
    """
    text = (
      f'{{"images": [\n{_lines(self._images)}\n],\n'
      f'"categories": [{_json(self._category)}],\n'
      f'"annotations": [\n{_lines(self._faces)}\n]}}\n'
    )
    write_atomically(path, text.encode())


def _json(value):
  # Not ASCII only: a name whose bytes are no text is escaped by it.
  return json.dumps(value, allow_nan=False)


def _lines(rows):
  return ',\n'.join(rows)
