"""One fitted face as JSON: a line of results.jsonl, and a file of its own."""

import os
from typing import Any

import numpy as np

from pifa_jax.files import formats
from pifa_jax.results.fitted_face import FittedFace

_SCHEME = 'ibug68'


def face_record(face: FittedFace) -> dict[str, Any]:
  """What is told of a face, as JSON values.

  Args:
    face: the face.

  Returns:
    'box' in which the face was looked for and the detector's 'score' if they are known;
    'landmarks' in pixels, 'visible' and 'frontability' by scheme; 'yaw_degrees',
    'pitch_degrees', 'roll_degrees', 'rotation'; 'confidence', and 'doubtful' if it is
    low, both null if it was not estimated.
  """
  yaw, pitch, roll = (float(np.round(angle, 3)) for angle in face.angles)
  return {
    **({} if face.given_box is None else {'box': np.asarray(face.given_box).tolist()}),
    **({} if face.score is None else {'score': float(face.score)}),
    'landmarks': {name: _rounded(x, 3) for name, x in face.landmarks.items()},
    'visible': {name: np.asarray(x).tolist() for name, x in face.visible.items()},
    'frontability': {name: _rounded(x, 4) for name, x in face.frontability.items()},
    'yaw_degrees': yaw,
    'pitch_degrees': pitch,
    'roll_degrees': roll,
    **({} if face.rotation is None else {'rotation': _rounded(face.rotation, 6)}),
    'confidence': None if face.confidence is None else round(face.confidence, 4),
    'doubtful': face.doubtful,
  }


def save_json(path: str | os.PathLike[str], face: FittedFace) -> None:
  """Writes a face with COCO's keypoints, as `formats.read_landmarks` reads them.

  Args:
    path: the file.
    face: the face. What `face_record` says of it stands beside the keypoints, with the
      landmarks of other schemes as 'other_landmarks'.
  """
  record = face_record(face)
  points = record.pop('landmarks')
  visible = record.pop('visible')
  box = face.box if face.given_box is None else face.given_box
  formats.write_json(
    path,
    np.asarray(face.landmarks[_SCHEME]),
    np.asarray(face.visible[_SCHEME]),
    np.asarray(box),
    other_landmarks={name: x for name, x in points.items() if name != _SCHEME},
    other_visible={name: x for name, x in visible.items() if name != _SCHEME},
    **{name: value for name, value in record.items() if name != 'box'},
  )


def _rounded(array, digits):
  return np.round(np.asarray(array, np.float64), digits).tolist()
