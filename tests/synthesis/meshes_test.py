"""Tests of meshes.py."""

from absl.testing import absltest
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import morphable_model
from pifa_jax.synthesis import meshes


class MeshesTest(absltest.TestCase):
  def test_a_tube_is_closed_around_its_line(self):
    line = jnp.stack([jnp.linspace(0, 9, 4), jnp.zeros(4), jnp.zeros(4)], -1)
    ring = meshes.tube(line, 2.0, jnp.array([0.0, 0, 1])).reshape(4, 4, 3)
    np.testing.assert_allclose(ring.mean(axis=1), line, atol=1e-5)
    np.testing.assert_allclose(np.abs(ring[:, :, 1:]), 1.5, atol=1e-5)
    self.assertEqual(len(meshes.tube_triangles(4)), 2 * 2 * 4 * 3)

  def test_normals_of_two_sided_meshes_point_outward(self):
    line = jnp.stack([jnp.linspace(0, 9, 4), jnp.zeros(4), jnp.zeros(4)], -1)
    tube = meshes.tube(line, 2.0, jnp.array([0.0, 0, 1]))
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], -1)
    # Columns run around the axis, rows go down.
    shell = ring[:, None] - np.array([0.0, 1, 0]) * np.arange(3)[:, None]
    for points, centre, triangles in (
      (tube, line.repeat(4, 0), meshes.tube_triangles(4)),
      (
        shell.reshape(-1, 3),
        (shell * [0, 1, 0]).reshape(-1, 3),
        meshes.grid_triangles(12, 3, closed=True, two_sided=True),
      ),
    ):
      half = meshes.outward(triangles)
      self.assertEqual(2 * len(half), len(triangles))
      normals = morphable_model.vertex_normals(jnp.asarray(points), half)
      self.assertGreater(float(jnp.sum(normals * (points - centre), -1).min()), 0.5)


if __name__ == '__main__':
  absltest.main()
