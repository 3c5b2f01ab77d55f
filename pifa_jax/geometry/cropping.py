"""Crops of images: one resampling kernel, in JAX for the device and in NumPy for files.

A crop is a square image of a box; where pixels lie follows `boxes.crop_points`.
"""

import math
import types

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.types import Array

_BAND = 4  # rows of a crop that are made together
# Multiplications of a product that OpenBLAS leaves to one thread. Others would wait
# for cores on which the network runs.
_PRODUCT = 200_000


def resample_crop(image: Array, box: Array, crop_size: int) -> jax.Array:
  """Resamples a box of an image as a square crop, on the device.

  Bilinear, widened to the source footprint when shrinking (a triangle kernel: no
  aliasing), as two matrix products, one per axis. Outside the image the colour
  is 0, mid-grey in [-1, 1]. The same half-pixel rule as `crop_points`.

  Args:
    image: (H, W, C) float.
    box: (4,) outer edges, any position.
    crop_size: N pixels a side.

  Returns:
    (N, N, C) float.
  """
  rows = _resample_matrix(jnp, image.shape[0], box[1], box[3], crop_size)
  columns = _resample_matrix(jnp, image.shape[1], box[0], box[2], crop_size)
  return jnp.einsum('vh,hwc,uw->vuc', rows, image, columns)


def resample_rotated(
  image: Array, box: Array, crop_size: int, angle: Array
) -> jax.Array:
  """Resamples a box of an image that is rotated about its centre, on the device.

  Bilinear at the rotated places, of an image that was first smoothed as much as the
  crop is coarser than it: both together are about as wide as the triangle of
  `resample_crop`. Outside the image the colour is 0.

  Args:
    image: (H, W, C) float.
    box: (4,) outer edges of the box before it is rotated, any position.
    crop_size: N pixels a side.
    angle: () radians, clockwise as one sees the image.

  Returns:
    (N, N, C) float: what is rotated by `angle` in the image is upright here.
  """
  height, width = image.shape[:2]
  step = box[2:] / crop_size  # source pixels a crop pixel
  # Triangles of widths w and 1, one after the other, have the variance of one of
  # sqrt(w^2 + 1). One filter for both axes, as they may be rotated to each other.
  wide = jnp.sqrt(jnp.maximum(jnp.max(step) ** 2 - 1, 1e-6))
  # A box larger than the image would ask for more.
  reach = max(1, math.ceil(max(height, width) / crop_size) - 1)
  weights = jax.nn.relu(1 - jnp.abs(jnp.arange(-reach, reach + 1)) / wide)
  image = _smoothed(image, weights / jnp.sum(weights))

  offset = (jnp.arange(crop_size) - (crop_size - 1) / 2)[:, None] * step
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  middle = box[:2] + box[2:] / 2
  u = middle[0] + cos * offset[:, 0] - sin * offset[:, 1, None]
  v = middle[1] + sin * offset[:, 0] + cos * offset[:, 1, None]
  # Far outside, a float is no index.
  u, v = jnp.clip(u, -2.0, width + 1.0), jnp.clip(v, -2.0, height + 1.0)
  left, top = jnp.floor(u).astype(jnp.int32), jnp.floor(v).astype(jnp.int32)
  right, below = (u - left)[..., None], (v - top)[..., None]
  # Two pixels of grey around: every place has four neighbours.
  flat = jnp.pad(image, ((2, 3), (2, 3), (0, 0))).reshape(-1, image.shape[2])
  places = (top + 2) * (width + 5) + left + 2
  at = lambda down, along: flat.at[places + down * (width + 5) + along].get(
    mode='promise_in_bounds'
  )
  row = lambda down: at(down, 0) * (1 - right) + at(down, 1) * right
  return row(0) * (1 - below) + row(1) * below


def _smoothed(image: Array, weights: Array) -> jax.Array:
  """(H, W, C) convolved along both axes with an odd number of weights; 0 outside."""
  reach = len(weights) // 2
  for axis in (0, 1):
    length = image.shape[axis]
    padding = [(reach, reach) if axis == i else (0, 0) for i in range(image.ndim)]
    padded = jnp.pad(image, padding)
    part = lambda k, p=padded, n=length, a=axis: jax.lax.slice_in_dim(
      p, k, k + n, axis=a
    )
    image = sum(
      (weights[k] * part(k) for k in range(len(weights))), start=jnp.zeros(())
    )
  return jnp.asarray(image)


