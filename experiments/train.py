"""Trains the network; an interrupted run goes on when it is started again.

python -m experiments.train --flagfile=demo.flags
python -m experiments.train --flagfile=aflw.flags --data_dir=~/AFLW
"""

import contextlib
import functools
import os
import sys
import time

from absl import flags
import flax.traverse_util
import jax
import numpy as np

from experiments.lib import (
  cli,
  data_loading,
  figures,
  metrics_file,
  processes,
  restore,
  scoring,
  stop_signal,
  terminal,
)
from experiments.lib import config as config_lib
from pifa_jax import face_models
from pifa_jax.datasets import crop_cache, sampler
from pifa_jax.evaluation import protocols
from pifa_jax.evaluation.metrics import block_means
from pifa_jax.geometry import mirror, projection
from pifa_jax.learning import checkpoints, losses, network, parallel, training
from pifa_jax.learning import optimizer as optimizer_lib
from pifa_jax.results import photo_maps
from pifa_jax.types import camera_of


def main(run: cli.Run) -> int:
  """Trains the network.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  settings = config_lib.trainer_from_flags()
  config_lib.split_cpu()
  with processes.join(config_lib.processes_from_flags()) as group:
    devices = _devices(settings, f.batch_size, group)
    with _writer_lock(run, group, devices):
      data, test = group.writer_first(_open_data)
      ratio = losses.rotation_translation_ratio(camera_of(data.crops.params))
      config = config_lib.from_flags(
        rotation_translation_ratio=float(ratio), **data.facts()
      )
      return _Trainer(run, config, settings, data, test, devices, group).train()


@contextlib.contextmanager
def _writer_lock(run, group, devices):
  """Opens the work folder in the process that writes to it."""
  if not group.is_writer:
    yield
    return
  f = flags.FLAGS
  # The lock first: a run that is refused must not touch the record of the other one.
  workdir = run.make_folder(f.workdir)
  with checkpoints.WorkdirLock(workdir):
    run.open(workdir, seed=f.seed, device=_device_words(devices, group))
    yield


def _open_data():
  """The training set and the set of the final score."""
  f = flags.FLAGS
  crop_scale = config_lib.network_from_flags().crop_scale
  data = data_loading.open_training(
    data_loading.from_flags(),
    _log,
    shape=crop_cache.crop_shape(
      f.shift_jitter,
      f.scale_jitter,
      box_scale=f.box_scale,
      rotation=f.rotation,
      crop_scale=crop_scale,
    ),
  )
  return data, data_loading.test_or_validation(data, _log, crop_scale=crop_scale)


def _devices(settings, batch_size, group):
  """The devices of this process to train on; every process has as many."""
  devices = jax.local_devices()
  if settings.num_devices > len(devices):
    raise cli.UserError(
      f'--num_devices={settings.num_devices} but there are {len(devices)}.'
    )
  devices = devices[: settings.num_devices or None]
  count = group.count * len(devices)
  if batch_size % count:
    raise cli.UserError(
      f'batch_size={batch_size} does not split over {count} devices; '
      f'use a multiple of {count}'
      + (', or --cpu_devices=1.' if settings.cpu_devices > 1 else '.')
    )
  return devices


def _device_words(devices, group):
  words = f'{group.count * len(devices)} x {devices[0].device_kind}'
  return words if group.count == 1 else f'{words} of {group.count} processes'


class _Trainer:
  """One run: `__init__` sets it up, `train` is the loop, every other method a step."""

  def __init__(self, run, config, settings, data, test, devices, group):
    """Makes the first state, or restores the newest, and puts it on the devices.

    Args:
      run: the record of the run, opened.
      config: what to compute.
      settings: how, and what to report.
      data: the training set.
      test: the set of the final score.
      devices: of this process, to train on.
      group: the processes that train together.
    """
    self._run, self._workdir, self._group = run, run.workdir, group
    self._settings, self._data, self._test = settings, data, test
    self._devices = devices
    self._stop = stop_signal.StopSignal() if group.count == 1 else processes.StopOfAll()
    self._network = network.PifaNetwork(
      config.network, data.model.num_params, axis_name=parallel.AXIS
    )
    geometry = network.network_geometry(data.model, config.network)
    mirror_map = _mirror_map(config, data)
    _check_pairs(config)
    self._optimizer = optimizer_lib.make_optimizer(config.optimizer, config.num_steps)
    self._schedule = jax.jit(
      optimizer_lib.learning_rate_schedule(config.optimizer, config.num_steps)
    )
    variables = network.init_variables(self._network, geometry, config.seed)
    if settings.initial_weights:
      config, variables = _initial_weights(
        settings.initial_weights, config, variables, data
      )
    self._config = config
    group.check_same(config.hash(), 'configuration')
    state = training.init_state(variables, self._optimizer)
    self._describe(state, geometry)
    step = 0
    if group.is_writer:
      self._checkpointer = checkpoints.Checkpointer(
        os.path.join(self._workdir, 'checkpoints')
      )
      step, state = self._restored(state)
    step, state = group.from_writer((np.int32(step), state))
    self._step = int(step)
    self._place_on_devices(state, geometry, mirror_map)
    self._nme: float | None = None
    if group.is_writer:
      self._metrics = metrics_file.MetricsFile(
        self._workdir, self._step, settings.tensorboard
      )
      validation = self._metrics.last('validation')
      self._nme = validation['nme'][-1] if validation else None
    self._first_step = self._saved_step = self._step
    # (step, rows, what was finite) of the steps since the last report.
    self._unreported: list[tuple[int, np.ndarray, dict]] = []
    self._started = time.monotonic()

  def _describe(self, state, geometry):
    """Records and logs what is trained on what."""
    config, data = self._config, self._data
    self._run.note(
      config=config.to_json(),
      config_hash=config.hash(),
      landmark_scheme=data.scheme,
      num_train=len(data.train_ids),
      num_validation=len(data.validation_ids),
      num_test=len(self._test.crops),
    )
    count = sum(x.size for x in jax.tree.leaves(state.params))
    few = geometry.small_rendered
    _log(
      f'{config.network.num_blocks} blocks, {count / 1e6:.1f} M weights, '
      f'{data.model.num_params} face parameters, '
      f'{geometry.rendered.num_vertices} vertices rendered'
      + ('' if few is None else f', {few.num_vertices} in small visualizations')
      + f'; {len(data.train_ids)} training, {len(data.validation_ids)} validation '
      f'and {len(self._test.crops)} test faces; '
      f'{_device_words(self._devices, self._group)}.'
    )
    if config.optimizer.method == 'adam' and not config.network.units:
      _log(
        'Note: under Adam most hidden units of these blocks are soon never active '
        '(BUILD_NOTES.md D-94); use --optimizer_preset=tuned, or --preset=residual.'
      )

  def _restored(self, state):
    """Step and state to begin with."""
    if self._settings.fresh:
      self._checkpointer.put_aside()
    newest = self._checkpointer.latest_intact_step()
    if newest is not None:
      # First: the arrays of another network do not even have these shapes.
      _check_same_run(self._config, self._checkpointer.meta(newest)['config'])
    restored = self._checkpointer.restore_latest(state)
    if restored is None:
      print('fresh', flush=True)
      return 0, state
    step, state, meta = restored
    _check_same_run(self._config, meta['config'])
    print(f'resumed at step {step}', flush=True)
    return step, state

  def _place_on_devices(self, state, geometry, mirror_map):
    """Moves state and data over, and prepares the programs that use them.

    Once, as the step returns and takes them: nothing but sample ids crosses over to
    the devices from now on, unless the training set is streamed.
    """
    config, crops, devices = self._config, self._data.crops, self._devices
    all_devices = parallel.of_all_processes(devices)
    self._group.connect(all_devices)
    landmark_model = projection.landmark_model(self._data.model, config.landmark_scheme)
    self._state, self._geometry, self._landmark_model = parallel.replicate(
      (state, geometry, landmark_model), devices
    )
    on_device = (
      self._group.all(sampler.fits(crops, devices[0]))
      if self._settings.data_on_device == 'auto'
      else self._settings.data_on_device == 'yes'
    )
    self._source = sampler.make_source(crops, devices, on_device=on_device)
    _log(
      f'Training set of {sampler.num_bytes(crops) / 1e6:.0f} MB '
      + ('on the device' if on_device else 'streamed from its memory map')
      + f'; {config.network.precision}.'
    )
    self._evaluator = scoring.Evaluator(
      self._network,
      self._geometry,
      self._landmark_model,
      box_noise=self._test.box_noise,
    )
    self._step_function = parallel.parallel(
      functools.partial(
        training.train_step,
        network=self._network,
        optimizer=self._optimizer,
        loss=config.loss,
        augment=config.augment,
        seed=config.seed,
        mirror_map=mirror_map,
      ),
      all_devices,
    )

  def train(self) -> int:
    """Takes all steps that are left; returns the exit code."""
    settings, code = self._settings, cli.EXIT_OK
    while self._step < self._config.num_steps and code == cli.EXIT_OK:
      result = self._take_step()
      if self._is_due(settings.log_every) or self._step == self._first_step + 1:
        code = self._report(jax.device_get(result))
      if self._is_due(settings.eval_every):
        self._write_alone(self._validate)
      if settings.visualize_every and self._is_due(settings.visualize_every):
        self._write_alone(self._save_visualizations)
      if code == cli.EXIT_OK and not self._is_last():
        code = self._stop.exit_code(self._step)
      stopped = code in (cli.EXIT_STOPPED, cli.EXIT_INTERRUPTED)
      if stopped or self._is_due(settings.checkpoint_every):
        self._write_alone(self._save)
    self._write_alone(lambda: self._end(code))
    return code

  def _write_alone(self, call):
    """Calls in the process that writes; the others wait, at no collective."""
    if self._group.is_writer:
      call()
    self._group.barrier()

  def _end(self, code):
    """Closes all files, after the test if the run is through."""
    self._checkpointer.wait()
    self._run.note(
      last_step=self._step,
      last_checkpoint=self._saved_step,
      seconds=round(time.monotonic() - self._started, 1),
    )
    if code == cli.EXIT_OK:
      self._finish()
    elif code != cli.EXIT_NON_FINITE:
      print(
        f'stopped at step {self._step}, saved; the same command goes on.', flush=True
      )
    self._metrics.close()

  def _is_last(self):
    return self._step == self._config.num_steps

  def _is_due(self, every):
    return self._step % every == 0 or self._is_last()

  def _variables(self):
    return {'params': self._state.params, 'batch_stats': self._state.batch_stats}

  def _take_step(self):
    """One step; returns its results, which may still be on their way."""
    config, train_ids = self._config, self._data.train_ids
    chosen = sampler.sample_ids(
      config.seed, self._step, config.batch_size, len(train_ids)
    )
    ids = parallel.share_of_process(
      train_ids[chosen].astype(np.int32),
      len(self._devices),
      self._group.count,
      self._group.index,
    )
    batch = self._source(ids)
    call = self._step_function
    if self._step == self._first_step:
      call = functools.partial(_log_compilation, call, self._started)
    self._state, result = call(
      self._state, batch, ids, self._geometry, self._landmark_model
    )
    self._step += 1
    finite = {name: result[name] for name in result if name.startswith('finite')}
    self._unreported.append((self._step, train_ids[chosen], finite))
    count = self._group.count * len(self._devices)
    if count > 1 and self._devices[0].platform == 'cpu':
      # Several devices of a CPU can deadlock when steps are run ahead (D-57).
      jax.block_until_ready(result)
    return result

  def _report(self, result):
    """Writes and prints one step; returns the exit code that its update asks for."""
    if self._group.is_writer:
      self._write_step(result)
    self._log_skipped()
    if int(jax.device_get(self._state.skipped_in_row)) < self._settings.max_skipped:
      return cli.EXIT_OK
    _log(
      f'Step {self._step}: the update was not finite {self._settings.max_skipped} '
      f'times in a row (loss of the blocks: {_list(result["block_loss"])}); lower '
      '--learning_rate or set --clip_norm.'
    )
    return cli.EXIT_NON_FINITE

  def _write_step(self, result):
    """Writes and prints one step."""
    config, step = self._config, self._step
    rate = self._images_per_second()
    learning_rate = float(self._schedule(step - 1))
    skipped = int(jax.device_get(self._state.skipped))
    line = {
      'step': step,
      'loss': float(result['loss']),
      'block_loss': [float(x) for x in result['block_loss']],
      'train_nme': [float(x) for x in 100 * result['nme'][1:]],
      'learning_rate': learning_rate,
      'grad_norm': float(result['grad_norm']),
      'skipped': skipped,
      **_without_labels(int(result['num_without_labels'])),
    }
    self._metrics.write(line, images_per_second=rate)
    left = (config.num_steps - step) * config.batch_size / rate / 60
    speed = f'{rate:.1f} img/s  {left:.1f} min left' if rate > 0 else ''
    print(
      f'step {step}/{config.num_steps}  loss {line["loss"]:.4g}  blocks '
      f'{_list(line["block_loss"])}  NME % {_list(line["train_nme"])}  '
      f'lr {learning_rate:.3g}  grad {line["grad_norm"]:.3g}  skipped {skipped}  '
      f'{speed}',
      flush=True,
    )

  def _log_skipped(self):
    """Names the leaves and the faces of the steps that were skipped since last time."""
    names = [
      jax.tree_util.keystr(path, simple=True, separator='/')
      for path, _ in jax.tree_util.tree_leaves_with_path(self._state.params)
    ]
    for step, rows, finite in jax.device_get(self._unreported):
      if finite['finite']:
        continue
      leaves = [names[i] for i in np.flatnonzero(~finite['finite_leaves'])]
      faces = [
        terminal.printable(self._data.crops.names[row])
        for row in rows[~finite['finite_faces']]
      ]
      _log(
        f'Step {step} was skipped, not finite: gradient of {_some(leaves, 4)}; losses '
        f'of {_some(faces, 8)}.'
      )
    self._unreported.clear()

  def _images_per_second(self):
    """Speed since the first step of this process; NaN at that step."""
    if self._step == self._first_step + 1:
      self._started = time.monotonic()  # compilation is not training speed
      return float('nan')
    steps = self._step - self._first_step - 1
    return steps * self._config.batch_size / (time.monotonic() - self._started)

  def _validate(self):
    """Scores the held-out faces."""
    means, left_out = self._evaluator.errors(
      self._variables(), self._data.crops, self._data.validation_ids
    )
    scores = 100 * means
    self._nme = float(scores[-1])
    self._write_scores('validation', scores, left_out)
    print(
      f'step {self._step}  validation NME %  start {scores[0]:.2f}  blocks '
      f'{_list(scores[1:])}' + _left_out_words(left_out),
      flush=True,
    )

  def _write_scores(self, split, scores, left_out):
    self._metrics.write(
      {
        'step': self._step,
        'split': split,
        'initial_nme': float(scores[0]),
        'nme': [float(x) for x in scores[1:]],
        **_without_labels(left_out),
      }
    )

  def _save(self):
    self._checkpointer.save(
      self._step,
      self._state,
      {'config': self._config.to_json()},
      None if self._nme is None else {'nme': self._nme},
    )
    self._saved_step = self._step

  def _save_visualizations(self):
    """Writes V of every block on four validation faces (Fig. 10)."""
    ids = self._data.validation_ids[:4]
    out = self._evaluator.predict(self._variables(), self._data.crops, ids)
    if not out['visualization']:
      return
    tiles = []
    for face in range(len(ids)):
      tiles.append(
        figures.face(
          figures.to_uint8(out['image'][face]),
          out['landmarks'][-1, face],
          out['visible'][face],
          size=160,
        )
      )
      tiles += [
        figures.visualization(plane[face], size=160) for plane in out['visualization']
      ]
    folder = os.path.join(self._workdir, 'visualization')
    os.makedirs(folder, exist_ok=True)
    photo_maps.write_image(
      os.path.join(folder, f'step_{self._step:07d}.png'),
      figures.sheet(tiles, 1 + len(out['visualization'])),
    )

  def _finish(self):
    """Scores the test set and writes the images of curves and faces."""
    crops = self._test.crops
    out = self._evaluator.predict(self._variables(), crops, np.arange(len(crops)))
    protocol = protocols.PROTOCOLS['box']
    errors = scoring.image_errors(protocol, out)
    means, left_out = block_means(errors)
    scores = 100 * means
    self._write_scores('test', scores, left_out)
    scoring.save_faces(
      os.path.join(self._workdir, 'faces.png'), out, 100 * errors[-1], count=24
    )
    if not figures.curves(
      self._metrics.lines, os.path.join(self._workdir, 'curves.png')
    ):
      _log('matplotlib is not installed: no curves.png.')
    statement = scoring.statement(
      self._config,
      self._test,
      protocol,
      self._step,
      labels=self._config.landmark_scheme,
    )
    table = scoring.table(list(scores), protocol, statement)
    print(table + _left_out_words(left_out), flush=True)
    self._run.note(test_nme=[float(x) for x in scores], statement=statement)


def _mirror_map(config, data):
  """What --flip needs; None without it."""
  if not config.augment.flip:
    return None
  found = mirror.mirror_map(data.model, config.landmark_scheme)
  if found is None:
    raise cli.UserError(
      f'--flip={config.augment.flip} but --face_model={config.face_model} is not '
      'symmetric; use --flip=0.'
    )
  return found


def _check_pairs(config):
  if config.loss.pair_weight and config.landmark_scheme != 'ibug68':
    raise cli.UserError(
      f'--pair_weight={config.loss.pair_weight:g} knows the pairs of landmarks of '
      f'ibug68 alone, and the scheme here is {config.landmark_scheme}; use '
      '--pair_weight=0.'
    )


def _initial_weights(name, config, variables, data):
  """The configuration and the variables of a run that starts from other weights."""
  without_landmark_file = face_models.load_face_model(config.face_model)
  hashes = {data.face_model_hash, *restore.hashes_of(without_landmark_file)}
  return restore.start_from(name, config, variables, data.model, hashes)


def _log_compilation(step_function, started, *arguments):
  """Calls the step, which compiles it, and logs how long the start took."""
  heard = []

  def listen(event, **unused):
    if '/compilation_cache/cache_' in event:
      heard.append(event.rsplit('_', 1)[1])

  jax.monitoring.register_event_listener(listen)
  found = step_function(*arguments)  # returns once the step is compiled
  jax.monitoring.unregister_event_listener(listen)
  _log(
    f'compiled the step in {time.monotonic() - started:.1f} s'
    + (', from the cache' if set(heard) == {'hits'} else '')
  )
  return found


def _check_same_run(config, saved):
  """Refuses to go on with a run of another configuration."""
  flat = lambda found: flax.traverse_util.flatten_dict(found.to_json(), sep='.')
  now = flat(config)
  # What an older version did not know yet has its default.
  then = flat(config_lib.RunConfig.from_json(saved))
  if now == then:
    return
  differ = [
    f'{name}: {then.get(name)} -> {now.get(name)}'
    for name in sorted(now.keys() | then.keys())
    if now.get(name) != then.get(name)
  ]
  raise cli.UserError(
    'The checkpoint in the work folder is of another configuration ('
    + '; '.join(differ)
    + '); use another --workdir, or --fresh to start over.'
  )


def _without_labels(count):
  """For a line of metrics.jsonl: faces that its NME leaves out, if there are any."""
  return {'num_without_labels': count} if count else {}


def _left_out_words(count):
  return f'  ({count} faces without a visible landmark left out)' if count else ''


def _some(names, count):
  """The first of some names, and how many more there are."""
  more = f' and {len(names) - count} more' if len(names) > count else ''
  return (', '.join(names[:count]) or 'none') + more


def _list(values):
  return '[' + ' '.join(f'{float(x):.4g}' for x in values) + ']'


def _log(text):
  if jax.process_index() == 0:
    print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
