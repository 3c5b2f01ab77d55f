"""NME, MAPE, failure rate, CED and AUC, visibility, yaw bins (Sec. 4.1, 4.2).

Errors are fractions and pixels; programs print percent.
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
    () fraction; 0 if nothing is visible.
  """
  return mean_average_pixel_error(predicted, target, visible) / box_size


def mean_average_pixel_error(
  predicted: Array, target: Array, visible: Array
) -> jax.Array:
  """Mean landmark error of one face in pixels (MAPE, Sec. 4.1).

  Args:
    predicted: (N, 2) pixels.
    target: (N, 2) pixels; anything where not visible.
    visible: (N,) bool, the landmarks that count.

  Returns:
    () pixels; 0 if nothing is visible.
  """
  offset = jnp.where(visible[:, None], predicted - target, 0.0)
  squared = jnp.sum(offset**2, axis=-1)
  # Guarded before the root: its gradient at 0 is infinite.
  distance = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0.0)
  return jnp.sum(distance) / jnp.maximum(jnp.sum(visible), 1)


def failure_rate(errors: np.ndarray, threshold: float = 0.08) -> float:
  """Share of faces whose NME is strictly above the threshold (Sec. 4.2).

  Args:
    errors: (n,) NME of every face; a failed face counts as infinite.
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
    errors: (n,) NME of every face.
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
  errors = np.asarray(errors, np.float64)
  if errors.size == 0:
    raise ValueError('There are no faces to average over.')
  return np.where(np.isnan(errors), np.inf, errors)


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
    errors: (n,) NME.
    yaw: (n,) degrees.

  Returns:
    '0-30', '30-60', '60-90', 'mean of bins'; NaN for an empty bin, which the
    mean leaves out.
  """
  size = np.abs(np.asarray(yaw))
  bins = {'0-30': size <= 30, '30-60': (size > 30) & (size <= 60), '60-90': size > 60}
  means = {
    name: float(np.mean(errors[inside])) if inside.any() else float('nan')
    for name, inside in bins.items()
  }
  known = [value for value in means.values() if not np.isnan(value)]
  means['mean of bins'] = float(np.mean(known)) if known else float('nan')
  return means
