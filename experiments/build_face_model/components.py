"""The linear algebra of the builder: symmetric PCA, and rigid motion removed."""

import numpy as np


def principal_components(
  factor: np.ndarray, mirror: np.ndarray, metric: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Finds the modes of a zero-mean linear family, each symmetric or antisymmetric.

  The family is x = z @ factor with z of unit covariance, so its covariance is
  factor.T @ factor. Every mirrored face counts as well, which makes the covariance
  left-right symmetric. It then splits into a symmetric and an antisymmetric part, and
  each is solved in the small space of z.

  Args:
    factor: (K, Q, 3) displacements.
    mirror: (Q,) the mirror vertex.
    metric: ids of the vertices whose variance counts.
    count: how many modes to return.

  Returns:
    (modes, explained): (count, Q, 3) displacement per standard deviation, by
    falling variance; (count,) the cumulative share of the variance.
  """
  reflected = factor[:, mirror] * [-1, 1, 1]
  modes, variances = [], []
  for sign in (1, -1):
    half = (factor + sign * reflected) / 2
    flat = half[:, metric].reshape(len(half), -1)
    eigenvalues, vectors = np.linalg.eigh(flat @ flat.T)
    keep = eigenvalues > eigenvalues.max() * 1e-12
    variances.append(eigenvalues[keep])
    for vector in vectors.T[keep]:
      mode = np.tensordot(vector, half, axes=1)
      # Exactly (anti)symmetric, not only up to rounding.
      modes.append((mode + sign * (mode[mirror] * [-1, 1, 1])) / 2)
  variance = np.concatenate(variances)
  order = np.argsort(-variance, kind='stable')[:count]
  explained = np.cumsum(variance[order]) / variance.sum()
  return np.stack([modes[i] for i in order]), explained


def fix_signs(modes: np.ndarray) -> np.ndarray:
  """Makes the entry of largest magnitude of every mode positive.

  Args:
    modes: (count, Q, 3).

  Returns:
    (count, Q, 3), some of them with the other sign.
  """
  flat = modes.reshape(len(modes), -1)
  # Rounded, so that a tie between mirror vertices is a tie on every machine.
  largest = np.argmax(np.round(np.abs(flat), 4), axis=1)
  signs = np.sign(flat[np.arange(len(flat)), largest])
  return modes * signs[:, None, None]


def square_root(moment: np.ndarray) -> np.ndarray:
  """Factors a moment matrix.

  Args:
    moment: (K, K), symmetric, without negative eigenvalues.

  Returns:
    (K, K) factor F with F.T @ F = moment.
  """
  values, vectors = np.linalg.eigh(moment)
  return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def remove_rigid(
  displacements: np.ndarray, mean_shape: np.ndarray, metric: np.ndarray
) -> np.ndarray:
  """Takes infinitesimal rotation, translation and scale out of displacements.

  Weak perspective (Eq. 3) expresses all seven exactly, so they must not be in the
  bases as well. They are found by least squares against the seven motions of the mean.

  Args:
    displacements: (K, Q, 3).
    mean_shape: (Q, 3).
    metric: ids of the vertices that decide the motion.

  Returns:
    (K, Q, 3) without the motion.
  """
  centred = mean_shape - mean_shape[metric].mean(axis=0)
  translations = [np.broadcast_to(axis, centred.shape) for axis in np.eye(3)]
  rotations = [np.cross(axis, centred) for axis in np.eye(3)]
  motions = np.stack([*translations, *rotations, centred])
  basis = motions[:, metric].reshape(len(motions), -1)
  flat = displacements[:, metric].reshape(len(displacements), -1)
  amounts = np.linalg.lstsq(basis.T, flat.T, rcond=None)[0]
  return displacements - np.tensordot(amounts.T, motions, axes=1)
