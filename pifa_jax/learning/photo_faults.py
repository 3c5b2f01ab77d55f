"""What a poor camera and a small file do to a crop: blur, noise and JPEG."""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.types import Array

# ITU-R BT.601, as JPEG has it.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Cb and Cr over the differences to the luma.
_CHROMA = np.array([0.5 / (1 - 0.114), 0.5 / (1 - 0.299)], np.float32)
_FACE_PIXELS = (16.0, 60.0)
_SIGMA = (0.006, 0.03)  # of a Gaussian, sides of a face
_QUALITY = (8.0, 60.0)
_SPARE = 64  # pixels by which the table of noise is larger than a crop

# The quantisation of ITU-T T.81, Annex K: luminance and chrominance, row by row.
_LUMINANCE = np.array(
  """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56
  14 17 22 29 51 87 80 62 18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92
  49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99""".split(),
  np.float32,
).reshape(8, 8)
_CHROMINANCE = np.full((8, 8), 99, np.float32)
_CHROMINANCE[:4, :4] = [
  [17, 18, 24, 47],
  [18, 21, 26, 66],
  [24, 26, 56, 99],
  [47, 66, 99, 99],
]


def blur(key: Array, image: Array, probability: float, face_size: Array) -> Array:
  """Makes a crop low in resolution, or out of focus, or both; or leaves it.

  Args:
    key: a key.
    image: (S, S, 3).
    probability: of a change.
    face_size: () side of the face's box, pixels.

  Returns:
    (S, S, 3).
  """
  draw = jax.random.uniform(key, (4,))
  size = image.shape[0]
  log_uniform = lambda low, high, share: low * (high / low) ** share
  # Two in five are low in resolution, two out of focus, one is both.
  step = jnp.where(draw[1] < 0.6, face_size / log_uniform(*_FACE_PIXELS, draw[2]), 1.0)
  sigma = jnp.where(draw[1] > 0.4, face_size * log_uniform(*_SIGMA, draw[3]), 1e-3)
  matrix = _shrink_and_enlarge(size, jnp.maximum(step, 1.0)) @ _gaussian(size, sigma)
  changed = jnp.einsum('vh,hwc,uw->vuc', matrix, image, matrix)
  return jnp.where(draw[0] < probability, changed, image)


def _gaussian(size: int, sigma: Array) -> jax.Array:
  """(S, S) a blur along one axis; at the edges, of what is inside."""
  away = jnp.arange(size) - jnp.arange(size)[:, None]
  weights = jnp.exp(-0.5 * (away / sigma) ** 2)
  return weights / jnp.sum(weights, axis=1, keepdims=True)


def _shrink_and_enlarge(size: int, step: Array) -> jax.Array:
  """(S, S) to pixels `step` times as large, without aliasing, and back, bilinear."""
  grid = jnp.arange(size, dtype=jnp.float32)
  # Pixel k of the small image lies at (k + 1/2) step - 1/2; those beyond are unused.
  place = (grid + 0.5) * step - 0.5
  small = jax.nn.relu(1 - jnp.abs(place[:, None] - grid) / step)
  total = jnp.sum(small, axis=1, keepdims=True)
  small = small / jnp.maximum(total, 1e-6)
  large = jax.nn.relu(1 - jnp.abs((grid[:, None] + 0.5) / step - 0.5 - grid))
  large = jnp.where(place <= size - 0.5, large, 0.0)
  return large / jnp.sum(large, axis=1, keepdims=True) @ small


def add_noise(key: Array, image: Array, most: float) -> Array:
  """Adds Gaussian noise, between that of the brightness alone and of every channel.

  Args:
    key: a key.
    image: (S, S, 3) in [-1, 1].
    most: the standard deviation is uniform, up to this.

  Returns:
    (S, S, 3) in [-1, 1].
  """
  key_field, key_draw = jax.random.split(key)
  sigma, color = jax.random.uniform(key_draw, (2,))
  field = noise_field(key_field, image.shape[0])
  common = field[..., :1]
  # Variances add up to 1, whatever the share.
  mixed = jnp.sqrt(1 - color) * common + jnp.sqrt(color) * jnp.roll(field, 1, axis=0)
  return jnp.clip(image + most * sigma * mixed, -1.0, 1.0)


