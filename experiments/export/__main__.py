"""Writes a trained network for other programs: StableHLO, ONNX or safetensors.

  python -m experiments.export --format=stablehlo --checkpoint=builtin --workdir=DIR
  python -m experiments.export --format=onnx --workdir=DIR \
      --web_runtime=node_modules/onnxruntime-web/dist
  python -m experiments.export --format=safetensors --workdir=DIR

stablehlo and onnx hold weights and face model in one file, a function of crops: (B, S,
S, 3) uint8 RGB in; out come landmarks (B, N, 2) in pixels of the crop, visible (B, N),
frontability (B, N), params (B, 8 + N_I + N_E), yaw_degrees, pitch_degrees and
roll_degrees (B,). The crop is the square box of the face, resized. Only JAX runs
stablehlo, without this package:
jax.export.deserialize(open('face.stablehlo', 'rb').read()).call(crops). safetensors
holds the weights alone, with a configuration and a model card.
"""

import dataclasses
import os
import pathlib
import sys

from absl import flags

from experiments.export import (
  demo_page,
  face_function,
  hub_format,
  onnx_format,
  stablehlo_format,
)
from experiments.lib import cli, derived_flags, restore
from pifa_jax.learning import network
from pifa_jax.learning.weights import TrainedWeights
from pifa_jax.settings import REQUIRED, setting

FORMATS = ('stablehlo', 'onnx', 'safetensors')


@dataclasses.dataclass(frozen=True)
class ExportSettings:
  """What is written; each field has its own help."""

  format: str | None = setting(
    REQUIRED,
    'stablehlo = for JAX without this package; onnx = for other runtimes; safetensors '
    '= the weights, as model hubs expect them.',
    choices=FORMATS,
  )
  landmarks: str = setting(
    'ibug68', 'Landmark scheme of the face model that the function reports.'
  )
  export_batch: int = setting(
    0, 'Faces a call of the exported function; 0 = any number.', low=0
  )
  web_runtime: str | None = setting(
    None,
    'onnx: folder "dist" of the npm package onnxruntime-web. Its files and a page that '
    'runs the network in a browser are written beside the .onnx.',
    is_path=True,
  )


restore.define_flags()
derived_flags.define(ExportSettings)


def main(run: cli.Run) -> int:
  """Writes the files.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  if f.format is None:
    raise cli.UserError(f'--format is missing; use one of {", ".join(FORMATS)}.')
  config = derived_flags.read(ExportSettings, f)
  if config.web_runtime and config.format != 'onnx':
    raise cli.UserError('--web_runtime is for --format=onnx; leave it out.')
  if config.web_runtime:
    demo_page.check_runtime(config.web_runtime)
  trained_run = restore.open_run(f.checkpoint)
  model = restore.face_model(trained_run, f, _log)
  if config.landmarks not in model.landmark_schemes:
    raise cli.UserError(
      f'--landmarks={config.landmarks} is not in the face model, which has '
      f'{", ".join(sorted(model.landmark_schemes))}.'
    )
  step, variables, checkpoint = trained_run.load(model, f.weights)
  folder = pathlib.Path(run.make_folder(f.workdir))
  run.open(str(folder), checkpoint=checkpoint, checkpoint_step=step)

  if config.format == 'safetensors':
    names = hub_format.write(folder, _content(trained_run, variables, step, checkpoint))
  else:
    shape = trained_run.config.network
    geometry = network.network_geometry(model, shape)
    net = network.PifaNetwork(shape, model.num_params)
    names = [f'face.{config.format}']
    path, content = folder / names[0], (net, variables, geometry, model)
    if config.format == 'onnx':
      onnx_format.write(path, *content, config.landmarks, config.export_batch)
    else:
      function = face_function.face_function(*content, config.landmarks)
      stablehlo_format.write(path, function, shape.crop_size, config.export_batch)
    if config.web_runtime:
      names += demo_page.write(
        folder,
        config.web_runtime,
        names[0],
        shape.crop_size,
        # Networks without this setting see the box itself.
        shape.crop_scale,
        trained_run.config.augment.box_scale,
      )
  size = sum(os.path.getsize(folder / name) for name in names) / 1e6
  print(
    f'{", ".join(names)}: step {step} of {f.checkpoint or "builtin"}, {size:.1f} MB, '
    f'in {folder}.'
  )
  return cli.EXIT_OK


def _content(
  trained_run: restore.TrainedRun | restore.WeightsFile, variables, step, checkpoint
) -> TrainedWeights:
  """The weights of a file as they are, or those of a run with a card."""
  if isinstance(trained_run, restore.WeightsFile):
    return trained_run.content
  card = {
    'config': trained_run.config.to_json(),
    'checkpoint': checkpoint,
    'step': int(step),
  }
  return TrainedWeights(trained_run.config.network, variables, card, checkpoint)


def _log(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
