"""The visualization blocks: Table 1's (Fig. 3), and one of residual units."""

from flax import linen as nn
import jax
import jax.numpy as jnp

from pifa_jax.learning.network_config import NetworkConfig
from pifa_jax.learning.normalization import BatchNorm
from pifa_jax.types import Array

_ENTRY_CHANNELS = 32  # at a quarter of the crop, before the residual units
_LAST_CHANNELS = 32  # at a sixteenth of the crop, before the FC layers


def make_block(config: NetworkConfig, **fields) -> nn.Module:
  """The block that the configuration asks for.

  Args:
    config: the network's.
    **fields: of the block.

  Returns:
    A block that has not been called.
  """
  return (ResidualBlock if config.units else VisualizationBlock)(config, **fields)


class VisualizationBlock(nn.Module):
  """One visualization block (Fig. 3): convolutions, then the update of P.

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
      features: F of the block before, (B, H, W, channels), or None.
      visualization: V, (B, H, W, 1), or None.
      train: batch statistics and dropout (True) or the running ones (False).
      dropout_keys: (B,) a key a sample; needed when training.

    Returns:
      (B, h, w, c) features after BN and ReLU in the config's precision, and
      (B, update_size) float32.
    """
    cfg = self.config
    dtype = jnp.dtype(cfg.precision)
    x = _joined(image, features, visualization).astype(dtype)
    first = self.index * cfg.convs_per_block
    for conv in range(first, first + cfg.convs_per_block):
      local = conv - first + 1
      x = _conv(cfg, cfg.channels[conv], f'conv{local}', size=cfg.kernels[conv])(x)
      x = _norm(cfg, train, self.axis_name, f'bn{local}')(x)
      if conv == 0 and cfg.stem_pool > 1:
        pool = (cfg.stem_pool, cfg.stem_pool)
        x = nn.max_pool(x, pool, strides=pool)
    features = x
    if cfg.fc_pool > 1:
      pool = (cfg.fc_pool, cfg.fc_pool)
      x = nn.avg_pool(x, pool, strides=pool)
    return features, _update(cfg, x, self.update_size, train, dropout_keys)


class ResidualBlock(nn.Module):
  """A visualization block whose convolutions are residual units (He et al., 2016).

  I and V have four (block 1) or two times the side of F. They are folded to the side of
  F, k x k pixels to k^2 channels: nothing is lost, and every product is large enough to
  be fast. BUILD_NOTES.md D-93.

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
      features: F of the block before, (B, h, w, width), or None.
      visualization: V, (B, H, W, 1), or None.
      train: batch statistics and dropout (True) or the running ones (False).
      dropout_keys: (B,) a key a sample; needed when training.

    Returns:
      (B, h, w, width) features in the config's precision, and (B, update_size)
      float32.
    """
    cfg = self.config
    dtype = jnp.dtype(cfg.precision)

    def conv(x, channels, name, stride=1):
      return _conv(cfg, channels, f'conv_{name}', stride=stride)(x)

    def norm(x, name, **options):
      return _norm(cfg, train, self.axis_name, f'norm_{name}', **options)(x)

    # Later blocks change little: half the filters between their two convolutions.
    middle = cfg.width if self.index == 0 else cfg.width // 2

    def unit(x, skip, name):
      x = norm(conv(x, middle, f'{name}a'), f'{name}a')
      # Zero: a new unit passes its input on unchanged (Goyal et al., 2017).
      zeros = nn.initializers.zeros
      x = norm(conv(x, cfg.width, f'{name}b'), f'{name}b', relu=False, scale_init=zeros)
      return nn.relu(skip + x)

    x = _joined(image, visualization).astype(dtype)
    if self.index == 0:
      x = fold(x, cfg.stem_pool)
      x = norm(conv(x, _ENTRY_CHANNELS, 'entry1'), 'entry1')
      x = norm(conv(x, cfg.width, 'entry2', stride=2), 'entry2')
      skip = x
    else:
      x, skip = fold(x, 2), features
      if features is None:
        skip = norm(conv(x, cfg.width, 'entry'), 'entry')
      else:
        x = _joined(x, features)
    for index in range(cfg.units[self.index]):
      x = skip = unit(x, skip, f'unit{index + 1}')
    features = x
    x = norm(conv(x, _LAST_CHANNELS, 'last', stride=2), 'last')
    return features, _update(cfg, x, self.update_size, train, dropout_keys)


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
  x = x.reshape(b, h // factor, factor, w // factor, factor, c)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // factor, w // factor, -1)


def _conv(cfg, channels, name, *, size=3, stride=1):
  return nn.Conv(
    channels,
    (size, size),
    strides=stride,
    padding='SAME',
    use_bias=False,
    kernel_init=nn.initializers.he_normal(),
    dtype=jnp.dtype(cfg.precision),
    name=name,
  )


def _norm(cfg, train, axis_name, name, *, relu=True, scale_init=nn.initializers.ones):
  """Normalisation, and ReLU unless it comes later."""
  return BatchNorm(
    train=train,
    momentum=cfg.batch_norm_momentum,
    axis_name=axis_name,
    relu=relu,
    scale_init=scale_init,
    name=name,
  )


def _update(cfg, x, update_size, train, dropout_keys):
  """The whitened update of P, (B, update_size), by the two FC layers of Fig. 3."""
  x = x.reshape((x.shape[0], -1))
  x = nn.relu(nn.Dense(cfg.hidden_size, dtype=jnp.dtype(cfg.precision), name='fc1')(x))
  if train and cfg.dropout > 0:
    x = _dropout(x, dropout_keys, cfg.dropout)
  # Near zero: training starts from the mean face in the box, P = P^0. In float32:
  # P adds up the updates of all blocks, and this product is a thousandth of fc1's.
  return nn.Dense(
    update_size, name='fc2', dtype=jnp.float32, kernel_init=nn.initializers.normal(1e-3)
  )(x)


def _dropout(x, keys, rate):
  # One key a sample, not one a batch: the same units drop on any device count.
  keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
  return jnp.where(keep, x / (1 - rate), 0.0)
