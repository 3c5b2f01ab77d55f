"""Several processes that train together, on one machine or on many.

JAX's distributed runtime joins them and notices who is lost. Here is what a program
needs of it: who writes, where all wait, and how all end. docs/several_machines.md says
how they are started.
"""

import atexit
from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import hashlib
import os
import signal
import sys
import time
from typing import Any, TypeVar

import jax
import numpy as np

from experiments.lib import cli
from pifa_jax.learning import parallel
from pifa_jax.settings import setting

_Found = TypeVar('_Found')

# A process that is silent for so long counts as lost: a killed one is then noticed
# within a minute, wherever the others are.
_HEARTBEAT_SECONDS = 30
# Others wait at a barrier while process 0 scores or saves, which a lost process ends
# earlier.
_BARRIER_SECONDS = 6 * 3600
# Process 0 leaves last, for JAX ends at once whoever misses its service: the others
# shall have said their own sentence.
_GRACE_SECONDS = 3
# In what JAX raises when a process cannot be reached, by what noticed it.
_LOST = ('gloo', 'coordination', 'barrier', 'heartbeat', 'nccl', 'connection')


@dataclasses.dataclass(frozen=True)
class ProcessSettings:
  """Which processes train together; none of this changes what is computed."""

  distributed: bool = setting(
    False,
    'Train together with the other processes of the job, which JAX finds by itself '
    'under Slurm, Open MPI and Kubernetes and on Cloud TPU (docs/several_machines.md).',
  )
  coordinator_address: str | None = setting(
    None,
    'HOST:PORT of process 0, the same in every process, to train together where no '
    'cluster says so; needs --num_processes and --process_id.',
  )
  num_processes: int | None = setting(
    None, 'How many processes train together; needs --coordinator_address.', low=1
  )
  process_id: int | None = setting(
    None, 'Which of them this one is, from 0; number 0 writes the work folder.', low=0
  )


def check(settings: ProcessSettings) -> None:
  """Refuses flags of which no group of processes comes.

  Args:
    settings: of the flags.

  Raises:
    UserError: if one is missing, or two contradict each other.
  """
  names = ('coordinator_address', 'num_processes', 'process_id')
  values = {name: getattr(settings, name) for name in names}
  given = [name for name in names if values[name] is not None]
  missing = [f'--{name}' for name in names if values[name] is None]
  if settings.distributed and given:
    raise cli.UserError(
      f'--distributed takes the processes of the cluster, and --{given[0]}='
      f'{values[given[0]]} names others; leave one of them out.'
    )
  if given and missing:
    raise cli.UserError(
      f'--{given[0]}={values[given[0]]} needs {" and ".join(missing)}, too; give all '
      'three, or --distributed where the cluster knows them.'
    )
  if settings.process_id is None or settings.num_processes is None:
    return
  if settings.process_id >= settings.num_processes:
    raise cli.UserError(
      f'--process_id={settings.process_id} is none of --num_processes='
      f'{settings.num_processes}; use 0 to {settings.num_processes - 1}.'
    )
  host, _, port = str(settings.coordinator_address).rpartition(':')
  if not host or not port.isdigit():
    raise cli.UserError(
      f'--coordinator_address={settings.coordinator_address} is not HOST:PORT; name '
      'the host of process 0 and a free port of it, such as 10.0.0.1:1234.'
    )


class Group:
  """The processes that train together; one alone, unless they were joined.

  Attributes:
    count: how many.
    index: which of them this is.
    is_writer: whether it is number 0, which alone writes files and what the user
      reads.
  """

  def __init__(self, count: int = 1, index: int = 0):
    """Describes a group that has been joined already: see `join`."""
    self.count, self.index = count, index
    self.is_writer = index == 0
    self._barriers = 0

  def barrier(self) -> None:
    """Waits until all are here, however long the slowest takes."""
    if self.count == 1:
      return
    from orbax.checkpoint import multihost

    # Of the coordinator and not of the devices: Gloo gives up when others come to
    # their first collective 30 seconds later.
    self._barriers += 1
    multihost.get_barrier_sync_fn()(
      key=f'pifa_jax-{self._barriers}', timeout_ms=1000 * _BARRIER_SECONDS
    )

  def writer_first(self, call: Callable[[], _Found]) -> _Found:
    """Calls in process 0, then in the others: they find the files that it made.

    Args:
      call: without arguments.

    Returns:
      What it returns.
    """
    if not self.is_writer:
      self.barrier()
    found = call()
    if self.is_writer:
      self.barrier()
    return found

  def from_writer(self, tree: Any) -> Any:
    """What process 0 has, bit by bit.

    Args:
      tree: of arrays, whose shapes and dtypes are the same everywhere.

    Returns:
      The tree itself if there is one process; else a tree of NumPy arrays.
    """
    if self.count == 1:
      return tree
    from jax.experimental import multihost_utils

    self.barrier()
    plain = jax.tree.map(lambda x: np.asarray(jax.device_get(x)), tree)
    # As whole numbers: JAX adds zeros of the others, which would change -0.0 and the
    # bits of a NaN.
    bits = multihost_utils.broadcast_one_to_all(jax.tree.map(_bits, plain))
    return jax.tree.map(
      lambda sent, x: np.asarray(sent).view(x.dtype).reshape(x.shape), bits, plain
    )

  def connect(self, devices: list[jax.Device]) -> None:
    """Connects the devices that train; their first sum may then come at any time.

    Args:
      devices: those of `parallel.of_all_processes`.
    """
    if self.count == 1:
      return
    self.barrier()
    found = parallel.count_devices(devices)
    if found != len(devices):
      raise cli.UserError(
        f'{len(devices)} devices were to train, and {found} answered; give every '
        'process as many devices as the others.'
      )

  def all(self, value: bool) -> bool:
    """Whether it is true in every process."""
    if self.count == 1:
      return value
    from jax.experimental import multihost_utils

    self.barrier()
    return bool(np.all(multihost_utils.process_allgather(np.asarray(value))))

  def check_same(self, text: str, what: str) -> None:
    """Refuses to go on with processes that would compute different things.

    Args:
      text: what must be the same in all.
      what: it is, in words.

    Raises:
      UserError: in every process, if it differs from that of process 0 anywhere.
    """
    if self.count == 1:
      return
    from jax.experimental import multihost_utils

    self.barrier()
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    found = np.asarray(multihost_utils.process_allgather(digest))
    others = [
      str(index) for index in range(self.count) if np.any(found[index] != found[0])
    ]
    if others:
      raise cli.UserError(
        f'Process {" and ".join(others)} of {self.count} has another {what} than '
        'process 0; start all with the same flags, data and version.'
      )


