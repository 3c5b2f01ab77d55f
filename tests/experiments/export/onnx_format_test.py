"""The rewriting before jax2onnx, and where that is installed the file itself."""

import importlib.util
import pathlib
import tempfile
import unittest
from unittest import mock

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from experiments.export import face_function, onnx_format, onnx_layer
from experiments.lib import cli
from tests.experiments.export import small_network

_INSTALLED = all(importlib.util.find_spec(name) for name in ('jax2onnx', 'onnxruntime'))


class RewritingTest(absltest.TestCase):
  def rewritten(self, function, *args):
    traced = jax.make_jaxpr(function)(*args)
    return jax.make_jaxpr(
      lambda *xs: onnx_format.evaluate(traced.jaxpr, traced.consts, *xs)
    )(*args)

  def test_same_results_without_what_cannot_be_converted(self):
    def function(x):
      padded = jnp.pad(x, ((1, 0), (0, 2)), constant_values=3.0)
      return jnp.stack([padded, jnp.copysign(jnp.pi, padded)], axis=1), jax.nn.relu(x)

    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
    program = self.rewritten(function, x)
    names = {equation.primitive.name for equation in program.jaxpr.eqns}
    self.assertEmpty(
      names & {'stack', 'pad', 'jit', 'bitcast_convert_type', 'custom_jvp_call'}
    )
    found = jax.core.eval_jaxpr(program.jaxpr, program.consts, x)
    for one, other in zip(found, function(x), strict=True):
      np.testing.assert_array_equal(one, other)

  def test_the_whole_function_has_known_operations_alone(self):
    small = small_network.make_small()
    function = small.function(onnx_layer.onnx_network(small.net, small.geometry))
    program = self.rewritten(function, small_network.crops(1))
    names = {equation.primitive.name for equation in program.jaxpr.eqns}
    self.assertIn('scatter-min', names)
    for word in ('bitcast', 'custom', 'platform', 'cond', 'scan', 'while', 'jit'):
      self.assertEmpty([name for name in names if word in name])

  def test_without_jax2onnx_one_sentence(self):
    with mock.patch.dict('sys.modules', {'jax2onnx': None}):
      with self.assertRaisesRegex(cli.UserError, r'pip install pifa_jax\[onnx\]'):
        onnx_format.write('x.onnx', lambda crops: {}, 56)


@unittest.skipUnless(_INSTALLED, 'needs the extra onnx')
class OnnxTest(absltest.TestCase):
  def test_onnxruntime_gives_the_same_faces(self):
    import onnxruntime

    small = small_network.make_small()
    function = small.function(onnx_layer.onnx_network(small.net, small.geometry))
    crops = small_network.crops(3)
    with tempfile.TemporaryDirectory() as folder:
      path = str(pathlib.Path(folder) / 'face.onnx')
      onnx_format.write(path, function, crops.shape[1])
      session = onnxruntime.InferenceSession(path)
    for count in (1, 3):
      wanted = jax.jit(small.function())(crops[:count])
      found = session.run(None, {'crops': crops[:count]})
      for name, value in zip(face_function.OUTPUTS, found, strict=True):
        # float32 sums of a few hundred terms in another order; degrees of up to 180
        # are rounded to 1e-5.
        np.testing.assert_allclose(
          value, wanted[name], atol=1e-3, rtol=1e-4, err_msg=name
        )
      self.assertEqual(found[1].dtype, bool)


if __name__ == '__main__':
  absltest.main()
