"""Scores a checkpoint by a protocol: errors after every block, and further measures.

  python -m experiments.evaluate --flagfile=aflw.flags --data_dir=~/AFLW
  python -m experiments.evaluate --checkpoint=runs/300wlp --dataset=aflw2000 \
      --data_dir=~/AFLW2000 --box_noise

Writes into the folder "evaluation" of the training run, or of --workdir where it stands
on the command line beside --checkpoint.
"""

import csv
import dataclasses
import os
import sys

from absl import flags
import numpy as np

from experiments.lib import (
  cli,
  data_loading,
  figures,
  output_files,
  report,
  restore,
  scoring,
)
from pifa_jax.evaluation import metrics, protocols
from pifa_jax.geometry import projection
from pifa_jax.learning import network
from pifa_jax.results import photo_maps

restore.define_flags()
flags.DEFINE_enum(
  'protocol',
  None,
  sorted(protocols.PROTOCOLS),
  'What is counted, and how: docs/data.md, "Protocols". Default: that of the data set.',
)
flags.DEFINE_string(
  'split', 'test', 'Split of the data set; 300W also has common and challenging.'
)
flags.DEFINE_boolean(
  'box_noise',
  False,
  'Also measure the error with boxes that are off by up to 30 % of their size.',
)

_PROTOCOL_OF = {
  'aflw': 'aflw',
  'afw': 'afw',
  'w300': 'w300',
  '300wlp': 'aflw2000',
  'aflw2000': 'aflw2000',
  'folder': 'box',
  'coco': 'box',
  'wflw': 'box',
  'cofw': 'box',
  'synthetic': 'box',
}
# Test sets whose photos are in a training set.
_CONTAINED = {'300wlp': ('w300', 'afw'), 'w300': ('afw',)}
_NOISE = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


