"""Random changes of one training crop: its colours, its sharpness, what hides it.

Everything here is a function of one key, and costs well below a millisecond a face on
one core. A change that is off computes nothing and leaves the draws of the others.
"""

import dataclasses

import jax
import jax.numpy as jnp

from pifa_jax.learning import photo_faults
from pifa_jax.settings import setting
from pifa_jax.types import Array

# Of the keys of what came later: the first ones are those of `jax.random.split`.
_FIRST_KEY = 16
_MAX_ERASED = 3
# What `cropping.crop` puts outside the photo, 128, in [-1, 1].
_OUTSIDE = 128 / 127.5 - 1


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
  """What happens to a training sample on the device; each field has its own help."""

  # Not checked here: evaluation passes a traced strength of the jitter.
  shift_jitter: float = setting(
    0.1, 'Box jitter of the place: a uniform fraction of its size.', low=0.0, high=0.5
  )
  scale_jitter: float = setting(
    0.1, 'Box jitter of the side: a uniform factor in 1 +- this.', low=0.0, high=0.5
  )
  anisotropic_jitter: bool = setting(
    False, 'Jitter width and height apart: the literal Sec. 4 (BUILD_NOTES.md D-06).'
  )
  box_scale: float = setting(
    1.0,
    'Mean side of the jittered boxes over that of the provided boxes: above 1 if the '
    'provided boxes are tighter than those of other data sets, or to see more of the '
    'head.',
    low=0.8,
    high=1.8,
  )
  rotation: float = setting(
    0.0,
    'Rotation of the crop about its centre: uniform, +- this, degrees. Cached crops '
    'become larger.',
    low=0.0,
    high=180.0,
  )
  brightness: float = setting(0.0, 'Random offset, +- this, of pixels in [-1, 1].')
  contrast: float = setting(0.0, 'Random factor up to 1 + this, log-uniform.')
  color: float = setting(
    0.0, 'Random gain of each channel up to 1 + this, log-uniform.'
  )
  gamma: float = setting(
    0.0,
    'Random exponent of pixels in [0, 1], up to 1 + this, log-uniform.',
    low=0.0,
    high=4.0,
  )
  grey: float = setting(
    0.0,
    'Probability of a black-and-white sample; three in ten of them are toned like an '
    'old print.',
    low=0.0,
    high=1.0,
  )
  random_conv: float = setting(
    0.0,
    'Mix a random convolution of the colours (RandConv, Xu et al. 2021) into the crop: '
    'its share is uniform, up to this.',
    low=0.0,
    high=1.0,
  )
  blur: float = setting(
    0.0,
    'Probability of a crop that is not sharp: of a face of 16 to 60 pixels, out of '
    'focus, or both.',
    low=0.0,
    high=1.0,
  )
  noise: float = setting(
    0.0,
    'Sensor noise: a uniform standard deviation, up to this, of pixels in [-1, 1].',
    low=0.0,
    high=1.0,
  )
  jpeg: float = setting(
    0.0,
    'Probability of the traces of JPEG, of a quality of 8 to 60.',
    low=0.0,
    high=1.0,
  )
  occlusion: float = setting(
    0.0, 'Probability of a grey rectangle over a part of the crop.', low=0.0, high=1.0
  )
  erase: float = setting(
    0.0,
    'Probability that 1 to 3 rectangles and ellipses, of noise, of one colour or of '
    'another part of the crop, hide parts of it.',
    low=0.0,
    high=1.0,
  )
  edge_cut: float = setting(
    0.0,
    'Probability that 0.05 to 0.4 of the crop lie outside, as at the edge of a photo.',
    low=0.0,
    high=1.0,
  )
  flip: float = setting(
    0.0,
    'Probability of a mirrored sample; needs a symmetric face model.',
    low=0.0,
    high=1.0,
  )


