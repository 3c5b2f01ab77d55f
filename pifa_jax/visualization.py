"""The visualization layer: Eqs. (8)-(10), Sec. 3.3, Fig. 5.

`visualize` is the layer, `visualize_dense` its slow twin that reads like the
equations. Both are differentiable with respect to every entry of P. What is
discrete (pruning, which vertex wins a cell, which cells a window covers) carries
no gradient: the gradient is the almost-everywhere one (BUILD_NOTES.md D-08).
"""

import jax
import jax.numpy as jnp

from pifa_jax import depth_keys, masks, morphable_model, projection
from pifa_jax.types import Array, FaceParams, MorphableModel

DEFAULT_SIGMA = 1.0  # pixels of the drawing; BUILD_NOTES.md D-04
DEFAULT_RADIUS = 1  # D(u, v) is (2 radius + 1)^2 cells; BUILD_NOTES.md D-04


def visualize(model: MorphableModel, face_params: FaceParams, *,
              image_size: int, mask: str | Array = 'nose',
              sigma: float = DEFAULT_SIGMA,
              radius: int = DEFAULT_RADIUS) -> jax.Array:
  """Draws the current face as an image of its masked frontability.

  Eqs. (8)-(10): vertices with g = 0 are pruned; of the vertices that fall in one
  pixel cell the nearest is kept (Fig. 5); a pixel is the average of g a over the
  kept vertices of the cells around it, weighted by w. A pixel whose window is
  empty is 0. Costs O(Q + image_size^2) memory.

  Args:
    model: the 3DMM; its region 'drawn', if any, says which vertices to draw.
    face_params: P of one face, in pixels OF THE DRAWING: see
      `boxes.scale_camera` to draw a crop's face at another size.
    image_size: H = W of the drawing, pixels.
    mask: a kind of `masks.vertex_mask`, or its (Q,) values.
    sigma: of Eq. (10), pixels.
    radius: D(u, v) holds the (2 radius + 1)^2 cells around (u, v).

  Returns:
    (image_size, image_size) V, indexed [v, u].

  Raises:
    ValueError: for an unknown mask, or a size or radius that is not positive.
  """
  positions, depth, front, values = _vertices_to_draw(model, face_params, mask)
  counts = (front > 0) & _is_drawn(model)
  return splat(positions, depth, values, counts, image_size=image_size,
               sigma=sigma, radius=radius)


def _vertices_to_draw(model, face_params, mask):
  """Positions, depth, g and g a of every vertex."""
  vertices = morphable_model.shape(model, face_params)
  positions = projection.project(face_params.camera, vertices)
  depth = projection.depth(face_params.camera, vertices)
  front = projection.frontability(face_params.camera, model.mean_normals)
  if isinstance(mask, str):
    mask = masks.vertex_mask(model, mask)
  return positions, depth, front, front * mask


def _is_drawn(model):
  drawn = model.regions.get('drawn')
  if drawn is None:
    return True
  return jnp.zeros(model.num_vertices, bool).at[jnp.asarray(drawn)].set(True)


def splat(positions: Array, depth: Array, values: Array, counts: Array, *,
          image_size: int, sigma: float = DEFAULT_SIGMA,
          radius: int = DEFAULT_RADIUS) -> jax.Array:
  """Averages the values of the nearest vertex of every cell around a pixel.

  Eqs. (9)-(10) after projection. Differentiable in `positions` and `values`.

  Args:
    positions: (Q, 2) pixels of the drawing.
    depth: (Q,) smaller is nearer.
    values: (Q,) what to draw: g a.
    counts: (Q,) bool; False removes a vertex (pruned, or not drawn).
    image_size: H = W of the drawing.
    sigma: of Eq. (10), pixels.
    radius: of the window, cells.

  Returns:
    (image_size, image_size), indexed [v, u]; 0 where the window is empty.

  Raises:
    ValueError: if image_size, sigma or radius is out of range.
  """
  if image_size < 1 or radius < 0 or not sigma > 0:
    raise ValueError(
        f'image_size={image_size}, sigma={sigma}, radius={radius}: the drawing '
        'needs image_size >= 1, sigma > 0 and radius >= 0.')
  cell = cells(positions, counts, image_size)
  winner = winners(cell, depth, image_size)
  occupied = (winner >= 0).reshape(image_size, image_size)
  at = jnp.maximum(winner, 0)
  # One gather of the three numbers that the window needs of a winner.
  gathered = jnp.concatenate([positions, values[:, None]], axis=1).at[at].get(
      mode='promise_in_bounds').reshape(image_size, image_size, 3)
  # A cell without a winner must not reach the exponentials, not even times
  # zero: its position could be infinite.
  gathered = jnp.where(occupied[..., None], gathered, 0.0)
  return _window_average(gathered[..., 0], gathered[..., 1], gathered[..., 2],
                         occupied, sigma, radius)


