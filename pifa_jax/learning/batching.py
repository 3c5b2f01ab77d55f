"""Network inputs and targets out of cached crops, jittered and augmented on the device.

All randomness is a function of (seed, step, sample): a resumed run repeats the
uninterrupted one, on any number of devices.
"""

import dataclasses

import jax
import jax.numpy as jnp

from pifa_jax.geometry import boxes, cropping, mirror
from pifa_jax.learning import augmentation
from pifa_jax.learning.augmentation import AugmentConfig as AugmentConfig
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
    image: Array = row.image.astype(jnp.float32) / 127.5 - 1.0
    angle: Array = jnp.zeros(())
    if key is not None and augment.rotation:
      # As for the mirror, a key of its own.
      angle = jnp.deg2rad(augment.rotation) * jax.random.uniform(
        jax.random.fold_in(key, 3), (), minval=-1.0
      )
      image = cropping.resample_rotated(image, box, crop_size, angle)
      row = _rotated(row, num_identity, box[:2] + box[2:] / 2, angle)
    else:
      image = cropping.resample_crop(image, box, crop_size)
    face = boxes.crop_params(unflatten_params(row.params, num_identity), box, crop_size)
    factor = crop_size / jnp.sqrt(box[2] * box[3])
    # The normaliser is the PROVIDED box, not the jittered one.
    box_size = jnp.sqrt(row.box[2] * row.box[3]) * factor
    if key is not None:
      image = augmentation.augment_image(
        key_image, image, augment, face_size=box_size, angle=angle
      )
    return Batch(
      image=image,
      landmarks=boxes.crop_points(row.landmarks, box, crop_size),
      visible=row.visible,
      face_params=face,
      box_size=box_size,
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


def _rotated(row: CropRows, num_identity: int, centre: Array, angle: Array) -> CropRows:
  """The labels of one cached crop whose image is rotated by -angle about a point."""
  face = boxes.rotate_params(unflatten_params(row.params, num_identity), centre, -angle)
  return dataclasses.replace(
    row,
    params=flatten_params(face),
    landmarks=boxes.rotate_points(row.landmarks, centre, -angle),
  )
