"""Several devices: `pmap` and `shard_map` take the same step; shares of a batch."""

from absl.testing import absltest
import jax
from jax.sharding import PartitionSpec
import numpy as np

from pifa_jax.learning import parallel
from tests.learning.training_test import make_rows, make_step


class ShardMapTest(absltest.TestCase):
  def test_a_step_is_the_same_under_pmap_and_under_shard_map(self):
    devices = jax.local_devices()[:4]
    self.assertLen(devices, 4)
    step, start, *rest = make_step(parallel.AXIS)
    rows, ids = make_rows(8), np.arange(8, dtype=np.int32)
    rest = parallel.replicate(rest, devices)
    # A copy, whose buffers will be donated.
    state = parallel.replicate(jax.tree.map(np.array, start), devices)
    mapped = parallel.parallel(step, devices)
    by_pmap = jax.device_get(
      mapped(
        state,
        parallel.distribute(parallel.split_over(rows, 4), devices),
        parallel.split_over(ids, 4),
        *rest,
      )
    )
    # As the head of parallel.py has it.
    whole, share = PartitionSpec(), PartitionSpec(parallel.AXIS)
    sharded = jax.jit(
      jax.shard_map(
        step,
        mesh=jax.sharding.Mesh(devices, (parallel.AXIS,)),
        in_specs=(whole, share, share, whole, whole),
        out_specs=(whole, whole),
        check_vma=False,
      ),
      donate_argnums=0,
    )
    state = parallel.replicate(jax.tree.map(np.array, start), devices)
    by_shard_map = jax.device_get(sharded(state, rows, ids, *rest))
    self.assertTrue(bool(by_pmap[1]['finite']))
    # The same program for the same shares of the batch.
    jax.tree.map(np.testing.assert_array_equal, by_shard_map, by_pmap)


class SplitTest(absltest.TestCase):
  def test_shares_of_a_batch_in_order(self):
    tree = {'a': np.arange(8), 'b': np.arange(16).reshape(8, 2)}
    split = parallel.split_over(tree, 4)
    np.testing.assert_array_equal(split['a'], [[0, 1], [2, 3], [4, 5], [6, 7]])
    np.testing.assert_array_equal(split['b'][3], [[12, 13], [14, 15]])

  def test_processes_share_a_batch_in_order(self):
    tree = {'a': np.arange(8)}
    whole = parallel.split_over(tree, 4)['a']
    for index in range(2):
      mine = parallel.share_of_process(tree, 2, 2, index)['a']
      np.testing.assert_array_equal(mine, whole[2 * index : 2 * index + 2])
    np.testing.assert_array_equal(parallel.share_of_process(tree, 4)['a'], whole)
    with self.assertRaisesRegex(ValueError, 'batch_size=8 does not split over 6'):
      parallel.share_of_process(tree, 3, 2)

  def test_the_devices_of_one_process(self):
    devices = jax.local_devices()[:2]
    self.assertEqual(parallel.of_all_processes(devices), devices)
    self.assertEqual(parallel.count_devices(devices), 2)

  def test_uneven_batch(self):
    with self.assertRaisesRegex(ValueError, 'batch_size=6 does not split over 4'):
      parallel.split_over((np.zeros(6),), 4)


if __name__ == '__main__':
  absltest.main()
