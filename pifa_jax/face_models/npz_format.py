"""Our .npz: the only face-model file that the library reads directly.

A zip of plain arrays (never pickled objects), in millimetres or whatever unit the
file states:

  schema_version      () int32, 1
  units               () str, 'mm' ...
  mean_shape          (Q, 3) float32           triangles       (T, 3) int32
  identity_basis      (N_I, Q, 3) float16/32   mean_normals    (Q, 3) float32
  identity_stddev     (N_I,) float32           nose_tip        () int32
  expression_basis    (N_E, Q, 3) float16/32   symmetry        (Q,) int32, optional
  expression_stddev   (N_E,) float32
  landmarks/<name>    (N,) int32               regions/<name>  (K,) int32
  extras/<name>       anything else that a maker wants to keep; not read here
  content_sha256      () str, the hash of all of the above

The members are stored without compression and with a fixed date, so the same model
gives the same bytes on every machine, whatever its zlib.
"""

from collections.abc import Mapping
import os
from typing import Any

import numpy as np

from pifa_jax.files import array_files
from pifa_jax.types import MorphableModel

SCHEMA_VERSION = 1

# The built-in file was made when the region was called so; the line goes when the
# file is made again.
_OLD_REGIONS = {'drawn': 'rendered'}

_REQUIRED = (
  'schema_version',
  'units',
  'mean_shape',
  'identity_basis',
  'identity_stddev',
  'expression_basis',
  'expression_stddev',
  'triangles',
  'mean_normals',
  'nose_tip',
  'content_sha256',
)


def save_npz(
  path: str | os.PathLike[str],
  model: MorphableModel,
  *,
  units: str,
  basis_dtype: Any = np.float32,
  extras: Mapping[str, np.ndarray] | None = None,
) -> str:
  """Writes a face model; the same model always gives the same bytes.

  Args:
    path: the file to write; an existing one is replaced in one step.
    model: the 3DMM, any Q, N_I, N_E.
    units: the unit of the mean shape and the bases ('mm', 'um', ...).
    basis_dtype: float16 or float32 for the two bases.
    extras: name -> array, kept in the file beside the model.

  Returns:
    The content hash, hex SHA-256.

  Raises:
    ValueError: if the model's arrays do not fit together.
  """
  basis_dtype = np.dtype(basis_dtype)
  if basis_dtype not in (np.dtype(np.float16), np.dtype(np.float32)):
    raise ValueError(f'basis_dtype={basis_dtype} is not float16 or float32.')
  arrays = {
    'schema_version': np.asarray(SCHEMA_VERSION, np.int32),
    'units': np.asarray(units),
    'mean_shape': np.asarray(model.mean_shape, np.float32),
    'identity_basis': np.asarray(model.identity_basis, basis_dtype),
    'identity_stddev': np.asarray(model.identity_stddev, np.float32),
    'expression_basis': np.asarray(model.expression_basis, basis_dtype),
    'expression_stddev': np.asarray(model.expression_stddev, np.float32),
    'triangles': np.asarray(model.triangles, np.int32),
    'mean_normals': np.asarray(model.mean_normals, np.float32),
    'nose_tip': np.asarray(model.nose_tip, np.int32),
  }
  if model.symmetry is not None:
    arrays['symmetry'] = np.asarray(model.symmetry, np.int32)
  for name, ids in model.landmark_schemes.items():
    arrays[f'landmarks/{name}'] = np.asarray(ids, np.int32)
  for name, ids in model.regions.items():
    arrays[f'regions/{name}'] = np.asarray(ids, np.int32)
  for name, value in (extras or {}).items():
    arrays[f'extras/{name}'] = np.asarray(value)
  _check(arrays, f'The model to be written to {path}')
  digest = array_files.content_hash(arrays)
  arrays['content_sha256'] = np.asarray(digest)

  array_files.write(path, arrays)
  return digest


def load_npz(
  path: str | os.PathLike[str], *, max_bytes: int = array_files.DEFAULT_MAX_BYTES
) -> MorphableModel:
  """Reads a face model; Eq. (1)'s S_0, S^I, S^E and what goes with them.

  Args:
    path: a file in the format above.
    max_bytes: refuse a file whose arrays would take more than this, before
      inflating anything.

  Returns:
    The model as float32 and int32 NumPy arrays.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not a face model, is damaged, or does not fit together.
  """
  arrays = array_files.read(path, 'face model', max_bytes=max_bytes)
  array_files.check(
    path,
    arrays,
    required=_REQUIRED,
    version=SCHEMA_VERSION,
    otherwise='it is not a pifa_jax face model; convert other formats with the '
    'converters in pifa_jax.face_models',
  )
  _check(arrays, str(path))

  def part(prefix):
    return {
      name[len(prefix) :]: array
      for name, array in arrays.items()
      if name.startswith(prefix)
    }

  return MorphableModel(
    mean_shape=arrays['mean_shape'].astype(np.float32),
    identity_basis=arrays['identity_basis'].astype(np.float32),
    identity_stddev=arrays['identity_stddev'].astype(np.float32),
    expression_basis=arrays['expression_basis'].astype(np.float32),
    expression_stddev=arrays['expression_stddev'].astype(np.float32),
    triangles=arrays['triangles'].astype(np.int32),
    mean_normals=arrays['mean_normals'].astype(np.float32),
    nose_tip=arrays['nose_tip'].astype(np.int32),
    landmark_schemes={
      name: ids.astype(np.int32) for name, ids in part('landmarks/').items()
    },
    regions={
      _OLD_REGIONS.get(name, name): ids.astype(np.int32)
      for name, ids in part('regions/').items()
    },
    symmetry=arrays['symmetry'].astype(np.int32) if 'symmetry' in arrays else None,
  )


