"""Batch normalisation against Flax's, in values, statistics and gradients."""

import functools

from absl.testing import absltest, parameterized
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.learning import normalization


class _Reference(nn.Module):
  """The same of Flax's own parts."""

  train: bool
  relu: bool

  @nn.compact
  def __call__(self, x):
    x = nn.BatchNorm(
      use_running_average=not self.train, momentum=0.9, name='bn', epsilon=1e-5
    )(x)
    return nn.relu(x) if self.relu else x


class _Ours(nn.Module):
  train: bool
  relu: bool

  @nn.compact
  def __call__(self, x):
    return normalization.BatchNorm(
      train=self.train, momentum=0.9, relu=self.relu, name='bn'
    )(x)


def _inputs():
  keys = jax.random.split(jax.random.key(0), 4)
  x = 3 + 2 * jax.random.normal(keys[0], (4, 5, 3, 6))
  bn = {
    'scale': 1 + 0.3 * jax.random.normal(keys[1], (6,)),
    'bias': jax.random.normal(keys[2], (6,)),
  }
  stats = {'mean': jnp.linspace(1, 4, 6), 'var': jnp.linspace(0.5, 5, 6)}
  cotangent = jax.random.normal(keys[3], x.shape)
  return x, {'params': {'bn': bn}, 'batch_stats': {'bn': stats}}, cotangent


class BatchNormTest(parameterized.TestCase):
  @parameterized.product(train=(True, False), relu=(True, False))
  def test_equals_flax(self, train, relu):
    x, variables, cotangent = _inputs()

    def both(module):
      def run(params, x):
        y, new = module(train=train, relu=relu).apply(
          {**variables, 'params': params}, x, mutable=['batch_stats']
        )
        return jnp.sum(y * cotangent), (y, new['batch_stats'])

      return jax.value_and_grad(run, argnums=(0, 1), has_aux=True)(
        variables['params'], x
      )

    jax.tree.map(
      functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5),
      both(_Ours),
      both(_Reference),
    )

  def test_over_devices_as_over_the_whole_batch(self):
    x, variables, cotangent = _inputs()
    bn = variables['params']['bn']

    def loss(x, cotangent, axis_name):
      y, mean, var = normalization.normalize(
        x, bn['scale'], bn['bias'], axis_name, True
      )
      return jnp.sum(y * cotangent), (mean, var)

    whole = jax.value_and_grad(loss, has_aux=True)(x, cotangent, None)
    split = lambda a: a.reshape(2, 2, *a.shape[1:])
    parts = jax.vmap(
      jax.value_and_grad(functools.partial(loss, axis_name='d'), has_aux=True),
      axis_name='d',
    )(split(x), split(cotangent))
    np.testing.assert_allclose(jnp.sum(parts[0][0]), whole[0][0], rtol=1e-4)
    np.testing.assert_allclose(parts[0][1][0][1], whole[0][1][0], rtol=1e-5)
    np.testing.assert_allclose(parts[1].reshape(x.shape), whole[1], atol=2e-5)


if __name__ == '__main__':
  absltest.main()
