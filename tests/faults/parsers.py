"""S5, mutated files: each parser gives a documented error, soon, or reads the file."""

import json
import logging
import pathlib
import time

import numpy as np
import scipy.io

from pifa_jax.datasets import coco, cofw, crop_cache, wflw
from pifa_jax.face_models import ict_facekit, load_landmark_ids, npz_format
from pifa_jax.files import box_files, formats, images, matlab_files, mesh_files
from pifa_jax.learning import checkpoints
from tests import miniatures
from tests.faults.tally import MAX_SECONDS, Scale, Tally
from tests.learning.checkpoints_test import make_state
from tests.toy_model import make_toy_model

# Bytes that steer parsers, to be put in at random places.
_TOKENS = (
  b'',
  b'\0',
  b'\xff' * 8,
  b'{',
  b'}' * 50,
  b'[' * 2000,
  b'-1',
  b'1e999',
  b'nan',
  b'inf',
  b'\r\n',
  b'9' * 30,
  b'../',
  b'<html>',
  b'"',
)


def mutate(good: bytes, rng: np.random.Generator) -> bytes:
  """One to four random changes: flips, cuts, tokens, repeated and moved parts."""
  bad = bytearray(good)
  for _ in range(rng.integers(1, 5)):
    start = int(rng.integers(len(bad) + 1))
    # Mostly small changes: headers survive, and the parser gets further.
    end = min(len(bad), start + int(10 ** rng.uniform(0, 3)))
    kind = rng.integers(6)
    if kind == 0 and bad:
      bad[min(start, len(bad) - 1)] ^= 1 << int(rng.integers(8))
    elif kind == 1:
      del bad[start:end]
    elif kind == 2:
      bad[start:end] = _TOKENS[rng.integers(len(_TOKENS))]
    elif kind == 3:
      bad[start:start] = bad[start:end]
    elif kind == 4:
      bad[start:end] = rng.bytes(end - start)
    else:
      bad[start:end] = bytes(end - start)
  return bytes(bad)


def _mat(folder, **how):
  path = folder / 'a.mat'
  cells = np.array([[np.arange(3.0), 'text']], object)
  scipy.io.savemat(
    path,
    {
      'x': np.arange(60.0).reshape(5, 12),
      'y': np.eye(2) > 0,
      'cells': cells,
      'struct': {'a': 1, 'b': [2.0]},
    },
    **how,
  )
  return path, lambda: matlab_files.read_mat(path, ('x', 'y', 'cells', 'struct'))


def _mat_compressed(folder):
  return _mat(folder, do_compression=True)


def _pts(folder):
  path = folder / 'a.pts'
  path.write_text('version: 1\nn_points: 3\n{\n1.5 2\n3 4\n5 6\n}\n')
  return path, lambda: formats.read_pts(path)


def _json(folder):
  path = folder / 'a.json'
  formats.write_json(
    path, np.arange(10.0).reshape(5, 2), np.arange(5) != 2, [1, 2, 3, 4]
  )
  return path, lambda: formats.read_landmarks(path)


def _ljson(folder):
  path = folder / 'a.ljson'
  points = np.arange(10.0).reshape(5, 2).tolist()
  path.write_text(json.dumps({'version': 2, 'landmarks': {'points': points}}))
  return path, lambda: formats.read_landmarks(path)


def _csv(folder):
  path = folder / 'a.csv'
  path.write_text('frame, success, x_0, x_1, y_0, y_1\n1, 1, 2, 3, 4, 5\n')
  return path, lambda: formats.read_landmarks(path)


def _wflw(folder):
  miniatures.write_wflw(folder, 1)
  path = next(folder.rglob('*_train.txt'))
  return path, lambda: wflw.read_wflw(folder, 'train')


def _coco(folder):
  miniatures.write_coco(folder, 1)
  path = folder / 'annotations' / 'keypoints_train2017.json'
  return path, lambda: coco.read_coco(folder, 'train')


def _cofw(folder):
  miniatures.write_cofw(folder, 1)
  path = folder / 'COFW_train_color.mat'
  return path, lambda: cofw.read_cofw(folder, 'train')


def _npy(folder):
  path = folder / 'a.npy'
  np.save(path, np.arange(10.0).reshape(5, 2))
  return path, lambda: formats.read_landmarks(path)


def _obj(folder):
  path = folder / 'a.obj'
  mesh_files.write_obj(path, np.eye(3), np.array([[0, 1, 2]]))
  return path, lambda: ict_facekit.read_obj(path)


