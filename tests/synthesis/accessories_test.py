"""Tests of accessories.py: where teeth, glasses and clothes are, and when."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import accessories
from tests.synthesis import faces

_NAMES = ('glasses', 'dark_glasses', 'clothes')


class AccessoriesTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.points = np.asarray(faces.model().mean_shape)[faces.anatomy().landmarks]
    shape = jnp.asarray(faces.model().mean_shape)

    @jax.jit
    def make(key, values):
      key, config = jax.random.key(key), faces.ingredients(values, _NAMES)
      frames, lenses = accessories.glasses(key, faces.anatomy(), shape, config)
      clothes = accessories.clothes(
        key, faces.anatomy(), jnp.full(3, 0.3), jnp.eye(3), jnp.eye(3), config
      )
      teeth = accessories.teeth(key, faces.anatomy(), shape)
      return {
        'frames': frames.vertices,
        'lenses': lenses.vertices,
        'through': lenses.through,
        'mirror': lenses.mirror,
        'clothes': clothes.vertices,
        'teeth': teeth.vertices,
      }

    def things(key, **strengths):
      values = np.array([strengths.get(name, 0) for name in _NAMES], np.float32)
      return jax.device_get(make(key, values))

    cls.things = staticmethod(things)

  def test_nothing_is_worn_at_probability_zero(self):
    found = self.things(0)
    for name in ('frames', 'lenses', 'clothes'):
      self.assertTrue(np.isnan(found[name]).all(), name)

  def test_lenses_are_before_the_eyes(self):
    for key in range(4):
      found = self.things(key, glasses=1)
      self.assertTrue(np.isnan(found['clothes']).all())
      left, right = np.split(found['lenses'], 2)
      for lens, eye in ((left, self.points[36:42]), (right, self.points[42:48])):
        middle = eye.mean(axis=0)
        self.assertTrue((lens[:, :2].min(axis=0) < middle[:2]).all())
        self.assertTrue((lens[:, :2].max(axis=0) > middle[:2]).all())
        self.assertGreater(lens[0, 2], eye[:, 2].max())
      # A frame ends above the mouth and reaches back to the ears.
      self.assertGreater(found['frames'][:, 1].min(), self.points[48:, 1].max())
      self.assertLess(found['frames'][:, 2].min(), self.points[[0, 16], 2].max())
      self.assertGreaterEqual(found['through'].min(), 0.75)

  def test_dark_glasses_let_little_light_through(self):
    for key in range(4):
      clear, dark = (
        self.things(key, glasses=1),
        self.things(key, glasses=1, dark_glasses=1),
      )
      # 0.2 of the light at most, by a tint of exp(0.3) to a standard deviation.
      self.assertLess(dark['through'].mean(), 0.5)
      self.assertLess(dark['through'].max(), clear['through'].min())
      np.testing.assert_array_equal(dark['clothes'], clear['clothes'])
      np.testing.assert_array_equal(dark['teeth'], clear['teeth'])

  def test_clothes_are_below_the_chin(self):
    bare = self.things(1)
    for key in range(4):
      found = self.things(key, clothes=1)
      self.assertTrue(np.isfinite(found['clothes']).all())
      self.assertLess(found['clothes'][:, 1].max(), self.points[8, 1])
      self.assertTrue(np.isnan(found['frames']).all())
    np.testing.assert_array_equal(self.things(1, clothes=1)['teeth'], bare['teeth'])

  def test_teeth_are_behind_the_lips(self):
    teeth, lips = self.things(0)['teeth'], self.points[60:]
    # The middle of the arches is behind the middle of the lips.
    middle = teeth[np.abs(teeth[:, 0]) < 0.01]
    self.assertLen(middle, 4)
    self.assertLess(middle[:, 2].max(), lips[[2, 6], 2].min())
    self.assertLess(middle[:, 1].min(), lips[:, 1].min())
    self.assertGreater(middle[:, 1].max(), lips[:, 1].max())


if __name__ == '__main__':
  absltest.main()
