"""Plain folders: splits, several faces a photo, marks of hidden points."""

import json
import pathlib
import tempfile
import unicodedata

from absl.testing import absltest
import numpy as np

from pifa_jax.datasets import folder, registry
from pifa_jax.datasets.samples import MissingSplitError
from pifa_jax.files import formats
from tests import miniatures


class FolderTestCase(absltest.TestCase):
  def setUp(self):
    super().setUp()
    temporary = tempfile.TemporaryDirectory()
    self.addCleanup(temporary.cleanup)
    self.root = pathlib.Path(temporary.name)

  def names(self, split):
    return [s.name for s in folder.read_folder(self.root, split).samples]


class SplitTest(FolderTestCase):
  """Issue: photos for training were scored as "test"."""

  def test_folders_name_the_splits(self):
    miniatures.write_folder(self.root / 'train' / 'deeper', 3)
    miniatures.write_folder(self.root / 'test', 2)
    self.assertLen(self.names('train'), 3)
    self.assertLen(self.names('test'), 2)
    self.assertLen(self.names('all'), 5)

  def test_a_split_that_is_not_there_is_refused(self):
    miniatures.write_folder(self.root / 'train', 3)
    with self.assertRaisesRegex(MissingSplitError, 'no photos in a folder test/'):
      self.names('test')
    (self.root / 'train').rename(self.root / 'Testing')
    self.assertLen(self.names('test'), 3)
    with self.assertRaisesRegex(MissingSplitError, 'no photos in a folder train/'):
      self.names('train')

  def test_photos_alone_are_for_training(self):
    miniatures.write_folder(self.root, 3)
    self.assertLen(self.names('train'), 3)
    with self.assertRaisesRegex(MissingSplitError, 'no folder test/.*--split=all'):
      self.names('test')
    self.assertLen(self.names('all'), 3)
    found, problems = registry.read_splits('folder', self.root)
    self.assertEqual(list(found), ['train'])
    self.assertLen(problems, 1)

  def test_merl_ravs_tree(self):
    for part in ('frontal', 'left'):
      miniatures.write_folder(self.root / part / 'trainset', 2)
      miniatures.write_folder(self.root / part / 'testset', 1)
    miniatures.write_folder(self.root / 'val', 1)
    self.assertLen(self.names('train'), 4)
    found = folder.read_folder(self.root, 'test')
    self.assertLen(found.samples, 2)
    self.assertIn('1 photos are in no split', found.notes[0])


class SeveralFacesTest(FolderTestCase):
  """Issue: a file with several faces was refused."""

  def test_as_many_samples_of_one_group(self):
    points, _ = miniatures.faces(3)
    (self.root / 'a.jpg').write_bytes(miniatures.image(0))
    np.save(self.root / 'a.npy', points)
    (self.root / 'b.jpg').write_bytes(miniatures.image(1))
    formats.write_pts(self.root / 'b.pts', points[0])
    found = folder.read_folder(self.root, 'train').samples
    self.assertEqual(
      [(s.name, s.group) for s in found],
      [('a.jpg#1', 'a.jpg'), ('a.jpg#2', 'a.jpg'), ('a.jpg#3', 'a.jpg'), ('b.jpg', '')],
    )
    for sample, face in zip(found[:3], points, strict=True):
      np.testing.assert_allclose(sample.landmarks, face, rtol=1e-6)
      self.assertEqual(sample.image_bytes, miniatures.image(0))

  def test_a_face_that_cannot_be_used_costs_no_other(self):
    points, _ = miniatures.faces(2)
    points[0, 3:] = np.nan
    (self.root / 'a.jpg').write_bytes(miniatures.image(0))
    np.save(self.root / 'a.npy', points)
    found = folder.read_folder(self.root, 'train')
    self.assertEqual([s.name for s in found.samples], ['a.jpg#2'])
    self.assertIn('only 3 landmarks', found.rejects[0].reason)


