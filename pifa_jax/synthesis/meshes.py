"""Small meshes that are rendered with a head: grids, tubes, and joining them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mesh:
  """A mesh of something beside the head.

  Attributes:
    vertices: (E, 3) model units; NaN = its triangles are left out.
    albedo: (E, 3) linear RGB.
    gloss: (E,) strength of the highlight; that of skin is below 1.
    triangles: (T, 3) int32 NumPy, counter-clockwise from outside.
  """

  vertices: Array
  albedo: Array
  gloss: Array
  triangles: np.ndarray


def grid_triangles(
  columns: int, rows: int, *, closed: bool = False, two_sided: bool = False
) -> np.ndarray:
  """Makes the triangles of a grid of vertices, column after column.

  Outward means: to the right of a walk along the columns, looking down the rows.

  Args:
    columns: how many columns.
    rows: vertices in a column.
    closed: whether the last column is joined to the first.
    two_sided: whether the back is rendered as well.

  Returns:
    (T, 3) int32 vertex ids.
  """
  found = []
  for i in range(columns if closed else columns - 1):
    j = (i + 1) % columns
    for k in range(rows - 1):
      a, b = i * rows + k, j * rows + k
      found += [(a, a + 1, b), (b, a + 1, b + 1)]
  triangles = np.array(found, np.int32)
  if two_sided:
    triangles = np.concatenate([triangles, triangles[:, ::-1]])
  return triangles


def tube(line: Array, radius: Array, across: Array) -> Array:
  """Makes the vertices of a four-sided tube around a line.

  Args:
    line: (n, 3) points, any unit.
    radius: () half of its width, the same unit.
    across: (3,) unit, a direction that is nowhere along the line.

  Returns:
    (n * 4, 3) vertices, four around each point; `tube_triangles(n)` are the triangles.
  """
  along = jnp.roll(line, -1, axis=0) - jnp.roll(line, 1, axis=0)
  along = along.at[0].set(line[1] - line[0]).at[-1].set(line[-1] - line[-2])
  side = jnp.cross(along, across)
  side = side / jnp.maximum(jnp.linalg.norm(side, axis=1, keepdims=True), 1e-6)
  ring = jnp.stack(
    [side + across, side - across, -side - across, -side + across], axis=1
  )
  return (line[:, None] + 0.75 * radius * ring).reshape(-1, 3)


def tube_triangles(points: int) -> np.ndarray:
  """Makes the triangles of a `tube`, for both of its sides.

  Args:
    points: n, the points of the line.

  Returns:
    (T, 3) int32 vertex ids.
  """
  found = []
  for i in range(points - 1):
    for k in range(4):
      a, b = i * 4 + k, i * 4 + (k + 1) % 4
      found += [(a, b, a + 4), (b, b + 4, a + 4)]
  triangles = np.array(found, np.int32)
  return np.concatenate([triangles, triangles[:, ::-1]])


def outward(triangles: np.ndarray) -> np.ndarray:
  """Leaves out the backs of two-sided meshes.

  A triangle and its back cancel in a sum of normals.

  Args:
    triangles: (T, 3) vertex ids; the back of a triangle comes after it.

  Returns:
    (T', 3) the first triangle of each three vertices, in the order given.
  """
  _, first = np.unique(np.sort(triangles, axis=1), axis=0, return_index=True)
  return triangles[np.sort(first)]


def join(meshes: list[Mesh]) -> Mesh:
  """Joins meshes into one.

  Args:
    meshes: at least one.

  Returns:
    The mesh with all vertices and triangles, in the order given.
  """
  first, triangles = 0, []
  for mesh in meshes:
    triangles.append(mesh.triangles + first)
    first += mesh.vertices.shape[0]
  return Mesh(
    vertices=jnp.concatenate([m.vertices for m in meshes]),
    albedo=jnp.concatenate([m.albedo for m in meshes]),
    gloss=jnp.concatenate([m.gloss for m in meshes]),
    triangles=np.concatenate(triangles),
  )


def shown(mesh: Mesh, visible: Array) -> Mesh:
  """Shows a mesh or leaves it out.

  Args:
    mesh: any.
    visible: () bool.

  Returns:
    The mesh; all vertices are NaN if it is not visible.
  """
  return dataclasses.replace(mesh, vertices=jnp.where(visible, mesh.vertices, jnp.nan))
