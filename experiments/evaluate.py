"""Scores a checkpoint: the NME after every block (Table 3), and what is beside it.

  python -m experiments.evaluate --flagfile=aflw.flags --data_dir=~/AFLW \
      --checkpoint=runs/aflw
"""

import csv
import json
import os
import sys

from absl import flags
import jax
import numpy as np

from experiments import config as config_lib
from experiments import data_flags, evaluation, pictures, program
from pifa_jax import checkpoints, metrics, network, optimizer, projection, training

flags.DEFINE_string('checkpoint', None, 'Work folder of a training run; default: '
                    '--workdir, which a flag file gives.')
flags.DEFINE_enum('weights', 'latest', ['latest', 'best'],
                  'Which of its checkpoints: the newest, or the one with the '
                  'lowest validation NME.')


def main(run: program.Run) -> int:
  """Evaluates; returns the exit code."""
  f = flags.FLAGS
  trained = f.checkpoint or f.workdir
  if not trained:
    raise program.UserError(
        'Say which run to score: --checkpoint=FOLDER, the --workdir of '
        'experiments.train.')
  folder = os.path.join(os.path.abspath(trained), 'checkpoints')
  keeper = checkpoints.Checkpointer(folder)
  newest = keeper.latest_intact_step()
  if newest is None:
    raise program.UserError(f'There is no finished checkpoint in {folder}; train '
                            f'with --workdir={trained} first.')
  config = config_lib.RunConfig.from_json(keeper.meta(newest)['config'])
  # The run knows its own face model and landmarks.
  f.face_model = config.face_model
  if f['landmark_scheme'].using_default_value and f.dataset == 'aflw':
    f.landmark_scheme = config.landmark_scheme
  data = data_flags.open_data(say=lambda text: print(text, file=sys.stderr))
  if data.face_model_hash != config.face_model_hash:
    raise program.UserError(
        f'--face_model={f.face_model} is not the face model of the checkpoint '
        '(its hash differs); pass the .npz that it was trained with.')
  net = network.PifaNetwork(config.network, data.model.num_params)
  geometry = network.network_geometry(data.model, config.network)
  template = training.init_state(
      network.init_variables(net, geometry, config.seed),
      optimizer.make_optimizer(config.optimizer, config.num_steps))
  restore = (keeper.restore_best if f.weights == 'best'
             else keeper.restore_latest)
  step, state, _ = restore(template)
  # A flag file names the TRAINING run's folder: a result goes into it, beside
  # the run's own record.
  workdir = run.make_folder(os.path.join(trained, 'evaluation'))
  run.open(workdir, seed=config.seed, checkpoint=keeper.content_hash(step))
  evaluator = evaluation.Evaluator(
      net, geometry, projection.landmark_model(data.model, data.scheme),
      jitter=data.jitter_boxes)
  out = evaluator.predict(
      {'params': state.params, 'batch_stats': state.batch_stats}, data.test,
      np.arange(len(data.test)))
  scores = out['nme'].mean(axis=1)
  line = evaluation.statement(config, data, step,
                              checkpoint=keeper.content_hash(step))
  print(evaluation.table(scores, line))
  report = _report(out, scores, line)
  print(f'yaw bins {_percent(report["yaw_bins"])}; failures above 8 %: '
        f'{100 * report["failure_rate_0.08"]:.2f} %; AUC at 7 %: '
        f'{100 * report["auc_0.07"]:.2f} %; yaw MAE '
        f'{report["yaw_mae_degrees"]:.2f} degrees; visibility F1 '
        f'{report["visibility"]["f1"]:.3f}')
  with open(os.path.join(workdir, 'eval.json'), 'w') as file:
    json.dump(report, file, indent=2)
    file.write('\n')
  _write_per_image(os.path.join(workdir, 'per_image.csv'), out, data)
  evaluation.save_faces(os.path.join(workdir, 'faces.png'), out, count=24)
  worst = np.argsort(-out['nme'][-1])[:24]
  pictures.sheet(evaluation.face_tiles(out, worst), 6).save(
      os.path.join(workdir, 'worst.png'))
  print(f'Wrote eval.json, per_image.csv, faces.png and worst.png to {workdir}.')
  return program.EXIT_OK


def _report(out, scores, line):
  final = out['nme'][-1]
  yaw = _yaw(out['target_params'])
  return {
      'statement': line,
      'initial_nme': float(100 * scores[0]),
      'nme': [float(100 * x) for x in scores[1:]],
      'yaw_bins': metrics.yaw_bin_means(final, yaw),
      'failure_rate_0.08': metrics.failure_rate(final, 0.08),
      'auc_0.07': metrics.ced_auc(final, 0.07),
      'yaw_mae_degrees': float(np.mean(np.abs(_yaw(out['params']) - yaw))),
      'visibility': metrics.visibility_scores(out['visible'],
                                              out['target_visible']),
  }


def _yaw(vectors):
  cameras = vectors[:, :8].reshape(-1, 2, 4)
  pose = jax.jit(jax.vmap(projection.pose_from_camera))(cameras)
  return np.rad2deg(np.asarray(pose['yaw']))


def _percent(bins):
  return ', '.join(f'{name}: {100 * value:.2f}' for name, value in bins.items())


def _write_per_image(path, out, data):
  yaw = _yaw(out['target_params'])
  with open(path, 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['name', 'yaw_degrees', 'nme_start_percent']
                    + [f'nme_block{i}_percent'
                       for i in range(1, len(out['nme']))])
    for i, name in enumerate(data.test.names):
      writer.writerow([name, f'{yaw[i]:.2f}']
                      + [f'{100 * x:.4f}' for x in out['nme'][:, i]])


if __name__ == '__main__':
  program.start(main)
