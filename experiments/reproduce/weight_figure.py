"""Fig. 7: how large the first weights of every block are, by the kind of input."""

from collections.abc import Mapping
import csv
import pathlib
from typing import Any

import numpy as np

from experiments.lib import figures, output_files
from pifa_jax.learning import network_config
from pifa_jax.learning.network_config import NetworkConfig

# Kinds of input, as Fig. 7 names them.
KINDS = {'I': 'input image', 'V': 'visualization', 'F': 'feature maps'}
_COLORS = {'I': 'tab:blue', 'V': 'tab:green', 'F': 'tab:red'}
# Panels: the letter of an architecture, by the inputs of its blocks (Fig. 6).
ARCHITECTURES = dict(zip(network_config.INPUTS, 'abc', strict=True))
_IMAGE_CHANNELS = 3


def mean_weights(
  config: NetworkConfig, params: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """The mean |w| over the first convolution of every block, by kind of input.

  Sec. 4.3, Fig. 7: the average over the kernel and over the maps of one kind. Of their
  absolute values: weights of both signs would cancel out.

  Args:
    config: of the network.
    params: its weights, variables['params'].

  Returns:
    'I', 'V', 'F' -> (N_v,), NaN for a block that does not see this kind.

  Raises:
    ValueError: if the weights are of another network.
  """
  found = {kind: np.full(config.num_blocks, np.nan) for kind in KINDS}
  for index in range(config.num_blocks):
    block, layer = f'block{index + 1}', first_layer(config, index)
    try:
      kernel = np.asarray(params[block][layer]['kernel'], np.float64)
    except KeyError as error:
      raise ValueError(
        f'The weights have no {block}/{layer}, the first layer of their network; give '
        'the configuration that they were trained with.'
      ) from error
    channels = input_channels(config, index)
    wanted = sum(map(len, channels.values()))
    if kernel.shape[2] != wanted:
      raise ValueError(
        f'{block}/{layer} has {kernel.shape[2]} input channels, its network '
        f'{wanted}; give the configuration that the weights were trained with.'
      )
    for kind, places in channels.items():
      if len(places):
        found[kind][index] = np.abs(kernel[:, :, places]).mean()
  return found


def first_layer(config: NetworkConfig, index: int) -> str:
  """The name of the first convolution of a block.

  A later residual block has a way around it, which is not counted: F itself, or in
  architecture c 'conv_entry'.

  Args:
    config: of the network.
    index: of the block, from 0.

  Returns:
    As `learning.blocks` calls it.
  """
  if not config.units:
    return 'conv1'
  if index == 0:
    return 'conv_entry1'
  return 'conv_unit1a'


def input_channels(config: NetworkConfig, index: int) -> dict[str, np.ndarray]:
  """Which input channels of a block's first convolution are I, F and V (Fig. 6).

  Args:
    config: of the network.
    index: of the block, from 0.

  Returns:
    'I', 'V', 'F' -> channel numbers; none of a kind that the block does not see.
  """
  image = _IMAGE_CHANNELS if index == 0 or 'I' in config.inputs else 0
  features = 0
  if index > 0 and 'F' in config.inputs:
    before = index * config.convs_per_block - 1
    features = config.width if config.units else config.channels[before]
  drawn = int(config.visualization)
  if not config.units:
    # The order of Fig. 3: I, F, V.
    kinds = 'I' * image + 'F' * features + 'V' * drawn
  else:
    # I and V are folded: k x k pixels lie one after the other.
    side = config.stem_pool if index == 0 else 2
    kinds = ('I' * image + 'V' * drawn) * side**2 + 'F' * features
  return {
    kind: np.array([i for i, k in enumerate(kinds) if k == kind], int) for kind in KINDS
  }


def draw_weights(
  networks: Mapping[str, tuple[NetworkConfig, Mapping[str, Any]]], folder: pathlib.Path
) -> list[pathlib.Path]:
  """Writes Fig. 7 and its numbers.

  Args:
    networks: 'IFV', 'FV' or 'IV' -> a trained network of this architecture: its
      configuration and weights.
    folder: where figure_7.csv goes, and figure_7.png if matplotlib is installed.

  Returns:
    The files.

  Raises:
    ValueError: if there is no network, or the weights are of another one.
  """
  if not networks:
    raise ValueError('Fig. 7 needs the weights of at least one architecture.')
  means = {
    inputs: mean_weights(*networks[inputs])
    for inputs in ARCHITECTURES
    if inputs in networks
  }
  table = folder / 'figure_7.csv'
  with output_files.new_table(table) as file:
    writer = csv.writer(file)
    writer.writerow(['architecture', 'input', 'block', 'mean_absolute_weight'])
    for inputs, by_kind in means.items():
      for kind, values in by_kind.items():
        for block, value in enumerate(values, 1):
          if np.isfinite(value):
            writer.writerow([ARCHITECTURES[inputs], kind, block, f'{value:.6g}'])
  picture = folder / 'figure_7.png'
  return [picture, table] if _plot(means, picture) else [table]


def _plot(means, path) -> bool:
  canvas = figures.figure(4.2 * len(means), 3.6)
  if canvas is None:
    return False
  axes = canvas.subplots(1, len(means), sharey=True, squeeze=False)[0]
  for axis, (inputs, by_kind) in zip(axes, means.items(), strict=True):
    for kind, values in by_kind.items():
      if np.isfinite(values).any():
        blocks = np.arange(1, len(values) + 1)
        axis.plot(blocks, values, marker='o', color=_COLORS[kind], label=KINDS[kind])
    axis.set(
      title=f'architecture {ARCHITECTURES[inputs]} ({", ".join(inputs)})',
      xlabel='block',
      xticks=blocks,
    )
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
  # Once all are drawn: a limit fixes the axis that they share.
  axes[0].set_ylim(bottom=0)
  axes[0].set_ylabel('mean |w| of the first layer')
  figures.save(canvas, path)
  return True
