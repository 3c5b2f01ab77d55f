"""Wrong colours for what is not face, so that they do not tell how a head is turned."""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import colors
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import Array

_WAVES = 5


def scramble(
  key: Array, places: Array, albedo: Array, weight: Array, config: Ingredients
) -> jax.Array:
  """Paints a part in a random pattern, with the probability `scrambled`.

  Args:
    key: a key.
    places: (E, 3) of the vertices, millimetres.
    albedo: (E, 3) linear RGB.
    weight: (E,) in [0, 1], how much a vertex belongs to the part.
    config: probability of `scrambled`.

  Returns:
    (E, 3) linear RGB.
  """
  draws = Draws(key, 48)
  on = draws.chance(config.scrambled)
  first, second = colors.cloth(draws), colors.cloth(draws)
  # From one colour over broad patches to a fine pattern.
  size = jnp.exp(draws.uniform(np.log(0.01), np.log(0.3)))
  waves = size * draws.normal(0, 1, (3, _WAVES))
  phase = draws.uniform(0, 2 * np.pi, (_WAVES,))
  pattern = jnp.sin(jnp.nan_to_num(places) @ waves + phase) @ draws.normal(
    0, draws.uniform(0.1, 1.5), (_WAVES,)
  )
  paint = first + jnp.clip(0.5 + pattern, 0, 1)[:, None] * (second - first)
  paint = jnp.clip(paint, 0.003, 0.9)
  return jnp.asarray(albedo) + (on * weight)[:, None] * (paint - albedo)
