"""Checks an installation: versions, devices, memory, files, gradients, a face.

  python -m experiments.doctor

Prints a line a check, PASS, WARN or FAIL. The exit code is 1 if one failed, else 0. It
takes about a minute, most of it for compiling.
"""

from collections.abc import Callable
import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
import traceback
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import cli
from pifa_jax import face_models
from pifa_jax.datasets import synthetic
from pifa_jax.inference import Aligner
from pifa_jax.learning import network, network_config
from pifa_jax.learning.weights import load_weights

PASS, WARN, FAIL = 'PASS', 'WARN', 'FAIL'
_LIBRARIES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')
# Training the preset "small" takes 3 GB, aligning 1.5 GB.
_ENOUGH_MEMORY = 2.0
# Mean error on the rendered face, percent of its box: 8.7 with the weights of today, on
# a face of another renderer than theirs; a network that sees nothing has 27.
_GOOD_ERROR = 15.0


@dataclasses.dataclass(frozen=True)
class Finding:
  """What a check found.

  Attributes:
    verdict: PASS, WARN or FAIL.
    text: a sentence.
  """

  verdict: str
  text: str


def main(run: cli.Run) -> int:
  """Runs all checks.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  workdir = run.folder(flags.FLAGS.workdir)
  checks: dict[str, Callable[[], Finding]] = {
    'versions': check_versions,
    'devices': check_devices,
    'memory': check_memory,
    'detector': check_detector,
    'write': lambda: check_writing(workdir),
    'gradient': check_gradient,
    'face': check_face,
  }
  verdicts = []
  for name, check in checks.items():
    found = outcome(check)
    verdicts.append(found.verdict)
    print(f'{found.verdict}  {name}: {found.text}', flush=True)
  if FAIL in verdicts:
    print('Something must be mended: see the lines that begin with FAIL.')
    return cli.EXIT_USER_ERROR
  print('All is well.' if WARN not in verdicts else 'It works; see WARN.')
  return cli.EXIT_OK


def outcome(check: Callable[[], Finding]) -> Finding:
  """Runs a check; whatever it raises is a failure of it, not of the program.

  Args:
    check: returns its finding.

  Returns:
    The finding.
  """
  try:
    return check()
  except Exception as error:
    if os.environ.get('PIFA_JAX_TRACEBACK'):
      traceback.print_exc()
    reason = f'{type(error).__name__}: {error}'.splitlines()[0]
    return Finding(FAIL, f'{reason} (PIFA_JAX_TRACEBACK=1 shows where).')


def check_versions() -> Finding:
  """Whether what is installed is what requirements.txt asks for.

  Returns:
    The finding.
  """
  # Of setuptools and pip; matplotlib needs it, too.
  from packaging.requirements import Requirement

  found = ', '.join(f'{name} {importlib.metadata.version(name)}' for name in _LIBRARIES)
  text = f'Python {platform.python_version()}, {found}'
  try:
    wanted = importlib.metadata.requires('pifa_jax') or []
  except importlib.metadata.PackageNotFoundError:
    return Finding(WARN, f'{text}; pifa_jax is not installed (pip install -e .).')
  problems = []
  for line in map(Requirement, wanted):
    if line.marker is not None and not line.marker.evaluate({'extra': ''}):
      continue
    try:
      version = importlib.metadata.version(line.name)
    except importlib.metadata.PackageNotFoundError:
      problems.append(f'{line.name} is missing')
      continue
    if not line.specifier.contains(version, prereleases=True):
      problems.append(f'{line.name} is {version}, wanted {line.specifier}')
  if problems:
    return Finding(FAIL, f'{text}; {"; ".join(problems)}: run pip install -e . again.')
  return Finding(PASS, f'{text}.')


def check_devices() -> Finding:
  """What JAX computes on.

  Returns:
    The finding.
  """
  devices = jax.devices()
  kinds = ', '.join(sorted({device.device_kind for device in devices}))
  text = f'{len(devices)} {devices[0].platform} ({kinds})'
  if devices[0].platform == 'cpu':
    text += f', {os.cpu_count()} cores'
    if shutil.which('nvidia-smi'):
      return Finding(
        WARN,
        f'{text}; this machine has an NVIDIA driver but JAX does not use it: run '
        'pip install "jax[cuda12]", or unset JAX_PLATFORMS.',
      )
  return Finding(PASS, f'{text}.')


def check_memory() -> Finding:
  """How much memory is free.

  Returns:
    The finding.
  """
  texts, least = [], float('inf')
  free = _free_memory()
  if free is not None:
    texts.append(f'{free:.1f} GB free')
    least = free
  for device in jax.local_devices():
    stats = device.memory_stats()
    if stats and 'bytes_limit' in stats:
      of_device = (stats['bytes_limit'] - stats['bytes_in_use']) / 1e9
      texts.append(f'{of_device:.1f} GB free for JAX on {device}')
      least = min(least, of_device)
  if not texts:
    return Finding(WARN, 'this system does not say how much is free.')
  if least < _ENOUGH_MEMORY:
    return Finding(
      WARN,
      f'{", ".join(texts)}; training needs 3 GB and aligning 1.5: end other programs.',
    )
  return Finding(PASS, f'{", ".join(texts)}.')


def _free_memory():
  """GB, of Linux; None elsewhere."""
  try:
    with open('/proc/meminfo', encoding='ascii') as file:
      lines = dict(line.split(':', 1) for line in file)
    return int(lines['MemAvailable'].split()[0]) * 1024 / 1e9
  except (OSError, KeyError, ValueError):
    return None


def check_detector() -> Finding:
  """Whether faces can be found without boxes.

  Returns:
    The finding.
  """
  if importlib.util.find_spec('pifa_jax.detection') is None:
    return Finding(
      WARN, 'this version has no face detector; experiments.align needs --boxes.'
    )
  detection: Any = importlib.import_module('pifa_jax.detection')
  config = detection.DetectionSettings()
  try:
    detector = detection.make_detector(config.detector)
    detector.detect(np.full((128, 128, 3), 128, np.uint8))
  except detection.DetectorMissing as error:
    return Finding(WARN, f'{error} experiments.align needs --boxes until then.')
  return Finding(PASS, f'{config.detector} runs.')


def check_writing(workdir: str) -> Finding:
  """Whether results can be written.

  Args:
    workdir: of the program; its nearest folder that exists is tried.

  Returns:
    The finding.
  """
  folder = os.path.abspath(workdir)
  while not os.path.isdir(folder):
    folder = os.path.dirname(folder)
  try:
    with tempfile.TemporaryFile(dir=folder) as file:
      file.write(b'x' * 2**20)
      file.flush()
  except OSError as error:
    return Finding(FAIL, f'{folder} cannot be written ({error.strerror}); use another.')
  free = shutil.disk_usage(folder).free / 1e9
  if free < 1:
    return Finding(WARN, f'{folder} has {free:.2f} GB left; a training takes 1 GB.')
  return Finding(PASS, f'{folder}, {free:.0f} GB free.')


def check_gradient() -> Finding:
  """Whether the gradient of a small network is finite, and reaches its first block.

  It flows from the landmarks' P through the visualization of block 2 to block 1.

  Returns:
    The finding.
  """
  config = network_config.PRESETS['tiny'].with_num_blocks(2)
  model = face_models.load_face_model('builtin')
  geometry = network.network_geometry(model, config)
  net = network.PifaNetwork(config, model.num_params)
  variables = network.init_variables(net, geometry, 0)
  size = config.crop_size
  image = np.random.default_rng(0).uniform(-1, 1, (2, size, size, 3))

  # The geometry is an argument: as a constant it would be folded for a minute.
  @jax.jit
  @jax.grad
  def gradient(params, geometry):
    found: Any = net.apply(
      {**variables, 'params': params}, jnp.asarray(image, jnp.float32), geometry
    )
    return jnp.sum(found['params'][-1] ** 2)

  found = gradient(variables['params'], geometry)
  leaves = jax.tree_util.tree_leaves_with_path(found)
  bad = [jax.tree_util.keystr(path) for path, x in leaves if not np.isfinite(x).all()]
  if bad:
    return Finding(
      FAIL, f'the gradient of {bad[0]} is not finite; report it with the lines above.'
    )
  first = sum(float(np.abs(x).sum()) for path, x in leaves if 'block1' in str(path[0]))
  if not first > 0:
    return Finding(FAIL, 'no gradient reaches block 1; report it.')
  return Finding(PASS, f'finite in all {len(leaves)} arrays of a network of 2 blocks.')


def check_face() -> Finding:
  """Aligns a rendered face, whose landmarks are known, with the weights inside.

  Returns:
    The finding.
  """
  weights = load_weights()
  model = face_models.load_face_model(weights.card['config']['face_model'])
  render = synthetic.make_generator(model, synthetic.plain_config(), seed=0)
  face = jax.device_get(render(jnp.arange(1)))
  box = face['boxes'][0]
  found = Aligner(model, weights.network).align(
    weights.variables, face['images'][0], box[None], passes=1
  )
  distance = np.linalg.norm(
    found.landmarks['ibug68'][0] - face['landmarks'][0], axis=1
  ).mean()
  error = 100 * distance / np.sqrt(box[2] * box[3])
  text = f'the mean error on a rendered face is {error:.1f} % of its box'
  # Also if it is NaN.
  if not error <= _GOOD_ERROR:
    return Finding(FAIL, f'{text}; at most {_GOOD_ERROR:.0f} was expected: report it.')
  return Finding(PASS, f'{text}.')


if __name__ == '__main__':
  cli.start(main)
