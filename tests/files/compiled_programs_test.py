"""Compiled programs that are kept: when, where, and never against the user's own."""

import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest

from pifa_jax.files import compiled_programs
from tests import program_runs

# Something was compiled before the folder was named, as in a notebook.
_PROGRAM = """
import sys
import jax
import pifa_jax
jax.jit(lambda x: x + 1)(1.0)
print(pifa_jax.keep_compiled(*sys.argv[1:]))
jax.jit(lambda x: x * 3 - 2)(1.0)
"""


class CompiledProgramsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def run_program(self, *arguments, **more):
    done = subprocess.run(
      [sys.executable, '-c', _PROGRAM, *map(str, arguments)],
      text=True,
      capture_output=True,
      env=program_runs.environment(**more),
      timeout=120,
      check=True,
    )
    return done.stdout.strip()

  def test_programs_are_kept_from_then_on(self):
    folder = self.root / 'kept'
    self.assertEqual(self.run_program(folder), str(folder))
    self.assertNotEmpty(list(folder.iterdir()))

  def test_the_cache_of_the_user_stays(self):
    own, other = self.root / 'own', self.root / 'other'
    found = self.run_program(other, JAX_COMPILATION_CACHE_DIR=str(own))
    self.assertEqual(found, str(own))
    self.assertFalse(other.exists())

  def test_the_usual_folder(self):
    with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(self.root)):
      folder = compiled_programs.default_folder()
    self.assertEqual(folder, self.root / 'pifa_jax' / 'compiled')

  def test_a_folder_that_cannot_be_made(self):
    (self.root / 'file').write_text('x')
    with (
      mock.patch.object(compiled_programs.jax, 'config') as config,
      self.assertRaises(OSError),
    ):
      config.jax_compilation_cache_dir = None
      compiled_programs.keep_compiled(self.root / 'file' / 'in')
    config.update.assert_not_called()


if __name__ == '__main__':
  absltest.main()
