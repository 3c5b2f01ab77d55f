"""Walks through folders as people leave them."""

import os
import pathlib
import tempfile

from absl.testing import absltest

from pifa_jax.files import folders


class FindFilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def put(self, *names):
    for name in names:
      path = self.root / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(b'x')

  def test_files_of_the_types_in_all_folders(self):
    self.put('b.pts', 'a.PTS', 'deep/c.json', 'd.jpg', '.e.pts', '.git/f.pts')
    found, visited = folders.find_files(self.root, ('.pts', '.json'))
    self.assertEqual(
      [path.relative_to(self.root).as_posix() for path in found],
      ['a.PTS', 'b.pts', 'deep/c.json'],
    )
    self.assertEqual(visited, [self.root, self.root / 'deep'])

  def test_links_are_followed_once(self):
    self.put('in/a.pts')
    os.symlink('in', self.root / 'link')
    os.symlink(self.root, self.root / 'circle')
    os.symlink('loop.pts', self.root / 'loop.pts')
    found, _ = folders.find_files(self.root, ('.pts',))
    self.assertEqual([path.name for path in found], ['a.pts'])

  def test_a_pipe_is_no_file(self):
    # Opening it would wait for a writer that never comes.
    os.mkfifo(self.root / 'a.pts')
    (self.root / 'x.pts').mkdir()
    self.put('x.pts/b.pts')
    found, _ = folders.find_files(self.root, ('.pts',))
    self.assertEqual([path.name for path in found], ['b.pts'])


if __name__ == '__main__':
  absltest.main()
