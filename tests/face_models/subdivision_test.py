"""Tests of Loop subdivision against a reference that reads like the rule."""

import math

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.face_models import subdivision
from pifa_jax.geometry import morphable_model
from pifa_jax.types import FaceParams
from tests import toy_model

OCTAHEDRON = np.array(
  [
    [0, 2, 4],
    [2, 1, 4],
    [1, 3, 4],
    [3, 0, 4],
    [2, 0, 5],
    [1, 2, 5],
    [3, 1, 5],
    [0, 3, 5],
  ]
)
# Five triangles around vertex 0, one missing: vertex 0 is on the rim.
OPEN_FAN = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]])
GRID = np.array(
  [
    [0, 1, 3],
    [1, 4, 3],
    [1, 2, 4],
    [2, 5, 4],
    [3, 4, 6],
    [4, 7, 6],
    [4, 5, 7],
    [5, 8, 7],
  ]
)


def slow_loop(triangles, vertices, pinned=()):
  """Loop's rule, one vertex at a time; returns positions by vertex and by edge."""
  opposite = {}
  for triangle in triangles.tolist():
    for i in range(3):
      edge = frozenset((triangle[i], triangle[(i + 1) % 3]))
      opposite.setdefault(edge, []).append(triangle[(i + 2) % 3])
  old = {}
  for v in range(len(vertices)):
    around = [next(iter(edge - {v})) for edge in opposite if v in edge]
    rim = [n for n in around if len(opposite[frozenset((v, n))]) != 2]
    if v in pinned or not around:
      old[v] = vertices[v]
    elif rim:
      old[v] = 0.75 * vertices[v] + 0.125 * (vertices[rim[0]] + vertices[rim[1]])
    else:
      n = len(around)
      beta = (5 / 8 - (3 / 8 + math.cos(2 * math.pi / n) / 4) ** 2) / n
      old[v] = (1 - n * beta) * vertices[v] + beta * sum(vertices[a] for a in around)
  new = {}
  for edge, corners in opposite.items():
    a, b = edge
    if len(corners) == 2:
      new[edge] = (
        3 * (vertices[a] + vertices[b]) + vertices[corners[0]] + vertices[corners[1]]
      ) / 8
    else:
      new[edge] = (vertices[a] + vertices[b]) / 2
  return old, new


