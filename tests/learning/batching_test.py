"""Augmentation of one crop: every change alone, its bounds, no other beside it."""

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.learning import batching

_SIZE = 40
# Far from -1 and 1, so that nothing is clipped.
_IMAGE = np.random.default_rng(0).uniform(-0.3, 0.3, (_SIZE, _SIZE, 3)).astype('f')
_MEAN = _IMAGE.mean(axis=(0, 1))


def _augment(count, **strengths):
  """(count, S, S, 3): the image under as many keys, with these changes alone."""
  config = batching.AugmentConfig(**strengths)
  run = jax.jit(
    jax.vmap(lambda key: batching.augment_image(key, jnp.asarray(_IMAGE), config))
  )
  return np.asarray(run(jax.random.split(jax.random.key(0), count)))


class AugmentImageTest(parameterized.TestCase):
  def test_no_strength_no_change(self):
    np.testing.assert_array_equal(_augment(3), np.stack([_IMAGE] * 3))

  def test_brightness_adds_one_number(self):
    offset = _augment(100, brightness=0.4) - _IMAGE
    self.assertLess(np.ptp(offset, axis=(1, 2, 3)).max(), 1e-6)
    offset = offset.mean(axis=(1, 2, 3))
    # 100 uniform draws miss the outer tenth of an end once in 150 times; these do not.
    self.assertBetween(offset.min(), -0.4, -0.36)
    self.assertBetween(offset.max(), 0.36, 0.4)

  def _gains(self, changed):
    """(n, 3) factors about each channel's mean, which must be the same everywhere."""
    gains = np.einsum('nhwc,hwc->nc', changed - _MEAN, _IMAGE - _MEAN) / np.sum(
      (_IMAGE - _MEAN) ** 2, axis=(0, 1)
    )
    # float32 of numbers below 1, about a mean of 1,600 of them.
    np.testing.assert_allclose(
      changed, _MEAN + gains[:, None, None] * (_IMAGE - _MEAN), atol=3e-6
    )
    return gains

  def test_contrast_scales_all_channels_about_their_means(self):
    gains = self._gains(_augment(100, contrast=0.5))
    # float32 sums of 1,600 products.
    np.testing.assert_allclose(gains, gains[:, :1].repeat(3, axis=1), rtol=1e-5)
    self.assertBetween(gains.min(), 1 / 1.5, 1 / 1.5 + 0.05)
    self.assertBetween(gains.max(), 1.5 - 0.1, 1.5)

  def test_color_scales_every_channel_by_its_own_factor(self):
    gains = self._gains(_augment(100, color=0.25))
    self.assertBetween(gains.min(), 0.8, 0.82)
    self.assertBetween(gains.max(), 1.22, 1.25)
    # Independent: correlations of 100 draws have a deviation of 0.1.
    self.assertLess(np.abs(np.corrcoef(np.log(gains).T) - np.eye(3)).max(), 0.4)

  def test_colors_are_clipped(self):
    changed = _augment(20, brightness=2.0)
    self.assertEqual(changed.min(), -1.0)
    self.assertEqual(changed.max(), 1.0)

  def test_occlusion_is_one_grey_rectangle(self):
    for changed in _augment(50, occlusion=1.0):
      hidden = (changed != _IMAGE).any(axis=-1)
      rows, columns = hidden.any(axis=1), hidden.any(axis=0)
      # Its centre is in the crop and its half sides are at least 0.05 * 40 = 2.
      self.assertTrue(hidden.any())
      np.testing.assert_array_equal(hidden, rows[:, None] & columns[None])
      self.assertEqual(np.ptp(changed[hidden]), 0.0)
      self.assertBetween(changed[hidden].max(), -1.0, 1.0)
      # Half sides of at most 0.2 * 40 = 8.
      for side in (rows, columns):
        self.assertBetween(side.sum(), 2, 16)

  def test_occlusion_is_as_frequent_as_asked(self):
    hit = (_augment(400, occlusion=0.3) != _IMAGE).any(axis=(1, 2, 3))
    # The deviation of 400 draws is 0.023.
    self.assertBetween(hit.mean(), 0.22, 0.38)


if __name__ == '__main__':
  absltest.main()
