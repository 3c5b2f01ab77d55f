"""The visualization blocks: Table 1's (Fig. 3), and one of residual units."""

from flax import linen as nn
import jax
import jax.numpy as jnp

from pifa_jax.learning.network_config import NetworkConfig
from pifa_jax.learning.normalization import BatchNorm
from pifa_jax.types import Array

ENTRY_CHANNELS = 32  # at a quarter of the crop, before the residual units
LAYER_NORM_EPSILON = 1e-6
LAST_CHANNELS = 32  # at a sixteenth of the crop, before the FC layers


def make_block(config: NetworkConfig, **fields) -> nn.Module:
  """The block that the configuration asks for.

  Args:
    config: the network's.
    **fields: of the block.

  Returns:
    A block that has not been called.
  """
  return (ResidualBlock if config.units else VisualizationBlock)(config, **fields)


class _Block(nn.Module):
  """What all blocks share: the interface, and the update of P.

  Attributes:
    config: the network's.
    index: of the block, from 0.
    update_size: 8 + N_I + N_E.
    axis_name: the mapped axis over which batch statistics are averaged.
  """

  config: NetworkConfig
  index: int
  update_size: int
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    image: Array | None,
    features: Array | None,
    visualization: Array | None,
    *,
    train: bool,
    dropout_keys: Array | None,
  ) -> tuple[Array, Array]:
    """Maps I, F and V to the next F and the whitened update.

    Args:
      image: I, (B, H, W, 3), or None.
      features: F of the block before, (B, h, w, channels), or None.
      visualization: V, (B, H, W, 1), or None.
      train: batch statistics and dropout (True) or the running ones (False).
      dropout_keys: (B,) a key a sample; needed when training.

    Returns:
      (B, h, w, c) features in the config's precision, and (B, update_size) float32.
    """
    cfg = self.config
    features, last = self._convolutions(image, features, visualization, train)
    x = last.reshape((last.shape[0], -1))
    x = nn.relu(self._hidden(nn.Dense(cfg.hidden_size, dtype=x.dtype, name='fc1')(x)))
    if train and cfg.dropout > 0:
      x = _dropout(x, dropout_keys, cfg.dropout)
    # Near zero: training starts from the mean face in the box, P = P^0. In float32:
    # P adds up the updates of all blocks, and this product is a thousandth of fc1's.
    update = nn.Dense(
      self.update_size,
      name='fc2',
      dtype=jnp.float32,
      kernel_init=nn.initializers.normal(1e-3),
    )(x)
    return features, update

  def _convolutions(self, image, features, visualization, train):
    """The next F, and what the FC layers see."""
    raise NotImplementedError

  def _hidden(self, x):
    """Of the first FC layer, before ReLU."""
    return x

  def _conv(self, x, channels, name, *, size=3, stride=1):
    return nn.Conv(
      channels,
      (size, size),
      strides=stride,
      padding='SAME',
      use_bias=False,
      kernel_init=nn.initializers.he_normal(),
      dtype=x.dtype,
      name=name,
    )(x)

  def _norm(self, x, train, name, *, relu=True, scale_init=nn.initializers.ones):
    """Normalisation, and ReLU unless it comes later."""
    return BatchNorm(
      train=train,
      momentum=self.config.batch_norm_momentum,
      axis_name=self.axis_name,
      relu=relu,
      scale_init=scale_init,
      name=name,
    )(x)


class VisualizationBlock(_Block):
  """One visualization block (Fig. 3): convolutions, then the update of P."""

  def _convolutions(self, image, features, visualization, train):
    cfg = self.config
    # The order of Fig. 3.
    x = _joined(image, features, visualization).astype(jnp.dtype(cfg.precision))
    first = self.index * cfg.convs_per_block
    for conv in range(first, first + cfg.convs_per_block):
      local = conv - first + 1
      x = self._conv(x, cfg.channels[conv], f'conv{local}', size=cfg.kernels[conv])
      x = self._norm(x, train, f'bn{local}')
      if conv == 0 and cfg.stem_pool > 1:
        pool = (cfg.stem_pool, cfg.stem_pool)
        x = nn.max_pool(x, pool, strides=pool)
    last = x
    if cfg.fc_pool > 1:
      pool = (cfg.fc_pool, cfg.fc_pool)
      last = nn.avg_pool(x, pool, strides=pool)
    return x, last


class ResidualBlock(_Block):
  """A visualization block whose convolutions are residual units (He et al., 2016).

  I and V have four (block 1) or two times the side of F. They are folded to the side of
  F, k x k pixels to k^2 channels: nothing is lost, and every product is large enough to
  be fast. BUILD_NOTES.md D-93.
  """

  def _convolutions(self, image, features, visualization, train):
    cfg = self.config
    x = _joined(image, visualization).astype(jnp.dtype(cfg.precision))
    if self.index == 0:
      x = self._layer(fold(x, cfg.stem_pool), ENTRY_CHANNELS, train, 'entry1')
      x = skip = self._layer(x, cfg.width, train, 'entry2', stride=2)
    else:
      x, skip = fold(x, 2), features
      if features is None:
        skip = self._layer(x, cfg.width, train, 'entry')
      else:
        x = _joined(x, features)
    for index in range(cfg.units[self.index]):
      x = skip = self._unit(x, skip, train, f'unit{index + 1}')
    return x, self._layer(x, LAST_CHANNELS, train, 'last', stride=2)

  def _hidden(self, x):
    # Of one sample, not of the batch. Adam moves all weights of a unit the same way and
    # all inputs are positive: without it most units are below 0 for good in few steps.
    return nn.LayerNorm(LAYER_NORM_EPSILON, dtype=x.dtype, name='norm_fc1')(x)

  def _layer(self, x, channels, train, name, stride=1):
    x = self._conv(x, channels, f'conv_{name}', stride=stride)
    return self._norm(x, train, f'norm_{name}')

  def _unit(self, x, skip, train, name):
    width = self.config.width
    # Later blocks change little: half the filters between their two convolutions.
    x = self._layer(x, width if self.index == 0 else width // 2, train, f'{name}a')
    x = self._conv(x, width, f'conv_{name}b')
    # Zero: a new unit passes its input on unchanged (Goyal et al., 2017).
    zeros = nn.initializers.zeros
    x = self._norm(x, train, f'norm_{name}b', relu=False, scale_init=zeros)
    return nn.relu(skip + x)


def _joined(*parts):
  return jnp.concatenate([x for x in parts if x is not None], axis=-1)


def fold(x: Array, factor: int) -> jax.Array:
  """Moves factor x factor pixels to the channels: nothing is lost.

  Args:
    x: (B, H, W, C); the sides are multiples of the factor.
    factor: of the sides.

  Returns:
    (B, H / factor, W / factor, factor^2 C).
  """
  b, h, w, c = x.shape
  split = jnp.reshape(x, (b, h // factor, factor, w // factor, factor, c))
  return split.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // factor, w // factor, -1)


def _dropout(x, keys, rate):
  # One key a sample, not one a batch: the same units drop on any device count.
  keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
  return jnp.where(keep, x / (1 - rate), 0.0)