class LoopOperatorTest(parameterized.TestCase):
  @parameterized.parameters(
    (OCTAHEDRON, 6, ()),
    (OCTAHEDRON, 6, (2, 5)),
    (OPEN_FAN, 6, ()),
    (GRID, 9, ()),
    (GRID, 9, (4,)),
    (GRID, 11, ()),
  )
  def test_matches_the_slow_twin(self, triangles, q, pinned):
    vertices = np.random.default_rng(1).normal(size=(q, 3))
    operator, finer, edges = subdivision.loop_operator(
      triangles, q, pinned=np.array(pinned, int)
    )
    old, new = slow_loop(triangles, vertices, pinned)
    got = operator @ vertices
    # float64 sums of fewer than ten terms of size one.
    for v, wanted in old.items():
      np.testing.assert_allclose(got[v], wanted, atol=1e-14)
    self.assertLen(edges, len(new))
    for i, (a, b) in enumerate(edges.tolist()):
      np.testing.assert_allclose(got[q + i], new[frozenset((a, b))], atol=1e-14)
    self.assertLen(finer, 4 * len(triangles))
    np.testing.assert_allclose(np.asarray(operator.sum(axis=1)), 1, atol=1e-14)

  def test_octahedron_stays_closed_convex_and_outward(self):
    vertices = np.array(
      [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float
    )
    triangles = OCTAHEDRON
    for _ in range(2):
      operator, triangles, _ = subdivision.loop_operator(triangles, len(vertices))
      vertices = operator @ vertices
    self.assertLen(vertices, 66)  # 6 + 12, then 18 + 48.
    normals = subdivision.vertex_normals(vertices, triangles)
    outward = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    self.assertGreater((normals * outward).sum(axis=1).min(), 0.95)


class SubdivideTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.model = toy_model.make_toy_model(rows=8, columns=10)

  def test_normals_are_those_of_the_geometry_module(self):
    # Both add up the same area-weighted triangles; float32 against float64.
    np.testing.assert_allclose(
      subdivision.vertex_normals(self.model.mean_shape, self.model.triangles),
      morphable_model.vertex_normals(self.model.mean_shape, self.model.triangles),
      atol=2e-6,
    )

  def test_subdivided_bases_give_the_subdivided_shape(self):
    rng = np.random.default_rng(2)
    face = FaceParams(
      camera=np.zeros((2, 4), np.float32),
      identity=rng.normal(size=self.model.num_identity).astype(np.float32),
      expression=rng.normal(size=self.model.num_expression).astype(np.float32),
    )
    fine = subdivision.subdivide(self.model, levels=2)
    pinned = np.unique(
      np.concatenate(
        [[int(self.model.nose_tip)], *self.model.landmark_schemes.values()]
      )
    )
    vertices = np.asarray(morphable_model.shape(self.model, face), np.float64)
    triangles = np.asarray(self.model.triangles)
    for _ in range(2):
      operator, triangles, _ = subdivision.loop_operator(
        triangles, len(vertices), pinned=pinned
      )
      vertices = operator @ vertices
    # float32: values up to 100, a few dozen terms.
    np.testing.assert_allclose(morphable_model.shape(fine, face), vertices, atol=2e-4)
    np.testing.assert_array_equal(fine.triangles, triangles)

  def test_landmarks_and_ids_stay(self):
    fine = subdivision.subdivide(self.model, levels=2)
    for name, ids in self.model.landmark_schemes.items():
      np.testing.assert_array_equal(fine.landmark_schemes[name], ids)
      np.testing.assert_array_equal(
        fine.mean_shape[ids], self.model.mean_shape[ids].astype(np.float32)
      )
      np.testing.assert_array_equal(
        fine.identity_basis[:, ids],
        self.model.identity_basis[:, ids].astype(np.float32),
      )
    free = np.setdiff1d(
      np.arange(self.model.num_vertices),
      np.concatenate(
        [[int(self.model.nose_tip)], *self.model.landmark_schemes.values()]
      ),
    )
    moved = np.abs(fine.mean_shape[free] - self.model.mean_shape[free])
    self.assertGreater(moved.max(), 0.1)  # The others do follow Loop's rule.

  def test_regions_grow_only_inside_and_points_stay_points(self):
    ring = self.model.triangles[:6].reshape(-1)
    model = self.model.replace(
      regions={'patch': np.unique(ring), 'mask_five': np.unique(ring)[:5]}
    )
    fine = subdivision.subdivide(model)
    np.testing.assert_array_equal(fine.regions['mask_five'], model.regions['mask_five'])
    patch = fine.regions['patch']
    np.testing.assert_array_equal(patch[: len(np.unique(ring))], np.unique(ring))
    self.assertGreater(len(patch), len(np.unique(ring)))
    _, _, edges = subdivision.loop_operator(model.triangles, model.num_vertices)
    new = patch[len(np.unique(ring)) :] - model.num_vertices
    self.assertTrue(np.isin(edges[new], ring).all())

  def test_symmetry_of_the_finer_mesh_or_none(self):
    # Triangulated the same way on both sides: two mirrored tetrahedron faces.
    vertices = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [-1, 0, 0]], np.float32)
    model = self.model.replace(
      mean_shape=vertices,
      identity_basis=np.zeros((1, 4, 3), np.float32),
      identity_stddev=np.ones(1, np.float32),
      expression_basis=np.zeros((1, 4, 3), np.float32),
      expression_stddev=np.ones(1, np.float32),
      triangles=np.array([[0, 2, 1], [0, 1, 3]]),
      nose_tip=np.int32(0),
      landmark_schemes={},
      regions={},
      symmetry=np.array([0, 1, 3, 2]),
    )
    fine = subdivision.subdivide(model)
    np.testing.assert_allclose(
      fine.mean_shape[fine.symmetry], fine.mean_shape * [-1, 1, 1], atol=1e-7
    )
    lopsided = subdivision.subdivide(model.replace(triangles=np.array([[0, 2, 1]])))
    self.assertIsNone(lopsided.symmetry)

  def test_levels(self):
    self.assertIs(subdivision.subdivide(self.model, levels=0), self.model)
    with self.assertRaisesRegex(ValueError, 'levels=-1'):
      subdivision.subdivide(self.model, levels=-1)


if __name__ == '__main__':
  absltest.main()
