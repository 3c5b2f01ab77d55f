"""Searches of several photos in common batches."""

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.inference import batching


def _double(log):
  """A network that doubles numbers."""

  def submit(requests):
    log.append(list(requests))
    return lambda: [2 * request for request in requests]

  return submit


def _search(start, rounds):
  """Asks for `rounds` numbers, one after the other, then for three at once."""
  value = start
  for _ in range(rounds):
    (value,) = yield [value]
  three = yield [value, value + 1, value + 2]
  return start, three


class RunTest(parameterized.TestCase):
  def run_all(self, groups, **more):
    log = []
    settings = {'batch_size': 4, 'max_bytes': 100, **more}
    found = list(batching.run(groups, _double(log), **settings))
    return found, log

  def test_results_come_in_order_whatever_their_length(self):
    rng = np.random.default_rng(0)
    wanted, groups, start = [], [], 0
    for size in rng.integers(0, 6, 40):
      rounds = rng.integers(0, 5, size)
      group = [(start + i, int(r)) for i, r in enumerate(rounds)]
      start += size
      groups.append(batching.Group([_search(*one) for one in group]))
      last = [n * 2**r for n, r in group]
      wanted.append(
        [
          (n, [2 * v, 2 * v + 2, 2 * v + 4])
          for (n, _), v in zip(group, last, strict=True)
        ]
      )
    found, log = self.run_all(iter(groups))
    self.assertEqual(found, wanted)
    # All batches but the last few are full.
    self.assertTrue(all(len(batch) <= 4 for batch in log))
    self.assertLess(sum(len(batch) < 4 for batch in log), 0.1 * len(log))

  def test_nothing_to_do(self):
    self.assertEqual(self.run_all([]), ([], []))

    def silent():
      return 7
      yield

    def asks_for_nothing():
      answer = yield []
      return answer

    found, log = self.run_all(
      [batching.Group([]), batching.Group([silent(), asks_for_nothing()])]
    )
    self.assertEqual((found, log), ([[], [7, []]], []))

  @parameterized.parameters((1, 1), (25, 3), (1000, 5))
  def test_photos_are_read_no_further_than_needed(self, max_bytes, most):
    done, ahead = 0, []

    def groups():
      for i in range(50):
        ahead.append(i + 1 - done)
        yield batching.Group([_search(i, 1)], 10)

    for found in batching.run(groups(), _double([]), batch_size=4, max_bytes=max_bytes):
      self.assertEqual(found[0][0], done)
      done += 1
    self.assertEqual(done, 50)
    # What is open: the photos of a batch and of the one that is prepared meanwhile.
    self.assertLessEqual(max(ahead), 3 * most)
    if max_bytes == 1:
      self.assertEqual(max(ahead), 1)

  def test_an_error_of_the_source_is_passed_on(self):
    def groups():
      yield batching.Group([_search(0, 0)])
      raise ValueError('row 3')

    with self.assertRaisesRegex(ValueError, 'row 3'):
      self.run_all(groups())

  @parameterized.parameters(
    (0, []),
    (1, [1]),
    (4, [1] * 4),
    (5, [8]),
    (8, [8]),
    (9, [8, 1]),
    (16, [8, 8]),
    (17, [32]),
    (32, [32]),
    (70, [32, 32, 8]),
  )
  def test_split(self, count, wanted):
    self.assertEqual(batching.split(count, (32, 8, 1)), wanted)
    self.assertGreaterEqual(sum(wanted), count)


if __name__ == '__main__':
  absltest.main()
