"""Several devices: `pmap` and `shard_map` take the same step; shares of a batch."""

import dataclasses
from unittest import mock

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
    mapped = parallel.parallel(step, devices)
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
    bad = np.array(rows.landmarks)
    bad[5, 0] = np.nan
    bad = dataclasses.replace(rows, landmarks=bad, visible=np.ones((8, 68), bool))
    for batch, of_no_number in ((rows, []), (bad, [5])):
      # A copy, whose buffers will be donated.
      state = parallel.replicate(jax.tree.map(np.array, start), devices)
      by_pmap = jax.device_get(
        mapped(
          state,
          parallel.distribute(parallel.split_over(batch, 4), devices),
          parallel.split_over(ids, 4),
          *rest,
        )
      )
      state = parallel.replicate(jax.tree.map(np.array, start), devices)
      by_shard_map = jax.device_get(sharded(state, batch, ids, *rest))
      self.assertEqual(bool(by_pmap[1]['finite']), not of_no_number)
      # Of the whole batch, in its order.
      named = np.flatnonzero(~by_pmap[1]['finite_faces'])
      self.assertEqual(named.tolist(), of_no_number)
      # The same program for the same shares of the batch.
      jax.tree.map(np.testing.assert_array_equal, by_shard_map, by_pmap)

  def test_the_step_sums_twice_besides_batch_normalisation(self):
    # Every further collective is one more that devices can hang in.
    step, state, *rest = make_step(parallel.AXIS)
    rows, ids = make_rows(2), np.arange(2, dtype=np.int32)
    with mock.patch.object(
      parallel, 'sum_over_devices', wraps=parallel.sum_over_devices
    ) as sums:
      traced = jax.make_jaxpr(step, axis_env=[(parallel.AXIS, 4)])(
        state, rows, ids, *rest
      )
    # The faces first, by which the loss is divided.
    self.assertEqual(sums.call_count, 2)
    self.assertNotIn('all_gather', str(traced))


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
