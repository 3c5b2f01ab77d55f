"""Which samples a step sees, and their rows of a crop cache.

Both are functions of (seed, step): there is no iterator to save or restore.
"""

from collections.abc import Callable, Iterator
import functools
import os

import jax
import numpy as np

from pifa_jax.datasets.crop_cache import CropCache
from pifa_jax.learning import parallel
from pifa_jax.learning.batching import CropRows

# Of a device's memory, for the data set: the paper's network with its gradient and
# momentum wants 6 GB, and a step's activations their share.
_SHARE_OF_DEVICE = 1 / 8


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, num_samples: int) -> np.ndarray:
  # Philox is a counter-based generator: its key IS the (seed, epoch) pair.
  bits = np.random.Philox(key=np.array([seed, epoch], np.uint64))
  return np.random.Generator(bits).permutation(num_samples)


def sample_ids(seed: int, step: int, batch_size: int, num_samples: int) -> np.ndarray:
  """The samples of one step: every epoch visits every sample once, shuffled.

  Args:
    seed: of the run, >= 0.
    step: 0-based.
    batch_size: B over all devices.
    num_samples: of the training set.

  Returns:
    (B,) int32 ids in [0, num_samples). A batch may straddle two epochs.

  Raises:
    ValueError: if there are no samples.
  """
  if num_samples < 1:
    raise ValueError('The training set is empty; there is nothing to train on.')
  position = step * batch_size + np.arange(batch_size)
  epoch, index = position // num_samples, position % num_samples
  ids = np.empty(batch_size, np.int32)
  for e in np.unique(epoch):
    here = epoch == e
    ids[here] = _epoch_order(seed, int(e), num_samples)[index[here]]
  return ids


def padded_batches(
  num_samples: int, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Covers 0..num_samples-1 in order, in batches of one size.

  Args:
    num_samples: of the set.
    batch_size: B.

  Yields:
    (ids (B,), weight (B,)): the last batch repeats sample 0 with weight 0, so
    that one compiled program serves all.
  """
  for start in range(0, num_samples, batch_size):
    ids = np.arange(start, start + batch_size)
    real = ids < num_samples
    yield np.where(real, ids, 0), real.astype(np.float32)


def rows(
  crops: CropCache, ids: np.ndarray | slice, weight: np.ndarray | None = None
) -> CropRows:
  """The rows of a crop cache, read from its memory map.

  Args:
    crops: the crop cache.
    ids: (B,) sample numbers, or a slice of the samples.
    weight: (B,) default: ones.

  Returns:
    NumPy arrays, ready for the device.
  """
  box = crops.boxes[ids]
  if weight is None:
    weight = np.ones(len(box), np.float32)
  return CropRows(
    image=crops.images[ids],
    landmarks=crops.landmarks[ids],
    visible=crops.visible[ids],
    params=crops.params[ids],
    box=box,
    weight=weight,
  )


def whole_set(crops: CropCache) -> CropRows:
  """All rows of a crop cache, the images still in its memory map.

  Args:
    crops: the crop cache.

  Returns:
    NumPy arrays.
  """
  return rows(crops, slice(None), np.ones(len(crops), np.float32))


def fits(crops: CropCache, device: jax.Device) -> bool:
  """Whether a crop cache may live on a device beside the training of it.

  Args:
    crops: the crop cache.
    device: one of the devices; the host's memory counts where it tells no limit.

  Returns:
    True up to an eighth of the memory.
  """
  limit = (device.memory_stats() or {}).get('bytes_limit')
  if limit is None:
    limit = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  return num_bytes(crops) <= _SHARE_OF_DEVICE * limit


def num_bytes(crops: CropCache) -> int:
  """The memory that all rows of a crop cache take.

  Args:
    crops: the crop cache.

  Returns:
    Bytes.
  """
  return sum(column.nbytes for column in jax.tree.leaves(whole_set(crops)))


def make_source(
  crops: CropCache, devices: list[jax.Device], *, on_device: bool
) -> Callable[[np.ndarray], CropRows]:
  """Where the rows of a training step come from; the same rows either way.

  Args:
    crops: the crop cache.
    devices: those of `parallel.parallel`.
    on_device: copy the whole set to the devices now and gather there, or read
      every batch from the memory map.

  Returns:
    (D, B / D) sample ids -> rows with the same leading axes.
  """
  if on_device:
    return parallel.make_gather(whole_set(crops), devices)
  return lambda ids: parallel.distribute(
    parallel.split_over(rows(crops, ids.reshape(-1)), len(devices)), devices
  )
