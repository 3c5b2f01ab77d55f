"""Objects before the face: hands, microphones, telephones, scarves, cloth."""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import colors
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import Array


def occlude(
  key: Array,
  image: Array,
  face: Array,
  skin: Array,
  texture: Array,
  config: Ingredients,
) -> jax.Array:
  """Puts a random object in front of the face, with the probability `occluder`.

  It does not change the labels: landmarks are hidden by the head alone.

  Args:
    key: a key.
    image: (S, S, 3) linear radiance.
    face: (4,) centre u, v and half width, half height of the face, pixels.
    skin: (3,) radiance of lit skin, for hands.
    texture: (S, S, 3) noise, about standard normal.
    config: probability of `occluder`.

  Returns:
    (S, S, 3) linear radiance.
  """
  size = image.shape[0]
  draws = Draws(key, 128)
  on = draws.chance(config.occluder)
  kind = draws.choice((0.3, 0.2, 0.17, 0.18, 0.15))
  v, u = jnp.meshgrid(
    jnp.arange(size, dtype=jnp.float32),
    jnp.arange(size, dtype=jnp.float32),
    indexing='ij',
  )
  # In units of the face's half height, from a point on or beside the face:
  # mostly low, as hands and microphones come from below.
  unit = face[3]
  centre_u = face[0] + face[2] * draws.normal(0, 0.7)
  centre_v = face[1] + face[3] * draws.normal(0.65, 0.5)
  angle = draws.uniform(-np.pi, np.pi)
  upward = draws.normal(0, 0.6)
  turn = jnp.where(kind < 2, upward, angle)
  x = ((u - centre_u) * jnp.cos(turn) + (v - centre_v) * jnp.sin(turn)) / unit
  y = (-(u - centre_u) * jnp.sin(turn) + (v - centre_v) * jnp.cos(turn)) / unit
  soft = 1.5 / unit
  inside = lambda distance: jnp.clip(0.5 - distance / soft, 0, 1)
  light = jnp.stack([draws.uniform(-1, 1), draws.uniform(-1, 0)])
  color = jnp.mean(skin) * 2.5 * colors.cloth(draws)
  second = jnp.mean(skin) * 2.5 * colors.cloth(draws)
  spread = draws.uniform(0.15, 0.27)
  fingers_length = draws.uniform(0.35, 0.75)
  lean = draws.normal(0, 0.12, (4,))
  sizes = draws.uniform(shape=(8,))
  phases = draws.uniform(0, 2 * np.pi, (4,))

  def hand():
    # A palm and four fingers that point up, with dark gaps between them.
    palm = jnp.hypot(x / 0.42, (y - 0.35) / 0.5) - 1
    mask, shade = inside(palm * 0.42), 1 - 0.35 * jnp.clip(palm + 0.6, 0, 1)
    for i in range(4):
      root = (i - 1.5) * spread
      tip = root * (1.1 + 0.3 * sizes[0]) + lean[i] * 0.5
      length = fingers_length * (1 - 0.12 * abs(i - 1.6))
      t = jnp.clip(-y / length, 0, 1)
      across = (x - root - t * (tip - root)) / 0.115
      past = jnp.maximum(-y - length, 0) / 0.115
      r = jnp.hypot(across, past)
      finger = jnp.where(y < 0.3, r - 1, 9.0)
      part = inside(finger * 0.115)
      mask = jnp.maximum(mask, part)
      shade = jnp.where(part > 0.5, 1.08 - 0.45 * r**2, shade)
    lit = skin * (0.8 + 0.35 * (light[0] * x + light[1] * y))[..., None]
    return mask, lit * shade[..., None] * (1 + 0.05 * texture)

  def microphone():
    r0 = 0.13 + 0.16 * sizes[0]
    ball = jnp.hypot(x, y * (0.8 + 0.3 * sizes[1])) / r0
    stick = jnp.maximum(jnp.abs(x) - r0 * (0.5 - 0.08 * y), -y)
    mask = jnp.maximum(inside((ball - 1) * r0), inside(stick))
    dark = jnp.where(sizes[2] < 0.7, 0.12, 1.0) * color
    gleam = jnp.exp(
      -((x - light[0] * r0 * 0.5) ** 2 + (y - light[1] * r0 * 0.5) ** 2)
      / (0.15 * r0**2)
    )
    body = jnp.where(
      (ball < 1)[..., None],
      dark * (1.2 - 0.8 * ball[..., None] ** 2) * (1 + 0.25 * texture)
      + 0.25 * gleam[..., None] * jnp.mean(skin),
      0.5 * dark * (1.3 - jnp.abs(x / r0)[..., None]),
    )
    return mask, body

  def box():
    # Telephone, book, cup: a rounded rectangle, perhaps with a pattern.
    half = jnp.stack([0.12 + 0.35 * sizes[0], 0.12 + 0.45 * sizes[1]])
    corner = 0.1 * sizes[2]
    dx = jnp.maximum(jnp.abs(x) - half[0] + corner, 0)
    dy = jnp.maximum(jnp.abs(y) - half[1] + corner, 0)
    mask = inside(jnp.hypot(dx, dy) - corner)
    wave = jnp.sin(x * 40 * sizes[3]) * jnp.sin(y * 40 * sizes[4])
    mix = jnp.where(sizes[5] < 0.5, jnp.clip(0.5 + 3 * wave, 0, 1), 0.0)
    paint = color + mix[..., None] * (second - color)
    return mask, paint * (1 + 0.3 * light[0] * x[..., None] + 0.1 * texture)

  def blob():
    # Cloth, leaves, hair, anything: an uneven round shape.
    a = jnp.arctan2(y, x)
    edge = 0.22 + 0.3 * sizes[0]
    for k in range(4):
      edge = edge + 0.06 * sizes[k + 1] * jnp.sin((k + 2) * a + phases[k])
    mask = inside(jnp.hypot(x, y) - edge)
    return mask, color * (1 + 0.35 * texture) + 0.1 * light[0] * x[..., None] * color

  def scarf():
    # Cloth from below up to the chin or the mouth, in folds.
    down = (v - face[1]) / unit + 0.35 * lean[0] * (u - face[0]) / unit
    across = (u - face[0]) / unit
    edge = 0.55 + 0.4 * sizes[0] + 0.25 * across**2 * (sizes[1] - 0.3)
    for k in range(3):
      edge = edge + 0.02 * jnp.sin((3 + 5 * k * sizes[2]) * across + phases[k])
    depth = down - edge
    folds = jnp.sin(depth * (12 + 25 * sizes[3]) + 3 * across * lean[1] + phases[3])
    stripes = jnp.clip(0.5 + 4 * jnp.sin(across * 60 * sizes[4]), 0, 1)
    paint = color + (stripes * (sizes[5] < 0.4))[..., None] * (second - color)
    # Rolled at the edge.
    shade = (0.8 + 0.2 * folds) * jnp.clip(0.6 + 6 * depth, 0.6, 1)
    return inside(-depth), paint * shade[..., None] * (1 + 0.15 * texture)

  mask, paint = jax.lax.switch(kind, [hand, microphone, box, blob, scarf])
  alpha = (mask * on)[..., None]
  return image + alpha * (jnp.maximum(paint, 0) - image)
