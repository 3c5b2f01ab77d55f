"""R1 to R4: runs of the trainer that are repeated, stopped and killed.

Dropout, batch normalisation and the changes of the photos are on, as in every run of
this configuration. One folder of data and compiled programs serves all runs.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time

from pifa_jax.learning import checkpoints
from tests import program_runs
from tests.experiments.train_test import TINY, final
from tests.faults.tally import Scale, Tally

_INTERVAL = 4  # --checkpoint_every of TINY


class _Runs:
  """Starts trainers and compares their ends with the uninterrupted run's."""

  def __init__(self, scale):
    self._folder = scale.folder
    self.steps = scale.count(16, 200)
    began = time.monotonic()
    self.finish('reference')
    self.duration = time.monotonic() - began
    self.reference = final(self.workdir('reference'))

  def workdir(self, name):
    return os.path.join(self._folder, name)

  def start(self, name):
    return subprocess.Popen(
      program_runs.command(
        'train',
        *TINY,
        f'--workdir={self.workdir(name)}',
        f'--num_steps={self.steps}',
        f'--cache_dir={self._folder}/cache',
      ),
      cwd=program_runs.ROOT,
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      env=program_runs.environment(),
    )

  def finish(self, name):
    """Runs to the end; returns the exit code and what was said."""
    process = self.start(name)
    said, _ = process.communicate(timeout=3600)
    return process.returncode, said

  def compare(self, tally, name):
    """Runs to the end, and counts whether that is the reference's end."""
    code, said = self.finish(name)
    if code:
      tally.add('other', f'{name}: exit {code}: {said[-300:]}')
    else:
      same = final(self.workdir(name)) == self.reference
      tally.add('identical' if same else 'silent', f'{name}: ended otherwise')
    return said

  def signal_at(self, name, step, number):
    """Sends a signal once a step is printed; (exit code, seconds, lines)."""
    process = self.start(name)
    lines = []
    for line in process.stdout:
      lines.append(line)
      if line.startswith(f'step {step}/'):
        break
    began = time.monotonic()
    process.send_signal(number)
    rest, _ = process.communicate(timeout=3600)
    return process.returncode, time.monotonic() - began, lines + rest.splitlines()


def twice(scale: Scale) -> Tally:
  """R1: the same seed again.

  Args:
    scale: one pair or three.

  Returns:
    The counts.
  """
  tally, runs = Tally(), _Runs(scale)
  for number in range(scale.count(1, 3)):
    runs.compare(tally, f'again_{number}')
  return tally


def stopped(scale: Scale) -> Tally:
  """R2: stopped at a step, and gone on.

  Args:
    scale: two steps, or 1 to 20 and ten random ones.

  Returns:
    The counts.
  """
  tally, runs = Tally(), _Runs(scale)
  later = random.Random(0).sample(range(21, 190), 10)
  for step in [*range(1, 21), *later] if scale.full else (1, 6):
    name = f'stopped_{step}'
    code, _, lines = runs.signal_at(name, step, signal.SIGTERM)
    if code != 75:
      tally.add('other', f'{name}: exit {code}: {lines[-3:]}')
      continue
    runs.compare(tally, name)
  return tally


def killed(scale: Scale) -> Tally:
  """R3: `kill -9` at random times until the run is through; a kill is a fault.

  Args:
    scale: 2 kills or 100.

  Returns:
    The counts: a kill is identical if its run ended as the reference.
  """
  tally, runs = Tally(), _Runs(scale)
  rng, kills, number = random.Random(0), 0, 0
  while kills < scale.count(2, 100):
    name, of_run, printed = f'killed_{number}', 0, 0
    number += 1
    # At most three a run, so that it ends.
    while of_run < 3 and kills < scale.count(2, 100):
      process = runs.start(name)
      try:
        said, _ = process.communicate(timeout=rng.uniform(0, runs.duration))
      except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        of_run += 1
        kills += 1
      if not _goes_on(said, printed):
        tally.add('silent', f'{name}: more than one save interval was lost')
      found = re.findall(r'^step (\d+)/', said, re.MULTILINE)
      printed = int(found[-1]) if found else printed
      if not process.returncode:
        break
    before = Tally()
    said = runs.compare(before, name)
    if not _goes_on(said, printed):
      tally.add('silent', f'{name}: more than one save interval was lost')
    tally.notes += before.notes
    for _ in range(of_run):
      for outcome in ('identical', 'silent', 'other'):
        if getattr(before, outcome):
          tally.add(outcome, name)
  return tally


def _goes_on(said, printed):
  """Whether a run that printed so many steps before lost one save interval at most."""
  found = re.search(r'^resumed at step (\d+)$', said, re.MULTILINE)
  begun = re.search(r'^(fresh|resumed)', said, re.MULTILINE)
  start = int(found[1]) if found else 0
  return begun is None or start >= printed - _INTERVAL


def told_to_stop(scale: Scale) -> Tally:
  """R4: SIGTERM and SIGINT: saved at the current step, in time, with their exit codes.

  Args:
    scale: one each or twenty.

  Returns:
    The counts, those of `second_signals` among them.
  """
  tally, runs = second_signals(scale), _Runs(scale)
  rng = random.Random(1)
  for number, wanted in ((signal.SIGTERM, 75), (signal.SIGINT, 130)):
    for repeat in range(scale.count(1, 20)):
      name = f'{number.name}_{repeat}'
      code, seconds, lines = runs.signal_at(name, rng.randrange(2, 12), number)
      taken = [re.match(r'step (\d+)/', line) for line in lines]
      last = max(int(match[1]) for match in taken if match)
      saved = checkpoints.Checkpointer(
        os.path.join(runs.workdir(name), 'checkpoints')
      ).latest_intact_step()
      if code != wanted or seconds > 10:
        tally.add('other', f'{name}: exit {code} after {seconds:.1f} s')
      elif saved != last:
        tally.add('silent', f'{name}: step {last} was taken, {saved} saved')
      else:
        tally.add('clean')
  return tally


# The main thread is in code that is not Python's, as it is while XLA compiles or waits.
_BUSY = """
import hashlib
from experiments.lib.stop_signal import StopSignal
stop = StopSignal()
print('busy', flush=True)
hashlib.pbkdf2_hmac('sha256', b'', b'', 2_000_000_000)
"""


def second_signals(scale: Scale) -> Tally:
  """R4: a second signal ends a process at once, whatever its main thread does.

  Args:
    scale: one process, or twenty of either signal.

  Returns:
    The counts.
  """
  tally = Tally()
  signals = (signal.SIGTERM, signal.SIGINT) * 20
  for number in signals[: scale.count(1, len(signals))]:
    with subprocess.Popen(
      [sys.executable, '-c', _BUSY],
      cwd=program_runs.ROOT,
      stdout=subprocess.PIPE,
      env=program_runs.environment(),
    ) as process:
      assert process.stdout is not None
      process.stdout.readline()
      process.send_signal(number)
      time.sleep(0.3)  # two that wait together are one
      if process.poll() is not None:
        tally.add('silent', f'the first {number.name} ended it')
        continue
      process.send_signal(number)
      try:
        code = process.wait(timeout=10)
        fine = code == 128 + number
        tally.add('clean' if fine else 'other', f'second {number.name}: exit {code}')
      except subprocess.TimeoutExpired:
        process.kill()
        tally.add('other', f'second {number.name}: it went on for 10 s')
  return tally
