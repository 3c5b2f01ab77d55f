"""Which samples a step sees."""

from absl.testing import absltest
import numpy as np

from pifa_jax.datasets import feed


class SampleIdsTest(absltest.TestCase):

  def test_every_epoch_visits_every_sample_once(self):
    seen = np.concatenate([feed.sample_ids(3, step, 4, 10) for step in range(5)])
    for epoch in (seen[:10], seen[10:]):
      np.testing.assert_array_equal(np.sort(epoch), np.arange(10))
    self.assertFalse(np.array_equal(seen[:10], seen[10:]))

  def test_a_function_of_seed_and_step(self):
    late = feed.sample_ids(3, 77, 4, 10)
    np.testing.assert_array_equal(late, feed.sample_ids(3, 77, 4, 10))
    runs = [np.concatenate([feed.sample_ids(seed, s, 4, 10) for s in range(5)])
            for seed in (3, 4)]
    self.assertFalse(np.array_equal(*runs))

  def test_a_batch_larger_than_the_set(self):
    ids = feed.sample_ids(0, 0, 25, 10)
    np.testing.assert_array_equal(np.bincount(ids[:20]), 2)

  def test_an_empty_set_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'training set is empty'):
      feed.sample_ids(0, 0, 4, 0)


class PaddedBatchesTest(absltest.TestCase):

  def test_covers_all_once_in_batches_of_one_size(self):
    batches = list(feed.padded_batches(10, 4))
    self.assertEqual([len(ids) for ids, _ in batches], [4, 4, 4])
    real = np.concatenate([ids[weight > 0] for ids, weight in batches])
    np.testing.assert_array_equal(real, np.arange(10))


if __name__ == '__main__':
  absltest.main()
