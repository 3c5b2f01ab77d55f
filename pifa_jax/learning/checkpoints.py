"""Checkpoints with Orbax, and a SHA-256 manifest beside each.

Orbax writes atomically but does not notice flipped bits: every restored byte is
checked against the manifest first (BUILD_NOTES.md D-14). Which checkpoints are kept is
decided by Orbax's preservation policies; its CheckpointManager, which would apply them,
knows nothing of the manifest, so `Checkpointer` asks them itself.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import json
import logging
import math
import os
import pathlib
import re
import shutil
from typing import IO, Any

import jax
import numpy as np

_LOG = logging.getLogger(__name__)


class CheckpointError(Exception):
  """A checkpoint that cannot be written or used; one sentence says why."""


@dataclasses.dataclass(frozen=True)
class _Finished:
  """A finished checkpoint, as Orbax's policies take it (a PolicyCheckpointInfo).

  Attributes:
    step: of the state.
    time: of its manifest.
    metrics: 'nme' and 'step'; None if there is no finite 'nme'.
  """

  step: int
  time: datetime.datetime
  metrics: dict[str, Any] | None


def _rank(metrics):
  """Lowest for the best checkpoint; of equal ones, for the oldest."""
  return metrics['nme'], metrics['step']


def _kept(finished):
  """Of the finished checkpoints, the latest two and the best one are kept."""
  from orbax.checkpoint import checkpoint_managers as managers

  policy = managers.AnyPreservationPolicy(
    [
      managers.LatestN(2),
      managers.BestN(
        get_metric_fn=_rank, reverse=True, n=1, keep_checkpoints_without_metrics=False
      ),
    ]
  )
  return policy.should_preserve(finished, context=managers.PreservationContext())


def _state_files():
  """What writes and reads states, imported here: aligning a photo needs no Orbax."""
  import orbax.checkpoint as ocp

  if jax.process_count() == 1:
    return ocp.StandardCheckpointer()
  # One process writes, which has the whole state. Else Orbax would wait for the others.
  this = jax.process_index()
  return ocp.StandardCheckpointer(
    multiprocessing_options=ocp.options.MultiprocessingOptions(
      primary_host=this, active_processes={this}
    )
  )


class Checkpointer:
  """The checkpoints of one run, of which it keeps the latest two and the best one.

  A step is on disk once its manifest is: the manifest is written last, so a run
  killed in the middle of a save leaves a step that the next run ignores. Damaged
  and unfinished steps stay until the next save is complete.
  """

  def __init__(self, directory: str | os.PathLike[str]):
    """Opens a folder of checkpoints; it is made by the first save.

    Args:
      directory: of this run alone.
    """
    self._root = pathlib.Path(directory).absolute()
    self._state = _state_files()
    self._damaged: set[int] = set()

  def save(
    self,
    step: int,
    state: Any,
    meta: dict[str, Any],
    metrics: dict[str, float] | None = None,
  ) -> None:
    """Writes one checkpoint and removes those that are not kept any more.

    Args:
      step: of the state; a checkpoint of the same step is replaced.
      state: a tree of arrays.
      meta: a JSON object, such as the configuration.
      metrics: with 'nme', the lowest of which marks the best checkpoint.

    Raises:
      CheckpointError: if it cannot be written; older checkpoints are intact.
    """
    folder = self._folder(step)
    try:
      self._root.mkdir(parents=True, exist_ok=True)
      # Without its manifest the old one does not count any more.
      self._manifest_path(step).unlink(missing_ok=True)
      shutil.rmtree(folder, ignore_errors=True)
      # NumPy arrays: the checkpoint does not depend on the devices.
      with _quiet_threads():
        self._state.save(folder / 'state', jax.device_get(state))
        self._state.wait_until_finished()
      _write_json(folder / 'meta.json', {'meta': meta, 'metrics': metrics or {}})
      manifest = {'step': step, 'metrics': metrics or {}, 'files': _hash_files(folder)}
      _write_json(
        self._manifest_path(step), {**manifest, 'sha256': _hash_json(manifest)}
      )
    # RuntimeError: what Orbax's background thread may wrap an OSError in.
    except (OSError, ValueError, RuntimeError) as error:
      shutil.rmtree(folder, ignore_errors=True)  # on a full disk, room again
      # The old one would raise the same error again from every later call.
      self._state = _state_files()
      raise CheckpointError(
        f'The checkpoint of step {step} could not be written to {self._root} '
        f'({_first_line(error)}); older checkpoints are intact: make room and '
        'run the same command again.'
      ) from error
    self._damaged.discard(step)
    self._remove_old()

  def wait(self) -> None:
    """Returns once everything is on disk; saves are synchronous already."""
    self._state.wait_until_finished()

  def steps(self) -> list[int]:
    """Steps that were saved to the end, oldest first."""
    return self._numbers(r'step_([0-9]+)\.manifest\.json')

  def restore_latest(self, template: Any) -> tuple[int, Any, dict[str, Any]] | None:
    """The newest checkpoint whose every byte is as it was written.

    Args:
      template: a state of the wanted structure, shapes and dtypes.

    Returns:
      (step, state of NumPy arrays, meta), or None if nothing was ever saved.

    Raises:
      CheckpointError: if all are damaged, or one does not fit the template.
    """
    step = self.latest_intact_step()
    return None if step is None else self.restore(step, template)

  def restore_best(self, template: Any) -> tuple[int, Any, dict[str, Any]] | None:
    """Like `restore_latest`, for the checkpoint with the lowest 'nme'.

    Args:
      template: see `restore_latest`.

    Returns:
      See `restore_latest`.

    Raises:
      CheckpointError: see `restore_latest`.
    """
    while (best := self.best_step()) is not None and not self._intact(best):
      pass  # now it is known to be damaged, and the next best is asked for
    return (
      self.restore_latest(template) if best is None else self.restore(best, template)
    )

  def latest_intact_step(self) -> int | None:
    """The newest step whose every byte is as it was written.

    Returns:
      The step; None if nothing was ever saved to the end.

    Raises:
      CheckpointError: if all are damaged.
    """
    steps = self.steps()
    for step in self._unfinished():
      if step > max(steps, default=-1):
        _LOG.warning(
          'Checkpoint of step %d was not saved to the end (%s is '
          'missing); it is not used.',
          step,
          self._manifest_path(step).name,
        )
    for step in reversed(steps):
      if self._intact(step):
        return step
    if steps:
      raise CheckpointError(
        f'All {len(steps)} checkpoints in {self._root} are damaged; --fresh puts '
        'them aside and starts over.'
      )
    return None

  def restore(self, step: int, template: Any) -> tuple[int, Any, dict[str, Any]]:
    """Reads one checkpoint and does not verify it: see `problem`.

    Args:
      step: one of `steps`.
      template: see `restore_latest`.

    Returns:
      See `restore_latest`.

    Raises:
      CheckpointError: if it does not fit the template.
    """
    folder = self._folder(step)
    plain = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), template)
    try:
      shapes = self._state.metadata(folder / 'state').item_metadata.tree
      _check_shapes(shapes, template, step)
      state = self._state.restore(folder / 'state', plain)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
      raise CheckpointError(
        f'The checkpoint of step {step} in {self._root} cannot be read '
        f'({_first_line(error)}); remove {folder.name} to use another.'
      ) from error
    return step, jax.tree.map(np.asarray, state), self.meta(step)

  def meta(self, step: int) -> dict[str, Any]:
    """The JSON object that was saved beside the state.

    Args:
      step: one of `steps`.

    Returns:
      The object.

    Raises:
      CheckpointError: if its file is damaged.
    """
    meta = _read_json(self._folder(step) / 'meta.json').get('meta')
    if not isinstance(meta, dict):
      raise CheckpointError(
        f'The checkpoint of step {step} in {self._root} is damaged (meta.json '
        'cannot be read); use another step.'
      )
    return meta

  def best_step(self) -> int | None:
    """The step with the lowest 'nme'; the newest if none has one.

    Steps that were found to be damaged do not count.
    """
    usable = self._usable()
    scored = [info for info in usable if info.metrics is not None]
    if scored:
      return min(scored, key=lambda info: _rank(info.metrics)).step
    return usable[-1].step if usable else None

  def problem(self, step: int) -> str | None:
    """What is wrong with a checkpoint's files, or None.

    Args:
      step: one of `steps`.

    Returns:
      A phrase that names the first bad file.
    """
    manifest_name = self._manifest_path(step).name
    manifest = _read_json(self._manifest_path(step))
    wanted = manifest.get('files')
    if not isinstance(wanted, dict) or 'meta.json' not in wanted:
      return f'{manifest_name} cannot be read'
    digest = manifest.pop('sha256', None)
    # Those of earlier versions have no hash of their own.
    if not {*manifest} <= {'step', 'metrics', 'files'} or (
      digest is not None and digest != _hash_json(manifest)
    ):
      return f'{manifest_name} has changed'
    folder = self._folder(step)
    for name, digest in wanted.items():
      path = folder / name
      try:
        if not path.is_file():
          return f'{name} is missing'
        if _hash_file(path) != digest:
          return f'{name} has changed'
      except (OSError, ValueError) as error:
        return f'{name} cannot be read: {_first_line(error)}'
    # Its other content is repeated in a file that is hashed.
    if manifest.get('step') != step or manifest.get('metrics') != _read_json(
      folder / 'meta.json'
    ).get('metrics'):
      return f'{manifest_name} has changed'
    return None

  def content_hash(self, step: int) -> str:
    """Twelve hex digits that name the bytes of a checkpoint.

    Args:
      step: of the checkpoint.

    Returns:
      The digits.
    """
    return _hash_json(_read_json(self._manifest_path(step)).get('files'))[:12]

  def put_aside(self) -> None:
    """Renames the folder: the run starts over, and nothing is deleted."""
    if not self._root.exists():
      return
    number = 1
    while (aside := self._root.with_name(f'{self._root.name}.aside-{number}')).exists():
      number += 1
    self._root.rename(aside)
    self._damaged = set()

  def _folder(self, step):
    return self._root / f'step_{step}'

  def _manifest_path(self, step):
    return self._root / f'step_{step}.manifest.json'

  def _numbers(self, pattern):
    if not self._root.is_dir():
      return []
    return sorted(
      int(match[1])
      for path in self._root.iterdir()
      if (match := re.fullmatch(pattern, path.name))
    )

  def _unfinished(self):
    return sorted(set(self._numbers('step_([0-9]+)')) - set(self.steps()))

  def _intact(self, step):
    """Verifies a step; warns of a damaged one, once."""
    if step in self._damaged:
      return False
    problem = self.problem(step)
    if problem is None:
      return True
    self._damaged.add(step)
    _LOG.warning(
      'Checkpoint of step %d is damaged (%s); trying another.', step, problem
    )
    return False

  def _usable(self):
    """The checkpoints that are not known to be damaged, oldest first."""
    return [self._info(step) for step in self.steps() if step not in self._damaged]

  def _info(self, step):
    path = self._manifest_path(step)
    metrics = _read_json(path).get('metrics')
    nme = metrics.get('nme') if isinstance(metrics, dict) else None
    scored = isinstance(nme, (int, float)) and math.isfinite(nme)
    return _Finished(
      step=step,
      time=datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC),
      metrics={'nme': nme, 'step': step} if scored else None,
    )

  def _remove_old(self):
    usable = self._usable()
    kept = _kept(usable)
    keep = {info.step for info, keep in zip(usable, kept, strict=True) if keep}
    for step in set(self.steps()) - keep:
      # The manifest first: a step half removed must not count.
      self._manifest_path(step).unlink(missing_ok=True)
    for step in self._unfinished():
      shutil.rmtree(self._folder(step), ignore_errors=True)
    self._damaged.clear()


@contextlib.contextmanager
def _quiet_threads():
  """Keeps Orbax's threads from logging the tracebacks that it raises, too."""
  logger = logging.getLogger('absl')
  hide = lambda record: not record.exc_info
  logger.addFilter(hide)
  try:
    yield
  finally:
    logger.removeFilter(hide)