def augment_image(
  key: Array,
  image: Array,
  config: AugmentConfig,
  *,
  face_size: Array | None = None,
  angle: Array | None = None,
) -> Array:
  """Changes colours, hides parts and spoils the sharpness of one crop.

  In the order of a photo: what lies before the camera, its light, the lens, the
  sensor, the file, and last what lies outside the photo.

  Args:
    key: a key.
    image: (S, S, 3) in [-1, 1].
    config: strengths; a zero leaves that change out.
    face_size: () side of the face's box, crop pixels; None = S.
    angle: () radians by which the crop is rotated in the photo, which edge_cut's edge
      shows; None = 0.

  Returns:
    (S, S, 3) in [-1, 1].
  """
  keys = jax.random.split(key, 5)
  own = lambda i: jax.random.fold_in(key, _FIRST_KEY + i)
  size = image.shape[0]
  face_size = jnp.asarray(size, jnp.float32) if face_size is None else face_size
  if config.random_conv:
    image = _random_conv(own(0), image, config.random_conv)
  if config.contrast or config.color or config.brightness:
    gain = jnp.exp(
      jax.random.uniform(keys[0], (), minval=-1.0) * jnp.log1p(config.contrast)
      + jax.random.uniform(keys[1], (3,), minval=-1.0) * jnp.log1p(config.color)
    )
    offset = config.brightness * jax.random.uniform(keys[2], (), minval=-1.0)
    mean = jnp.mean(image, axis=(0, 1))
    image = jnp.clip((image - mean) * gain + mean + offset, -1.0, 1.0)
  if config.occlusion:
    image = _grey_rectangle(keys[3], keys[4], image, config.occlusion)
  if config.erase:
    image = _erase(own(1), image, config.erase)
  if config.gamma:
    exponent = jnp.exp(
      jax.random.uniform(own(2), (), minval=-1.0) * jnp.log1p(config.gamma)
    )
    # exp(log) is faster than a power. Black is 0 but for rounding: e^-16 of 1.
    light = jnp.log(jnp.maximum((image + 1) / 2, 1e-7))
    image = 2 * jnp.exp(exponent * light) - 1
  if config.blur:
    image = photo_faults.blur(own(3), image, config.blur, face_size)
  if config.noise:
    image = photo_faults.add_noise(own(4), image, config.noise)
  if config.grey:
    image = _grey(own(5), image, config.grey)
  if config.jpeg:
    image = photo_faults.compress(own(6), image, config.jpeg)
  if config.edge_cut:
    image = _cut(own(7), image, config.edge_cut, 0.0 if angle is None else angle)
  return image


def _grey_rectangle(
  key: Array, key_hit: Array, image: Array, probability: float
) -> Array:
  """Hides a part of a crop, perhaps."""
  size = image.shape[0]
  # centre u, v; half width, half height; value.
  draw = jax.random.uniform(key, (5,))
  grid = jnp.arange(size)
  half = (0.05 + 0.15 * draw[2:4]) * size
  inside = (jnp.abs(grid - draw[0] * size) < half[0])[None, :] & (
    jnp.abs(grid - draw[1] * size) < half[1]
  )[:, None]
  hit = jax.random.bernoulli(key_hit, probability)
  return jnp.where((hit & inside)[..., None], 2 * draw[4] - 1, image)


def _random_conv(key: Array, image: Array, most: float) -> Array:
  """Mixes a random convolution of 3 x 3 or 5 x 5 pixels into a crop.

  Xu et al., "Robust and Generalizable Visual Representation Learning via Random
  Convolutions" (2021), with two differences: the kernel is a sum of two separable ones,
  which are matrix products here, and the result has the mean and the deviation of the
  crop, so that the exposure stays.
  """
  size = image.shape[0]
  keys = jax.random.split(key, 4)
  taps = jax.random.normal(keys[0], (2, 2, 5))
  small = jax.random.bernoulli(keys[1])
  taps = jnp.where(small & (jnp.abs(jnp.arange(5) - 2) == 2), 0.0, taps)
  colors = jax.random.normal(keys[2], (2, 3, 3))
  share = most * jax.random.uniform(keys[3])
  shift = jnp.arange(size) - jnp.arange(size)[:, None] + 2
  banded = jnp.where((shift >= 0) & (shift < 5), taps[..., jnp.clip(shift, 0, 4)], 0.0)
  mean = jnp.mean(image)
  start = image - mean
  changed: Array = jnp.zeros(())
  for (rows, columns), mix in zip(banded, colors, strict=True):
    mixed = sum(start[..., i, None] * mix[i] for i in range(3))
    changed = changed + jnp.einsum('vh,hwc,uw->vuc', rows, mixed, columns)
  changed = changed - jnp.mean(changed)
  # A crop of one colour stays one: the floor is far below a grey level.
  scale = jnp.sqrt(jnp.mean(start**2) / jnp.maximum(jnp.mean(changed**2), 1e-8))
  return jnp.clip(mean + (1 - share) * start + share * scale * changed, -1.0, 1.0)


