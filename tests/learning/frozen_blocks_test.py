"""Frozen blocks: the next stage of a cascade changes its own block alone."""

import dataclasses
import functools
import types
from unittest import mock

from absl.testing import absltest
import jax
import numpy as np

from experiments.lib import restore
from pifa_jax.geometry import projection
from pifa_jax.learning import checkpoints, network, optimizer, training
from tests.learning.training_test import _AUGMENT, _CONFIG, _MODEL, make_rows


def _step(config, variables):
  net = network.PifaNetwork(config, _MODEL.num_params)
  # Decay that would change every kernel, with or without a gradient.
  adam = optimizer.make_optimizer(
    optimizer.OptimizerConfig(method='adam', learning_rate=1e-2, weight_decay=0.1), 100
  )
  step = jax.jit(
    functools.partial(
      training.train_step,
      network=net,
      optimizer=adam,
      loss=training.LossConfig(block_weights=(1.0, 1.0)),
      augment=_AUGMENT,
      seed=5,
    )
  )
  geometry = network.network_geometry(_MODEL, config)
  return step(
    training.init_state(variables, adam),
    make_rows(8),
    np.arange(8, dtype=np.int32),
    geometry,
    projection.landmark_model(_MODEL, 'ibug68'),
  )


class FrozenBlocksTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.config = dataclasses.replace(
      _CONFIG, frozen_blocks=1, stop_gradient_between_blocks=True
    )
    net = network.PifaNetwork(cls.config, _MODEL.num_params)
    geometry = network.network_geometry(_MODEL, cls.config)
    cls.variables = network.init_variables(net, geometry, 0)

  def test_the_first_block_stays_bit_for_bit_and_the_second_learns(self):
    state, result = _step(self.config, self.variables)
    self.assertTrue(bool(result['finite']))
    for kind in ('params', 'batch_stats'):
      after, before = getattr(state, kind), self.variables[kind]
      same = lambda name, after=after, before=before: (
        checkpoints.tree_hash(after[name]) == checkpoints.tree_hash(before[name])
      )
      self.assertTrue(same('block1'), kind)
      self.assertFalse(same('block2'), kind)

  def test_without_it_both_blocks_learn(self):
    state, _ = _step(dataclasses.replace(self.config, frozen_blocks=0), self.variables)
    self.assertNotEqual(
      checkpoints.tree_hash(state.params['block1']),
      checkpoints.tree_hash(self.variables['params']['block1']),
    )

  def test_a_block_must_be_left(self):
    with self.assertRaisesRegex(ValueError, 'frozen_blocks=2 of 2 blocks leaves none'):
      _step(dataclasses.replace(self.config, frozen_blocks=2), self.variables)

  def test_a_stage_starts_from_the_blocks_of_the_one_before(self):
    one = {
      kind: {'block1': jax.tree.map(lambda x: x + 1, blocks['block1'])}
      for kind, blocks in self.variables.items()
    }
    before = types.SimpleNamespace(
      config=types.SimpleNamespace(
        network=self.config.with_num_blocks(1), face_model_hash='f', datasets=('x',)
      ),
      load=lambda model, weights: (3, one, 'digest'),
    )
    new = types.SimpleNamespace(network=self.config)
    with (
      mock.patch.object(restore, 'open_run', return_value=before),
      mock.patch.object(restore.dataclasses, 'replace', lambda config, **more: more),
    ):
      config, found = restore.start_from('one', new, self.variables, _MODEL, {'f'})
    self.assertEqual(config['initial_weights'], 'digest')
    for kind, blocks in found.items():
      jax.tree.map(np.testing.assert_array_equal, blocks['block1'], one[kind]['block1'])
      jax.tree.map(
        np.testing.assert_array_equal, blocks['block2'], self.variables[kind]['block2']
      )


if __name__ == '__main__':
  absltest.main()