def expression_unit_extras(units: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Single facial actions as `save_npz` keeps them beside a model.

  Args:
    units: name -> (N_E,) coefficients, see `load_expression_units`.

  Returns:
    What to give to `save_npz` as extras.
  """
  return {
    'expression_unit_names': np.asarray(list(units)),
    'expression_unit_coeffs': np.stack(list(units.values())),
  }


def load_extras(
  path: str | os.PathLike[str], *, max_bytes: int = array_files.DEFAULT_MAX_BYTES
) -> dict[str, np.ndarray]:
  """Reads only the units and the extra arrays of a face-model file.

  Args:
    path: a file in the format above.
    max_bytes: as in `load_npz`.

  Returns:
    name -> array; 'units' and 'content_sha256' are always among them.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it cannot be read.
  """
  arrays = array_files.read(
    path,
    'face model',
    max_bytes=max_bytes,
    wanted=lambda name: (
      name.startswith('extras/') or name in ('units', 'content_sha256')
    ),
  )
  return {name.removeprefix('extras/'): array for name, array in arrays.items()}


def _check(arrays, what):
  """Shapes, ids in range, finite values: ValueError with one sentence."""
  mean = arrays['mean_shape']
  if mean.ndim != 2 or mean.shape[1] != 3 or not mean.shape[0]:
    raise ValueError(
      f'{what} has mean_shape of shape {mean.shape}; wanted (Q, 3) '
      'with at least one vertex.'
    )
  q = mean.shape[0]
  for kind in ('identity', 'expression'):
    basis, stddev = arrays[f'{kind}_basis'], arrays[f'{kind}_stddev']
    if basis.ndim != 3 or basis.shape[1:] != (q, 3):
      raise ValueError(
        f'{what} has {kind}_basis of shape {basis.shape}; wanted '
        f'(K, {q}, 3) to go with mean_shape.'
      )
    if stddev.shape != (basis.shape[0],):
      raise ValueError(
        f'{what} has {kind}_stddev of shape {stddev.shape}; wanted '
        f'({basis.shape[0]},) to go with {kind}_basis.'
      )
    if not np.all(stddev > 0):
      raise ValueError(
        f'{what} has a {kind}_stddev that is not positive; drop bases that do not vary.'
      )
  if arrays['mean_normals'].shape != (q, 3):
    raise ValueError(
      f'{what} has mean_normals of shape '
      f'{arrays["mean_normals"].shape}; wanted ({q}, 3).'
    )
  if arrays['triangles'].ndim != 2 or arrays['triangles'].shape[1] != 3:
    raise ValueError(
      f'{what} has triangles of shape {arrays["triangles"].shape}; wanted (T, 3).'
    )
  if arrays['nose_tip'].shape != ():
    raise ValueError(
      f'{what} has nose_tip of shape {arrays["nose_tip"].shape}; wanted one vertex id.'
    )
  if 'symmetry' in arrays and arrays['symmetry'].shape != (q,):
    raise ValueError(
      f'{what} has symmetry of shape {arrays["symmetry"].shape}; wanted ({q},).'
    )
  for name, array in arrays.items():
    if name in ('schema_version', 'units') or name.startswith('extras/'):
      continue
    is_ids = name in ('triangles', 'nose_tip', 'symmetry') or name.startswith(
      ('landmarks/', 'regions/')
    )
    if array.dtype.kind not in ('iu' if is_ids else 'f'):
      raise ValueError(
        f'{what} has {name} of type {array.dtype}; wanted '
        f'{"whole" if is_ids else "floating-point"} numbers.'
      )
    if not is_ids and not np.isfinite(array).all():
      raise ValueError(
        f'{what} has values in {name} that are not finite; make the file again.'
      )
    if is_ids and array.size and (array.min() < 0 or array.max() >= q):
      raise ValueError(
        f'{what} has vertex ids from {array.min()} to {array.max()} '
        f'in {name}; wanted 0 to {q - 1}.'
      )
    if name.startswith(('landmarks/', 'regions/')) and array.ndim != 1:
      raise ValueError(
        f'{what} has {name} of shape {array.shape}; wanted a list of vertex ids.'
      )
