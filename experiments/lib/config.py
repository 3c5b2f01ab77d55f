"""The whole configuration of a training run, frozen, to and from flags and JSON."""

import dataclasses
import hashlib
import json
from typing import Any, Sequence

from absl import flags
import jax

from experiments.lib import cli  # noqa: F401 its flags
from pifa_jax.geometry import masks
from pifa_jax.learning import losses, network, optimizer
from pifa_jax.learning.batching import AugmentConfig
from pifa_jax.learning.network import NetworkConfig
from pifa_jax.learning.optimizer import OptimizerConfig
from pifa_jax.learning.training import LossConfig

flags.DEFINE_enum(
  'preset',
  'small',
  sorted(network.PRESETS),
  'Network: paper (Table 1), small, or tiny.',
)
flags.DEFINE_enum(
  'optimizer_preset',
  'tuned',
  sorted(optimizer.PRESETS),
  'Solver: paper = the numbers of Sec. 4; tuned: BUILD_NOTES.md D-12.',
)
flags.DEFINE_integer('num_steps', 6000, 'Steps of the whole run.', lower_bound=1)
flags.DEFINE_integer(
  'batch_size',
  32,
  'Images per step over all devices. Not in the paper: BUILD_NOTES.md D-03.',
  lower_bound=1,
)

flags.DEFINE_string(
  'initial_weights',
  None,
  'What a new run starts from instead of '
  'random weights: a work folder of a training run, a file of '
  'experiments.export_weights, or "builtin"; same network, same '
  'face model.',
)

# Network: None keeps the preset's value.
flags.DEFINE_integer(
  'fc_pool', None, 'Average pooling before the flatten.', lower_bound=1
)
flags.DEFINE_integer('num_blocks', None, 'N_v (Table 8).', lower_bound=1)
flags.DEFINE_integer('convs_per_block', None, 'N_c (Table 8).', lower_bound=1)
flags.DEFINE_enum(
  'inputs', None, network.INPUTS, 'What blocks 2.. see (Fig. 6): architecture a, b, c.'
)
flags.DEFINE_enum('mask', None, masks.KINDS, 'Mask of Eq. (11) (Table 7).')
flags.DEFINE_boolean(
  'visualization', None, 'Whether the blocks see the drawing V (Sec. 4.3).'
)
flags.DEFINE_float(
  'dropout', None, 'Rate after the first FC layer.', lower_bound=0.0, upper_bound=0.95
)
flags.DEFINE_boolean(
  'stop_gradient_between_blocks', None, 'Cut the gradient between blocks: a cascade.'
)
flags.DEFINE_float(
  'vertex_spacing',
  None,
  'Distance of the vertices that blocks 2.. '
  'draw, pixels of their drawing; 0 = all: BUILD_NOTES.md D-55.',
  lower_bound=0.0,
)
flags.DEFINE_enum(
  'precision',
  None,
  network.PRECISIONS,
  'Of activations and matrix products; geometry, statistics, losses '
  'and weights are float32. bfloat16 is for GPU and TPU: '
  'BUILD_NOTES.md D-52.',
)

# Solver: None keeps the preset's value.
flags.DEFINE_float('learning_rate', None, 'Before the first drop.')
flags.DEFINE_float('momentum', None, 'mu.')
flags.DEFINE_float('weight_decay', None, 'lambda.', lower_bound=0.0)
flags.DEFINE_float(
  'clip_norm', None, 'Global gradient norm limit; 0 = off.', lower_bound=0.0
)
flags.DEFINE_list(
  'learning_rate_drops',
  None,
  'fraction:rate pairs, such as 0.6061:5e-7,0.8788:1e-7 for the paper.',
)

# Loss.
flags.DEFINE_enum(
  'eq6_mode',
  'whitened',
  losses.EQ6_MODES,
  'Reading of W in Eq. (6): BUILD_NOTES.md D-11.',
)
flags.DEFINE_integer(
  'num_param_blocks', None, 'First blocks with Eq. (6); default half.', lower_bound=0
)
flags.DEFINE_list('block_weights', None, 'Default 1,2,...,N_v.')
flags.DEFINE_float(
  'hidden_weight',
  0.0,
  'Weight in Eq. (7) of hidden landmarks, where '
  'the target P puts them; 0 = visible ones alone, as in the paper.',
  lower_bound=0.0,
  upper_bound=1.0,
)