class HiddenPointsTest(FolderTestCase):
  """Issue: hidden points were cropped and fitted at negative places."""

  def _write(self, name, points):
    (self.root / f'{name}.png').write_bytes(miniatures.image(0, '.png'))
    formats.write_pts(self.root / f'{name}.pts', points)

  def test_one_file_speaks_for_the_folder(self):
    points, _ = miniatures.faces(2)
    corner = points[1] - points[1].min(axis=0) - 1
    corner[:2] = [-4, -3], [-5, -6]  # of a face at the corner, or marks?
    self._write('corner', corner)
    found = folder.read_folder(self.root, 'train')
    self.assertTrue(found.samples[0].visible.all())
    self.assertIn('1 files have points with two negative', found.notes[0])

    marked = points[0] + 1
    marked[:5] *= -1
    self._write('marked', marked - 1)
    found = folder.read_folder(self.root, 'train')
    self.assertEqual([s.visible.sum() for s in found.samples], [66, 63])
    np.testing.assert_allclose(found.samples[1].landmarks[:5], points[0][:5], atol=1e-3)
    self.assertIn('2 files mark them', found.notes[0])
    as_points = folder.read_folder(self.root, 'train', hidden_points='none')
    self.assertTrue(as_points.samples[1].visible.all())

  def test_other_sets_take_no_such_rule(self):
    with self.assertRaisesRegex(ValueError, 'labels of AFLW, .* say which'):
      registry.read('aflw', self.root, 'train', hidden_points='negative')


class NamesTest(FolderTestCase):
  def test_labels_whose_names_are_stored_otherwise(self):
    points, _ = miniatures.faces(1)
    name = unicodedata.normalize('NFD', 'Zoë')
    (self.root / f'{name}.jpg').write_bytes(miniatures.image(0))
    label = self.root / (unicodedata.normalize('NFC', 'Zoë') + '.JSON')
    rows = points[0].tolist()
    rows[:6] = [[None, None]] * 6
    label.write_text(json.dumps({'landmarks': rows}))
    found = folder.read_folder(self.root, 'train')
    self.assertEmpty(found.rejects)
    # Issue: null made the other 62 points useless, too.
    self.assertEqual(found.samples[0].visible.sum(), 62)

  def test_fractions_of_the_photo_are_no_pixels(self):
    points, _ = miniatures.faces(1)
    (self.root / 'a.jpg').write_bytes(miniatures.image(0))
    np.save(self.root / 'a.npy', points[0] / miniatures.SIZE)
    found = folder.read_folder(self.root, 'train')
    self.assertIn('are they fractions', found.rejects[0].reason)

  def test_a_box_that_is_nowhere_near_its_landmarks(self):
    points, _ = miniatures.faces(2)
    for number, shift in enumerate((0, 900)):
      (self.root / f'{number}.jpg').write_bytes(miniatures.image(number))
      face = points[number]
      box = [*(face.min(axis=0) - shift), *np.ptp(face, axis=0)]
      formats.write_json(self.root / f'{number}.json', face, np.ones(68, bool), box)
    found = folder.read_folder(self.root, 'train')
    self.assertEqual([s.name for s in found.samples], ['0.jpg'])
    self.assertIn('nowhere near the landmarks', found.rejects[0].reason)

  def test_two_photos_with_one_file_of_labels(self):
    miniatures.write_folder(self.root, 1)
    (self.root / 'photo 0.png').write_bytes(miniatures.image(0, '.png'))
    found = folder.read_folder(self.root, 'train')
    self.assertLen(found.samples, 2)
    self.assertIn('1 files of landmarks lie beside several photos', found.notes[0])

  def test_two_files_of_labels_for_one_photo(self):
    points = miniatures.write_folder(self.root, 2)
    formats.write_json(self.root / 'photo 0.json', points[1], np.ones(68, bool))
    found = folder.read_folder(self.root, 'train')
    self.assertEqual(
      found.notes,
      ['1 photos have other files of landmarks beside the .pts that is read.'],
    )
    np.testing.assert_allclose(found.samples[0].landmarks, points[0], atol=1e-3)

  def test_what_is_not_read_is_said(self):
    miniatures.write_folder(self.root, 1)
    (self.root / 'b.avif').write_bytes(b'x')
    found = folder.read_folder(self.root, 'train')
    self.assertEqual(found.notes, ['Not read as photos: 1 of type .avif.'])


if __name__ == '__main__':
  absltest.main()
