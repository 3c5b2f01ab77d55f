"""SGD in Caffe's order, which the paper used (Sec. 4), and its two presets."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax

from pifa_jax import settings
from pifa_jax.settings import REQUIRED, setting

# Imported where it is used: who aligns a photo does not wait for it.
if TYPE_CHECKING:
  import optax

SCHEDULES = ('multistep', 'cosine')
METHODS = ('sgd', 'adam')


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """Every number of the optimizer.

  A field that is made by `setting` carries its own help; the others are:

  Attributes:
    warmup: fraction of all steps in which the learning rate rises linearly.
    schedule: 'multistep' (the paper) or 'cosine' (from learning_rate to 0).
  """

  learning_rate: float = setting(REQUIRED, 'Learning rate before the first drop.')
  learning_rate_drops: tuple[tuple[float, float], ...] = setting(
    (),
    'Comma-separated fraction:rate pairs: from that fraction of all steps on, that '
    'learning rate; such as 0.6061:5e-7,0.8788:1e-7 for the paper.',
  )
  momentum: float = setting(0.9, 'Momentum mu.')
  weight_decay: float = setting(
    0.0, 'Weight decay lambda, inside the gradient, of kernels alone.', low=0.0
  )
  clip_norm: float = setting(
    0.0,
    'Global gradient norm above which the gradient is scaled down (clip_gradients '
    'of Caffe); 0 = off.',
    low=0.0,
  )
  method: str = setting(
    'sgd',
    "sgd, the paper's, in Caffe's order; or adam, with decoupled weight decay "
    '(BUILD_NOTES.md D-94).',
    choices=METHODS,
  )
  warmup: float = 0.0
  schedule: str = 'multistep'

  def __post_init__(self):
    settings.check(self)
    if self.schedule not in SCHEDULES:
      raise ValueError(f'schedule={self.schedule!r}; use {" or ".join(SCHEDULES)}.')
    if not self.learning_rate > 0:
      raise ValueError(f'learning_rate={self.learning_rate}; it must be above 0.')
    if not 0 <= self.momentum < 1:
      raise ValueError(f'momentum={self.momentum}; it must be in [0, 1).')


PRESETS = {
  # Sec. 4, read as D-12 says ("5e-6" is an increase: 5e-7).
  'paper': OptimizerConfig(
    learning_rate=1e-6,
    learning_rate_drops=((20 / 33, 5e-7), (29 / 33, 1e-7)),
    momentum=0.99,
    weight_decay=0.005,
  ),
  # Found by measurement: BUILD_NOTES.md D-12.
  'tuned': OptimizerConfig(
    learning_rate=5e-4,
    momentum=0.9,
    weight_decay=5e-4,
    clip_norm=100.0,
    warmup=0.02,
    schedule='cosine',
  ),
  'adam': OptimizerConfig(
    method='adam',
    learning_rate=1e-3,
    weight_decay=1e-4,
    clip_norm=10.0,
    warmup=0.02,
    schedule='cosine',
  ),
}


def learning_rate_schedule(config: OptimizerConfig, num_steps: int) -> 'optax.Schedule':
  """The learning rate of every step.

  Args:
    config: numbers of the optimizer.
    num_steps: the length of the whole run; drops and warm-up are fractions.

  Returns:
    step (0-based) -> learning rate.
  """
  import optax

  warmup = round(config.warmup * num_steps)
  if config.schedule == 'cosine':
    return optax.warmup_cosine_decay_schedule(
      config.learning_rate / max(warmup, 1) if warmup else config.learning_rate,
      config.learning_rate,
      warmup,
      max(num_steps, warmup + 1),
    )
  scales, current = {}, config.learning_rate
  for fraction, rate in config.learning_rate_drops:
    scales[round(fraction * num_steps)] = rate / current
    current = rate
  multistep = optax.piecewise_constant_schedule(config.learning_rate, scales)
  if not warmup:
    return multistep
  return lambda step: multistep(step) * jax.numpy.minimum(1.0, (step + 1) / warmup)


def make_optimizer(
  config: OptimizerConfig, num_steps: int
) -> 'optax.GradientTransformation':
  """SGD as Caffe does it: v <- mu v + lr (g + lambda w); w <- w - v. Or Adam.

  The learning rate is INSIDE the momentum buffer. `optax.sgd` has it outside,
  and the two differ after every drop of the schedule.

  Args:
    config: numbers of the optimizer.
    num_steps: the length of the whole run, for the schedule.

  Returns:
    An Optax transformation.
  """
  import optax

  parts = []
  if config.clip_norm:
    parts.append(optax.clip_by_global_norm(config.clip_norm))
  if config.method == 'adam':
    # Loshchilov and Hutter, 2019: the decay stays out of the moments.
    schedule = learning_rate_schedule(config, num_steps)
    return optax.chain(
      *parts, optax.adamw(schedule, weight_decay=config.weight_decay, mask=decay_mask)
    )
  if config.weight_decay:
    parts.append(optax.add_decayed_weights(config.weight_decay, decay_mask))
  parts += [
    optax.scale_by_learning_rate(learning_rate_schedule(config, num_steps)),
    optax.trace(decay=config.momentum),
  ]
  return optax.chain(*parts)


def decay_mask(params: Any) -> Any:
  """Which leaves decay: kernels, not biases nor BN's scale and offset.

  Args:
    params: the network's weights.

  Returns:
    A tree of bool of the same structure.
  """
  return jax.tree_util.tree_map_with_path(
    lambda path, _: path[-1].key == 'kernel', params
  )
