"""Measures the layer, the network and the training step, beside other libraries.

  python -m experiments.benchmark
  python -m experiments.benchmark --parts=layer --peers --batch_sizes=1,8
  python -m experiments.benchmark --flagfile=benchmark_gpu.flags

Writes <workdir>/benchmark.json and prints the same as a table. Every case is compiled
apart, called once to warm up, and then timed until its result is there. The cases of a
part take turns with a large matrix product and a large copy, the two ceilings. Shares
of these ceilings therefore hold whatever else the machine does. FLOPs and bytes are
counted by the formulas in `counts`, not read from a profile.
"""

import json
import os
import sys
import time

from absl import flags
import jax

from experiments.benchmark import inputs, report, timing
from experiments.benchmark.parts import PARTS
from experiments.benchmark.settings import Settings
from experiments.lib import (
  cli,
  data_loading,  # noqa: F401 its flags
  path_flags,
)
from experiments.lib import config as config_lib

flags.DEFINE_list('parts', list(PARTS), f'What to measure: any of {", ".join(PARTS)}.')
flags.DEFINE_list(
  'batch_sizes',
  ['1', '8', '32'],
  'Faces a call over all devices, for every part but train.',
)
flags.DEFINE_list(
  'train_batch_sizes', ['32'], 'Faces a training step over all devices.'
)
flags.DEFINE_integer(
  'num_vertices',
  53215,
  'Number of vertices Q of the parts projection, layer and linearity: builtin-2 with '
  'vertices added or left out. 0 = the rendered vertices of --face_model.',
  lower_bound=0,
)
flags.DEFINE_integer(
  'image_size', 114, 'Side of the visualization V, pixels.', lower_bound=1
)
flags.DEFINE_integer(
  'radius', 2, 'Radius of the window D(u, v) of Eq. (9), cells.', lower_bound=0
)
flags.DEFINE_enum(
  'dtype',
  'float32',
  ['float32', 'float64'],
  'Of the face model and the ceilings; the network is float32.',
)
flags.DEFINE_integer('repeats', 20, 'Timed calls of every case.', lower_bound=1)
flags.DEFINE_boolean(
  'peers',
  False,
  'Measure other implementations of the layer too: NumPy, PyTorch and numba where '
  'they are installed, and the dense reference implementation.',
)
flags.DEFINE_integer(
  'dense_vertices',
  1000,
  'Number of vertices Q of the dense reference implementation (--peers), whose memory '
  'grows with Q^2.',
  lower_bound=1,
)
flags.DEFINE_list(
  'exits',
  [],
  'Comma-separated numbers of blocks: the part network is also measured when it stops '
  'after so many, as --blocks of experiments.align does.',
)
path_flags.define_path_list(
  'peer_networks',
  [],
  'Comma-separated .onnx and .tflite files of other networks, which the part network '
  'measures with one face each; "taskset -c 0" before the command has all of them on '
  'one core.',
)


def main(run: cli.Run) -> int:
  """Measures what the flags ask for.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  unknown = [part for part in f.parts if part not in PARTS]
  if unknown:
    raise cli.UserError(
      f'--parts={",".join(unknown)} is not a part; use {", ".join(PARTS)}.'
    )
  problem = inputs.memory_problem(f.num_vertices, f.dtype)
  if problem and {'projection', 'layer', 'linearity'} & {*f.parts}:
    raise cli.UserError(f'--num_vertices={f.num_vertices} {problem}.')
  if f.peer_networks and ('network' not in f.parts or '1' not in f.batch_sizes):
    raise cli.UserError(
      '--peer_networks are measured in the part network with one face; add network to '
      '--parts and 1 to --batch_sizes.'
    )
  config_lib.split_cpu()
  devices = _devices(f.num_devices)
  batch_sizes = {
    part: _batch_sizes(
      'train_batch_sizes' if part == 'train' else 'batch_sizes', len(devices)
    )
    for part in PARTS
  }
  folder = run.make_folder(f.workdir)
  run.open(folder, seed=f.seed, device=report.device_name(devices))
  with open(os.path.join(folder, 'run.json')) as file:
    record = json.load(file)
  path = os.path.join(folder, 'benchmark.json')
  rows: list[report.Row] = []
  started = time.monotonic()
  with jax.enable_x64(f.dtype == 'float64'):
    settings = _settings(devices)
    ceilings = timing.ceilings(devices[0], f.dtype)
    for part in (part for part in PARTS if part in f.parts):
      for cases in PARTS[part](settings, batch_sizes[part]):
        measured = timing.measure(cases, ceilings, f.repeats)
        rows += measured
        line = report.progress(part, measured, time.monotonic() - started)
        print(line, file=sys.stderr, flush=True)
        # After every group: a later one may run out of memory.
        report.write_json(path, devices=devices, record=record, rows=rows)
  # Before the plot, so that matplotlib is not part of the peak memory.
  print(
    report.summary(
      rows, devices=devices, record=record, dtype=f.dtype, repeats=f.repeats
    )
  )
  if 'linearity' in f.parts and not report.plot_linearity(
    rows, os.path.join(folder, 'linearity.png')
  ):
    print('matplotlib is not installed: no linearity.png.', file=sys.stderr)
  print(f'Written: {path}')
  return cli.EXIT_OK


def _devices(count):
  """The first `count` local devices; 0 = all."""
  devices = jax.local_devices()
  if count > len(devices):
    raise cli.UserError(
      f'--num_devices={count}, but this machine has {len(devices)}; use at most '
      f'{len(devices)}, or 0 for all.'
    )
  return tuple(devices[: count or None])


def _batch_sizes(flag, num_devices):
  sizes = []
  for text in flags.FLAGS[flag].value or ():
    if not text.isdigit() or int(text) < 1 or int(text) % num_devices:
      raise cli.UserError(
        f'--{flag}={text} is not a number of faces for {num_devices} devices; use '
        f'multiples of {num_devices}, such as {num_devices},{8 * num_devices}.'
      )
    sizes.append(int(text))
  return sizes


def _exits(num_blocks):
  for text in flags.FLAGS.exits:
    if not text.isdigit() or not 1 <= int(text) <= num_blocks:
      raise cli.UserError(
        f'--exits={text}; the network has {num_blocks} blocks: use numbers from 1 to '
        f'{num_blocks}.'
      )
  return tuple(int(text) for text in flags.FLAGS.exits)


def _settings(devices):
  """What the flags ask for, --preset, --num_blocks and the like included."""
  f = flags.FLAGS
  config = config_lib.from_flags(
    dataset='',
    landmark_scheme='ibug68',
    face_model=f.face_model,
    face_model_hash='',
    data_hash='',
    rotation_translation_ratio=1.0,
  )
  return Settings(
    devices=devices,
    face_model=f.face_model,
    num_vertices=f.num_vertices,
    image_size=f.image_size,
    radius=f.radius,
    dtype=f.dtype,
    seed=f.seed,
    peers=f.peers,
    dense_vertices=f.dense_vertices,
    exits=_exits(config.network.num_blocks),
    peer_networks=tuple(f.peer_networks),
    preset=f.preset,
    network=config.network,
    optimizer=config.optimizer,
    loss=config.loss,
    augment=config.augment,
    num_steps=f.num_steps,
  )


if __name__ == '__main__':
  cli.start(main)
