"""The file of environment maps that light synthetic faces.

`python -m experiments.build_light_maps` makes it.
"""

import functools
import pathlib

import numpy as np

from pifa_jax.synthesis.light_maps import LightMaps

PATH = pathlib.Path(__file__).parent / 'assets' / 'light_maps.npz'


@functools.cache
def load() -> LightMaps:
  """Loads the maps that come with the library.

  Returns:
    NumPy arrays; the panoramas are float16.
  """
  with np.load(PATH, allow_pickle=False) as file:
    arrays = dict(file)
  return LightMaps(
    harmonics=arrays['harmonics'],
    directions=arrays['directions'],
    colors=arrays['colors'],
    width=arrays['width'],
    panorama=decode(arrays['panorama']),
  )


def encode(radiance: np.ndarray) -> np.ndarray:
  """Packs radiance: a byte a channel and a common exponent (Ward 1991, 'RGBE').

  Bytes are stored as differences along the rows, which compress better.

  Args:
    radiance: (..., W, 3), 0 or more.

  Returns:
    (4, ..., W) uint8.
  """
  exponent = np.clip(np.frexp(radiance.max(axis=-1, keepdims=True))[1], -100, 100)
  parts = np.clip(np.round(radiance * 2.0 ** (8 - exponent)), 0, 255)
  packed = np.concatenate([parts, exponent + 128], axis=-1).astype(np.uint8)
  return np.diff(np.moveaxis(packed, -1, 0), axis=-1, prepend=np.uint8(0))


def decode(packed: np.ndarray) -> np.ndarray:
  """Undoes `encode`, to one part in 256 of the strongest channel.

  Args:
    packed: (4, ..., W) uint8.

  Returns:
    (..., W, 3) float16.
  """
  packed = np.moveaxis(np.cumsum(packed, axis=-1, dtype=np.uint8), 0, -1)
  scale = 2.0 ** (packed[..., 3:].astype(np.float32) - 136)
  return np.minimum(packed[..., :3] * scale, 6e4).astype(np.float16)