def _first_line(error):
  if 'No space left' in str(error):  # at the end of a page of tensorstore's
    return 'no space left on the device'
  return str(error).strip().split('\n')[0][:200] or type(error).__name__


def _hash_json(content):
  text = json.dumps(content, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def _hash_file(path):
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _hash_files(folder):
  return {
    str(path.relative_to(folder)): _hash_file(path)
    for path in sorted(folder.rglob('*'))
    if path.is_file()
  }


def _write_json(path, value):
  temporary = path.with_name(path.name + '.tmp')
  with open(temporary, 'w') as file:
    json.dump(value, file)
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, path)


def _read_json(path):
  """A JSON object; {} if there is none that can be read."""
  try:
    with open(path, encoding='utf-8') as file:
      value = json.load(file)
  except (OSError, ValueError, RecursionError):
    return {}
  return value if isinstance(value, dict) else {}


def _leaves(tree):
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def _check_shapes(saved, template, step):
  describe = lambda leaf: f'{np.dtype(leaf.dtype).name}{tuple(leaf.shape)}'
  had = {name: describe(leaf) for name, leaf in _leaves(saved).items()}
  want = {name: describe(leaf) for name, leaf in _leaves(template).items()}
  if had == want:
    return
  differ = sorted(
    name for name in had.keys() | want.keys() if had.get(name) != want.get(name)
  )
  shown = '; '.join(
    f'{name}: {had.get(name, "missing")} in the checkpoint, '
    f'{want.get(name, "missing")} wanted'
    for name in differ[:8]
  )
  more = f' (and {len(differ) - 8} more)' if len(differ) > 8 else ''
  raise CheckpointError(
    f'The checkpoint of step {step} is of another network: {shown}{more}; use '
    'the flags that it was trained with.'
  )


