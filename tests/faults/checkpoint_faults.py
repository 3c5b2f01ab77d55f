"""R5, R6, R7, R12 and R13: damaged, foreign and contested checkpoints."""

from collections.abc import Iterator
import contextlib
import logging
import pathlib
import shutil
import subprocess
import sys
import tempfile

import jax
import numpy as np

from pifa_jax.learning import checkpoints
from tests import program_runs
from tests.faults.tally import Scale, Tally
from tests.learning.checkpoints_test import make_state

_LOGGER = 'pifa_jax.learning.checkpoints'


class _Heard(logging.Handler):
  def __init__(self):
    super().__init__()
    self.lines: list[str] = []

  def emit(self, record):
    self.lines.append(record.getMessage())


@contextlib.contextmanager
def heard() -> Iterator[list[str]]:
  """The warnings of the checkpoints, in place of stderr."""
  logger, handler = logging.getLogger(_LOGGER), _Heard()
  propagate, logger.propagate = logger.propagate, False
  logger.addHandler(handler)
  try:
    yield handler.lines
  finally:
    logger.removeHandler(handler)
    logger.propagate = propagate


def _saved(folder):
  """Two checkpoints, and the files of the newer one with its manifest."""
  checkpointer = checkpoints.Checkpointer(folder)
  for step in (1, 2):
    checkpointer.save(step, make_state(step), {'config': {'step': step}})
  newest = folder / 'step_2'
  files = sorted(path for path in newest.rglob('*') if path.is_file())
  return [*files, folder / 'step_2.manifest.json']


def _is_state(found, step):
  return (
    found[0] == step
    and checkpoints.tree_hash(found[1]) == checkpoints.tree_hash(make_state(step))
    and found[2] == {'config': {'step': step}}
  )


def _falls_back(tally, folder, path, what):
  """Counts one damaged file of step 2: step 1 must take over, with one warning."""
  with heard() as lines:
    try:
      found = checkpoints.Checkpointer(folder).restore_latest(make_state())
    except Exception as error:
      tally.add('other', f'{path.name} {what}: {type(error).__name__}: {error}')
      return
  if not _is_state(found, 1):
    tally.add('silent', f'{path.name} {what}: step {found[0]} was restored')
  elif len(lines) != 1 or path.name not in lines[0]:
    tally.add('other', f'{path.name} {what}: it warned {lines}')
  else:
    tally.add('identical')


def missing_and_cut(scale: Scale) -> Tally:
  """R5: each file of the newest checkpoint deleted, emptied, truncated.

  Args:
    scale: where the checkpoints go.

  Returns:
    The counts.
  """
  tally, folder = Tally(), scale.folder / 'a ü'
  for path in _saved(folder):
    good = path.read_bytes()
    for damage in ('deleted', 'emptied', 'truncated'):
      if not good and damage != 'deleted':
        continue  # an empty file cannot be emptied
      if damage == 'deleted':
        path.unlink()
      else:
        path.write_bytes(b'' if damage == 'emptied' else good[:-1])
      _falls_back(tally, folder, path, damage)
      path.write_bytes(good)
  # Mended again, the newest one counts.
  if not _is_state(checkpoints.Checkpointer(folder).restore_latest(make_state()), 2):
    tally.add('silent', 'the mended checkpoint was not restored')
  return tally


