"""Backgrounds: patterns, smooth noise and parts of photos."""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import cropping
from pifa_jax.synthesis import colors
from pifa_jax.synthesis.draws import Draws
from pifa_jax.types import Array


def background(
  key: Array,
  size: int,
  strength: float = 1.0,
  photos: Array | None = None,
  share: float = 0.0,
  *,
  scenery: Array | None = None,
  shown: Array | bool = False,
) -> jax.Array:
  """Makes a random background.

  Args:
    key: a key.
    size: side of the image, pixels.
    strength: 1 = all kinds; smaller = closer to plain grey.
    photos: (N, P, P, 3) uint8; None = patterns alone.
    share: probability that the background is a part of one of the photos.
    scenery: (n, n, 3) linear radiance of a coarse grid over the image, or None.
    shown: () bool, whether it takes the place of everything else.

  Returns:
    (size, size, 3) linear radiance.
  """
  key, key_noise = jax.random.split(key)
  draws = Draws(key, 400)
  v, u = jnp.meshgrid(jnp.arange(size) / size, jnp.arange(size) / size, indexing='ij')
  brightness = jnp.exp(draws.normal(-0.5, 0.75))
  palette = jnp.stack([colors.cloth(draws) for _ in range(4)])
  # Every kind starts from a gradient.
  angle = draws.uniform(0, 2 * np.pi)
  t = 0.5 + (u - 0.5) * jnp.cos(angle) + (v - 0.5) * jnp.sin(angle)
  ground = (
    palette[0]
    + jnp.clip(t, 0, 1)[..., None] * (palette[1] - palette[0]) * draws.uniform()
  )
  texture = octaves(key_noise, size, 3)

  def plain():
    return ground

  def rough():
    return ground + 0.35 * texture * jnp.abs(palette[2] - ground + 0.1)

  def stripes():
    # Slats, book shelves, tiles: a square wave in one or two directions.
    a, b = draws_stripes[0] * np.pi, 4 + 40 * draws_stripes[1] ** 2
    first = jnp.sin(b * (u * jnp.cos(a) + v * jnp.sin(a)))
    second = jnp.sin(b * draws_stripes[2] * (v * jnp.cos(a) - u * jnp.sin(a)))
    wave = jnp.where(draws_stripes[3] < 0.4, first, first * second)
    mask = jnp.clip(wave * (1 + 8 * draws_stripes[4]) + 0.5, 0, 1)[..., None]
    return ground + mask * (palette[2] - ground) + 0.08 * texture

  def blocks():
    # Walls, doors, signs, furniture.
    out = ground + 0.1 * texture
    for d in draws_blocks:
      inside = (jnp.abs(u - d[0]) < 0.04 + 0.3 * d[2] ** 2) & (
        jnp.abs(v - d[1]) < 0.04 + 0.4 * d[3] ** 2
      )
      color = palette[1] * d[4] + palette[2] * d[5] + palette[3] * (d[6] - 0.3)
      out = jnp.where(inside[..., None], color, out)
    return out

  def blobs():
    # Lamps out of focus, leaves, other people's skin.
    out = ground * 0.6 + 0.15 * texture * ground
    skin = colors.lab_to_linear(jnp.array([60.0, 14.0, 18.0]))
    for i, d in enumerate(draws_blobs):
      r = jnp.hypot(
        u - d[0] * 1.2 + 0.1, (v - d[1] * 1.2 + 0.1) * (0.6 + 0.8 * d[5])
      ) / (0.02 + 0.22 * d[2] ** 2)
      alpha = jnp.clip((1 - r) * (2 + 10 * d[3]), 0, 1) * (0.3 + 0.7 * d[4])
      color = skin if i % 3 == 0 else palette[i % 4] * 1.6
      out = out + alpha[..., None] * (color - out)
    return out

  draws_stripes = draws.uniform(shape=(5,))
  draws_blocks = draws.uniform(shape=(8, 7))
  draws_blobs = draws.uniform(shape=(14, 6))
  kind = draws.choice((0.18, 0.27, 0.13, 0.24, 0.18))
  image = jax.lax.switch(kind, [plain, rough, stripes, blocks, blobs])
  image = brightness * jnp.maximum(image, 0.0)
  if photos is not None and share:
    # Random numbers of its own: the patterns are the same with and without photos.
    more = Draws(jax.random.fold_in(key, 1), 8)
    image = jax.lax.cond(
      more.chance(share), lambda: photo_part(more, photos, size), lambda: image
    )
  if scenery is not None:
    # The maps are blurred: leaves, bricks and folds are added.
    detail = 0.4 * jax.random.uniform(jax.random.fold_in(key, 2))
    image = jnp.where(shown, stretch(scenery, size) * jnp.exp(detail * texture), image)
  return 0.2 + strength * (image - 0.2)


def photo_part(draws: Draws, photos: Array, size: int) -> jax.Array:
  """Takes a random square part of a random photo, mirrored or not, at any brightness.

  Args:
    draws: a stream, of which 6 numbers are used.
    photos: (N, P, P, 3) uint8.
    size: side, pixels.

  Returns:
    (size, size, 3) linear radiance.
  """
  count, side = photos.shape[:2]
  which = jnp.minimum(jnp.int32(draws.uniform(0, count)), count - 1)
  # Two pixels from the edges, which would be mixed with what is outside.
  room = side - 4
  part = room * draws.uniform(0.4, 1.0)
  corner = 1.5 + draws.uniform(shape=(2,)) * (room - part)
  crop = cropping.resample_crop(
    (jnp.asarray(photos)[which] / 255.0) ** 2.2, jnp.stack([*corner, part, part]), size
  )
  crop = jnp.where(draws.chance(0.5), crop[:, ::-1], crop)
  return jnp.exp(draws.normal(0.0, 0.5)) * crop


def octaves(key: Array, size: int, channels: int) -> Array:
  """Makes smooth noise of several scales, about standard normal.

  Args:
    key: a key.
    size: side, pixels.
    channels: C, the number of planes.

  Returns:
    (size, size, C).
  """
  out: Array | float = 0.0
  keys = jax.random.split(key, 6)
  draws = jax.random.uniform(keys[5], (5,))
  total: Array | float = 0.0
  for i, cells in enumerate((3, 6, 12, 25, 50)):
    # Random slopes of the spectrum: clouds to carpets.
    weight = (0.25 + 0.7 * draws[0]) ** i
    noise = jax.random.normal(keys[i], (cells, cells, channels))
    # Mostly grey, as most surfaces have one hue.
    noise = 0.9 * noise[..., :1] + 0.25 * noise
    out = out + weight * stretch(noise, size)
    total = total + weight**2
  return out / jnp.sqrt(total)


def stretch(plane: Array, size: int) -> jax.Array:
  """Enlarges a plane linearly; its corners stay in the corners.

  Args:
    plane: (n, n, C).
    size: side of the result, pixels.

  Returns:
    (size, size, C).
  """
  n = plane.shape[0]
  at = np.linspace(0, n - 1, size)
  weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(n))).astype(np.float32)
  rows = (weights @ plane.reshape(n, -1)).reshape(size, n, -1)
  return jnp.einsum('vnc,un->vuc', rows, weights)
