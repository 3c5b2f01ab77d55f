"""Vertices, camera and pose of flat P as ONNX: see `pifa_jax.geometry.projection`."""

import dataclasses

import numpy as np

from experiments.export.onnx_graph import Graph, Value
from pifa_jax.types import CAMERA_SIZE, MorphableModel

_TINY = 1e-24  # as in projection: below it a camera is degenerate


@dataclasses.dataclass(frozen=True)
class View:
  """What a camera sees of the vertices, (B, Q) each.

  Attributes:
    u: pixels.
    v: pixels.
    depth: pixels; smaller is nearer.
    towards: g of Eq. (8) before its maximum with 0.
  """

  u: Value
  v: Value
  depth: Value
  towards: Value


def view(
  graph: Graph, model: MorphableModel, vector: Value, factor: float = 1.0
) -> View:
  """Projects the vertices of faces: Eqs. (1), (3) and (8).

  Args:
    graph: to which it is added.
    model: the 3DMM on the vertices that are wanted.
    vector: (B, 8 + N_I + N_E) flat P, crop pixels.
    factor: size of the image over that of the crop.

  Returns:
    The view, in pixels of that image.
  """
  m1, m4, m2, m8, shape = _parts(graph, vector, model.num_params)
  m1, m2 = m1 * factor, m2 * factor
  m4, m8 = ((m + 0.5) * factor - 0.5 if factor != 1 else m for m in (m4, m8))
  count = model.num_vertices
  # Coordinate after coordinate: (N_I + N_E, 3 Q).
  mean, identity, expression = (
    np.moveaxis(np.asarray(array, np.float32), -1, -2)
    for array in (model.mean_shape, model.identity_basis, model.expression_basis)
  )
  bases = np.concatenate([identity, expression]).reshape(-1, 3 * count)
  vertices = graph.node('MatMul', shape, bases) + mean.reshape(1, -1)
  vertices = graph.node('Reshape', vertices, np.array([-1, 3, count]))
  sight, length = _sight(graph, m1, m2)
  # Of `projection.depth_axis`: the root of |m1||m2| is the scale.
  directions = [m1, m2, sight * graph.node('Sqrt', length)]
  u, v, depth = _along(graph, directions, vertices, count)
  (away,) = _along(graph, [sight], np.asarray(model.mean_normals, np.float32).T, count)
  return View(u + m4, v + m8, depth, -away)


def _parts(graph, vector, num_params):
  """m1, m4, m2, m8 and the coefficients of flat P."""
  sizes = np.array([3, 1, 3, 1, num_params - CAMERA_SIZE])
  return graph.nodes('Split', 5, vector, sizes, axis=1)


def _along(graph, directions, points, count):
  """The coordinates of points along directions (B, 3), a (B, count) each."""
  rows = [
    graph.node('Reshape', direction, np.array([-1, 1, 3])) for direction in directions
  ]
  product = graph.node('MatMul', graph.concat(rows, axis=1), points)
  flat = graph.node('Reshape', product, np.array([-1, len(rows) * count]))
  if len(rows) == 1:
    return [flat]
  sizes = np.array([count] * len(rows))
  return graph.nodes('Split', len(rows), flat, sizes, axis=1)


def _cross(graph, a, b):
  turned = lambda x, order: graph.node('Gather', x, np.array(order), axis=1)
  forward, back = [1, 2, 0], [2, 0, 1]
  return turned(a, forward) * turned(b, back) - turned(a, back) * turned(b, forward)


def _sight(graph, m1, m2):
  """`projection.viewing_direction`, (B, 3), and |m1||m2|, (B, 1), or 0 and 1."""
  squared = graph.total(m1 * m1, 1) * graph.total(m2 * m2, 1)
  good = squared > _TINY
  length = graph.node('Sqrt', graph.where(good, squared, 1.0))
  return graph.where(good, _cross(graph, m1, m2) / length, 0.0), length


def pose_degrees(
  graph: Graph, vector: Value, num_params: int
) -> tuple[Value, Value, Value]:
  """Yaw, pitch and roll of `projection.pose_from_camera`.

  Args:
    graph: to which it is added.
    vector: (B, 8 + N_I + N_E) flat P.
    num_params: 8 + N_I + N_E.

  Returns:
    (B,) degrees each. Half a turn may come with the other sign: the same pose.
  """
  m1, _, m2, _, _ = _parts(graph, vector, num_params)
  r1, r2 = _nearest_rows(graph, m1, m2)
  entries = lambda row: graph.nodes('Split', 3, row, np.array([1, 1, 1]), axis=1)
  r3 = _cross(graph, r1, r2)
  (r00, r01, r02), (_, r11, r12), (_, r21, r22) = map(entries, (r1, r2, r3))
  yaw = graph.node('Asin', graph.node('Clip', -r02, -1.0, 1.0))
  pitch = graph.where(
    _are_zero(r12, r22), _arctan2(graph, -r21, r11), _arctan2(graph, r12, r22)
  )
  roll = _arctan2(graph, r01, r00)
  size = lambda angle: graph.node('Abs', angle)
  away = (r22 < 0) & (size(pitch) + size(roll) > np.pi)
  half_turn = lambda angle: graph.where(angle < 0, -np.pi, np.pi)
  angles = (
    graph.where(away, half_turn(yaw) - yaw, yaw),
    graph.where(away, pitch - half_turn(pitch), pitch),
    graph.where(away, roll - half_turn(roll), roll),
  )
  yaw, pitch, roll = (
    graph.node('Squeeze', angle * (180 / np.pi), np.array([1])) for angle in angles
  )
  return yaw, pitch, roll


def _nearest_rows(graph, m1, m2):
  """The rows R[0], R[1] of `projection.nearest_scaled_rotation`, (B, 3) each."""
  dot = lambda a, b: graph.total(a * b, 1)
  g00, g01, g11 = dot(m1, m1), dot(m1, m2), dot(m2, m2)
  squared = g00 * g11 - g01 * g01
  good = squared > _TINY
  root_det = graph.node('Sqrt', graph.where(good, squared, 1.0))
  total = graph.where(good, g00 + g11, 2.0)
  trace = graph.node('Sqrt', total + root_det * 2)
  root00, root01, root11 = (x / trace for x in (g00 + root_det, g01, g11 + root_det))
  r1 = (root11 * m1 - root01 * m2) / root_det
  r2 = (root01 * m1 - root00 * m2) / root_det  # the image's v runs down
  return graph.where(good, r1, 0.0), graph.where(good, r2, 0.0)


def _are_zero(y, x):
  return y * y + x * x < _TINY


def _arctan2(graph, y, x):
  """atan2, 0 where both vanish; of the smaller over the larger, as ONNX has atan."""
  across, up = graph.node('Abs', x), graph.node('Abs', y)
  larger = graph.node('Max', across, up)
  larger = graph.where(larger > 0, larger, 1.0)
  angle = graph.node('Atan', graph.node('Min', across, up) / larger)
  angle = graph.where(up > across, np.pi / 2 - angle, angle)
  angle = graph.where(x < 0, np.pi - angle, angle)
  angle = graph.where(y < 0, -angle, angle)
  return graph.where(_are_zero(y, x), 0.0, angle)
