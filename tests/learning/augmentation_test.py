"""Augmentation of one crop: every change alone, its bounds, no other beside it."""

import io

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from pifa_jax.learning import augmentation, photo_faults

_SIZE = 40
# Far from -1 and 1, so that nothing is clipped.
_IMAGE = np.random.default_rng(0).uniform(-0.3, 0.3, (_SIZE, _SIZE, 3)).astype('f')
_MEAN = _IMAGE.mean(axis=(0, 1))
_LATER = ('gamma', 'grey', 'random_conv', 'blur', 'noise', 'jpeg', 'erase', 'edge_cut')


def _augment(count, image=_IMAGE, **strengths):
  """(count, S, S, 3): the image under as many keys, with these changes alone."""
  config = augmentation.AugmentConfig(**strengths)
  run = jax.jit(
    jax.vmap(lambda key: augmentation.augment_image(key, jnp.asarray(image), config))
  )
  return np.asarray(run(jax.random.split(jax.random.key(0), count)))


# Means of four crops as the version without the later changes made them.
_EARLIER = [0.0125738978, 0.0869632988, 0.1365195133, 0.0840127657]


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

  def test_grey_has_one_color(self):
    image = np.stack([_IMAGE[..., 0], 0.5 * _IMAGE[..., 1], -_IMAGE[..., 2]], axis=-1)
    luma = image @ np.array([0.299, 0.587, 0.114])
    toned = 0
    for changed in _augment(60, image, grey=1.0):
      # Of a tone, every channel is the luma times a number, from black = -1.
      ratio = (changed + 1) / (luma[..., None] + 1)
      self.assertLess(np.ptp(ratio, axis=(0, 1)).max(), 1e-5)
      np.testing.assert_allclose(ratio[..., 0], 1.0, rtol=1e-5)
      toned += ratio[0, 0, 2] < 0.99
      self.assertGreater(ratio[0, 0, 1], ratio[0, 0, 2] - 1e-5)
    self.assertBetween(toned, 8, 30)
    same = (_augment(400, image, grey=0.3) == image).all(axis=(1, 2, 3))
    self.assertBetween(same.mean(), 0.62, 0.78)

  def test_grey_stays_grey_in_noise_and_a_small_file(self):
    strengths = {'color': 0.5, 'erase': 1.0, 'noise': 0.2, 'random_conv': 1.0}
    for changed in _augment(20, grey=1.0, jpeg=1.0, blur=0.5, **strengths):
      up = changed + 1
      # Toned or not, the channels are proportional but for what JPEG does to a tone.
      for channel in (1, 2):
        share = (up[..., channel] * up[..., 0]).sum() / (up[..., 0] ** 2).sum()
        self.assertLess(np.abs(up[..., channel] - share * up[..., 0]).max(), 0.3)

  def test_gamma_keeps_black_and_white_and_the_order(self):
    ramp = np.linspace(-1, 1, 64, dtype=np.float32)
    image = np.broadcast_to(ramp, (64, 64))[..., None].repeat(3, axis=2)
    found = _augment(100, image, gamma=1.0)[:, 0, :, 0]
    np.testing.assert_allclose(found[:, [0, -1]], [[-1, 1]] * 100, atol=1e-3)
    self.assertGreater(np.diff(found, axis=1).min(), 0.0)
    exponents = np.log((found[:, 20] + 1) / 2) / np.log((ramp[20] + 1) / 2)
    self.assertBetween(exponents.min(), 0.5 - 1e-4, 0.55)
    self.assertBetween(exponents.max(), 1.85, 2 + 1e-4)

  def test_blur_removes_detail_and_keeps_the_mean(self):
    found = _augment(100, blur=1.0)
    detail = np.abs(np.diff(found, axis=2)).mean(axis=(1, 2, 3))
    before = np.abs(np.diff(_IMAGE, axis=1)).mean()
    self.assertLess(np.median(detail), 0.7 * before)
    # Means of 1,600 numbers, of which the edges have other shares.
    np.testing.assert_allclose(found.mean(axis=(1, 2)), [_MEAN] * 100, atol=0.02)
    flat = np.full((_SIZE, _SIZE, 3), 0.37, np.float32)
    np.testing.assert_allclose(_augment(50, flat, blur=1.0), 0.37, atol=1e-5)

  def test_blur_moves_nothing(self):
    # A blob stays where it is, to a part of a pixel.
    v, u = np.mgrid[:64, :64]
    blob = np.exp(-((u - 25.0) ** 2 + (v - 37.0) ** 2) / 50).astype(np.float32)
    found = _augment(100, blob[..., None].repeat(3, axis=2), blur=1.0)[..., 0]
    total = found.sum(axis=(1, 2))
    place = [(found * grid).sum(axis=(1, 2)) / total for grid in (u, v)]
    np.testing.assert_allclose(place, [[25.0] * 100, [37.0] * 100], atol=0.3)

  def test_noise_has_the_deviation_that_is_drawn(self):
    noise = _augment(200, noise=0.2) - _IMAGE
    deviation = noise.std(axis=(1, 2, 3))
    self.assertBetween(deviation.max(), 0.19, 0.21)
    self.assertBetween(np.median(deviation), 0.07, 0.13)
    self.assertLess(np.abs(noise.mean(axis=(1, 2, 3)) / deviation).max(), 0.2)
    # Unlike from pixel to pixel, and from sample to sample.
    a, b = noise[0, :, :-1, 0].ravel(), noise[0, :, 1:, 0].ravel()
    self.assertLess(abs(np.corrcoef(a, b)[0, 1]), 0.1)
    self.assertLess(abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]), 0.1)

  def test_erase_hides_up_to_three_parts(self):
    hidden = (_augment(300, erase=1.0) != _IMAGE).any(axis=-1)
    share = hidden.mean(axis=(1, 2))
    # The least half sides are 0.05 of the crop, the greatest 0.22, for three of them;
    # a centre in a corner leaves a quarter.
    self.assertGreater((share > 0).mean(), 0.97)
    self.assertLess(share.max(), 3 * 0.44**2 + 0.02)
    self.assertGreater(np.median(share), 0.02)
    hit = (_augment(400, erase=0.3) != _IMAGE).any(axis=(1, 2, 3))
    self.assertBetween(hit.mean(), 0.22, 0.38)

  def test_random_conv_is_local_and_keeps_the_exposure(self):
    image = _IMAGE.copy()
    image[20, 20] += 0.2
    plain = _augment(40, random_conv=1.0)
    moved = _augment(40, image, random_conv=1.0) - plain
    # Mean and deviation of the whole crop are a little others, too.
    far = np.abs(np.delete(moved, np.s_[18:23], axis=1)).max(axis=(1, 2, 3))
    near = np.abs(moved[:, 18:23, 18:23]).max(axis=(1, 2, 3))
    self.assertGreater((near / far).min(), 5)
    np.testing.assert_allclose(plain.mean(axis=(1, 2, 3)), _IMAGE.mean(), atol=0.02)
    self.assertLess(plain.std(axis=(1, 2, 3)).max(), 1.1 * _IMAGE.std())
    self.assertGreater(np.abs(plain - _IMAGE).max(axis=(1, 2, 3)).min(), 1e-4)
    flat = np.full((_SIZE, _SIZE, 3), 0.37, np.float32)
    self.assertTrue(np.isfinite(_augment(5, flat, random_conv=1.0)).all())

  def test_edge_cut_is_a_grey_stripe_along_one_side(self):
    sides = set()
    for changed in _augment(60, edge_cut=1.0):
      grey = (np.abs(changed - (128 / 127.5 - 1)) < 1e-6).all(axis=-1)
      rows, columns = grey.all(axis=1), grey.all(axis=0)
      self.assertNotEqual(rows.any(), columns.any())
      stripe = rows if rows.any() else columns
      self.assertBetween(stripe.mean(), 0.02, 0.41)
      self.assertNotEqual(stripe[0], stripe[-1])
      sides.add((bool(rows.any()), bool(stripe[0])))
      # At most one row is mixed; the rest is as it was.
      same = (changed == _IMAGE).all(axis=-1)
      kept = same.all(axis=1) if rows.any() else same.all(axis=0)
      self.assertGreaterEqual((kept | stripe).sum(), _SIZE - 1)
    self.assertLen(sides, 4)

  @parameterized.parameters(*_LATER)
  def test_a_change_leaves_the_draws_of_the_others(self, name):
    # What earlier runs drew stays what it was, whatever is switched on beside it.
    flat = np.zeros((_SIZE, _SIZE, 3), np.float32)
    off = np.asarray(_augment(30, flat, brightness=0.5))
    on = np.asarray(_augment(30, flat, brightness=0.5, **{name: 0.02}))
    close = np.abs(np.median(on - off, axis=(1, 2, 3))) < 0.02
    self.assertGreater(close.mean(), 0.85)

  def test_the_draws_of_earlier_versions(self):
    config = augmentation.AugmentConfig(
      brightness=0.2, contrast=0.3, color=0.2, occlusion=0.7
    )
    found = jax.vmap(
      lambda key: augmentation.augment_image(key, jnp.asarray(_IMAGE), config)
    )(jax.random.split(jax.random.key(3), 4))
    # Computed before the later changes were added.
    np.testing.assert_allclose(
      np.asarray(found, np.float64).mean(axis=(1, 2, 3)), _EARLIER, atol=1e-6
    )