def noise_field(key: Array, size: int, *, coarse: int = 1) -> jax.Array:
  """White Gaussian noise: a random window of one table.

  To draw every number costs more than all other changes of a crop together.

  Args:
    key: a key.
    size: S.
    coarse: pixels a side that are alike.

  Returns:
    (S, S, 3), of deviation 1.
  """
  side = -(-size // coarse)
  table = np.random.default_rng(0).standard_normal((side + _SPARE, side + _SPARE, 3))
  draw = jax.random.randint(key, (2,), 0, _SPARE + 1)
  turned = jax.random.bernoulli(jax.random.fold_in(key, 2), shape=(2,))
  field = jax.lax.dynamic_slice(
    jnp.asarray(table, jnp.float32), (draw[0], draw[1], 0), (side, side, 3)
  )
  field = jnp.where(turned[0], -field, field)
  field = jnp.where(turned[1], field[:, ::-1], field)
  if coarse > 1:
    field = jnp.repeat(jnp.repeat(field, coarse, axis=0), coarse, axis=1)
  return field[:size, :size]


def compress(key: Array, image: Array, probability: float) -> Array:
  """Gives a crop the traces of JPEG, perhaps.

  What loses something in baseline JPEG (ITU-T T.81, JFIF): colours at half the
  resolution, and the cosine transform of 8 x 8 pixels in steps that depend on the
  quality.

  Args:
    key: a key.
    image: (S, S, 3) in [-1, 1].
    probability: of a change.

  Returns:
    (S, S, 3) in [-1, 1].
  """
  hit, quality = jax.random.uniform(key, (2,))
  quality = _QUALITY[0] + (_QUALITY[1] - _QUALITY[0]) * quality
  changed = jpeg_traces(image, quality)
  return jnp.where(hit < probability, changed, image)


def jpeg_traces(image: Array, quality: Array | float) -> jax.Array:
  """What is left of a crop after JPEG.

  Args:
    image: (S, S, 3) in [-1, 1].
    quality: () 1 to 100, as of libjpeg.

  Returns:
    (S, S, 3) in [-1, 1].
  """
  size = image.shape[0]
  more = -size % 16  # whole blocks, of colours as well
  x = jnp.pad(image, ((0, more), (0, more), (0, 0)), mode='edge') * 127.5
  luma = x @ LUMA
  chroma = jnp.stack([x[..., 2] - luma, x[..., 0] - luma]) * _CHROMA[:, None, None]
  half = chroma.shape[1] // 2
  chroma = chroma.reshape(2, half, 2, half, 2).mean(axis=(2, 4))
  scale = jnp.where(quality < 50, 50 / quality, 2 - quality / 50)
  table = lambda base: jnp.clip(jnp.round(base * scale), 1.0, 255.0)
  luma = _quantised(luma[None], table(_LUMINANCE))[0]
  chroma = _quantised(chroma, table(_CHROMINANCE))
  chroma = jnp.repeat(jnp.repeat(chroma, 2, axis=1), 2, axis=2)
  blue, red = chroma / _CHROMA[:, None, None] + luma
  green = (luma - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
  out = jnp.stack([red, green, blue], axis=-1)[:size, :size] / 127.5
  return jnp.clip(out, -1.0, 1.0)


def _quantised(planes: Array, table: Array) -> jax.Array:
  """(P, H, W), the cosine transform of whose blocks is rounded to steps (8, 8)."""
  count, height, width = planes.shape
  frequency = np.arange(8)[:, None]
  cosine = 0.5 * np.cos(np.pi * frequency * (2 * np.arange(8) + 1) / 16)
  cosine[0] /= np.sqrt(2)
  cosine = cosine.astype(np.float32)
  # One axis, then the other, as products of many rows with one small matrix.
  rows = planes.reshape(-1, 8) @ cosine.T
  blocks = rows.reshape(count, height // 8, 8, width).swapaxes(2, 3)
  found = (blocks.reshape(-1, 8) @ cosine.T).reshape(-1, width // 8, 8, 8)
  # Here an axis of the frequencies along the width, then one of those down.
  found = jnp.round(found / table.T) * table.T
  blocks = (found.reshape(-1, 8) @ cosine).reshape(count, height // 8, width, 8)
  rows = blocks.swapaxes(2, 3).reshape(-1, 8) @ cosine
  return rows.reshape(count, height, width)
