"""Paired bootstrap intervals, and the program on made results."""

import csv
import json
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from experiments import compare
from tests import program_runs


def _result(folder, errors, protocol='box'):
  folder.mkdir()
  (folder / 'eval.json').write_text(
    json.dumps(
      {
        'dataset': 'folder',
        'split': 'test',
        'protocol': protocol,
        'unit': 'percent',
        'title': 'a folder',
        'statement': 'all of it',
      }
    )
  )
  with open(folder / 'per_image.csv', 'w', newline='') as file:
    csv.writer(file).writerows(
      [('name', 'yaw', 'start', 'block1')]
      + [(f'{i}.jpg', 0, 9, error) for i, error in enumerate(errors)]
    )


class IntervalTest(absltest.TestCase):
  def test_is_that_of_the_normal_distribution(self):
    rng = np.random.default_rng(0)
    base = rng.gamma(3, 1, 400)
    gap = rng.normal(-0.2, 0.5, 400)
    low, high = compare.interval(
      base + gap, base, confidence=0.95, resamples=4000, seed=0
    )
    half = 1.96 * gap.std() / 20
    # 4,000 resamples: a few percent of the half width.
    self.assertAlmostEqual(low, gap.mean() - half, delta=0.1 * half)
    self.assertAlmostEqual(high, gap.mean() + half, delta=0.1 * half)

  def test_pairs_stay_together(self):
    base = np.random.default_rng(0).gamma(3, 10, 50)
    # Errors vary by tens but all differences are 1: no doubt is left.
    np.testing.assert_allclose(
      compare.interval(base + 1, base, confidence=0.95, resamples=200, seed=0), (1, 1)
    )
    self.assertEqual(
      compare.interval(base, base, confidence=0.9, resamples=200, seed=0), (0, 0)
    )


class ProgramTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def run_program(self, *runs, code=0):
    return program_runs.run(
      'compare',
      f'--workdir={self.root / "out"}',
      '--runs=' + ','.join(str(self.root / run) for run in runs),
      code=code,
    )

  def test_table(self):
    rng = np.random.default_rng(0)
    errors = rng.gamma(3, 1, 60)
    _result(self.root / 'a', errors)
    _result(self.root / 'b', np.append(errors[:50] - 0.5, np.nan))
    done = self.run_program('a', 'b')
    self.assertRegex(done.stdout, r'\| -0.500 \| -0.500 to -0.500 \| 50 \|')
    with open(self.root / 'out' / 'compare.json') as file:
      rows = json.load(file)['rows']
    self.assertAlmostEqual(rows[1]['difference'], -0.5, places=6)
    # All rows are about the same 50 faces; the 10 others are counted.
    self.assertAlmostEqual(rows[0]['mean'], errors[:50].mean(), places=6)
    self.assertEqual([row['num_faces'] for row in rows], [50, 50])
    self.assertIn('10 faces are left out', done.stdout)

  def test_what_cannot_be_compared(self):
    _result(self.root / 'a', [1.0, 2])
    _result(self.root / 'b', [1.0, 2], protocol='w300')
    _result(self.root / 'twice', [1.0, 2])
    with open(self.root / 'twice' / 'per_image.csv', 'a') as file:
      file.write('0.jpg,0,9,5\n')
    _result(self.root / 'nan', [np.nan, np.nan])
    for runs, words in (
      (('a', 'twice'), 'two faces of one name'),
      (('a', 'nan'), 'No face has an error in all'),
      (('a', 'b'), 'only results of one set'),
      (('a', 'none'), 'is not a result'),
      (('a',), 'two folders'),
    ):
      done = self.run_program(*runs, code=1)
      self.assertIn(words, done.stderr)
      self.assertNotIn('Traceback', done.stderr)


if __name__ == '__main__':
  absltest.main()
