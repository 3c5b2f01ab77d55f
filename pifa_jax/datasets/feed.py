"""Which samples a step sees, and their rows of a packed data set.

Both are functions of (seed, step): there is no iterator to save or restore.
"""

import functools

import numpy as np

from pifa_jax.training import CropRows


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, num_samples: int) -> np.ndarray:
  # Philox is a counter-based generator: its key IS the (seed, epoch) pair.
  bits = np.random.Philox(key=np.array([seed, epoch], np.uint64))
  return np.random.Generator(bits).permutation(num_samples)


def sample_ids(seed: int, step: int, batch_size: int,
               num_samples: int) -> np.ndarray:
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


def padded_batches(num_samples: int, batch_size: int):
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


def rows(packed, ids: np.ndarray, weight: np.ndarray | None = None) -> CropRows:
  """The rows of a packed data set, read from its memory map.

  Args:
    packed: `packed.PackedCrops`.
    ids: (B,) sample numbers.
    weight: (B,) default: ones.

  Returns:
    NumPy arrays, ready for the device.
  """
  if weight is None:
    weight = np.ones(len(ids), np.float32)
  return CropRows(
      image=packed.images[ids], landmarks=packed.landmarks[ids],
      visible=packed.visible[ids], params=packed.params[ids],
      box=packed.boxes[ids], weight=weight)
