"""The probability that a face was found, out of the signs of agreement.

A logistic function for every kind of search (with or without the mirror, of one pass or
of several), fitted to faces whose landmarks are known. Its numbers are a JSON object,
which lies in the card of the weights that it was fitted with.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np
import scipy.optimize

from pifa_jax.inference import signs as signs_lib

# A face is found if its mean error is below this share of its landmarks' box.
FOUND_BELOW = 0.10
# A face that is much larger than its box is as doubtful as one that is much smaller.
_SIGNED = ('given_size',)
# Keeps the weight of a sign that tells nothing near 0; in units of a sample.
_RIDGE = 1.0
# Nothing is surer than the few hundred faces of a fit can tell.
_LIMIT = 6.0


def kind_of(signs: Mapping[str, Any]) -> str:
  """Names the kind of search that has these signs: 'mirror_further', 'plain_first', ...

  Args:
    signs: of a call and of its search.

  Returns:
    The name.
  """
  return (
    f'{"mirror" if "mirror" in signs else "plain"}_'
    f'{"further" if "moved" in signs else "first"}'
  )


def _names(kind: str) -> list[str]:
  """The inputs of the logistic function of a kind."""
  mirror, _, passes = kind.partition('_')
  absent = set()
  if mirror == 'plain':
    absent.add('mirror')
  if passes == 'first':
    absent.add('moved')
  names = [
    name
    for name in (*signs_lib.OF_A_CALL, *signs_lib.OF_A_SEARCH)
    if name not in absent
  ]
  return [*names, *(f'{name}_squared' for name in _SIGNED)]


def _inputs(names: Sequence[str], signs: Mapping[str, Any]) -> np.ndarray:
  """(..., len(names)) inputs."""
  values = []
  for name in names:
    sign = name.removesuffix('_squared')
    value = np.asarray(signs[sign], np.float64)
    values.append(value**2 if sign != name else value)
  return np.stack(values, axis=-1)


@dataclasses.dataclass(frozen=True)
class Logistic:
  """1 / (1 + exp(-(bias + weights . inputs))).

  Attributes:
    bias: of the sum.
    weights: name of a sign, or of its square -> weight.
  """

  bias: float
  weights: dict[str, float]

  def __call__(self, signs: Mapping[str, Any]) -> np.ndarray:
    """The probabilities of some faces.

    Args:
      signs: name -> numbers of any one shape.

    Returns:
      Probabilities of that shape.
    """
    names = list(self.weights)
    total = self.bias + _inputs(names, signs) @ np.array(
      [self.weights[n] for n in names]
    )
    # A crop without any contrast may give infinite signs.
    total = np.nan_to_num(np.clip(total, -_LIMIT, _LIMIT), nan=-_LIMIT)
    return 1 / (1 + np.exp(-total))


@dataclasses.dataclass(frozen=True)
class Confidence:
  """What makes confidences of the signs of one set of weights.

  Attributes:
    functions: kind of search -> its function.
    retry_below: kind of search -> a confidence; searches with a lower one try other
      first boxes. Kinds that are missing never do.
  """

  functions: dict[str, Logistic]
  retry_below: dict[str, float] = dataclasses.field(default_factory=dict)

  def __call__(self, signs: Mapping[str, float]) -> float:
    """The confidence of one face.

    Args:
      signs: of a call and of its search.

    Returns:
      The probability that the mean error of its landmarks is below 10 % of their box.

    Raises:
      KeyError: if there is no function for this kind of search.
    """
    return float(self.functions[kind_of(signs)](signs))

  def doubts(self, signs: Mapping[str, float]) -> bool:
    """Whether a search should try other first boxes.

    Args:
      signs: of a call and of its search.

    Returns:
      True if the confidence is below `retry_below`.
    """
    return self(signs) < self.retry_below.get(kind_of(signs), 0.0)

  def to_json(self) -> dict[str, Any]:
    """The JSON object of the card."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, value: Any) -> 'Confidence':
    """Reads the JSON object of the card.

    Args:
      value: of `to_json`.

    Returns:
      The same.

    Raises:
      ValueError: if it is something else.
    """
    try:
      functions = {
        kind: Logistic(
          float(one['bias']), {str(k): float(v) for k, v in one['weights'].items()}
        )
        for kind, one in value['functions'].items()
      }
      found = cls(functions, {k: float(v) for k, v in value['retry_below'].items()})
    except (TypeError, KeyError, ValueError, AttributeError) as error:
      raise ValueError(
        'The confidence is not what experiments.calibrate writes '
        f'({type(error).__name__}: {error}); write it again.'
      ) from None
    wanted = {f'{a}_{b}' for a in ('mirror', 'plain') for b in ('first', 'further')}
    for kind, one in functions.items():
      if kind not in wanted or set(one.weights) != set(_names(kind)):
        raise ValueError(
          f'The confidence has a function {kind!r} of {sorted(one.weights)}, which '
          'this version does not know; write it again with experiments.calibrate.'
        )
    return found


def fit(signs: Mapping[str, np.ndarray], found: np.ndarray) -> Logistic:
  """Fits the function of one kind of search.

  Args:
    signs: name -> (n,) of the signs of that kind.
    found: (n,) bool, whether the face was found.

  Returns:
    The function of largest likelihood, with a ridge upon the standardised weights.

  Raises:
    ValueError: if all faces were found, or none.
  """
  found = np.asarray(found, bool)
  if found.all() or not found.any():
    raise ValueError(
      f'Of {len(found)} faces {found.sum()} were found; a confidence needs some that '
      'were found and some that were lost.'
    )
  names = _names(kind_of(signs))
  inputs = _inputs(names, signs)
  mean, deviation = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
  x = np.column_stack([np.ones(len(inputs)), (inputs - mean) / deviation])
  sign = np.where(found, 1.0, -1.0)

  def cost(weights):
    margin = sign * (x @ weights)
    slope = -sign / (1 + np.exp(np.clip(margin, -500, 500)))
    ridge = np.concatenate([[0.0], weights[1:]])
    value = np.logaddexp(0, -margin).sum() + _RIDGE / 2 * (ridge**2).sum()
    return value, x.T @ slope + _RIDGE * ridge

  best = scipy.optimize.minimize(
    cost, np.zeros(x.shape[1]), jac=True, method='L-BFGS-B'
  ).x
  weights = best[1:] / deviation
  return Logistic(
    float(best[0] - weights @ mean),
    {name: float(w) for name, w in zip(names, weights, strict=True)},
  )


def area_under_curve(confidence: np.ndarray, found: np.ndarray) -> float:
  """The probability that a found face has a higher confidence than a lost one.

  Args:
    confidence: (n,).
    found: (n,) bool.

  Returns:
    The area under the ROC curve, 0.5 = no better than chance; NaN if all faces were
    found, or none.
  """
  found = np.asarray(found, bool)
  good, bad = confidence[found], confidence[~found]
  if not len(good) or not len(bad):
    return float('nan')
  above = (good[:, None] > bad).mean()
  return float(above + (good[:, None] == bad).mean() / 2)
