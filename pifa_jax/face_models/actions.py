"""Expressions as named actions from 0 to 1: jaw open, eye blink left, smile."""

from collections.abc import Mapping

import numpy as np
import scipy.optimize

# Weight of the squared sum of all actions beside the squared error. The built-in model
# has more actions (51) than expression coefficients (29), so several sums give one
# expression: the one of the fewest and weakest actions is wanted.
_SPARSITY = 3e-3
# An action whose coefficients are shorter than this share of the median action's moves
# next to nothing, so nothing tells its strength.
_WEAKEST = 0.1


def expression_actions(
  units: Mapping[str, np.ndarray], expression: np.ndarray
) -> dict[str, float]:
  """Reads an expression as a weighted sum of single actions.

  The weights w in [0, 1] of the least |sum_k w_k e_k - p^E|^2 + c (sum_k w_k |e_k|)^2:
  a bounded least-squares problem, in which the square of a sum of positive numbers
  acts as the lasso does.

  Actions that the model's bases hardly hold are left out: of the built-in face those of
  eyes that look left or right. Its bases turn the eyeballs too little.

  Args:
    units: name -> (N_E,) coefficients of the action at full strength, of
      `load_expression_units`.
    expression: (N_E,) p^E of one face.

  Returns:
    name -> strength in [0, 1], in the order of `units`; empty without units.

  Raises:
    ValueError: if the expression is not finite or has another length than the units.
  """
  if not units:
    return {}
  actions = np.stack([np.asarray(unit, np.float64) for unit in units.values()], axis=1)
  target = np.asarray(expression, np.float64)
  if target.shape != actions.shape[:1] or not np.isfinite(target).all():
    raise ValueError(
      f'expression_actions(): the expression has shape {target.shape}; wanted '
      f'({actions.shape[0]},) finite numbers to go with the units.'
    )
  strengths = np.linalg.norm(actions, axis=0)
  typical = np.median(strengths)
  held = strengths > _WEAKEST * typical
  if not held.any():
    return {}
  # In units of the typical action, so that _SPARSITY means the same for every model.
  actions, strengths = actions[:, held] / typical, strengths[held] / typical
  found = scipy.optimize.lsq_linear(
    np.concatenate([actions, np.sqrt(_SPARSITY) * strengths[None]]),
    np.append(target / typical, 0.0),
    bounds=(0.0, 1.0),
    method='bvls',
  ).x
  names = [name for name, there in zip(units, held, strict=True) if there]
  return {
    name: float(np.clip(value, 0.0, 1.0))
    for name, value in zip(names, found, strict=True)
  }
