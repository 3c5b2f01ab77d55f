"""Tests of meshes.py."""

from absl.testing import absltest
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import meshes


class MeshesTest(absltest.TestCase):
  def test_a_tube_is_closed_around_its_line(self):
    line = jnp.stack([jnp.linspace(0, 9, 4), jnp.zeros(4), jnp.zeros(4)], -1)
    ring = meshes.tube(line, 2.0, jnp.array([0.0, 0, 1])).reshape(4, 4, 3)
    np.testing.assert_allclose(ring.mean(axis=1), line, atol=1e-5)
    np.testing.assert_allclose(np.abs(ring[:, :, 1:]), 1.5, atol=1e-5)
    self.assertEqual(len(meshes.tube_triangles(4)), 2 * 2 * 4 * 3)


if __name__ == '__main__':
  absltest.main()
