"""Tests of draws.py: moments, bounds and odds of the stream."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis.draws import Draws
from tests.synthesis.faces import many


class DrawsTest(absltest.TestCase):
  def test_moments_and_bounds(self):
    got = many(lambda d: jnp.stack([d.uniform(2, 5), d.normal(1, 2)]), 4096)
    self.assertTrue(np.all((got[:, 0] >= 2) & (got[:, 0] < 5)))
    # 4,096 numbers: standard errors of 0.014 and 0.03; five of them.
    np.testing.assert_allclose(got.mean(axis=0), [3.5, 1.0], atol=0.16)
    np.testing.assert_allclose(got[:, 1].std(), 2.0, atol=0.12)

  def test_chance_and_choice(self):
    got = many(
      lambda d: jnp.stack(
        [d.chance(0.0), d.chance(1.0), d.chance(0.25), d.choice((1.0, 0.0, 3.0))]
      ),
      4096,
    )
    self.assertEqual(got[:, 0].max(), 0)
    self.assertEqual(got[:, 1].min(), 1)
    np.testing.assert_allclose(got[:, 2].mean(), 0.25, atol=0.04)
    np.testing.assert_allclose(
      np.bincount(got[:, 3], minlength=3) / 4096, [0.25, 0, 0.75], atol=0.04
    )

  def test_toomany_numbers_are_refused(self):
    with self.assertRaisesRegex(ValueError, 'stream has 4 numbers, 5 are wanted'):
      Draws(jax.random.key(0), 4).uniform(shape=(5,))


if __name__ == '__main__':
  absltest.main()
