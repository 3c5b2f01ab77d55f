"""The visualization layer: Eqs. (8)-(10), Sec. 3.3, Fig. 5.

`visualize` is the layer. `visualize_dense` is its reference implementation, which reads
like the equations. Both are differentiable with respect to every entry of P. What is
discrete (pruning, which vertex wins a cell, which cells a window covers) carries
no gradient: the gradient is the almost-everywhere one (BUILD_NOTES.md D-08).

One pass over all vertices finds which of them fills each cell. Everything after it,
forward and backward, works on these winners alone. The adjoint of the window average is
written out, so there are first derivatives in reverse mode only: `jax.jvp` and a
gradient of the gradient raise.
"""

import functools

import jax
import jax.numpy as jnp

from pifa_jax.geometry import depth_keys, masks, morphable_model, projection
from pifa_jax.types import Array, FaceParams, MorphableModel

DEFAULT_SIGMA = 1.0  # pixels of V; BUILD_NOTES.md D-04
DEFAULT_RADIUS = 1  # D(u, v) is (2 radius + 1)^2 cells; BUILD_NOTES.md D-04


def visualize(
  model: MorphableModel,
  face_params: FaceParams,
  *,
  image_size: int,
  mask: str | Array = 'nose',
  sigma: float = DEFAULT_SIGMA,
  radius: int = DEFAULT_RADIUS,
) -> jax.Array:
  """Renders the current face as V, an image of its masked frontability.

  Eqs. (8)-(10), Fig. 1 (b): vertices with g = 0 are pruned; of the vertices that
  fall in one pixel cell the nearest is kept (Fig. 5); a pixel is the average of
  g a over the kept vertices of the cells around it, weighted by w. A pixel whose
  window is empty is 0. Costs O(Q + image_size^2) memory.

  Args:
    model: the 3DMM; its region 'rendered', if any, says which vertices to render.
    face_params: P of one face, in pixels of V: see `boxes.scale_camera` to render a
      crop's face at another size.
    image_size: H = W of V, pixels.
    mask: a kind of `masks.vertex_mask`, or its (Q,) values.
    sigma: of Eq. (10), pixels.
    radius: D(u, v) holds the (2 radius + 1)^2 cells around (u, v).

  Returns:
    (image_size, image_size) V, indexed [v, u].

  Raises:
    ValueError: for an unknown mask, or a size or radius that is not positive.
  """
  check_image(image_size, sigma, radius)
  if isinstance(mask, str):
    mask = masks.vertex_mask(model, mask)
  model, face_params = jax.tree.map(jnp.asarray, (model, face_params))
  winner, x, y = _kept(model, face_params, image_size)
  front = projection.frontability(face_params.camera, _rows(model.mean_normals, winner))
  value = front * _rows(jnp.asarray(mask)[:, None], winner)[:, 0]
  return window_average(x, y, value, winner, image_size, sigma, radius)


