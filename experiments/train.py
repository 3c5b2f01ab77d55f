"""Trains the network; resumes by itself.

python -m experiments.train --flagfile=demo.flags
python -m experiments.train --flagfile=aflw.flags --data_dir=~/AFLW
"""

import functools
import json
import math
import os
import signal
import sys
import threading
import time

from absl import flags
import jax
import numpy as np

from experiments.lib import cli, data_loading, figures, restore, scoring
from experiments.lib import config as config_lib
from pifa_jax import face_models
from pifa_jax.datasets import crop_cache, registry, sampler
from pifa_jax.evaluation import protocols
from pifa_jax.geometry import mirror, projection
from pifa_jax.learning import checkpoints, losses, network, parallel, training
from pifa_jax.learning import optimizer as optimizer_lib
from pifa_jax.types import camera_of


class _Stop:
  """Remembers the first SIGTERM or SIGINT; the second one ends at once."""

  def __init__(self):
    self.signal = None
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, self._receive)

  def _receive(self, number, frame):
    del frame
    if self.signal is not None:
      os._exit(128 + number)
    self.signal = number


class _Metrics:
  """metrics.jsonl and TensorBoard: one line an event, none of them twice."""

  def __init__(self, workdir, step, tensorboard):
    self.path = os.path.join(workdir, 'metrics.jsonl')
    # A run that was killed had gone on past its last checkpoint; those steps
    # will be taken, and written, again; and the test comes after every last step.
    self.lines = [
      line
      for line in self._read()
      if line['step'] <= step and line.get('split') != 'test'
    ]
    with open(self.path + '.tmp', 'w') as file:
      file.writelines(json.dumps(cli.json_value(line)) + '\n' for line in self.lines)
    os.replace(self.path + '.tmp', self.path)
    self._file = open(self.path, 'a')
    self._events = None
    if tensorboard:
      try:
        from tensorboardX import SummaryWriter

        self._events = SummaryWriter(
          os.path.join(workdir, 'tensorboard'), purge_step=step + 1
        )
      except ImportError:
        pass

  def _read(self):
    if not os.path.exists(self.path):
      return []
    lines = []
    with open(self.path) as file:
      for line in file:
        try:
          lines.append(json.loads(line))
        except json.JSONDecodeError:  # the last line of a killed run
          pass
    return lines

  def write(self, line, **not_reproducible):
    """Appends a line; what depends on the clock goes to TensorBoard alone."""
    self.lines.append(line)
    self._file.write(json.dumps(cli.json_value(line)) + '\n')
    self._file.flush()
    if self._events is None:
      return
    prefix = line.get('split', 'train')
    for name, value in {**line, **not_reproducible}.items():
      if name in ('step', 'split'):
        continue
      tags = (
        {f'{name}/block{block + 1}': item for block, item in enumerate(value)}
        if isinstance(value, list)
        else {name: value}
      )
      for tag, item in tags.items():
        # There is no speed yet at the first step; a diverged loss is no point either.
        if math.isfinite(item):
          self._events.add_scalar(f'{prefix}/{tag}', item, line['step'])

  def close(self):
    self._file.close()
    if self._events is not None:
      self._events.close()


