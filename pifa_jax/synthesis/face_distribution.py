"""The random shape and pose of synthetic faces: identity, expression, head pose."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax import settings
from pifa_jax.settings import setting
from pifa_jax.synthesis.draws import Draws
from pifa_jax.types import Array, MorphableModel

_PITCH_MAX, _ROLL_MAX = 40.0, 60.0
_WIDEST = 1.8  # times the usual deviation of identities


@dataclasses.dataclass(frozen=True)
class FaceDistribution:
  """The distribution of poses and shapes; each field has its own help."""

  yaw_max: float = setting(90.0, 'Degrees; yaw is uniform in +-this.', low=0, high=90)
  pitch_mean: float = setting(
    4.0, 'Degrees; pitch is cut at +-40.', low=-_PITCH_MAX, high=_PITCH_MAX
  )
  pitch_stddev: float = setting(16.0, 'Degrees.', low=0, high=90)
  roll_mean: float = setting(
    2.0, 'Degrees; roll is cut at +-60.', low=-_ROLL_MAX, high=_ROLL_MAX
  )
  roll_stddev: float = setting(20.0, 'Degrees.', low=0, high=90)
  identity_limit: float = setting(
    2.5, 'Coefficients are normal, cut at this many deviations.', low=0, high=4
  )
  wide_identity: float = setting(
    0.4,
    'Share of faces whose coefficients deviate by more, up to 1.8 times.',
    low=0,
    high=1,
  )
  num_units: int = setting(
    4, 'Expression units that are active at once, at most.', low=0, high=16
  )
  closed_eyes: float = setting(
    0.15, 'Probability of closed or half closed eyes.', low=0, high=1
  )
  open_mouth: float = setting(0.35, 'Probability of an open mouth.', low=0, high=1)
  pursed_mouth: float = setting(0.08, 'Probability of a pursed mouth.', low=0, high=1)
  smile: float = setting(0.2, 'Probability of a smile.', low=0, high=1)
  squint: float = setting(0.2, 'Probability of narrowed eyes.', low=0, high=1)

  def changed(self, values: Mapping[str, float]) -> 'FaceDistribution':
    """The same distribution but for some fields, for ablations and other sets.

    Args:
      values: name of an attribute -> its value.

    Returns:
      The changed copy.

    Raises:
      ValueError: if a name is not an attribute, or a value is out of its range.
    """
    known = settings.settings_of(FaceDistribution)
    for name, value in values.items():
      if name not in known:
        raise ValueError(
          f'{name!r} is not a field of FaceDistribution; there are {", ".join(known)}.'
        )
      problem = known[name].problem(value)
      if problem is not None:
        raise ValueError(f'{name} is {value:g}; {problem}.')
      if name == 'num_units' and value != int(value):
        raise ValueError(f'num_units is {value:g}; it must be a whole number.')
    changes: dict[str, Any] = {
      name: int(value) if name == 'num_units' else float(value)
      for name, value in values.items()
    }
    return dataclasses.replace(self, **changes)


# Actions of the built-in units that go together, by name.
_GROUPS = {
  'closed_eyes': ('eyeBlinkLeft', 'eyeBlinkRight'),
  'open_mouth': ('jawOpen',),
  'pursed_mouth': ('mouthPucker',),
  'smile': ('mouthSmileLeft', 'mouthSmileRight'),
  'squint': ('eyeSquintLeft', 'eyeSquintRight'),
}


def unit_groups(names: tuple[str, ...]) -> dict[str, np.ndarray]:
  """Finds the units of each action that has a probability of its own.

  Args:
    names: of the U expression units.

  Returns:
    Name of the action -> (U,) 1 for its units, 0 for the others.
  """
  return {
    group: np.array([name in members for name in names], np.float32)
    for group, members in _GROUPS.items()
  }


def pose(key: Array, config: FaceDistribution) -> jax.Array:
  """Draws a head pose.

  Args:
    key: a key.
    config: the distribution.

  Returns:
    (3,) yaw, pitch, roll in degrees.
  """
  draws = Draws(key, 3)
  return jnp.stack(
    [
      draws.uniform(-config.yaw_max, config.yaw_max),
      jnp.clip(
        draws.normal(config.pitch_mean, config.pitch_stddev), -_PITCH_MAX, _PITCH_MAX
      ),
      jnp.clip(
        draws.normal(config.roll_mean, config.roll_stddev), -_ROLL_MAX, _ROLL_MAX
      ),
    ]
  )


def identity(key: Array, model: MorphableModel, config: FaceDistribution) -> jax.Array:
  """Draws identity coefficients: normal, cut at `identity_limit` deviations.

  Real noses, chins and foreheads vary more than the people of most models, so a share
  of the faces deviates by more, and the cut with it.

  Args:
    key: a key.
    model: the 3DMM.
    config: the distribution.

  Returns:
    (N_I,) coefficients.
  """
  limit = config.identity_limit
  draws = Draws(jax.random.fold_in(key, 1), 2)
  wider = jnp.where(
    draws.chance(config.wide_identity), draws.uniform(1.0, _WIDEST), 1.0
  )
  return (
    wider
    * jnp.asarray(model.identity_stddev)
    * jnp.clip(jax.random.normal(key, (model.num_identity,)), -limit, limit)
  )


def expression(
  key: Array,
  model: MorphableModel,
  config: FaceDistribution,
  units: Array | None,
  groups: dict[str, np.ndarray],
) -> jax.Array:
  """Draws expression coefficients.

  With `units` a few of them are active, and some actions (closed eyes, open mouth ...)
  come with their own probabilities.

  Args:
    key: a key.
    model: the 3DMM.
    config: the distribution.
    units: (U, N_E) coefficients of single actions; None = normal coefficients.
    groups: of `unit_groups`; empty = no action has a probability of its own.

  Returns:
    (N_E,) coefficients.
  """
  key_normal, key = jax.random.split(key)
  draws = Draws(key, 64)
  # Half of the faces are nearly neutral.
  strength = jnp.where(draws.chance(0.5), 1.0, 0.3)
  if units is None:
    limit = config.identity_limit
    return (
      strength
      * jnp.asarray(model.expression_stddev)
      * jnp.clip(jax.random.normal(key_normal, (model.num_expression,)), -limit, limit)
    )
  units = jnp.asarray(units)
  chosen = draws.uniform(0, len(units), (config.num_units,)).astype(jnp.int32)
  amount = strength * draws.uniform(shape=(config.num_units,))
  weights = jnp.zeros(len(units)).at[chosen].add(amount)
  for name, members in groups.items():
    # Mostly both sides alike; closed eyes are at least half closed.
    low = 0.45 if name == 'closed_eyes' else 0.25
    value = draws.uniform(low, 1.0)
    on = draws.chance(getattr(config, name))
    weights = jnp.where(on & (members > 0), jnp.maximum(weights, value), weights)
  # Two of the same action would leave the range that the basis was made for.
  return jnp.clip(weights, 0.0, 1.0) @ units
