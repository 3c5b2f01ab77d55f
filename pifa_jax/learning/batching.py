"""Network inputs and targets out of cached crops, jittered and augmented on the device.

All randomness is a function of (seed, step, sample): a resumed run repeats the
uninterrupted one, on any number of devices.
"""

import dataclasses

import jax
import jax.numpy as jnp

from pifa_jax.geometry import boxes, cropping, mirror
from pifa_jax.settings import setting
from pifa_jax.types import Array, Batch, flatten_params, unflatten_params


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CropRows:
  """B rows of a crop cache, as they lie in memory.

  Attributes:
    image: (B, S, S, 3) uint8: the square box with a margin around it.
    landmarks: (B, N, 2) pixels of the cached crop.
    visible: (B, N) bool.
    params: (B, 8 + N_I + N_E) target P in pixels of the cached crop.
    box: (B, 4) the provided box in cached-crop pixels (outer edges).
    weight: (B,) 1; 0 for padding.
  """

  image: Array
  landmarks: Array
  visible: Array
  params: Array
  box: Array
  weight: Array


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
    'provided boxes are tighter than those of other data sets.',
    low=0.8,
    high=1.2,
  )
  brightness: float = setting(0.0, 'Random offset, +- this, of pixels in [-1, 1].')
  contrast: float = setting(0.0, 'Random factor up to 1 + this, log-uniform.')
  color: float = setting(
    0.0, 'Random gain of each channel up to 1 + this, log-uniform.'
  )
  occlusion: float = setting(
    0.0, 'Probability of a grey rectangle over a part of the crop.', low=0.0, high=1.0
  )
  flip: float = setting(
    0.0,
    'Probability of a mirrored sample; needs a symmetric face model.',
    low=0.0,
    high=1.0,
  )


def sample_keys(seed: int | Array, step: Array, samples: Array) -> jax.Array:
  """The random key of every sample of a step: a function of its arguments only.

  Args:
    seed: of the run.
    step: () int.
    samples: (B,) ids of the samples in the data set.

  Returns:
    (B,) typed keys.
  """
  root = jax.random.fold_in(jax.random.key(seed), step)
  return jax.vmap(lambda sample: jax.random.fold_in(root, sample))(samples)


def make_batch(
  rows: CropRows,
  crop_size: int,
  num_identity: int,
  *,
  keys: Array | None = None,
  augment: AugmentConfig | None = None,
  mirror_map: mirror.MirrorMap | None = None,
  crop_scale: float = 1.0,
) -> Batch:
  """Cuts network inputs and their targets out of cached crops, on the device.

  Args:
    rows: B cached crops.
    crop_size: side of the network's input.
    num_identity: N_I.
    keys: (B,) a key for each sample; None = the provided boxes, no jitter, no change
      of the image.
    augment: needed with keys.
    mirror_map: needed with augment.flip.
    crop_scale: side of the network's crop over that of the (jittered) box.

  Returns:
    The batch in pixels of the network's crop.

  Raises:
    ValueError: if augment or mirror_map is missing.
  """
  if keys is not None and augment is None:
    raise ValueError('make_batch(): keys without an AugmentConfig; pass both.')
  if augment is None:
    augment = AugmentConfig()  # Without keys nothing reads it.
  if keys is not None and augment.flip and mirror_map is None:
    raise ValueError(
      'make_batch(): augment.flip without a mirror_map; pass that of '
      'mirror.mirror_map().'
    )

  def one(row, key):
    if key is not None and mirror_map is not None and augment.flip:
      # A key of its own: the other draws are those of runs without it.
      flip = jax.random.bernoulli(jax.random.fold_in(key, 2), augment.flip)
      row = jax.tree.map(
        lambda a, b: jnp.where(flip, a, b), _flipped(row, num_identity, mirror_map), row
      )
    square = boxes.square_box(row.box)
    if key is None:
      box = square
    else:
      key_box, key_image = jax.random.split(key)
      box = boxes.jitter_box(
        key_box,
        square,
        shift=augment.shift_jitter,
        scale=augment.scale_jitter,
        anisotropic=augment.anisotropic_jitter,
        box_scale=augment.box_scale,
      )
    if crop_scale != 1:  # times 1 may change a bit
      box = boxes.scale_box(box, crop_scale)
    image: Array = cropping.resample_crop(
      row.image.astype(jnp.float32) / 127.5 - 1.0, box, crop_size
    )
    if key is not None:
      image = augment_image(key_image, image, augment)
    face = boxes.crop_params(unflatten_params(row.params, num_identity), box, crop_size)
    factor = crop_size / jnp.sqrt(box[2] * box[3])
    return Batch(
      image=image,
      landmarks=boxes.crop_points(row.landmarks, box, crop_size),
      visible=row.visible,
      face_params=face,
      # The normaliser is the PROVIDED box, not the jittered one.
      box_size=jnp.sqrt(row.box[2] * row.box[3]) * factor,
      weight=row.weight,
    )

  if keys is None:
    return jax.vmap(lambda row: one(row, None))(rows)
  return jax.vmap(one)(rows, keys)


def _flipped(
  row: CropRows, num_identity: int, mirror_map: mirror.MirrorMap
) -> CropRows:
  """One cached crop and its labels, left and right exchanged."""
  size = row.image.shape[1]
  box = jnp.asarray(row.box)
  face = mirror.mirror_params(
    unflatten_params(row.params, num_identity), mirror_map.signs, size
  )
  points = row.landmarks[mirror_map.landmarks]
  return dataclasses.replace(
    row,
    image=row.image[:, ::-1],
    params=flatten_params(face),
    landmarks=jnp.asarray(points).at[:, 0].set(size - 1 - points[:, 0]),
    visible=row.visible[mirror_map.landmarks] & (mirror_map.landmarks >= 0),
    box=box.at[0].set(size - 1 - box[0] - box[2]),
  )


def augment_image(key: Array, image: Array, config: AugmentConfig) -> Array:
  """Changes colours and hides a part of one crop.

  Args:
    key: a key.
    image: (S, S, 3) in [-1, 1].
    config: strengths; a zero leaves that change out.

  Returns:
    (S, S, 3) in [-1, 1].
  """
  keys = jax.random.split(key, 5)
  if config.contrast or config.color or config.brightness:
    gain = jnp.exp(
      jax.random.uniform(keys[0], (), minval=-1.0) * jnp.log1p(config.contrast)
      + jax.random.uniform(keys[1], (3,), minval=-1.0) * jnp.log1p(config.color)
    )
    offset = config.brightness * jax.random.uniform(keys[2], (), minval=-1.0)
    mean = jnp.mean(image, axis=(0, 1))
    image = jnp.clip((image - mean) * gain + mean + offset, -1.0, 1.0)
  if config.occlusion:
    size = image.shape[0]
    # centre u, v; half width, half height; value.
    draw = jax.random.uniform(keys[3], (5,))
    grid = jnp.arange(size)
    half = (0.05 + 0.15 * draw[2:4]) * size
    inside = (jnp.abs(grid - draw[0] * size) < half[0])[None, :] & (
      jnp.abs(grid - draw[1] * size) < half[1]
    )[:, None]
    hit = jax.random.bernoulli(keys[4], config.occlusion)
    image = jnp.where((hit & inside)[..., None], 2 * draw[4] - 1, image)
  return image