def main(run: cli.Run) -> int:
  """Trains; returns the exit code."""
  f = flags.FLAGS
  config_lib.split_cpu()
  devices = jax.local_devices()
  if f.num_devices > len(devices):
    raise cli.UserError(f'--num_devices={f.num_devices} but there are {len(devices)}.')
  devices = devices[: f.num_devices or None]
  if f.batch_size % len(devices):
    raise cli.UserError(
      f'batch_size={f.batch_size} does not split over {len(devices)} devices; '
      f'use a multiple of {len(devices)}'
      + (', or --cpu_devices=1.' if f.cpu_devices > 1 else '.')
    )
  # The lock first: a run that is refused must not touch the other one's record.
  workdir = run.make_folder(f.workdir)
  with checkpoints.WorkdirLock(workdir):
    run.open(workdir, seed=f.seed, device=f'{len(devices)} x {devices[0].device_kind}')
    data = data_loading.open_training(
      _log, margin=crop_cache.margin_for(f.shift_jitter, f.scale_jitter, f.box_scale)
    )
    has_test = f.dataset == 'synthetic' or (
      'test' in registry.DATASETS[f.dataset].splits
    )
    test = (
      data_loading.open_test(data.model, data.scheme, _log)
      if has_test
      else data_loading.validation_as_test(data)
    )
    config = config_lib.from_flags(
      dataset=data.name,
      landmark_scheme=data.scheme,
      face_model=f.face_model,
      face_model_hash=data.face_model_hash,
      data_hash=data.crops.content_hash,
      rotation_translation_ratio=float(
        losses.rotation_translation_ratio(camera_of(data.crops.params))
      ),
      **(
        {
          'renderer': f.renderer,
          'ablate': f.ablate,
          'face_distribution': f.face_distribution,
          'render_face_model': f.render_face_model,
          'backgrounds': f.backgrounds,
        }
        if data.name == 'synthetic'
        else {}
      ),
    )
    return _train(run, workdir, config, data, test, devices)