def main(run: cli.Run) -> int:
  """Evaluates the weights.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  trained_run = restore.open_run(f.checkpoint or f.workdir)
  results = _results_folder(trained_run.folder)
  config = trained_run.config
  seen = [name for name in config.datasets if f.dataset in _CONTAINED.get(name, ())]
  if seen:
    raise cli.UserError(
      f'This checkpoint was trained on {seen[0]}, which contains the '
      f'photos of {f.dataset}: a score would mean nothing. Evaluate on '
      'another set, such as --dataset=aflw2000.'
    )
  if config.synthetic is not None:
    for flag in ('renderer', 'render_face_model'):
      if f[flag].using_default_value:
        f[flag].value = getattr(config.synthetic, flag)
  name = f.protocol or _PROTOCOL_OF[f.dataset]
  protocol = protocols.PROTOCOLS[name]
  model = restore.face_model(trained_run, f, _log)
  model, labels, predicted = _schemes(model, f, config, protocol)
  net = network.PifaNetwork(config.network, model.num_params)
  geometry = network.network_geometry(model, config.network)
  step, variables, checkpoint = trained_run.load(model, f.weights)
  data = data_loading.open_test(
    model,
    labels,
    data_loading.from_flags(),
    _log,
    split=f.split,
    crop_scale=config.network.crop_scale,
  )
  if data.kind == 'real' and data.crops.content_hash == config.data_hash:
    raise cli.UserError(
      f'--split={f.split} of {f.data_dir} holds the very photos that this checkpoint '
      'was trained on: a score would mean nothing. Evaluate on others.'
    )
  on_photos = set(config.datasets) - {'synthetic'}
  if data.kind == 'real' and f.split in ('train', 'all') and on_photos:
    # Above only a whole set is recognised; parts of one are not.
    warning = 'may hold photos that these weights were trained on'
    _log(f'Warning: --split={f.split} of {f.data_dir} {warning}.')
    data = dataclasses.replace(data, title=f'{data.title} ({warning})')
  workdir = run.make_folder(
    os.path.join(results, 'evaluation', f'{data.name}-{f.split}-{name}')
  )
  run.open(workdir, seed=config.seed, checkpoint=checkpoint)

  landmark_model = projection.landmark_model(model, predicted)
  evaluator = scoring.Evaluator(net, geometry, landmark_model, box_noise=data.box_noise)
  out = evaluator.predict(variables, data.crops, np.arange(len(data.crops)))
  errors = scoring.image_errors(protocol, out, hidden_is_placed=data.hidden_is_placed)
  line = scoring.statement(
    config, data, protocol, step, labels=predicted, checkpoint=checkpoint
  )
  result = _result(out, errors, protocol, data, line)
  result.update(
    protocol=name,
    dataset=f.dataset,
    split=f.split,
    checkpoint=checkpoint,
    config=config.hash(),
    data=data.crops.content_hash,
  )
  if f.box_noise:
    result['box_noise'] = _box_noise(
      evaluator, variables, protocol, model, labels, config.network.crop_scale
    )
  print(report.text(result, protocol))
  _write(workdir, result, protocol, out, errors, data)
  print(f'Wrote eval.json, per_image.csv, report.html and images to {workdir}.')
  return cli.EXIT_OK


def _results_folder(trained: str) -> str:
  """Where the folder 'evaluation' goes: beside the record of the training run.

  A flag file names the folder of a TRAINING run, which need not be that of
  --checkpoint. So --workdir is meant for the results only where it was typed.

  Args:
    trained: the folder of the weights.

  Returns:
    The folder.

  Raises:
    UserError: if it is that of another training run.
  """
  f = flags.FLAGS
  if not f.checkpoint or not f.workdir or not cli.is_typed('workdir'):
    return trained
  other = os.path.isdir(os.path.join(f.workdir, 'checkpoints'))
  if other and os.path.realpath(f.workdir) != os.path.realpath(trained):
    raise cli.UserError(
      f'--workdir={f.workdir} is the folder of another training run than '
      f'--checkpoint={f.checkpoint}; give the results a folder of their own, or leave '
      f'--workdir out to find them in {trained}.'
    )
  return f.workdir


def _schemes(model, f, config, protocol):
  """The model, the scheme of the labels (or None) and that of the predictions."""
  if f.dataset == 'afw':
    # Its six points are not vertices: P cannot be fitted, and is not needed.
    labels = None
  elif f.dataset == 'synthetic':
    labels = 'ibug68'
  else:
    if f['landmark_scheme'].using_default_value and f.dataset == config.dataset:
      f.landmark_scheme = config.landmark_scheme
    model, labels = data_loading.scheme_of(
      model, data_loading.from_flags(), f.split, _log
    )
  predicted = labels if protocol.points == 'scheme' else 'ibug68'
  if predicted is None or predicted not in model.landmark_schemes:
    raise cli.UserError(
      f'Protocol "{protocol.title}" cannot be measured on --dataset={f.dataset} '
      'with this face model; choose another --protocol.'
    )
  return model, labels, predicted


def _result(out, errors, protocol, data, line):
  """All numbers of eval.json, in percent, pixels or degrees."""
  factor = 1.0 if protocol.in_pixels else 100.0
  final = errors[-1]
  yaw = data.crops.poses[:, 1]
  summary = protocols.summarize(protocol, final, yaw)
  blocks = [protocols.summarize(protocol, block, yaw) for block in errors]
  failures: dict[str, float] = {}
  if not protocol.in_pixels:
    failures[str(out['target'].shape[1])] = 100 * summary['failure_rate']
    if out['target'].shape[1] == 68:
      inner = scoring.image_errors(
        protocol, out, hidden_is_placed=data.hidden_is_placed, first=17
      )[-1]
      failures['51'] = 100 * metrics.failure_rate(inner[~np.isnan(inner)])
  seen = None
  if (
    data.hidden_is_labelled
    and not out['target_visible'].all()
    and (out['visible'].shape == out['target_visible'].shape)
  ):
    seen = metrics.visibility_scores(out['visible'], out['target_visible'])
  return {
    'statement': line,
    'kind': data.kind,
    'title': data.title,
    'unit': 'pixels' if protocol.in_pixels else 'percent',
    'num_faces': summary['num_images'],
    'num_rejected': data.num_rejected,
    'num_without_labels': summary['num_without_labels'],
    'initial_nme': factor * blocks[0]['headline'],
    'nme': [factor * block['headline'] for block in blocks[1:]],
    'mean': factor * summary['mean'],
    'yaw_bins': (
      None
      if summary['yaw_bins'] is None
      else {k: factor * v for k, v in summary['yaw_bins'].items()}
    ),
    'failure_rate_above_8_percent': failures,
    'auc': {'limit': factor * protocol.auc_limit, 'value': 100 * summary['auc']},
    'visibility': seen,
    'pose_mae_degrees': protocols.pose_errors(
      projection.pose_degrees(out['params']), data.crops.poses
    ),
  }


def _box_noise(evaluator, variables, protocol, model, labels, crop_scale):
  """Error after the last block, by strength of box noise."""
  f = flags.FLAGS
  data = data_loading.open_test(
    model,
    labels,
    data_loading.from_flags(),
    _log,
    split=f.split,
    crop_scale=crop_scale,
    noise=max(_NOISE),
  )
  found = {}
  for noise in _NOISE:
    out = evaluator.with_box_noise(noise).predict(
      variables, data.crops, np.arange(len(data.crops)), only_errors=True
    )
    summary = protocols.summarize(
      protocol,
      scoring.image_errors(protocol, out, hidden_is_placed=data.hidden_is_placed)[-1],
      data.crops.poses[:, 1],
    )
    found[f'{100 * noise:.0f}'] = summary['headline'] * (
      1 if protocol.in_pixels else 100
    )
  return found


def _write(workdir, result, protocol, out, errors, data):
  factor = 1.0 if protocol.in_pixels else 100.0
  output_files.write_json(os.path.join(workdir, 'eval.json'), result)
  with output_files.new_table(os.path.join(workdir, 'per_image.csv')) as file:
    writer = csv.writer(file)
    writer.writerow(
      ['name', 'yaw_degrees', f'start_{result["unit"]}']
      + [f'block{i}_{result["unit"]}' for i in range(1, len(errors))]
    )
    for i, name in enumerate(data.crops.names):
      writer.writerow(
        [name, f'{data.crops.poses[i, 1]:.2f}']
        + [f'{factor * x:.4f}' for x in errors[:, i]]
      )
  final = factor * np.where(np.isnan(errors[-1]), -1, errors[-1])
  scoring.save_faces(os.path.join(workdir, 'faces.png'), out, final, count=24)
  worst = np.argsort(-final)[:24]
  photo_maps.write_image(
    os.path.join(workdir, 'worst.png'),
    figures.sheet(scoring.face_tiles(out, final, worst), 6),
  )
  counted = errors[:, ~np.isnan(errors[-1])] * factor
  if not figures.cumulative(
    counted,
    factor * protocol.auc_limit,
    result['unit'],
    os.path.join(workdir, 'ced.png'),
  ):
    _log('matplotlib is not installed: no ced.png.')
  if result.get('box_noise'):
    figures.line(
      result['box_noise'],
      'box noise, % of its size',
      f'error, {result["unit"]}',
      os.path.join(workdir, 'box_noise.png'),
    )
  page = report.page(
    result, protocol, workdir, [(data.crops.names[i], final[i]) for i in worst]
  )
  with output_files.new_table(os.path.join(workdir, 'report.html')) as file:
    file.write(page)


def _log(text):
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
