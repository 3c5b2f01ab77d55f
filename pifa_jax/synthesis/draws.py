"""Random numbers of one sample, handed out in order from one key."""

import jax
import jax.numpy as jnp

from pifa_jax.types import Array


class Draws:
  """A stream of random numbers.

  One block of uniform numbers is drawn and cut up: dozens of separate draws would
  cost more to compile than all the drawing does. The numbers depend on the key and
  on the order of the calls alone.
  """

  def __init__(self, key: Array, count: int):
    """Makes the stream.

    Args:
      key: a key.
      count: how many numbers there are.
    """
    # Behind a barrier, so that no loop over pixels computes them over and over.
    block = jax.random.uniform(key, (count,))
    self._uniform, self._normal = jax.lax.optimization_barrier(
      (block, jax.scipy.special.ndtri(jnp.clip(block, 3.2e-5, 1 - 3.2e-5)))
    )
    self._at = 0

  def _take(self, block, shape):
    count = 1
    for side in shape:
      count *= side
    if self._at + count > block.shape[0]:
      raise ValueError(
        f'Draws: more than {block.shape[0]} numbers wanted; make the stream longer.'
      )
    part = block[self._at : self._at + count].reshape(shape)
    self._at += count
    return part

  def uniform(
    self,
    low: Array | float = 0.0,
    high: Array | float = 1.0,
    shape: tuple[int, ...] = (),
  ) -> jax.Array:
    """Uniform numbers in [low, high)."""
    return low + (high - low) * self._take(self._uniform, shape)

  def normal(
    self,
    mean: Array | float = 0.0,
    stddev: Array | float = 1.0,
    shape: tuple[int, ...] = (),
  ) -> jax.Array:
    """Normal numbers, cut at 4 deviations."""
    return mean + stddev * self._take(self._normal, shape)

  def chance(self, probability: Array | float) -> jax.Array:
    """() bool, True with this probability; never at 0, always at 1."""
    return self._take(self._uniform, ()) < probability

  def choice(self, weights: tuple[float, ...]) -> jax.Array:
    """() int32 index, with odds proportional to the weights."""
    steps = jnp.cumsum(jnp.asarray(weights, jnp.float32))
    return jnp.searchsorted(
      steps / steps[-1], self._take(self._uniform, ()), side='right'
    )
