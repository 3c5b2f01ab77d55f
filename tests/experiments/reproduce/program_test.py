"""The program as users start it: one table of a very small network, and again."""

import json
import pathlib
import tempfile

from absl.testing import absltest

from tests import program_runs

# As little to compile as there can be: one block, no visualization.
_SMALL = [
  '--scale=smoke',
  '--num_blocks=1',
  '--convs_per_block=1',
  '--fc_pool=7',
  '--visualization=false',
  '--num_steps=4',
  '--num_train=24',
  '--num_test=8',
]


class ProgramTest(absltest.TestCase):
  def test_a_table_the_page_and_the_same_again(self):
    work = pathlib.Path(tempfile.mkdtemp())
    command = [
      'reproduce',
      '--table=2,4',
      *_SMALL,
      f'--workdir={work}',
      f'--cache_dir={work / "cache"}',
      f'--page={work / "results.md"}',
    ]
    first = program_runs.run(*command)
    self.assertIn('Training base, seed 0', first.stderr)
    self.assertIn('# Table 2: NME on AFLW', first.stdout)
    content = json.loads((work / 'table_2.json').read_text())
    (column,) = content['columns']
    self.assertEqual((column['kind'], column['scale']), ('synthetic', 'smoke'))
    nme = column['numbers']['proposed method']['mean']
    (folder,) = (work / 'runs').iterdir()
    record = json.loads((folder / 'run.json').read_text())
    # The number is the trainer's own, on the eight test faces.
    self.assertEqual(nme, record['test_nme'][-1])
    self.assertEqual(record['num_test'], 8)
    self.assertGreater(json.loads((folder / 'result.json').read_text())['seconds'], 0)
    # AFW is not there: a hole with its reason.
    (column,) = json.loads((work / 'table_4.json').read_text())['columns']
    self.assertIn('--afw_dir', column['numbers']['proposed method']['hole'])
    page = (work / 'results.md').read_text()
    self.assertIn(f'| proposed method | 4.45 |  | {nme:.2f} |', page)
    self.assertIn(
      'reproduce --table=2,4 --scale=smoke --seeds=1 --convs_per_block=1 --fc_pool=7',
      page,
    )
    # Nothing of this machine.
    self.assertNotIn(str(work), page)

    again = program_runs.run(*command)
    self.assertNotIn('Training', again.stderr)
    self.assertIn(f'| {nme:.2f} |', again.stdout)

  def test_what_is_asked_for_must_exist(self):
    work = f'--workdir={tempfile.mkdtemp()}'
    for flags, wanted in (
      (['--table=9'], '--table=9 is none; use 2, 3'),
      (['--table=5', '--data=300w'], '--data=300w needs its photos'),
      (['--table=3', '--distributed'], 'several processes train by experiments.train'),
    ):
      said = program_runs.run('reproduce', work, *flags, code=1).stderr
      self.assertIn(wanted, said)


if __name__ == '__main__':
  absltest.main()
