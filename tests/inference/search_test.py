"""When other first boxes are tried, and which result is taken."""

from absl.testing import absltest
import numpy as np

from pifa_jax.inference import search as search_lib
from pifa_jax.inference.confidence import Confidence
from pifa_jax.types import FaceParams

_FACE = np.array([40.0, 30.0])  # its centre
_CAMERA = np.array([[1.0, 0, 0, 0], [0, -1.0, 0, 0]])
_IMAGE = np.zeros((80, 80, 3), np.uint8)


class _Sure(Confidence):
  """Reads the confidence from what the network says."""

  def __call__(self, signs):
    return float(signs['told'])

  def doubts(self, signs):
    return self(signs) < 0.5


def _network(request, reach, told=None):
  """Finds the face if its centre is near that of the crop; else points beside it."""
  centre = request.box[:2] + request.box[2:] / 2
  near = np.linalg.norm(centre - _FACE) < reach
  middle = _FACE if near else centre + [6, 0]
  points = middle + np.array([[-10.0, -10], [10, 10], [-10, 10], [10, -10]])
  sure = (0.95 if near else 0.1) if told is None else told
  return {
    'landmarks': {'ibug68': np.float32(points)},
    'params': FaceParams(camera=_CAMERA, identity=np.zeros(1), expression=np.zeros(1)),
    'signs': {'told': np.float32(sure)},
  }


def _run(plan, box, reach, told=None):
  """The result, and the number of crops of every round."""
  search = search_lib.search(plan, _IMAGE, np.asarray(box, np.float64))
  rounds, answer = [], None
  while True:
    try:
      requests = search.send(answer)
    except StopIteration as end:
      return end.value, rounds
    rounds.append(len(requests))
    answer = [_network(request, reach, told) for request in requests]


class SearchTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.plan = search_lib.Plan(passes=2, confidence=_Sure({}, {'plain_further': 0.5}))

  def found(self, result):
    middle = result.found['landmarks']['ibug68'].mean(axis=0)
    return np.linalg.norm(middle - _FACE) < 1e-3

  def test_a_box_that_fits_costs_nothing_more(self):
    result, rounds = _run(self.plan, [30, 20, 20, 20], reach=4)
    self.assertEqual(rounds, [1, 1])
    self.assertTrue(self.found(result))
    self.assertAlmostEqual(result.confidence, 0.95, places=5)

  def test_a_box_that_is_off_is_searched_from_others(self):
    # Beside the face by 20 %, and the network moves it farther away.
    box = [34, 20, 20, 20]
    plain = search_lib.Plan(passes=2)
    lost, rounds = _run(plain, box, reach=3)
    self.assertEqual(rounds, [1, 1])
    self.assertFalse(self.found(lost))
    self.assertIsNone(lost.confidence)
    for passes in (1, 2, 3):
      plan = search_lib.Plan(passes=passes, confidence=self.plan.confidence)
      result, rounds = _run(plan, box, reach=3)
      self.assertTrue(self.found(result))
      self.assertAlmostEqual(result.confidence, 0.95, places=5)
      self.assertEqual(rounds[: passes + 1], [1] * passes + [8])
      self.assertLen(rounds, 2 * passes)
      # A result of one pass does not know that another went before.
      self.assertEqual('moved' in result.signs, passes > 1)

  def test_a_result_that_is_hardly_surer_is_not_taken(self):
    box = [30, 20, 20, 20]
    first, _ = _run(search_lib.Plan(passes=2), box, reach=3)
    same, rounds = _run(self.plan, box, reach=3, told=0.4)
    self.assertLen(rounds, 4)
    np.testing.assert_array_equal(
      same.found['landmarks']['ibug68'], first.found['landmarks']['ibug68']
    )
    np.testing.assert_array_equal(same.box, first.box)

  def test_the_first_box_may_be_larger_than_the_given_one(self):
    plan = search_lib.Plan(first_scale=1.5)
    search = search_lib.search(plan, _IMAGE, np.array([10.0, 20, 40, 10]))
    (request,) = next(search)
    # A square of the same centre and area, 1.5 times as wide.
    np.testing.assert_allclose(request.box, [15, 10, 30, 30], atol=1e-5)

  def test_other_boxes_lie_about_the_first(self):
    box = np.array([10.0, 20, 40, 10])
    others = np.array(search_lib.other_boxes(box))
    centres = others[:, :2] + others[:, 2:] / 2 - (box[:2] + box[2:] / 2)
    # To both sides, up and down, by no more than a fifth of the sides.
    for axis in (0, 1):
      self.assertAlmostEqual(centres[:, axis].max(), 0.2 * box[2 + axis])
      self.assertAlmostEqual(centres[:, axis].min(), -0.2 * box[2 + axis])
    np.testing.assert_allclose(others[:, 2] / others[:, 3], 4)
    self.assertLess(others[:, 2].min(), 40)
    self.assertGreater(others[:, 2].max(), 40)


if __name__ == '__main__':
  absltest.main()
