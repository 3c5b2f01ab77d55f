"""Tests of metrics.py against values worked out by hand."""

import math

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.evaluation import metrics


class MetricsTest(parameterized.TestCase):
  def test_pixel_error_and_nme_golden(self):
    target = jnp.array([[0.0, 0.0], [10.0, 10.0], [jnp.nan, jnp.nan]])
    predicted = jnp.array([[3.0, 4.0], [10.0, 9.0], [50.0, 50.0]])
    visible = jnp.array([True, True, False])
    # (5 + 1) / 2 = 3 px; a 20 x 45 box has size 30.
    self.assertEqual(metrics.mean_average_pixel_error(predicted, target, visible), 3.0)
    self.assertAlmostEqual(
      float(
        metrics.normalized_mean_error(predicted, target, visible, jnp.sqrt(20.0 * 45.0))
      ),
      0.1,
      places=6,
    )

  def test_nothing_visible_is_nan_and_adds_nothing_to_a_sum(self):
    points, hidden = jnp.ones((4, 2)), jnp.zeros(4, bool)
    labels = points * jnp.nan
    self.assertTrue(
      np.isnan(metrics.mean_average_pixel_error(points, labels, hidden))
      and np.isnan(metrics.normalized_mean_error(points, labels, hidden, 10.0))
    )
    self.assertEqual(metrics.summable_error(points, labels, hidden, 10.0), 0.0)
    gradient = jax.grad(metrics.mean_average_pixel_error)(points, labels, hidden)
    np.testing.assert_array_equal(gradient, 0.0)

  @parameterized.parameters(np.nan, np.inf)
  def test_a_prediction_that_is_not_finite_is_infinitely_wrong(self, value):
    predicted = jnp.array([[1.0, 1.0], [value, 1.0]])
    error = lambda *visible: metrics.normalized_mean_error(
      predicted, jnp.zeros((2, 2)), jnp.array(visible), 10.0
    )
    self.assertEqual(error(True, True), np.inf)
    np.testing.assert_allclose(error(True, False), np.sqrt(2) / 10, rtol=1e-6)

  def test_gradient_is_finite_where_the_error_is_zero(self):
    target = jnp.array([[1.0, 2.0], [3.0, 4.0], [jnp.nan, 0.0]])
    visible = jnp.array([True, True, False])
    gradient = jax.grad(metrics.mean_average_pixel_error)(
      jnp.array([[1.0, 2.0], [3.0, 6.0], [0.0, 0.0]]), target, visible
    )
    np.testing.assert_allclose(gradient, [[0, 0], [0, 0.5], [0, 0]])

  def test_failure_rate_is_strict(self):
    # Of the four faces that have an error two are above the threshold.
    errors = np.array([0.01, 0.08, 0.0801, np.inf, np.nan])
    self.assertEqual(metrics.failure_rate(errors), 2 / 4)
    self.assertEqual(metrics.failure_rate(errors, threshold=0.005), 1.0)

  def test_block_means_leave_out_and_count_faces_without_an_error(self):
    errors = np.array([[0.1, np.nan, 0.3], [0.2, np.nan, np.inf]])
    means, left_out = metrics.block_means(errors)
    np.testing.assert_allclose(means, [0.2, np.inf])
    self.assertEqual(left_out, 1)
    # Without such faces it is the mean, to the last bit.
    errors = np.random.default_rng(0).random((7, 100))
    means, left_out = metrics.block_means(errors)
    np.testing.assert_array_equal(means, errors.mean(axis=1))
    self.assertEqual(left_out, 0)
    means, left_out = metrics.block_means(np.full((2, 3), np.nan))
    np.testing.assert_array_equal(means, [np.nan, np.nan])
    self.assertEqual(left_out, 3)

  def test_auc_is_the_area_under_the_curve(self):
    errors = np.array([0.02, 0.05, 0.09, 0.2])
    # (0.8 + 0.5 + 0.1 + 0) / 4
    self.assertAlmostEqual(metrics.ced_auc(errors, 0.1), 0.35, places=12)
    # Against the distribution itself, integrated on a fine grid.
    grid = (np.arange(20_000) + 0.5) * 0.1 / 20_000
    area = np.mean([np.mean(errors <= x) for x in grid])
    # Each of four steps is off by a cell of the grid at most: 4 / 4 / 20,000.
    self.assertAlmostEqual(metrics.ced_auc(errors, 0.1), area, places=4)
    self.assertEqual(metrics.ced_auc(np.array([np.nan, np.inf]), 0.1), 0.0)

  def test_no_faces(self):
    for function in (metrics.failure_rate, lambda e: metrics.ced_auc(e, 0.1)):
      for errors in (np.zeros(0), np.full(2, np.nan)):
        with self.assertRaisesRegex(ValueError, 'no faces'):
          function(errors)
    with self.assertRaisesRegex(ValueError, 'limit=0'):
      metrics.ced_auc(np.ones(3), 0)

  def test_visibility_scores_golden(self):
    #                    hit   hit   false miss  right right
    predicted = np.array([[1, 1, 1, 0, 0, 0]], bool)
    target = np.array([[1, 1, 0, 1, 0, 0]], bool)
    scores = metrics.visibility_scores(predicted, target)
    self.assertAlmostEqual(scores['accuracy'], 4 / 6)
    self.assertAlmostEqual(scores['precision'], 2 / 3)
    self.assertAlmostEqual(scores['recall'], 2 / 3)
    self.assertAlmostEqual(scores['f1'], 4 / 6)
    self.assertTrue(
      math.isnan(
        metrics.visibility_scores(np.zeros(3, bool), np.ones(3, bool))['precision']
      )
    )

  def test_yaw_bins_golden(self):
    means = metrics.yaw_bin_means(
      np.array([1.0, 3.0, 5.0, 7.0, 20.0]), np.array([0.0, -30.0, 31.0, -60.0, 75.0])
    )
    self.assertEqual(
      means, {'0-30': 2.0, '30-60': 6.0, '>60': 20.0, 'mean of bins': 28 / 3}
    )
    means = metrics.yaw_bin_means(
      np.array([1.0, 5.0, np.nan]), np.array([0.0, 50.0, 10.0])
    )
    self.assertTrue(math.isnan(means['>60']))
    self.assertEqual(means['mean of bins'], 3.0)


if __name__ == '__main__':
  absltest.main()
