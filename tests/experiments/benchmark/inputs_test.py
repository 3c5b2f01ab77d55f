"""Face models of any size, for measuring."""

import os
from unittest import mock

from absl.testing import absltest
import numpy as np

from experiments.benchmark import inputs


class DenseModelTest(absltest.TestCase):
  def test_a_model_that_the_memory_does_not_hold_is_refused_before(self):
    pages = {'SC_PHYS_PAGES': 2_000_000, 'SC_PAGE_SIZE': 4096}
    with mock.patch.object(os, 'sysconf', pages.get):
      # 229 shapes of three float32 a vertex, three times: 8,244 bytes.
      self.assertEqual(
        inputs.memory_problem(9_999_999, 'float32'),
        'needs 82 GB of memory, and this machine has 8; use at most 900000',
      )
      self.assertEqual(inputs.memory_problem(900_000, 'float32'), '')
      self.assertIn('at most 400000', inputs.memory_problem(900_000, 'float64'))

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
