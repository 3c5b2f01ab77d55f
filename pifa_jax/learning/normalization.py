"""Batch normalisation and ReLU in one pass, with the adjoint written out.

The adjoint that comes of differentiating flax.linen.BatchNorm takes as long on a CPU as
the convolution beside it: it writes and reads every array several times.
BUILD_NOTES.md D-93.
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from pifa_jax.types import Array

EPSILON = 1e-5  # added to the variance


class BatchNorm(nn.Module):
  """`flax.linen.BatchNorm` over all axes but the last, with an optional ReLU after it.

  Weights and statistics have the names of Flax: scale, bias; mean, var. Ioffe and
  Szegedy, 2015.

  Attributes:
    train: statistics of the batch (True) or the running ones (False).
    momentum: decay of the old running statistics.
    axis_name: the mapped axis over which statistics are averaged.
    relu: whether ReLU follows.
    scale_init: of the scale.
  """

  train: bool
  momentum: float
  axis_name: str | None = None
  relu: bool = True
  scale_init: nn.initializers.Initializer = nn.initializers.ones

  @nn.compact
  def __call__(self, x: Array) -> jax.Array:
    """Normalises.

    Args:
      x: (..., channels).

    Returns:
      The same shape and type.
    """
    channels = (x.shape[-1],)
    mean = self.variable('batch_stats', 'mean', jnp.zeros, channels)
    var = self.variable('batch_stats', 'var', jnp.ones, channels)
    scale = self.param('scale', self.scale_init, channels)
    bias = self.param('bias', nn.initializers.zeros, channels)
    if not self.train:
      factor = scale * jax.lax.rsqrt(var.value + EPSILON)
      y = _apply(x, factor, bias - mean.value * factor, self.relu)
      return y.astype(x.dtype)
    y, batch_mean, batch_var = normalize(x, scale, bias, self.axis_name, self.relu)
    if not self.is_initializing():
      keep = self.momentum
      mean.value = keep * mean.value + (1 - keep) * batch_mean
      var.value = keep * var.value + (1 - keep) * batch_var
    return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalize(
  x: Array, scale: Array, bias: Array, axis_name: str | None, relu: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Batch normalisation by the statistics of this batch; no gradient through these.

  Args:
    x: (..., channels).
    scale: (channels,).
    bias: (channels,).
    axis_name: the mapped axis over which statistics are averaged, or None.
    relu: whether ReLU follows.

  Returns:
    The normalised array, and mean and variance, (channels,) each, which carry no
    gradient.
  """
  return _normalize_fwd(x, scale, bias, axis_name, relu)[0]


def _apply(x, factor, offset, relu):
  y = x.astype(jnp.float32) * factor + offset
  return jax.nn.relu(y) if relu else y


def _mean(values, axis_name):
  return values if axis_name is None else jax.lax.pmean(values, axis_name)


def _normalize_fwd(x, scale, bias, axis_name, relu):
  axes = tuple(range(x.ndim - 1))
  wide = x.astype(jnp.float32)
  mean, square = _mean(
    (jnp.mean(wide, axes), jnp.mean(jnp.square(wide), axes)), axis_name
  )
  var = jnp.maximum(square - jnp.square(mean), 0.0)
  inverse = jax.lax.rsqrt(var + EPSILON)
  factor = scale * inverse
  offset = bias - mean * factor
  y = _apply(x, factor, offset, relu).astype(x.dtype)
  return (y, mean, var), (x, mean, inverse, scale, bias)


def _normalize_bwd(axis_name, relu, saved, cotangents):
  x, mean, inverse, scale, bias = saved
  dy, _, _ = cotangents
  axes = tuple(range(x.ndim - 1))
  wide, dy = x.astype(jnp.float32), dy.astype(jnp.float32)
  factor = scale * inverse
  if relu:  # its sign once more, rather than an array to keep
    dy = jnp.where(wide * factor + (bias - mean * factor) > 0, dy, 0.0)
  dbias = jnp.sum(dy, axes)
  dscale = (jnp.sum(dy * wide, axes) - mean * dbias) * inverse
  count = x.size // x.shape[-1]
  # The whole batch: its mean and its projection on x come off.
  of_bias, of_scale = _mean((dbias / count, dscale / count), axis_name)
  slope = factor * inverse * of_scale
  dx = dy * factor - wide * slope - (factor * of_bias - mean * slope)
  return dx.astype(x.dtype), dscale, dbias


normalize.defvjp(_normalize_fwd, _normalize_bwd)
