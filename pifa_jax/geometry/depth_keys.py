"""64-bit keys that order things by depth, then by index.

One scatter-min of such keys decides "the nearest, ties to the lowest index"
exactly, on every backend. 64-bit types are switched on inside these functions
alone. Callers pass keys on and do not look into them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.types import Array

_EMPTY = np.uint64(2**64 - 1)


def ordered_bits(depth: Array) -> jax.Array:
  """uint32 that sort as the float32 depths do.

  Args:
    depth: any shape; -0 equals +0, NaN comes last.

  Returns:
    uint32 of the same shape. Carries no gradient.
  """
  depth = jax.lax.stop_gradient(jnp.asarray(depth, jnp.float32))
  depth = jnp.where(jnp.isnan(depth), jnp.inf, depth) + 0.0
  bits = jax.lax.bitcast_convert_type(depth, jnp.uint32)
  # Flip every bit of a negative number, the sign bit of the others.
  return jnp.where((bits >> 31).astype(bool), ~bits, bits | jnp.uint32(0x80000000))


def empty(num_cells: int) -> jax.Array:
  """Keys of cells that nothing fell in yet.

  Args:
    num_cells: C.

  Returns:
    (C,) keys.
  """
  with jax.enable_x64(True):
    return jnp.full(num_cells, _EMPTY, jnp.uint64)


def scatter_nearest(
  keys: jax.Array, cells: Array, bits: Array, index: Array
) -> jax.Array:
  """Puts things into cells, keeping the nearest of each.

  Args:
    keys: (C,) of `empty` or an earlier call.
    cells: (n,) int32; numbers outside [0, C) are dropped.
    bits: (n,) of `ordered_bits`.
    index: (n,) int32 >= 0, what to remember.

  Returns:
    (C,) keys.
  """
  with jax.enable_x64(True):
    new = (bits.astype(jnp.uint64) << jnp.uint64(32)) | index.astype(jnp.uint64)
    return keys.at[cells].min(new, mode='drop')


def winning_index(keys: jax.Array) -> jax.Array:
  """The nearest thing of every cell.

  Args:
    keys: (C,) of `scatter_nearest`.

  Returns:
    (C,) int32 index, -1 where there is none.
  """
  with jax.enable_x64(True):
    return jnp.where(
      keys == _EMPTY, jnp.int32(-1), keys.astype(jnp.uint32).astype(jnp.int32)
    )


def nearest_depth(keys: jax.Array) -> jax.Array:
  """The depth of the nearest thing of every cell.

  Args:
    keys: (C,) of `scatter_nearest`.

  Returns:
    (C,) float32, in the unit of the depths; infinite where there is none.
  """
  with jax.enable_x64(True):
    bits = (keys >> jnp.uint64(32)).astype(jnp.uint32)
    none = keys == _EMPTY
  # The inverse of `ordered_bits`.
  bits = jnp.where((bits >> 31).astype(bool), bits ^ jnp.uint32(0x80000000), ~bits)
  return jnp.where(none, jnp.inf, jax.lax.bitcast_convert_type(bits, jnp.float32))
