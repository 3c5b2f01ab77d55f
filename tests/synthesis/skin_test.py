"""Tests of skin.py: which vertices and which traits each strength changes."""

import dataclasses
import functools

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import skin
from pifa_jax.synthesis.ingredients import Ingredients
from tests.synthesis import faces

_NAMES = ('skin_detail', 'make_up', 'beard')


@functools.cache
def _person():
  return jax.device_get(
    jax.jit(lambda: skin.random_complexion(jax.random.key(0), Ingredients()))()
  )


class ComplexionTest(absltest.TestCase):
  def test_the_strengths_change_their_own_traits_alone(self):
    draw = jax.jit(
      lambda tone, gaze: skin.random_complexion(
        jax.random.key(3), Ingredients(skin_tone=tone, gaze=gaze)
      )
    )
    traits = lambda *strengths: dataclasses.asdict(draw(*strengths))
    base = traits(0.0, 0.0)
    changed = lambda other: {
      name for name, value in other.items() if not np.array_equal(value, base[name])
    }
    np.testing.assert_array_equal(base['gaze'], 0)
    self.assertEqual(changed(traits(0.0, 20.0)), {'gaze'})
    # Hair and irises depend on the tone: dark skin mostly goes with dark hair.
    tone = changed(traits(1.0, 0.0))
    self.assertIn('skin', tone)
    self.assertLessEqual(tone, {'skin', 'hair', 'beard', 'brow_color', 'iris'})


class VertexAlbedoTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.fields = faces.anatomy().fields
    person = _person()
    color = jax.jit(
      lambda key, values: skin.vertex_albedo(
        jax.random.key(key), person, faces.anatomy(), faces.ingredients(values, _NAMES)
      )
    )
    cls.color = staticmethod(
      lambda key, **strengths: jax.device_get(
        color(key, np.array([strengths.get(name, 0) for name in _NAMES], np.float32))
      )
    )

  def changed(self, **strengths):
    """(Q,) vertices whose colour changes for any of 16 keys; the gloss never does."""
    found = np.zeros(len(self.fields['lips']), bool)
    for key in range(16):
      color, gloss = self.color(key)
      other, other_gloss = self.color(key, **strengths)
      # What is covered by another colour in full is so to rounding: a + (b - a).
      found |= (np.abs(color - other) > 1e-6).any(axis=1)
      np.testing.assert_array_equal(gloss, other_gloss)
    return found

  def test_detail_leaves_the_inside_of_the_mouth_alone(self):
    changed = self.changed(skin_detail=1)
    inside = self.fields['mouth_inside'] == 1
    self.assertFalse(changed[inside].any())
    self.assertGreater(changed[~inside].mean(), 0.95)

  def test_make_up_is_on_lips_lids_and_lashes(self):
    names = ('lips', 'seam', 'lid', 'lashes_upper', 'lashes_lower')
    painted = np.max([self.fields[name] for name in names], axis=0)
    changed = self.changed(make_up=1)
    self.assertFalse(changed[painted == 0].any())
    # Vertices of the inside of the mouth and of nostrils are painted over again.
    skin = self.fields['mouth_inside'] == 0
    for name in names:
      self.assertGreater(changed[skin & (self.fields[name] > 0.5)].mean(), 0.9, name)

  def test_a_beard_is_where_beards_grow(self):
    grown = np.max(
      [self.fields[name] for name in ('beard', 'moustache', 'goatee')], axis=0
    )
    changed = self.changed(beard=1)
    self.assertFalse(changed[grown == 0].any())
    self.assertGreater(changed[grown > 0.2].mean(), 0.95)


class SamplesTest(absltest.TestCase):
  def test_the_iris_follows_the_gaze(self):
    eyes, person = jnp.asarray(faces.anatomy().eyes[:, :2]), _person()
    color = jax.jit(
      lambda gaze: skin.eyeball_color(
        eyes + jnp.array([4.0, 0.0]),
        dataclasses.replace(person, gaze=gaze),
        faces.anatomy(),
      )
    )
    # 4 mm beside the middle: the pupil when one looks there, else the iris.
    self.assertLess(float(color(jnp.array([4.0, 0.0])).max()), 0.02)
    self.assertGreater(float(color(jnp.array([-4.0, 0.0])).min()), 0.05)

  def test_brows_are_where_their_landmarks_are(self):
    person = dataclasses.replace(
      _person(),
      brow_color=jnp.zeros(3),
      brow_density=jnp.float32(0.9),
      brow_shape=jnp.array([3.0, 0.0, 0.0, 0.0]),
    )
    paint = jax.jit(
      lambda place: skin.paint_brows(
        jnp.ones((len(place), 3)), place, person, faces.anatomy(), jnp.zeros(len(place))
      )[:, 0]
    )
    places = jnp.asarray(faces.anatomy().brow[1:4])
    up = jnp.array([0.0, 9.0])
    left, right, above, below = jnp.split(
      paint(
        jnp.concatenate(
          [places * jnp.array([-1.0, 1.0]), places, places + up, places - up]
        )
      ),
      4,
    )
    self.assertLess(float(left.max()), 0.3)
    self.assertLess(float(right.max()), 0.3)
    np.testing.assert_allclose(above, 1.0)
    np.testing.assert_allclose(below, 1.0)


if __name__ == '__main__':
  absltest.main()