# Augmentation, on the device.
flags.DEFINE_float(
  'shift_jitter',
  0.1,
  'Box jitter, fraction of its size.',
  lower_bound=0.0,
  upper_bound=0.5,
)
flags.DEFINE_float(
  'scale_jitter', 0.1, 'Box jitter of the side.', lower_bound=0.0, upper_bound=0.5
)
flags.DEFINE_float(
  'box_scale',
  1.0,
  'Mean side of the jittered boxes over the provided '
  "one's: above 1 for tight boxes, if others are wider.",
  lower_bound=0.8,
  upper_bound=1.2,
)
flags.DEFINE_boolean(
  'anisotropic_jitter', False, 'Jitter width and height apart: the literal Sec. 4.'
)
flags.DEFINE_float('brightness', 0.0, 'Random offset, +- this of [-1, 1].')
flags.DEFINE_float('contrast', 0.0, 'Random factor up to 1 + this.')
flags.DEFINE_float('color', 0.0, 'Random channel gains up to 1 + this.')
flags.DEFINE_float(
  'occlusion', 0.0, 'Probability of a grey rectangle.', lower_bound=0.0, upper_bound=1.0
)
flags.DEFINE_float(
  'flip',
  0.0,
  'Probability of a mirrored sample; needs a symmetric face model.',
  lower_bound=0.0,
  upper_bound=1.0,
)

