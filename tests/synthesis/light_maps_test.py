"""Tests of light_maps.py: turning light and what a place changes."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.datasets import light_map_file
from pifa_jax.geometry import projection
from pifa_jax.synthesis import light_maps, lighting
from pifa_jax.synthesis.ingredients import Ingredients


class LightMapsTest(absltest.TestCase):
  def test_turned_harmonics_have_the_turned_values(self):
    rng = np.random.default_rng(1)
    harmonics = jnp.asarray(rng.normal(0, 1, (9, 3)), jnp.float32)
    turn = projection.rotation_from_euler(0.7, -0.3, 0.4) * jnp.array([-1.0, 1, 1])
    old = rng.normal(0, 1, (20, 3))
    old = jnp.asarray(old / np.linalg.norm(old, axis=1, keepdims=True), jnp.float32)
    found = lighting.basis(old @ turn.T) @ light_maps.rotate(harmonics, turn)
    np.testing.assert_allclose(found, lighting.basis(old) @ harmonics, atol=2e-4)

  def test_the_background_is_where_the_light_comes_from(self):
    maps = light_map_file.load()
    draw = jax.jit(
      lambda key, share, strength: light_maps.random_place(
        key,
        maps,
        lighting.random_light(key, Ingredients()),
        Ingredients(
          light_maps=share, scenery=1.0, environment=strength, key_light=strength
        ),
      )
    )
    key = jax.random.key(3)
    usual = lighting.random_light(key, Ingredients())
    for name, value in vars(draw(key, 0.0, 1.0)[0]).items():
      np.testing.assert_allclose(value, getattr(usual, name), atol=1e-5)
    flat = draw(key, 1.0, 0.0)[0]
    np.testing.assert_array_equal(flat.harmonics, np.eye(9)[:, :1].repeat(3, 1))
    np.testing.assert_array_equal(flat.colors, 0)
    # Seen in the direction of a strong lamp, the map is bright.
    place = draw(key, 1.0, 1.0)[1]
    sun = jnp.asarray(maps.directions[14, 0])
    ahead = jnp.array([0.0, 0.0, -1.0])
    for toward, bright in ((sun, True), (-sun, False)):
      # A rotation by half a turn about the bisector takes one to the other.
      axis = (toward + ahead) / jnp.linalg.norm(toward + ahead)
      there = light_maps.Surroundings(
        used=place.used,
        shown=place.shown,
        which=jnp.int32(14),
        rotation=2 * jnp.outer(axis, axis) - jnp.eye(3),
        gain=jnp.ones(3),
      )
      middle = light_maps.view(key, maps, there)[13:15, 13:15].mean()
      self.assertEqual(bool(middle > 2), bright)


if __name__ == '__main__':
  absltest.main()
