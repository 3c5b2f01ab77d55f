"""Fig. 5: the four vertices are what the caption says, and the nearer one wins."""

from absl.testing import absltest
import numpy as np

from experiments.reproduce import visibility_figure
from pifa_jax.face_models import load_face_model
from tests.toy_model import make_toy_model


class VisibilityFigureTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = load_face_model('builtin')
    cls.case = visibility_figure.find_case(cls.model)

  def _turned(self, points):
    """In a frame whose x runs right and z towards the viewer."""
    angle = np.deg2rad(self.case.yaw)
    return np.asarray(points, np.float64) @ np.array(
      [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )

  def test_two_face_the_camera_and_the_one_with_the_smaller_depth_wins(self):
    case = self.case
    towards = self._turned(self.model.mean_shape)[:, 2]
    facing = self._turned(self.model.mean_normals)[:, 2]
    candidates = [v for v in case.vertices if facing[v] > 0]
    self.assertLen(candidates, 2)
    nearer = max(candidates, key=lambda vertex: towards[vertex])
    self.assertEqual(case.winner, nearer)
    np.testing.assert_array_equal(np.argsort(-towards[case.vertices]), np.arange(4))
    np.testing.assert_allclose(case.normals[:, 2], facing[case.vertices], atol=1e-6)

  def test_no_other_rendered_vertex_is_in_the_pixel(self):
    # Of the landmarks: their box has the area of V when they are not turned.
    ids = np.asarray(self.model.landmark_schemes['ibug68'])
    flat = np.asarray(self.model.mean_shape, np.float64)[ids, :2]
    scale = self.case.image_size / np.sqrt(np.prod(np.ptp(flat, axis=0)))
    turned = self._turned(self.model.mean_shape)[:, :2] * [scale, -scale]
    low, high = turned[ids].min(axis=0), turned[ids].max(axis=0)
    places = turned - (low + high) / 2 + (self.case.image_size - 1) / 2
    row, column = self.case.cell
    inside = (np.abs(places - [column, row]) <= 0.5).all(axis=1)
    found = np.intersect1d(np.flatnonzero(inside), self.model.regions['rendered'])
    np.testing.assert_array_equal(found, np.sort(self.case.vertices))

  def test_the_picture_has_them_in_their_places_and_colours(self):
    picture = np.asarray(visibility_figure.draw_visibility(self.model)).astype(int)
    # The third panel: 12 pixels between panels of 420; the pixel's square has 0.76 of
    # a panel's side.
    corner = np.array([12 + 2 * 432, 12]) + 0.12 * 420
    row, column = self.case.cell
    green, amber = [20, 150, 60], [215, 140, 0]
    for vertex, place, normal in zip(
      self.case.vertices, self.case.positions, self.case.normals, strict=True
    ):
      x, y = np.round(corner + (place - [column, row] + 0.5) * 0.76 * 420).astype(int)
      color = [120] * 3
      if normal[2] > 0:
        color = green if vertex == self.case.winner else amber
      np.testing.assert_allclose(picture[y, x], color, atol=3)

  def test_a_cut_of_a_closed_mesh_is_closed(self):
    model = make_toy_model()
    view = np.asarray(model.mean_shape, np.float64)
    lines = visibility_figure._cut(view, np.asarray(model.triangles), 7.0)
    ends, counts = np.unique(
      np.round(lines.reshape(-1, 2), 6), axis=0, return_counts=True
    )
    np.testing.assert_array_equal(counts, 2)
    # x and z of the ellipsoid at a height of 7 of 90.
    widest = np.abs(ends[:, 0]).max()
    self.assertBetween(widest, 62, 65)

  def test_a_mesh_that_is_too_coarse_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'it has 1 rendered vert'):
      visibility_figure.find_case(
        self.model.replace(regions={'rendered': np.array([5], np.int32)})
      )


if __name__ == '__main__':
  absltest.main()
