"""V without the depth test: what it shares with V, and what it does not hide."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import all_vertices, visualization
from pifa_jax.types import MorphableModel
from tests.geometry.visualization_test import _MODEL, _SIZE, _face, _four_vertices


class AllVerticesTest(absltest.TestCase):
  def test_the_far_vertex_of_a_pixel_counts_and_the_one_that_faces_away_does_not(self):
    model, face = _four_vertices([1.0, 3.0, 2.0, 4.0], [-1.0, 0.6, 0.8, -1.0])
    drawn = all_vertices.visualize_all(model, face, image_size=20, mask=jnp.ones(4))
    # Both lie in the middle of the pixel: equal weights.
    np.testing.assert_allclose(drawn[10, 10], 0.7, rtol=1e-6)
    self.assertEqual(int(np.count_nonzero(drawn)), 9)

  def test_the_same_where_no_two_vertices_share_a_cell(self):
    rng = np.random.default_rng(0)
    u, v = np.meshgrid(np.arange(2, 18, 2), np.arange(2, 18, 2))
    places = np.stack([u, -v, 0 * u], axis=-1).reshape(-1, 3).astype(np.float32)
    places[:, :2] += rng.uniform(-0.4, 0.4, (len(places), 2))
    count = len(places)
    normals = np.tile(np.float32([[0, 0, 1]]), (count, 1))
    normals[:, 2] = rng.uniform(0.1, 1, count)
    model, face = _four_vertices([1.0], [1.0])
    self.assertIsInstance(model, MorphableModel)
    model = model.replace(
      mean_shape=places,
      identity_basis=np.zeros((1, count, 3), np.float32),
      expression_basis=np.zeros((1, count, 3), np.float32),
      mean_normals=normals,
    )
    mask = jnp.asarray(rng.normal(size=count), jnp.float32)
    for radius in (0, 1, 2):
      draw = lambda render, radius=radius: render(
        model, face, image_size=20, mask=mask, sigma=0.7, radius=radius
      )
      # Sums of at most 25 float32 terms in another order.
      np.testing.assert_allclose(
        draw(all_vertices.visualize_all), draw(visualization.visualize), atol=1e-5
      )

  def test_gradients_are_finite_and_not_zero(self):
    face = _face(yaw=60.0)
    gradient = jax.jit(
      jax.grad(
        lambda face: jnp.sum(
          jnp.sin(all_vertices.visualize_all(_MODEL, face, image_size=_SIZE))
        )
      )
    )(face)
    for leaf in jax.tree.leaves(gradient):
      self.assertTrue(np.isfinite(leaf).all())
      self.assertGreater(float(np.abs(leaf).max()), 0)


class RefusalTest(absltest.TestCase):
  def test_sizes(self):
    for wrong in ({'image_size': 0}, {'sigma': 0.0}, {'radius': -1}):
      with self.assertRaisesRegex(ValueError, 'the visualization needs image_size'):
        all_vertices.visualize_all(None, None, **{'image_size': 8, **wrong})


if __name__ == '__main__':
  absltest.main()
