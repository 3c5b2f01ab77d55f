"""Tests of colors.py: known colours, the range of skin."""

from absl.testing import absltest
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import colors
from tests.synthesis.faces import many


class ColorsTest(absltest.TestCase):
  def test_lab_of_known_colours(self):
    # CIE Lab (D65) of sRGB white, mid grey 119 and pure red, from their definition.
    lab = jnp.array([[100.0, 0, 0], [50.0, 0, 0], [53.24, 80.09, 67.2]])
    np.testing.assert_allclose(
      colors.lab_to_linear(lab), [[1, 1, 1], [0.1842] * 3, [1, 0, 0]], atol=5e-3
    )

  def test_skin_covers_the_human_range(self):
    tones = many(lambda d: colors.skin(d, 1.0))
    light = tones @ colors.LUMINANCE
    self.assertLess(light.min(), 0.08)
    self.assertGreater(light.max(), 0.42)
    self.assertTrue(np.all(tones[:, 0] > tones[:, 2]))  # never blue
    self.assertLess(np.ptp(many(lambda d: colors.skin(d, 0.0)), axis=0).max(), 1e-6)


if __name__ == '__main__':
  absltest.main()
