"""A z-buffered triangle rasteriser and a simple shading model, in pure JAX.

It renders the synthetic faces. Holes cannot occur: every pixel centre inside a
triangle's projection is a candidate of that triangle.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from pifa_jax.geometry import depth_keys
from pifa_jax.types import Array

# Barycentric slack, so that a pixel centre on a shared edge belongs to both
# triangles instead of neither.
_EDGE = 1e-5
# Sides of the windows of pixels that triangles are sorted into, and how many pixels
# one round of rendering tries: few rounds, and little waste at the end of a size.
_WINDOWS = (2, 3, 4, 6, 8, 11, 16, 28, 60)
_ROUND = 16384


def rasterize(
  positions: Array, depth: Array, triangles: Array, *, image_size: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Which triangle every pixel sees, and where in it.

  Back faces are culled: outward triangles are counter-clockwise from outside,
  which is clockwise in an image whose rows run down.

  Args:
    positions: (Q, 2) pixels.
    depth: (Q,) smaller is nearer.
    triangles: (T, 3) vertex ids.
    image_size: H = W.

  Returns:
    (H, W) int32 triangle ids, -1 where there is none; (H, W, 3) barycentric
    coordinates; (H, W) depth, infinite where there is no triangle.
  """
  keys = scatter_triangles(
    depth_keys.empty(image_size * image_size),
    positions,
    depth,
    triangles,
    image_size=image_size,
  )
  return resolve(keys, positions, depth, triangles, image_size=image_size)


def scatter_triangles(
  keys: jax.Array,
  positions: Array,
  depth: Array,
  triangles: Array,
  *,
  image_size: int,
  first_id: int = 0,
  windows: tuple[int, ...] = _WINDOWS,
  values: Array | None = None,
  keep: Callable[[tuple[jax.Array, ...]], jax.Array] | None = None,
) -> jax.Array:
  """Draws triangles into a buffer of depth keys; more can be drawn on top.

  Triangles that face away or cover no pixel centre are left out; the others are
  sorted by how many pixels they try, and every size is drawn by a loop of its own,
  as many rounds as this image needs.

  Args:
    keys: (H * W,) of `depth_keys.empty` or an earlier call.
    positions: (Q, 2) pixels; a triangle with a corner that is not finite is not
      drawn.
    depth: (Q,) smaller is nearer.
    triangles: (T, 3) vertex ids.
    image_size: H = W.
    first_id: id of the first triangle in the keys.
    windows: sides of the windows of pixels that triangles are sorted into,
      ascending; the whole image is always the last.
    values: (T, 3, C) of the triangles' corners, for `keep`.
    keep: makes holes: a function of C arrays of one shape, the values at many places,
      that says where there is a surface. None = everywhere.

  Returns:
    (H * W,) keys.
  """
  triangles = jnp.asarray(triangles)
  corners = jnp.concatenate(
    [positions[triangles], depth[triangles][..., None]], axis=-1
  ).reshape(-1, 9)
  u, v = corners[:, 0::3], corners[:, 1::3]
  area = (u[:, 1] - u[:, 0]) * (v[:, 2] - v[:, 0]) - (v[:, 1] - v[:, 0]) * (
    u[:, 2] - u[:, 0]
  )
  # Pixel centres between the least and the greatest corner, inside the image.
  extent = lambda x: (
    jnp.minimum(jnp.floor(x.max(axis=1)), image_size - 1)
    - jnp.maximum(jnp.ceil(x.min(axis=1)), 0)
    + 1
  )
  wide, high = extent(u), extent(v)
  # Comparisons with NaN are false: such triangles stay out.
  rendered = (area < 0) & (wide > 0) & (high > 0)
  sides = [*(w for w in windows if w < image_size), image_size]
  size = jnp.searchsorted(jnp.asarray(sides, corners.dtype), jnp.maximum(wide, high))
  size = jnp.where(rendered, size, len(sides))
  for index, window in enumerate(sides):
    chosen = size == index
    keys = jax.lax.cond(
      jnp.any(chosen),
      lambda keys, chosen=chosen, window=window: _scatter_class(
        keys, corners, chosen, window, image_size, first_id, values, keep
      ),
      lambda keys: keys,
      keys,
    )
  return keys


