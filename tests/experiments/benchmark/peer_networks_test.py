"""Networks of other projects are called, or refused in one sentence."""

import importlib.util
import pathlib
import tempfile
import unittest
from unittest import mock

from absl.testing import absltest
import numpy as np

from experiments.benchmark import peer_networks
from experiments.lib import cli

_INSTALLED = importlib.util.find_spec('onnxruntime') is not None
# y = exp(x) of (faces, 3), by onnx.helper: the package onnx cannot be imported in a
# process that has TensorFlow.
_EXP = bytes.fromhex(
  '08083a460a0b0a0178120179220345787012036578705a180a017812130a110801120d0a0712'
  '0566616365730a02080362180a017912130a110801120d0a07120566616365730a0208034204'
  '0a001012'
)


class PeerNetworksTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _file(self, name, content=b'x'):
    path = self.folder / name
    path.write_bytes(content)
    return str(path)

  @unittest.skipUnless(_INSTALLED, 'needs onnxruntime')
  def test_onnx(self):
    path = self._file('exp.onnx', _EXP)
    (case,) = peer_networks.cases((path,))
    self.assertEqual((case.name, case.batch), ('exp.onnx', 1))
    np.testing.assert_array_equal(case.call()[0], np.ones((1, 3)))

  @unittest.skipUnless(_INSTALLED, 'needs onnxruntime')
  def test_a_file_that_is_no_network(self):
    with self.assertRaisesRegex(cli.UserError, 'bad.onnx is not a network that can'):
      peer_networks.cases((self._file('bad.onnx'),))

  def test_other_files(self):
    with self.assertRaisesRegex(cli.UserError, "ends in '.pth'; use files that end"):
      peer_networks.cases((self._file('a.pth'),))
    with self.assertRaisesRegex(cli.UserError, 'no such file'):
      peer_networks.cases((str(self.folder / 'none.onnx'),))

  def test_program_that_is_not_installed(self):
    for name, module in (('a.onnx', 'onnxruntime'), ('a.tflite', 'ai_edge_litert')):
      with mock.patch.dict(
        'sys.modules', {module: None, f'{module}.interpreter': None}
      ):
        with self.assertRaisesRegex(cli.UserError, 'pip install'):
          peer_networks.cases((self._file(name),))


if __name__ == '__main__':
  absltest.main()
