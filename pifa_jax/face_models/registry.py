"""Face models by name or path, their hash, and landmark id files."""

import hashlib
import os
import pathlib

import numpy as np

from pifa_jax.face_models import landmark_tables, npz_format
from pifa_jax.face_models import subdivision as subdivision_lib
from pifa_jax.files import array_files
from pifa_jax.types import MorphableModel

_ASSETS = pathlib.Path(__file__).parent / 'assets'
_BUILTIN = 'builtin'
_BUILTIN_FILE = 'builtin_face.npz'
_MAX_SUBDIVISION = 2


def load_face_model(
  name_or_path: str | os.PathLike[str] = _BUILTIN, *, subdivision: int | None = None
) -> MorphableModel:
  """Loads a face model.

  Args:
    name_or_path: 'builtin' (4,428 vertices, millimetres), 'builtin-1' or
      'builtin-2' (the same after one or two levels of Loop subdivision: 17,655 and
      70,521 vertices), or the path of an .npz in our format. The built-in ones have
      the landmark schemes of `landmark_tables` besides those of their file.
    subdivision: levels of Loop subdivision, 0 to 2. By default what the name
      says, 0 for a path.

  Returns:
    The model: float32 and int32 NumPy arrays, read anew by every call.

  Raises:
    FileNotFoundError: if it is neither a known name nor a file.
    ValueError: if the level is out of range or contradicts the name, or the file
      is not a face model.
  """
  name, (path, levels_in_name) = os.fspath(name_or_path), _path(name_or_path)
  levels = subdivision if subdivision is not None else (levels_in_name or 0)
  if levels not in range(_MAX_SUBDIVISION + 1):
    raise ValueError(
      f'subdivision={subdivision} is not 0, 1 or 2; every level '
      'has four times the triangles.'
    )
  if levels_in_name is not None and levels != levels_in_name:
    raise ValueError(
      f'subdivision={subdivision} contradicts the name {name!r}; give one of the two.'
    )
  model = subdivision_lib.subdivide(npz_format.load_npz(path), levels=levels)
  return (
    landmark_tables.with_tables(model) if path == _ASSETS / _BUILTIN_FILE else model
  )


def face_model_hash(model: MorphableModel, scheme: str | None = None) -> str:
  """Identifies a face model in runs and caches: hex SHA-256 of its arrays.

  All arrays of the model count, and of its landmark schemes those that came with it:
  'ibug68', which places the mean face in a box, the other schemes of its file, and a
  file of vertex ids that a user added. The schemes of `landmark_tables` do not
  count, so new ones leave the model what it was, unless `scheme` is one of them.

  Args:
    model: the 3DMM, NumPy or JAX arrays.
    scheme: the landmark scheme that the model is used with, if it matters, as for
      what a network was trained on.

  Returns:
    64 hex digits; the same for equal arrays, wherever they came from.

  Raises:
    ValueError: if the model has no such scheme.
  """
  if scheme is not None and scheme not in model.landmark_schemes:
    raise ValueError(
      f'face_model_hash(): the face model has no landmark scheme {scheme!r}; it has '
      f'{", ".join(sorted(model.landmark_schemes)) or "none"}.'
    )
  schemes = landmark_tables.own_schemes(model)
  if scheme is not None:
    schemes[scheme] = np.asarray(model.landmark_schemes[scheme])
  arrays = {
    'mean_shape': np.asarray(model.mean_shape, np.float32),
    'identity_basis': np.asarray(model.identity_basis, np.float32),
    'identity_stddev': np.asarray(model.identity_stddev, np.float32),
    'expression_basis': np.asarray(model.expression_basis, np.float32),
    'expression_stddev': np.asarray(model.expression_stddev, np.float32),
    'triangles': np.asarray(model.triangles, np.int32),
    'mean_normals': np.asarray(model.mean_normals, np.float32),
    'nose_tip': np.asarray(model.nose_tip, np.int32),
  }
  if model.symmetry is not None:
    arrays['symmetry'] = np.asarray(model.symmetry, np.int32)
  for prefix, table in (('landmarks', schemes), ('regions', model.regions)):
    for name, ids in table.items():
      arrays[f'{prefix}/{name}'] = np.asarray(ids, np.int32)
  return array_files.content_hash(arrays)


