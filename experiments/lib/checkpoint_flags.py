"""The flags that name trained weights, for the programs that use them as they are."""

from absl import flags

flags.DEFINE_string(
  'checkpoint',
  None,
  'Work folder of a training run, a file of '
  'experiments.export_weights, or "builtin", the weights that come '
  'with the package. Default: --workdir, which a flag file gives, '
  'else builtin.',
)
flags.DEFINE_enum(
  'weights',
  'latest',
  ['latest', 'best'],
  'Which of its checkpoints: the newest, or the one with the lowest validation NME.',
)
