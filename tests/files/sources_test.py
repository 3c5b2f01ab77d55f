"""What a reader looked at, and whether it is still the same."""

import os
import pathlib
import tempfile
import unicodedata

from absl.testing import absltest

from pifa_jax.files import sources


class SourcesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.record = sources.Sources(self.root)

  def test_the_label_beside_an_image(self):
    composed = unicodedata.normalize('NFC', 'Zoë')
    image = self.root / f'{composed}.jpg'
    label = self.root / (unicodedata.normalize('NFD', 'Zoë') + '.PTS')
    label.write_bytes(b'x')
    self.assertEqual(self.record.find_beside(image, ('.json', '.pts')), label)
    self.assertIn(label, self.record.paths)
    self.assertIsNone(self.record.find_beside(self.root / 'other.jpg', ('.pts',)))
    # Small letters win where both are there.
    for name in ('b.pts', 'b.PTS'):
      (self.root / name).write_bytes(name.encode())
    record = sources.Sources(self.root)
    found = record.find_beside(self.root / 'b.jpg', ('.pts',))
    self.assertEqual(found.name, 'b.pts')

  def test_every_change_changes_the_fingerprint(self):
    (self.root / 'folder').mkdir()
    (self.root / 'a.txt').write_bytes(b'one')
    self.assertFalse(self.record.is_file(self.root / 'later' / 'b.mat'))
    self.record.use(self.root / 'a.txt')
    self.record.use(self.root / 'folder')
    seen = [self.record.fingerprint()]
    self.assertEqual(self.record.fingerprint(), seen[0])

    def exchange():
      stat = (self.root / 'a.txt').stat()
      (self.root / 'a.txt').write_bytes(b'two')
      os.utime(self.root / 'a.txt', ns=(0, stat.st_mtime_ns + 1))

    def appear():
      (self.root / 'later').mkdir()
      (self.root / 'later' / 'b.mat').write_bytes(b'x')

    for change in (
      exchange,
      appear,
      lambda: (self.root / 'folder' / 'new.jpg').write_bytes(b'x'),
      (self.root / 'a.txt').unlink,
    ):
      change()
      seen.append(self.record.fingerprint())
    self.assertLen(set(seen), 5)

  def test_a_folder_that_is_moved_keeps_its_fingerprint(self):
    for name in ('one', 'two'):
      (self.root / name).mkdir()
      (self.root / name / 'a.jpg').write_bytes(b'x')
      os.utime(self.root / name / 'a.jpg', ns=(0, 0))
    prints = set()
    for name in ('one', 'two'):
      record = sources.Sources(self.root / name)
      record.find_images(self.root / name, deep=True)
      record.use(self.root / name / 'a.jpg')
      prints.add(record.fingerprint())
    self.assertLen(prints, 1)


if __name__ == '__main__':
  absltest.main()
