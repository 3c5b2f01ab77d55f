"""The camera: exposure, optics, sensor, tone curve, resampling and compression."""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import colors
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import Array

# JPEG's example tables (ITU-T T.81, Annex K), at quality 50.
_LUMA = np.array(
  [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
  ],
  np.float32,
)
_CHROMA = np.full((8, 8), 99, np.float32)
_CHROMA[:4, :4] = [
  [17, 18, 24, 47],
  [18, 21, 26, 66],
  [24, 26, 56, 99],
  [47, 66, 99, 99],
]
_TO_YCC = np.array(
  [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]],
  np.float32,
)
_TO_RGB = np.linalg.inv(_TO_YCC).astype(np.float32)


def photo(
  key: Array,
  radiance: Array,
  subject: Array,
  config: Ingredients,
  *,
  scale: float = 1.0,
) -> jax.Array:
  """Turns radiance into an image as a camera takes it.

  Args:
    key: a key.
    radiance: (S, S, 3) linear.
    subject: (S, S) weight of the pixels that the exposure is made for.
    config: strengths of the camera's faults, `exposure` to `grey`.
    scale: size of the face over its size in a cached crop. `config` gives blur in
      pixels of that crop; in a smaller image it is smaller.

  Returns:
    (S, S, 3) in [0, 1], sRGB-like.
  """
  key, key_noise, key_jpeg = jax.random.split(key, 3)
  draws = Draws(key, 64)
  size = radiance.shape[0]
  # The camera meters the face and, less, the whole image.
  luminance = jnp.maximum(radiance @ colors.LUMINANCE, 1e-4)
  meter = lambda weight: jnp.exp(
    jnp.sum(jnp.log(luminance) * weight) / jnp.maximum(jnp.sum(weight), 1.0)
  )
  level = meter(subject + 0.02) ** draws.uniform(0.65, 1.0) * meter(
    jnp.ones_like(luminance)
  ) ** draws.uniform(0.0, 0.3)
  # Dark images are more frequent than bright ones, whose faces burn out.
  bias = draws.normal(0.0, config.exposure)
  bias = bias - draws.chance(0.12) * draws.uniform(0.3, 1.2) * jnp.minimum(
    2.5 * config.exposure, 1.0
  )
  gains = jnp.exp(draws.normal(0, config.white_balance, (3,)))
  image = radiance * (0.2 / level) * jnp.exp(bias) * gains
  v, u = jnp.meshgrid(
    jnp.linspace(-1, 1, size), jnp.linspace(-1, 1, size), indexing='ij'
  )
  image = image * (
    1
    - config.vignette
    * draws.uniform()
    * draws.chance(0.5)
    * (u * u + v * v)[..., None]
    / 2
  )
  image = _blur(draws, image, config, scale)
  # Highlights roll off instead of being cut.
  image = jnp.maximum(image, 1e-5)
  image = jnp.where(image > 0.7, 0.7 + 0.3 * jnp.tanh((image - 0.7) / 0.6), image)
  # Photon noise before the tone curve's slope, read noise in the shadows.
  amount = config.noise * 0.04 * draws.uniform() ** 3 * jnp.exp(-0.5 * bias)
  noise = jax.random.normal(key_noise, (size, size, 4))
  chroma = draws.uniform(0.3, 1.0)
  noise = noise[..., :1] * jnp.sqrt(1 - chroma**2) + chroma * noise[..., 1:]
  image = image + amount * jnp.sqrt(0.3 * image + 0.004) * 2.2 * noise
  gamma = jnp.exp(draws.normal(0, config.contrast)) / 2.2
  image = jnp.clip(image, 1e-5, 1.0) ** gamma
  # A tone curve in S, as cameras have one.
  s = config.contrast * draws.uniform(-1.5, 3.5)
  image = image + s * image * (1 - image) * (2 * image - 1)
  saturation = jnp.exp(draws.normal(-0.05, 1.5 * config.contrast))
  saturation = jnp.where(draws.chance(config.grey), 0.0, saturation)
  grey = (image @ colors.LUMINANCE)[..., None]
  image = jnp.clip(grey + saturation * (image - grey), 0.0, 1.0)
  small, shrink = draws.chance(config.resample), draws.uniform(0.25, 0.9)
  first = draws.chance(0.6)
  shrunk = lambda image: (
    jax.lax.cond(small, lambda x: resample(x, shrink), lambda x: x, image)
    if config.resample
    else image
  )
  image = jnp.where(first, shrunk(image), image)
  quality = draws.uniform(18, 92)
  if config.jpeg:
    image = jax.lax.cond(
      draws.chance(config.jpeg),
      lambda x: jpeg(key_jpeg, x, quality),
      lambda x: x,
      image,
    )
  return jnp.where(first, image, shrunk(image))