def _train(run, workdir, config, data, test, devices):
  f = flags.FLAGS
  stop = _Stop()
  net = network.PifaNetwork(
    config.network, data.model.num_params, axis_name=parallel.AXIS
  )
  geometry = network.network_geometry(data.model, config.network)
  landmark_model = projection.landmark_model(data.model, config.landmark_scheme)
  mirror_map = (
    mirror.mirror_map(data.model, config.landmark_scheme)
    if config.augment.flip
    else None
  )
  if config.augment.flip and mirror_map is None:
    raise cli.UserError(
      f'--flip={config.augment.flip} but --face_model={f.face_model} is not '
      'symmetric; use --flip=0.'
    )
  optimizer = optimizer_lib.make_optimizer(config.optimizer, config.num_steps)
  schedule = jax.jit(
    optimizer_lib.learning_rate_schedule(config.optimizer, config.num_steps)
  )
  variables = network.init_variables(net, geometry, config.seed)
  if f.initial_weights:
    without_landmark_file = face_models.load_face_model(f.face_model)
    config, variables = restore.start_from(
      f.initial_weights,
      config,
      variables,
      data.model,
      {data.face_model_hash, *restore.hashes_of(without_landmark_file)},
    )
  run.note(
    config=config.to_json(),
    config_hash=config.hash(),
    landmark_scheme=data.scheme,
    num_train=len(data.train_ids),
    num_validation=len(data.validation_ids),
    num_test=len(test.crops),
  )
  state = training.init_state(variables, optimizer)
  count = sum(x.size for x in jax.tree.leaves(state.params))
  _log(
    f'{config.network.num_blocks} blocks, {count / 1e6:.1f} M weights, '
    f'{data.model.num_params} face parameters, '
    f'{geometry.rendered.num_vertices} vertices drawn'
    + (
      ''
      if geometry.small_rendered is None
      else f', {geometry.small_rendered.num_vertices} in small drawings'
    )
    + '; '
    f'{len(data.train_ids)} training, {len(data.validation_ids)} validation '
    f'and {len(test.crops)} test faces; {len(devices)} x '
    f'{devices[0].device_kind}.'
  )
  checkpointer = checkpoints.Checkpointer(os.path.join(workdir, 'checkpoints'))
  if f.fresh:
    checkpointer.put_aside()
  restored = checkpointer.restore_latest(state)
  if restored is None:
    step = 0
    print('fresh', flush=True)
  else:
    step, state, meta = restored
    _check_same_run(config, meta['config'])
    print(f'resumed at step {step}', flush=True)

  # Once, as the step returns and takes them: nothing but sample ids crosses over
  # to the devices from now on, unless the data set is streamed.
  state, geometry, landmark_model = parallel.replicate(
    (state, geometry, landmark_model), devices
  )
  on_device = (
    sampler.fits(data.crops, devices[0])
    if f.data_on_device == 'auto'
    else f.data_on_device == 'yes'
  )
  source = sampler.make_source(data.crops, devices, on_device=on_device)
  _log(
    f'Training set of {sampler.num_bytes(data.crops) / 1e6:.0f} MB '
    + ('on the device' if on_device else 'streamed from its memory map')
    + f'; {config.network.precision}.'
  )
  evaluator = scoring.Evaluator(net, geometry, landmark_model, box_noise=test.box_noise)
  step_function = parallel.parallel(
    functools.partial(
      training.train_step,
      network=net,
      optimizer=optimizer,
      loss=config.loss,
      augment=config.augment,
      seed=config.seed,
      mirror_map=mirror_map,
    ),
    devices,
  )
  metrics = _Metrics(workdir, step, f.tensorboard)
  started, first_step, saved = time.monotonic(), step, step
  nme = next(
    (
      line['nme'][-1]
      for line in reversed(metrics.lines)
      if line.get('split') == 'validation'
    ),
    None,
  )

  def save(step, state):
    checkpointer.save(
      step, state, {'config': config.to_json()}, None if nme is None else {'nme': nme}
    )

  cache_said = []  # of the step alone: the small programs before it may be there

  def listen(event, **unused):
    if '/compilation_cache/cache_' in event:
      cache_said.append(event.rsplit('_', 1)[1])

  jax.monitoring.register_event_listener(listen)
  code = cli.EXIT_OK
  while step < config.num_steps and code == cli.EXIT_OK:
    ids = parallel.split_over(
      data.train_ids[
        sampler.sample_ids(config.seed, step, config.batch_size, len(data.train_ids))
      ].astype(np.int32),
      len(devices),
    )
    batch = source(ids)
    if step == first_step:
      cache_said.clear()
    state, result = step_function(state, batch, ids, geometry, landmark_model)
    if step == first_step:  # the call returns once the step is compiled
      _log(
        f'compiled the step in {time.monotonic() - started:.1f} s'
        + (', from the cache' if set(cache_said) == {'hits'} else '')
      )
      jax.monitoring.unregister_event_listener(listen)
    step += 1
    last = step == config.num_steps
    if len(devices) > 1 and devices[0].platform == 'cpu':
      # Several devices of a CPU can deadlock when steps are run ahead (D-57).
      jax.block_until_ready(result)
    if step % f.log_every == 0 or last or step == first_step + 1:
      result = jax.device_get(result)
      elapsed = time.monotonic() - started
      if step == first_step + 1:
        started = time.monotonic()  # compilation is not training speed
        rate = float('nan')
      else:
        rate = (step - first_step - 1) * config.batch_size / elapsed
      _report(
        metrics,
        step,
        result,
        schedule,
        config,
        rate,
        int(jax.device_get(state.skipped)),
      )
      if int(jax.device_get(state.skipped_in_row)) >= f.max_skipped:
        print(
          f'Step {step}: the update was not finite {f.max_skipped} times in '
          'a row (loss of the blocks: '
          f'{_list(result["block_loss"])}); lower --learning_rate or set '
          '--clip_norm.',
          file=sys.stderr,
        )
        code = cli.EXIT_NON_FINITE
    if step % f.eval_every == 0 or last:
      variables = {'params': state.params, 'batch_stats': state.batch_stats}
      scores = evaluator.errors(variables, data.crops, data.validation_ids)
      nme = float(100 * scores[-1])
      metrics.write(
        {
          'step': step,
          'split': 'validation',
          'initial_nme': float(100 * scores[0]),
          'nme': [float(x) for x in 100 * scores[1:]],
        }
      )
      print(
        f'step {step}  validation NME %  start {100 * scores[0]:.2f}  blocks '
        f'{_list(100 * scores[1:])}',
        flush=True,
      )
    if f.visualize_every and (step % f.visualize_every == 0 or last):
      _save_visualizations(workdir, step, state, evaluator, data)
    if stop.signal is not None and code == cli.EXIT_OK and not last:
      code = cli.EXIT_STOPPED if stop.signal == signal.SIGTERM else cli.EXIT_INTERRUPTED
    if (
      step % f.checkpoint_every == 0
      or last
      or code in (cli.EXIT_STOPPED, cli.EXIT_INTERRUPTED)
    ):
      save(step, state)
      saved = step
  checkpointer.wait()
  run.note(
    last_step=step, last_checkpoint=saved, seconds=round(time.monotonic() - started, 1)
  )
  if code == cli.EXIT_OK:
    _finish(run, workdir, config, state, evaluator, test, metrics, step)
  elif code != cli.EXIT_NON_FINITE:
    print(f'stopped at step {step}, saved; the same command goes on.', flush=True)
  metrics.close()
  return code