class JpegTest(absltest.TestCase):
  def test_it_is_what_pillow_does(self):
    v, u = np.mgrid[:48, :48]
    wave = 127 + 60 * np.sin(u / 5) * np.cos(v / 7)
    image = np.stack([wave, 0.6 * wave + 30, 255 - wave], axis=-1)
    image += np.random.default_rng(0).normal(0, 15, image.shape)
    image = np.clip(np.round(image), 0, 255).astype(np.uint8)
    for quality in (10, 30, 60):
      file = io.BytesIO()
      Image.fromarray(image).save(file, 'JPEG', quality=quality, subsampling='4:2:0')
      wanted = np.asarray(Image.open(file)).astype(float)
      found = photo_faults.jpeg_traces(jnp.asarray(image / 127.5 - 1, 'f'), quality)
      found = (np.asarray(found) + 1) * 127.5
      luma = lambda x: x @ photo_faults.LUMA
      # Pillow rounds between the stages, and enlarges the colours more smoothly.
      loss = np.abs(luma(wanted - image)).mean()
      self.assertLess(np.abs(luma(found - wanted)).mean(), 0.25 * loss)
      self.assertLess(
        np.abs(found - wanted).mean(), 0.5 * np.abs(wanted - image).mean()
      )

  def test_every_block_is_on_its_own(self):
    image = np.repeat(_IMAGE, 1, axis=0)
    moved = image.copy()
    moved[:16, :16] += 0.3
    found = [
      np.asarray(photo_faults.jpeg_traces(jnp.asarray(x), 30)) for x in (image, moved)
    ]
    changed = (found[0] != found[1]).any(axis=-1)
    self.assertTrue(changed[:16, :16].any())
    changed[:16, :16] = False
    self.assertFalse(changed.any())


if __name__ == '__main__':
  absltest.main()
