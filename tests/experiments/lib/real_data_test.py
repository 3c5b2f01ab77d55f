"""Real data sets opened for training and evaluation, as the flags name them."""

import contextlib
import os
import pathlib
import shutil
import tempfile

from absl import flags
from absl.testing import absltest, flagsaver
import numpy as np

from experiments.lib import data_loading, synthetic_data
from pifa_jax import face_models
from pifa_jax.files import formats
from tests import miniatures


class RealDataTestCase(absltest.TestCase):
  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.said = []

  def open(self, split='train', **values):
    """A split of the data set in the root; what is said goes to `said`."""
    self.said.clear()
    with self.flags(**values):
      settings = data_loading.from_flags()
      if split == 'train':
        return data_loading.open_training(settings, self.said.append)
      model = face_models.load_face_model('builtin')
      model, scheme = data_loading.scheme_of(model, settings, split, self.said.append)
      return data_loading.open_test(
        model, scheme, settings, self.said.append, split=split
      )

  def flags(self, **values):
    defaults = {
      'dataset': 'folder',
      'data_dir': str(self.root / 'data'),
      'cache_dir': str(self.root / 'cache'),
      'face_model': 'builtin',
      'landmark_scheme': 'ibug68',
    }
    return flagsaver.flagsaver(**{**defaults, **values})


class FewPhotosTest(RealDataTestCase):
  """Issue: one photo gave "training set is empty"."""

  def test_one_photo(self):
    miniatures.write_folder(self.root / 'data', 1)
    with self.assertRaisesRegex(
      ValueError, 'one photo alone, and --validation=0.05 .*say --validation=0 '
    ):
      self.open()
    data = self.open(validation=0.0)
    np.testing.assert_array_equal(data.train_ids, [0])
    np.testing.assert_array_equal(data.validation_ids, [0])
    self.assertIn('no photo is held out', ' '.join(self.said))
    with self.flags(validation=0.0):
      test = data_loading.test_or_validation(data, self.said.append)
    self.assertIn('folder of photos, training faces', test.title)

  def test_no_photo_is_held_out_by_zero(self):
    miniatures.write_folder(self.root / 'data', 3)
    self.assertLen(self.open(validation=0.0).train_ids, 3)
    self.assertLen(self.open().train_ids, 2)

  def test_the_final_score_is_never_of_training_photos(self):
    miniatures.write_folder(self.root / 'data', 3)
    data = self.open()
    with self.flags():
      test = data_loading.test_or_validation(data, self.said.append)
    self.assertEndsWith(test.title, 'validation')
    self.assertLen(test.crops, 1)
    self.assertIn('no folder test/', self.said[-1])


class StalenessTest(RealDataTestCase):
  """Issue: old crops were used after the labels had been exchanged."""

  def test_exchanged_labels(self):
    miniatures.write_folder(self.root / 'data', 3)
    label = self.root / 'data' / 'photo 0.pts'
    label = label.rename(label.with_suffix('.PTS'))
    first = self.open().crops
    again = self.open().crops
    self.assertNotIn('Cropping', ' '.join(self.said))
    self.assertEqual(first.content_hash, again.content_hash)
    formats.write_pts(label, formats.read_pts(label) + 3)
    changed = self.open().crops
    self.assertIn('Cropping 3 train faces', ' '.join(self.said))
    self.assertNotEqual(first.content_hash, changed.content_hash)

  def test_landmarks_of_300w_lp_unpacked_later(self):
    miniatures.write_300wlp(self.root / 'data')
    (self.root / 'data' / 'landmarks').rename(self.root / 'aside')
    values = {'dataset': '300wlp'}
    self.open(**values)
    self.assertIn('their pt2d is used', ' '.join(self.said))
    # Said again where the crops are there already.
    self.open(**values)
    self.assertIn('their pt2d is used', ' '.join(self.said))
    (self.root / 'aside').rename(self.root / 'data' / 'landmarks')
    self.open(**values)
    self.assertIn('Cropping 16', ' '.join(self.said))
    self.assertNotIn('pt2d', ' '.join(self.said))

  def test_two_folders_do_not_share_crops(self):
    miniatures.write_folder(self.root / 'data', 3)
    miniatures.write_folder(self.root / 'other', 2)
    self.assertLen(self.open().crops, 3)
    self.assertLen(self.open(data_dir=str(self.root / 'other')).crops, 2)
    self.assertLen(self.open().crops, 3)
    self.assertNotIn('Cropping', ' '.join(self.said))


