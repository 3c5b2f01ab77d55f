"""The z-buffer in NumPy draws what the one in JAX draws."""

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.geometry import host_rasterizer, projection, rendering
from tests.toy_model import make_toy_model

_MODEL = make_toy_model()
_SIZE = 64


class HostRasterizerTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 50.0, -90.0)
  def test_it_is_the_one_in_jax(self, yaw):
    camera = np.asarray(
      projection.camera_from_pose(
        projection.rotation_from_euler(np.deg2rad(yaw), 0.2, -0.3),
        # It reaches out of the image at two sides.
        0.43,
        np.array([20.3, 27.6]),
      )
    )
    posed = np.float32(projection.image_vertices(camera, _MODEL.mean_shape))
    ids, weights, depth = host_rasterizer.rasterize(
      posed[:, :2], posed[:, 2], _MODEL.triangles, height=_SIZE, width=_SIZE
    )
    wanted_ids, wanted_weights, wanted_depth = (
      np.asarray(x)
      for x in rendering.rasterize(
        posed[:, :2], posed[:, 2], _MODEL.triangles, image_size=_SIZE
      )
    )
    # Rounding in float32 moves a few pixel centres over an edge.
    same = ids == wanted_ids
    self.assertGreater(same.mean(), 0.995)
    self.assertBetween((ids >= 0).mean(), 0.3, 0.9)
    np.testing.assert_allclose(weights[same], wanted_weights[same], atol=2e-3)
    np.testing.assert_allclose(depth[same], wanted_depth[same], atol=2e-3)
    values = host_rasterizer.interpolate(ids, weights, _MODEL.triangles, posed)
    rows, columns = np.nonzero(ids >= 0)
    # Interpolated positions are those of the pixels.
    np.testing.assert_allclose(
      values[rows, columns, :2], np.stack([columns, rows], axis=1), atol=1e-6
    )
    self.assertEqual(np.abs(values[ids < 0]).sum(), 0.0)

  def test_the_nearer_triangle_wins_over_batches(self):
    triangles = np.array([[0, 2, 1], [3, 5, 4], [0, 1, 2]])  # the last faces away
    corner = np.array([[-1.0, -1], [20, -1], [-1, 20]])
    positions = np.concatenate([corner, corner])
    depth = np.array([5.0] * 3 + [4.0] * 3)
    for most in (1, 1 << 21):
      with (
        self.subTest(most),
        absltest.mock.patch.object(host_rasterizer, '_MOST_CANDIDATES', most),
      ):
        ids, _, z = host_rasterizer.rasterize(
          positions, depth, triangles, height=5, width=8
        )
        np.testing.assert_array_equal(ids, np.ones((5, 8)))
        np.testing.assert_allclose(z, 4.0)

  def test_what_is_not_finite_or_outside_is_not_drawn(self):
    triangles = np.array([[0, 2, 1]])
    for bad in (np.nan, np.inf):
      ids, weights, z = host_rasterizer.rasterize(
        np.array([[0, 0], [bad, 0], [0, 9.0]]),
        np.zeros(3),
        triangles,
        height=4,
        width=4,
      )
      self.assertEqual(ids.max(), -1)
      self.assertEqual(weights.max(), 0)
      self.assertTrue(np.isinf(z).all())
    ids, _, _ = host_rasterizer.rasterize(
      np.array([[50, 0], [60, 0], [50, 9.0]]), np.zeros(3), triangles, height=4, width=4
    )
    self.assertEqual(ids.max(), -1)
    ids, _, z = host_rasterizer.rasterize(
      np.eye(3)[:, :2], np.zeros(3), triangles, height=0, width=3
    )
    self.assertEqual(z.shape, (0, 3))


if __name__ == '__main__':
  absltest.main()
