"""Eqs. (6)-(7) by hand."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import mirror
from pifa_jax.learning import losses

# Eight camera entries, two identity, one expression.
_SCALES = np.array([0.5, 0.5, 0.5, 10, 0.5, 0.5, 0.5, 10, 4, 2, 8], np.float32)


class ParamLossTest(absltest.TestCase):
  def test_whitened_residual(self):
    update = np.zeros(11, np.float32)
    target = update.copy()
    target[[0, 3, 9]] = [1.0, 20.0, 6.0]  # 2, 2 and 3 scales
    loss = losses.param_loss(update, target, losses.param_weights(_SCALES, 'whitened'))
    np.testing.assert_allclose(loss, (4 + 4 + 9) / 2, rtol=1e-6)

  def test_squared_displacements_of_the_landmarks(self):
    displacements = np.arange(11, dtype=np.float32)
    weights = losses.param_weights(_SCALES, 'landmarks', displacements=displacements)
    np.testing.assert_array_equal(weights, displacements)

  def test_literal_reading(self):
    weights = losses.param_weights(_SCALES, 'literal', rotation_translation_ratio=0.25)
    np.testing.assert_allclose(weights, [4, 4, 4, 1, 4, 4, 4, 1, 0.25, 0.5, 0.125])

  def test_ratio_of_magnitudes(self):
    cameras = np.array(
      [[[1, -1, 1, 10], [1, -1, 1, 30]], [[3, 3, -3, 20], [-3, 3, 3, 20]]], np.float32
    )
    np.testing.assert_allclose(losses.rotation_translation_ratio(cameras), 2 / 20)

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, "eq6_mode='x'"):
      losses.param_weights(_SCALES, 'x')
    with self.assertRaisesRegex(ValueError, "needs the landmarks' displacements"):
      losses.param_weights(_SCALES, 'landmarks')
    with self.assertRaisesRegex(ValueError, 'needs rotation_translation_ratio'):
      losses.param_weights(_SCALES, 'literal')
    with self.assertRaises(ValueError):
      losses.param_loss(jnp.zeros(3), jnp.zeros(4), jnp.zeros(3))


class LandmarkLossTest(absltest.TestCase):
  def test_visible_landmarks_count(self):
    predicted = jnp.array([[0.0, 0], [1, 1], [5, 5]])
    target = jnp.array([[3.0, 4], [1, 2], [jnp.nan, jnp.nan]])
    visible = jnp.array([True, True, False])
    value, grad = jax.value_and_grad(losses.landmark_loss)(predicted, target, visible)
    np.testing.assert_allclose(value, (25 + 1) / 2)
    np.testing.assert_allclose(grad, [[-3, -4], [0, -1], [0, 0]])

  def test_hidden_landmarks_count_if_asked(self):
    predicted = jnp.array([[0.0, 0], [1, 1]])
    target = jnp.array([[3.0, 4], [1, 3]])
    visible = jnp.array([True, False])
    value, grad = jax.value_and_grad(losses.landmark_loss)(
      predicted, target, visible, 0.25
    )
    np.testing.assert_allclose(value, (25 + 0.25 * 4) / 2)
    np.testing.assert_allclose(grad, [[-3, -4], [0, -0.5]])

  def test_nothing_visible(self):
    points = jnp.full((3, 2), jnp.nan)
    self.assertEqual(losses.landmark_loss(points, points, jnp.zeros(3, bool)), 0)


class PairLossTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.points = np.random.default_rng(0).normal(size=(68, 2)).astype(np.float32)
    self.seen = np.ones(68, bool)

  def test_a_closing_lid(self):
    closed = self.points.copy()
    closed[37] += [3, 4]  # in the pairs with 41 and 18
    loss = losses.pair_loss(closed, self.points, self.seen)
    np.testing.assert_allclose(loss, 2 * 25 / 2, rtol=1e-5)

  def test_a_moved_face_costs_nothing(self):
    loss = losses.pair_loss(self.points + 7, self.points, self.seen)
    np.testing.assert_allclose(loss, 0, atol=1e-9)

  def test_a_pair_with_a_hidden_landmark(self):
    closed, seen = self.points.copy(), self.seen.copy()
    closed[37] += [3, 4]
    seen[41] = False
    loss = losses.pair_loss(closed, self.points, seen, 0.5)
    np.testing.assert_allclose(loss, 1.5 * 25 / 2, rtol=1e-5)
    unlabelled = self.points.copy()
    unlabelled[41] = np.nan
    grad = jax.grad(losses.pair_loss)(closed, unlabelled, seen)
    self.assertTrue(np.isfinite(grad).all())
    np.testing.assert_allclose(grad[37], [3, 4], rtol=1e-5)

  def test_both_sides_of_the_face_count_alike(self):
    mirrored = mirror.mirror_map(load_face_model('builtin-1'), 'ibug68').landmarks
    pairs = {frozenset(pair) for pair in losses.LANDMARK_PAIRS}
    self.assertEqual(
      pairs, {frozenset(int(mirrored[i]) for i in pair) for pair in pairs}
    )

  def test_other_landmarks_are_refused(self):
    with self.assertRaises(ValueError):
      losses.pair_loss(self.points[:34], self.points[:34], self.seen[:34])


if __name__ == '__main__':
  absltest.main()
