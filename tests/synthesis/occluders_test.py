"""Tests of occluders.py: an object covers one patch, and only if chance wants one."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import occluders
from tests.synthesis import faces


class OccluderTest(absltest.TestCase):
  def test_the_object_covers_a_patch_and_nothing_else(self):
    size = 64
    image = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (size, size, 3)))
    face = jnp.array([32.0, 32.0, 10.0, 12.0])
    draw = jax.jit(
      lambda key, values: occluders.occlude(
        jax.random.key(key),
        image,
        face,
        jnp.array([0.3, 0.2, 0.1]),
        jnp.zeros((size, size, 3)),
        faces.ingredients(values, ('occluder',)),
      )
    )
    v, u = np.indices((size, size))
    met = 0
    for key in range(12):
      np.testing.assert_array_equal(draw(key, np.zeros(1, np.float32)), image)
      found = np.asarray(draw(key, np.ones(1, np.float32)))
      covered = (found != image).any(axis=-1)
      self.assertTrue(np.isfinite(found).all())
      # A microphone's stick goes on to the edge of the image.
      self.assertLess(covered.mean(), 0.6)
      if covered.any():
        met += np.hypot(u - 32, v - 32)[covered].min() < 24
    # 0.65 +- 0.5 of the face below its centre: most objects touch the face.
    self.assertGreater(met, 8)


if __name__ == '__main__':
  absltest.main()
