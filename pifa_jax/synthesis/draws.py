"""A stream of random numbers from one key."""

import jax
import jax.numpy as jnp

from pifa_jax.types import Array


class Draws:
  """A stream of random numbers.

  One block of uniform numbers is drawn at once, and each call takes the next ones:
  dozens of separate draws would take longer to compile than the whole renderer. The
  numbers depend on the key and on the order of the calls alone.
  """

  def __init__(self, key: Array, count: int):
    """Makes the stream.

    Args:
      key: a key.
      count: the most numbers that will be taken.
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
        f'Draws: the stream has {block.shape[0]} numbers, {self._at + count} are '
        'wanted; make it with a larger count.'
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
    """Takes uniform numbers in [low, high).

    Args:
      low: bound, broadcast to the shape.
      high: bound, likewise.
      shape: of the result.

    Returns:
      Float32 of that shape, or of what the bounds broadcast it to.

    Raises:
      ValueError: if the stream has too few numbers left.
    """
    return low + (high - low) * self._take(self._uniform, shape)

  def normal(
    self,
    mean: Array | float = 0.0,
    stddev: Array | float = 1.0,
    shape: tuple[int, ...] = (),
  ) -> jax.Array:
    """Takes normal numbers, cut at 4 standard deviations.

    Args:
      mean: broadcast to the shape.
      stddev: standard deviation, likewise.
      shape: of the result.

    Returns:
      Float32 of that shape, or of what the arguments broadcast it to.

    Raises:
      ValueError: if the stream has too few numbers left.
    """
    return mean + stddev * self._take(self._normal, shape)

  def chance(self, probability: Array | float) -> jax.Array:
    """Is true with a probability: never at 0, always at 1.

    Args:
      probability: in [0, 1].

    Returns:
      () bool.

    Raises:
      ValueError: if the stream has no number left.
    """
    return self._take(self._uniform, ()) < probability

  def choice(self, weights: tuple[float, ...]) -> jax.Array:
    """Chooses one of several.

    Args:
      weights: the odds, in any unit.

    Returns:
      () int32 index.

    Raises:
      ValueError: if the stream has no number left.
    """
    steps = jnp.cumsum(jnp.asarray(weights, jnp.float32))
    return jnp.searchsorted(
      steps / steps[-1], self._take(self._uniform, ()), side='right'
    )
