"""Every check can fail, and says what to do."""

import contextlib
import importlib.metadata
import io
import tempfile
from unittest import mock

from absl.testing import absltest
import jax
import numpy as np

from experiments import doctor
from experiments.lib import cli
from pifa_jax.learning import network
from tests import program_runs


class ChecksTest(absltest.TestCase):
  def test_an_exception_is_a_failure(self):
    def broken():
      raise RuntimeError('no such thing\nsecond line')

    found = doctor.outcome(broken)
    self.assertEqual(found.verdict, doctor.FAIL)
    self.assertStartsWith(found.text, 'RuntimeError: no such thing (')

  def test_versions(self):
    self.assertEqual(doctor.check_versions().verdict, doctor.PASS)
    real = importlib.metadata.version
    for version, words in (
      (lambda name: '0.4' if name == 'optax' else real(name), None),
      (lambda name: '0.1' if name == 'optax' else real(name), 'optax is 0.1, wanted'),
    ):
      with mock.patch.object(importlib.metadata, 'version', version):
        found = doctor.check_versions()
      if words is None:
        self.assertEqual(found.verdict, doctor.PASS)
      else:
        self.assertEqual(found.verdict, doctor.FAIL)
        self.assertIn(words, found.text)

  def test_memory(self):
    for free, verdict in ((64.0, doctor.PASS), (0.5, doctor.WARN), (None, doctor.WARN)):
      with mock.patch.object(doctor, '_free_memory', return_value=free):
        with mock.patch.object(jax, 'local_devices', return_value=[]):
          self.assertEqual(doctor.check_memory().verdict, verdict)

  def test_writing(self):
    with tempfile.TemporaryDirectory() as folder:
      # The folder itself need not exist.
      found = doctor.check_writing(f'{folder}/a/b')
      self.assertIn(folder, found.text)
      self.assertNotEqual(found.verdict, doctor.FAIL)
      refuse = mock.Mock(side_effect=PermissionError(13, 'Permission denied'))
      with mock.patch.object(tempfile, 'TemporaryFile', refuse):
        found = doctor.check_writing(folder)
    self.assertEqual(found.verdict, doctor.FAIL)
    self.assertIn('Permission denied', found.text)

  def test_gradient(self):
    self.assertEqual(doctor.check_gradient().verdict, doctor.PASS)
    real = network.init_variables

    def damaged(*args):
      return jax.tree.map(lambda x: x * np.nan, real(*args))

    with mock.patch.object(network, 'init_variables', damaged):
      found = doctor.check_gradient()
    self.assertEqual(found.verdict, doctor.FAIL)
    self.assertIn('is not finite', found.text)

  def test_one_failure_is_the_exit_code(self):
    names = [name for name in vars(doctor) if name.startswith('check_')]
    self.assertLen(names, 7)
    for verdict, code in (
      (doctor.PASS, cli.EXIT_OK),
      (doctor.WARN, cli.EXIT_OK),
      (doctor.FAIL, 1),
    ):
      with contextlib.ExitStack() as stack:
        for name in names:
          given = doctor.Finding(doctor.PASS, 'good.')
          stack.enter_context(mock.patch.object(doctor, name, return_value=given))
        last = doctor.Finding(verdict, 'the last.')
        stack.enter_context(mock.patch.object(doctor, 'check_face', return_value=last))
        given = mock.Mock(workdir='x')
        stack.enter_context(mock.patch.object(doctor.flags, 'FLAGS', given))
        out = stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        self.assertEqual(doctor.main(cli.Run('doctor')), code)
      self.assertIn(f'{verdict}  face: the last.', out.getvalue())


class ProgramTest(absltest.TestCase):
  def test_this_machine(self):
    said = program_runs.run('doctor').stdout
    for name in ('versions', 'devices', 'memory', 'detector', 'write'):
      self.assertRegex(said, rf'(?m)^(PASS|WARN)  {name}: ')
    for name in ('gradient', 'face'):
      self.assertRegex(said, rf'(?m)^PASS  {name}: ')


if __name__ == '__main__':
  absltest.main()