def flipped_and_zeroed(scale: Scale) -> Tally:
  """R6: bit flips and zeroed pages in the newest checkpoint.

  Args:
    scale: how many, and where the checkpoints go.

  Returns:
    The counts.
  """
  tally, folder = Tally(), scale.folder
  paths = [path for path in _saved(folder) if path.stat().st_size]
  rng = np.random.default_rng(0)
  # One in every file at least, the arrays most of all: they are what is believed.
  chosen = [*paths, *rng.choice(paths, scale.count(20, 200))]
  for number, path in enumerate(chosen):
    good = path.read_bytes()
    bad = bytearray(good)
    place = int(rng.integers(len(bad)))
    page = slice(place // 4096 * 4096, min(len(bad), place // 4096 * 4096 + 4096))
    zeroed = number % 4 == 3 and any(bad[page])
    if zeroed:
      bad[page] = bytes(page.stop - page.start)
    else:
      bad[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(bad)
    _falls_back(tally, folder, path, f'{"page" if zeroed else "bit"} at {place}')
    path.write_bytes(good)
  return tally


def all_bad(scale: Scale) -> Tally:
  """R7: no checkpoint is good; nothing may start over by itself.

  Args:
    scale: where the checkpoints go.

  Returns:
    The counts.
  """
  tally = Tally()
  for number in range(5):
    folder = scale.folder / str(number)
    _saved(folder)
    for step in (1, 2):
      manifest = folder / f'step_{step}.manifest.json'
      if number == 0:
        manifest.write_bytes(b'')
      elif number == 1:
        shutil.rmtree(folder / f'step_{step}')
      else:
        files = sorted(p for p in (folder / f'step_{step}').rglob('*') if p.is_file())
        path = files[number * 5 % len(files)]
        path.write_bytes(path.read_bytes()[:-1] + b'?')
    with heard():
      tally.refused(
        f'all bad {number}',
        lambda folder=folder: checkpoints.Checkpointer(folder).restore_latest(
          make_state()
        ),
        checkpoints.CheckpointError,
        says='are damaged; --fresh puts',
      )
    # What --fresh does: nothing is deleted.
    checkpoints.Checkpointer(folder).put_aside()
    if not folder.with_name(f'{number}.aside-1').exists():
      tally.add('silent', f'all bad {number}: nothing was put aside')
  return tally


def _template(change):
  """(a state that differs from the saved one, what the error must name)."""
  state = make_state()
  params = state['params']
  zeros = lambda *shape, dtype=np.float32: np.zeros(shape, dtype)
  if change == 'shape':
    params['fc']['kernel'] = zeros(40, 21)
  elif change == 'rank':
    params['fc']['kernel'] = zeros(800)
  elif change == 'dtype':
    params['fc']['kernel'] = zeros(40, 20, dtype=np.float16)
  elif change == 'extra leaf':
    del params['fc']['kernel']
  elif change == 'extra branch':
    del params['fc']
  elif change == 'missing leaf':
    params['fc']['more'] = zeros(3)
    return state, 'params/fc/more: missing in the checkpoint, float32(3,) wanted'
  elif change == 'bias':
    params['conv']['bias'] = zeros(9)
    return state, 'params/conv/bias: float32(8,) in the checkpoint, float32(9,) wanted'
  elif change == 'scalar':
    state['step'] = np.zeros(1, np.int32)
    return state, 'step: int32() in the checkpoint, int32(1,) wanted'
  elif change == 'momentum':
    del state['opt_state']
    return state, 'opt_state/1/trace/conv/bias: float32(8,)'
  elif change == 'key':
    del state['key']
    return state, 'key: uint32(2,) in the checkpoint, missing wanted'
  else:
    state = {f'x{i}': zeros(2) for i in range(20)}
    return state, ' more)'
  return state, 'params/fc/kernel: float32(40, 20) in the checkpoint'


def foreign(scale: Scale) -> Tally:
  """R12: keys that are missing, extra or of other shapes; other numbers of devices.

  Args:
    scale: where the checkpoints go.

  Returns:
    The counts.
  """
  tally = Tally()
  _saved(scale.folder)
  for change in 'shape rank dtype bias scalar momentum key all'.split() + [
    'extra leaf',
    'extra branch',
    'missing leaf',
  ]:
    template, named = _template(change)
    try:
      checkpoints.Checkpointer(scale.folder).restore_latest(template)
      tally.add('silent', change)
    except checkpoints.CheckpointError as error:
      good = named in str(error) and '\n' not in str(error)
      tally.add('clean' if good else 'other', f'{change}: {error}')
  devices = jax.local_devices()
  if len(devices) > 1:
    mesh = jax.sharding.Mesh(devices, 'x')
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    checkpoints.Checkpointer(scale.folder).save(
      3, jax.device_put(make_state(3), everywhere), {'config': {'step': 3}}
    )
    found = checkpoints.Checkpointer(scale.folder).restore_latest(make_state())
    tally.add(
      'identical' if _is_state(found, 3) else 'silent', f'{len(devices)} devices -> 1'
    )
  return tally


def two_trainers(scale: Scale) -> Tally:
  """R13: a second trainer is refused, and the lock of a killed one is recovered.

  Args:
    scale: how often.

  Returns:
    The counts.
  """
  tally = Tally()
  hold = (
    'import sys, time\nfrom pifa_jax.learning import checkpoints\n'
    'with checkpoints.WorkdirLock(sys.argv[1]):\n'
    '  print("held", flush=True)\n  time.sleep(600)\n'
  )
  for number in range(scale.count(1, 5)):
    workdir = tempfile.mkdtemp(dir=scale.folder)
    child = subprocess.Popen(
      [sys.executable, '-c', hold, workdir],
      cwd=program_runs.ROOT,
      stdout=subprocess.PIPE,
      text=True,
    )
    try:
      assert child.stdout is not None
      child.stdout.readline()
      tally.refused(
        f'second trainer {number}',
        lambda workdir=workdir: _take(workdir),
        checkpoints.CheckpointError,
        says=f'process {child.pid}',
      )
    finally:
      child.kill()
      child.communicate()
    holder = pathlib.Path(workdir, '.lock').read_text()
    try:
      _take(workdir)
      # The killed one's number still stood there: a stale lock as they are.
      tally.add('identical' if holder == str(child.pid) else 'other', f'held {holder}')
    except checkpoints.CheckpointError as error:
      tally.add('other', f'stale lock {number}: {error}')
  return tally


def _take(workdir):
  with checkpoints.WorkdirLock(workdir):
    pass
