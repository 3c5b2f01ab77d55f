"""Eqs. (1)-(2), sub-models and normals."""

from unittest import mock

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import boxes, morphable_model
from pifa_jax.types import FaceParams, flatten_params, unflatten_params
from tests.toy_model import make_toy_model

_MODEL = make_toy_model()


class ShapeTest(absltest.TestCase):
  def test_eq_1_term_by_term(self):
    rng = np.random.default_rng(0)
    face = FaceParams(
      jnp.zeros((2, 4)),
      rng.normal(size=8).astype(np.float32),
      rng.normal(size=4).astype(np.float32),
    )
    expected = np.array(_MODEL.mean_shape, np.float64)
    for k in range(8):
      expected += face.identity[k] * _MODEL.identity_basis[k]
    for k in range(4):
      expected += face.expression[k] * _MODEL.expression_basis[k]
    # float32 sums of 12 terms of size 10.
    np.testing.assert_allclose(morphable_model.shape(_MODEL, face), expected, atol=1e-4)

  def test_vmap_is_one_product(self):
    faces = FaceParams(jnp.zeros((5, 2, 4)), jnp.ones((5, 8)), jnp.ones((5, 4)))
    text = (
      jax.jit(jax.vmap(lambda f: morphable_model.shape(_MODEL, f)))
      .lower(faces)
      .as_text()
    )
    self.assertEqual(text.count('dot_general'), 2)  # identity and expression

  def test_tiles_change_nothing_but_the_order_of_the_work(self):
    rng = np.random.default_rng(1)
    faces = FaceParams(
      jnp.zeros((5, 2, 4)),
      *(jnp.asarray(rng.normal(size=(5, n)), jnp.float32) for n in (8, 4)),
    )
    weights = jnp.asarray(rng.normal(size=(5, _MODEL.num_vertices, 3)), jnp.float32)

    def total(faces, model):
      shapes = jax.vmap(morphable_model.shape, in_axes=(None, 0))(model, faces)
      return jnp.sum(weights * shapes), shapes

    run = jax.value_and_grad(total, has_aux=True, argnums=(0, 1), allow_int=True)
    (_, wanted), slopes = run(faces, _MODEL)
    # The last tile is not full.
    tile = _MODEL.num_vertices // 2 - 1
    with mock.patch.object(morphable_model, '_TILE', tile):
      (_, cut), _ = run(faces, _MODEL)  # tiles of the bases as they are
      model = morphable_model.tile(_MODEL)
      (_, tiled), tiled_slopes = run(faces, model)
      one = morphable_model.shape(model, jax.tree.map(lambda x: x[4], faces))
    self.assertEqual(model.tiles.shape, (3, 1 + 12, 3 * tile))
    # float32 sums in another order, of coordinates up to 100; below, of 1,600 of them.
    np.testing.assert_allclose(cut, wanted, atol=1e-4)
    np.testing.assert_array_equal(tiled, cut)
    np.testing.assert_allclose(one, wanted[4], atol=1e-4)
    for name in ('identity', 'expression'):
      np.testing.assert_allclose(
        getattr(tiled_slopes[0], name), getattr(slopes[0], name), rtol=1e-5, atol=1e-4
      )
      basis = f'{name}_basis'
      np.testing.assert_allclose(
        getattr(tiled_slopes[1], basis), getattr(slopes[1], basis), rtol=1e-5, atol=1e-4
      )
    # Other bases have no tiles yet; a few vertices never have.
    self.assertIsNone(model.replace(identity_basis=2 * model.identity_basis).tiles)
    self.assertIsNone(morphable_model.tile(_MODEL).tiles)

  def test_shape_along_is_the_shape_along_directions(self):
    rng = np.random.default_rng(2)
    array = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    faces = FaceParams(jnp.zeros((5, 2, 4)), array(5, 8), array(5, 4))
    directions = array(5, 2, 3)
    fast = jax.vmap(morphable_model.shape_along, in_axes=(None, 0, 0))
    slow = np.einsum(
      'brc,bqc->brq',
      directions,
      jax.vmap(lambda face: morphable_model.shape(_MODEL, face))(faces),
    )
    # Sums of 39 terms of size 10.
    np.testing.assert_allclose(fast(_MODEL, faces, directions), slow, atol=1e-4)
    with mock.patch.object(morphable_model, '_TILE', _MODEL.num_vertices // 2 - 1):
      for model in (_MODEL, morphable_model.tile(_MODEL)):
        np.testing.assert_allclose(fast(model, faces, directions), slow, atol=1e-4)
    one = jax.tree.map(lambda x: x[0], faces)
    np.testing.assert_allclose(
      morphable_model.shape_along(_MODEL, one, directions[0]), slow[0], atol=1e-4
    )
    slope = jax.grad(
      lambda face: jnp.sum(morphable_model.shape_along(_MODEL, face, directions[0]))
    )(one)
    np.testing.assert_array_equal(slope.identity, 0.0)

  def test_wrong_number_of_coefficients(self):
    face = FaceParams(jnp.zeros((2, 4)), jnp.zeros(7), jnp.zeros(4))
    with self.assertRaisesRegex(
      ValueError,
      r'shape \(7,\) but the face model '
      'has 8',
    ):
      morphable_model.shape(_MODEL, face)


class RestrictTest(absltest.TestCase):
  def test_keeps_values_and_renumbers(self):
    ids = np.asarray(_MODEL.regions['rendered'])[::-1]
    part = morphable_model.restrict(_MODEL, ids)
    face = boxes.initial_params(_MODEL, 50).replace(identity=jnp.ones(8))
    # Products of other shapes sum in another order; float32 of coordinates up to 100.
    np.testing.assert_allclose(
      morphable_model.shape(part, face),
      morphable_model.shape(_MODEL, face)[ids],
      atol=1e-4,
    )
    np.testing.assert_array_equal(
      part.mean_shape[part.landmark_schemes['ibug68']],
      _MODEL.mean_shape[_MODEL.landmark_schemes['ibug68']],
    )
    self.assertLess(len(part.triangles), len(_MODEL.triangles))
    self.assertLess(int(part.triangles.max()), part.num_vertices)

  def test_drops_what_refers_to_dropped_vertices(self):
    part = morphable_model.restrict(_MODEL, np.arange(3))
    self.assertEqual(part.landmark_schemes, {})
    self.assertEqual(int(part.nose_tip), -1)


class NormalsTest(absltest.TestCase):
  def test_of_a_sphere_point_outwards(self):
    unit = _MODEL.mean_shape / np.linalg.norm(_MODEL.mean_shape, axis=1)[:, None]
    normals = morphable_model.vertex_normals(jnp.asarray(unit), _MODEL.triangles)
    cosine = np.sum(np.asarray(normals) * unit, axis=1)
    self.assertGreater(cosine.min(), 0.9)

  def test_unused_vertices_and_flat_triangles_are_finite(self):
    vertices = jnp.zeros((4, 3))
    triangles = jnp.array([[0, 1, 2]])
    normals, grad = (
      morphable_model.vertex_normals(vertices, triangles),
      jax.grad(lambda v: morphable_model.vertex_normals(v, triangles).sum())(vertices),
    )
    np.testing.assert_array_equal(normals, 0)
    self.assertTrue(np.all(np.isfinite(grad)))


class FlatVectorTest(absltest.TestCase):
  def test_order_and_round_trip(self):
    face = FaceParams(
      jnp.arange(8.0).reshape(2, 4), jnp.arange(3.0) + 10, jnp.arange(2.0) + 20
    )
    vector = flatten_params(face)
    np.testing.assert_array_equal(vector, [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 20, 21])
    back = unflatten_params(vector, 3)
    jax.tree.map(np.testing.assert_array_equal, back, face)
    stacked = jax.vmap(flatten_params)(jax.tree.map(lambda x: jnp.stack([x, x]), face))
    self.assertEqual(unflatten_params(stacked, 3).camera.shape, (2, 2, 4))


if __name__ == '__main__':
  absltest.main()
