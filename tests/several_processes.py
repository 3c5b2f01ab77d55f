"""Several processes that train on this machine, beside one with as many devices.

`python -m tests.several_processes` trains the same small run with 1, 2 and 4 processes
that have four devices in all, moves its checkpoints between 1, 2 and 4 processes and
devices, kills a process, and prints what it measured. It exits with 1 if results
differ, or a killed process is not noticed. It is not a part of the suite: it takes some
minutes. The functions serve tests/experiments/lib/processes_test.py, too.
"""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from experiments.lib import processes
from pifa_jax.learning import checkpoints, parallel
from tests import program_runs

NUM_STEPS = 16
BATCH_SIZE = 8
_TRAIN = (
  '--dataset=synthetic',
  '--renderer=plain',
  '--preset=tiny',
  '--face_model=builtin',
  '--num_train=24',
  '--num_test=8',
  f'--num_steps={NUM_STEPS}',
  f'--batch_size={BATCH_SIZE}',
  '--num_blocks=1',
  '--fc_pool=4',
  '--eval_every=8',
  '--checkpoint_every=2',
  '--log_every=1',
  '--visualize_every=0',
  '--tensorboard=false',
)
# Seconds: more than any of this takes on a busy machine.
_PATIENCE = 1200


@dataclasses.dataclass(frozen=True)
class Ended:
  """How one process ended.

  Attributes:
    code: its exit code.
    stdout: what it said.
    stderr: what it complained of.
    time: of `time.monotonic`, at which it was seen to have ended.
  """

  code: int
  stdout: str
  stderr: str
  time: float


class Group:
  """Processes that were started together."""

  def __init__(self, command: list[str], count: int):
    """Starts them.

    Args:
      command: of one; the flags of `processes.ProcessSettings` are added for several.
      count: how many.
    """
    address = f'127.0.0.1:{_free_port()}'
    self._files = []
    self.processes = []
    for index in range(count):
      more = (
        f'--coordinator_address={address}',
        f'--num_processes={count}',
        f'--process_id={index}',
      )
      # Files, which do not fill up as pipes do.
      files = [tempfile.TemporaryFile('w+') for _ in range(2)]  # noqa: SIM115
      self._files.append(files)
      self.processes.append(
        subprocess.Popen(
          [*command, *(more if count > 1 else ())],
          cwd=program_runs.ROOT,
          stdout=files[0],
          stderr=files[1],
          env=program_runs.environment(),
        )
      )

  def wait(self) -> list[Ended]:
    """Waits until all have ended, and kills those that do not."""
    deadline = time.monotonic() + _PATIENCE
    ended: dict[int, float] = {}
    while len(ended) < len(self.processes):
      for index, process in enumerate(self.processes):
        if index not in ended and process.poll() is not None:
          ended[index] = time.monotonic()
        if time.monotonic() > deadline:
          process.kill()
      time.sleep(0.02)
    found = []
    for index, process in enumerate(self.processes):
      said = []
      for file in self._files[index]:
        file.seek(0)
        said.append(file.read())
        file.close()
      found.append(Ended(process.returncode, said[0], said[1], ended[index]))
    return found


def _free_port():
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def train(workdir: str, cache_dir: str, count: int, devices: int = 1) -> Group:
  """Starts a run of `NUM_STEPS` steps, or goes on with it.

  Args:
    workdir: of the run.
    cache_dir: of data and compiled programs.
    count: of processes.
    devices: of each.

  Returns:
    Its processes.
  """
  flags = (
    *_TRAIN,
    f'--workdir={workdir}',
    f'--cache_dir={cache_dir}',
    f'--cpu_devices={devices}',
  )
  return Group(program_runs.command('train', *flags), count)


def wait_for_step(workdir: str, step: int, group: Group) -> None:
  """Returns once a run has written a step, or has ended.

  Args:
    workdir: of the run.
    step: to wait for.
    group: its processes.
  """
  path = os.path.join(workdir, 'metrics.jsonl')
  while group.processes[0].poll() is None:
    if os.path.exists(path) and any(line['step'] >= step for line in metrics(workdir)):
      return
    time.sleep(0.02)


def metrics(workdir: str) -> list[dict]:
  """The lines of metrics.jsonl that are complete.

  Args:
    workdir: of the run.

  Returns:
    Its objects.
  """
  with open(os.path.join(workdir, 'metrics.jsonl')) as file:
    return [json.loads(line) for line in file if line.endswith('\n')]


def last_state(workdir: str) -> tuple[int, str, list[np.ndarray]]:
  """The newest checkpoint.

  Args:
    workdir: of the run.

  Returns:
    Its step, its hash and its arrays.
  """
  step, state = _read(workdir)
  return step, checkpoints.tree_hash(state), jax.tree.leaves(state)