def crop(image: np.ndarray, box: np.ndarray, crop_size: int) -> np.ndarray:
  """Resamples a box of an image as a square crop: `resample_crop` for uint8, in NumPy.

  Args:
    image: (H, W, 3) uint8.
    box: (4,) outer edges; outside the image is mid-grey.
    crop_size: N pixels a side.

  Returns:
    (N, N, 3) uint8.
  """
  rows = _resample_matrix(np, image.shape[0], box[1], box[3], crop_size)
  columns = _resample_matrix(np, image.shape[1], box[0], box[2], crop_size)
  rows, columns = np.asarray(rows, np.float32), np.asarray(columns, np.float32)
  # Only the rows and columns that the box touches.
  down, across = np.flatnonzero(rows.any(axis=0)), np.flatnonzero(columns.any(axis=0))
  if not len(down) or not len(across):
    return np.full((crop_size, crop_size, 3), 128, np.uint8)
  r, c = slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1)
  part = image[r, c].astype(np.float32) - 127.5
  half = _banded_product(rows[:, r], part.reshape(len(part), -1))
  half = half.reshape(crop_size, -1, 3).transpose(1, 0, 2)
  out = _banded_product(columns[:, c], half.reshape(len(half), -1))
  out = out.reshape(crop_size, crop_size, 3).transpose(1, 0, 2)
  return np.clip(np.round(out + 127.5), 0, 255).astype(np.uint8)


def _banded_product(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
  """The product of two matrices, the first of which is 0 away from its diagonal.

  A crop pixel is made of a few pixels of the image: nearly all of a full product would
  be multiplications by 0.
  """
  out = np.zeros((len(weights), values.shape[1]), np.float32)
  for first in range(0, len(weights), _BAND):
    band = slice(first, first + _BAND)
    used = np.flatnonzero(weights[band].any(axis=0))
    if not len(used):
      continue
    part = slice(used[0], used[-1] + 1)
    some = np.ascontiguousarray(weights[band, part])
    width = max(1, _PRODUCT // some.size)
    for left in range(0, values.shape[1], width):
      across = slice(left, left + width)
      out[band, across] = some @ values[part, across]
  return out


def crop_rotated(
  image: np.ndarray, box: np.ndarray, crop_size: int, angle: float | np.floating
) -> np.ndarray:
  """Resamples a square of an image that is rotated about its own centre.

  First an upright crop of twice the resolution, then its pixels at the rotated
  places, averaged 2 x 2: as sharp as `crop`.

  Args:
    image: (H, W, 3) uint8.
    box: (4,) outer edges of the square before it is rotated; outside the image is
      mid-grey.
    crop_size: N pixels a side.
    angle: radians, clockwise as one sees the image.

  Returns:
    (N, N, 3) uint8: what is rotated by `angle` in the image is upright here.
  """
  cos, sin = np.cos(angle), np.sin(angle)
  # The upright square about the rotated one, a pixel wider on every side.
  fine = 2 * int(np.ceil(crop_size * (abs(cos) + abs(sin)) + 2))
  reach = box[2:] * (fine / (2 * crop_size))
  wide = crop(image, np.concatenate([box[:2] + (box[2:] - reach) / 2, reach]), fine)
  # Pixels from the centre, of the doubled size.
  steps = np.arange(2 * crop_size) - (crop_size - 0.5)
  u = (fine - 1) / 2 + cos * steps - sin * steps[:, None]
  v = (fine - 1) / 2 + sin * steps + cos * steps[:, None]
  left, top = np.floor(u).astype(int), np.floor(v).astype(int)
  right, below = (u - left)[..., None], (v - top)[..., None]
  row = lambda down: (
    wide[top + down, left] * (1 - right) + wide[top + down, left + 1] * right
  )
  rotated = row(0) * (1 - below) + row(1) * below
  pixels = rotated.reshape(crop_size, 2, crop_size, 2, 3).mean(axis=(1, 3))
  return np.round(pixels).astype(np.uint8)


def _resample_matrix(
  xp: types.ModuleType, length: int, start: Array, extent: Array, crop_size: int
) -> Array:
  """(crop_size, length) weights of one axis; xp is jax.numpy or numpy."""
  step = extent / crop_size  # source pixels a crop pixel
  source = start + (xp.arange(crop_size) + 0.5) * step

  # `relu` in JAX: the gradient of `maximum` at exactly 0 is one half.
  relu = jax.nn.relu if xp is jnp else lambda x: np.maximum(0, x)
  kernel = lambda grid: relu(1 - xp.abs(source[:, None] - grid) / xp.maximum(step, 1.0))
  # Normalised over a grid that goes on beyond the image: pixels outside count
  # as 0 instead of passing their share on to the border.
  total = kernel(xp.arange(-length, 2 * length)).sum(axis=1, keepdims=True)
  return kernel(xp.arange(length)) / xp.maximum(total, 1e-6)
