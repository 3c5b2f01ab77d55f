"""Position maps: a face unrolled into an image whose pixels hold 3D positions.

The maps are those of PRNet (Feng et al., ECCV 2018). Theirs are laid out by the Basel
model's table of texture coordinates; ours by a cylinder about the head, which any face
model has.
"""

import dataclasses

import numpy as np

from pifa_jax.geometry import host_rasterizer

_MARGIN = 0.02  # of the map, free at every side


@dataclasses.dataclass(frozen=True)
class UvLayout:
  """Which place of the mesh every pixel of a position map holds.

  Attributes:
    coordinates: (Q, 2) of the vertices, pixels of the map: u right, v down.
    triangles: (F, 3) that are laid out.
    ids: (S, S) int32 triangle of every pixel, -1 = none.
    weights: (S, S, 3) barycentric coordinates in it.
  """

  coordinates: np.ndarray
  triangles: np.ndarray
  ids: np.ndarray
  weights: np.ndarray


def cylinder_layout(
  mean_shape: np.ndarray, triangles: np.ndarray, *, size: int = 256
) -> UvLayout:
  """Unrolls the mean face from a cylinder whose axis is vertical, through the head.

  u is the angle about the axis, v the height, both fitted to the map. Where several
  surfaces lie behind each other, the outermost is in the map.

  Args:
    mean_shape: (Q, 3) x right, y up, z towards the viewer.
    triangles: (F, 3) of the part to lay out, counter-clockwise seen from outside. Those
      that reach round the back of the cylinder are left out.
    size: S, side of the map.

  Returns:
    The layout; good for every face of the model.
  """
  shape = np.asarray(mean_shape, np.float64)
  triangles = np.asarray(triangles, np.int32)
  used = shape[np.unique(triangles)]
  # The ends of the face in x lie at its sides: the axis runs between them, at the depth
  # of its hindmost part, so that no angle is beyond that of the ears.
  middle = (used[:, 0].min() + used[:, 0].max()) / 2
  away, depth = shape[:, 0] - middle, shape[:, 2] - used[:, 2].min()
  angle = np.arctan2(away, depth)
  corners = angle[triangles]
  triangles = triangles[np.ptp(corners, axis=1) < np.pi]
  fit = lambda x, low, high: (
    _MARGIN + (1 - 2 * _MARGIN) * (x - low) / max(high - low, 1e-12)
  )
  ids = np.unique(triangles)
  u = fit(angle, angle[ids].min(), angle[ids].max())
  v = fit(-shape[:, 1], -shape[ids, 1].max(), -shape[ids, 1].min())
  coordinates = np.stack([u, v], axis=-1) * size - 0.5
  found, weights, _ = host_rasterizer.rasterize(
    coordinates, -np.hypot(away, depth), triangles, height=size, width=size
  )
  return UvLayout(coordinates, triangles, found, weights)


def position_map(layout: UvLayout, vertices: np.ndarray) -> np.ndarray:
  """The position map of a fitted face, in PRNet's convention.

  Args:
    layout: of the face model.
    vertices: (Q, 3) over the photo, z away from the viewer, as
      `projection.image_vertices` gives them.

  Returns:
    (S, S, 3) float32: x and y in 0-based pixels of the photo, y down; z in the same
    unit, towards the viewer, 0 at the hindmost place. 0 where the map is empty.
  """
  places = host_rasterizer.interpolate(
    layout.ids, layout.weights, layout.triangles, vertices
  )
  full = layout.ids >= 0
  z = -places[..., 2]
  places[..., 2] = z - (z[full].min() if full.any() else 0.0)
  return np.where(full[..., None], places, 0.0).astype(np.float32)