def _face_model(folder):
  path = folder / 'model.npz'
  npz_format.save_npz(path, make_toy_model(8, 8), units='mm')
  return path, lambda: npz_format.load_npz(path)


def _vertex_ids(folder):
  path = folder / 'ids.txt'
  path.write_text('# ids\n1\n20\n300\n')
  return path, lambda: load_landmark_ids(path, num_vertices=1000)


def _image(folder):
  from PIL import Image

  path = folder / 'a.jpg'
  Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)).save(path)
  return path, lambda: images.decode_image(path.read_bytes(), 'a.jpg')


def _boxes(folder):
  path = folder / 'boxes.json'
  path.write_text('{"a.jpg": [[1, 2, 30, 40]], "b/ü.png": [5, 6, 7.5, 8]}')
  return path, lambda: box_files.read_boxes(path)


def _crop_cache(folder):
  n = 3
  crop_cache.write_cache(
    folder / 'set',
    {
      'images': np.zeros((n, 8, 8, 3), np.uint8),
      'landmarks': np.zeros((n, 5, 2), np.float32),
      'visible': np.ones((n, 5), bool),
      'params': np.ones((n, 12), np.float32),
      'boxes': np.ones((n, 4), np.float32),
    },
    {'data': 'fuzz'},
  )
  return folder / 'set' / 'dataset.json', lambda: crop_cache.open_cache(folder / 'set')


def _manifest(folder):
  checkpoints.Checkpointer(folder).save(1, make_state(), {'config': {}})
  return folder / 'step_1.manifest.json', lambda: _intact(folder)


def _meta(folder):
  checkpoints.Checkpointer(folder).save(1, make_state(), {'config': {}})
  return folder / 'step_1' / 'meta.json', lambda: _intact(folder)


def _intact(folder):
  step = checkpoints.Checkpointer(folder).latest_intact_step()
  if step is None:
    raise checkpoints.CheckpointError('no checkpoint is intact')
  return step


# Name: (what makes a sound file and reads it, the documented errors).
PARSERS = {
  'mat': (_mat, ValueError),
  'mat_compressed': (_mat_compressed, ValueError),
  'pts': (_pts, ValueError),
  'json': (_json, ValueError),
  'npy': (_npy, ValueError),
  'ljson': (_ljson, ValueError),
  'csv': (_csv, ValueError),
  'wflw': (_wflw, ValueError),
  'coco': (_coco, (ValueError, FileNotFoundError)),
  'cofw': (_cofw, ValueError),
  'obj': (_obj, ValueError),
  'face_model': (_face_model, ValueError),
  'vertex_ids': (_vertex_ids, ValueError),
  'image': (_image, ValueError),
  'boxes': (_boxes, ValueError),
  'crop_cache': (_crop_cache, ValueError),
  'manifest': (_manifest, checkpoints.CheckpointError),
  'meta': (_meta, checkpoints.CheckpointError),
}


def fuzz(name: str, folder: pathlib.Path, repeat: int) -> Tally:
  """Gives mutants of one file to its parser.

  A mutant that is read counts as identical: what it says cannot be judged here.

  Args:
    name: of `PARSERS`.
    folder: an empty one.
    repeat: mutants.

  Returns:
    The counts.
  """
  tally = Tally()
  make, errors = PARSERS[name]
  path, parse = make(folder)
  parse()
  good, rng = path.read_bytes(), np.random.default_rng(0)
  for number in range(repeat):
    path.write_bytes(mutate(good, rng))
    began = time.monotonic()
    outcome = 'identical'
    try:
      parse()
    except errors:
      outcome = 'clean'
    except Exception as error:
      outcome = 'other'
      tally.notes.append(f'{name}, mutant {number}: {type(error).__name__}: {error}')
    if time.monotonic() - began > MAX_SECONDS:
      outcome = 'other'
    tally.add(outcome, f'{name}, mutant {number}')
  # Mutations do harm, or this would test nothing.
  if tally.clean <= repeat // 10:
    tally.add('other', f'{name}: only {tally.clean} of {repeat} mutants were refused')
  return tally


def all_parsers(scale: Scale) -> Tally:
  """S5: mutants for every parser.

  Args:
    scale: how many, and where the files go.

  Returns:
    The counts of all parsers together.
  """
  total = Tally()
  logging.disable(logging.WARNING)  # one line a damaged checkpoint
  try:
    for name in PARSERS:
      folder = scale.folder / name
      folder.mkdir()
      total.join(fuzz(name, folder, scale.count(150, 10_000)))
  finally:
    logging.disable(logging.NOTSET)
  return total