def _blur(draws, image, config, scale):
  """Defocus and motion, as one transfer function."""
  sigma = config.defocus * draws.uniform() ** 2
  length = jnp.where(draws.chance(config.motion), draws.uniform(1, 7), 0.0)
  angle = draws.uniform(0, np.pi)
  sigma, length = sigma * scale, length * scale
  pad = 8
  padded = jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)), 'edge')
  size = padded.shape[0]
  fv = np.fft.fftfreq(size).astype(np.float32)[:, None]
  fu = np.fft.rfftfreq(size).astype(np.float32)[None]
  transfer = jnp.exp(-2 * (np.pi * sigma) ** 2 * (fu**2 + fv**2)) * jnp.sinc(
    length * (fu * jnp.cos(angle) + fv * jnp.sin(angle))
  )
  planes = jnp.moveaxis(padded, -1, 0)
  out = jnp.fft.irfft2(jnp.fft.rfft2(planes) * transfer, s=(size, size))
  return jnp.moveaxis(out, 0, -1)[pad:-pad, pad:-pad]


def resample(image: Array, factor: Array) -> jax.Array:
  """Shrinks an image by averaging and enlarges it again linearly.

  Args:
    image: (S, S, 3).
    factor: () size in between, over S, in (0, 1].

  Returns:
    (S, S, 3).
  """
  size = image.shape[0]
  cells = jnp.maximum(jnp.round(size * factor), 4)
  width = size / cells
  # Row i of the first matrix averages the pixels of cell i; cells past the last
  # one are empty.
  pixel = jnp.arange(size)
  low, high = pixel[:, None] * width, (pixel[:, None] + 1) * width
  down = jnp.clip(jnp.minimum(high, pixel + 1) - jnp.maximum(low, pixel), 0) / width
  at = jnp.clip((pixel + 0.5) / width - 0.5, 0, cells - 1)
  up = jax.nn.relu(1 - jnp.abs(at[:, None] - pixel))
  both = up @ down
  return jnp.einsum('iv,vuc,ju->ijc', both, image, both)


def jpeg(key: Array, image: Array, quality: Array) -> jax.Array:
  """Compresses and decompresses an image as JPEG does (ITU-T T.81).

  The 8 x 8 cosine transforms are quantised; chroma is subsampled 2 x 2 (4:2:0) and
  repeated. The grid of blocks starts at a random place, since a crop is cut out of a
  larger photo. The scaled tables are not rounded, as libjpeg's are.

  Args:
    key: of the grid's place.
    image: (S, S, 3) RGB in [0, 1].
    quality: () in [1, 100], libjpeg's scale.

  Returns:
    (S, S, 3) in [0, 1].
  """
  size = image.shape[0]
  padded = -(-size // 16) * 16 + 16
  shift = jax.random.randint(key, (2,), 0, 16)
  # Edge pixels repeated on all sides, cut so that the grid is shifted.
  wide = jnp.pad(image, ((16, padded - size), (16, padded - size), (0, 0)), 'edge')
  part = jax.lax.dynamic_slice(wide, (shift[0], shift[1], 0), (padded, padded, 3))
  scale = jnp.where(quality < 50, 50 / quality, 2 - quality / 50)
  ycc = (255 * part - 128) @ _TO_YCC.T
  luma = _quantise(ycc[..., 0], _LUMA * scale)
  half = ycc[..., 1:].reshape(padded // 2, 2, padded // 2, 2, 2).mean(axis=(1, 3))
  chroma = jnp.stack([_quantise(half[..., i], _CHROMA * scale) for i in range(2)], -1)
  chroma = jnp.repeat(jnp.repeat(chroma, 2, axis=0), 2, axis=1)
  rgb = (jnp.concatenate([luma[..., None], chroma], -1) @ _TO_RGB.T + 128) / 255
  out = jax.lax.dynamic_slice(rgb, (16 - shift[0], 16 - shift[1], 0), (size, size, 3))
  return jnp.clip(out, 0.0, 1.0)


def _cosines():
  k, n = np.meshgrid(np.arange(8), np.arange(8), indexing='ij')
  basis = np.cos(np.pi * (2 * n + 1) * k / 16) / 2
  basis[0] /= np.sqrt(2)
  return basis.astype(np.float32)


def _quantise(plane, table):
  """Rounds the block transforms of (H, W) to multiples of a table."""
  c = _cosines()
  h, w = plane.shape
  blocks = plane.reshape(h // 8, 8, w // 8, 8)
  transformed = jnp.einsum('kv,ivju,lu->ikjl', c, blocks, c)
  step = jnp.maximum(table, 1.0)[None, :, None, :]
  rounded = jnp.round(transformed / step) * step
  return jnp.einsum('kv,ikjl,lu->ivju', c, rounded, c).reshape(h, w)
