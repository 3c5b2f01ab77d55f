"""The Basel Face Models, as their users' archives hold them -> our model.

Coefficients keep their meaning: Shape_Para and Exp_Para of 300W-LP apply unchanged
to what `convert_3ddfa`, `convert_bfm2009` and `convert_face3d` give.
"""

import os
import pathlib

import numpy as np

from pifa_jax.face_models import conversion
from pifa_jax.files.matlab_files import read_mat, read_numbers
from pifa_jax.types import MorphableModel

_MICROMETRES = 1000.0
# iBUG's 68 on the 53,215 vertices, 0-based, as 3DDFA and face3d publish them.
_LANDMARKS = np.array(
  '21873 22149 21653 21036 43236 44918 46166 47135 47914 48695 49667 50924 52613 '
  '33678 33005 32469 32709 38695 39392 39782 39987 40154 40893 41059 41267 41661 '
  '42367 8161 8177 8187 8192 6515 7243 8204 9163 9883 2215 3886 4920 5828 4801 3640 '
  '10455 11353 12383 14066 12653 11492 5522 6025 7495 8215 8935 10395 10795 9555 '
  '8836 8236 7636 6915 5909 7384 8223 9064 10537 8829 8229 7629'.split(),
  int,
)


def convert_3ddfa(
  folder: str | os.PathLike[str], *, landmarks: np.ndarray | None = None
) -> MorphableModel:
  """BFM 2009 with FaceWarehouse's expressions as 3DDFA ships it.

  Args:
    folder: with Model_Shape.mat (mu_shape, w, sigma, tri, keypoints) and
      Model_Expression.mat (mu_exp, w_exp, sigma_exp); micrometres, 1-based.
    landmarks: (68,) 0-based vertex ids; default: keypoints.

  Returns:
    The model.

  Raises:
    FileNotFoundError, ValueError: if a file is missing, damaged or another one.
  """
  folder = pathlib.Path(folder)
  shape_file = _file(folder, 'Model_Shape.mat')
  shape = read_numbers(shape_file, ('mu_shape', 'w', 'sigma', 'tri'))
  if landmarks is None:
    keypoints = read_mat(shape_file, ('keypoints',)).get('keypoints')
    landmarks = (
      _LANDMARKS
      if keypoints is None
      else np.asarray(keypoints, np.float64).ravel().astype(int) - 1
    )
  mu_exp, w_exp, sigma_exp = _expression(folder)
  return _assemble(
    shape_file,
    shape['mu_shape'] + _same(mu_exp, shape['mu_shape']),
    shape['w'],
    shape['sigma'],
    w_exp,
    sigma_exp,
    shape['tri'],
    landmarks,
  )


def convert_bfm2009(
  path: str | os.PathLike[str],
  expression_folder: str | os.PathLike[str],
  *,
  landmarks: np.ndarray | None = None,
) -> MorphableModel:
  """BFM 2009 as Basel gives it, with FaceWarehouse's expressions.

  Args:
    path: of 01_MorphableModel.mat (shapeMU, shapePC, shapeEV, tl).
    expression_folder: with Model_Expression.mat and model_info.mat (trimIndex) of
      3DDFA: the expressions exist on the 53,215 trimmed vertices alone.
    landmarks: (68,) 0-based ids of trimmed vertices; default: the published ones.

  Returns:
    The model on the trimmed vertices.

  Raises:
    FileNotFoundError, ValueError: see `convert_3ddfa`.
  """
  path, folder = (pathlib.Path(p) for p in (path, expression_folder))
  shape = read_numbers(path, ('shapeMU', 'shapePC', 'shapeEV', 'tl'))
  trim = read_numbers(_file(folder, 'model_info.mat'), ('trimIndex',))['trimIndex']
  trim = trim.ravel().astype(int) - 1
  count = len(shape['shapeMU'].ravel()) // 3
  if not len(trim) or trim.min() < 0 or trim.max() >= count:
    raise ValueError(
      f'{folder / "model_info.mat"}: trimIndex does not name vertices '
      f'of the {count} in {path.name}.'
    )
  rows = (3 * trim[:, None] + np.arange(3)).ravel()
  new_id = np.full(count, -1)
  new_id[trim] = np.arange(len(trim))
  triangles = new_id[_ids(shape['tl'], path, count)]
  triangles = triangles[(triangles >= 0).all(axis=1)]
  mu_exp, w_exp, sigma_exp = _expression(folder)
  mean = shape['shapeMU'].ravel()[rows]
  return _assemble(
    path,
    mean + _same(mu_exp, mean),
    shape['shapePC'][rows],
    shape['shapeEV'],
    w_exp,
    sigma_exp,
    triangles + 1,
    _LANDMARKS if landmarks is None else landmarks,
  )


