"""The visualization blocks of `pifa_jax.learning.blocks` as ONNX, for inference.

Images are (B, channels, H, W) here, as ONNX has them; in Flax the channels come last.
Batch normalisation is a part of the convolution before it.
"""

from typing import Any

import numpy as np

from experiments.export.onnx_graph import Graph, Value
from pifa_jax.learning import blocks
from pifa_jax.learning.network_config import NetworkConfig
from pifa_jax.learning.normalization import EPSILON


def block(
  graph: Graph,
  config: NetworkConfig,
  variables: dict[str, Any],
  index: int,
  image: Value | None,
  features: Value | None,
  visualization: Value | None,
) -> tuple[Value, Value]:
  """Maps I, F and V to the next F and the whitened update (Fig. 3).

  Args:
    graph: to which it is added.
    config: the network's.
    variables: {'params', 'batch_stats'} of the network.
    index: of the block, from 0.
    image: I, (B, 3, H, W), or None.
    features: F of the block before, or None.
    visualization: V, (B, 1, H, W), or None.

  Returns:
    (B, c, h, w) features, and (B, 8 + N_I + N_E) dP / s.
  """
  layers = _Layers(graph, variables, f'block{index + 1}')
  make = _residual_block if config.units else _plain_block
  return make(graph, config, layers, index, image, features, visualization)


class _Layers:
  """The layers of one block, by their names in Flax."""

  def __init__(self, graph, variables, name):
    self._graph = graph
    self._params = variables['params'][name]
    self._stats = variables['batch_stats'][name]

  def conv(self, x, conv, norm, *, relu=True, stride=1):
    """Convolution, normalisation, and ReLU unless it comes later."""
    # Read in float64: the factor is multiplied into the weights and rounded once.
    read = lambda array: np.asarray(array, np.float64)
    kernel = read(self._params[conv]['kernel'])
    scale, bias = (read(self._params[norm][name]) for name in ('scale', 'bias'))
    mean, var = (read(self._stats[norm][name]) for name in ('mean', 'var'))
    factor = scale / np.sqrt(var + EPSILON)
    x = self._graph.node(
      'Conv',
      x,
      (kernel * factor).transpose(3, 2, 0, 1).astype(np.float32),
      (bias - mean * factor).astype(np.float32),
      # As in Flax: the odd row of zeros comes last.
      auto_pad='SAME_UPPER',
      strides=[stride, stride],
    )
    return self._graph.node('Relu', x) if relu else x

  def channels(self, conv):
    """Of what a convolution gives."""
    return np.shape(self._params[conv]['kernel'])[3]

  def update(self, x, channels):
    """The whitened update of P by the two FC layers (Fig. 3)."""
    fc1, fc2 = (
      [np.asarray(self._params[name][part], np.float32) for part in ('kernel', 'bias')]
      for name in ('fc1', 'fc2')
    )
    hidden = fc1[0].shape[1]
    # Flax has a pixel's channels side by side, ONNX a channel's pixels.
    kernel = fc1[0].reshape(-1, channels, hidden).transpose(1, 0, 2)
    x = self._graph.node('Flatten', x)
    x = self._graph.node('Gemm', x, kernel.reshape(-1, hidden), fc1[1])
    norm = self._params.get('norm_fc1')  # of the blocks that have one
    if norm:
      scale, bias = (np.asarray(norm[name], np.float32) for name in ('scale', 'bias'))
      x = self._graph.node(
        'LayerNormalization', x, scale, bias, epsilon=blocks.LAYER_NORM_EPSILON
      )
    return self._graph.node('Gemm', self._graph.node('Relu', x), *fc2)


def _plain_block(graph, config, layers, index, image, features, visualization):
  """`blocks.VisualizationBlock`."""
  x = _joined(graph, image, features, visualization)
  for local in range(1, config.convs_per_block + 1):
    x = layers.conv(x, f'conv{local}', f'bn{local}')
    if index == 0 and local == 1 and config.stem_pool > 1:
      x = _pooled(graph, 'MaxPool', x, config.stem_pool)
  features = x
  if config.fc_pool > 1:
    x = _pooled(graph, 'AveragePool', x, config.fc_pool)
  return features, layers.update(x, layers.channels(f'conv{config.convs_per_block}'))


def _residual_block(graph, config, layers, index, image, features, visualization):
  """`blocks.ResidualBlock`."""
  conv = lambda x, name, **options: layers.conv(
    x, f'conv_{name}', f'norm_{name}', **options
  )
  x = _joined(graph, image, visualization)
  if index == 0:
    x = _folded(graph, x, config.stem_pool)
    x = skip = conv(conv(x, 'entry1'), 'entry2', stride=2)
  else:
    x, skip = _folded(graph, x, 2), features
    if features is None:
      skip = conv(x, 'entry')
    else:
      x = _joined(graph, x, features)
  for unit in range(1, config.units[index] + 1):
    x = conv(conv(x, f'unit{unit}a'), f'unit{unit}b', relu=False)
    x = skip = graph.node('Relu', skip + x)
  last = conv(x, 'last', stride=2)
  return x, layers.update(last, layers.channels('conv_last'))


def _joined(graph, *parts):
  return graph.concat([x for x in parts if x is not None], axis=1)


def _pooled(graph, operation, x, size):
  return graph.node(operation, x, kernel_shape=[size, size], strides=[size, size])


def _folded(graph, x, factor):
  """factor x factor pixels to channels, in the order of `blocks`."""
  return graph.node('SpaceToDepth', x, blocksize=factor)
