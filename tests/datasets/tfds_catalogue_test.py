"""TFDS's own records of 300W-LP and AFLW2000-3D, made with TFDS's own features."""

import collections
import io
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image
import scipy.io
import tensorflow_datasets as tfds

from pifa_jax import face_models
from pifa_jax.datasets import crop_cache, registry, tfds_catalogue, tfds_records
from pifa_jax.geometry.projection import rotation_from_euler
from tests import miniatures

_SIDE = 450


def _image(path: pathlib.Path) -> bytes:
  """The image of a miniature at the size of TFDS's."""
  stream = io.BytesIO()
  Image.open(path).resize((_SIDE, _SIDE)).save(stream, 'JPEG')
  return stream.getvalue()


def _prepare(data_set, tfds_dir, records):
  """Records under the name, version and features of TFDS's builder."""
  theirs = tfds.builder_cls(data_set)

  class Miniature(theirs, skip_registration=True):
    __module__ = theirs.__module__  # where TFDS looks for its facts
    name = data_set

    def _split_generators(self, dl_manager):
      del dl_manager
      return {'train': ((row, record) for row, record in enumerate(records))}

    def _generate_examples(self):
      raise NotImplementedError

  Miniature(data_dir=str(tfds_dir), file_format='array_record').download_and_prepare()


