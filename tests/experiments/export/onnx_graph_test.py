"""Arithmetic becomes nodes, and equal constants one."""

import unittest
from unittest import mock

from absl.testing import absltest
import numpy as np

from experiments.export import onnx_graph
from experiments.lib import cli
from tests.experiments.export import onnx_run


class WithoutOnnxTest(absltest.TestCase):
  def test_one_sentence(self):
    with mock.patch.dict('sys.modules', {'onnx': None}):
      with self.assertRaisesRegex(cli.UserError, r'pip install pifa_jax\[onnx\]'):
        onnx_graph.Graph()


@unittest.skipUnless(onnx_run.INSTALLED, 'needs the extra onnx')
class GraphTest(absltest.TestCase):
  def test_arithmetic(self):
    x = np.array([[-1.5, 2.0], [0.25, -4.0]], np.float32)
    row = np.array([3.0, -2.0], np.float32)
    formulas = {
      'sum': lambda x: 2 - (x + row) * 0.5,
      'array_first': lambda x: x - row / 4,
      'sign': lambda x: (x < 0) & (x >= -1.5),
      'product': lambda x: -(x * x) / 3.0,
    }

    wanted = {name: formula(x) for name, formula in formulas.items()}

    def build(unused_graph, values):
      return {name: formula(values['x']) for name, formula in formulas.items()}

    found = onnx_run.run(build, wanted, x=x)
    for name, value in wanted.items():
      np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)

  def test_equal_constants_are_stored_once(self):
    graph = onnx_graph.Graph()
    x = graph.input('x', np.float32, ('B', 2))
    y = (x + 1.0) * 1.0 + np.ones(2, np.float32)
    y = y + np.ones(2, np.float32)
    graph.output('y', y, np.float32, ('B', 2))
    # A scalar and a row of two differ; so do 1 as float32 and as int64.
    self.assertLen(graph.model('test').graph.initializer, 2)
    one, same, other = map(graph.constant, (1, np.float32(1), np.array(1)))
    self.assertEqual(one.name, same.name)
    self.assertNotEqual(one.name, other.name)

  def test_versions(self):
    graph = onnx_graph.Graph()
    graph.output('y', graph.input('x', np.float32, ('B',)) + 1, np.float32, ('B',))
    model = graph.model('test')
    self.assertEqual([x.version for x in model.opset_import], [onnx_graph.OPSET])
    self.assertEqual(model.graph.input[0].type.tensor_type.shape.dim[0].dim_param, 'B')


if __name__ == '__main__':
  absltest.main()
