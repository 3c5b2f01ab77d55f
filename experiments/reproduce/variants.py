"""What is trained: a variant is a name and the flags by which it differs from the base.

Flags are those of `experiments.train`. A run takes them from its scale, from the
command line and from its variant; the later one wins.
"""

from collections.abc import Mapping
import dataclasses
import importlib.resources

from absl import flags as absl_flags

from experiments.reproduce import published

DATA = ('synthetic', 'aflw', '300w')
# As `experiments.train --dataset` calls them.
DATASETS = {'synthetic': 'synthetic', 'aflw': 'aflw', '300w': 'w300'}
NUM_BLOCKS = 6


@dataclasses.dataclass(frozen=True)
class Variant:
  """One network, or one stage of a cascade.

  Attributes:
    name: of the variant.
    title: for people.
    flags: name -> text, as on the command line.
    after: the variant whose weights it starts from; '' = random ones.
    steps: share of the base's steps; None = what the scale gives to every block of a
      long cascade.
    faces: share of the base's training faces.
    flag_file: of experiments/, for one kind of data, in place of the scale's flags. Its
      --initial_weights are what the variant starts from.
  """

  name: str
  title: str
  flags: Mapping[str, str] = dataclasses.field(default_factory=dict)
  after: str = ''
  steps: float | None = 1.0
  faces: float = 1.0
  flag_file: str = ''


@dataclasses.dataclass(frozen=True)
class Scale:
  """How much is computed.

  Attributes:
    name: of the scale.
    seeds: how many, unless --seeds says it.
    flags: of all data.
    synthetic: further flags for synthetic faces.
    photos: further flags for photos.
    later_stages: further flags for the stages of a cascade after its first one.
    long_stage: share of the base's steps that every block of a long cascade has.
    keeps_steps: whether a flag file's numbers of steps and images do not count.
  """

  name: str
  seeds: int
  flags: Mapping[str, str]
  synthetic: Mapping[str, str]
  photos: Mapping[str, str]
  later_stages: Mapping[str, str] = dataclasses.field(default_factory=dict)
  long_stage: float = 1.0
  keeps_steps: bool = False

  def flags_of(self, data: str) -> dict[str, str]:
    """The flags of the base run.

    Args:
      data: one of `DATA`.

    Returns:
      Name -> text.
    """
    more = self.synthetic if data == 'synthetic' else self.photos
    return {'dataset': DATASETS[data], **_QUIET, **self.flags, **more}


# What the tables do not need.
_QUIET = {'visualize_every': '0', 'tensorboard': 'false', 'data_on_device': 'auto'}
# Of w300.flags and aflw.flags, and the mirror images.
_AUGMENT = {
  'brightness': '0.15',
  'contrast': '0.3',
  'color': '0.1',
  'occlusion': '0.2',
  'flip': '0.5',
}
_FULL_BATCH = 32
_FULL_STEPS = (
  published.EPOCHS * published.AFLW_TRAIN_FACES * published.BOXES_PER_IMAGE
) // _FULL_BATCH
# The falls of the paper's learning rate, at the epochs of the paper, as factors of the
# rate that trains here: the paper's own diverges (BUILD_NOTES.md D-12).
_FULL_RATE = 5e-5
# At the rate that trains all blocks, the hidden units of a block that is trained alone,
# behind trained ones, are never active after a few steps, and it learns nothing.
_LATER_STAGES = 0.2


def _full_rates(factor):
  """The flags of a learning rate, and of its falls, at the paper's schedule."""
  falls = ','.join(
    f'{epoch / published.EPOCHS:.4f}:{factor * fall * _FULL_RATE:g}'
    for epoch, fall in zip(published.FALLS, (0.5, 0.1), strict=True)
  )
  return {'learning_rate': f'{factor * _FULL_RATE:g}', 'learning_rate_drops': falls}


SCALES = {
  # Nothing is learned: it shows that every variant runs and every table is written.
  'smoke': Scale(
    'smoke',
    seeds=1,
    flags={
      'preset': 'tiny',
      'fc_pool': '4',
      'face_model': 'builtin',
      'num_steps': '12',
      'batch_size': '4',
      'eval_every': '2',
      'checkpoint_every': '12',
      'log_every': '1',
    },
    synthetic={'renderer': 'plain', 'num_train': '64', 'num_test': '32'},
    photos={},
    later_stages={'learning_rate': '1e-4'},
    # The stages of the other cascade once more: they are compiled already.
    long_stage=1 / NUM_BLOCKS,
    keeps_steps=True,
  ),
  # The plain renderer: its faces are learnt in minutes, so that what is compared are
  # networks that have learned their task and not the first steps of it.
  'demo': Scale(
    'demo',
    seeds=3,
    flags={
      # With the paper's SGD: under Adam the FC layers of these blocks die (D-93).
      'preset': 'tiny',
      'face_model': 'builtin-1',
      'num_steps': '900',
      'batch_size': '16',
      'eval_every': '30',
      # Of runs of minutes one checkpoint is enough: 70 MB each. Who is told to stop
      # saves, too.
      'checkpoint_every': '900',
      'log_every': '10',
    },
    synthetic={
      'renderer': 'plain',
      'num_train': '4000',
      'num_test': '512',
      'validation': '0.03',
    },
    # As w300.flags and aflw.flags: photos are harder, and few.
    photos={
      'preset': 'small',
      'face_model': 'builtin',
      'num_steps': '2000',
      'batch_size': '32',
      'eval_every': '100',
      **_AUGMENT,
    },
    later_stages={'learning_rate': '1e-4'},
  ),
  # The paper's network, data size, batch count and learning rate schedule.
  'full': Scale(
    'full',
    seeds=3,
    flags={
      'preset': 'paper',
      'optimizer_preset': 'tuned',
      **_full_rates(1),
      'face_model': 'builtin-1',
      'num_steps': str(_FULL_STEPS),
      'batch_size': str(_FULL_BATCH),
      'eval_every': '1000',
      'checkpoint_every': '1000',
      'log_every': '100',
    },
    synthetic={
      'renderer': 'full',
      'num_train': str(published.AFLW_TRAIN_FACES),
      'num_test': str(published.AFLW_TEST_FACES),
    },
    photos={},
    later_stages=_full_rates(_LATER_STAGES),
  ),
}


