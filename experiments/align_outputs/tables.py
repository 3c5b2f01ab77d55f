"""The files that hold all faces of a run: coco.json and faces.csv."""

import csv
import os
import pathlib

import numpy as np

from experiments.lib import output_files
from pifa_jax.files.coco_files import CocoFile
from pifa_jax.results.face_files import SCHEME
from pifa_jax.results.fitted_face import FittedFace

_POINTS = 68


class CocoTable:
  """coco.json: COCO keypoints, v = 1 hidden and 2 visible."""

  name = 'coco.json'

  def __init__(self, workdir: pathlib.Path):
    """Starts an empty file.

    Args:
      workdir: where it is written.
    """
    self._path = workdir / self.name
    self._file = CocoFile([f'ibug68_{i + 1}' for i in range(_POINTS)])

  def add_photo(self, name: str, photo: np.ndarray) -> int:
    """Adds a photo; returns its id."""
    return self._file.add_photo(name, photo.shape[1], photo.shape[0])

  def add(self, photo: int, number: int, face: FittedFace) -> None:
    """Adds a face of a photo.

    Args:
      photo: of `add_photo`.
      number: of the face in the photo.
      face: the face.
    """
    points = np.asarray(face.landmarks[SCHEME], np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    yaw, pitch, roll = (round(float(angle), 3) for angle in face.angles)
    score = {}
    if face.confidence is not None:
      score['score'] = round(float(face.confidence), 4)
    self._file.add_face(
      photo,
      points,
      face.visible[SCHEME],
      # Of what was found, not of where it was looked for.
      np.concatenate([low, high - low]),
      face=int(number),
      yaw_pitch_roll_degrees=[yaw, pitch, roll],
      **score,
    )

  def close(self) -> None:
    """Writes the file."""
    self._file.write(self._path)


class CsvTable:
  """faces.csv: a row a face, with the column names of OpenFace for landmarks."""

  name = 'faces.csv'

  def __init__(self, workdir: pathlib.Path, actions: tuple[str, ...] = ()):
    """Opens the file under another name, which it has until it is whole.

    Args:
      workdir: where it is written.
      actions: of expressions, that have a column each.

    Raises:
      OSError: if it cannot be made.
    """
    self._path = workdir / self.name
    self._partial = workdir / f'{self.name}.partial'
    self._actions = actions
    # Rows go to the disk at once: a run of any length takes the same memory.
    self._file = output_files.open_table(self._partial)
    self._writer = csv.writer(self._file)
    self._writer.writerow(
      [
        *('image', 'face', 'confidence', 'success'),
        *('box_x', 'box_y', 'box_width', 'box_height'),
        *('yaw_degrees', 'pitch_degrees', 'roll_degrees'),
        *(f'{axis}_{i}' for axis in ('x', 'y', 'visible') for i in range(_POINTS)),
        *actions,
      ]
    )

  def add(
    self, name: str, number: int, face: FittedFace, actions: dict[str, float]
  ) -> None:
    """Adds a face.

    Args:
      name: of its photo.
      number: of the face in the photo.
      face: the face.
      actions: expression -> strength, for the columns that were asked for.
    """
    points = np.asarray(face.landmarks[SCHEME], np.float64)
    self._writer.writerow(
      [
        name,
        number,
        '' if face.confidence is None else f'{face.confidence:.4f}',
        1,
        *(f'{x:.3f}' for x in np.asarray(face.box, np.float64)),
        *(f'{angle:.3f}' for angle in face.angles),
        *(f'{x:.3f}' for x in points.T.ravel()),
        *(int(seen) for seen in face.visible[SCHEME]),
        *(f'{actions[action]:.4f}' for action in self._actions),
      ]
    )

  def close(self) -> None:
    """Puts the file in its place."""
    self._file.close()
    os.replace(self._partial, self._path)
