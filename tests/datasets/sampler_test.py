"""Which samples a step sees."""

import types

from absl.testing import absltest
import jax
import numpy as np

from pifa_jax.datasets import sampler


class SampleIdsTest(absltest.TestCase):
  def test_every_epoch_visits_every_sample_once(self):
    seen = np.concatenate([sampler.sample_ids(3, step, 4, 10) for step in range(5)])
    for epoch in (seen[:10], seen[10:]):
      np.testing.assert_array_equal(np.sort(epoch), np.arange(10))
    self.assertFalse(np.array_equal(seen[:10], seen[10:]))

  def test_a_function_of_seed_and_step(self):
    late = sampler.sample_ids(3, 77, 4, 10)
    np.testing.assert_array_equal(late, sampler.sample_ids(3, 77, 4, 10))
    runs = [
      np.concatenate([sampler.sample_ids(seed, s, 4, 10) for s in range(5)])
      for seed in (3, 4)
    ]
    self.assertFalse(np.array_equal(*runs))

  def test_a_batch_larger_than_the_set(self):
    ids = sampler.sample_ids(0, 0, 25, 10)
    np.testing.assert_array_equal(np.bincount(ids[:20]), 2)

  def test_an_empty_set_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'training set is empty'):
      sampler.sample_ids(0, 0, 4, 0)


class PaddedBatchesTest(absltest.TestCase):
  def test_covers_all_once_in_batches_of_one_size(self):
    batches = list(sampler.padded_batches(10, 4))
    self.assertEqual([len(ids) for ids, _ in batches], [4, 4, 4])
    real = np.concatenate([ids[weight > 0] for ids, weight in batches])
    np.testing.assert_array_equal(real, np.arange(10))


class _Crops(types.SimpleNamespace):
  """As much of a crop cache as a source reads."""

  def __len__(self):
    return len(self.images)


class SourceTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=(12,) + shape).astype(np.float32)
    self.crops = _Crops(
      images=rng.integers(0, 255, (12, 6, 6, 3), dtype=np.uint8),
      landmarks=draw(5, 2),
      visible=rng.random((12, 5)) < 0.5,
      params=draw(20),
      boxes=draw(4),
    )

  def test_the_same_rows_from_the_devices_and_from_the_map(self):
    ids = np.array([[3, 0], [11, 7], [5, 5], [1, 2]], np.int32)
    devices = jax.local_devices()[:4]
    got = [
      sampler.make_source(self.crops, devices, on_device=choice)(ids)
      for choice in (True, False)
    ]
    want = sampler.rows(self.crops, ids.reshape(-1))
    for source in got:
      jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, b.reshape((4, 2) + b.shape[1:])),
        source,
        want,
      )
      # Every device holds its own share.
      self.assertEqual(
        {shard.data.shape[:2] for shard in source.image.addressable_shards}, {(1, 2)}
      )
    jax.tree.map(lambda a, b: self.assertEqual(a.dtype, b.dtype), *got)

  def test_up_to_an_eighth_of_the_memory(self):
    size = sampler.num_bytes(self.crops)
    self.assertEqual(size, 12 * (6 * 6 * 3 + 4 * (10 + 20 + 4 + 1) + 5))
    device = lambda limit: types.SimpleNamespace(
      memory_stats=lambda: limit and {'bytes_limit': limit}
    )
    self.assertTrue(sampler.fits(self.crops, device(8 * size)))
    self.assertFalse(sampler.fits(self.crops, device(8 * size - 1)))
    # A device that tells no limit: the host's memory.
    self.assertTrue(sampler.fits(self.crops, device(None)))


if __name__ == '__main__':
  absltest.main()
