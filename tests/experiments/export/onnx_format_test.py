"""onnxruntime gives the faces of JAX; a file that does not is refused."""

import dataclasses
import pathlib
import tempfile
import unittest
from unittest import mock

from absl.testing import absltest, parameterized
import jax
import numpy as np

from experiments.export import face_function, onnx_format, onnx_geometry
from experiments.lib import cli
from tests.experiments.export import onnx_run, small_network


class WithoutOnnxruntimeTest(absltest.TestCase):
  def test_one_sentence(self):
    with mock.patch.dict('sys.modules', {'onnxruntime': None}):
      with self.assertRaisesRegex(cli.UserError, r'pip install pifa_jax\[onnx\]'):
        onnx_format.check('x.onnx', lambda crops: {}, 56, 1)


@unittest.skipUnless(onnx_run.INSTALLED, 'needs the extra onnx')
class OnnxTest(parameterized.TestCase):
  @parameterized.parameters(
    (small_network.CONFIG, 'IFV'),
    (small_network.RESIDUAL, 'IFV'),
    (small_network.RESIDUAL, 'IV'),
  )
  def test_onnxruntime_gives_the_same_faces(self, config, inputs):
    import onnxruntime

    config = dataclasses.replace(config, inputs=inputs)
    small = small_network.make_small(config)
    crops = small_network.crops(3, config.crop_size)
    wanted = jax.jit(small.function())(crops)
    content = onnx_format.build(
      config, small.variables, small.geometry, small.model, 'ibug68'
    )
    session = onnxruntime.InferenceSession(content.SerializeToString())
    for count in (1, 3):  # any number of faces
      found = session.run(None, {'crops': crops[:count]})
      for name, value in zip(face_function.OUTPUTS, found, strict=True):
        # float32 sums of a few hundred terms in another order; degrees of up to 180
        # are rounded to 1e-5.
        np.testing.assert_allclose(
          value, wanted[name][:count], atol=1e-3, rtol=1e-4, err_msg=name
        )
      self.assertEqual(found[1].dtype, bool)
    # The crop has a say, and the face moves.
    self.assertGreater(np.ptp(wanted['params'][:, :8], axis=0).max(), 0.05)

  def test_other_landmarks_are_refused(self):
    config = small_network.RESIDUAL
    small = small_network.make_small(config)
    function = small.function()
    right = onnx_geometry.view

    def wrong(graph, model, vector, factor=1.0):
      return right(graph, model, vector + 0.1, factor)

    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, 'face.onnx')
      for view in (right, wrong):
        with mock.patch.object(onnx_geometry, 'view', view):
          content = onnx_format.build(
            config, small.variables, small.geometry, small.model, 'ibug68'
          )
        path.write_bytes(content.SerializeToString())
        if view is right:
          onnx_format.check(path, function, config.crop_size, 2)
          continue
        with self.assertRaisesRegex(cli.UserError, 'other landmarks than JAX'):
          onnx_format.check(path, function, config.crop_size, 2)
      path.write_bytes(b'no graph')
      with self.assertRaisesRegex(cli.UserError, 'onnxruntime does not run it'):
        onnx_format.check(path, function, config.crop_size, 2)


if __name__ == '__main__':
  absltest.main()