def cells(positions: Array, counts: Array, image_size: int) -> jax.Array:
  """The pixel cell that every vertex falls in.

  Args:
    positions: (Q, 2) pixels.
    counts: (Q,) bool; vertices that count.
    image_size: H = W.

  Returns:
    (Q,) int32 row-major cell number; image_size^2 for a vertex that does not
    count, lies outside, or is not finite.
  """
  positions = jax.lax.stop_gradient(positions)
  # Compared as floats: a huge or non-finite float has no int32 of its own.
  inside = jnp.all((positions >= -0.5) & (positions < image_size - 0.5), axis=1)
  pixel = jnp.floor(jnp.where(inside[:, None], positions, 0.0) + 0.5)
  pixel = jnp.minimum(pixel.astype(jnp.int32), image_size - 1)
  number = pixel[:, 1] * image_size + pixel[:, 0]
  return jnp.where(inside & counts, number, image_size * image_size)


def winners(cell: Array, depth: Array, image_size: int) -> jax.Array:
  """The vertex that fills every cell: the one with the smallest depth.

  Fig. 5. Equal depths go to the lowest vertex index, on every backend.

  Args:
    cell: (Q,) int32 of `cells`.
    depth: (Q,) smaller is nearer.
    image_size: H = W.

  Returns:
    (image_size^2,) int32 vertex ids, -1 where the cell is empty.
  """
  return _winners(cell, depth_keys.ordered_bits(depth), image_size * image_size)


def _winners(cell, order, num_cells):
  """Winners from integers alone, so that no gradient is asked for inside.

  Depth and vertex index share one 64-bit key, so a single scatter-min decides
  both, exactly. Under `vmap` the faces are scattered one after the other: a
  batched scatter is 1.4-2.5 times slower on a CPU (BUILD_NOTES.md D-09).
  """

  @jax.custom_batching.custom_vmap
  def scatter(cell, order):
    index = jnp.arange(cell.shape[0], dtype=jnp.int32)
    return depth_keys.winning_index(depth_keys.scatter_nearest(
        depth_keys.empty(num_cells), cell, order, index))

  @scatter.def_vmap
  def _(axis_size, in_batched, cell, order):
    cell, order = (
        x if batched else jnp.broadcast_to(x, (axis_size,) + x.shape)
        for x, batched in zip((cell, order), in_batched))
    return jax.lax.map(lambda x: scatter(*x), (cell, order)), True

  return scatter(cell, order)


def _window_average(x, y, value, occupied, sigma, radius):
  """Eqs. (9)-(10) on the planes of winners, as shifted sums."""
  size = x.shape[0]
  pad = lambda plane: jnp.pad(plane, radius)
  # Offsets within the cell are small numbers: no cancellation in u - x.
  grid = jnp.arange(size, dtype=x.dtype)
  dx, dy = pad(x - grid[None, :]), pad(y - grid[:, None])
  value, occupied = pad(value), pad(occupied)
  numerator = denominator = jnp.zeros((size, size), x.dtype)
  for row in range(-radius, radius + 1):
    for column in range(-radius, radius + 1):
      window = (slice(radius + row, radius + row + size),
                slice(radius + column, radius + column + size))
      squared = (dx[window] + column)**2 + (dy[window] + row)**2
      weight = jnp.where(occupied[window],
                         jnp.exp(-squared / (2 * sigma**2)), 0.0)
      numerator += weight * value[window]
      denominator += weight
  filled = denominator > 0
  return jnp.where(filled, numerator / jnp.where(filled, denominator, 1.0), 0.0)


def visualize_dense(model: MorphableModel, face_params: FaceParams, *,
                    image_size: int, mask: str | Array = 'nose',
                    sigma: float = DEFAULT_SIGMA,
                    radius: int = DEFAULT_RADIUS) -> jax.Array:
  """The slow twin of `visualize`: every pixel looks at every vertex.

  Same arguments, result and errors. O(Q^2 + Q image_size^2) memory: for small
  meshes and tests.
  """
  positions, depth, front, values = _vertices_to_draw(model, face_params, mask)
  counts = (front > 0) & _is_drawn(model)
  kept = counts & ~_is_hidden(positions, depth, counts)
  cell = jnp.floor(jax.lax.stop_gradient(positions) + 0.5)
  inside = jnp.all((cell >= 0) & (cell < image_size), axis=1)
  kept = kept & inside
  positions = jnp.where(kept[:, None], positions, 0.0)
  u, v = jnp.meshgrid(jnp.arange(image_size), jnp.arange(image_size))
  in_window = (kept
               & (jnp.abs(u[..., None] - cell[:, 0]) <= radius)
               & (jnp.abs(v[..., None] - cell[:, 1]) <= radius))
  squared = ((u[..., None] - positions[:, 0])**2
             + (v[..., None] - positions[:, 1])**2)
  weight = jnp.where(in_window, jnp.exp(-squared / (2 * sigma**2)), 0.0)
  denominator = jnp.sum(weight, axis=-1)
  numerator = jnp.sum(weight * values, axis=-1)
  filled = denominator > 0
  return jnp.where(filled, numerator / jnp.where(filled, denominator, 1.0), 0.0)


def _is_hidden(positions, depth, counts):
  """Whether another vertex of the same cell is nearer (Fig. 5), (Q,)."""
  cell = jnp.floor(jax.lax.stop_gradient(positions) + 0.5)
  same_cell = jnp.all(cell[:, None] == cell[None, :], axis=-1)
  index = jnp.arange(depth.shape[0])
  nearer = (depth[None, :] < depth[:, None]) | (
      (depth[None, :] == depth[:, None]) & (index[None, :] < index[:, None]))
  return jnp.any(same_cell & nearer & counts[None, :], axis=1)
