"""What --input may be, and what its photos are called."""

import io
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest

from experiments.align import photos
from experiments.lib import cli
from tests import miniatures


class PhotosTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    for name in ('a/x.jpg', 'a/in/y.png', 'b/x.jpg', 'b/note.json', 'c, d.jpg'):
      path = self.root / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(miniatures.image(0))
    self.said = []
    (self.root / 'empty').mkdir()

  def find(self, *given):
    names = [item if item == '-' else str(self.root / item) for item in given]
    return photos.find_photos(names, self.root / 'out', self.said.append)

  def names(self, *given):
    found = self.find(*given)
    for name, path in found.files.items():
      self.assertTrue(os.path.samefile(path, self.root / self.places[name]))
    return list(found.files)

  def test_a_photo_or_a_folder(self):
    self.places = {'x.jpg': 'a/x.jpg', 'in/y.png': 'a/in/y.png'}
    self.assertEqual(self.names('a/x.jpg'), ['x.jpg'])
    self.assertFalse(self.find('a/x.jpg').are_folders)
    self.assertCountEqual(self.names('a'), ['x.jpg', 'in/y.png'])
    self.assertTrue(self.find('a').are_folders)

  def test_several_have_names_of_their_own(self):
    self.places = {'x.jpg': 'a/x.jpg', 'in/y.png': 'a/in/y.png', 'c, d.jpg': 'c, d.jpg'}
    # The same photo again is the same photo.
    names = ['x.jpg', 'in/y.png', 'c, d.jpg']
    self.assertCountEqual(self.names('a', 'c, d.jpg', 'a/x.jpg'), names)
    # Two of one name: all names are longer.
    self.places = {name: name for name in ('a/x.jpg', 'a/in/y.png', 'b/x.jpg')}
    self.assertCountEqual(self.names('a', 'b'), list(self.places))

  def test_patterns(self):
    self.places = {name: name for name in ('a/x.jpg', 'a/in/y.png', 'b/x.jpg')}
    self.places['c, d.jpg'] = 'c, d.jpg'
    self.assertCountEqual(self.names('**/*'), list(self.places))
    self.assertCountEqual(self.names('?/*'), ['a/x.jpg', 'b/x.jpg'])
    with self.assertRaisesRegex(cli.UserError, r'No photo matches --input=.*\.gif'):
      self.find('*.gif')

  def test_patterns_leave_results_out(self):
    (self.root / 'out').mkdir()
    (self.root / 'out' / 'x.jpg_overlay.png').write_bytes(miniatures.image(0))
    self.places = {'x.jpg': 'a/x.jpg', 'a/x.jpg': 'a/x.jpg', 'b/x.jpg': 'b/x.jpg'}
    self.assertCountEqual(self.names('*/x*'), ['a/x.jpg', 'b/x.jpg'])
    self.assertRegex(self.said[0], 'Skipped 1 file in .*out')

  def test_lists(self):
    absolute = self.root / 'a' / 'in' / 'y.png'
    (self.root / 'a' / 'some.txt').write_text(
      f'\ufeffx.jpg\r\n\n{absolute}\ngone.jpg\n../b\n', encoding='utf-8'
    )
    found = self.find('a/some.txt')
    self.assertEqual(list(found.files), ['x.jpg', 'in/y.png'])
    self.assertFalse(found.are_folders)
    self.assertEqual(
      found.missing,
      {
        'gone.jpg': 'there is no such file',
        '../b': 'it is a folder; a list holds photos',
      },
    )
    (self.root / 'bad.txt').write_text('gone.jpg')
    with self.assertRaisesRegex(cli.UserError, 'the first, gone.jpg: there is no such'):
      self.find('bad.txt')
    (self.root / 'bad.txt').write_bytes(b'\xff\xfe\x00')
    with self.assertRaisesRegex(cli.UserError, 'is not text in UTF-8'):
      self.find('bad.txt')

  def test_standard_input(self):
    lines = io.StringIO(f'{self.root}/a/x.jpg\n{self.root}/c, d.jpg\n')
    with mock.patch('sys.stdin', lines):
      self.assertEqual(list(self.find('-').files), ['a/x.jpg', 'c, d.jpg'])

  def test_sentences(self):
    with self.assertRaisesRegex(cli.UserError, 'There is no photo or folder .*gone'):
      self.find('gone.jpg')
    with self.assertRaisesRegex(cli.UserError, 'There is no photo in .*empty; give'):
      self.find('empty')
    with mock.patch('sys.stdin', io.StringIO('\n')):
      with self.assertRaisesRegex(cli.UserError, 'no path in standard input; write'):
        self.find('-')
    (self.root / 'bare.txt').write_text('\n\n')
    with self.assertRaisesRegex(cli.UserError, 'no path in the list .*bare.txt'):
      self.find('bare.txt')

  def test_what_leads_nowhere_leaves_the_others(self):
    (self.root / 'bare.lst').write_text('')
    found = self.find('gone.jpg', 'a/x.jpg', 'empty', '*.gif', 'bare.lst')
    self.assertEqual(list(found.files), ['x.jpg'])
    reasons = [
      'there is no such photo or folder',
      'there is no photo in this folder',
      'no photo matches it',
      f'there is no path in the list {self.root}/bare.lst',
    ]
    self.assertEqual(list(found.missing.values()), reasons)
    self.assertEqual(next(iter(found.missing)), str(self.root / 'gone.jpg'))
    with self.assertRaisesRegex(cli.UserError, 'gone.jpg: there is no such photo'):
      self.find('gone.jpg', 'empty')


if __name__ == '__main__':
  absltest.main()
