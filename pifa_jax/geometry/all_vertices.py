"""The visualization without its depth test: every vertex that faces the camera counts.

Fig. 5 keeps the nearest vertex of a pixel cell. This is V without that choice, to see
what the choice is worth: far sides of the face shine through near ones.
"""

import jax
import jax.numpy as jnp

from pifa_jax.geometry import masks, morphable_model, projection
from pifa_jax.geometry.visualization import (
  DEFAULT_RADIUS,
  DEFAULT_SIGMA,
  cells,
  check_image,
)
from pifa_jax.types import Array, FaceParams, MorphableModel


def visualize_all(
  model: MorphableModel,
  face_params: FaceParams,
  *,
  image_size: int,
  mask: str | Array = 'nose',
  sigma: float = DEFAULT_SIGMA,
  radius: int = DEFAULT_RADIUS,
) -> jax.Array:
  """Renders V as `visualization.visualize` does, but no vertex hides another one.

  Eqs. (8)-(10) with all vertices of g > 0 in place of the kept ones of Fig. 5. Costs
  O(Q (2 radius + 1)^2).

  Args:
    model: the 3DMM; its region 'rendered', if any, says which vertices to render.
    face_params: P of one face, in pixels of V.
    image_size: H = W of V, pixels.
    mask: a kind of `masks.vertex_mask`, or its (Q,) values.
    sigma: of Eq. (10), pixels.
    radius: D(u, v) holds the (2 radius + 1)^2 cells around (u, v).

  Returns:
    (image_size, image_size) V, indexed [v, u]; 0 where the window is empty.

  Raises:
    ValueError: for an unknown mask, or a size or radius that is not positive.
  """
  check_image(image_size, sigma, radius)
  model, face_params = jax.tree.map(jnp.asarray, (model, face_params))
  if isinstance(mask, str):
    mask = masks.vertex_mask(model, mask)
  ids = masks.rendered_vertices(model)
  vertices = morphable_model.shape(model, face_params)[ids]
  positions = projection.project(face_params.camera, vertices)
  front = projection.frontability(face_params.camera, model.mean_normals[ids])
  values = front * jnp.asarray(mask)[ids]
  outside = image_size * image_size
  own = cells(positions, projection.is_visible(front), image_size)
  counts = own < outside
  # A vertex that does not count must not reach the exponentials.
  x, y = jnp.where(counts[:, None], positions, 0.0).T
  # Every vertex reaches the pixels around its own: (window, Q).
  offsets = jnp.arange(-radius, radius + 1)
  down, right = (x.reshape(-1, 1) for x in jnp.meshgrid(offsets, offsets))
  v, u = own // image_size + down, own % image_size + right
  inside = counts & (u >= 0) & (u < image_size) & (v >= 0) & (v < image_size)
  weight = jnp.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2))
  weight = jnp.where(inside, weight, 0.0)
  cell = jnp.where(inside, v * image_size + u, outside)
  terms = jnp.stack([weight * values, weight], axis=-1)
  sums = jnp.zeros((outside, 2), positions.dtype).at[cell].add(terms, mode='drop')
  numerator, denominator = sums.T
  filled = denominator > 0
  average = jnp.where(filled, numerator / jnp.where(filled, denominator, 1.0), 0.0)
  return average.reshape(image_size, image_size)
