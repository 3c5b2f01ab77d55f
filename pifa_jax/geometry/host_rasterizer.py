"""The z-buffer of `rendering`, in NumPy, for a few images on the host.

The one in JAX is made for thousands of images of one size, and takes seconds to compile
for each size; this one draws a face into a photo of any size at once.
"""

import numpy as np

# As in `rendering`: a pixel centre on a shared edge belongs to both triangles.
_EDGE = 1e-5
_MOST_CANDIDATES = 1 << 21  # pixels that are tried at a time


def rasterize(
  positions: np.ndarray,
  depth: np.ndarray,
  triangles: np.ndarray,
  *,
  height: int,
  width: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Which triangle every pixel sees, and where in it: `rendering.rasterize`.

  Args:
    positions: (Q, 2) pixels; a triangle with a corner that is not finite is not drawn.
    depth: (Q,) smaller is nearer.
    triangles: (F, 3) clockwise in the image (rows run down) if they face the viewer;
      others are not drawn.
    height: H of the image.
    width: W of the image.

  Returns:
    (H, W) int32 triangle ids, -1 where there is none; (H, W, 3) float64 barycentric
    coordinates, 0 where there is none; (H, W) float64 depth, infinite where there is
    none.
  """
  positions = np.asarray(positions, np.float64)
  triangles = np.asarray(triangles, np.int64)
  corners = positions[triangles]
  corner_depth = np.asarray(depth, np.float64)[triangles]
  ids = np.full(height * width, -1, np.int32)
  weights = np.zeros((height * width, 3))
  nearest = np.full(height * width, np.inf)
  chosen, low, high = _boxes(corners, corner_depth, height, width)
  counts = np.prod(high - low + 1, axis=1)
  total = np.cumsum(counts)
  start = 0
  while start < len(chosen):
    done = total[start - 1] if start else 0
    end = max(int(np.searchsorted(total, done + _MOST_CANDIDATES, 'right')), start + 1)
    some = slice(start, end)
    triangle, x, y = _pixels(chosen[some], low[some], high[some], counts[some])
    coordinates = _barycentric(corners[triangle], x, y)
    inside = (coordinates >= -_EDGE).all(axis=1)
    triangle, coordinates = triangle[inside], coordinates[inside]
    cell = (y * width + x)[inside]
    z = np.einsum('ni,ni->n', coordinates, corner_depth[triangle])
    # The nearest candidate of every cell: the first one in this order, in which the
    # lower id wins a tie.
    order = np.lexsort((triangle, z, cell))
    cell, first = np.unique(cell[order], return_index=True)
    order = order[first]
    better = z[order] < nearest[cell]
    cell, order = cell[better], order[better]
    ids[cell], weights[cell], nearest[cell] = (
      triangle[order],
      coordinates[order],
      z[order],
    )
    start = end
  return (
    ids.reshape(height, width),
    weights.reshape(height, width, 3),
    nearest.reshape(height, width),
  )


def _boxes(corners, corner_depth, height, width):
  """Triangles that are drawn, with their first and last columns and rows."""
  a, b, c = corners.transpose(1, 0, 2)
  with np.errstate(invalid='ignore', over='ignore'):
    area = _cross(b - a, c - a)
    low = np.maximum(np.ceil(corners.min(axis=1)), 0)
    high = np.minimum(np.floor(corners.max(axis=1)), [width - 1, height - 1])
    # Comparisons with NaN are false.
    drawn = (area < -1e-12) & (high >= low).all(axis=1)
  drawn &= np.isfinite(corners).all(axis=(1, 2)) & np.isfinite(corner_depth).all(axis=1)
  chosen = np.flatnonzero(drawn)
  return chosen, low[chosen].astype(np.int64), high[chosen].astype(np.int64)


def _pixels(chosen, low, high, counts):
  """Every pixel of every box: triangle, column, row."""
  row_of = np.repeat(np.arange(len(chosen)), counts)
  number = np.arange(len(row_of)) - np.repeat(np.cumsum(counts) - counts, counts)
  columns = (high - low + 1)[row_of, 0]
  return (
    chosen[row_of],
    low[row_of, 0] + number % columns,
    low[row_of, 1] + number // columns,
  )


def _cross(p, q):
  return p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]


def _barycentric(corners, x, y):
  a, b, c = corners.transpose(1, 0, 2)
  point = np.stack([x, y], axis=1)
  area = _cross(b - a, c - a)
  w1 = _cross(point - a, c - a) / area
  w2 = _cross(b - a, point - a) / area
  return np.stack([1 - w1 - w2, w1, w2], axis=1)


def interpolate(
  ids: np.ndarray, weights: np.ndarray, triangles: np.ndarray, attributes: np.ndarray
) -> np.ndarray:
  """Vertex attributes at every pixel.

  Args:
    ids: (H, W) of `rasterize`.
    weights: (H, W, 3) of `rasterize`.
    triangles: (F, 3).
    attributes: (Q, C).

  Returns:
    (H, W, C) float64; 0 where there is no triangle.
  """
  corners = np.asarray(attributes, np.float64)[
    np.asarray(triangles)[np.maximum(ids, 0)]
  ]
  return np.einsum('hwi,hwic->hwc', weights, corners)
