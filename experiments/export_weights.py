"""Writes the weights of a training run to one file.

  python -m experiments.export_weights --checkpoint=runs/synthetic --output=weights.npz

The file holds what alignment and evaluation need, and the run's whole configuration:
--checkpoint takes it wherever it takes the folder of a run.
"""

import os
import sys

from absl import flags
import numpy as np

from experiments.lib import cli, confidence_file, path_flags, restore
from pifa_jax.learning.weights import save_weights

restore.define_flags()
path_flags.define_path('output', None, 'The .npz to write.')
flags.DEFINE_enum(
  'kernel_dtype',
  'float16',
  ['float16', 'float32'],
  'Type of the kernels, which are nearly all of the file.',
)
path_flags.define_path(
  'confidence',
  None,
  'File of experiments.calibrate for these weights; its numbers go into the card.',
)
flags.DEFINE_string('note', '', 'A sentence for the card in the file.')


def main(run: cli.Run) -> int:
  """Writes the file of weights.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  del run  # its record is in the file
  f = flags.FLAGS
  cli.output_file(f.output)
  trained_run = restore.open_run(f.checkpoint)
  model = restore.face_model(trained_run, f, _log)
  step, variables, checkpoint = trained_run.load(model, f.weights)
  card = {
    'config': trained_run.config.to_json(),
    'checkpoint': checkpoint,
    'step': int(step),
    'note': f.note,
  }
  if f.confidence:
    card['confidence'] = confidence_file.read(f.confidence, {checkpoint}).to_json()
  digest = save_weights(f.output, variables, card, dtype=np.dtype(f.kernel_dtype))
  size = os.path.getsize(f.output) / 1e6
  print(
    f'{f.output}: step {step} of {f.checkpoint or "builtin"}, {size:.1f} MB, content '
    f'{digest[:16]}.\nUse it with --checkpoint={f.output}'
  )
  return cli.EXIT_OK


def _log(text):
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
