"""The rasteriser against a loop, holes, shading and z-buffer visibility."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from pifa_jax.geometry import depth_keys, morphable_model, projection, rendering
from tests.toy_model import make_toy_model

_MODEL = make_toy_model()
_SIZE = 48


def _posed(yaw, scale=0.3):
  camera = projection.camera_from_pose(
    projection.rotation_from_euler(jnp.deg2rad(yaw), 0.2, 0.1),
    scale,
    jnp.array([23.4, 23.7]),
  )
  vertices = jnp.asarray(_MODEL.mean_shape)
  return (
    camera,
    projection.project(camera, vertices),
    projection.depth(camera, vertices),
  )


@jax.jit
def _rasterize(positions, depth):
  return rendering.rasterize(positions, depth, _MODEL.triangles, image_size=_SIZE)


def _cross(p, q):
  return p[0] * q[1] - p[1] * q[0]


def _loop(positions, depth):
  """Every pixel tries every front-facing triangle."""
  positions, depth = np.float64(positions), np.float64(depth)
  nearest = np.full((_SIZE, _SIZE), np.inf)
  for triangle in np.asarray(_MODEL.triangles):
    a, b, c = positions[triangle]
    area = _cross(b - a, c - a)
    if area >= -1e-9:
      continue
    low = np.maximum(np.ceil(np.min([a, b, c], axis=0)), 0).astype(int)
    high = np.minimum(np.floor(np.max([a, b, c], axis=0)), _SIZE - 1).astype(int)
    for v in range(low[1], high[1] + 1):
      for u in range(low[0], high[0] + 1):
        p = np.array([u, v])
        w = (
          np.array([_cross(b - p, c - p), _cross(c - p, a - p), _cross(a - p, b - p)])
          / area
        )
        if w.min() >= -1e-7:
          nearest[v, u] = min(nearest[v, u], w @ depth[triangle])
  return nearest


class RasterizeTest(absltest.TestCase):
  def test_depth_matches_a_loop(self):
    for yaw in (0.0, 65.0):
      _, positions, depth = _posed(yaw)
      ids, weights, z = _rasterize(positions, depth)
      expected = _loop(positions, depth)
      both = np.isfinite(expected) & np.isfinite(np.asarray(z))
      # A pixel centre on the silhouette's edge may fall either way.
      self.assertLess(np.mean(np.isfinite(expected) != np.isfinite(z)), 2e-3)
      # float32 of depths up to 30 pixels, interpolated in slivers.
      np.testing.assert_allclose(np.asarray(z)[both], expected[both], atol=1e-3)
      np.testing.assert_array_equal(np.asarray(ids) >= 0, np.isfinite(z))
      np.testing.assert_allclose(np.asarray(weights).sum(-1)[both], 1, atol=1e-6)

  def test_no_holes(self):
    for yaw in (-90.0, 10.0, 50.0):
      _, positions, depth = _posed(yaw)
      covered = np.asarray(_rasterize(positions, depth)[0]) >= 0
      np.testing.assert_array_equal(covered, ndimage.binary_fill_holes(covered))
      # The ellipsoid alone covers 0.3^2 pi 90 times 65 to 70 pixels, about 1,700.
      self.assertGreater(covered.sum(), 800)

  def test_triangles_of_any_size_are_drawn_alike(self):
    _, positions, depth = _posed(35.0)
    for scale in (0.3, 1.0, 6.0):  # from parts of a pixel to most of the image
      at = 23.5 + scale * (positions - 23.5)
      ids, _, z = _rasterize(at, scale * depth)
      one = rendering.scatter_triangles(
        depth_keys.empty(_SIZE**2),
        at,
        scale * depth,
        _MODEL.triangles,
        image_size=_SIZE,
        windows=(7,),
      )
      np.testing.assert_array_equal(
        depth_keys.winning_index(one).reshape(_SIZE, _SIZE), ids
      )
      nearest = depth_keys.nearest_depth(one).reshape(_SIZE, _SIZE)
      # Both interpolate in float32, from different corners.
      np.testing.assert_allclose(nearest, z, rtol=1e-4, atol=1e-3 * scale)

  def test_more_triangles_are_drawn_into_the_same_buffer(self):
    corners = jnp.array([[5.0, 5], [5, 40], [40, 5]])
    draw = jax.jit(
      lambda keys, corners, depth, first: rendering.scatter_triangles(
        keys,
        corners,
        jnp.full(3, depth),
        np.array([[0, 1, 2]]),
        image_size=_SIZE,
        first_id=first,
        windows=(),
      )
    )
    shown = lambda keys: int(depth_keys.winning_index(keys).max())
    empty = depth_keys.empty(_SIZE**2)
    keys = draw(empty, corners, 2.0, 0)
    self.assertEqual(shown(draw(keys, corners, 1.0, 7)), 7)
    self.assertEqual(shown(draw(keys, corners, 3.0, 7)), 0)
    self.assertEqual(shown(draw(empty, corners.at[0].set(jnp.nan), 1.0, 7)), -1)

  def test_holes(self):
    # Two squares of 20 pixels, one behind the other; the near one has a hole.
    square = np.float32([[5, 5], [25, 5], [5, 25], [25, 25]])
    positions = jnp.asarray(np.concatenate([square, square]))
    depth = jnp.repeat(jnp.array([1.0, 2.0]), 4)
    triangles = np.int32([[0, 2, 1], [1, 2, 3]])
    triangles = np.concatenate([triangles, triangles + 4])
    values = np.concatenate([square, square + 100])[triangles]
    keys = rendering.scatter_triangles(
      depth_keys.empty(_SIZE**2),
      positions,
      depth,
      triangles,
      image_size=_SIZE,
      windows=(21,),
      values=values,
      keep=lambda at: (at[0] > 60) | ((at[0] > 12.5) & (at[1] > 12.5)),
    )
    found = np.asarray(depth_keys.winning_index(keys)).reshape(_SIZE, _SIZE)
    wanted = np.full((_SIZE, _SIZE), False)
    wanted[13:26, 13:26] = True
    np.testing.assert_array_equal((found >= 0) & (found < 2), wanted)
    wanted[5:26, 5:26] ^= True
    np.testing.assert_array_equal(found >= 2, wanted)

  def test_interpolation_is_linear_in_the_vertices(self):
    _, positions, depth = _posed(20.0)
    ids, weights, _ = _rasterize(positions, depth)
    # Interpolating the projected positions gives back the pixel.
    found = rendering.interpolate(ids, weights, _MODEL.triangles, positions)
    v, u = np.mgrid[:_SIZE, :_SIZE]
    there = np.asarray(ids) >= 0
    # float32; a sliver divides by its small area.
    np.testing.assert_allclose(
      np.asarray(found)[there], np.stack([u, v], -1)[there], atol=2e-3
    )

  def test_front_is_visible_and_back_is_hidden(self):
    camera, positions, depth = _posed(0.0, 0.22)  # all of it in the image
    _, _, z = _rasterize(positions, depth)
    seen = np.asarray(rendering.z_buffer_visibility(positions, depth, z, tolerance=2.0))
    normals = morphable_model.vertex_normals(
      jnp.asarray(_MODEL.mean_shape), _MODEL.triangles
    )
    front = -np.asarray(normals @ projection.viewing_direction(camera))
    self.assertTrue(np.all(seen[front > 0.3]))
    self.assertFalse(np.any(seen[front < -0.5]))


class ShadeTest(absltest.TestCase):
  def test_the_lit_side_is_brighter(self):
    normals = jnp.array([[0.8, 0, 0.6], [-0.8, 0, 0.6], [0, 0, 1.0]])
    lit = rendering.shade(
      jnp.full((3, 3), 0.5),
      normals,
      ambient=jnp.full(3, 0.4),
      sky=jnp.zeros((3, 3)),
      light=jnp.array([1.0, 0, 0]),
      light_color=jnp.ones(3),
      specular=0.0,
    )
    np.testing.assert_allclose(lit[:, 0], [0.5 * 1.2, 0.2, 0.2], rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
