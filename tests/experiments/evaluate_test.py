"""Where evaluations are written."""

import os
import pathlib
import sys
import tempfile
from unittest import mock

from absl import flags
from absl.testing import absltest, flagsaver

from experiments import evaluate
from tests import program_runs


class ResultsFolderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    self.root = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

  def _folder(self, trained, *, checkpoint, workdir, typed=True):
    argv = ['evaluate'] + ([f'--workdir={workdir}'] if typed else [])
    with mock.patch.object(sys, 'argv', argv):
      with flagsaver.flagsaver(checkpoint=checkpoint, workdir=workdir):
        return evaluate._results_folder(trained)

  def test_a_typed_workdir_gets_the_results(self):
    out = str(self.root / 'out')
    self.assertEqual(
      self._folder('runs/builtin', checkpoint='builtin', workdir=out), out
    )

  def test_that_of_a_flag_file_is_a_training_run(self):
    found = self._folder('runs/a', checkpoint='runs/a', workdir='runs/b', typed=False)
    self.assertEqual(found, 'runs/a')
    self.assertEqual(
      self._folder('runs/b', checkpoint=None, workdir='runs/b'), 'runs/b'
    )

  def test_another_training_run_keeps_its_own_evaluations(self):
    other = self.root / 'other'
    (other / 'checkpoints').mkdir(parents=True)
    said = program_runs.run(
      'evaluate', '--checkpoint=builtin', f'--workdir={other}', code=1
    ).stderr
    self.assertIn(
      f'--workdir={other} is the folder of another training run than '
      '--checkpoint=builtin; give the results a folder of their own',
      said,
    )
    self.assertEqual(os.listdir(other), ['checkpoints'])
    # Its own folder is no other one.
    self.assertEqual(
      self._folder(str(other), checkpoint=str(other), workdir=f'{other}/'), f'{other}/'
    )


if __name__ == '__main__':
  absltest.main()
