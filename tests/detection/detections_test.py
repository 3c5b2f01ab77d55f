"""Merging, mapping and ordering of found faces."""

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.detection import detections
from pifa_jax.detection.detections import BoxMap, Detections


def _faces(*rows, points=False):
  table = np.array(rows, np.float64).reshape(-1, 5)
  of_faces = np.tile(table[:, None, :2], (1, 5, 1)) if points else None
  return Detections(table[:, :4], table[:, 4], of_faces)


class MergeTest(parameterized.TestCase):
  def test_the_best_of_two_looks_at_a_face_stays(self):
    first = _faces([10, 10, 40, 50, 0.7], [200, 10, 40, 50, 0.9])
    second = _faces([12, 9, 42, 52, 0.8])
    merged = detections.merge([first, second])
    np.testing.assert_array_equal(merged.scores, [0.9, 0.8])
    np.testing.assert_array_equal(merged.boxes[1], [12, 9, 42, 52])

  @parameterized.parameters(
    ([0, 0, 400, 500, 0.9], [50, 80, 60, 70, 0.8]),  # an eye of a large face
    ([50, 80, 60, 70, 0.9], [0, 0, 400, 500, 0.8]),  # a box around several faces
  )
  def test_what_lies_inside_or_around_a_better_face_goes(self, better, worse):
    merged = detections.merge([_faces(worse), _faces(better)])
    np.testing.assert_array_equal(merged.boxes, [better[:4]])

  def test_cheek_by_cheek_both_stay(self):
    merged = detections.merge([_faces([0, 0, 40, 50, 0.9], [30, 0, 40, 50, 0.8])])
    self.assertLen(merged, 2)

  def test_points_go_with_their_faces(self):
    merged = detections.merge(
      [_faces([0, 0, 9, 9, 0.5], points=True), _faces([50, 0, 9, 9, 0.9], points=True)]
    )
    np.testing.assert_array_equal(merged.points[:, 0, 0], [50, 0])

  def test_nothing(self):
    self.assertEmpty(detections.merge([]))
    self.assertEqual(detections.merge([detections.no_faces()]).boxes.shape, (0, 4))


class BoxMapTest(absltest.TestCase):
  def test_squares_of_the_size_and_shift(self):
    mapped = BoxMap(size=0.5, down=0.25).apply(np.array([[10.0, 20, 40, 90]]))
    # sqrt(40 * 90) = 60: side 30, centre (30, 65) moved down by 15.
    np.testing.assert_allclose(mapped, [[15, 65, 30, 30]])

  def test_a_mirrored_face_has_the_mirrored_box(self):
    box = np.array([[10.0, 20, 40, 90]])
    mirrored = box * [-1, 1, 1, 1] - [box[0, 2], 0, 0, 0]
    mapped, other = (BoxMap(0.9, 0.1).apply(b) for b in (box, mirrored))
    np.testing.assert_allclose(other[0, 0], -mapped[0, 0] - mapped[0, 2])


class DetectionsTest(absltest.TestCase):
  def test_edges_move_to_edges(self):
    # The whole of a 10 x 20 image is the whole of it at three times the size.
    faces = _faces([-0.5, -0.5, 10, 20, 1], points=True).moved(3)
    np.testing.assert_allclose(faces.boxes, [[-0.5, -0.5, 30, 60]])
    np.testing.assert_allclose(faces.points[0, 0], [-0.5, -0.5])

  def test_order(self):
    faces = _faces(
      [50, 0, 10, 10, 0.9],
      [5, 0, 20, 20, 0.1],
      [7, 9, 10, 10, 0.5],
      [7, 3, 10, 10, 0.7],
    )
    ordered = detections.in_order(faces)
    np.testing.assert_array_equal(ordered.scores, [0.1, 0.7, 0.5, 0.9])
    shuffled = detections.in_order(faces.take(np.array([2, 0, 3, 1])))
    np.testing.assert_array_equal(shuffled.boxes, ordered.boxes)


if __name__ == '__main__':
  absltest.main()
