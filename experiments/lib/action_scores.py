"""How well named actions of faces are read, and how far eyes and mouths open."""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

import numpy as np

from experiments.lib import cli
from pifa_jax.face_models import expression_actions
from pifa_jax.face_models.landmark_tables import IBUG68_OPENINGS

# An action is said to open or close what it changes by this share of the face's size.
_CHANGES = 0.01


@dataclasses.dataclass(frozen=True)
class Action:
  """One action that faces make, or a few at once, such as both halves of a smile.

  Attributes:
    name: of the flag, such as 'mouthSmileLeft+mouthSmileRight'.
    members: names of the actions of the face model.
    expression: (N_E,) p^E at full strength.
  """

  name: str
  members: tuple[str, ...]
  expression: np.ndarray

  def strength(self, read: Mapping[str, float]) -> float:
    """What was read of it: the mean of its members.

    Args:
      read: of `expression_actions`.

    Returns:
      From 0 to 1.
    """
    return float(np.mean([read[member] for member in self.members]))


def parse_actions(
  names: Sequence[str], units: Mapping[str, np.ndarray]
) -> list[Action]:
  """The actions that a flag names.

  Args:
    names: such as 'jawOpen', or 'mouthSmileLeft+mouthSmileRight' for both at once.
    units: of `load_expression_units`.

  Returns:
    The actions, in their order.

  Raises:
    UserError: if the face model has no such action, or hardly holds it.
  """
  if not units:
    raise cli.UserError(
      'The face model of these weights has no named actions; use weights of the '
      'built-in face.'
    )
  size = len(next(iter(units.values())))
  held = expression_actions(units, np.zeros(size))
  actions = []
  for name in names:
    members = tuple(part.strip() for part in name.split('+'))
    for member in members:
      if member not in held:
        problem = 'hardly moves' if member in units else 'does not know'
        raise cli.UserError(
          f'--actions={name}: the face model {problem} {member or "an empty name"}; it '
          f'has {", ".join(held)}.'
        )
    expression = np.sum([np.asarray(units[m], np.float64) for m in members], axis=0)
    actions.append(Action(name.strip(), members, expression))
  if not actions:
    raise cli.UserError('--actions names no action; leave it out, or name some.')
  return actions


def opening(landmarks: np.ndarray, name: str) -> np.ndarray:
  """How far an eye or the mouth is open.

  Args:
    landmarks: (..., 68, 2) in the order of iBUG, pixels.
    name: one of `IBUG68_OPENINGS`.

  Returns:
    (...) mean distance between its upper and lower edge along the line from the eyes to
    the mouth, pixels; 0 where they meet or pass each other, as the lids of a linear
    face model do at the end of their way.
  """
  upper, lower = np.array(IBUG68_OPENINGS[name]).T
  points = np.asarray(landmarks, np.float64)
  down = points[..., 48:68, :].mean(axis=-2) - points[..., 36:48, :].mean(axis=-2)
  down /= np.linalg.norm(down, axis=-1, keepdims=True)
  between = (points[..., lower, :] - points[..., upper, :]).mean(axis=-2)
  return np.maximum(0.0, (between * down).sum(axis=-1))


def compare(true: np.ndarray, found: np.ndarray) -> dict[str, float | None]:
  """How numbers that were read go with the true ones.

  Args:
    true: (n,) numbers.
    found: (n,) what was read, in the same unit.

  Returns:
    'correlation' of Pearson and 'slope' of the least-squares line found = a + b true
    (1 and 1 are perfect; None where one of the two does not vary), and 'error', the
    mean absolute difference.
  """
  true, found = np.asarray(true, np.float64), np.asarray(found, np.float64)
  spread, moved = true - true.mean(), found - found.mean()
  product = float(spread @ moved)
  squares, moved_squares = float(spread @ spread), float(moved @ moved)
  both = math.sqrt(squares * moved_squares)
  return {
    'correlation': product / both if both > 1e-12 else None,
    'slope': product / squares if squares > 1e-12 else None,
    'error': float(np.abs(found - true).mean()),
  }


def score_strengths(
  true: np.ndarray, read: np.ndarray, of_truth: np.ndarray
) -> dict[str, float | None]:
  """How well the strength of one action is read.

  Args:
    true: (people, levels) strengths that the faces show, from 0 to 1.
    read: the same of the fitted faces.
    of_truth: the same of the true p^E: what a perfect fit would give.

  Returns:
    `compare`, the mean reading 'at_rest' and 'at_full' strength, and 'limit': the error
    of a perfect fit, since several sums of actions give one expression.
  """
  return {
    **compare(true.ravel(), read.ravel()),
    'at_rest': float(read[:, 0].mean()),
    'at_full': float(read[:, -1].mean()),
    'limit': float(np.abs(of_truth - true).mean()),
  }


def score_openings(
  action: str, true: np.ndarray, found: np.ndarray
) -> list[dict[str, Any]]:
  """How well is seen what an action opens or closes.

  Args:
    action: its name.
    true: (people, levels, 68, 2) landmarks, pixels; the first level is the face at
      rest.
    found: the same, as found.

  Returns:
    A row for each of `IBUG68_OPENINGS` that the action changes: 'compare' over all
    faces, and the means in pixels at rest and at full strength.
  """
  size = float(np.sqrt(np.prod(np.ptp(true[:, 0], axis=1), axis=-1)).mean())
  rows = []
  for name in IBUG68_OPENINGS:
    here, seen = opening(true, name), opening(found, name)
    change = abs(here[:, -1] - here[:, 0]).mean()
    if change < _CHANGES * size:
      continue
    rows.append(
      {
        'action': action,
        'opening': name,
        'true_at_rest': float(here[:, 0].mean()),
        'found_at_rest': float(seen[:, 0].mean()),
        'true_at_full': float(here[:, -1].mean()),
        'found_at_full': float(seen[:, -1].mean()),
        **compare(here.ravel(), seen.ravel()),
      }
    )
  return rows


def normalized_errors(true: np.ndarray, found: np.ndarray) -> np.ndarray:
  """Mean distance of the landmarks over the size of the face, in percent.

  Args:
    true: (..., 68, 2) pixels.
    found: the same.

  Returns:
    (...) percent of sqrt(w h) of the box of the true landmarks.
  """
  size = np.sqrt(np.prod(np.ptp(true, axis=-2), axis=-1))
  return 100 * np.linalg.norm(found - true, axis=-1).mean(axis=-1) / size
