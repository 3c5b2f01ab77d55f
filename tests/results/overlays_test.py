"""Overlays: the right thing in the right place."""

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.results import overlays
from tests.results.toy_face import HEIGHT, WIDTH, make_face, make_photo

_SCALE = 7  # 1200 / 170


class OverlaysTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.photo, self.face = make_photo(), make_face(40.0)

  def at(self, picture, points):
    x, y = np.round((np.asarray(points) + 0.5) * _SCALE - 0.5).astype(int).T
    return np.asarray(picture)[y, x].astype(int)

  @parameterized.parameters(*overlays.OVERLAYS)
  def test_size_and_that_only_the_face_changes(self, kind):
    picture = overlays.draw(self.photo, [self.face], kind)
    self.assertEqual(picture.size, (WIDTH * _SCALE, HEIGHT * _SCALE))
    plain = np.asarray(overlays.draw(self.photo, [], kind))
    changed = (np.asarray(picture) != plain).any(axis=2)
    self.assertBetween(changed.mean(), 1e-4, 0.6)
    self.assertFalse(changed[-5:, -5:].any())

  def test_landmarks_are_green_or_red(self):
    picture = overlays.draw(self.photo, [self.face])
    points, seen = self.face.landmarks['ibug68'], self.face.visible['ibug68']
    self.assertBetween(seen.mean(), 0.3, 0.95)
    # Some of the toy's landmarks lie upon each other.
    apart = [
      i
      for i in range(68)
      if np.sort(np.linalg.norm(points - points[i], axis=1))[1] > 2.5
    ]
    colors = self.at(picture, points[apart])
    wanted = np.where(seen[apart, None], overlays.GREEN, overlays.RED)
    np.testing.assert_array_equal(colors, wanted)

  def test_axes(self):
    picture = np.asarray(overlays.draw(self.photo, [make_face(40.0)], 'axes'))
    places = {}
    for color in (overlays.RED, overlays.GREEN, overlays.BLUE):
      rows, columns = np.nonzero((picture == color).all(axis=2))
      places[color] = np.mean(columns), np.mean(rows)
    start = (self.face.vertices[int(self.face.model.nose_tip), :2] + 0.5) * _SCALE
    self.assertGreater(places[overlays.RED][0], start[0])  # x: to the right
    self.assertLess(places[overlays.GREEN][1], start[1])  # y: up
    # z: out of the face, which is turned to the left of the image for this yaw.
    self.assertLess(places[overlays.BLUE][0], start[0])

  def test_the_shade_hides_the_photo_and_the_wire_does_not(self):
    nose = self.face.vertices[[int(self.face.model.nose_tip)], :2]
    plain = overlays.draw(self.photo, [], 'shaded')
    shaded = self.at(overlays.draw(self.photo, [self.face], 'shaded'), nose)[0]
    self.assertLess(np.ptp(shaded), 40)  # grey
    self.assertGreater(np.ptp(self.at(plain, nose)[0]), 40)
    wire = np.asarray(overlays.draw(self.photo, [self.face], 'wire'))
    inside = np.asarray(overlays.draw(self.photo, [self.face], 'shaded')) != np.asarray(
      plain
    )
    same = (wire == np.asarray(plain)).all(axis=2)[inside.any(axis=2)]
    self.assertBetween(same.mean(), 0.3, 0.95)

  def test_faces_outside_the_photo_are_nothing(self):
    outside = make_face(middle=(-2000.0, 4000.0))
    for kind in ('wire', 'shaded', 'overlay', 'axes', 'boxes'):
      overlays.draw(self.photo, [outside], kind)

  def test_visualizations(self):
    planes = (np.zeros((10, 10)), np.full((10, 10), 9.0))
    picture = np.asarray(
      overlays.draw_visualizations(make_face(visualizations=planes), size=20)
    )
    self.assertEqual(picture.shape, (20, 42, 3))
    self.assertEqual(set(picture[:, :20].ravel().tolist()), {127})
    self.assertEqual(set(picture[:, 22:].ravel().tolist()), {255})
    with self.assertRaisesRegex(ValueError, 'no visualizations'):
      overlays.draw_visualizations(self.face)

  def test_an_unknown_kind_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'frames'):
      overlays.draw(self.photo, [], 'frames')


if __name__ == '__main__':
  absltest.main()
