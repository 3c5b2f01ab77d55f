"""Position maps hold the right places."""

from absl.testing import absltest
import numpy as np

from pifa_jax.geometry import host_rasterizer, image_maps, projection, uv_map
from tests.toy_model import make_toy_model

_MODEL = make_toy_model()
_TRIANGLES = image_maps.part_triangles(_MODEL.triangles, _MODEL.regions['rendered'])


class UvMapTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.layout = uv_map.cylinder_layout(_MODEL.mean_shape, _TRIANGLES, size=128)

  def test_a_pixel_is_the_place_of_its_coordinates(self):
    covered = self.layout.ids >= 0
    self.assertBetween(covered.mean(), 0.5, 0.97)
    found = host_rasterizer.interpolate(
      self.layout.ids,
      self.layout.weights,
      self.layout.triangles,
      self.layout.coordinates,
    )
    rows, columns = np.nonzero(covered)
    np.testing.assert_allclose(
      found[covered], np.stack([columns, rows], axis=1), atol=1e-6
    )

  def test_the_image_is_upright_and_not_mirrored(self):
    u, v = self.layout.coordinates[_MODEL.landmark_schemes['ibug68']].T
    self.assertLess(u[36], u[45])  # outer corners of the eyes, left to right
    self.assertLess(v[27], v[8])  # bridge of the nose above the chin
    self.assertTrue(((u > 0) & (u < 127) & (v > 0) & (v < 127)).all())

  def test_positions_are_those_of_the_mesh(self):
    camera = np.asarray(
      projection.camera_from_pose(
        projection.rotation_from_euler(0.5, 0.1, -0.2), 2.0, np.array([300.0, 250.0])
      )
    )
    vertices = projection.image_vertices(camera, _MODEL.mean_shape)
    placed = uv_map.position_map(self.layout, vertices)
    covered = self.layout.ids >= 0
    self.assertEqual(np.abs(placed[~covered]).sum(), 0.0)
    self.assertAlmostEqual(float(placed[covered][:, 2].min()), 0.0, places=3)
    # The middle of a mesh that was unrolled is the middle of the face; within the
    # spacing of the map, 3 pixels of the photo.
    ids = _MODEL.landmark_schemes['ibug68']
    columns, rows = np.round(self.layout.coordinates[ids]).astype(int).T
    found = placed[rows, columns]
    np.testing.assert_allclose(found[:, :2], vertices[ids, :2], atol=4.5)
    relative = -vertices[ids, 2] - (-vertices[ids, 2]).max()
    np.testing.assert_allclose(found[:, 2] - found[:, 2].max(), relative, atol=6.0)


if __name__ == '__main__':
  absltest.main()
