"""Makes the shipped weights from nothing: trains, fits the confidence, writes the file.

  python -m experiments.build_weights --workdir=runs/builtin_weights

Four programs, one after the other: experiments.train --flagfile=builtin_weights.flags,
the same from its weights with builtin_weights_end.flags in addition,
experiments.calibrate and experiments.export_weights. Stopped, the same command goes on.
The file is weights.npz in the work folder.
"""

import os
import subprocess
import sys

from absl import flags

from experiments.lib import cli, path_flags

flags.DEFINE_list(
  'train_flags',
  [],
  'Comma-separated flags for both parts of experiments.train, after those of '
  'builtin_weights.flags, such as --num_steps=100,--num_train=500.',
)
flags.DEFINE_list(
  'calibrate_flags', [], 'The same for experiments.calibrate, such as --num_faces=16.'
)
path_flags.define_path(
  'cache', None, 'Folder of the rendered faces; default: cache in the work folder.'
)


def main(run: cli.Run) -> int:
  """Runs the four programs.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code: that of the first program that did not end well.
  """
  f = flags.FLAGS
  workdir = run.make_folder(f.workdir)
  first, trained = (os.path.join(workdir, name) for name in ('train', 'train_end'))
  confidence = os.path.join(workdir, 'confidence.json')
  weights = os.path.join(workdir, 'weights.npz')
  cache = f'--cache_dir={f.cache or os.path.join(workdir, "cache")}'
  flag_files = ['--flagfile=builtin_weights.flags']
  end = ['--flagfile=builtin_weights_end.flags', f'--initial_weights={first}']
  for program, arguments in (
    ('train', [*flag_files, f'--workdir={first}', cache, *f.train_flags]),
    ('train', [*flag_files, *end, f'--workdir={trained}', cache, *f.train_flags]),
    (
      'calibrate',
      [f'--checkpoint={trained}', f'--output={confidence}', cache, *f.calibrate_flags],
    ),
    (
      'export_weights',
      [
        f'--checkpoint={trained}',
        f'--confidence={confidence}',
        f'--output={weights}',
        '--note=Made by experiments.build_weights.',
      ],
    ),
  ):
    code = subprocess.call([sys.executable, '-m', f'experiments.{program}', *arguments])
    if code:
      print(f'experiments.{program} ended with exit code {code}.', file=sys.stderr)
      # A signal that ended it is a negative number.
      return code if code > 0 else cli.EXIT_USER_ERROR
  return cli.EXIT_OK


if __name__ == '__main__':
  cli.start(main)