def _bits(array):
  flat = np.ascontiguousarray(array).reshape(-1)
  return flat.view(f'u{min(flat.dtype.itemsize, 4)}')


class StopOfAll:
  """Lets all processes end at one step, whichever of them is told to stop.

  JAX takes SIGTERM over when a group is joined, and agrees on a step that none has
  passed.
  """

  def __init__(self) -> None:
    """Makes Ctrl-C the same as SIGTERM."""
    signal.signal(signal.SIGINT, lambda *unused: os.kill(os.getpid(), signal.SIGTERM))

  def exit_code(self, step: int) -> int:
    """EXIT_STOPPED at the step at which all end, else EXIT_OK.

    Args:
      step: that was taken; every process asks after every step.

    Returns:
      The exit code.
    """
    from jax.experimental import multihost_utils

    if multihost_utils.reached_preemption_sync_point(step):
      return cli.EXIT_STOPPED
    return cli.EXIT_OK


@contextlib.contextmanager
def join(settings: ProcessSettings) -> Iterator[Group]:
  """Joins the other processes; to be called before JAX is used.

  What goes wrong in one ends all: it leaves without waiting, and the others, who miss
  it, say so in one sentence. Processes other than number 0 print nothing.

  Args:
    settings: of the flags.

  Yields:
    The Group.

  Raises:
    UserError: if the flags contradict each other, or a process is lost.
  """
  check(settings)
  if not settings.distributed and settings.process_id is None:
    yield Group()
    return
  _initialize(settings)
  group = Group(jax.process_count(), jax.process_index())
  try:
    with contextlib.ExitStack() as stack:
      if not group.is_writer:
        nowhere = stack.enter_context(open(os.devnull, 'w'))
        stack.enter_context(contextlib.redirect_stdout(nowhere))
      yield group
      # Here the service of process 0 still lives, which all need to the end.
      group.barrier()
  except BaseException as error:
    # JAX would wait at its end for the others, who wait for this one.
    atexit.register(_leave, _GRACE_SECONDS if group.is_writer else 0)
    if isinstance(error, Exception) and _is_loss(error):
      raise cli.UserError(
        f'Process {group.index} of {group.count} cannot reach another one, which has '
        f'ended or whose machine is gone ({_first_line(error)}); its own output says '
        'why: start all of them again, and they go on from the last checkpoint.'
      ) from error
    raise


def _initialize(settings):
  arguments: dict[str, Any] = {}
  if not settings.distributed:
    arguments = {
      'coordinator_address': settings.coordinator_address,
      'num_processes': settings.num_processes,
      'process_id': settings.process_id,
      # Nothing is left to detect but the devices, of which JAX takes all.
      'cluster_detection_method': 'deactivate',
    }
  # For processes without an accelerator; JAX has it as its default since 0.5.
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  try:
    jax.distributed.initialize(
      heartbeat_timeout_seconds=_HEARTBEAT_SECONDS, **arguments
    )
  except (ValueError, RuntimeError) as error:
    atexit.register(_leave, 0)
    if settings.distributed:
      raise cli.UserError(
        f'--distributed, but JAX finds no cluster to join ({_first_line(error)}); use '
        '--coordinator_address, --num_processes and --process_id.'
      ) from error
    raise cli.UserError(
      f'Process {settings.process_id} of {settings.num_processes} cannot join the '
      f'others at {settings.coordinator_address} ({_first_line(error)}); start all of '
      'them, and see that the port is free and reachable.'
    ) from error


def _is_loss(error):
  if isinstance(error, (cli.UserError, OSError)):
    return False
  text = str(error).lower()
  return isinstance(error, (ValueError, RuntimeError)) and any(
    word in text for word in _LOST
  )


def _first_line(error):
  return str(error).strip().split('\n')[0][:160]


def _leave(seconds):
  time.sleep(seconds)
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(cli.EXIT_USER_ERROR)
