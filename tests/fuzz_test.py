"""Mutated files: every parser answers with a documented error, soon, or reads it."""

import json
import logging
import pathlib
import tempfile
import time

from absl.testing import absltest, parameterized
import numpy as np
import scipy.io

from pifa_jax.datasets import coco, cofw, crop_cache, wflw
from pifa_jax.face_models import ict_facekit, load_landmark_ids, npz_format
from pifa_jax.files import formats, images, matlab_files, mesh_files
from pifa_jax.learning import checkpoints
from tests import miniatures, thorough
from tests.learning.checkpoints_test import make_state
from tests.toy_model import make_toy_model

_REPEAT = thorough.count(150, 10_000)
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


class FuzzTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('mat', _mat, ValueError),
    ('mat_compressed', _mat_compressed, ValueError),
    ('pts', _pts, ValueError),
    ('json', _json, ValueError),
    ('npy', _npy, ValueError),
    ('ljson', _ljson, ValueError),
    ('csv', _csv, ValueError),
    ('wflw', _wflw, ValueError),
    ('coco', _coco, (ValueError, FileNotFoundError)),
    ('cofw', _cofw, ValueError),
    ('obj', _obj, ValueError),
    ('face_model', _face_model, ValueError),
    ('vertex_ids', _vertex_ids, ValueError),
    ('image', _image, ValueError),
    ('crop_cache', _crop_cache, ValueError),
    ('manifest', _manifest, checkpoints.CheckpointError),
    ('meta', _meta, checkpoints.CheckpointError),
  )
  def test_only_documented_errors(self, make, error):
    with tempfile.TemporaryDirectory() as folder:
      path, parse = make(pathlib.Path(folder))
      parse()
      good, rng = path.read_bytes(), np.random.default_rng(0)
      refused, slowest = 0, 0.0
      logging.disable(logging.WARNING)  # one line a damaged checkpoint
      self.addCleanup(logging.disable, logging.NOTSET)
      for _ in range(_REPEAT):
        path.write_bytes(mutate(good, rng))
        began = time.monotonic()
        try:
          parse()
        except error:
          refused += 1
        slowest = max(slowest, time.monotonic() - began)
      # Mutations do harm, or this would test nothing.
      self.assertGreater(refused, _REPEAT // 10)
      self.assertLess(slowest, 5.0)


if __name__ == '__main__':
  absltest.main()
