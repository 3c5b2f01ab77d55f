"""Tables as text, CSV and JSON; columns of photos and synthetic faces stay apart."""

import csv
import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest

from experiments.lib import figures
from experiments.reproduce import report, results_page
from experiments.reproduce.catalogue import TABLES
from experiments.reproduce.claims import Cell
from experiments.reproduce.report import Column

_TABLE = TABLES['7']


def _column(data='synthetic', **changes):
  cells = {
    'mask 1': Cell({0: 4.5, 1: 4.7}, {}, 512),
    'mask 2': Cell({0: 4.6}, {1: 'the updates were not finite'}, 512),
    'no mask': Cell({}, {0: 'it was too large', 1: 'it was too large'}, 0),
  }
  fields = {
    'data': data,
    'on_photos': data != 'synthetic',
    'title': 'AFLW, test',
    'cells': cells,
    'scale': 'demo',
    'settings': {'preset': 'tiny', 'num_steps': '900'},
    'seeds': (0, 1),
    'statement': 'AFLW, test, N=512; the visible ones count',
    'device': '1 x cpu',
  }
  return Column(**{**fields, **changes})


class ReportTest(absltest.TestCase):
  def test_columns_of_the_paper_of_photos_and_of_synthetic_faces(self):
    photos = _column(
      'aflw',
      cells={'mask 1': Cell({0: 2.93}, {}, 456), 'mask 2': Cell({0: 2.9}, {}, 455)},
      seeds=(0,),
    )
    text = report.markdown(_TABLE, [photos, _column()])
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith('|'))
    self.assertEqual(
      head, '|  | paper | real (AFLW, test, 1 seed) | synthetic (N=512, 2 seeds) |'
    )
    row = next(line for line in lines if line.startswith('| mask 1'))
    # Where N differs from row to row it stands in the row.
    self.assertEqual(row, '| mask 1 | 4.45 | 2.93 (N=456) | 4.60 ± 0.14 |')
    self.assertIn('| mask 2 | 4.49 | 2.90 (N=455) | 4.60 [1] |', text)
    self.assertIn('| no mask | 5.31 |  | [2] |', text)
    self.assertIn('- [1] the updates were not finite.', text)
    self.assertIn('- [2] it was too large.', text)
    self.assertIn('--num_steps=900 --preset=tiny', text)
    self.assertIn('Without a mask the error is higher: cannot be said', text)

  def test_what_was_not_run_is_an_empty_column(self):
    text = report.markdown(_TABLE, [_column()])
    self.assertIn('| real (nothing was run) |', text)
    self.assertIn('| mask 1 | 4.45 |  | 4.60 ± 0.14 |', text)

  def test_rivals_have_a_table_of_their_own(self):
    text = report.markdown(TABLES['5'], [])
    ours, rivals = text.split('| published |')
    self.assertIn('| common | 5.43 |', ours)
    self.assertNotIn('CFSS', ours)
    self.assertIn('| CFSS | 4.73 | 9.98 | 5.76 |', rivals)

  def test_numbers_of_several_data_are_kept_and_merged(self):
    with tempfile.TemporaryDirectory() as folder:
      for column in (_column(), _column('300w')):
        report.save_column(folder, _TABLE, column)
      found = report.load_columns(folder, _TABLE)
      self.assertEqual([c.data for c in found], ['300w', 'synthetic'])
      self.assertEqual(found[1], _column())
      paths = report.write(folder, _TABLE, found)
      self.assertEqual(
        [p.name for p in paths],
        ['table_7.md', 'table_7.csv', 'table_7.json', 'table_7.png'],
      )
      content = json.loads(paths[2].read_text())
      with open(paths[1], newline='') as file:
        rows = list(csv.DictReader(file))
    numbers = content['columns'][1]['numbers']
    self.assertAlmostEqual(numbers['mask 1']['mean'], 4.6)
    self.assertEqual(numbers['no mask']['hole'], 'it was too large')
    self.assertLen(content['columns'][1]['claims'], 2)
    self.assertLen(rows, 9)
    self.assertEqual(
      [(r['column'], r['mean']) for r in rows if r['row'] == 'no mask'],
      [('paper', '5.31'), ('real', ''), ('synthetic', '')],
    )

  def test_without_matplotlib_there_is_no_picture(self):
    with tempfile.TemporaryDirectory() as folder:
      with mock.patch.object(figures, 'figure', return_value=None):
        paths = report.write(folder, _TABLE, [_column()])
      self.assertLen(paths, 3)
      self.assertNotIn('![', paths[0].read_text())

  def test_the_page_has_everything_and_says_how(self):
    with tempfile.TemporaryDirectory() as folder:
      root = pathlib.Path(folder)
      report.save_column(folder, _TABLE, _column())
      picture = root / 'figure_7.png'
      picture.write_bytes(b'png')
      keys = results_page.write(
        root / 'docs' / 'results.md',
        folder,
        command='python -m experiments.reproduce --page=docs/results.md',
        commit='abc',
        pictures={7: [picture]},
      )
      page = (root / 'docs' / 'results.md').read_text()
      self.assertEqual(keys, ['7'])
      for link in ('results/table_7.png', 'results/figure_7.png'):
        self.assertIn(f']({link})', page)
        self.assertTrue((root / 'docs' / link).exists(), link)
    self.assertIn(
      'python -m experiments.reproduce --table=7 --scale=demo --seeds=2\n'
      'python -m experiments.reproduce --page=docs/results.md\n',
      page,
    )
    self.assertIn('## Table 7: masks of the visualization', page)
    self.assertIn(
      '| Without a mask the error is higher | synthetic | cannot be said | '
      '[7](#table-7-masks-of-the-visualization) |',
      page,
    )

  def test_the_page_of_the_work_folder_s_own_name(self):
    with tempfile.TemporaryDirectory() as folder:
      work = pathlib.Path(folder) / 'work'
      work.mkdir()
      report.save_column(work, _TABLE, _column())
      (work / 'figure_7.png').write_bytes(b'png')
      results_page.write(
        work.with_suffix('.md'),
        work,
        command='',
        commit='abc',
        pictures={7: [work / 'figure_7.png']},
      )
      self.assertEqual((work / 'figure_7.png').read_bytes(), b'png')
      self.assertIn('](work/figure_7.png)', work.with_suffix('.md').read_text())


if __name__ == '__main__':
  absltest.main()