class MissingPartsTest(RealDataTestCase):
  """Issue: a 300W folder without afw/ and ibug/ was refused."""

  def test_result_lines_name_them_and_strict_refuses(self):
    miniatures.write_300w(self.root / 'data')
    for folder in ('afw', 'ibug'):
      shutil.rmtree(self.root / 'data' / folder)
    self.open(dataset='w300')
    self.assertIn(
      'Note: train is incomplete: 6 of 3,148 faces, without afw/.', self.said
    )
    for _ in range(2):  # from the photos, and from the cache
      test = self.open('test', dataset='w300')
      self.assertEqual(
        test.title, '300W (data), test, incomplete: 6 of 689 faces, without ibug/'
      )
    with self.assertRaisesRegex(ValueError, '--strict: w300, test is incomplete'):
      self.open('test', dataset='w300', strict=True)
    shutil.rmtree(self.root / 'cache')
    with self.assertRaisesRegex(ValueError, '--strict: w300, train is incomplete'):
      self.open(dataset='w300', strict=True)

  def test_a_scheme_that_the_face_model_lacks(self):
    miniatures.write_wflw(self.root / 'data')
    model = face_models.load_face_model('builtin')
    model = model.replace(landmark_schemes={'ibug68': model.landmark_schemes['ibug68']})
    with self.flags(dataset='wflw', landmark_scheme='auto'):
      with self.assertRaisesRegex(
        ValueError, 'no landmark scheme wflw98 for the 98 points of WFLW; give'
      ):
        data_loading.scheme_of(model, flags.FLAGS, 'train', self.said.append)


class SchemeTest(absltest.TestCase):
  """Names of schemes, and files of vertex ids."""

  def scheme_of(self, name):
    said = []
    settings = data_loading.DataSettings(
      landmark_scheme=str(name),
      synthetic=synthetic_data.SyntheticSettings(faces=synthetic_data.SyntheticFaces()),
    )
    model = face_models.load_face_model('builtin')
    found, name = data_loading.scheme_of(model, settings, 'train', said.append)
    return np.asarray(found.landmark_schemes[name]), name, said

  def test_a_name_means_itself_where_a_file_is_called_so(self):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
      pathlib.Path('aflw34').write_text('1\n2\n')
      self.assertLen(self.scheme_of('aflw34')[0], 34)
      ids, _, said = self.scheme_of('./aflw34')
      self.assertEqual(ids.tolist(), [1, 2])
      self.assertIn('in place of the scheme aflw34', said[0])

  def test_files_of_vertex_ids(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'mine.txt'
      path.write_bytes('\ufeff5\r\n7\r\n9\r\n'.encode())
      ids, name, said = self.scheme_of(path)
      self.assertEqual((ids.tolist(), name, said), ([5, 7, 9], 'mine', []))
      path.write_text('5\n7\n5\n')
      said = self.scheme_of(path)[2]
      self.assertIn('points 1 and 3 are one vertex, 5', said[0])
      # Under a name of the model's own, only the same vertices.
      path = pathlib.Path(folder) / 'ibug68.txt'
      own = self.scheme_of('ibug68')[0].tolist()
      path.write_text('\n'.join(map(str, own)))
      self.assertEqual(self.scheme_of(path)[1], 'ibug68')
      path.write_text('\n'.join(map(str, own[::-1])))
      with self.assertRaisesRegex(ValueError, 'ibug68 but other vertices'):
        self.scheme_of(path)


class DoubtfulLabelsTest(RealDataTestCase):
  """Issue: mirrored photos with the points of the original were accepted."""

  def setUp(self):
    super().setUp()
    for part in ('train', 'test'):
      miniatures.write_folder(self.root / 'data' / part, 3)
      label = self.root / 'data' / part / 'photo 2.pts'
      points = formats.read_pts(label)
      formats.write_pts(label, np.stack([95 - points[:, 0], points[:, 1]], axis=1))

  def test_left_out_of_training_and_kept_in_tests(self):
    data = self.open()
    self.assertLen(data.crops, 2)
    self.assertEqual([r.name for r in data.crops.rejects], ['train/photo 2.jpg'])
    self.assertIn('looks away from the camera', ' '.join(self.said))
    self.assertLen(self.open(check_labels=False).crops, 3)
    test = self.open('test')
    self.assertLen(test.crops, 3)
    self.assertEqual(test.num_rejected, 0)
    said = ' '.join(self.said)
    self.assertIn(
      'labels of 1 faces are contradicted by their fit; they are kept', said
    )
    self.assertIn('test/photo 2.jpg', said)


class HiddenPointsTest(RealDataTestCase):
  def test_the_flag_reaches_the_reader(self):
    miniatures.write_folder(self.root / 'data', 3)
    for path in (self.root / 'data').glob('*.pts'):
      points = formats.read_pts(path)
      points[5] = [-2, -2]  # (-1, -1) in the file
      formats.write_pts(path, points)
    seen = lambda **values: sorted(
      int(row) for row in self.open(**values).crops.visible.sum(axis=1)
    )
    self.assertEqual(seen(), [67, 67, 67])
    self.assertEqual(seen(hidden_points='minus_one'), [67, 67, 67])
    self.assertEqual(seen(hidden_points='none'), [67, 68, 68])
    self.assertTrue(os.listdir(self.root / 'cache'))


if __name__ == '__main__':
  absltest.main()