# What the trainer reports, and when. Defined here, where every program finds it: a
# flag file of a training run also serves the programs that read what it made.
flags.DEFINE_integer('log_every', 20, 'Steps between printed lines.', lower_bound=1)
flags.DEFINE_integer('eval_every', 500, 'Steps between validations.', lower_bound=1)
flags.DEFINE_integer(
  'checkpoint_every', 500, 'Steps between checkpoints.', lower_bound=1
)
flags.DEFINE_integer(
  'visualize_every',
  1000,
  'Steps between images of V at every block (Fig. 10); 0 = none.',
  lower_bound=0,
)
flags.DEFINE_integer(
  'max_skipped',
  10,
  'Steps in a row that may be skipped for a non-finite update before the run stops.',
  lower_bound=1,
)
flags.DEFINE_enum(
  'data_on_device',
  'auto',
  ('auto', 'yes', 'no'),
  'Keep the whole training set in device memory, or stream it; '
  'auto: keep it if it takes at most an eighth of that memory. The '
  'run computes the same either way.',
)
flags.DEFINE_integer(
  'cpu_devices',
  1,
  'Without an accelerator: how many devices the '
  'CPU counts as, each of which takes a share of the batch. On two '
  'cores two train up to 1.3 times as fast as one, but a run may die '
  'waiting and must then be started again (BUILD_NOTES.md D-57). '
  'Each holds all weights.',
  lower_bound=1,
)
flags.DEFINE_integer(
  'num_devices', 0, 'Local devices to train on; 0 = all.', lower_bound=0
)
flags.DEFINE_boolean(
  'fresh', False, 'Start over: put the checkpoints in the work folder aside.'
)
flags.DEFINE_boolean(
  'tensorboard', True, 'Write TensorBoard events, if tensorboardX is installed.'
)


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """Everything that decides what a run computes.

  Attributes:
    network: the network's shape.
    optimizer: the solver's numbers.
    loss: which loss where.
    augment: what happens to a sample.
    num_steps: of the whole run (the schedule depends on it).
    batch_size: over all devices.
    seed: of everything random.
    dataset: value of --dataset that was trained on.
    landmark_scheme: the vertices b that were trained on.
    face_model: name or path.
    face_model_hash: of its arrays.
    data_hash: of the cached training set.
    initial_weights: hash of the trained weights that it started from; None: random.
    earlier_datasets: what those were trained on, first to last.
    appearance: look of synthetic faces.
    ablate: ingredients of it that were left out.
    population: fields of `Population` and their values where they were not the usual
      ones, such as 'yaw_max:45'.
    render_face_model: face model that synthetic faces show; None: `face_model`.
    backgrounds: folder of photos behind them; None: drawn backgrounds only.
  """

  network: NetworkConfig
  optimizer: OptimizerConfig
  loss: LossConfig
  augment: AugmentConfig
  num_steps: int
  batch_size: int
  seed: int
  dataset: str
  landmark_scheme: str
  face_model: str
  face_model_hash: str
  data_hash: str
  initial_weights: str | None = None
  earlier_datasets: tuple[str, ...] = ()
  renderer: str = 'full'
  ablate: tuple[str, ...] = ()
  face_distribution: tuple[str, ...] = ()
  render_face_model: str | None = None
  backgrounds: str | None = None

  @property
  def datasets(self) -> tuple[str, ...]:
    """All that the weights have seen, first to last."""
    return (*self.earlier_datasets, self.dataset)

  def to_json(self) -> dict[str, Any]:
    """A JSON object, the same for equal configurations."""
    return json.loads(json.dumps(dataclasses.asdict(self)))

  @classmethod
  def from_json(cls, data: dict[str, Any]) -> 'RunConfig':
    """The inverse of `to_json`.

    Raises:
      ValueError: if the object is not one of `to_json`.
    """
    parts = {
      'network': NetworkConfig,
      'optimizer': OptimizerConfig,
      'loss': LossConfig,
      'augment': AugmentConfig,
    }
    try:
      data = {
        key: parts[key](**value) if key in parts else value
        for key, value in _tuples(data).items()
      }
      return cls(**data)
    except TypeError as error:
      raise ValueError(
        'The configuration in the checkpoint is not one that this '
        f'version wrote: {error}.'
      ) from error

  def hash(self) -> str:
    """Twelve hex digits that name this configuration."""
    text = json.dumps(self.to_json(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _tuples(value):
  """JSON lists back to tuples, at any depth."""
  if isinstance(value, dict):
    return {key: _tuples(item) for key, item in value.items()}
  if isinstance(value, list):
    return tuple(_tuples(item) for item in value)
  return value


def from_flags(
  *,
  dataset: str,
  landmark_scheme: str,
  face_model: str,
  face_model_hash: str,
  data_hash: str,
  rotation_translation_ratio: float,
  renderer: str = 'full',
  ablate: Sequence[str] = (),
  face_distribution: Sequence[str] = (),
  render_face_model: str | None = None,
  backgrounds: str | None = None,
) -> RunConfig:
  """The configuration that the flags ask for.

  Args:
    dataset: value of --dataset.
    landmark_scheme: resolved from the data.
    face_model: name or path.
    face_model_hash: of its arrays.
    data_hash: of the cached training set.
    rotation_translation_ratio: r of the training set, for eq6_mode=literal.
    appearance: look of synthetic faces.
    ablate: ingredients of it that are left out.
    population: fields of `Population` and their values, where not the usual ones.
    render_face_model: face model that they show; None: `face_model`.
    backgrounds: folder of photos behind them; None: none.

  Returns:
    The configuration.

  Raises:
    ValueError: if flags contradict each other.
  """
  f = flags.FLAGS
  return RunConfig(
    network=_network(f),
    optimizer=_optimizer(f),
    loss=LossConfig(
      num_param_blocks=f.num_param_blocks,
      block_weights=(
        None if f.block_weights is None else tuple(float(w) for w in f.block_weights)
      ),
      eq6_mode=f.eq6_mode,
      rotation_translation_ratio=(
        rotation_translation_ratio if f.eq6_mode == 'literal' else None
      ),
      hidden_weight=f.hidden_weight,
    ),
    augment=AugmentConfig(
      shift_jitter=f.shift_jitter,
      scale_jitter=f.scale_jitter,
      anisotropic_jitter=f.anisotropic_jitter,
      box_scale=f.box_scale,
      brightness=f.brightness,
      contrast=f.contrast,
      color=f.color,
      occlusion=f.occlusion,
      flip=f.flip,
    ),
    num_steps=f.num_steps,
    batch_size=f.batch_size,
    seed=f.seed,
    dataset=dataset,
    landmark_scheme=landmark_scheme,
    face_model=face_model,
    face_model_hash=face_model_hash,
    data_hash=data_hash,
    renderer=renderer,
    ablate=tuple(ablate),
    face_distribution=tuple(face_distribution),
    render_face_model=render_face_model,
    backgrounds=backgrounds,
  )


def split_cpu() -> None:
  """Makes --cpu_devices devices of the CPU; to be called before JAX is used."""
  f = flags.FLAGS
  # Else the user's own XLA_FLAGS count.
  if f.cpu_devices > 1:
    jax.config.update('jax_num_cpu_devices', f.cpu_devices)


def _network(f):
  config = network.PRESETS[f.preset]
  changes = {
    name: getattr(f, name)
    for name in (
      'fc_pool',
      'inputs',
      'mask',
      'visualization',
      'dropout',
      'stop_gradient_between_blocks',
      'convs_per_block',
      'vertex_spacing',
      'precision',
    )
    if getattr(f, name) is not None
  }
  per_block = changes.get('convs_per_block', config.convs_per_block)
  if f.num_blocks is not None:
    # The preset's list, cut or continued with its last entry.
    wanted = f.num_blocks * per_block
    extend = lambda values: (values + values[-1:] * wanted)[:wanted]
    changes.update(channels=extend(config.channels), kernels=extend(config.kernels))
  return dataclasses.replace(config, **changes)


def _optimizer(f):
  config = optimizer.PRESETS[f.optimizer_preset]
  if f.optimizer_preset == 'tuned' and f.preset == 'paper':
    # 500 M weights want smaller steps than the presets it was tuned on (D-12).
    config = dataclasses.replace(config, learning_rate=config.learning_rate / 10)
  changes = {
    name: getattr(f, name)
    for name in ('learning_rate', 'momentum', 'weight_decay', 'clip_norm')
    if getattr(f, name) is not None
  }
  if f.learning_rate_drops is not None:
    try:
      changes['drops'] = tuple(
        tuple(float(x) for x in pair.split(':', 1)) for pair in f.learning_rate_drops
      )
      if any(len(pair) != 2 for pair in changes['drops']):
        raise ValueError
    except ValueError:
      raise ValueError(
        f'--learning_rate_drops={",".join(f.learning_rate_drops)} is not a '
        'list of fraction:rate pairs, such as 0.6:5e-7,0.88:1e-7.'
      ) from None
    changes['schedule'] = 'multistep'
  return dataclasses.replace(config, **changes)
