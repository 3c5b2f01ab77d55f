"""The whole configuration of a training run, frozen, to and from flags and JSON."""

import dataclasses
import hashlib
import json
from typing import Any

from absl import flags
import jax

from experiments.lib import (
  cli,  # noqa: F401 its flags
  data_loading,
  derived_flags,
  processes,
  synthetic_data,
)
from pifa_jax import settings
from pifa_jax.learning import network_config
from pifa_jax.learning import optimizer as optimizer_lib
from pifa_jax.learning.batching import AugmentConfig
from pifa_jax.learning.network_config import NetworkConfig
from pifa_jax.learning.optimizer import OptimizerConfig
from pifa_jax.learning.training import LossConfig
from pifa_jax.settings import part, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
  """Everything that decides what a run computes.

  A part or a setting has flags. The other fields are facts that the trainer finds out:

  Attributes:
    seed: of everything random.
    dataset: value of --dataset that was trained on.
    landmark_scheme: name of the vertices b that were trained on.
    face_model: name or path.
    face_model_hash: of its arrays.
    data_hash: of the cached training set.
    validation: share of it that was held out.
    synthetic: what the synthetic training faces show; None for another data set.
    initial_weights: hash of the trained weights that it started from; None = random.
    earlier_datasets: what those were trained on, first to last.
  """

  network: NetworkConfig = part(
    network_config.PRESETS,
    flag='preset',
    default='small',
    help='Preset of the network: paper (Table 1), small or tiny; residual is that of '
    'the shipped weights.',
  )
  optimizer: OptimizerConfig = part(
    optimizer_lib.PRESETS,
    flag='optimizer_preset',
    default='tuned',
    help='Preset of the optimizer: paper = the numbers of Sec. 4; tuned: '
    'BUILD_NOTES.md D-12; adam: for --preset=residual (BUILD_NOTES.md D-94).',
  )
  loss: LossConfig = part()
  augment: AugmentConfig = part()
  num_steps: int = setting(6000, 'Steps of the whole run and its schedule.', low=1)
  batch_size: int = setting(
    32,
    'Images of a step over all devices. Not in the paper: BUILD_NOTES.md D-03.',
    low=1,
  )
  seed: int
  dataset: str
  landmark_scheme: str
  face_model: str
  face_model_hash: str
  data_hash: str
  validation: float = data_loading.DataSettings.validation
  synthetic: synthetic_data.SyntheticFaces | None = None
  initial_weights: str | None = None
  earlier_datasets: tuple[str, ...] = ()

  @property
  def datasets(self) -> tuple[str, ...]:
    """All data sets that the weights were trained on, first to last."""
    return (*self.earlier_datasets, self.dataset)

  def to_json(self) -> dict[str, Any]:
    """A JSON object, the same for equal configurations."""
    return settings.to_json(self)

  @classmethod
  def from_json(cls, data: dict[str, Any]) -> 'RunConfig':
    """The inverse of `to_json`.

    Args:
      data: the JSON object; what it lacks has its default.

    Returns:
      The configuration.

    Raises:
      ValueError: if the object is not one of `to_json`.
    """
    try:
      return settings.from_json(cls, data)
    except ValueError as error:
      raise ValueError(
        'The configuration beside the weights is not one that this version wrote '
        f'({str(error).rstrip(".")}); train them again.'
      ) from error

  def hash(self) -> str:
    """Twelve hex digits that name this configuration."""
    text = json.dumps(self.to_json(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class TrainerSettings:
  """How the trainer works and what it reports; none of this changes what it computes.

  The exception is the start: the hash of the initial weights is in the RunConfig.
  """

  initial_weights: str | None = setting(
    None,
    'What a new run starts from instead of random weights: a work folder of a training '
    'run, a file of experiments.export_weights, or "builtin"; same network, same face '
    'model.',
    is_path=True,
  )
  log_every: int = setting(20, 'Steps between printed lines.', low=1)
  eval_every: int = setting(500, 'Steps between validations.', low=1)
  checkpoint_every: int = setting(500, 'Steps between checkpoints.', low=1)
  visualize_every: int = setting(
    1000, 'Steps between images of V at every block (Fig. 10); 0 = none.', low=0
  )
  max_skipped: int = setting(
    10,
    'Steps in a row that may be skipped for a non-finite update before the run stops.',
    low=1,
  )
  data_on_device: str = setting(
    'auto',
    'Keep the whole training set in device memory, or stream it; auto: keep it if it '
    'takes at most an eighth of that memory. The run computes the same either way.',
    choices=('auto', 'yes', 'no'),
  )
  cpu_devices: int = setting(
    1,
    'Without an accelerator: how many devices the CPU counts as, each of which takes a '
    'share of the batch. On two cores two train up to 1.3 times as fast as one, but a '
    'run may hang and must then be started again (BUILD_NOTES.md D-57). Each holds all '
    'weights.',
    low=1,
  )
  num_devices: int = setting(0, 'Local devices to train on; 0 = all.', low=0)
  fresh: bool = setting(
    False, 'Start over: rename the folder of checkpoints in the work folder.'
  )
  tensorboard: bool = setting(
    True, 'Write TensorBoard events, if tensorboardX is installed.'
  )


# Defined here, where every program finds them: a flag file of a training run also
# serves the programs that read what it made.
derived_flags.define(RunConfig)
derived_flags.define(TrainerSettings)
derived_flags.define(processes.ProcessSettings)
# The one flag that is no field: it cuts or continues the preset's lists.
flags.DEFINE_integer('num_blocks', None, 'N_v (Table 8).', lower_bound=1)


def from_flags(*, rotation_translation_ratio: float, **facts: Any) -> RunConfig:
  """The configuration that the flags ask for.

  Args:
    rotation_translation_ratio: r of the training set, for --eq6_mode=literal.
    **facts: the fields of `RunConfig` that have no flag; seed is that of --seed.

  Returns:
    The configuration.

  Raises:
    ValueError: if a flag cannot be read, or flags contradict each other.
  """
  f = flags.FLAGS
  config = derived_flags.read(RunConfig, f, **{'seed': f.seed, **facts})
  network, optimizer, loss = network_from_flags(), config.optimizer, config.loss
  if (f.optimizer_preset, f.preset, f.learning_rate) == ('tuned', 'paper', None):
    # 500 M weights want smaller steps than the presets it was tuned on (D-12).
    rate = optimizer.learning_rate / 10
    optimizer = dataclasses.replace(optimizer, learning_rate=rate)
  if f.learning_rate_drops is not None:
    optimizer = dataclasses.replace(optimizer, schedule='multistep')
  if loss.eq6_mode == 'literal':
    loss = dataclasses.replace(
      loss, rotation_translation_ratio=rotation_translation_ratio
    )
  return dataclasses.replace(config, network=network, optimizer=optimizer, loss=loss)


def network_from_flags() -> NetworkConfig:
  """The shape of the network that the flags ask for."""
  f = flags.FLAGS
  network = derived_flags.read(NetworkConfig, f, base=network_config.PRESETS[f.preset])
  return network if f.num_blocks is None else network.with_num_blocks(f.num_blocks)


def trainer_from_flags() -> TrainerSettings:
  """The settings of the trainer that the flags ask for."""
  return derived_flags.read(TrainerSettings, flags.FLAGS)


def processes_from_flags() -> processes.ProcessSettings:
  """The processes to train with that the flags name."""
  return derived_flags.read(processes.ProcessSettings, flags.FLAGS)


def split_cpu() -> None:
  """Makes --cpu_devices devices of the CPU; to be called before JAX is used."""
  f = flags.FLAGS
  # With one, the XLA_FLAGS of the user decide.
  if f.cpu_devices > 1:
    jax.config.update('jax_num_cpu_devices', f.cpu_devices)
