"""Where the vertices of MakeHuman's base mesh are on a face model.

Hair of MakeHuman is bound to its base mesh, hm08: short hair to the skin, long hair to
an invisible helper around the head, which the face model does not have.
`python -m experiments.build_hair_helper` makes the file of it.
"""

import os
import pathlib
from typing import NamedTuple

import numpy as np

from pifa_jax.face_models import npz_format, registry
from pifa_jax.files import array_files

PATH = pathlib.Path(__file__).parent / 'assets' / 'hair_helper.npz'


class BaseVertices(NamedTuple):
  """The vertices of hm08 that a face model knows.

  Attributes:
    ids: (K,) int32 ids in hm08 of the model's first K vertices.
    helper_ids: (H,) int32 ids in hm08 of the hair's helper.
    helper: (H, 3) float32, where the helper is on the mean face, millimetres of the
      built-in face's frame.
  """

  ids: np.ndarray
  helper_ids: np.ndarray
  helper: np.ndarray


def load_base_vertices(name_or_path: str | os.PathLike[str]) -> BaseVertices:
  """Loads what binds meshes of MakeHuman to a face model.

  Args:
    name_or_path: as for `load_face_model`; subdivision keeps the vertices' order.

  Returns:
    The vertices.

  Raises:
    FileNotFoundError: if there is no such face model.
    ValueError: if it does not come from MakeHuman's base mesh.
  """
  helper = array_files.read(PATH, 'hair helper')
  return BaseVertices(model_vertices(name_or_path), helper['ids'], helper['places'])


def model_vertices(name_or_path: str | os.PathLike[str]) -> np.ndarray:
  """Loads which vertices of MakeHuman's base mesh a face model has.

  Args:
    name_or_path: see `load_base_vertices`.

  Returns:
    (K,) int32 ids in hm08 of the model's first K vertices.

  Raises:
    FileNotFoundError, ValueError: see `load_base_vertices`.
  """
  path = registry.face_model_file(name_or_path)
  ids = npz_format.load_extras(path).get('makehuman_vertex_ids')
  if ids is None or ids.ndim != 1 or ids.dtype.kind not in 'iu':
    raise ValueError(
      f'the face model {os.fspath(name_or_path)!r} does not say which vertices of '
      "MakeHuman's base mesh hm08 it has; use a built-in one, such as 'builtin-1'."
    )
  return ids.astype(np.int32)
