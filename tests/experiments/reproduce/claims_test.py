"""Verdicts in both directions, and where nothing can be said."""

from absl.testing import absltest, parameterized

from experiments.reproduce import claims, published
from experiments.reproduce.catalogue import TABLES
from experiments.reproduce.claims import FAILS, HOLDS, UNSAID, Cell, Claim
from experiments.reproduce.tables import FINAL, START, verdicts

_WORSE = Claim('B is worse', ('a', 'b'), lambda row: row['b'] - row['a'], paper=0.5)
_NO_BETTER = Claim(
  'B is no better',
  ('a', 'b'),
  lambda row: row['b'] - row['a'],
  only_if_not_contradicted=True,
)


def _cells(**rows):
  return {name: Cell(dict(enumerate(values))) for name, values in rows.items()}


class JudgeTest(parameterized.TestCase):
  @parameterized.parameters(
    (_WORSE, (4.0, 4.1, 4.2), (5.0, 5.2, 5.1), HOLDS),
    (_WORSE, (5.0, 5.2, 5.1), (4.0, 4.1, 4.2), FAILS),
    # Differences 0.3, -0.2, 0.1: mean 0.07, spread 0.25.
    (_WORSE, (4.0, 4.2, 4.0), (4.3, 4.0, 4.1), UNSAID),
    (_NO_BETTER, (4.0, 4.2, 4.0), (4.3, 4.0, 4.1), HOLDS),
    (_NO_BETTER, (5.0, 5.2, 5.1), (4.0, 4.1, 4.2), FAILS),
  )
  def test_three_verdicts(self, claim, a, b, wanted):
    self.assertEqual(claims.judge(claim, _cells(a=a, b=b)).verdict, wanted)

  def test_seeds_are_paired(self):
    # The seeds differ by far more than the rows do, and always the same way.
    found = claims.judge(_WORSE, _cells(a=(3.0, 5.0, 7.0), b=(3.2, 5.2, 7.3)))
    self.assertEqual(found.verdict, HOLDS)
    self.assertIn('+0.23 ± 0.06 points of NME over 3 seeds', found.sentence)
    self.assertIn('+0.50 in the paper', found.sentence)

  def test_one_seed_says_nothing(self):
    found = claims.judge(_WORSE, _cells(a=(4.0,), b=(9.0,)))
    self.assertEqual(found.verdict, UNSAID)
    self.assertIn('one seed shows no spread; +5.00', found.sentence)

  def test_a_hole_says_nothing_and_why(self):
    cells = {**_cells(a=(4.0, 4.0)), 'b': Cell(holes={0: 'it diverged'})}
    found = claims.judge(_WORSE, cells)
    self.assertEqual(found.verdict, UNSAID)
    self.assertIn('there is no number for "b": it diverged', found.sentence)

  def test_only_seeds_that_have_both_numbers_count(self):
    cells = {'a': Cell({0: 4.0, 1: 4.0}), 'b': Cell({1: 5.0, 2: 5.0})}
    self.assertEqual(claims.judge(_WORSE, cells).margins, {1: 1.0})
    cells['b'] = Cell({2: 5.0})
    self.assertIn('no seed has all', claims.judge(_WORSE, cells).sentence)

  def test_networks_that_have_not_learned_are_no_evidence(self):
    cells = _cells(a=(4.0, 4.1, 4.2), b=(5.0, 5.2, 5.1))
    learned = claims.not_learned(Cell({0: 26.0}), Cell({0: 5.0}))
    self.assertEqual(claims.judge(_WORSE, cells, learned=learned).verdict, HOLDS)
    learned = claims.not_learned(Cell({0: 26.0}), Cell({0: 22.0}))
    found = claims.judge(_WORSE, cells, learned=learned)
    self.assertEqual(found.verdict, UNSAID)
    self.assertIn('not learned their task: 22.00 from 26.00', found.sentence)


class TablesTest(parameterized.TestCase):
  """The paper's own numbers, as if three seeds had given them: all claims hold."""

  def _of_paper(self, table):
    return {
      **{
        row.name: Cell({seed: row.paper + 0.001 * seed for seed in range(3)})
        for row in table.rows
        if row.paper is not None
      },
      START: Cell({0: published.AFLW_START}),
      FINAL: Cell({0: published.AFLW_BLOCKS[-1]}),
    }

  @parameterized.parameters('3', 'noise', 'visualization', '6', '7', '8', 'exit')
  def test_the_claims_hold_of_the_paper(self, key):
    table = TABLES[key]
    cells = self._of_paper(table)
    found = verdicts(table, cells)
    self.assertLen(found, len(table.claims))
    for verdict, claim in zip(found, table.claims, strict=True):
      if set(claim.rows) <= set(cells):
        self.assertEqual(verdict.verdict, HOLDS, verdict.sentence)
      else:
        # Milliseconds, and what is left of the noise: the paper has neither.
        self.assertEqual(verdict.verdict, UNSAID)
      if claim.paper is not None:
        mean = sum(verdict.margins.values()) / 3
        self.assertAlmostEqual(claim.paper, mean, delta=0.02 * abs(claim.paper) + 0.01)

  @parameterized.parameters('3', 'noise', 'visualization', '6', '7', '8')
  def test_they_do_not_of_its_mirror_image(self, key):
    table = TABLES[key]
    cells = {
      name: Cell({seed: 50 - value for seed, value in cell.values.items()})
      for name, cell in self._of_paper(table).items()
      if name not in (START, FINAL)
    }
    if key == '3':
      # Errors that rise from block to block, from the same start.
      cells['start'] = Cell(dict.fromkeys(range(3), 20.0))
    for verdict, claim in zip(verdicts(table, cells), table.claims, strict=True):
      wanted = FAILS if set(claim.rows) <= set(cells) else UNSAID
      self.assertEqual(verdict.verdict, wanted, verdict.sentence)

  def test_noise_that_later_blocks_compensate(self):
    table = TABLES['noise']
    claim = next(claim for claim in table.claims if 'compensate' in claim.text)
    for left, wanted in ((20.0, HOLDS), (80.0, FAILS)):
      rows = {claim.rows[0]: Cell({seed: left + seed for seed in range(3)})}
      self.assertEqual(claims.judge(claim, rows).verdict, wanted)

  def test_half_of_the_time(self):
    table = TABLES['cascade']
    words = 'long stages'
    claim = next(
      claim for claim in table.claims if 'half' in claim.text and words in claim.text
    )
    for ours, wanted in ((40.0, HOLDS), (60.0, FAILS)):
      rows = {
        claim.rows[0]: Cell({seed: ours + seed for seed in range(3)}),
        claim.rows[1]: Cell({seed: 100.0 + seed for seed in range(3)}),
      }
      self.assertEqual(claims.judge(claim, rows).verdict, wanted)
    self.assertAlmostEqual(claim.paper, 100 * (0.5 - 2.5 / 7))


if __name__ == '__main__':
  absltest.main()
