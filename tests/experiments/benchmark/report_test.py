"""What the benchmark prints."""

from absl.testing import absltest
import jax.numpy as jnp

from experiments.benchmark import report, timing
from experiments.benchmark.counts import SCHEDULE_SAMPLES, Counts


def _measured(*, part, counts):
  """One row of two cases whose calls do nothing, beside ceilings of 1 FLOP, 1 byte."""
  call = lambda: jnp.zeros(())
  ceilings = (
    timing.Case('ceiling', 'product', 1, call, Counts(flops=1)),
    timing.Case('ceiling', 'copy', 1, call, Counts(bytes=1)),
  )
  case = timing.Case(part, 'a case', 4, call, counts)
  return timing.measure([case], ceilings, 5)


class RowTest(absltest.TestCase):
  def test_shares_are_those_of_the_ceilings(self):
    (row,) = _measured(part='layer', counts=Counts(flops=3e9, bytes=2e9))
    seconds = row['median_ms'] / 1e3
    self.assertAlmostEqual(
      row['share_of_product'] * row['product_gflop_a_second'] * seconds, 3
    )
    self.assertAlmostEqual(
      row['share_of_copy'] * row['copy_gbyte_a_second'] * seconds, 2
    )
    self.assertAlmostEqual(row['ms_a_face'], row['median_ms'] / 4)
    self.assertNotIn('schedule_hours', row)

  def test_what_is_not_counted_has_no_share(self):
    (row,) = _measured(part='layer', counts=Counts())
    self.assertIsNone(row['share_of_product'])
    self.assertIsNone(row['share_of_copy'])

  def test_a_training_step_says_what_the_schedule_takes(self):
    (row,) = _measured(part='train', counts=Counts())
    self.assertAlmostEqual(
      row['schedule_hours'] * 3600,
      SCHEDULE_SAMPLES / 4 * row['median_ms'] / 1e3,
      delta=1e-6 * SCHEDULE_SAMPLES,
    )


class TableTest(absltest.TestCase):
  def test_columns_are_aligned_and_gaps_are_dashes(self):
    rows = _measured(part='layer', counts=Counts(flops=3e9))
    head, line = report.table(rows).splitlines()
    self.assertLen(line, len(head))
    self.assertRegex(line, '^layer  a case  ')
    # Numbers end where their headings end.
    until = lambda heading: line[: head.index(heading) + len(heading)]
    self.assertEndsWith(until('batch'), ' 4')
    self.assertEndsWith(until('GFLOP'), ' 3.00')
    self.assertEndsWith(until('GB'), ' -')
    self.assertEndsWith(until('% copy'), ' -')
    self.assertEndsWith(until('temp MB'), ' -')


if __name__ == '__main__':
  absltest.main()
