"""Face models of any size, for measuring."""

from absl.testing import absltest
import numpy as np

from experiments.benchmark import inputs


class DenseModelTest(absltest.TestCase):
  def test_models_of_any_size(self):
    for wanted in (900, 3000):
      model = inputs.dense_model(wanted)
      self.assertBetween(model.num_vertices, wanted - 68, wanted)
    # Denser than builtin-2's rendered part: exactly as many, on the same face.
    model = inputs.dense_model(43000)
    self.assertEqual(model.num_vertices, 43000)
    self.assertEqual(model.identity_basis.shape[1:], (43000, 3))
    np.testing.assert_allclose(
      np.linalg.norm(model.mean_normals, axis=1), 1.0, rtol=1e-5
    )
    box = lambda x: np.stack([x.min(axis=0), x.max(axis=0)])
    np.testing.assert_array_equal(box(model.mean_shape), box(model.mean_shape[:41624]))


if __name__ == '__main__':
  absltest.main()