def _cascade(name: str, title: str, steps: float | None) -> list[Variant]:
  """The stages of a cascade: each trains one block behind the frozen ones before it.

  The losses are those that the block has in the whole network: Eq. (6) in the first
  half, Eq. (7) in the second. Their weights, which balance blocks that are trained
  together, are 1.
  """
  stages = []
  for stage in range(1, NUM_BLOCKS + 1):
    flags = {
      'num_blocks': str(stage),
      'frozen_blocks': str(stage - 1),
      'stop_gradient_between_blocks': 'true',
      'num_param_blocks': str(min(stage, NUM_BLOCKS // 2)),
      'block_weights': ','.join(['1'] * stage),
    }
    stages.append(
      Variant(
        f'{name}_{stage}',
        f'{title}, block {stage}',
        flags,
        after=f'{name}_{stage - 1}' if stage > 1 else '',
        steps=steps,
      )
    )
  return stages


BASE = 'base'
FINE_TUNED = 'fine_tuned'
_ALL = [
  Variant(BASE, 'the paper: (I, F, V), mask 1, six blocks of two layers'),
  Variant('no_visualization', 'no visualization layer', {'visualization': 'false'}),
  Variant('inputs_i', 'the image alone', {'visualization': 'false', 'inputs': 'IV'}),
  Variant('inputs_fv', 'architecture b (F, V)', {'inputs': 'FV'}),
  Variant('inputs_iv', 'architecture c (I, V)', {'inputs': 'IV'}),
  Variant('mask_five', 'mask 2', {'mask': 'five'}),
  Variant('mask_none', 'no mask', {'mask': 'none'}),
  Variant('blocks_4x3', 'four blocks of three layers', {'convs_per_block': '3'}),
  Variant('blocks_3x4', 'three blocks of four layers', {'convs_per_block': '4'}),
  Variant('blocks_7', 'seven blocks', {'num_blocks': '7'}),
  Variant('blocks_8', 'eight blocks', {'num_blocks': '8'}),
  Variant('all_vertices', 'no depth test (Fig. 5)', {'depth_test': 'false'}),
  Variant('radius_0', 'radius 0', {'splat_radius': '0'}),
  Variant('radius_2', 'radius 2', {'splat_radius': '2'}),
  Variant('sigma_half', 'sigma 0.5', {'splat_sigma': '0.5'}),
  Variant('sigma_two', 'sigma 2', {'splat_sigma': '2'}),
  *(
    Variant(f'faces_{part}', f'1/{part} of the training faces', faces=1 / part)
    for part in (8, 4, 2)
  ),
  Variant(
    FINE_TUNED,
    'the shipped weights, trained on with 300W (w300.flags)',
    flag_file='w300.flags',
  ),
  *_cascade('cascade', 'cascade of equal steps', 1 / NUM_BLOCKS),
  *_cascade('long_cascade', 'cascade of long stages', None),
]
VARIANTS = {variant.name: variant for variant in _ALL}


def flags_of(
  variant: Variant, scale: Scale, data: str, given: Mapping[str, str]
) -> dict[str, str]:
  """All flags of a run but its seed and its folders.

  Args:
    variant: what is trained.
    scale: how much.
    data: one of `DATA`.
    given: flags of the command line.

  Returns:
    Name -> text, as `experiments.train` takes them.
  """
  found = scale.flags_of(data)
  if variant.flag_file:
    kept = ('dataset', *_QUIET, *(_LENGTHS if scale.keeps_steps else ()))
    found = {
      **_read_flag_file(variant.flag_file),
      **{name: found[name] for name in kept if name in found},
    }
  if variant.after:
    found = {**found, **scale.later_stages}
  found = {**found, **given}
  share = scale.long_stage if variant.steps is None else variant.steps
  if share != 1:
    found['num_steps'] = str(max(1, round(share * int(found['num_steps']))))
  if variant.faces != 1 and data == 'synthetic':
    found['num_train'] = str(max(2, round(variant.faces * int(found['num_train']))))
  return {**found, **variant.flags}


_LENGTHS = ('num_steps', 'batch_size', 'eval_every', 'checkpoint_every', 'log_every')


def _read_flag_file(name):
  """The flags of a file of experiments/ but its folders, name -> text."""
  with importlib.resources.as_file(
    importlib.resources.files('experiments') / name
  ) as path:
    lines = absl_flags.FLAGS.read_flags_from_files(['', f'--flagfile={path}'])[1:]
  pairs = (line.removeprefix('--').partition('=') for line in lines)
  found = {flag: text if sep else 'true' for flag, sep, text in pairs}
  return {flag: text for flag, text in found.items() if flag != 'workdir'}


def problem(variant: Variant, data: str) -> str:
  """Why a variant cannot be trained on some data.

  Args:
    variant: what is to be trained.
    data: one of `DATA`.

  Returns:
    A phrase; '' if it can.
  """
  if variant.faces != 1 and data != 'synthetic':
    return 'the number of training faces is varied on synthetic faces alone'
  if variant.flag_file and data != '300w':
    return f'{variant.flag_file} is for photos of 300W'
  return ''