def file_hash(path: str | os.PathLike[str]) -> str:
  """Hex SHA-256 of a file's bytes.

  Args:
    path: the file.

  Returns:
    64 hex digits.
  """
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def load_landmark_ids(
  path: str | os.PathLike[str], *, num_vertices: int | None = None
) -> np.ndarray:
  """Reads a landmark scheme, the vector b of Eq. (3), from a text file.

  Args:
    path: one 0-based vertex id a line; empty lines and what follows a '#' are
      ignored.
    num_vertices: if given, ids must be below it.

  Returns:
    (N,) int32 vertex ids.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if a line is not a vertex id, or there is none.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(
      f'No landmark file at {path}; make a text file with one 0-based vertex id a line.'
    )
  ids = []
  for number, line in enumerate(path.read_text(encoding='utf-8-sig').splitlines(), 1):
    text = line.split('#', 1)[0].strip()
    if not text:
      continue
    if not (text.isascii() and text.isdigit()):
      raise ValueError(
        f'{path}, line {number}: {text!r} is not a vertex id; write '
        'one 0-based whole number a line.'
      )
    if int(text) >= (2**31 if num_vertices is None else num_vertices):
      raise ValueError(
        f'{path}, line {number}: vertex {text} is not in the model, whose '
        f'largest id is {(2**31 if num_vertices is None else num_vertices) - 1}; '
        'ids are 0-based.'
      )
    ids.append(int(text))
  if not ids:
    raise ValueError(f'{path} has no vertex id; write one a line.')
  return np.asarray(ids, np.int32)


def load_expression_units(
  name_or_path: str | os.PathLike[str] = _BUILTIN,
) -> dict[str, np.ndarray]:
  """Expression coefficients of single facial actions of a face model.

  Independent normal coefficients are a model's prior, but not every draw is a
  face that people make: half of all draws of the built-in one would press the closed
  jaws into each other. Weighted sums (0 to 1) of a few of these actions are natural,
  and synthetic data is made of them.

  Args:
    name_or_path: as for `load_face_model`.

  Returns:
    name ('jawOpen', 'eyeBlinkLeft', ...; Left is the subject's left) ->
    (N_E,) float32 coefficients; empty if the model has none.

  Raises:
    FileNotFoundError, ValueError: see `load_face_model`.
  """
  extras = npz_format.load_extras(_path(name_or_path)[0])
  names = extras.get('expression_unit_names')
  if names is None:
    return {}
  # A file without them fails the check below.
  coefficients = extras.get('expression_unit_coeffs', np.zeros(()))
  if coefficients.ndim != 2 or len(coefficients) != len(names):
    raise ValueError(
      f'{name_or_path} names {len(names)} expression units but its '
      f'expression_unit_coeffs are {np.shape(coefficients)}; wanted '
      f'({len(names)}, N_E).'
    )
  return dict(zip(names.tolist(), coefficients.astype(np.float32), strict=True))


def face_model_file(name_or_path: str | os.PathLike[str]) -> pathlib.Path:
  """Finds the file of a face model.

  Args:
    name_or_path: as for `load_face_model`.

  Returns:
    Its path.

  Raises:
    FileNotFoundError: if it is neither a known name nor a file.
  """
  return _path(name_or_path)[0]


def _path(name_or_path):
  """(file, levels of subdivision that the name asks for or None)."""
  name = os.fspath(name_or_path)
  if name in _builtin_names():
    return (
      _ASSETS / _BUILTIN_FILE,
      None if name == _BUILTIN else int(name.rsplit('-', 1)[1]),
    )
  path = pathlib.Path(name)
  if not path.is_file():
    raise FileNotFoundError(
      f'No face model {name!r}: it is not a file, and the built-in names are '
      f'{", ".join(repr(n) for n in _builtin_names())}; BUILD_NOTES.md, '
      '"Getting the models", says how to make others.'
    )
  return path, None


def _builtin_names() -> list[str]:
  return [_BUILTIN] + [
    f'{_BUILTIN}-{level}' for level in range(1, _MAX_SUBDIVISION + 1)
  ]
