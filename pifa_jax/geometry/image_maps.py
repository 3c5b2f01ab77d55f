"""Maps of a fitted mesh over its photo: depth, normals, model coordinates."""

import dataclasses

import numpy as np

from pifa_jax.geometry import host_rasterizer


@dataclasses.dataclass(frozen=True)
class Window:
  """What a part of a photo shows of a mesh.

  Attributes:
    left: first column of the window in the photo.
    top: first row.
    depth: (h, w) float32 z of the mesh, infinite where the mesh is not.
    values: (h, w, C) float32 attributes, 0 where the mesh is not.
  """

  left: int
  top: int
  depth: np.ndarray
  values: np.ndarray

  @property
  def covered(self) -> np.ndarray:
    """(h, w) bool: where the mesh is."""
    return np.isfinite(self.depth)

  def part_of(self, canvas: np.ndarray) -> np.ndarray:
    """The part of a map of the photo that lies under the window, a view.

    Args:
      canvas: (H, W, ...).

    Returns:
      (h, w, ...).
    """
    height, width = self.depth.shape
    return canvas[self.top : self.top + height, self.left : self.left + width]


def draw(
  vertices: np.ndarray,
  triangles: np.ndarray,
  attributes: np.ndarray,
  *,
  height: int,
  width: int,
) -> Window:
  """Draws a mesh over its photo: a pixel shows what its centre sees.

  Args:
    vertices: (Q, 3) x, y in 0-based pixels and z away from the viewer, as
      `projection.image_vertices` gives them.
    triangles: (F, 3) counter-clockwise seen from outside; those that face away are not
      drawn.
    attributes: (Q, C) of the vertices, interpolated in the triangles.
    height: of the photo.
    width: of the photo.

  Returns:
    The part of the photo that the mesh may cover; of size 0 outside of it.
  """
  vertices = np.asarray(vertices, np.float64)
  triangles = np.asarray(triangles, np.int32)
  used = vertices[np.unique(triangles)]
  low = np.maximum(np.floor(used[:, :2].min(axis=0)), 0)
  high = np.minimum(np.ceil(used[:, :2].max(axis=0)) + 1, [width, height])
  left, top = (int(x) for x in np.minimum(low, [width, height]))
  columns, rows = (int(x) for x in np.maximum(high - [left, top], 0))
  ids, weights, depth = host_rasterizer.rasterize(
    vertices[:, :2] - [left, top], vertices[:, 2], triangles, height=rows, width=columns
  )
  values = host_rasterizer.interpolate(ids, weights, triangles, attributes)
  return Window(left, top, depth.astype(np.float32), values.astype(np.float32))


def model_coordinates(mean_shape: np.ndarray, triangles: np.ndarray) -> np.ndarray:
  """Colours that name the places of a face: its Normalised Coordinate Code.

  Every axis of the mean shape from 0 to 1 over the part that is drawn, as in 3DDFA
  (Zhu et al., CVPR 2016, Eq. 5); a mesh that is drawn with them is the PNCC.

  Args:
    mean_shape: (Q, 3) S_0.
    triangles: (F, 3) that are drawn.

  Returns:
    (Q, 3) float32 in [0, 1].
  """
  mean_shape = np.asarray(mean_shape, np.float64)
  drawn = mean_shape[np.unique(triangles)]
  low, high = drawn.min(axis=0), drawn.max(axis=0)
  return np.clip((mean_shape - low) / np.maximum(high - low, 1e-12), 0, 1).astype(
    np.float32
  )


def part_triangles(triangles: np.ndarray, vertex_ids: np.ndarray) -> np.ndarray:
  """The triangles all of whose corners are among some vertices.

  Args:
    triangles: (F, 3).
    vertex_ids: (K,).

  Returns:
    (G, 3) ids of the same vertices.
  """
  triangles = np.asarray(triangles)
  return triangles[np.isin(triangles, vertex_ids).all(axis=1)]
