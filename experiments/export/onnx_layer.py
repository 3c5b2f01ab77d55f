"""The visualization layer as ONNX: what `pifa_jax.geometry.visualization` computes.

That one decides the nearest vertex of a cell by integers made of the bits of a float.
ONNX has no such thing: here two scatters with a minimum decide, of depths and of
indices. The winners are the same, as a minimum does not round.
"""

import numpy as np

from experiments.export import onnx_geometry
from experiments.export.onnx_graph import Graph, Value
from pifa_jax.types import Array, MorphableModel


def visualize(
  graph: Graph,
  model: MorphableModel,
  mask: Array,
  vector: Value,
  batch: Value,
  *,
  image_size: int,
  factor: float,
  sigma: float,
  radius: int,
) -> Value:
  """V of a batch of faces: Eqs. (8)-(10), Fig. 5.

  Args:
    graph: to which it is added.
    model: the 3DMM on the vertices that are rendered.
    mask: (Q,) a of Eq. (11).
    vector: (B, 8 + N_I + N_E) flat P, crop pixels.
    batch: (1,) int64 B.
    image_size: H = W of V, pixels.
    factor: image_size over the size of the crop.
    sigma: of Eq. (10), pixels.
    radius: of the window, cells.

  Returns:
    (B, 1, image_size, image_size), indexed [v, u].
  """
  view = onnx_geometry.view(graph, model, vector, factor)
  cell = cells(graph, view.u, view.v, view.towards > 0, image_size)
  winner, occupied = nearest(
    graph, cell, view.depth, batch, image_size**2, model.num_vertices
  )
  value = graph.node('Relu', view.towards) * np.asarray(mask, np.float32)[None]
  shape = np.array([-1, 1, image_size, image_size])
  # A cell without a winner must not reach the exponentials: see `window_average`.
  x, y, value = (
    graph.node(
      'Reshape',
      graph.where(occupied, graph.node('GatherElements', plane, winner, axis=1), 0.0),
      shape,
    )
    for plane in (view.u, view.v, value)
  )
  occupied = graph.node('Cast', occupied, to=1)  # float32
  occupied = graph.node('Reshape', occupied, shape)
  return window_average(graph, x, y, value, occupied, image_size, sigma, radius)


def cells(graph: Graph, u: Value, v: Value, valid: Value, image_size: int) -> Value:
  """`visualization.cells`: the pixel cell that every vertex falls in.

  Args:
    graph: to which it is added.
    u: (B, Q) pixels.
    v: (B, Q) pixels.
    valid: (B, Q) bool; False removes a vertex.
    image_size: H = W, pixels.

  Returns:
    (B, Q) int64; image_size^2 for a vertex that is removed or lies outside.
  """
  low, high = -0.5, image_size - 0.5
  less = lambda x: x < high
  inside = valid & (u >= low) & less(u) & (v >= low) & less(v)

  def pixel(x):
    x = graph.node('Floor', graph.where(inside, x, 0.0) + 0.5)
    return graph.node('Min', x, image_size - 1)

  # Whole numbers of a few thousand are exact as float32.
  cell = graph.where(inside, pixel(v) * image_size + pixel(u), image_size**2)
  return graph.node('Cast', cell, to=7)  # int64


def nearest(
  graph: Graph, cell: Value, depth: Value, batch: Value, num_cells: int, count: int
) -> tuple[Value, Value]:
  """`visualization.winners`: the nearest vertex of every cell (Fig. 5).

  First the smallest depth of a cell, then the lowest index of those that have it.

  Args:
    graph: to which it is added.
    cell: (B, Q) int64 of `cells`.
    depth: (B, Q) finite; smaller is nearer.
    batch: (1,) int64 B.
    num_cells: C.
    count: Q.

  Returns:
    (B, C) int64 vertex ids, 0 where the cell is empty, and (B, C) bool: it is not.
  """
  column = graph.concat([batch, graph.constant(np.array([1]))], axis=0)

  def minimum(start, values):
    # Cell C takes what is removed.
    empty = graph.node('Expand', np.full((1, num_cells + 1), start), column)
    return graph.node('ScatterElements', empty, cell, values, axis=1, reduction='min')

  least = minimum(np.float32(np.inf), depth)
  wins = graph.node('Equal', depth, graph.node('GatherElements', least, cell, axis=1))
  index = graph.where(wins, np.arange(count)[None], np.array(count))
  winner = graph.node(
    'Slice', minimum(count, index), np.array([0]), np.array([num_cells]), np.array([1])
  )
  occupied = winner < np.array(count)
  return graph.where(occupied, winner, np.array(0)), occupied


def window_average(
  graph: Graph,
  x: Value,
  y: Value,
  value: Value,
  occupied: Value,
  image_size: int,
  sigma: float,
  radius: int,
) -> Value:
  """`visualization.window_average`: Eqs. (9)-(10).

  Args:
    graph: to which it is added.
    x: (B, 1, S, S) the winners' u, pixels; 0 where the cell is empty.
    y: (B, 1, S, S) their v.
    value: (B, 1, S, S) what to average: g a.
    occupied: (B, 1, S, S) float32, 1 where the cell has a winner, else 0.
    image_size: S, pixels.
    sigma: of Eq. (10), pixels.
    radius: of the window, cells.

  Returns:
    (B, 1, S, S); 0 where the window is empty.
  """
  side = 2 * radius + 1
  offsets = np.arange(-radius, radius + 1, dtype=np.float32)
  rows, columns = np.meshgrid(offsets, offsets, indexing='ij')
  # A convolution with a 1 at one cell shifts the image: channel k is neighbour k.
  shift = np.eye(side**2, dtype=np.float32).reshape(-1, 1, side, side)
  neighbours = lambda plane: graph.node('Conv', plane, shift, pads=[radius] * 4)
  grid = np.arange(image_size, dtype=np.float32)
  u = neighbours(x - grid[None, None, None, :]) + columns.reshape(1, -1, 1, 1)
  v = neighbours(y - grid[None, None, :, None]) + rows.reshape(1, -1, 1, 1)
  weight = graph.node('Exp', (u * u + v * v) * (-1 / (2 * sigma**2)))
  weight = weight * neighbours(occupied)
  numerator = graph.total(weight * neighbours(value), 1)
  denominator = graph.total(weight, 1)
  filled = denominator > 0
  divisor = graph.where(filled, denominator, 1.0)
  return graph.where(filled, numerator / divisor, 0.0)
