"""Meshes for viewers: their frame and their colours."""

from absl.testing import absltest
import numpy as np

from pifa_jax.geometry import photo_mesh, projection
from tests.toy_model import make_toy_model

_MODEL = make_toy_model()


def _posed(yaw):
  """The mesh in a photo of 120 x 140 pixels, and which vertices face the camera."""
  rotation = projection.rotation_from_euler(np.deg2rad(yaw), 0.1, -0.1)
  camera = np.asarray(
    projection.camera_from_pose(rotation, 0.5, np.array([60.0, 70.0]))
  )
  facing = projection.frontability(camera, _MODEL.mean_normals) > 0
  return projection.image_vertices(camera, _MODEL.mean_shape), np.asarray(facing)


def _volume(vertices, triangles):
  """Signed: above 0 if triangles are counter-clockwise as seen from outside."""
  a, b, c = np.asarray(vertices, np.float64)[np.asarray(triangles)].transpose(1, 0, 2)
  return np.einsum('ij,ij->i', a, np.cross(b, c)).sum() / 6


class ViewerTest(absltest.TestCase):
  def test_y_is_up_and_z_towards_the_viewer(self):
    photo, facing = _posed(20.0)
    viewer = photo_mesh.viewer_vertices(photo)
    np.testing.assert_allclose(viewer.mean(axis=0), 0, atol=1e-9)
    # The unit is the photo's pixel.
    np.testing.assert_allclose(np.ptp(viewer, axis=0), np.ptp(photo, axis=0))
    brow, chin = _MODEL.landmark_schemes['ibug68'][[19, 8]]
    self.assertLess(photo[brow, 1], photo[chin, 1])
    self.assertGreater(viewer[brow, 1], viewer[chin, 1])
    self.assertGreater(viewer[facing, 2].mean(), viewer[~facing, 2].mean())
    self.assertGreater(viewer[int(_MODEL.nose_tip), 2], 0)
    # The right side of the photo stays on the right.
    self.assertGreater(np.corrcoef(viewer[:, 0], photo[:, 0])[0, 1], 0.999)

  def test_both_frames_are_right_handed_and_seen_from_outside(self):
    photo, _ = _posed(-35.0)
    viewer = photo_mesh.viewer_vertices(photo)
    volume = _volume(photo - photo.mean(axis=0), _MODEL.triangles)
    # Of an ellipsoid of 65 x 90 x 70 at half the size, as coarse as the mesh is.
    self.assertGreater(volume, 0.9 * 4 / 3 * np.pi * 65 * 90 * 70 / 8)
    np.testing.assert_allclose(_volume(viewer, _MODEL.triangles), volume, rtol=1e-9)


class ColorsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rows, columns = np.mgrid[0:140, 0:120]
    # A colour tells its place.
    self.photo = np.stack([columns, rows, 200 + 0 * rows], axis=-1).astype(np.uint8)

  def test_seen_vertices_have_the_colour_of_their_place(self):
    vertices, facing = _posed(25.0)
    colors = photo_mesh.vertex_colors(self.photo, vertices, _MODEL.triangles, facing)
    self.assertEqual((colors.dtype, colors.shape), (np.uint8, vertices.shape))
    gap = np.abs(colors[:, :2] - vertices[:, :2]).max(axis=1)
    # Rounded to whole grey levels.
    self.assertGreater((gap[facing] <= 0.51).mean(), 0.95)
    np.testing.assert_array_equal(
      colors[~facing], np.tile(colors[~facing][0], (np.sum(~facing), 1))
    )

  def test_a_vertex_behind_another_part_takes_none_of_its_colour(self):
    # Two squares that face the viewer, one behind the other and larger.
    near = np.array([[40.0, 40, 0], [80, 40, 0], [80, 80, 0], [40, 80, 0]])
    steps = np.stack(np.meshgrid([20.0, 60, 100], [20.0, 60, 100]), axis=-1).reshape(
      9, 2
    )
    far = np.concatenate([steps, np.full((9, 1), 50.0)], axis=1)
    far[4, :2] = 66, 56  # whose own place has not the median colour
    cells = [(0, 3, 4), (0, 4, 1), (1, 4, 5), (1, 5, 2)]
    cells += [tuple(i + 3 for i in cell) for cell in cells]
    triangles = np.array([(0, 3, 2), (0, 2, 1), *(np.array(cells) + 4)])
    vertices = np.concatenate([near, far])
    facing = np.ones(13, bool)
    colors = photo_mesh.vertex_colors(self.photo, vertices, triangles, facing)
    np.testing.assert_array_equal(colors[:4, :2], near[:, :2])
    hidden = 4 + 4  # the middle of the far one
    np.testing.assert_array_equal(colors[hidden], [60, 60, 200])  # the median
    others = np.setdiff1d(np.arange(4, 13), hidden)
    np.testing.assert_array_equal(colors[others, :2], vertices[others, :2])
    # With a mirror vertex that is seen, it has that one's colour.
    symmetry = np.arange(13)
    symmetry[hidden] = 4
    colors = photo_mesh.vertex_colors(self.photo, vertices, triangles, facing, symmetry)
    np.testing.assert_array_equal(colors[hidden], [20, 20, 200])

  def test_outside_the_photo(self):
    vertices, facing = _posed(0.0)
    colors = photo_mesh.vertex_colors(
      self.photo, vertices + [1000, 0, 0], _MODEL.triangles, facing
    )
    np.testing.assert_array_equal(colors, 128)
    # Half outside: nothing is taken from beyond the border.
    left = photo_mesh.vertex_colors(
      self.photo, vertices - [60, 0, 0], _MODEL.triangles, facing
    )
    np.testing.assert_array_equal(left[:, 2], 200)
    tiny = np.full((1, 1, 3), 77, np.uint8)
    nose = vertices[int(_MODEL.nose_tip)] * [1, 1, 0]
    np.testing.assert_array_equal(
      photo_mesh.vertex_colors(tiny, vertices - nose, _MODEL.triangles, facing), 77
    )


if __name__ == '__main__':
  absltest.main()
