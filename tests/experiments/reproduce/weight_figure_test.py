"""Fig. 7: which weights are averaged, and the numbers beside the picture."""

import csv
import dataclasses
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import figures
from experiments.reproduce import weight_figure
from pifa_jax.learning import blocks
from pifa_jax.learning.network_config import NetworkConfig

# Three blocks of two layers.
_CONFIG = NetworkConfig(channels=(4, 5, 6, 7, 8, 9), kernels=(5, 5, 3, 3, 3, 3))
_RESIDUAL = NetworkConfig(
  crop_size=16,
  stem_pool=2,
  channels=(4,),
  kernels=(3,),
  units=(1, 1),
  width=8,
  convs_per_block=1,
)


def _kernels(shapes):
  rng = np.random.default_rng(0)
  return {
    f'block{i}': {
      # Weights of both signs, of another size for every input channel.
      'conv1': {'kernel': rng.normal(size=shape) * np.arange(1, shape[2] + 1)[:, None]}
    }
    for i, shape in enumerate(shapes, 1)
  }


class MeanWeightsTest(parameterized.TestCase):
  def test_equals_a_direct_mean(self):
    params = _kernels([(5, 5, 4, 4), (3, 3, 9, 6), (3, 3, 11, 8)])
    found = weight_figure.mean_weights(_CONFIG, params)
    kernel = lambda block: np.abs(params[f'block{block}']['conv1']['kernel'])
    # I, F, V: three channels, those of the layer before, one.
    expected = {
      'I': [kernel(1)[:, :, :3], kernel(2)[:, :, :3], kernel(3)[:, :, :3]],
      'V': [kernel(1)[:, :, 3], kernel(2)[:, :, 8], kernel(3)[:, :, 10]],
      'F': [None, kernel(2)[:, :, 3:8], kernel(3)[:, :, 3:10]],
    }
    for kind, parts in expected.items():
      wanted = [np.nan if part is None else part.mean() for part in parts]
      np.testing.assert_allclose(found[kind], wanted, rtol=1e-12)

  @parameterized.parameters(
    (_CONFIG, 'IFV', 0), (_CONFIG, 'IFV', 1), (_CONFIG, 'FV', 1), (_CONFIG, 'IV', 1),
    (_RESIDUAL, 'IFV', 0), (_RESIDUAL, 'IFV', 1), (_RESIDUAL, 'FV', 1),
    (_RESIDUAL, 'IV', 1),
  )  # fmt: skip
  def test_the_channels_are_those_of_the_block(self, config, inputs, index):
    # Without the weights of a kind the block is blind to it, and to nothing else.
    config = dataclasses.replace(config, inputs=inputs)
    channels = weight_figure.input_channels(config, index)
    side = 16 if index == 0 else 8
    rng = np.random.default_rng(index)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    features_side = side // 2 if config.units else side
    given = {
      'I': draw(1, side, side, 3) if index == 0 or 'I' in inputs else None,
      'F': draw(1, features_side, features_side, len(channels['F'])),
      'V': draw(1, side, side, 1),
    }
    if not len(channels['F']):
      given['F'] = None
    block = blocks.make_block(config, index=index, update_size=3)
    call = {'train': False, 'dropout_keys': None}
    variables = block.init(jax.random.key(0), *given.values(), **call)
    # Normalisation that begins with zeros would hide what a unit sees.
    params = jax.tree.map(lambda x: draw(*x.shape), variables['params'])
    layers = [weight_figure.first_layer(config, index)]
    if config.units and given['F'] is None and index:
      layers.append('conv_entry')  # the way around the first layer

    def change(kind, weights):
      without = {
        layer: {'kernel': params[layer]['kernel'].at[:, :, channels[weights]].set(0.0)}
        for layer in layers
      }
      blind = {**variables, 'params': {**params, **without}}
      moved = given | {kind: given[kind] + 1.0}
      outputs = [block.apply(blind, *x.values(), **call)[0] for x in (given, moved)]
      return float(jnp.abs(outputs[0] - outputs[1]).max())

    kinds = [kind for kind in channels if given[kind] is not None]
    for kind in kinds:
      for weights in kinds:
        # F reaches the end of a residual block beside its convolutions, too.
        if kind == weights and not (config.units and kind == 'F'):
          self.assertEqual(change(kind, weights), 0, (kind, weights))
        else:
          self.assertGreater(change(kind, weights), 0, (kind, weights))

  def test_weights_of_another_network_are_refused(self):
    shapes = [(5, 5, 4, 4), (3, 3, 9, 6), (3, 3, 11, 8)]
    with self.assertRaisesRegex(ValueError, 'block2/conv1 has 9 input channels'):
      weight_figure.mean_weights(
        dataclasses.replace(_CONFIG, inputs='FV'), _kernels(shapes)
      )
    with self.assertRaisesRegex(ValueError, 'no block3/conv1'):
      weight_figure.mean_weights(_CONFIG, _kernels(shapes[:2]))


class DrawWeightsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    self.networks = {
      'IV': (
        dataclasses.replace(_CONFIG, inputs='IV'),
        _kernels([(5, 5, 4, 4), (3, 3, 4, 6), (3, 3, 4, 8)]),
      ),
      'IFV': (_CONFIG, _kernels([(5, 5, 4, 4), (3, 3, 9, 6), (3, 3, 11, 8)])),
    }

  def _table(self):
    with open(self.folder / 'figure_7.csv', encoding='utf-8') as file:
      return list(csv.DictReader(file))

  def test_the_table_holds_every_point(self):
    files = weight_figure.draw_weights(self.networks, self.folder)
    for path in files:
      self.assertGreater(path.stat().st_size, 0)
    rows = self._table()
    # a: I and V in three blocks, F in two; c: no F.
    self.assertEqual([row['architecture'] for row in rows], ['a'] * 8 + ['c'] * 6)
    means = weight_figure.mean_weights(*self.networks['IV'])
    for row in rows[8:]:
      self.assertAlmostEqual(
        float(row['mean_absolute_weight']),
        means[row['input']][int(row['block']) - 1],
        places=4,
      )

  def test_without_matplotlib_there_is_the_table_alone(self):
    with mock.patch.object(figures, 'figure', return_value=None):
      files = weight_figure.draw_weights(self.networks, self.folder)
    self.assertEqual([path.name for path in files], ['figure_7.csv'])
    self.assertLen(self._table(), 14)

  def test_no_network_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'at least one architecture'):
      weight_figure.draw_weights({}, self.folder)


if __name__ == '__main__':
  absltest.main()
