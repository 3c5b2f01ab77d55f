"""Trains variants through `experiments.train`, each of them once.

A run lies in <workdir>/runs under a name that ends in the hash of its configuration. A
finished run is read from there, one that was stopped goes on, and one that failed is a
`Hole`: a place of a table without a number, and why.
"""

from collections.abc import Callable, Mapping
import contextlib
import dataclasses
import gc
import hashlib
import json
import os
import pathlib
import signal
from typing import Any

from absl import flags
from absl.testing import flagsaver
import jax

from experiments import train
from experiments.lib import cli, data_loading, restore
from experiments.lib import config as config_lib
from experiments.reproduce import finished, variants
from experiments.reproduce.finished import Finished, Hole, Stopped, write_json
from experiments.reproduce.restored import Restored
from experiments.reproduce.timed_log import TimedLog
from pifa_jax.datasets import crop_cache
from pifa_jax.learning import checkpoints
from pifa_jax.learning.weights import load_weights
from pifa_jax.settings import to_json

Log = Callable[[str], None]
# Where the cached crops lie, and when something is printed, changes no number.
NO_PART = (
  'cache_dir log_every checkpoint_every visualize_every max_skipped data_on_device '
  'cpu_devices num_devices fresh tensorboard initial_weights tfds_dir strict'
).split()


