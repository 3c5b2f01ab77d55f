"""The reader of the paper's AFLW release, on miniature releases."""

import pathlib
import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import scipy.io

from pifa_jax.datasets import aflw
from pifa_jax.geometry import projection
from pifa_jax.types import FaceParams
from tests.miniatures import encode, gradient
from tests.toy_model import make_toy_model


def points_of(count, landmarks=5):
  """(count, N, 2) 1-based positions inside a 60 x 40 image, whole numbers."""
  grid = np.array([[20, 10], [40, 10], [30, 18], [24, 28], [36, 28]], float)
  return np.stack([grid[:landmarks] + row % 5 for row in range(count)])


def write_release(root, *, train=6, test=3, visible=None, suffix='.jpg'):
  """Writes a miniature release; returns the tables for changes."""
  root = pathlib.Path(root)
  tables = {}
  for key, folder, count in (('Tr', 'TrainImages', train), ('T', 'TestImages', test)):
    (root / folder).mkdir(parents=True, exist_ok=True)
    for n in range(1, count + 1):
      (root / folder / f'{n}{suffix}').write_bytes(
        encode(gradient() + np.uint8(n), 'JPEG', quality=90)
      )
    points = points_of(count)
    v = np.ones(points.shape[:2]) if visible is None else visible[:count]
    tables['phis' + key] = np.concatenate([points[..., 0], points[..., 1], v], 1)
    tables['bboxes' + key] = np.tile([16.0, 6.0, 28.0, 27.0], (count, 1))
  save_tables(root, tables)
  return tables


def save_tables(root, tables):
  for name, part in (('BoundingBox.mat', 'bboxes'), ('Landmark.mat', 'phis')):
    scipy.io.savemat(
      pathlib.Path(root) / name,
      {key: value for key, value in tables.items() if key.startswith(part)},
    )


class ReadAflwTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    # Not create_tempdir(): it wants parsed absl flags, which pytest does not do.
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def test_counts_from_one_to_zero_and_outer_edges(self):
    tables = write_release(self.root)
    found = aflw.read_aflw(self.root, 'train')
    self.assertLen(found.samples, 6)
    self.assertEmpty(found.rejects)
    sample = found.samples[1]
    self.assertEqual(sample.name, 'TrainImages/2.jpg')
    self.assertEqual(
      sample.image_bytes, (self.root / 'TrainImages' / '2.jpg').read_bytes()
    )
    np.testing.assert_array_equal(sample.landmarks[0], [20, 10])  # 21, 11 there
    # Matlab's pixels 16..43 are 15..42 from 0: edges at 14.5 and 42.5.
    np.testing.assert_array_equal(sample.box, [14.5, 4.5, 28, 27])
    self.assertEqual(sample.landmarks.dtype, np.float32)
    self.assertEqual(sample.box.dtype, np.float32)
    self.assertTrue(sample.visible.all())
    self.assertEqual(
      len(tables['phisT']), len(aflw.read_aflw(self.root, 'test').samples)
    )

  def test_upper_case_names(self):
    write_release(self.root, suffix='.JPG')
    self.assertLen(aflw.read_aflw(self.root, 'train').samples, 6)

  def test_bytes_are_read_when_asked_for(self):
    write_release(self.root)
    found = aflw.read_aflw(self.root, 'train')
    (self.root / 'TrainImages' / '3.jpg').write_bytes(b'changed')
    self.assertEqual(found.samples[2].image_bytes, b'changed')

  def test_bad_rows_are_rejected_and_the_others_kept(self):
    tables = write_release(self.root, train=9)
    tables['bboxesTr'][0, 2] = 0
    tables['bboxesTr'][1, 3] = -4
    tables['bboxesTr'][2, 0] = np.nan
    tables['phisTr'][3] = np.nan
    tables['bboxesTr'][5, 0] = 5000
    tables['phisTr'][6, 0] = 1e30
    (self.root / 'TrainImages' / '8.jpg').unlink()
    save_tables(self.root, tables)
    found = aflw.read_aflw(self.root, 'train')
    self.assertEqual(
      [s.name for s in found.samples], ['TrainImages/5.jpg', 'TrainImages/9.jpg']
    )
    reasons = {r.name[12:-4]: r.reason for r in found.rejects}
    for name, words in {
      '1': 'box is 0 x 27',
      '2': 'x -4',
      '3': 'not finite',
      '4': 'only 0 landmarks',
      '6': 'nowhere near',
      '7': 'beyond',
      '8': 'the photo is not there',
    }.items():
      self.assertIn(words, reasons[name])

  @parameterized.parameters(0, -1, np.nan)
  def test_landmarks_without_position_are_hidden(self, value):
    tables = write_release(self.root)
    tables['phisTr'][2, [3, 8]] = value
    save_tables(self.root, tables)
    found = aflw.read_aflw(self.root, 'train')
    np.testing.assert_array_equal(found.samples[2].visible, [1, 1, 1, 0, 1])
    self.assertTrue(found.samples[0].visible.all())

  @parameterized.parameters(False, True)
  def test_polarity_from_missing_positions(self, one_means_hidden):
    # Most landmarks are hidden here, so that the majority would be wrong.
    seen = np.tile([1, 1, 0, 0, 0], (6, 1)).astype(bool)
    tables = write_release(self.root, visible=(seen != one_means_hidden) * 1.0)
    tables['phisTr'][:, [2, 7]] = 0
    save_tables(self.root, tables)
    labels = scipy.io.loadmat(self.root / 'Landmark.mat')['phisTr']
    _, visible, notes = aflw.split_labels(labels)
    np.testing.assert_array_equal(visible, seen)
    self.assertLen(notes, 1)
    self.assertIn('smaller' if one_means_hidden else 'larger', notes[0])

  @parameterized.parameters(False, True)
  def test_polarity_from_the_self_occluded_side(self, one_means_hidden):
    model = make_toy_model()
    rng = np.random.default_rng(3)
    rows, truth = [], []
    part = projection.landmark_model(model, 'ibug68')
    normals = np.asarray(part.mean_normals)
    for yaw in rng.uniform(-80, 80, 60):
      rotation = np.asarray(projection.rotation_from_euler(np.deg2rad(yaw), 0.0, 0.0))
      face = FaceParams(
        camera=projection.camera_from_pose(rotation, 1.0, np.array([200.0, 200.0])),
        identity=np.zeros(8, np.float32),
        expression=np.zeros(4, np.float32),
      )
      points = np.asarray(projection.landmarks(model, face, 'ibug68'))
      seen = (normals @ rotation.T)[:, 2] > 0
      # Labels at whole pixels, counted from 1.
      rows.append(
        np.concatenate(
          [
            np.round(points[:, 0]) + 1,
            np.round(points[:, 1]) + 1,
            seen != one_means_hidden,
          ]
        )
      )
      truth.append(seen)
    truth = np.array(truth)
    _, visible, notes = aflw.split_labels(np.array(rows, float))
    np.testing.assert_array_equal(visible, truth)
    self.assertIn('as far from their neighbours', notes[0])
    # The same with mostly hidden landmarks, where the majority would be wrong.
    turned = np.array(rows, float)[truth.mean(axis=1) < 0.75]
    _, visible, _ = aflw.split_labels(turned)
    np.testing.assert_array_equal(visible, truth[truth.mean(axis=1) < 0.75])

  def test_missing_release(self):
    for where in (None, '', self.root / 'nowhere'):
      with self.assertRaisesRegex(FileNotFoundError, 'TU Graz.*demo.flags'):
        aflw.read_aflw(where, 'train')
    with self.assertRaisesRegex(ValueError, 'train and test'):
      aflw.read_aflw(self.root, 'valid')

  def test_counts_that_do_not_agree(self):
    tables = write_release(self.root)
    (self.root / 'TestImages' / '4.jpg').write_bytes(b'')
    with self.assertRaisesRegex(ValueError, '4.jpg but bboxesT has only 3 rows'):
      aflw.read_aflw(self.root, 'test')
    tables['bboxesTr'] = tables['bboxesTr'][:-1]
    save_tables(self.root, tables)
    with self.assertRaisesRegex(ValueError, '5 boxes .* 6 rows of landmarks'):
      aflw.read_aflw(self.root, 'train')

  @parameterized.named_parameters(
    ('html', lambda d: b'<html>Sign in</html>', 'web page'),
    ('cut', lambda d: d[:150], 'not a Matlab file'),
    ('empty', lambda d: b'', 'not a Matlab file'),
    (
      'v73',
      lambda d: b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM' + d,
      'not a Matlab file',
    ),
  )
  def test_damaged_tables(self, change, words):
    write_release(self.root)
    path = self.root / 'Landmark.mat'
    path.write_bytes(change(path.read_bytes()))
    with self.assertRaisesRegex(ValueError, f'Landmark.mat.*{words}'):
      aflw.read_aflw(self.root, 'train')

  @parameterized.named_parameters(
    ('no_key', {'other': np.eye(3)}, "no variable 'phisTr'"),
    ('shape', {'phisTr': np.ones((6, 16))}, r'x1\.\.xN'),
    ('text', {'phisTr': 'words'}, 'real numbers'),
    ('cells', {'phisTr': np.array([[1, 'a']], object)}, 'real numbers'),
  )
  def test_other_tables(self, content, words):
    write_release(self.root)
    scipy.io.savemat(self.root / 'Landmark.mat', content)
    with self.assertRaisesRegex(ValueError, words):
      aflw.read_aflw(self.root, 'train')


if __name__ == '__main__':
  absltest.main()
