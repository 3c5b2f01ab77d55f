"""Some of the faces of `AlignedFaces`, and several of them as one."""

from collections.abc import Sequence
import dataclasses

import jax
import numpy as np

from pifa_jax.inference.aligner import AlignedFaces


def take(faces: AlignedFaces, rows: Sequence[int] | np.ndarray) -> AlignedFaces:
  """Some of the faces.

  Args:
    faces: of a photo.
    rows: which, in the wanted order.

  Returns:
    These faces.
  """
  rows = np.asarray(rows, np.int64)
  return AlignedFaces(
    **jax.tree.map(lambda array: np.asarray(array)[rows], _fields(faces))
  )


def join(parts: Sequence[AlignedFaces]) -> AlignedFaces:
  """The faces of several as one.

  Args:
    parts: at least one, of the same aligner.

  Returns:
    All faces, in the order of the parts; of the signs those that all have.
  """
  every = [_fields(part) for part in parts]
  common = set.intersection(*(set(fields['signs']) for fields in every))
  for fields in every:
    fields['signs'] = {name: fields['signs'][name] for name in sorted(common)}
  return AlignedFaces(**jax.tree.map(lambda *arrays: np.concatenate(arrays), *every))


def _fields(faces):
  return {field.name: getattr(faces, field.name) for field in dataclasses.fields(faces)}
