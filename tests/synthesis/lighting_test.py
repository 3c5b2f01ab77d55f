"""Tests of lighting.py: the unit of light, and what its strengths change."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import lighting
from pifa_jax.synthesis.ingredients import Ingredients
from tests.synthesis import faces


class LightingTest(absltest.TestCase):
  def test_white_surroundings_give_unit_light(self):
    light = lighting.Light(
      harmonics=jnp.zeros((9, 3)).at[0].set(1.0),
      directions=jnp.eye(3)[:2],
      colors=jnp.zeros((2, 3)),
      width=jnp.ones(2),
    )
    normals = jnp.array([[0.0, 0, 1], [0.6, 0, 0.8]])
    args = (jnp.eye(3), faces.anatomy().directions)
    # 48 directions sample the half sphere to a few percent.
    np.testing.assert_allclose(
      lighting.irradiance(light, normals, *args, jnp.ones((2, 48))), 1.0, atol=0.05
    )
    np.testing.assert_allclose(
      lighting.irradiance(light, normals, *args, jnp.full((2, 48), 0.5)), 0.5, atol=0.03
    )
    np.testing.assert_allclose(lighting.open_irradiance(light, normals), 1.0, rtol=1e-5)

  def test_the_strengths_change_their_own_light_alone(self):
    draw = jax.jit(
      lambda environment, key_light: lighting.random_light(
        jax.random.key(2), Ingredients(environment=environment, key_light=key_light)
      )
    )
    none, environment, lamps = draw(0.0, 0.0), draw(1.0, 0.0), draw(0.0, 1.0)
    # Without any strength the light is white and the same from all sides.
    np.testing.assert_array_equal(none.harmonics, np.eye(9)[:, :1].repeat(3, 1))
    np.testing.assert_array_equal(none.colors, 0)
    np.testing.assert_array_equal(environment.colors, 0)
    self.assertGreater(float(jnp.abs(environment.harmonics[1:]).max()), 0.05)
    np.testing.assert_array_equal(lamps.harmonics, none.harmonics)
    self.assertGreater(float(lamps.colors[0].min()), 0)
    for light in (environment, lamps):
      np.testing.assert_array_equal(light.directions, none.directions)
      np.testing.assert_array_equal(light.width, none.width)

  def test_sheen_is_at_the_silhouette_alone(self):
    light = lighting.Light(
      harmonics=jnp.zeros((9, 3)).at[0].set(1.0),
      directions=jnp.eye(3)[:2],
      colors=jnp.zeros((2, 3)),
      width=jnp.ones(2),
    )
    normals = jnp.array([[0.0, 0, 1], [0.6, 0, 0.8], [0.995, 0, 0.1], [1, 0, -0.01]])
    found = lighting.sheen(light, normals)[:, 0]
    np.testing.assert_allclose(found, [0, 0.2**5, 0.9**5, 0], atol=1e-5)


if __name__ == '__main__':
  absltest.main()
