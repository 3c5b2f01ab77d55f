"""Tests of backgrounds.py: strength, photos and the part that a background shows."""

from absl.testing import absltest
import jax
import numpy as np

from pifa_jax.synthesis import backgrounds
from tests.synthesis.faces import Strength


class BackgroundsTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    keys = jax.random.split(jax.random.key(3), 200)
    drawn = jax.jit(
      lambda photos, share, strength: jax.lax.map(
        lambda key: backgrounds.background(key, 24, strength, photos, Strength(share)),
        keys,
      )
    )

    def draw(photos, share, strength=1.0):
      return np.asarray(drawn(photos, np.float32(share), np.float32(strength)))

    cls.draw = staticmethod(draw)

  def test_as_many_photos_as_wanted_and_the_rest_as_before(self):
    # Of no colour that anything is drawn with.
    loud = np.zeros((2, 64, 64, 3), np.uint8)
    loud[0, ..., 0], loud[1, ..., 2] = 255, 255
    drawn = self.draw(loud, 0.0)
    mixed = self.draw(loud, 0.4)
    kept = (mixed == drawn).all(axis=(1, 2, 3))
    # 200 backgrounds: a standard error of 0.035; three of them.
    np.testing.assert_allclose(kept.mean(), 0.6, atol=0.1)
    new = mixed[~kept]
    self.assertLess(np.ptp(new, axis=(1, 2)).max(), 1e-5)  # parts of one colour
    red, green, blue = new.mean(axis=(1, 2)).T
    self.assertEqual(np.abs(green).max(), 0)
    self.assertTrue(np.all((red > 0) != (blue > 0)))
    np.testing.assert_allclose((red > 0).mean(), 0.5, atol=0.2)

  def test_strength_blends_with_plain_grey(self):
    photos = np.zeros((2, 64, 64, 3), np.uint8)
    full = self.draw(photos, 0.0)
    np.testing.assert_array_equal(self.draw(photos, 0.0, 0.0), np.float32(0.2))
    np.testing.assert_allclose(
      self.draw(photos, 0.0, 0.5), 0.1 + full / 2, rtol=1e-5, atol=1e-6
    )

  def test_a_part_is_where_the_photo_has_it(self):
    # Every pixel names its column and row in linear light.
    side = 64
    column, row = np.meshgrid(np.arange(side), np.arange(side))
    linear = np.stack([column, row, np.full_like(row, side)], axis=-1) / side
    photos = np.uint8(np.round(255 * linear ** (1 / 2.2)))[None].repeat(2, axis=0)
    parts = self.draw(photos, 1.0)
    parts = side * parts / parts[..., 2:]  # no matter how bright
    columns, rows = parts[..., 0], parts[..., 1]
    across = np.diff(columns, axis=2)[:, :, 2:-2]
    down = np.diff(rows, axis=1)[:, 2:-2]
    np.testing.assert_allclose(np.ptp(rows, axis=2).max(), 0, atol=1e-3)
    np.testing.assert_allclose(
      np.abs(across).mean((1, 2)), down.mean((1, 2)), rtol=0.05
    )
    sizes = 24 * down.mean((1, 2)) / side
    self.assertBetween(sizes.min(), 0.36, 0.5)
    self.assertBetween(sizes.max(), 0.9, 1.02)
    np.testing.assert_allclose((across.mean((1, 2)) < 0).mean(), 0.5, atol=0.1)


if __name__ == '__main__':
  absltest.main()