def _report(metrics, step, result, schedule, config, rate, skipped):
  rate_now = float(schedule(step - 1))
  line = {
    'step': step,
    'loss': float(result['loss']),
    'block_loss': [float(x) for x in result['block_loss']],
    'train_nme': [float(x) for x in 100 * result['nme'][1:]],
    'learning_rate': rate_now,
    'grad_norm': float(result['grad_norm']),
    'skipped': skipped,
  }
  metrics.write(line, images_per_second=rate)
  left = (config.num_steps - step) * config.batch_size / rate / 60
  speed = f'{rate:.1f} img/s  {left:.1f} min left' if rate > 0 else ''
  print(
    f'step {step}/{config.num_steps}  loss {line["loss"]:.4g}  blocks '
    f'{_list(line["block_loss"])}  NME % {_list(line["train_nme"])}  '
    f'lr {rate_now:.3g}  grad {line["grad_norm"]:.3g}  skipped {skipped}  '
    f'{speed}',
    flush=True,
  )


def _save_visualizations(workdir, step, state, evaluator, data):
  """The drawings V of every block on four validation faces (Fig. 10)."""
  variables = {'params': state.params, 'batch_stats': state.batch_stats}
  ids = data.validation_ids[:4]
  out = evaluator.predict(variables, data.crops, ids)
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
  folder = os.path.join(workdir, 'visualization')
  os.makedirs(folder, exist_ok=True)
  figures.sheet(tiles, 1 + len(out['visualization'])).save(
    os.path.join(folder, f'step_{step:07d}.png')
  )


def _finish(run, workdir, config, state, evaluator, test, metrics, step):
  """Scores the test set and draws the curves and the faces."""
  variables = {'params': state.params, 'batch_stats': state.batch_stats}
  out = evaluator.predict(variables, test.crops, np.arange(len(test.crops)))
  protocol = protocols.PROTOCOLS['box']
  errors = scoring.image_errors(protocol, out)
  scores = errors.mean(axis=1)
  metrics.write(
    {
      'step': step,
      'split': 'test',
      'initial_nme': float(100 * scores[0]),
      'nme': [float(x) for x in 100 * scores[1:]],
    }
  )
  scoring.save_faces(
    os.path.join(workdir, 'faces.png'), out, 100 * errors[-1], count=24
  )
  if not figures.curves(metrics.lines, os.path.join(workdir, 'curves.png')):
    _log('matplotlib is not installed: no curves.png.')
  statement = scoring.statement(
    config, test, protocol, step, labels=config.landmark_scheme
  )
  print(scoring.table(list(100 * scores), protocol, statement), flush=True)
  run.note(test_nme=[float(x) for x in 100 * scores], statement=statement)


def _check_same_run(config, saved):
  now = config.to_json()
  # What an older version did not know yet has its default.
  saved = config_lib.RunConfig.from_json(saved).to_json()
  if now == saved:
    return
  differ = [
    f'{key}: {saved.get(key)} -> {now[key]}'
    for key in now
    if now[key] != saved.get(key)
  ]
  raise cli.UserError(
    'The checkpoint in the work folder is of another configuration ('
    + '; '.join(differ)
    + '); use another --workdir, or --fresh to start over.'
  )


def _list(values):
  return '[' + ' '.join(f'{float(x):.4g}' for x in values) + ']'


def _log(text):
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
