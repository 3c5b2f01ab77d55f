"""Tests of hair.py: where hair and hats are, and that each is drawn alone."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import hair
from tests.synthesis import faces

_NAMES = ('hair', 'long_hair', 'headwear')


class HairTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.skull = np.asarray(faces.model().mean_shape)
    anatomy = faces.anatomy()  # measured before anything is traced
    make = jax.jit(
      lambda key, values: hair.hair_and_headwear(
        jax.random.key(key),
        anatomy,
        jnp.asarray(faces.model().mean_shape),
        jnp.full(3, 0.1),
        faces.ingredients(values, _NAMES),
      )
    )

    def shells(key, **strengths):
      values = np.array([strengths.get(name, 0) for name in _NAMES], np.float32)
      mesh, hairline, opacity = jax.device_get(make(key, values))
      return *np.split(mesh.vertices, 2), hairline, opacity

    cls.shells = staticmethod(shells)

  def test_hair_surrounds_the_skull(self):
    shell, hat, _, opacity = self.shells(3, hair=1)
    self.assertTrue(np.isnan(hat).all())
    self.assertGreater(shell[:, 1].max(), self.skull[:, 1].max())
    self.assertLess(shell[:, 2].min(), self.skull[:, 2].min())
    self.assertEqual(opacity, 1)

  def test_long_hair_falls_lower_and_nothing_else(self):
    for key in range(4):
      short, hat, hairline, opacity = self.shells(key, hair=1)
      long, *rest = self.shells(key, hair=1, long_hair=1)
      self.assertLess(long[:, 1].min(), short[:, 1].min() - 0.1)
      for value, other in zip(rest, (hat, hairline, opacity), strict=True):
        np.testing.assert_array_equal(value, other)

  def test_a_hat_needs_no_hair(self):
    bald, _, hairline, opacity = self.shells(2)
    self.assertTrue(np.isnan(bald).all())
    self.assertLess(opacity, 1)
    shell, hat, *rest = self.shells(2, headwear=1)
    self.assertTrue(np.isnan(shell).all())
    self.assertGreater(hat[:, 1].max(), self.skull[:, 1].max())
    for value, other in zip(rest, (hairline, opacity), strict=True):
      np.testing.assert_array_equal(value, other)


if __name__ == '__main__':
  absltest.main()