def check_image(image_size: int, sigma: float, radius: int) -> None:
  """Refuses what is no size of a visualization.

  Args:
    image_size: H = W of V, pixels.
    sigma: of Eq. (10), pixels.
    radius: of D(u, v), cells.

  Raises:
    ValueError: if one is not positive, or the radius negative.
  """
  if image_size < 1 or radius < 0 or not sigma > 0:
    raise ValueError(
      f'image_size={image_size}, sigma={sigma}, radius={radius}: the visualization '
      'needs image_size >= 1, sigma > 0 and radius >= 0.'
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _kept(model, face_params, image_size):
  """The winner of every cell (Fig. 5) and its position: (C,) each.

  Without a gradient nobody needs the vertices themselves, so they are not written.
  """
  camera = face_params.camera
  view = morphable_model.shape_along(model, face_params, projection.axes(camera))
  winner = _nearest(model, camera, view, image_size)
  # Coordinate by coordinate: a gather from all three would have them written again.
  u, v, _ = view
  place = jnp.maximum(winner, 0)
  return winner, u[place] + camera[0, 3], v[place] + camera[1, 3]


def _kept_fwd(model, face_params, image_size):
  """With a gradient the winners' vertices are needed, too."""
  inputs = (model, face_params)
  # A basis is large, and so is its gradient: only if somebody asks.
  moving = jax.tree.map(
    lambda x: (
      x.value if x.perturbed and jnp.issubdtype(x.value.dtype, jnp.inexact) else None
    ),
    inputs,
  )

  def positions(moving):
    model, face_params = jax.tree.map(
      lambda x, new: x.value if new is None else new, inputs, moving
    )
    camera = face_params.camera
    vertices = morphable_model.shape(model, face_params)
    view = morphable_model.along(projection.axes(camera), vertices)
    winner = _nearest(model, camera, view, image_size)
    x, y = morphable_model.along(camera[:, :3], _rows(vertices, winner)) + camera[:, 3:]
    return (x, y), winner

  (x, y), pull_back, winner = jax.vjp(positions, moving, has_aux=True)
  return (winner, x, y), pull_back


def _kept_bwd(unused_image_size, pull_back, cotangents):
  _, *cotangents = cotangents  # an integer has none
  return pull_back(tuple(cotangents))[0]


_kept.defvjp(_kept_fwd, _kept_bwd, symbolic_zeros=True)


def _nearest(model, camera, view, image_size):
  """The winners, from the (3, Q) coordinates along `projection.axes`."""
  camera, (u, v, depth) = jax.lax.stop_gradient((camera, view))
  # The rule of `projection.is_visible`, g > 0, without g itself: of all vertices only
  # the sign of the product in Eq. (8) is needed, and the comparison fuses with it.
  facing = (
    morphable_model.along(
      projection.viewing_direction(camera)[None], model.mean_normals
    )[0]
    < 0
  )
  cell = _cell_number(
    u + camera[0, 3], v + camera[1, 3], facing & _is_rendered(model), image_size
  )
  return winners(cell, depth, image_size)


@jax.custom_vjp
def _rows(table, winner):
  """The winners' rows of a (Q, n) table, (C, n); row 0 for an empty cell."""
  return jnp.asarray(table).at[jnp.maximum(winner, 0)].get(mode='promise_in_bounds')


def _rows_fwd(table, winner):
  return _rows(table, winner), (winner, table[:, :0])


def _rows_bwd(saved, cotangent):
  winner, table = saved
  # A vertex wins one cell at most: rows are set, not added. Empty cells have none.
  row = jnp.where(winner >= 0, winner, table.shape[0])
  return jnp.zeros((table.shape[0], cotangent.shape[1]), cotangent.dtype).at[row].set(
    cotangent, mode='drop', unique_indices=True
  ), None


_rows.defvjp(_rows_fwd, _rows_bwd)


def _vertices_to_render(model, face_params, mask):
  """Positions, depth, g and g a of every vertex."""
  vertices = morphable_model.shape(model, face_params)
  positions = projection.project(face_params.camera, vertices)
  depth = projection.depth(face_params.camera, vertices)
  front = projection.frontability(face_params.camera, model.mean_normals)
  if isinstance(mask, str):
    mask = masks.vertex_mask(model, mask)
  return positions, depth, front, front * mask


def _is_rendered(model):
  rendered = model.regions.get('rendered')
  if rendered is None:
    return True
  return jnp.zeros(model.num_vertices, bool).at[jnp.asarray(rendered)].set(True)


def splat(
  positions: Array,
  depth: Array,
  values: Array,
  valid: Array,
  *,
  image_size: int,
  sigma: float = DEFAULT_SIGMA,
  radius: int = DEFAULT_RADIUS,
) -> jax.Array:
  """Averages the values of the nearest vertex of every cell around a pixel.

  Eqs. (9)-(10) after projection. Differentiable in `positions` and `values`.

  Args:
    positions: (Q, 2) pixels of V.
    depth: (Q,) smaller is nearer.
    values: (Q,) what to average: g a.
    valid: (Q,) bool; False removes a vertex that is pruned or not rendered.
    image_size: H = W of V, pixels.
    sigma: of Eq. (10), pixels.
    radius: of the window, cells.

  Returns:
    (image_size, image_size), indexed [v, u]; 0 where the window is empty.

  Raises:
    ValueError: if image_size, sigma or radius is out of range.
  """
  check_image(image_size, sigma, radius)
  winner = winners(cells(positions, valid, image_size), depth, image_size)
  # One gather of the three numbers that the window needs of a winner.
  x, y, value = _rows(jnp.concatenate([positions, values[:, None]], axis=1), winner).T
  return window_average(x, y, value, winner, image_size, sigma, radius)


def window_average(
  x: Array,
  y: Array,
  value: Array,
  winner: Array,
  image_size: int,
  sigma: float,
  radius: int,
) -> jax.Array:
  """Averages the winners' values around every pixel, Eqs. (9)-(10).

  Args:
    x: (C,) the winners' u, pixels of V; of an empty cell any number.
    y: (C,) their v.
    value: (C,) what to average: g a.
    winner: (C,) of `winners`; negative = the cell is empty.
    image_size: H = W of V, pixels; C is its square.
    sigma: of Eq. (10), pixels.
    radius: of the window, cells.

  Returns:
    (image_size, image_size), indexed [v, u]; 0 where the window is empty.
  """
  occupied = winner >= 0
  # A cell without a winner must not reach the exponentials, not even times
  # zero: its position could be infinite.
  x, y, value = (
    jnp.where(occupied, plane, 0.0).reshape(image_size, image_size)
    for plane in (x, y, value)
  )
  return _window_average(
    x, y, value, occupied.reshape(image_size, image_size), sigma, radius
  )


def cells(positions: Array, valid: Array, image_size: int) -> jax.Array:
  """The pixel cell that every vertex falls in.

  Args:
    positions: (Q, 2) pixels of V.
    valid: (Q,) bool; False removes a vertex.
    image_size: H = W of V, pixels.

  Returns:
    (Q,) int32 row-major cell number; image_size^2 for a vertex that is removed, lies
    outside, or is not finite.
  """
  u, v = jax.lax.stop_gradient(positions).T
  return _cell_number(u, v, valid, image_size)


def _cell_number(u, v, valid, image_size):
  # Compared as floats: a huge or non-finite float has no int32 of its own.
  low, high = -0.5, image_size - 0.5
  inside = valid & (u >= low) & (u < high) & (v >= low) & (v < high)
  pixel = lambda x: jnp.minimum(
    jnp.floor(jnp.where(inside, x, 0.0) + 0.5).astype(jnp.int32), image_size - 1
  )
  return jnp.where(inside, pixel(v) * image_size + pixel(u), image_size * image_size)


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
  both, exactly (BUILD_NOTES.md D-09).
  """

  def scatter(cell, order):
    index = jnp.arange(cell.shape[0], dtype=jnp.int32)
    return depth_keys.winning_index(
      depth_keys.scatter_nearest(depth_keys.empty(num_cells), cell, order, index)
    )

  return _one_face_after_the_other(scatter)(cell, order)


def _one_face_after_the_other(function):
  """On a CPU, `vmap` becomes a loop over the faces: their planes stay in cache.

  Accelerators take all faces at once.
  """
  function = jax.custom_batching.custom_vmap(function)

  @function.def_vmap
  def _(axis_size, in_batched, *args):
    faces = [
      x if batched else jnp.broadcast_to(x, (axis_size, *x.shape))
      for x, batched in zip(args, in_batched, strict=True)
    ]
    return jax.lax.platform_dependent(
      *faces,
      cpu=lambda *args: jax.lax.map(lambda face: function.fun(*face), args),
      default=jax.vmap(function.fun),
    ), True

  return function


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _window_average(x, y, value, occupied, sigma, radius):
  """Eqs. (9)-(10) on the planes of winners, as shifted sums."""
  return _window_average_fwd(x, y, value, occupied, sigma, radius)[0]


def _window_average_fwd(x, y, value, occupied, sigma, radius):
  size = x.shape[0]
  pad = lambda plane: jnp.pad(plane, radius)
  dx, dy = _within_cell(x, y)
  padded_dx, padded_dy = pad(dx), pad(dy)
  padded_value, padded_occupied = pad(value), pad(occupied)
  numerator = denominator = jnp.zeros((size, size), x.dtype)
  for row, column, window in _windows(size, radius):
    squared = (padded_dx[window] + column) ** 2 + (padded_dy[window] + row) ** 2
    weight = jnp.where(padded_occupied[window], jnp.exp(-squared / (2 * sigma**2)), 0.0)
    numerator += weight * padded_value[window]
    denominator += weight
  filled = denominator > 0
  average = jnp.where(filled, numerator / jnp.where(filled, denominator, 1.0), 0.0)
  return average, (dx, dy, value, occupied, average, denominator)


def _window_average_bwd(sigma, radius, saved, cotangent):
  """The adjoint: every cell looks at the pixels whose window it is in.

  With t = cotangent of V / Z, the cotangent of the value is sum w t, that of x is
  sum w (u - x) (value t - V t) / sigma^2, and that of y likewise.
  """
  dx, dy, value, occupied, average, denominator = saved
  filled = denominator > 0
  shared = jnp.where(filled, cotangent / jnp.where(filled, denominator, 1.0), 0.0)

  def adjoint(dx, dy, value, occupied, shared, average):
    size = dx.shape[0]
    dx, dy = jnp.where(occupied, dx, 0.0), jnp.where(occupied, dy, 0.0)
    of_pixel = jnp.pad(shared, radius)
    of_average = jnp.pad(shared * average, radius)
    # The three sums are one array: XLA compiles three results that share their
    # terms to a pass over memory a term (BUILD_NOTES.md D-42).
    in_x, in_y, in_value = jnp.eye(3, dtype=dx.dtype)[:, :, None, None]
    in_place = 1 - in_value
    # w and the offsets are products of one factor a column and one a row of the
    # window, and both depend on this cell alone.
    offsets = range(-radius, radius + 1)
    factor = lambda offset, here: (
      jnp.exp(-(offset**2) / (2 * sigma**2)) * (1 - here + here * offset)
    )
    across = {i: factor(i - dx, in_x) for i in offsets}
    down = {i: factor(i - dy, in_y) for i in offsets}
    own = in_value + in_place * value
    total = jnp.zeros((3, size, size), dx.dtype)
    for row, column, window in _windows(size, radius):
      total += (
        across[column]
        * down[row]
        * (own * of_pixel[window] - in_place * of_average[window])
      )
    return jnp.where(occupied, total * (in_value + in_place / sigma**2), 0.0)

  return (
    *_one_face_after_the_other(adjoint)(dx, dy, value, occupied, shared, average),
    None,
  )


_window_average.defvjp(_window_average_fwd, _window_average_bwd)


def _within_cell(x, y):
  """Positions as offsets from their cells: no cancellation in u - x."""
  grid = jnp.arange(x.shape[0], dtype=x.dtype)
  return x - grid[None, :], y - grid[:, None]


def _windows(size, radius):
  """(row, column, slices of a padded plane) of every offset of D(u, v)."""
  for row in range(-radius, radius + 1):
    for column in range(-radius, radius + 1):
      yield (
        row,
        column,
        (
          slice(radius + row, radius + row + size),
          slice(radius + column, radius + column + size),
        ),
      )


def visualize_dense(
  model: MorphableModel,
  face_params: FaceParams,
  *,
  image_size: int,
  mask: str | Array = 'nose',
  sigma: float = DEFAULT_SIGMA,
  radius: int = DEFAULT_RADIUS,
) -> jax.Array:
  """The reference implementation of `visualize`: every pixel looks at every vertex.

  Eqs. (8)-(10) and Fig. 5 as they stand. It takes O(Q^2 + Q image_size^2) memory:
  for small meshes and tests.

  Args:
    model: the 3DMM.
    face_params: P of one face, in pixels of V.
    image_size: H = W of V, pixels.
    mask: a kind of `masks.vertex_mask`, or its (Q,) values.
    sigma: of Eq. (10), pixels.
    radius: D(u, v) holds the (2 radius + 1)^2 cells around (u, v).

  Returns:
    (image_size, image_size) V, indexed [v, u].

  Raises:
    ValueError: for an unknown mask.
  """
  positions, depth, front, values = _vertices_to_render(model, face_params, mask)
  valid = projection.is_visible(front) & _is_rendered(model)
  kept = valid & ~_is_hidden(positions, depth, valid)
  cell = jnp.floor(jax.lax.stop_gradient(positions) + 0.5)
  inside = jnp.all((cell >= 0) & (cell < image_size), axis=1)
  kept = kept & inside
  positions = jnp.where(kept[:, None], positions, 0.0)
  u, v = jnp.meshgrid(jnp.arange(image_size), jnp.arange(image_size))
  in_window = (
    kept
    & (jnp.abs(u[..., None] - cell[:, 0]) <= radius)
    & (jnp.abs(v[..., None] - cell[:, 1]) <= radius)
  )
  squared = (u[..., None] - positions[:, 0]) ** 2 + (
    v[..., None] - positions[:, 1]
  ) ** 2
  weight = jnp.where(in_window, jnp.exp(-squared / (2 * sigma**2)), 0.0)
  denominator = jnp.sum(weight, axis=-1)
  numerator = jnp.sum(weight * values, axis=-1)
  filled = denominator > 0
  return jnp.where(filled, numerator / jnp.where(filled, denominator, 1.0), 0.0)


def _is_hidden(positions, depth, valid):
  """Whether another vertex of the same cell is nearer (Fig. 5), (Q,)."""
  cell = jnp.floor(jax.lax.stop_gradient(positions) + 0.5)
  same_cell = jnp.all(cell[:, None] == cell[None, :], axis=-1)
  index = jnp.arange(depth.shape[0])
  nearer = (depth[None, :] < depth[:, None]) | (
    (depth[None, :] == depth[:, None]) & (index[None, :] < index[:, None])
  )
  return jnp.any(same_cell & nearer & valid[None, :], axis=1)
