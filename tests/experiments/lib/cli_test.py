"""What all programs share: flag files, flags, files that cannot be written."""

import errno
import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest

from experiments.lib import cli
from tests import program_runs

# A program without any work: it prints the name of a file.
_PROGRAM = """
from absl import flags
from experiments.lib import cli, path_flags
flags.DEFINE_float('share', 0.5, 'A share.', lower_bound=0, upper_bound=1)
path_flags.define_path('table', None, 'A file.')
def main(run):
  f = flags.FLAGS
  print(f.table, f.share, f.seed)
  if f.table and f.table.endswith('/in it'):
    open(f.table)
  return 0
cli.start(main)
"""


class ProgramTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    (self.root / 'small.py').write_text(_PROGRAM)

  def run_program(self, *flags, code=0):
    done = subprocess.run(
      [sys.executable, str(self.root / 'small.py'), '--nocompilation_cache', *flags],
      env=program_runs.environment(PYTHONPATH=str(program_runs.ROOT)),
      capture_output=True,
      timeout=100,
      check=False,
    )
    self.assertEqual(done.returncode, code, done.stderr)
    self.assertNotIn(b'Traceback', done.stderr)
    return done.stdout.decode(), done.stderr.decode()

  def _without_reader(self, *flags):
    """Exit code and stderr when what reads stdout has gone, as `head -1` does."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
      done = subprocess.run(
        [sys.executable, str(self.root / 'small.py'), '--nocompilation_cache', *flags],
        env=program_runs.environment(PYTHONPATH=str(program_runs.ROOT)),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=100,
        check=False,
      )
    finally:
      os.close(writer)
    return done.returncode, done.stderr.decode()

  def test_an_output_that_nobody_reads_ends_quietly(self):
    # Help and a short line may wait in Python's buffer until the program has ended; a
    # long one is written at once.
    for flags in (['--help'], [], ['--table=' + 'x' * 100_000]):
      code, said = self._without_reader(*flags)
      self.assertEqual(said, '')
      self.assertIn(code, (0, 1))

  def test_what_stands_on_the_command_line_is_typed(self):
    with mock.patch.object(
      sys, 'argv', ['x', '--seed=3', '--share', '0.2', '--', '-a']
    ):
      self.assertEqual(
        [cli.is_typed(name) for name in ('seed', 'share', 'table', 'a')],
        [True, True, False, False],
      )

  def test_flag_files_of_editors(self):
    path = self.root / 'my.flags'
    for text in ('\ufeff--seed=3\r\n--share=0.25\r\n', '\ufeff# my flags\n--seed=3\n'):
      path.write_bytes(text.encode())
      self.assertIn(' 3', self.run_program(f'--flagfile={path}')[0])
    path.write_bytes('--seed=3\n'.encode('utf-16'))
    self.assertIn(
      'not text in UTF-8', self.run_program(f'--flagfile={path}', code=2)[1]
    )

  def test_nan_is_within_no_bounds(self):
    said = self.run_program('--share=nan', code=2)[1]
    self.assertIn('--share=nan: it is not a number', said)
    self.assertIn('--seed=-1', self.run_program('--seed=-1', code=2)[1])

  def test_a_name_that_is_no_text_can_be_printed(self):
    said, _ = self.run_program('--table=a\udcff.jpg')
    self.assertIn('a\\udcff.jpg', said)

  def test_the_flag_of_a_file_that_cannot_be_used(self):
    (self.root / 'file').write_text('')
    place = self.root / 'file' / 'in it'
    said = self.run_program(f'--table={place}', code=1)[1]
    self.assertIn(f'--table={place} cannot be used', said)
    self.assertIn(os.strerror(errno.ENOTDIR), said)


class SentenceTest(absltest.TestCase):
  def test_what_the_system_says_without_a_file(self):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    self.assertEqual(
      cli._sentence(full), 'The disk is full; make room, and start again.'
    )
    other = OSError(errno.EIO, os.strerror(errno.EIO))
    self.assertEqual(
      cli._sentence(other), f'The system says: {os.strerror(errno.EIO)}.'
    )


class OutputFileTest(absltest.TestCase):
  def test_its_folder_is_made(self):
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'a', 'b', 'x.npz')
      self.assertEqual(cli.output_file(path), path)
      self.assertTrue(os.path.isdir(os.path.dirname(path)))

  def test_sentences(self):
    with tempfile.TemporaryDirectory() as folder:
      pathlib.Path(folder, 'x').write_text('')
      for path, words in (
        (None, '--output is missing'),
        (folder, 'is a folder; name a file'),
        (os.path.join(folder, 'x', 'y', 'z.npz'), 'cannot be made'),
      ):
        with self.assertRaisesRegex(cli.UserError, words):
          cli.output_file(path)


if __name__ == '__main__':
  absltest.main()