def convert_face3d(
  path: str | os.PathLike[str], *, landmarks: np.ndarray | None = None
) -> MorphableModel:
  """BFM 2009 with expressions in the one file of face3d.

  Args:
    path: of BFM.mat: a structure `model` with shapeMU, shapePC, shapeEV, expMU,
      expPC, expEV, tri and kpt_ind.
    landmarks: (68,) 0-based ids; default: kpt_ind.

  Returns:
    The model.

  Raises:
    FileNotFoundError, ValueError: see `convert_3ddfa`.
  """
  path = pathlib.Path(path)
  model = read_mat(path, ('model',)).get('model')
  fields = (
    model.ravel()[0]
    if (isinstance(model, np.ndarray) and model.size == 1 and model.dtype == object)
    else None
  )
  if not isinstance(fields, dict):
    fields = {}
  names = ('shapeMU', 'shapePC', 'shapeEV', 'expMU', 'expPC', 'expEV', 'tri')
  missing = [n for n in names if not isinstance(fields.get(n), np.ndarray)]
  if missing:
    raise ValueError(
      f'{path} has no structure "model" with {missing[0]}; it is not face3d\'s BFM.mat.'
    )
  if landmarks is None:
    points = fields.get('kpt_ind')
    landmarks = (
      _LANDMARKS
      if points is None
      else np.asarray(points, np.float64).ravel().astype(int) - 1
    )
  mean = np.asarray(fields['shapeMU'], np.float64)
  return _assemble(
    path,
    mean + _same(fields['expMU'], mean),
    fields['shapePC'],
    fields['shapeEV'],
    fields['expPC'],
    fields['expEV'],
    fields['tri'],
    landmarks,
  )