def _erase(key: Array, image: Array, probability: float) -> Array:
  """Hides up to three parts of a crop behind noise, a colour, or parts of itself."""
  size = image.shape[0]
  keys = jax.random.split(key, 4)
  hit = jax.random.uniform(keys[0], (2,))
  # None, or 1 to 3, equally often.
  count = jnp.where(hit[0] < probability, 1 + jnp.floor(_MAX_ERASED * hit[1]), 0)
  draw = jax.random.uniform(keys[1], (_MAX_ERASED, 11))
  noise = photo_faults.noise_field(keys[2], size, coarse=4)
  # Upside down and far away, so that it is no continuation.
  other = jnp.roll(
    image[::-1],
    jax.random.randint(keys[3], (2,), size // 4, 3 * size // 4 + 1),
    axis=(0, 1),
  )
  grid = jnp.arange(size, dtype=jnp.float32)
  for i in range(_MAX_ERASED):
    u, v = grid - draw[i, 0] * size, (grid - draw[i, 1] * size)[:, None]
    half = 0.05 * size * (0.22 / 0.05) ** draw[i, 2:4]
    cos, sin = jnp.cos(jnp.pi * draw[i, 4]), jnp.sin(jnp.pi * draw[i, 4])
    along, across = (cos * u + sin * v) / half[0], (cos * v - sin * u) / half[1]
    inside = jnp.where(
      draw[i, 5] < 0.5,
      jnp.maximum(jnp.abs(along), jnp.abs(across)) < 1,
      along**2 + across**2 < 1,
    )
    # A third each: of one colour, noise, another part.
    kind = draw[i, 6]
    texture = jnp.where(kind < 1 / 3, 0.0, draw[i, 7]) * noise
    fill = jnp.where(kind > 2 / 3, other, 2 * draw[i, 8:] - 1 + texture)
    shown = (inside & (i < count))[..., None]
    image = jnp.where(shown, jnp.clip(fill, -1.0, 1.0), image)
  return image


def _grey(key: Array, image: Array, probability: float) -> Array:
  """Takes the colours from a crop, perhaps, and tones it, more rarely."""
  draw = jax.random.uniform(key, (3,))
  luma = image @ jnp.asarray(photo_faults.LUMA)
  strength = jnp.where(draw[1] < 0.3, draw[2], 0.0)
  # The colour of white paper, from white to sepia.
  tone = 1 - strength * jnp.array([0.0, 0.14, 0.35])
  toned = (luma[..., None] + 1) * tone - 1
  return jnp.where(draw[0] < probability, toned, image)


def _cut(key: Array, image: Array, probability: float, angle: Array | float) -> Array:
  """Makes one side of a crop outside of the photo, perhaps."""
  size = image.shape[0]
  draw = jax.random.uniform(key, (3,))
  # Outwards, through one of the photo's four sides.
  outwards = jnp.floor(4 * draw[1]) * (jnp.pi / 2) - angle
  depth = (0.05 + 0.35 * draw[2]) * size
  steps = jnp.arange(size) - (size - 1) / 2
  place = jnp.cos(outwards) * steps + jnp.sin(outwards) * steps[:, None]
  # The edge runs through pixels as a bilinear crop shows it: in shares.
  outside = jnp.clip(place - (size / 2 - depth) + 0.5, 0.0, 1.0)[..., None]
  return jnp.where(draw[0] < probability, image + outside * (_OUTSIDE - image), image)
