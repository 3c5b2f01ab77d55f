"""The mesh of a fitted face for other programs: viewer's frame, photo's colours."""

import numpy as np

from pifa_jax.geometry import host_rasterizer, rendering

_SIZE = 256  # side of the square in which hidden vertices are found, pixels
# Vertices lie on the surface that is drawn; steep parts of it are coarse at _SIZE.
_TOLERANCE = 3.0
_UNKNOWN = 128


def viewer_vertices(vertices: np.ndarray) -> np.ndarray:
  """A mesh over its photo -> the frame that viewers of meshes expect.

  x is right, y up and z towards the viewer; the middle of the mesh is the origin; the
  unit stays the pixel of the photo. It is half a turn about the x axis, so x, y, z
  stays right-handed and triangles stay counter-clockwise as seen from outside.

  Args:
    vertices: (Q, 3) x right, y down, z away from the viewer, as `image_vertices` gives
      them.

  Returns:
    (Q, 3) float64.
  """
  vertices = np.asarray(vertices, np.float64)
  return (vertices - vertices.mean(axis=0)) * [1.0, -1.0, -1.0]


def vertex_colors(
  photo: np.ndarray,
  vertices: np.ndarray,
  triangles: np.ndarray,
  facing: np.ndarray,
  symmetry: np.ndarray | None = None,
) -> np.ndarray:
  """The colours of a mesh that lies over its photo.

  A vertex that the photo shows has the colour of its place there. One that faces away,
  is behind another part of the face or lies outside the photo has the colour of its
  mirror vertex, if the photo shows that, else the median colour of the face.

  Args:
    photo: (H, W, 3) uint8 RGB.
    vertices: (Q, 3) 0-based pixels and depth, as `image_vertices` gives them.
    triangles: (F, 3) vertex ids, counter-clockwise as seen from outside.
    facing: (Q,) bool: vertices that face the camera.
    symmetry: (Q,) id of the mirror vertex of each vertex, or None.

  Returns:
    (Q, 3) uint8 RGB.
  """
  vertices = np.asarray(vertices, np.float64)
  height, width = photo.shape[:2]
  # The outer edges of the photo: integers are the centres of pixels.
  inside = np.all(
    (vertices[:, :2] >= -0.5) & (vertices[:, :2] <= [width - 0.5, height - 0.5]), axis=1
  )
  shown = inside & np.asarray(facing, bool) & _in_front(vertices, triangles)
  colors = np.full((len(vertices), 3), float(_UNKNOWN))
  if not shown.any():
    return colors.astype(np.uint8)
  sampled = _bilinear(photo, vertices[shown, :2])
  colors[:] = np.median(sampled, axis=0)
  colors[shown] = sampled
  if symmetry is not None:
    symmetry = np.asarray(symmetry)
    borrowing = ~shown & shown[symmetry]
    colors[borrowing] = colors[symmetry[borrowing]]
  return np.round(colors).astype(np.uint8)


def _in_front(vertices, triangles):
  """(Q,) bool: vertices that no other part of the mesh hides."""
  low, high = vertices[:, :2].min(axis=0), vertices[:, :2].max(axis=0)
  scale = (_SIZE - 2) / max(float(np.max(high - low)), 1e-12)
  placed = (vertices - [*low, 0.0]) * scale + [0.5, 0.5, 0.0]
  _, _, z_buffer = host_rasterizer.rasterize(
    placed[:, :2], placed[:, 2], triangles, height=_SIZE, width=_SIZE
  )
  return np.asarray(
    rendering.z_buffer_visibility(
      placed[:, :2].astype(np.float32),
      placed[:, 2].astype(np.float32),
      z_buffer.astype(np.float32),
      tolerance=_TOLERANCE,
    )
  )


def _bilinear(photo, points):
  """(n, 3) colours at (n, 2) pixels; the border goes on outwards."""
  height, width = photo.shape[:2]
  points = np.clip(points, 0, [width - 1, height - 1])
  low = np.minimum(np.int64(points), [max(width - 2, 0), max(height - 2, 0)])
  x, y = (points - low).T[..., None]
  left, top = low.T
  right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
  upper = (1 - x) * photo[top, left] + x * photo[top, right]
  lower = (1 - x) * photo[below, left] + x * photo[below, right]
  return (1 - y) * upper + y * lower