def write_300wlp(root: pathlib.Path, tfds_dir: pathlib.Path) -> None:
  """TFDS's form of the miniature of 300W-LP: no twins, no names, points / 450.

  Variants of one photo share their Shape_Para, as in the archive.
  """
  records = []
  for photo, sample in enumerate(registry.read('300wlp', root, 'train').samples):
    if '_Flip' in sample.name:
      continue
    path = root / sample.name
    mat = scipy.io.loadmat(path.with_suffix('.mat'))
    # Images here are 450 pixels wide, the miniature's are SIZE.
    factor = _SIDE / miniatures.SIZE
    points = ((sample.landmarks + 0.5) * factor - 0.5 + 1) / _SIDE
    pose = mat['Pose_Para'].ravel().astype(np.float64)
    # V = f R S + t, from 1, y up from the lower edge: edges at 0.5.
    pose[3:6] = (pose[3:6] - 0.5) * factor + 0.5
    pose[6] *= factor
    shape = np.full(199, float(photo // 4), np.float32)
    records.append(
      {
        'image': io.BytesIO(_image(path)),
        'landmarks_origin': points,
        'landmarks_2d': points,
        'landmarks_3d': points,
        'roi': np.zeros(4),
        'illum_params': np.zeros(10),
        'color_params': np.zeros(7),
        'tex_params': np.zeros(199),
        'shape_params': shape,
        'exp_params': np.zeros(29),
        'pose_params': pose,
      }
    )
  _prepare('the300w_lp', tfds_dir, [_float32(r) for r in records])


def write_aflw2k3d(
  tfds_dir: pathlib.Path, poses: list[tuple[float, ...]]
) -> np.ndarray:
  """TFDS's form of AFLW2000-3D, of mean faces; returns the (n, 68, 2) landmarks."""
  model = face_models.load_face_model('builtin')
  mean = np.asarray(model.mean_shape, np.float64)[
    np.asarray(model.landmark_schemes['ibug68'])
  ]
  stream = io.BytesIO(miniatures.image(0))
  image = io.BytesIO()
  Image.open(stream).resize((_SIDE, _SIDE)).save(image, 'JPEG')
  records, points = [], []
  for pose in poses:
    pitch, yaw, roll = np.deg2rad(pose)
    rotation = np.asarray(rotation_from_euler(yaw, pitch, roll), np.float64)
    v = 2.0 * mean @ rotation.T * [1, -1, 1] + [200, 230, 40]  # 0-based, v down
    points.append(v[:, :2])
    records.append(
      {
        'image': io.BytesIO(image.getvalue()),
        'landmarks_68_3d_xy_normalized': (v[:, :2] + 1) / _SIDE,
        'landmarks_68_3d_z': v[:, 2:],
      }
    )
  _prepare('aflw2k3d', tfds_dir, [_float32(r) for r in records])
  return np.array(points)


def _float32(record):
  return {
    k: np.float32(v) if isinstance(v, np.ndarray) else v for k, v in record.items()
  }


class CatalogueTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def test_300wlp(self):
    miniatures.write_300wlp(self.root / 'raw')
    write_300wlp(self.root / 'raw', self.root / 'tfds')
    raw = [
      s
      for s in registry.read('300wlp', self.root / 'raw', 'train').samples
      if '_Flip' not in s.name
    ]
    model = face_models.load_face_model('builtin')
    found = tfds_records.read('300wlp', self.root / 'tfds', None, 'train')
    self.assertEmpty(found.rejects)
    self.assertLen(found.samples, len(raw))
    factor = _SIDE / miniatures.SIZE
    # TFDS shuffles: images tell which is which.
    of_image = {s.image_bytes: s for s in found.samples}
    variants = collections.defaultdict(set)
    for a in raw:
      b = of_image[_image(self.root / 'raw' / a.name)]
      variants[b.group].add(a.group)
      # float32 of a fraction of 450 pixels.
      np.testing.assert_allclose(
        (a.landmarks + 0.5) * factor - 0.5, b.landmarks, atol=1e-3
      )
      np.testing.assert_allclose(a.pose, b.pose, atol=1e-3)
    # The groups are those of the archive, one to one.
    self.assertLen(variants, len({a.group for a in raw}))
    self.assertTrue(all(len(names) == 1 for names in variants.values()))
    self.assertIn(f'({len(variants)} photos)', found.notes[0])
    # Their P is that of the archive's, if the face model is.
    model = model.replace(identity_basis=0 * model.identity_basis)
    exact = tfds_records.read('300wlp', self.root / 'tfds', None, 'train', model=model)
    self.assertIn('within 0.0', exact.notes[-1])
    with self.assertRaisesRegex(ValueError, 'More than one pixel'):
      tfds_records.read(
        '300wlp',
        self.root / 'tfds',
        None,
        'train',
        model=model.replace(mean_shape=1.2 * model.mean_shape),
      )
    arrays, rejects, _ = crop_cache.crop_samples(
      exact.samples, model, scheme='ibug68', exact=True
    )
    self.assertEmpty(rejects)
    self.assertLess(arrays['residuals'].max(), 1e-3)

  def test_aflw2000(self):
    poses = [(5.0, 70.0, -20.0), (-15.0, -30.0, 8.0), (0.0, 0.0, 0.0)]
    points = write_aflw2k3d(self.root / 'tfds', poses)
    found = tfds_records.read('aflw2000', self.root / 'tfds', None, 'test')
    # TFDS shuffles: by yaw.
    samples = sorted(found.samples, key=lambda s: -s.pose[1])
    order = [0, 2, 1]
    np.testing.assert_allclose([s.landmarks for s in samples], points[order], atol=1e-3)
    np.testing.assert_allclose(
      [s.pose for s in samples], np.array(poses)[order], atol=1e-2
    )
    self.assertNotEmpty(tfds_records.files('aflw2000', self.root / 'tfds'))
    with self.assertRaisesRegex(ValueError, 'have no P'):
      tfds_records.read(
        'aflw2000',
        self.root / 'tfds',
        None,
        'test',
        model=face_models.load_face_model('builtin'),
      )

  def test_records_that_need_tensorflow(self):
    write_aflw2k3d(self.root, [(0.0, 0.0, 0.0)])
    for path in self.root.rglob('*.json'):
      path.write_text(path.read_text().replace('array_record', 'tfrecord'))
    with self.assertRaisesRegex(ValueError, 'array_record'):
      tfds_records.read('aflw2000', self.root, None, 'test')

  def test_what_is_not_there(self):
    self.assertIsNone(tfds_catalogue.folder('aflw', self.root))
    self.assertIsNone(tfds_catalogue.folder('aflw2000', self.root))
    with self.assertRaisesRegex(FileNotFoundError, 'must hold'):
      tfds_records.read('aflw2000', self.root, None, 'test')


if __name__ == '__main__':
  absltest.main()
