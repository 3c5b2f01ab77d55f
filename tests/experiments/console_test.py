"""The console scripts are the programs."""

import configparser
import importlib
import os
import subprocess
import sys

from absl.testing import absltest

from experiments import console, list_flags
from tests import program_runs


def _scripts():
  parser = configparser.ConfigParser()
  parser.read(program_runs.ROOT / 'setup.cfg')
  lines = parser['options.entry_points']['console_scripts'].strip().splitlines()
  return dict(line.split(' = ') for line in lines)


class ConsoleTest(absltest.TestCase):
  def test_every_script_is_a_program(self):
    scripts = _scripts()
    self.assertContainsSubset(
      {'pifa-align', 'pifa-train', 'pifa-evaluate', 'pifa-export', 'pifa-doctor'},
      scripts,
    )
    programs = {f'experiments.{name}' for name in list_flags.program_names()}
    for script, target in scripts.items():
      self.assertIn(console.module_name(f'/usr/bin/{script}'), programs)
      module, _, function = target.partition(':')
      self.assertIs(getattr(importlib.import_module(module), function), console.main)

  def test_names_of_other_systems(self):
    for name in ('pifa-fit-3dmm.exe', 'pifa-fit-3dmm-script.py', 'pifa-fit-3dmm'):
      path = os.path.join('bin', name)
      self.assertEqual(console.module_name(path), 'experiments.fit_3dmm')

  def test_it_speaks_as_the_module_does(self):
    said = program_runs.run('align', '--nonsense', code=2).stderr
    program = (
      "import sys; from experiments import console; sys.argv[0] = '/bin/pifa-align'; "
      'console.main()'
    )
    done = subprocess.run(
      [sys.executable, '-c', program, '--nonsense'],
      cwd=program_runs.ROOT,
      env=program_runs.environment(),
      text=True,
      capture_output=True,
      timeout=120,
      check=False,
    )
    self.assertEqual(done.returncode, 2)
    self.assertEqual(done.stderr, said)
    self.assertIn('python -m experiments.align --help', said)


if __name__ == '__main__':
  absltest.main()
