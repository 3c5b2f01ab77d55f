"""Networks of other projects are called, or refused in one sentence."""

import pathlib
import tempfile
import unittest
from unittest import mock

from absl.testing import absltest
import numpy as np

from experiments.benchmark import peer_networks
from experiments.lib import cli
from tests.experiments.export import onnx_run


class PeerNetworksTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _file(self, name, content=b'x'):
    path = self.folder / name
    path.write_bytes(content)
    return str(path)

  @unittest.skipUnless(onnx_run.INSTALLED, 'needs the extra onnx')
  def test_onnx(self):
    import onnx

    value = lambda name: onnx.helper.make_tensor_value_info(
      name, onnx.TensorProto.FLOAT, ['faces', 3]
    )
    node = onnx.helper.make_node('Exp', ['x'], ['y'])
    graph = onnx.helper.make_graph([node], 'exp', [value('x')], [value('y')])
    model = onnx.helper.make_model(
      graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid('', 18)]
    )
    path = self._file('exp.onnx', model.SerializeToString())
    (case,) = peer_networks.cases((path,))
    self.assertEqual((case.name, case.batch), ('exp.onnx', 1))
    np.testing.assert_array_equal(case.call()[0], np.ones((1, 3)))

  @unittest.skipUnless(onnx_run.INSTALLED, 'needs the extra onnx')
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