def tree_hash(tree: Any) -> str:
  """SHA-256 over every leaf's path, dtype, shape and bytes.

  Args:
    tree: of arrays.

  Returns:
    64 hex digits; equal for bit-identical trees.
  """
  digest = hashlib.sha256()
  for name, leaf in sorted(_leaves(tree).items()):
    array = np.ascontiguousarray(jax.device_get(leaf))
    digest.update(f'{name} {array.dtype} {array.shape} '.encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


class WorkdirLock:
  """Lets one trainer at a time write to a work folder.

  The kernel drops the lock when its process ends, however it ends, so there are no
  stale locks.
  """

  def __init__(self, workdir: str | os.PathLike[str]):
    """Names the folder; `with` takes the lock.

    Args:
      workdir: the folder; it must exist when the lock is taken.
    """
    self._path = os.path.join(os.fspath(workdir), '.lock')
    self._file: IO[str] | None = None

  def __enter__(self) -> 'WorkdirLock':
    try:
      file = open(self._path, 'a+')
    except OSError as error:
      raise CheckpointError(
        f'The lock {self._path} cannot be opened '
        f'({error.strerror}); choose another --workdir.'
      ) from error
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      file.seek(0)
      holder = file.read().strip() or 'unknown'
      file.close()
      raise CheckpointError(
        f'Another run (process {holder}) is writing to '
        f'{os.path.dirname(self._path)}; wait for it, or use another '
        '--workdir.'
      ) from error
    except OSError as error:
      file.close()
      raise CheckpointError(
        f'The file system of {self._path} does not lock files '
        f'({error.strerror}); choose another --workdir.'
      ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    self._file = file
    return self

  def __exit__(self, *unused: object) -> None:
    if self._file is not None:
      self._file.close()
