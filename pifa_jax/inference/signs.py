"""What a network's own results say of how well they fit: signs of agreement.

A lost face is found out without labels: its mirror image is fitted elsewhere, another
pass moves it, its shape is one that no face has.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.types import Array, FaceParams, MorphableModel

# Of one call of the network; 'mirror' only if the mirrored crop was fitted, too.
OF_A_CALL = ('mirror', 'blocks', 'identity', 'expression', 'size', 'offset')
# Of a pass against the one before, and of a result against the given box.
OF_A_SEARCH = ('moved', 'given_size', 'given_offset')
# Below these a logarithm would take rounding for agreement.
_LEAST = 1e-3


def box_side(points: Array) -> jax.Array:
  """The square root of the area of the points' box.

  Args:
    points: (N, 2) pixels.

  Returns:
    () pixels, at least 1.
  """
  sides = jnp.maximum(jnp.ptp(points, axis=0), 1.0)
  return jnp.sqrt(jnp.prod(sides))


def of_a_call(
  model: MorphableModel,
  face: FaceParams,
  points: Array,
  before: Array,
  of_mirror: Array | None,
  crop_size: int,
) -> dict[str, jax.Array]:
  """The signs of one call.

  Args:
    model: gives the standard deviations of the coefficients.
    face: P in crop pixels.
    points: (N, 2) its landmarks, crop pixels.
    before: (N, 2) the same before the last block.
    of_mirror: (2, N, 2) the landmarks that the crop and the mirrored crop gave, each
      brought back to the crop; None = there was no mirrored crop.
    crop_size: pixels.

  Returns:
    Logarithms; 'size' is signed: log of the landmarks' box over the crop.
  """
  side = box_side(points)
  distance = lambda a, b: jnp.mean(jnp.linalg.norm(a - b, axis=-1)) / side
  log = lambda value: jnp.log(value + _LEAST)
  rms = lambda values, deviations: jnp.sqrt(
    jnp.sum((values / deviations) ** 2) / max(values.size, 1)
  )
  middle = (jnp.min(points, axis=0) + jnp.max(points, axis=0)) / 2
  found = {
    'blocks': log(distance(points, before)),
    'identity': log(rms(face.identity, model.identity_stddev)),
    'expression': log(rms(face.expression, model.expression_stddev)),
    'size': jnp.log(side / crop_size),
    'offset': log(jnp.linalg.norm(middle - (crop_size - 1) / 2) / side),
  }
  if of_mirror is not None:
    found['mirror'] = log(distance(of_mirror[0], of_mirror[1]))
  return found


def of_a_search(
  points: np.ndarray, before: np.ndarray | None, given: np.ndarray
) -> dict[str, float]:
  """The signs of a result in the photo.

  Args:
    points: (N, 2) landmarks, photo pixels.
    before: (N, 2) those of the pass before; None = it was the first.
    given: (4,) the box that was given.

  Returns:
    'moved' unless there was no pass before; 'given_size' and 'given_offset'.
  """
  low, high = points.min(axis=0), points.max(axis=0)
  side = float(np.sqrt(np.prod(np.maximum(high - low, 1.0))))
  given_side = float(np.sqrt(given[2] * given[3]))
  shift = float(np.linalg.norm((low + high) / 2 - (given[:2] + given[2:] / 2)))
  found = {
    'given_size': float(np.log(side / given_side)),
    'given_offset': float(np.log(shift / given_side + _LEAST)),
  }
  if before is not None:
    distance = float(np.linalg.norm(points - before, axis=1).mean())
    found['moved'] = float(np.log(distance / side + _LEAST))
  return found
