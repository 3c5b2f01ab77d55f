"""Compares evaluations in one table, with intervals of their differences.

  python -m experiments.compare --runs=runs/a/evaluation/aflw-test-aflw,\
runs/b/evaluation/aflw-test-aflw
"""

import csv
import json
import os

from absl import flags
import numpy as np

from experiments.lib import cli, output_files, path_flags

path_flags.define_path_list(
  'runs',
  None,
  'Folders that experiments.evaluate wrote; all others are compared with the first.',
)
flags.DEFINE_float(
  'confidence',
  0.95,
  'Confidence level of the intervals.',
  lower_bound=0.5,
  upper_bound=0.999,
)
flags.DEFINE_integer('resamples', 9999, 'Number of bootstrap samples.', lower_bound=100)


def main(run: cli.Run) -> int:
  """Compares the results.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  results = _results(f.runs)
  first = results[0]
  workdir = run.make_folder(f.workdir)
  run.open(workdir, seed=f.seed)
  faces = _common([result['errors'] for result in results])
  rows = [
    _row(folder, result, first, faces, f)
    for folder, result in zip(f.runs, results, strict=True)
  ]
  table = _table(rows, first['facts'], f.confidence)
  absent = len({name for result in results for name in result['errors']}) - len(faces)
  if absent:
    table += (
      f'\n{absent} faces are left out, since not all runs have an error for them.\n'
    )
  output_files.write_json(
    os.path.join(workdir, 'compare.json'),
    {'confidence': f.confidence, 'resamples': f.resamples, 'rows': rows},
  )
  with output_files.new_table(os.path.join(workdir, 'compare.md')) as file:
    file.write(table)
  print(table, end='')
  print(f'Wrote compare.json and compare.md to {workdir}.')
  return cli.EXIT_OK


def _results(folders):
  """The results in all folders, which must be comparable."""
  if not folders or len(folders) < 2:
    raise cli.UserError(
      f'--runs={",".join(folders or [])} does not name two folders; use --runs=A,B, '
      'each of them one that experiments.evaluate wrote (with eval.json).'
    )
  results = [_read(folder) for folder in folders]
  first = results[0]
  for folder, other in zip(folders[1:], results[1:], strict=True):
    for key in ('dataset', 'split', 'protocol', 'unit'):
      if other['facts'][key] != first['facts'][key]:
        raise cli.UserError(
          f'{folder} has {key} {other["facts"][key]!r}, {folders[0]} has '
          f'{first["facts"][key]!r}; only results of one set and one protocol '
          'can be compared.'
        )
  return results


def _common(errors):
  """The names of the faces that all runs have an error for."""
  faces = [
    name
    for name in errors[0]
    if all(np.isfinite(of_run.get(name, np.nan)) for of_run in errors)
  ]
  if not faces:
    raise cli.UserError(
      'No face has an error in all of these runs; name runs on the same data set.'
    )
  return faces


def _row(folder, result, first, faces, f):
  """One row of compare.json: all rows are about the same faces."""
  here = np.array([result['errors'][name] for name in faces])
  base = np.array([first['errors'][name] for name in faces])
  difference, low, high = 0.0, 0.0, 0.0
  if result is not first:
    difference = float(np.mean(here - base))
    low, high = interval(
      here, base, confidence=f.confidence, resamples=f.resamples, seed=f.seed
    )
  return {
    'run': folder,
    'mean': float(np.mean(here)),
    'difference': difference,
    'low': low,
    'high': high,
    'num_faces': len(faces),
    'statement': result['facts']['statement'],
  }


def interval(
  errors: np.ndarray, base: np.ndarray, *, confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
  """Computes a bootstrap interval of the mean difference of paired errors.

  Faces are resampled with replacement, both errors of a face together. It is the
  percentile interval (Efron, 1979), by `scipy.stats.bootstrap`.

  Args:
    errors: (n,) of one network, in any unit.
    base: (n,) of the other, on the same faces.
    confidence: level, such as 0.95.
    resamples: number of bootstrap samples.
    seed: of the resampling.

  Returns:
    (low, high): the ends, in the unit of the errors.
  """
  from scipy import stats

  if len(errors) < 2 or np.all(errors == base):
    # Nothing to resample; SciPy would warn of a degenerate distribution.
    gap = float(np.mean(errors - base))
    return gap, gap
  found = stats.bootstrap(
    (errors, base),
    lambda a, b, axis: np.mean(a - b, axis=axis),
    paired=True,
    vectorized=True,
    n_resamples=resamples,
    confidence_level=confidence,
    method='percentile',
    rng=np.random.default_rng(seed),
    batch=500,
  )
  return (float(found.confidence_interval.low), float(found.confidence_interval.high))


def _read(folder):
  """{'facts': eval.json, 'errors': name -> error after the last block}."""
  try:
    with open(os.path.join(folder, 'eval.json'), encoding='utf-8') as file:
      facts = json.load(file)
    path = os.path.join(folder, 'per_image.csv')
    with open(path, newline='', encoding='utf-8') as file:
      rows = list(csv.reader(file))
    errors = {row[0]: float(row[-1]) for row in rows[1:]}
    if len(errors) < len(rows) - 1:
      raise ValueError('per_image.csv has two faces of one name')
    facts['dataset'], facts['protocol'], facts['statement']  # must be there
  except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
    raise cli.UserError(
      f'{folder} is not a result of experiments.evaluate ({error}); give the '
      'folder that holds eval.json and per_image.csv.'
    ) from error
  return {'facts': facts, 'errors': errors}


def _table(rows, facts, confidence):
  unit = '%' if facts['unit'] == 'percent' else 'px'
  lines = [
    f'{facts["title"]}; protocol {facts["protocol"]}; mean over the faces '
    'that all runs have',
    '',
    f'| run | mean, {unit} | difference to the first | '
    f'{100 * confidence:g} % interval | faces |',
    '|---|---|---|---|---|',
  ]
  for row in rows:
    gap = '' if row is rows[0] else f'{row["difference"]:+.3f}'
    ends = '' if row is rows[0] else f'{row["low"]:+.3f} to {row["high"]:+.3f}'
    lines.append(
      f'| {row["run"]} | {row["mean"]:.3f} | {gap} | {ends} | {row["num_faces"]} |'
    )
  return '\n'.join(lines) + '\n'


if __name__ == '__main__':
  cli.start(main)