def _read(workdir):
  import orbax.checkpoint as ocp

  folder = os.path.join(os.path.abspath(workdir), 'checkpoints')
  # As this process would, were it alone: `restored` calls it in several.
  this = jax.process_index()
  options = ocp.options.MultiprocessingOptions(
    primary_host=this, active_processes={this}
  )
  checkpointer = checkpoints.Checkpointer(folder)
  step = checkpointer.steps()[-1]
  if problem := checkpointer.problem(step):
    raise ValueError(problem)
  path = os.path.join(folder, f'step_{step}', 'state')
  shapes = ocp.StandardCheckpointer(multiprocessing_options=options).metadata(path)
  plain = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes.item_metadata.tree)
  state = ocp.StandardCheckpointer(multiprocessing_options=options).restore(path, plain)
  return step, jax.tree.map(np.asarray, state)


def restored(workdir: str, count: int, devices: int) -> set[str]:
  """Hashes of a checkpoint, as it lies on the devices of several processes.

  Args:
    workdir: of the run.
    count: of processes.
    devices: of each.

  Returns:
    Those of all devices of all processes; one, if all have the same bits.

  Raises:
    RuntimeError: if a process failed.
  """
  me = [sys.executable, '-m', 'tests.several_processes']
  ended = Group([*me, f'--restore={workdir}', f'--cpu_devices={devices}'], count).wait()
  if any(process.code for process in ended):
    raise RuntimeError(ended[0].stderr + ended[-1].stderr)
  found = [re.findall('^hash (.*)$', one.stderr, re.MULTILINE) for one in ended]
  if any(len(hashes) != devices for hashes in found):
    raise RuntimeError(f'{found}: wanted one a device')
  return {item for hashes in found for item in hashes}


def _restore(argv):
  """The process that `restored` starts."""
  given = dict(arg.lstrip('-').split('=', 1) for arg in argv)
  jax.config.update('jax_num_cpu_devices', int(given['cpu_devices']))
  settings = processes.ProcessSettings()
  if 'process_id' in given:
    settings = processes.ProcessSettings(
      coordinator_address=given['coordinator_address'],
      num_processes=int(given['num_processes']),
      process_id=int(given['process_id']),
    )
  with processes.join(settings) as group:
    _, state = _read(given['restore'])
    # What addition does not keep: minus zero and the payload of a NaN.
    state['odd'] = np.array([0x80000000, 0x7FC12345], np.uint32).view(np.float32)
    if not group.is_writer:
      state = jax.tree.map(np.zeros_like, state)
    state = group.from_writer(state)
    placed = parallel.replicate(state, jax.local_devices())
    for index in range(jax.local_device_count()):
      one = jax.tree.map(lambda x, i=index: np.asarray(x.addressable_data(i)), placed)
      print('hash', checkpoints.tree_hash(one), file=sys.stderr, flush=True)


def _steps_a_second(said):
  """Of the last step before the first validation."""
  rates = re.findall(r'^step [0-7]/.* ([\d.]+) img/s', said, re.MULTILINE)
  return float(rates[-1]) / BATCH_SIZE if rates else float('nan')


def _kill(workdir, cache, victim):
  """Seconds until the last process has noticed, and how they ended."""
  group = train(workdir, cache, 2)
  wait_for_step(workdir, 4, group)
  killed = time.monotonic()
  group.processes[victim].send_signal(signal.SIGKILL)
  ended = group.wait()
  return max(process.time for process in ended) - killed, ended


def main() -> int:
  """Prints the tables; returns the exit code."""
  folder = tempfile.mkdtemp()
  cache = os.path.join(folder, 'cache')
  good = True
  print('| processes x devices | steps/s | test NME % | state | largest difference |')
  print('|---|---|---|---|---|')
  first = None
  for count, devices in ((1, 4), (2, 2), (4, 1)):
    workdir = os.path.join(folder, f'{count}x{devices}')
    ended = train(workdir, cache, count, devices).wait()
    if any(process.code for process in ended):
      print(''.join(process.stderr for process in ended), file=sys.stderr)
      return 1
    _, digest, leaves = last_state(workdir)
    first = first or leaves
    difference = max(
      float(np.max(np.abs(a.astype(np.float64) - b), initial=0))
      for a, b in zip(first, leaves, strict=True)
    )
    good &= difference < 1e-4
    print(
      f'| {count} x {devices} | {_steps_a_second(ended[0].stdout):.2f} | '
      f'{metrics(workdir)[-1]["nme"][-1]:.5f} | {digest[:12]} | {difference:.1e} |',
      flush=True,
    )
  wanted = None
  for count, devices in ((1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (4, 1)):
    hashes = restored(os.path.join(folder, '4x1'), count, devices)
    wanted = wanted or hashes
    good &= hashes == wanted and len(hashes) == 1
    print(
      f'restored to {count} x {devices}: {" ".join(h[:12] for h in hashes)}', flush=True
    )
  for victim in (1, 0):
    seconds, ended = _kill(os.path.join(folder, f'killed{victim}'), cache, victim)
    code = ended[1 - victim].code
    good &= code not in (0, -signal.SIGKILL) and seconds < 60
    print(f'process {victim} of 2 killed: exit code {code} after {seconds:.1f} s')
    print(ended[1 - victim].stderr.strip().split('\n')[-2], flush=True)
  return 0 if good else 1


if __name__ == '__main__':
  if any(arg.startswith('--restore=') for arg in sys.argv):
    _restore(sys.argv[1:])
  else:
    sys.exit(main())
