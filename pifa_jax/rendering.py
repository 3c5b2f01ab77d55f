"""A z-buffered triangle rasteriser and a simple shading model, in pure JAX.

Draws the built-in faces for synthetic data. Holes cannot occur: every pixel
centre inside a triangle's projection is a candidate of that triangle.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax import depth_keys
from pifa_jax.types import Array

# Barycentric slack, so that a pixel centre on a shared edge belongs to both
# triangles instead of neither.
_EDGE = 1e-5


def triangle_buckets(vertices: Array, triangles: Array, scale: float,
                     windows: tuple[int, ...] = (4, 6, 9, 14, 22, 34, 52, 80)
                     ) -> tuple[tuple[np.ndarray, int], ...]:
  """Sorts triangles by the largest window of pixels that one can cover.

  Rotated in any way, a triangle's bounding box is at most as wide as its longest
  edge: small triangles then try few pixels.

  Args:
    vertices: (Q, 3) of a typical face, model units.
    triangles: (T, 3) vertex ids.
    scale: pixels per model unit, times a reserve for other faces.
    windows: sides of the windows to use, ascending, pixels.

  Returns:
    ((triangle ids, window), ...); together they hold every triangle once.

  Raises:
    ValueError: if a triangle does not fit the largest window.
  """
  corners = np.asarray(vertices)[np.asarray(triangles)]
  edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
  # An extent of e pixels covers at most floor(e) + 1 pixel centres.
  need = np.floor(edges.max(axis=1) * scale) + 1
  if need.max() > windows[-1]:
    raise ValueError(
        f'A triangle covers up to {int(need.max())} pixels but the largest window '
        f'is {windows[-1]}; subdivide the mesh or draw smaller pictures.')
  smallest = np.searchsorted(windows, need)
  return tuple((np.where(smallest == i)[0].astype(np.int32), window)
               for i, window in enumerate(windows) if (smallest == i).any())


def rasterize(positions: Array, depth: Array, triangles: Array,
              buckets: tuple[tuple[Array, int], ...], *,
              image_size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Which triangle every pixel sees, and where in it.

  Back faces are culled: outward triangles are counter-clockwise from outside,
  which is clockwise in a picture whose rows run down.

  Args:
    positions: (Q, 2) pixels.
    depth: (Q,) smaller is nearer.
    triangles: (T, 3) vertex ids.
    buckets: of `triangle_buckets`.
    image_size: H = W.

  Returns:
    (H, W) int32 triangle ids, -1 where there is none; (H, W, 3) barycentric
    coordinates; (H, W) depth, infinite where there is no triangle.
  """
  corners = positions[triangles]
  corner_depth = depth[triangles]
  nearest = depth_keys.empty(image_size * image_size)
  for ids, window in buckets:
    ids = jnp.asarray(ids)
    cell, z = _candidates(corners[ids], corner_depth[ids], window, image_size)
    nearest = depth_keys.scatter_nearest(
        nearest, cell.ravel(), depth_keys.ordered_bits(z).ravel(),
        jnp.broadcast_to(ids[:, None], cell.shape).ravel())
  winner = depth_keys.winning_index(nearest)
  found = winner >= 0
  at = jnp.maximum(winner, 0)
  grid = jnp.arange(image_size, dtype=positions.dtype)
  v, u = jnp.meshgrid(grid, grid, indexing='ij')
  weights, _ = _barycentric(corners[at],
                            jnp.stack([u.ravel(), v.ravel()], axis=-1))
  z = jnp.where(found, jnp.sum(weights * corner_depth[at], axis=-1), jnp.inf)
  shape = (image_size, image_size)
  weights = jnp.where(found[:, None], weights, 0.0)
  return winner.reshape(shape), weights.reshape(shape + (3,)), z.reshape(shape)


def _barycentric(corners, point):
  """Barycentric coordinates of (..., 2) points, and the doubled signed area."""
  a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
  cross = lambda p, q: p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]
  area = cross(b - a, c - a)
  safe = jnp.where(jnp.abs(area) > 1e-12, area, 1.0)
  w1 = cross(point - a, c - a) / safe
  w2 = cross(b - a, point - a) / safe
  return jnp.stack([1 - w1 - w2, w1, w2], axis=-1), area


def _candidates(corners, corner_depth, window, image_size):
  """Cells and depths of the window of pixels at every triangle.

  Barycentric coordinates and depth are linear in the pixel, so a candidate costs
  three multiply-adds on whole planes, one plane per coordinate.
  """
  start = jnp.ceil(jnp.min(corners, axis=1))
  origin, area = _barycentric(corners, start)
  (ax, ay), (bx, by), (cx, cy) = (
      (corners[:, i, 0], corners[:, i, 1]) for i in range(3))
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
      at[:, None] + along_u[:, None] * du + along_v[:, None] * dv)
  w1 = plane(origin[:, 1], slope_u[0], slope_v[0])
  w2 = plane(origin[:, 2], slope_u[1], slope_v[1])
  z = corner_depth[:, :1] + w1 * depth_1[:, None] + w2 * depth_2[:, None]
  u, v = start[:, :1] + du, start[:, 1:] + dv
  inside = ((w1 >= -_EDGE) & (w2 >= -_EDGE) & (w1 + w2 <= 1 + _EDGE)
            & (area < 0)[:, None] & (u >= 0) & (u < image_size)
            & (v >= 0) & (v < image_size))
  # Not `pixel.astype(int)` before the test: far outside it would not fit.
  cell = jnp.where(inside, v * image_size + u, image_size * image_size)
  return cell.astype(jnp.int32), z


def interpolate(triangle_ids: Array, barycentric: Array, triangles: Array,
                attributes: Array) -> jax.Array:
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
      jnp.asarray(triangles)[jnp.maximum(triangle_ids, 0)]]
  return jnp.einsum('hwi,hwic->hwc', barycentric, corners)


def shade(albedo: Array, normals: Array, *, ambient: Array, sky: Array,
          light: Array, light_color: Array, specular: Array) -> jax.Array:
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
  highlight = specular * jax.nn.relu(normals @ half)[..., None]**24
  return albedo * (environment + diffuse * light_color) + highlight * light_color


def z_buffer_visibility(points: Array, depth: Array, z_buffer: Array, *,
                        tolerance: float) -> jax.Array:
  """Which points no surface hides.

  A point counts as hidden if all the surface around its pixel lies in front of
  it by more than the tolerance: independent of the normal rule of Sec. 3.3.

  Args:
    points: (N, 2) pixels.
    depth: (N,) as in the z-buffer.
    z_buffer: (H, W), infinite where empty.
    tolerance: in units of depth.

  Returns:
    (N,) bool; a point outside the picture is hidden if its nearest border pixel
    is covered.
  """
  size = z_buffer.shape[0]
  pixel = jnp.clip(jnp.round(points), 0, size - 1).astype(jnp.int32)
  around = jnp.stack(jnp.meshgrid(jnp.arange(-1, 2), jnp.arange(-1, 2)),
                     axis=-1).reshape(-1, 2)
  near = jnp.clip(pixel[:, None] + around, 0, size - 1)
  surface = z_buffer[near[..., 1], near[..., 0]]
  return jnp.any(surface >= depth[:, None] - tolerance, axis=1)
