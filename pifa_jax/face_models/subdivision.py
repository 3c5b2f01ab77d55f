"""Loop subdivision of a whole face model: mean and bases by one linear operator.

Subdivision is linear in the vertex positions, so the subdivided basis of Eq. (1)
is the operator times the coarse basis, and a file need only hold the coarse one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pifa_jax.face_models import landmark_tables
from pifa_jax.types import MorphableModel

# Regions of this prefix are lists of single points (the five areas of mask 2),
# not pieces of surface: subdivision keeps them as they are.
POINT_REGION_PREFIX = 'mask_'


def subdivide(model: MorphableModel, *, levels: int = 1) -> MorphableModel:
  """Subdivides a face model `levels` times.

  Coarse vertices keep their ids, and so all landmark schemes stay valid. The model's
  own landmark vertices and the nose tip keep their positions EXACTLY (Loop's rule
  would pull them inwards by some tenths of a millimetre), in the mean and in every
  basis, so that all levels of a model agree about them. Those of `landmark_tables`
  move as any vertex does: the shape must not depend on which schemes are known.

  A new vertex belongs to a region when both ends of its edge do.

  Args:
    model: the 3DMM, any Q, N_I, N_E.
    levels: how many times; every level multiplies the triangles by four.

  Returns:
    The finer model, float32. `mean_normals` are those of the finer mean shape.

  Raises:
    ValueError: if `levels` is negative.
  """
  if levels < 0:
    raise ValueError(f'levels={levels} is negative; use 0, 1 or 2.')
  if levels == 0:
    return model
  pinned = np.unique(
    np.concatenate(
      [np.reshape(model.nose_tip, -1)]
      + list(landmark_tables.own_schemes(model).values())
    )
  ).astype(np.int64)
  triangles = np.asarray(model.triangles, np.int64)
  symmetry = None if model.symmetry is None else np.asarray(model.symmetry, np.int64)
  regions = {name: np.asarray(ids, np.int64) for name, ids in model.regions.items()}
  num_vertices = model.num_vertices
  operator: Any = None
  for _ in range(levels):
    step, finer, edges = loop_operator(triangles, num_vertices, pinned=pinned)
    operator = step if operator is None else step @ operator
    regions = {
      name: _finer_region(name, ids, edges, num_vertices)
      for name, ids in regions.items()
    }
    if symmetry is not None:
      symmetry = _finer_symmetry(symmetry, edges, num_vertices)
    triangles, num_vertices = finer, step.shape[0]

  # One product for the mean and all bases: columns are (basis, coordinate).
  stacked = np.concatenate(
    [
      np.asarray(model.mean_shape, np.float32)[None],
      np.asarray(model.identity_basis, np.float32),
      np.asarray(model.expression_basis, np.float32),
    ]
  )
  columns = np.ascontiguousarray(stacked.transpose(1, 0, 2)).reshape(
    model.num_vertices, -1
  )
  fine = (
    (operator.astype(np.float32) @ columns)
    .reshape(num_vertices, stacked.shape[0], 3)
    .transpose(1, 0, 2)
  )
  last_identity = 1 + model.num_identity
  mean_shape = np.ascontiguousarray(fine[0])
  return model.replace(
    mean_shape=mean_shape,
    identity_basis=np.ascontiguousarray(fine[1:last_identity]),
    expression_basis=np.ascontiguousarray(fine[last_identity:]),
    triangles=triangles.astype(np.int32),
    mean_normals=vertex_normals(mean_shape, triangles),
    regions={name: ids.astype(np.int32) for name, ids in regions.items()},
    symmetry=None if symmetry is None else symmetry.astype(np.int32),
  )


def loop_operator(
  triangles: np.ndarray, num_vertices: int, *, pinned: Sequence[int] | np.ndarray = ()
) -> tuple[Any, np.ndarray, np.ndarray]:
  """One level of Loop subdivision as a sparse matrix.

  Interior vertex of valence n: (1 - n b) itself + b each neighbour, b = (5/8 -
  (3/8 + cos(2 pi / n) / 4)^2) / n; on the boundary 3/4 itself + 1/8 each boundary
  neighbour. New vertex: 3/8 the ends of its edge + 1/8 the two opposite corners;
  on the boundary the midpoint. An edge of more than two triangles counts as
  boundary, and so does a vertex where boundaries meet keep its place.

  Args:
    triangles: (T, 3) vertex ids.
    num_vertices: Q.
    pinned: ids of the vertices that must not move.

  Returns:
    (operator, finer, edges): scipy CSR (Q + E, Q) float64; (4 T, 3) int64 with the
    same orientation; (E, 2) int64, the edge of every new vertex, Q, Q+1, ...
  """
  import scipy.sparse  # Here, because only subdivision needs SciPy.

  triangles = np.asarray(triangles, np.int64)
  num_triangles = len(triangles)
  # Half-edge k of triangle t runs from corner k to corner k+1.
  starts = triangles.reshape(-1)
  ends = np.roll(triangles, -1, axis=1).reshape(-1)
  opposite = np.roll(triangles, -2, axis=1).reshape(-1)
  keys = np.minimum(starts, ends) * num_vertices + np.maximum(starts, ends)
  unique_keys, edge_of, uses = np.unique(keys, return_inverse=True, return_counts=True)
  edge_of = edge_of.reshape(-1)
  edges = np.stack([unique_keys // num_vertices, unique_keys % num_vertices], axis=1)
  num_edges = len(edges)
  inner = uses == 2
  rows, columns, values = [], [], []

  def add(row, column, value):
    rows.append(row)
    columns.append(column)
    values.append(np.broadcast_to(value, row.shape))

  # The new vertices.
  new_ids = num_vertices + np.arange(num_edges)
  for end in range(2):
    add(new_ids, edges[:, end], np.where(inner, 3 / 8, 1 / 2))
  inner_half_edges = inner[edge_of]
  add(num_vertices + edge_of[inner_half_edges], opposite[inner_half_edges], 1 / 8)

  # The old ones.
  rim = ~inner
  rim_degree = np.bincount(edges[rim].reshape(-1), minlength=num_vertices)
  valence = np.bincount(edges.reshape(-1), minlength=num_vertices)
  fixed = (valence == 0) | ((rim_degree != 0) & (rim_degree != 2))
  fixed[np.asarray(pinned, np.int64)] = True
  on_rim = (rim_degree == 2) & ~fixed
  smooth = ~fixed & ~on_rim
  n = np.maximum(valence, 1)
  beta = (5 / 8 - (3 / 8 + np.cos(2 * np.pi / n) / 4) ** 2) / n
  ids = np.arange(num_vertices)
  add(ids, ids, np.where(fixed, 1.0, np.where(on_rim, 3 / 4, 1 - n * beta)))
  for a, b in ((0, 1), (1, 0)):
    here, there = edges[:, a], edges[:, b]
    keep = smooth[here]
    add(here[keep], there[keep], beta[here[keep]])
    keep = on_rim[here] & rim
    add(here[keep], there[keep], 1 / 8)

  operator = scipy.sparse.csr_matrix(
    (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
    shape=(num_vertices + num_edges, num_vertices),
  )
  middle = num_vertices + edge_of.reshape(num_triangles, 3)
  a, b, c = triangles.T
  ab, bc, ca = middle.T
  finer = np.stack(
    [
      np.stack([a, ab, ca], 1),
      np.stack([ab, b, bc], 1),
      np.stack([ca, bc, c], 1),
      np.stack([ab, bc, ca], 1),
    ],
    axis=1,
  ).reshape(-1, 3)
  return operator, finer, edges


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
  """Area-weighted unit vertex normals in NumPy, (Q, 3) float32.

  The same as `morphable_model.vertex_normals`, for files and builders: it needs
  no compilation and sums in float64.

  Args:
    vertices: (Q, 3).
    triangles: (T, 3) vertex ids, counter-clockwise seen from outside.

  Returns:
    (Q, 3) float32; zero for a vertex that no triangle uses.
  """
  vertices = np.asarray(vertices, np.float64)
  triangles = np.asarray(triangles, np.int64)
  corners = vertices[triangles]
  face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
  flat = triangles.reshape(-1)
  summed = np.stack(
    [
      np.bincount(flat, np.repeat(face[:, i], 3), minlength=len(vertices))
      for i in range(3)
    ],
    1,
  )
  length = np.linalg.norm(summed, axis=1, keepdims=True)
  return (summed / np.where(length > 0, length, 1)).astype(np.float32)


def _finer_region(name, ids, edges, num_vertices):
  if name.startswith(POINT_REGION_PREFIX):
    return ids
  inside = np.zeros(num_vertices, bool)
  inside[ids] = True
  new = num_vertices + np.nonzero(inside[edges].all(axis=1))[0]
  return np.concatenate([ids, new])


def _finer_symmetry(symmetry, edges, num_vertices):
  """The mirror of an edge's vertex; None if an edge has no mirror edge."""
  mirrored = np.sort(symmetry[edges], axis=1)
  keys = edges[:, 0] * num_vertices + edges[:, 1]  # Sorted, as np.unique made it.
  wanted = mirrored[:, 0] * num_vertices + mirrored[:, 1]
  found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
  if not np.array_equal(keys[found], wanted):
    return None
  return np.concatenate([symmetry, num_vertices + found])