def _scatter_class(keys, corners, chosen, window, image_size, first_id, values, keep):
  """Draws the chosen triangles, all of which fit the window."""
  # So many at a time that a round tries a few ten thousand pixels.
  step = max(1, min(_ROUND // window**2, corners.shape[0]))
  rank = jnp.cumsum(chosen)
  count = rank[-1]
  ids = (
    jnp.zeros(corners.shape[0] + step, jnp.int32)
    .at[jnp.where(chosen, rank - 1, corners.shape[0] + step)]
    .set(jnp.arange(corners.shape[0], dtype=jnp.int32), mode='drop')
  )

  def draw(state):
    first, keys = state
    these = jax.lax.dynamic_slice_in_dim(ids, first, step)
    cell, z, (w1, w2) = _candidates(
      corners[these].reshape(-1, 3, 3), window, image_size
    )
    cell = jnp.where(
      (first + jnp.arange(step) < count)[:, None], cell, image_size * image_size
    )
    if keep is not None:
      at = jnp.moveaxis(jnp.asarray(values)[these], 2, 0)[..., None]
      found = tuple(
        a + w1 * (b - a) + w2 * (c - a)
        for a, b, c in (jnp.moveaxis(value, 1, 0) for value in at)
      )
      cell = jnp.where(keep(found), cell, image_size * image_size)
    keys = depth_keys.scatter_nearest(
      keys,
      cell.ravel(),
      depth_keys.ordered_bits(z).ravel(),
      jnp.broadcast_to(first_id + these[:, None], cell.shape).ravel(),
    )
    return first + step, keys

  return jax.lax.while_loop(lambda state: state[0] < count, draw, (jnp.int32(0), keys))[
    1
  ]


def resolve(
  keys: jax.Array, positions: Array, depth: Array, triangles: Array, *, image_size: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """What every pixel of a buffer of keys shows.

  Args:
    keys: (H * W,) of `scatter_triangles`.
    positions: (Q, 2) pixels.
    depth: (Q,) smaller is nearer.
    triangles: (T, 3) vertex ids; the ids in the keys count these.
    image_size: H = W.

  Returns:
    As `rasterize`.
  """
  winner = depth_keys.winning_index(keys)
  found = winner >= 0
  corners = jnp.concatenate([positions, depth[:, None]], axis=-1)[
    jnp.asarray(triangles)[jnp.maximum(winner, 0)]
  ]
  grid = jnp.arange(image_size, dtype=positions.dtype)
  v, u = jnp.meshgrid(grid, grid, indexing='ij')
  weights, _ = barycentric(corners[..., :2], jnp.stack([u.ravel(), v.ravel()], axis=-1))
  z = jnp.where(found, jnp.sum(weights * corners[..., 2], axis=-1), jnp.inf)
  shape = (image_size, image_size)
  weights = jnp.where(found[:, None], weights, 0.0)
  return winner.reshape(shape), weights.reshape(shape + (3,)), z.reshape(shape)


def barycentric(corners: Array, point: Array) -> tuple[jax.Array, jax.Array]:
  """Finds where points are in triangles.

  Args:
    corners: (..., 3, 2) pixels.
    point: (..., 2) pixels.

  Returns:
    (..., 3) barycentric coordinates, and (...) the doubled signed area.
  """
  a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
  cross = lambda p, q: p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]
  area = cross(b - a, c - a)
  safe = jnp.where(jnp.abs(area) > 1e-12, area, 1.0)
  w1 = cross(point - a, c - a) / safe
  w2 = cross(b - a, point - a) / safe
  return jnp.stack([1 - w1 - w2, w1, w2], axis=-1), area


def _candidates(corners, window, image_size):
  """Cells, depths and two coordinates of the window of pixels at every triangle.

  Barycentric coordinates and depth are linear in the pixel, so a candidate costs
  three multiply-adds on whole planes, one plane per coordinate.
  """
  corners, corner_depth = corners[..., :2], corners[..., 2]
  start = jnp.maximum(jnp.ceil(jnp.min(corners, axis=1)), 0)
  origin, area = barycentric(corners, start)
  (ax, ay), (bx, by), (cx, cy) = (
    (corners[:, i, 0], corners[:, i, 1]) for i in range(3)
  )
  safe = jnp.where(jnp.abs(area) > 1e-12, area, 1.0)
  # Slopes of the second and third coordinate along u and v.
  slope_u = ((cy - ay) / safe, (ay - by) / safe)
  slope_v = ((ax - cx) / safe, (bx - ax) / safe)
  depth_1 = corner_depth[:, 1] - corner_depth[:, 0]
  depth_2 = corner_depth[:, 2] - corner_depth[:, 0]

  offset = jnp.arange(window * window)
  du = (offset % window).astype(corners.dtype)
  dv = (offset // window).astype(corners.dtype)
  plane = lambda at, along_u, along_v: (
    at[:, None] + along_u[:, None] * du + along_v[:, None] * dv
  )
  w1 = plane(origin[:, 1], slope_u[0], slope_v[0])
  w2 = plane(origin[:, 2], slope_u[1], slope_v[1])
  z = corner_depth[:, :1] + w1 * depth_1[:, None] + w2 * depth_2[:, None]
  u, v = start[:, :1] + du, start[:, 1:] + dv
  inside = (
    (w1 >= -_EDGE)
    & (w2 >= -_EDGE)
    & (w1 + w2 <= 1 + _EDGE)
    & (area < 0)[:, None]
    & (u < image_size)
    & (v < image_size)
  )
  # Not `pixel.astype(int)` before the test: far outside it would not fit.
  cell = jnp.where(inside, v * image_size + u, image_size * image_size)
  return cell.astype(jnp.int32), z, (w1, w2)


def interpolate(
  triangle_ids: Array, barycentric: Array, triangles: Array, attributes: Array
) -> jax.Array:
  """Vertex attributes at every pixel.

  Args:
    triangle_ids: (H, W) of `rasterize`.
    barycentric: (H, W, 3).
    triangles: (T, 3).
    attributes: (Q, C).

  Returns:
    (H, W, C); zero where there is no triangle.
  """
  corners = jnp.asarray(attributes)[
    jnp.asarray(triangles)[jnp.maximum(triangle_ids, 0)]
  ]
  return jnp.einsum('hwi,hwic->hwc', barycentric, corners)


def shade(
  albedo: Array,
  normals: Array,
  *,
  ambient: Array,
  sky: Array,
  light: Array,
  light_color: Array,
  specular: Array,
) -> Array:
  """Lambert shading with a linear environment, one light and a highlight.

  Args:
    albedo: (..., 3) in [0, 1].
    normals: (..., 3) unit, in the camera's frame: x right, y up, z towards the
      viewer.
    ambient: (3,) mean colour of the environment.
    sky: (3, 3) its linear part (first-order spherical harmonics): rows are
      colours, columns directions.
    light: (3,) unit direction towards the light.
    light_color: (3,).
    specular: () strength of the highlight.

  Returns:
    (..., 3) radiance, not clipped.
  """
  environment = jnp.maximum(ambient + normals @ sky.T, 0.0)
  diffuse = jax.nn.relu(normals @ light)[..., None]
  half = light + jnp.array([0.0, 0.0, 1.0])
  half = half / jnp.linalg.norm(half)
  highlight = specular * jax.nn.relu(normals @ half)[..., None] ** 24
  return albedo * (environment + diffuse * light_color) + highlight * light_color


def z_buffer_visibility(
  points: Array, depth: Array, z_buffer: Array, *, tolerance: float, radius: int = 1
) -> jax.Array:
  """Which points no surface hides.

  A point counts as hidden if all the surface around its pixel lies in front of
  it by more than the tolerance: independent of the normal rule of Sec. 3.3.

  Args:
    points: (N, 2) pixels.
    depth: (N,) as in the z-buffer.
    z_buffer: (H, W), infinite where empty.
    tolerance: in units of depth.
    radius: of the square of pixels that counts as "around", pixels.

  Returns:
    (N,) bool; a point outside the image is hidden if its nearest border pixel
    is covered.
  """
  size = z_buffer.shape[0]
  pixel = jnp.clip(jnp.round(points), 0, size - 1).astype(jnp.int32)
  steps = jnp.arange(-radius, radius + 1)
  around = jnp.stack(jnp.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
  near = jnp.clip(pixel[:, None] + around, 0, size - 1)
  surface = z_buffer[near[..., 1], near[..., 0]]
  return jnp.any(surface >= depth[:, None] - tolerance, axis=1)
