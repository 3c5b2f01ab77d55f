"""R8: the disk is full in the middle of a checkpoint, of metrics, of a figure.

A file system of a few hundred KiB in memory, in a user namespace of its own.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image

from experiments.lib import metrics_file
from pifa_jax.learning import checkpoints
from pifa_jax.results import photo_maps
from tests import program_runs
from tests.faults.tally import Scale, Tally
from tests.learning.checkpoints_test import make_state

_MOUNT = 'mount -t tmpfs -o size=2m none "$1" && shift && exec "$@"'


def can_mount() -> bool:
  """Whether this machine lets a user mount in a namespace."""
  if not shutil.which('unshare'):
    return False
  done = subprocess.run(
    ['unshare', '-Urm', 'sh', '-c', 'mount -t tmpfs -o size=1m none /mnt'],
    capture_output=True,
    check=False,
  )
  return done.returncode == 0


def full_disk(scale: Scale) -> Tally:
  """R8: see the module.

  Args:
    scale: how often, and where the small disk is mounted.

  Returns:
    The counts; none tried where no user may mount.
  """
  tally = Tally()
  if not can_mount():
    tally.notes.append('no user namespace: not tried')
    return tally
  place = scale.folder / 'disk'
  place.mkdir()
  program = [sys.executable, '-m', 'tests.faults.full_disk', str(place)]
  done = subprocess.run(
    ['unshare', '-Urm', 'sh', '-c', _MOUNT, 'sh', str(place), *program]
    + [str(scale.count(2, 9)), str(scale.count(1, 3))],
    cwd=program_runs.ROOT,
    env=program_runs.environment(),
    text=True,
    capture_output=True,
    timeout=900,
    check=False,
  )
  for text in done.stdout.splitlines():
    outcome, _, note = text.partition(' ')
    tally.add(outcome, note)
  if done.returncode or not tally.tried:
    tally.add('other', done.stderr[-400:])
  return tally


def _fill(folder, leave):
  """Leaves so many bytes free."""
  filler = folder / 'filler'
  filler.unlink(missing_ok=True)
  space = os.statvfs(folder)
  filler.write_bytes(bytes(max(0, space.f_bavail * space.f_frsize - leave)))
  return filler


def _checkpoint(folder, leave):
  shutil.rmtree(folder / 'run', ignore_errors=True)
  checkpointer = checkpoints.Checkpointer(folder / 'run')
  checkpointer.save(1, make_state(1), {})
  filler = _fill(folder, leave)
  try:
    checkpointer.save(2, make_state(2), {})
    return 'other', 'the disk was not full'
  except checkpoints.CheckpointError as error:
    if '\n' in str(error):
      return 'other', 'several lines'
  found = checkpoints.Checkpointer(folder / 'run').restore_latest(make_state())
  if found is None or checkpoints.tree_hash(found[1]) != checkpoints.tree_hash(
    make_state(1)
  ):
    return 'silent', 'the last good checkpoint is not intact'
  # With room again the run goes on.
  filler.unlink()
  checkpointer.save(2, make_state(2), {})
  return 'clean', ''


def _metrics(folder):
  _fill(folder, 0).unlink()
  path = folder / 'metrics'
  path.mkdir(exist_ok=True)
  file = metrics_file.MetricsFile(str(path), 0, False)
  filler, written = _fill(folder, 4096), 0
  try:
    for step in range(1, 10_000):
      file.write({'step': step, 'loss': 1.0})
      written = step
    return 'silent', 'metrics were lost without an error'
  except OSError as error:
    if not error.strerror:
      return 'other', str(error)
  filler.unlink()
  # The next run takes the file up to its last whole line.
  lines = metrics_file.MetricsFile(str(path), written, False).lines
  whole = [line['step'] for line in lines] == list(range(1, written + 1))
  return ('clean', '') if whole else ('silent', 'lines are missing')


def _figure(folder):
  _fill(folder, 0).unlink()
  path = folder / 'faces.png'
  noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
  photo_maps.write_image(path, Image.fromarray(noise))
  good = path.read_bytes()
  filler = _fill(folder, 20_000)
  try:
    photo_maps.write_image(path, Image.fromarray(255 - noise))
    return 'other', 'the disk was not full'
  except OSError:
    pass
  finally:
    filler.unlink()
  return ('clean', '') if path.read_bytes() == good else ('silent', 'half a figure')


def _main(folder, saves, others):
  found = [_checkpoint(folder, 4096 * (1 + number)) for number in range(saves)]
  for _ in range(others):
    found += [_metrics(folder), _figure(folder)]
  for outcome, note in found:
    print(outcome, note)


if __name__ == '__main__':
  _main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
