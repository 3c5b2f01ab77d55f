"""Tests of protocols.py: golden vectors by hand, and SciPy as a second opinion."""

import math

from absl.testing import absltest, parameterized
import numpy as np
from scipy import integrate, stats

from pifa_jax.evaluation import protocols
from pifa_jax.evaluation.protocols import PROTOCOLS


def face_68():
  """68 landmarks on a line of known spacing, and eyes where we want them."""
  points = np.stack([np.arange(68.0), np.zeros(68)], axis=-1)
  points[36:42] = [0, 0]
  points[42:48] = [40, 30]  # 50 from the other eye
  points[36], points[45] = [-6, 0], [34, 80]  # corners: 89.44 apart
  return points


class NormalizerTest(parameterized.TestCase):
  def normalizer(self, name, target=None, **kwargs):
    target = face_68() if target is None else target
    arguments = {
      'visible': np.ones(len(target), bool),
      'box_size': 30.0,
      'pixel_size': 0.25,
      **kwargs,
    }
    return protocols.normalizer(
      PROTOCOLS[name],
      target[None],
      **{k: np.asarray(v)[None] for k, v in arguments.items()},
    )[0]

  def test_golden(self):
    self.assertEqual(self.normalizer('aflw'), 30.0)
    self.assertEqual(self.normalizer('afw'), 0.25)
    self.assertAlmostEqual(self.normalizer('w300'), math.hypot(40, 80))
    # Means of six: (-1, 0) and (39, 30 + 50 / 6).
    self.assertAlmostEqual(self.normalizer('w300_paper'), math.hypot(40, 230 / 6))
    # x from -6 to 67, y from 0 to 80.
    self.assertAlmostEqual(self.normalizer('aflw2000'), math.sqrt(73 * 80))

  def test_box_of_the_labelled_landmarks_alone(self):
    target = np.array([[0, 0], [3, 0], [3, 12], [np.nan, 999]])
    seen = np.array([True, True, True, False])
    self.assertEqual(self.normalizer('nme_box', target, visible=seen), 6.0)

  def test_eyes_need_68_points(self):
    with self.assertRaisesRegex(ValueError, 'needs 68 landmarks, not 34'):
      self.normalizer('w300', np.zeros((34, 2)))


class ImageErrorsTest(parameterized.TestCase):
  def errors(self, name, predicted, target, visible=None, **kwargs):
    visible = np.ones(target.shape[:2], bool) if visible is None else visible
    return protocols.image_errors(
      PROTOCOLS[name],
      predicted,
      target,
      visible,
      np.full(len(target), 20.0),
      np.full(len(target), 0.5),
      **kwargs,
    )

  def test_golden_visible_over_the_box(self):
    target = np.array(
      [[[0.0, 0], [10, 10], [np.nan, np.nan]], [[0, 0], [0, 0], [0, 0]]]
    )
    predicted = np.array([[[3.0, 4], [10, 9], [70, 70]], [[0, 1], [0, 2], [0, 6]]])
    visible = np.array([[True, True, False], [True, True, True]])
    np.testing.assert_allclose(
      self.errors('aflw', predicted, target, visible), [3 / 20, 3 / 20]
    )
    # Blocks lead; a prediction that is not finite counts as infinitely wrong.
    both = np.stack([predicted, np.full_like(predicted, np.inf)])
    got = self.errors('aflw', both, target, visible)
    self.assertEqual(got.shape, (2, 2))
    np.testing.assert_array_equal(got[1], [np.inf, np.inf])

  def test_golden_all_68_and_the_51_inner_ones(self):
    target = face_68()[None]
    predicted = target.copy()
    predicted[:, :17, 1] += 8.0  # the jaw alone is wrong
    size = math.hypot(40, 80)
    self.assertAlmostEqual(
      self.errors('w300', predicted, target)[0], 17 * 8 / 68 / size
    )
    self.assertEqual(self.errors('w300', predicted, target, first=17)[0], 0.0)

  def test_golden_six_points_in_pixels_of_the_photo(self):
    points = face_68()
    target = np.array(
      [
        points[36:42].mean(0),
        points[42:48].mean(0),
        points[30],
        points[48],
        (points[62] + points[66]) / 2,
        points[54],
      ]
    )
    predicted = points.copy()
    predicted[30] += [3, 4]  # 5 crop pixels = 10 of the photo, of 6 points
    self.assertAlmostEqual(self.errors('afw', predicted[None], target[None])[0], 10 / 6)
    hidden = np.array([[True, True, False, True, True, True]])
    self.assertEqual(self.errors('afw', predicted[None], target[None], hidden)[0], 0.0)

  def test_21_points_of_68(self):
    points = face_68()
    got = protocols.from_68(points, 'aflw21')
    self.assertEqual(got.shape, (21, 2))
    np.testing.assert_array_equal(got[0], points[17])  # iBUG 18, from 1
    np.testing.assert_allclose(got[7], points[36:42].mean(axis=0))
    np.testing.assert_array_equal(got[20], points[8])

  def test_no_landmark_that_counts_leaves_the_image_out(self):
    target, nothing = np.zeros((1, 6, 2)), np.zeros((1, 6), bool)
    self.assertTrue(
      np.isnan(self.errors('afw', np.zeros((1, 68, 2)), target, nothing)[0])
    )

  def test_labels_must_be_those_of_the_protocol(self):
    with self.assertRaisesRegex(ValueError, 'needs 68 landmarks; the labels have'):
      self.errors('aflw2000', np.zeros((1, 34, 2)), np.zeros((1, 34, 2)))
    with self.assertRaisesRegex(ValueError, '1 of 2 faces lack some'):
      visible = np.ones((2, 68), bool)
      visible[0, 5] = False
      self.errors('w300', np.zeros((2, 68, 2)), np.stack([face_68()] * 2), visible)