class Runs:
  """All training runs of one data set and scale."""

  def __init__(
    self,
    folder: str | os.PathLike[str],
    scale: variants.Scale,
    data: str,
    given: Mapping[str, str],
    log: Log,
  ):
    """Names the runs; nothing is read or trained yet.

    Args:
      folder: the work folder of the program.
      scale: how much is computed.
      data: one of `variants.DATA`.
      given: flags of the command line, name -> text: they win over the scale's.
      log: prints a sentence for the user.
    """
    self._folder = pathlib.Path(folder) / 'runs'
    self.scale, self.data, self.log = scale, data, log
    self.given = dict(given)
    self._failed: dict[tuple[str, int], str] = {}
    self._finished: dict[tuple[str, int], Finished] = {}

  def failures(self) -> list[str]:
    """Why training runs of this program failed, a sentence each."""
    return [
      f'{name}, seed {seed}: {reason}' for (name, seed), reason in self._failed.items()
    ]

  def prepare(self) -> None:
    """Opens the training set of the base, so that what it lacks is said once, at first.

    Raises:
      FileNotFoundError, ValueError: with one sentence for the user.
    """
    with self.flags(variants.BASE, 0):
      f = flags.FLAGS
      # As the trainer does, which then finds these crops.
      shape = crop_cache.crop_shape(
        f.shift_jitter,
        f.scale_jitter,
        box_scale=f.box_scale,
        rotation=f.rotation,
        crop_scale=config_lib.network_from_flags().crop_scale,
      )
      data_loading.open_training(data_loading.from_flags(), self.log, shape=shape)

  @contextlib.contextmanager
  def flags(self, name: str, seed: int):
    """The flags of a run, while they are needed.

    Args:
      name: of a variant.
      seed: of the run.
    """
    values = variants.flags_of(
      variants.VARIANTS[name], self.scale, self.data, self.given
    )
    f = flags.FLAGS
    with flagsaver.flagsaver():
      for flag in trainer_flags():
        f[flag].unparse()
      for flag, text in values.items():
        setattr(f, flag, f[flag].parser.parse(text))
      set_flags(seed=seed)
      yield

  def key(self, name: str, seed: int) -> str:
    """The hash that names a run: of its configuration and its data.

    Args:
      name: of a variant.
      seed: of the run.

    Returns:
      Twelve hex digits.
    """
    variant = variants.VARIANTS[name]
    with self.flags(name, seed):
      data = data_loading.from_flags()
      config = config_lib.from_flags(
        rotation_translation_ratio=1.0,  # of the data
        dataset=data.dataset,
        landmark_scheme=data.landmark_scheme,
        face_model=data.face_model,
        face_model_hash='',
        data_hash='',
        validation=data.validation,
        synthetic=data.synthetic.faces if data.dataset == 'synthetic' else None,
      )
      folder = os.path.abspath(data.data_dir) if data.data_dir else None
      data = dataclasses.replace(data, data_dir=folder)
      content = {
        'config': config.to_json(),
        'data': {k: v for k, v in to_json(data).items() if k not in NO_PART},
        'eval_every': flags.FLAGS.eval_every,
        'after': self._start(variant, seed),
      }
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]

  def _start(self, variant, seed):
    """What a run starts from, in the hash of its name; '' = random weights."""
    if variant.after:
      return self.key(variant.after, seed)
    weights = flags.FLAGS.initial_weights
    return load_weights(weights).content_hash[:12] if weights else ''

  def folder(self, name: str, seed: int) -> pathlib.Path:
    """The work folder of a run: one that is there already, of whatever name.

    Args:
      name: of a variant.
      seed: of the run.

    Returns:
      The path.
    """
    key = self.key(name, seed)
    there = sorted(self._folder.glob(f'*-{key}'))
    new = self._folder / f'{self.data}-{name}-seed{seed}-{key}'
    return there[0] if there else new

  def finished(self, name: str, seed: int) -> Finished:
    """A run at its end, trained if it is not there yet.

    Args:
      name: of a variant.
      seed: of the run.

    Returns:
      What it ended with.

    Raises:
      Hole: if it failed.
      Stopped: if the program is to stop.
    """
    if (name, seed) in self._finished:
      return self._finished[name, seed]
    reason = self._failed.get((name, seed))
    reason = reason or variants.problem(variants.VARIANTS[name], self.data)
    if reason:
      raise Hole(reason)
    folder = self.folder(name, seed)
    if not (folder / 'result.json').exists():
      try:
        self._train(name, seed, folder)
      except Hole as hole:
        self._failed[name, seed] = str(hole)
        self.log(f'  failed: {hole}')
        raise
    try:
      return self._finished.setdefault((name, seed), Finished.read(folder))
    except Hole as hole:
      self._failed[name, seed] = str(hole)
      raise

  def _train(self, name, seed, folder):
    """Takes the steps that are left, and writes result.json."""
    before = variants.VARIANTS[name].after
    weights = None
    if before:
      try:
        weights = str(self.finished(before, seed).folder)
      except Hole as hole:
        raise Hole(f'the stage before it, {before}, failed: {hole}') from hole
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'train.log'
    self.log(f'Training {name}, seed {seed}: what it says goes to {path}.')
    with TimedLog(path) as timed, self.flags(name, seed):
      set_flags(workdir=str(folder))
      if weights:
        set_flags(initial_weights=weights)
      code = self._trainer(timed)
    timed.save(folder / 'timing.jsonl')
    if code in (cli.EXIT_STOPPED, cli.EXIT_INTERRUPTED):
      raise Stopped(code)
    if code == cli.EXIT_NON_FINITE:
      # The same command would end the same way: remembered.
      reason = (
        f'training {name} stopped: the updates were not finite '
        f'(runs/{folder.name}/{path.name})'
      )
      write_json(folder / 'result.json', {'hole': reason})
      raise Hole(reason)
    write_json(folder / 'result.json', finished.summary(folder))
    self.log(f'  {Finished.read(folder).words()}')

  def _trainer(self, timed):
    """Runs the trainer in this process; returns its exit code.

    Whatever goes wrong in it is the hole of one variant, not the end of all.
    """
    run = cli.Run('train')
    code, reason = cli.EXIT_USER_ERROR, 'error'
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    _without_own_flags()
    try:
      with contextlib.redirect_stdout(timed), contextlib.redirect_stderr(timed):
        code = train.main(run)
      reason = 'finished' if code == cli.EXIT_OK else f'exit code {code}'
      return code
    except Exception as error:
      reason = f'{type(error).__name__}: {_first_line(error)}'
      raise Hole(self._without_folders(reason)) from error
    finally:
      run.finish(reason, code)
      # The trainer's own would swallow a signal that comes after it.
      for number, handler in handlers.items():
        signal.signal(number, handler)
      # One program a variant: what this one compiled is of no use to the next.
      jax.clear_caches()
      gc.collect()

  def _without_folders(self, text):
    """A reason without the folders of this machine: it may stand on a page."""
    for folder, name in (
      (self.given.get('data_dir'), 'FOLDER'),
      (str(self._folder.parent), 'WORKDIR'),
    ):
      text = text.replace(folder, name) if folder else text
    return text

  def restored(self, name: str, seed: int) -> Restored:
    """The trained network of a run.

    Args:
      name: of a variant.
      seed: of the run.

    Returns:
      The network.

    Raises:
      Hole: if the run failed.
      Stopped: if the program is to stop.
    """
    found = self.finished(name, seed)
    try:
      with self.flags(name, seed):
        run = restore.open_run(str(found.folder))
        model = restore.face_model(run, flags.FLAGS, self.log)
        _, variables, digest = run.load(model, 'latest')
    except (cli.UserError, checkpoints.CheckpointError, ValueError) as error:
      raise Hole(f'{name}, seed {seed}, cannot be read: {error}') from error
    return Restored(run.config, variables, model, digest)

  def measured(
    self, name: str, seed: int, what: str, measure: Callable[[Restored], dict]
  ) -> dict[str, Any]:
    """Numbers of a trained network, measured once and kept beside it.

    Args:
      name: of a variant.
      seed: of the run.
      what: name of the numbers.
      measure: network -> JSON values by name.

    Returns:
      The values.

    Raises:
      Hole: if the run failed, or the measurement did.
      Stopped: if the program is to stop.
    """
    path = self.finished(name, seed).folder / f'{what}.json'
    if not path.exists():
      restored = self.restored(name, seed)
      self.log(f'Measuring {name}, seed {seed}: {what}.')
      try:
        with self.flags(name, seed):
          write_json(path, measure(restored))
      except (cli.UserError, ValueError, OSError) as error:
        raise Hole(self._without_folders(_first_line(error))) from error
      finally:
        jax.clear_caches()
    return json.loads(path.read_text(encoding='utf-8'))


def trainer_flags() -> list[str]:
  """Names of the flags that decide what a run computes, and how."""
  by_module = flags.FLAGS.flags_by_module_dict()
  return [
    flag.name
    for module in (config_lib, data_loading)
    for flag in by_module[module.__name__]
  ]


def set_flags(**values: Any) -> None:
  """Sets flags, inside `Runs.flags`.

  Args:
    **values: by name.
  """
  for name, value in values.items():
    setattr(flags.FLAGS, name, value)


def _without_own_flags():
  """Keeps the flags of this program out of the flag file of the trainer.

  So `experiments.train --flagfile=RUN/train.flags` repeats the run alone.
  """
  known = {*flags.FLAGS} & OWN_FLAGS
  for name in known:
    flags.FLAGS[name].value = None


# Set by `__main__`, which defines them.
OWN_FLAGS: set[str] = set()


def _first_line(error):
  return (str(error).strip().split('\n')[0] or type(error).__name__)[:300].rstrip('.')
