"""NME, MAPE, failure rate, CED and AUC, visibility, yaw bins (Sec. 4.1, 4.2).

Errors are fractions and pixels; programs print percent. The error of a face is NaN if
none of its landmarks counts: nothing was measured. Every mean leaves such faces out,
and whoever reports the mean says how many there were. A prediction that is not finite
is not such a face: its error is infinite.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.types import Array


def normalized_mean_error(
  predicted: Array, target: Array, visible: Array, box_size: Array
) -> jax.Array:
  """Mean landmark error of one face over the size of its box (Sec. 4.1).

  Args:
    predicted: (N, 2) pixels.
    target: (N, 2) pixels; anything, even NaN, where not visible.
    visible: (N,) bool, the landmarks that count.
    box_size: () sqrt(w h) of the box, or another normaliser, pixels.

  Returns:
    () fraction; NaN if nothing is visible, infinite if a visible landmark is
    predicted at a place that is not finite.
  """
  return _nan_if_unmeasured(
    summable_error(predicted, target, visible, box_size), visible
  )


def summable_error(
  predicted: Array, target: Array, visible: Array, box_size: Array
) -> jax.Array:
  """`normalized_mean_error` for sums over faces in compiled code.

  A face without a visible landmark adds nothing to the sum; whoever divides it divides
  by the number of the others. (The `where` of `normalized_mean_error` would stand
  between the divisions and the sum, and XLA would round differently.)

  Args:
    predicted: (N, 2) pixels.
    target: (N, 2) pixels; anything, even NaN, where not visible.
    visible: (N,) bool, the landmarks that count.
    box_size: () normaliser, pixels.

  Returns:
    () fraction; 0 if nothing is visible.
  """
  return _mean_distance(predicted, target, visible) / box_size


def mean_average_pixel_error(
  predicted: Array, target: Array, visible: Array
) -> jax.Array:
  """Mean landmark error of one face in pixels (MAPE, Sec. 4.1).

  Args:
    predicted: (N, 2) pixels.
    target: (N, 2) pixels; anything where not visible.
    visible: (N,) bool, the landmarks that count.

  Returns:
    () pixels; NaN and infinite as `normalized_mean_error`. Its gradient is finite
    wherever the prediction is, and zero if nothing is visible.
  """
  return _nan_if_unmeasured(_mean_distance(predicted, target, visible), visible)


def _mean_distance(predicted, target, visible):
  """Mean distance of the visible landmarks; 0 if there is none."""
  offset = jnp.where(visible[:, None], predicted - target, 0.0)
  squared = jnp.sum(offset**2, axis=-1)
  # Guarded before the root: its gradient at 0 is infinite.
  zero = squared == 0
  distance = jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1, squared)))
  return jnp.sum(distance) / jnp.maximum(jnp.sum(visible), 1)


def _nan_if_unmeasured(error, visible):
  # A prediction that is not finite; nothing divided by a box of size 0.
  error = jnp.where(jnp.isnan(error), jnp.inf, error)
  return jnp.where(jnp.any(visible), error, jnp.nan)


def failure_rate(errors: np.ndarray, threshold: float = 0.08) -> float:
  """Share of faces whose NME is strictly above the threshold (Sec. 4.2).

  Args:
    errors: (n,) NME of every face; infinite for a failed face, NaN leaves one out.
    threshold: fraction.

  Returns:
    Fraction in [0, 1].

  Raises:
    ValueError: if there are no faces.
  """
  return float(np.mean(_some(errors) > threshold))


def ced_auc(errors: np.ndarray, limit: float) -> float:
  """Area under the cumulative error distribution up to a limit, exact.

  AUC_a = mean max(0, 1 - NME_i / a).

  Args:
    errors: (n,) NME of every face; infinite for a failed face, NaN leaves one out.
    limit: a, fraction.

  Returns:
    In [0, 1]; higher is better.

  Raises:
    ValueError: if there are no faces, or the limit is not positive.
  """
  if not limit > 0:
    raise ValueError(f'ced_auc(): limit={limit}; it must be above 0.')
  return float(np.mean(np.maximum(0.0, 1.0 - _some(errors) / limit)))


def _some(errors):
  """The errors of the faces that count; at least one must."""
  errors = np.asarray(errors, np.float64)
  errors = errors[~np.isnan(errors)]
  if errors.size == 0:
    raise ValueError('There are no faces to average over.')
  return errors


def block_means(errors: np.ndarray) -> tuple[np.ndarray, int]:
  """Mean error after every block over the faces that have one (Table 3).

  Args:
    errors: (1 + N_v, n) of n faces, P^0 first; NaN leaves a face out.

  Returns:
    (1 + N_v,) means, NaN if no face counts; and how many faces were left out.
  """
  errors = np.asarray(errors)
  counted = ~np.isnan(errors).any(axis=0)
  left_out = int((~counted).sum())
  if left_out == len(counted):
    return np.full(len(errors), np.nan), left_out
  return np.compress(counted, errors, axis=1).mean(axis=1), left_out


def visibility_scores(predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
  """How well visibility labels are predicted; 'visible' is the positive class.

  Args:
    predicted: bool, any shape.
    target: bool, the same shape.

  Returns:
    'accuracy', 'precision', 'recall', 'f1'; NaN where a denominator is 0.
  """
  predicted, target = np.asarray(predicted, bool), np.asarray(target, bool)
  hits = np.sum(predicted & target)
  divide = lambda a, b: float(a / b) if b else float('nan')
  return {
    'accuracy': float(np.mean(predicted == target)),
    'precision': divide(hits, np.sum(predicted)),
    'recall': divide(hits, np.sum(target)),
    'f1': divide(2 * hits, np.sum(predicted) + np.sum(target)),
  }


def yaw_bin_means(errors: np.ndarray, yaw: np.ndarray) -> dict[str, float]:
  """NME of the yaw bins |yaw| <= 30, (30, 60], > 60 and the mean of the bins.

  Args:
    errors: (n,) NME; NaN leaves a face out.
    yaw: (n,) degrees: the data set's label where it has one, else that of the target
      P (`projection.pose_degrees`). Its sign does not matter.

  Returns:
    '0-30', '30-60', '>60', 'mean of bins'; NaN for an empty bin, which the
    mean leaves out.
  """
  errors, yaw = np.asarray(errors), np.asarray(yaw)
  errors, yaw = errors[~np.isnan(errors)], yaw[~np.isnan(errors)]
  size = np.abs(yaw)
  bins = {'0-30': size <= 30, '30-60': (size > 30) & (size <= 60), '>60': size > 60}
  means = {
    name: float(np.mean(errors[inside])) if inside.any() else float('nan')
    for name, inside in bins.items()
  }
  known = [value for value in means.values() if not np.isnan(value)]
  means['mean of bins'] = float(np.mean(known)) if known else float('nan')
  return means