def convert_bfm2017(
  path: str | os.PathLike[str], landmarks: np.ndarray | None
) -> MorphableModel:
  """BFM 2017, a statistical model in HDF5; millimetres, variances.

  Args:
    path: of model2017-1_bfm_nomouth.h5 or its kind.
    landmarks: (68,) 0-based vertex ids: the file names no iBUG points.

  Returns:
    The model.

  Raises:
    FileNotFoundError, ValueError: if the file is missing, damaged, or links to
      others; or without landmarks.
  """
  import h5py

  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'There is no {path}; give the .h5 of BFM 2017.')
  if landmarks is None:
    raise ValueError(
      f'{path} does not say which vertices are the 68 landmarks; give '
      '--landmarks a file of 68 vertex ids, one a line, from 0.'
    )

  def read(file, name):
    place = file
    for part in name.split('/'):
      # Links could lead to any file of this machine.
      if not isinstance(place, h5py.Group) or not isinstance(
        place.get(part, getlink=True), h5py.HardLink
      ):
        raise ValueError(f'it has no {name} of its own')
      place = place[part]
    if (
      not isinstance(place, h5py.Dataset)
      or place.external
      or place.is_virtual
      or (place.dtype.kind not in 'fiu')
    ):
      raise ValueError(f'its {name} is not a table of numbers of its own')
    return np.asarray(place[()], np.float64)

  try:
    with h5py.File(path, 'r') as file:
      parts = {
        kind: [
          read(file, f'{kind}/model/{name}')
          for name in ('mean', 'pcaBasis', 'pcaVariance')
        ]
        for kind in ('shape', 'expression')
      }
      cells = read(file, 'shape/representer/cells')
  except (OSError, KeyError, RuntimeError, ValueError) as error:
    raise ValueError(f'{path} is not a BFM 2017 that can be read: {error}.') from error
  for kind, (mean, basis, variance) in parts.items():
    if (
      basis.ndim != 2
      or basis.shape[0] != mean.size
      or mean.size % 3
      or variance.size != basis.shape[1]
      or np.any(variance <= 0)
    ):
      raise ValueError(
        f'{path}: mean {mean.shape}, pcaBasis {basis.shape} and '
        f'pcaVariance {variance.shape} of {kind} do not fit.'
      )
  if cells.ndim != 2 or 3 not in cells.shape:
    raise ValueError(f'{path}: cells has shape {cells.shape}, not (3, F).')
  cells = cells.T if cells.shape[0] == 3 else cells
  mean = parts['shape'][0] + _same(parts['expression'][0], parts['shape'][0])
  return conversion.assemble(
    source=str(path),
    units_per_mm=1.0,
    mean=mean.reshape(-1, 3),
    identity=conversion.interleaved(parts['shape'][1]),
    identity_stddev=np.sqrt(parts['shape'][2].ravel()),
    expression=conversion.interleaved(parts['expression'][1]),
    expression_stddev=np.sqrt(parts['expression'][2].ravel()),
    triangles=cells.astype(np.int64),
    landmarks=landmarks,
  )


def _file(folder, name):
  if not (folder / name).is_file():
    raise FileNotFoundError(
      f"There is no {folder / name}; it comes with 3DDFA's "
      'archive of the Basel model and of FaceWarehouse.'
    )
  return folder / name


def _expression(folder):
  names = ('mu_exp', 'w_exp', 'sigma_exp')
  content = read_numbers(_file(folder, 'Model_Expression.mat'), names)
  return tuple(content[name] for name in names)


def _same(values, like):
  """The expressions' mean in the shape of the identities'."""
  values = np.asarray(values, np.float64)
  if values.size != np.size(like):
    raise ValueError(
      f'The expressions have {values.size // 3} vertices, the shape '
      f'{np.size(like) // 3}; the two files are not of one model.'
    )
  return values.reshape(np.shape(like))


def _ids(table, source, count):
  """1-based triangles of either layout -> (T, 3) 0-based."""
  table = np.asarray(table, np.float64)
  if table.ndim != 2 or 3 not in table.shape:
    raise ValueError(f'{source}: triangles of shape {table.shape}, not (T, 3).')
  table = table if table.shape[1] == 3 else table.T
  ids = table.astype(np.int64) - 1
  if not ids.size or ids.min() < 0 or ids.max() >= count:
    raise ValueError(
      f'{source}: the triangles name vertices outside 1..{count}; they '
      'must count from 1.'
    )
  return ids


def _assemble(source, mean, w, sigma, w_exp, sigma_exp, triangles, landmarks):
  mean, w, w_exp = np.asarray(mean).ravel(), np.asarray(w), np.asarray(w_exp)
  for name, basis in (('identity', w), ('expression', w_exp)):
    if basis.ndim != 2 or basis.shape[0] != mean.size or mean.size % 3:
      raise ValueError(
        f'{source}: the {name} basis is {basis.shape} but the mean '
        f'has {mean.size} numbers; they are not of one model.'
      )
  return conversion.assemble(
    source=str(source),
    units_per_mm=_MICROMETRES,
    mean=mean.reshape(-1, 3),
    identity=conversion.interleaved(w),
    identity_stddev=np.ravel(sigma),
    expression=conversion.interleaved(w_exp),
    expression_stddev=np.ravel(sigma_exp),
    triangles=_ids(triangles, source, mean.size // 3),
    landmarks=landmarks,
  )