class SummaryTest(parameterized.TestCase):
  def test_golden(self):
    errors = np.array([0.02, 0.04, 0.06, 0.12, np.nan])
    yaw = np.array([0.0, 10, 45, -80, 0])
    got = protocols.summarize(PROTOCOLS['aflw2000'], errors, yaw)
    self.assertAlmostEqual(got['mean'], 0.06)
    self.assertAlmostEqual(got['headline'], (0.03 + 0.06 + 0.12) / 3)
    self.assertEqual((got['num_images'], got['num_without_labels']), (4, 1))
    self.assertEqual(got['failure_rate'], 0.25)
    self.assertAlmostEqual(got['auc'], (5 / 7 + 3 / 7 + 1 / 7 + 0) / 4)
    plain = protocols.summarize(PROTOCOLS['w300'], errors, yaw * np.nan)
    self.assertIsNone(plain['yaw_bins'])
    self.assertAlmostEqual(plain['headline'], 0.06)

  def test_auc_and_failures_are_those_of_scipys_distribution(self):
    errors = np.random.default_rng(0).gamma(3, 0.02, 500)
    got = protocols.summarize(PROTOCOLS['w300'], errors, np.zeros(500))
    cdf = stats.ecdf(errors).cdf
    grid = np.linspace(0, 0.08, 100_001)
    area = integrate.trapezoid(cdf.evaluate(grid), grid) / 0.08
    # A step function by trapezia: off by at most a step's height times a cell.
    self.assertAlmostEqual(got['auc'], area, places=4)
    self.assertAlmostEqual(got['failure_rate'], 1 - cdf.evaluate(0.08))

  def test_nothing_to_average(self):
    with self.assertRaisesRegex(ValueError, 'No image'):
      protocols.summarize(PROTOCOLS['w300'], np.full(3, np.nan), np.zeros(3))

  def test_pose_errors_golden(self):
    target = np.array([[0.0, 10, 0], [0, 100, 0], [np.nan, 0, 0], [5, -98, 3]])
    predicted = np.array([[2.0, 14, 0], [0, 0, 0], [0, 0, 0], [5, -90, 359]])
    got = protocols.pose_errors(predicted, target)
    self.assertEqual(
      got,
      {
        'pitch': 1.0,
        'yaw': 6.0,
        'roll': 2.0,
        'mean': 3.0,
        'num_images': 2,
        'num_dropped': 1,
      },
    )
    self.assertTrue(
      math.isnan(protocols.pose_errors(predicted, target * np.nan)['yaw'])
    )

  @parameterized.parameters(
    (
      ('box', 'aflw'),
      'landmarks, the visible ones count; d = sqrt(w h) of the provided box; mean over '
      'images',
    ),
    (
      ('afw',),
      'up to 6 landmarks, the visible ones count; d = none: pixels of the original '
      'photo; mean over images',
    ),
    (
      ('w300_paper',),
      '68 landmarks, all count; d = the distance of the means of the six points of '
      'each eye; mean over images',
    ),
    (
      ('w300',),
      '68 landmarks, all count; d = the distance of the outer eye corners; mean over '
      'images',
    ),
    (
      ('aflw2000',),
      '68 landmarks, all count; d = sqrt(w h) of the box of the true landmarks; mean '
      'over yaw bins |yaw| <= 30, (30, 60], > 60 and over images',
    ),
    (
      ('aflw21',),
      '21 landmarks, the visible ones count; d = sqrt(w h) of the box of the true '
      'landmarks; mean over yaw bins |yaw| <= 30, (30, 60], > 60 and over images',
    ),
    (
      ('nme_box',),
      '68 landmarks, the visible ones count; d = sqrt(w h) of the box of the true '
      'landmarks; mean over images',
    ),
  )
  def test_statement_golden(self, names, statement):
    for name in names:
      self.assertEqual(PROTOCOLS[name].statement(), statement)

  def test_every_protocol_has_a_golden_statement(self):
    self.assertEqual(
      set(PROTOCOLS),
      {'box', 'aflw', 'afw', 'w300_paper', 'w300', 'aflw2000', 'aflw21', 'nme_box'},
    )


if __name__ == '__main__':
  absltest.main()
