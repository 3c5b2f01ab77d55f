"""Eqs. (8)-(10), Fig. 5: values, gradients, winners, hostile input."""

import functools
from unittest import mock

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import boxes, masks, morphable_model, projection, visualization
from pifa_jax.types import FaceParams, MorphableModel, flatten_params, unflatten_params
from tests.toy_model import make_toy_model

_MODEL = make_toy_model()
_SIZE = 40


def _face(yaw=0.0, seed=0, size=_SIZE):
  """A posed toy face in the crop, with random coefficients."""
  rng = np.random.default_rng(seed)
  start = boxes.initial_params(_MODEL, size)
  rotation = projection.rotation_from_euler(
    jnp.deg2rad(yaw), jnp.deg2rad(7.0), jnp.deg2rad(-4.0)
  )
  camera = projection.camera_from_pose(
    rotation, start.camera[0, 0], jnp.array([size / 2 - 0.3, size / 2 + 0.2])
  )
  return FaceParams(
    camera=camera,
    identity=jnp.asarray(rng.normal(size=8) * 0.7, jnp.float32),
    expression=jnp.asarray(rng.normal(size=4) * 0.7, jnp.float32),
  )


def _four_vertices(depths, normals_z):
  """Vertices over one pixel, as in Fig. 5, seen by a frontal camera."""
  vertices = np.array([[10.0, -10.0, -d] for d in depths], np.float32)
  normals = np.array([[0, 0, z] for z in normals_z], np.float32)
  count = len(depths)
  model = MorphableModel(
    mean_shape=vertices,
    identity_basis=np.zeros((1, count, 3), np.float32),
    identity_stddev=np.ones(1, np.float32),
    expression_basis=np.zeros((1, count, 3), np.float32),
    expression_stddev=np.ones(1, np.float32),
    triangles=np.zeros((0, 3), np.int32),
    mean_normals=normals,
    nose_tip=np.int32(0),
    landmark_schemes={},
    regions={},
  )
  camera = jnp.array([[1.0, 0, 0, 0], [0, -1.0, 0, 0]])
  return model, FaceParams(camera, jnp.zeros(1), jnp.zeros(1))


class Figure5Test(absltest.TestCase):
  def test_nearest_of_those_that_face_the_camera_fills_the_pixel(self):
    # Four vertices over one pixel: two face away, and of the other two the one
    # with the smaller depth is used, although a pruned one is nearer still.
    model, face = _four_vertices([1.0, 3.0, 2.0, 4.0], [-1.0, 0.6, 0.8, -1.0])
    drawn = visualization.visualize(model, face, image_size=20, mask=jnp.ones(4))
    np.testing.assert_allclose(drawn[10, 10], 0.8, rtol=1e-6)

  def test_equal_depth_goes_to_the_lowest_index(self):
    model, face = _four_vertices([2.0, 2.0, 2.0, 2.0], [0.3, 0.4, 0.5, 0.6])
    drawn = visualization.visualize(model, face, image_size=20, mask=jnp.ones(4))
    np.testing.assert_allclose(drawn[10, 10], 0.3, rtol=1e-6)

  def test_winners_match_a_loop(self):
    rng = np.random.default_rng(3)
    cell = rng.integers(0, 30, 500).astype(np.int32)  # 25 cells, 5 outside
    # Few distinct depths, negative ones and both zeros: many ties.
    depth = rng.choice([-2.5, -0.0, 0.0, 1e-30, 7.0], 500).astype(np.float32)
    expected = np.full(25, -1)
    for i in range(500):
      if cell[i] < 25 and (
        expected[cell[i]] < 0 or depth[i] < depth[expected[cell[i]]]
      ):
        expected[cell[i]] = i
    found = visualization.winners(jnp.asarray(cell), jnp.asarray(depth), 5)
    np.testing.assert_array_equal(found, expected)
    batched = jax.vmap(lambda c, d: visualization.winners(c, d, 5))(
      jnp.stack([cell, cell[::-1]]), jnp.stack([depth, depth[::-1]])
    )
    np.testing.assert_array_equal(batched[0], expected)
    np.testing.assert_array_equal(
      batched[1],
      visualization.winners(
        jnp.asarray(cell[::-1].copy()), jnp.asarray(depth[::-1].copy()), 5
      ),
    )


class TwinTest(parameterized.TestCase):
  @parameterized.product(yaw=[0.0, 50.0, 90.0], mask=['nose', 'five', 'none'])
  def test_values_and_gradients(self, yaw, mask):
    face = _face(yaw)
    weights = jnp.asarray(
      np.random.default_rng(1).normal(size=(_SIZE, _SIZE)), jnp.float32
    )

    def loss(draw, face):
      return jnp.sum(weights * draw(_MODEL, face, image_size=_SIZE, mask=mask))

    fast, fast_grad = jax.value_and_grad(lambda f: loss(visualization.visualize, f))(
      face
    )
    slow, slow_grad = jax.value_and_grad(
      lambda f: loss(visualization.visualize_dense, f)
    )(face)
    self.assertGreater(abs(float(slow)), 1e-2)
    # float32 sums of about 1,000 terms of size 1, in another order.
    np.testing.assert_allclose(fast, slow, rtol=1e-4, atol=1e-4)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(
        a, b, rtol=2e-3, atol=2e-3 * float(jnp.max(jnp.abs(b)))
      ),
      fast_grad,
      slow_grad,
    )

  @parameterized.parameters(0, 2, 3)
  def test_other_windows(self, radius):
    face = _face(20.0)
    draw = lambda f: f(_MODEL, face, image_size=_SIZE, radius=radius, sigma=1.3)
    # float32 averages of at most 49 values of order 1, in another order.
    np.testing.assert_allclose(
      draw(visualization.visualize), draw(visualization.visualize_dense), atol=1e-4
    )

  def test_vmap_and_jit_agree_with_a_loop(self):
    faces = [_face(yaw, seed) for seed, yaw in enumerate([-80.0, 0.0, 30.0])]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *faces)
    draw = lambda f: visualization.visualize(_MODEL, f, image_size=_SIZE)
    together = jax.jit(jax.vmap(draw))(stacked)
    for one, face in zip(together, faces, strict=True):
      # A fused multiply-add may move a position across a cell's edge by one
      # rounding; these poses have none that close.
      np.testing.assert_allclose(one, draw(face), atol=1e-4)


class GradientTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 35.0, 88.0)
  def test_central_differences_with_frozen_winners(self, yaw):
    with jax.enable_x64(True):
      model = jax.tree.map(
        lambda x: (
          jnp.asarray(x, jnp.float64)
          if np.asarray(x).dtype == np.float32
          else jnp.asarray(x)
        ),
        _MODEL,
      )
      face = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), _face(yaw))
      mask = masks.vertex_mask(model, 'nose')
      vector = flatten_params(face)
      weights = jnp.asarray(np.random.default_rng(2).normal(size=(_SIZE, _SIZE)))
      frozen = _winning_cells(model, face)

      @jax.jit
      def loss(vector):
        return jnp.sum(
          weights * _draw_frozen(model, unflatten_params(vector, 8), mask, *frozen)
        )

      @jax.jit
      def layer(vector):
        return jnp.sum(
          weights
          * visualization.visualize(
            model, unflatten_params(vector, 8), image_size=_SIZE, mask=mask
          )
        )

      np.testing.assert_allclose(layer(vector), loss(vector), rtol=1e-10)
      exact = jax.grad(layer)(vector)
      step = 1e-6 * np.array([1e-2] * 3 + [1.0] + [1e-2] * 3 + [1.0] + [1.0] * 12)
      numeric = np.array(
        [
          (loss(vector.at[i].add(h)) - loss(vector.at[i].add(-h))) / (2 * h)
          for i, h in enumerate(step)
        ]
      )
      self.assertGreater(np.abs(exact).min(), 1e-6)
      # Rounding eps * |loss| / h, relative to the largest entries: 1e-6.
      np.testing.assert_allclose(
        exact, numeric, rtol=1e-5, atol=1e-6 * np.abs(numeric).max()
      )

  @parameterized.parameters(10.0, -60.0)
  def test_closed_form_adjoint(self, yaw):
    with jax.enable_x64(True):
      model = jax.tree.map(
        lambda x: (
          jnp.asarray(x, jnp.float64)
          if np.asarray(x).dtype == np.float32
          else jnp.asarray(x)
        ),
        _MODEL,
      )
      face = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), _face(yaw, 4))
      mask = masks.vertex_mask(model, 'nose')
      upstream = np.random.default_rng(5).normal(size=(_SIZE, _SIZE))
      found = jax.jit(
        jax.grad(
          lambda f: jnp.sum(
            upstream * visualization.visualize(model, f, image_size=_SIZE, mask=mask)
          )
        )
      )(face)
      expected = _closed_form(model, face, np.asarray(mask), upstream)
      # float64; the camera must be orthogonal only for |direction| = 1, and the
      # formulas hold for any camera.
      np.testing.assert_allclose(found.camera, expected['camera'], rtol=1e-8, atol=1e-9)
      np.testing.assert_allclose(found.identity, expected['identity'], rtol=1e-8)
      np.testing.assert_allclose(found.expression, expected['expression'], rtol=1e-8)


def _winning_cells(model, face):
  positions, depth, front, _ = visualization._vertices_to_render(model, face, 'none')
  counts = (front > 0) & visualization._is_rendered(model)
  cell = visualization.cells(positions, counts, _SIZE)
  return visualization.winners(cell, depth, _SIZE), None


def _draw_frozen(model, face, mask, winner, _):
  """Eqs. (9)-(10) for given winners, written pixel by pixel."""
  vertices = morphable_model.shape(model, face)
  positions = projection.project(face.camera, vertices)
  values = mask * projection.frontability(face.camera, model.mean_normals)
  at = jnp.maximum(winner, 0).reshape(_SIZE, _SIZE)
  there = (winner >= 0).reshape(_SIZE, _SIZE)
  v, u = np.mgrid[:_SIZE, :_SIZE]
  top = bottom = 0.0
  for dv in (-1, 0, 1):
    for du in (-1, 0, 1):
      row, column = np.clip(v + dv, 0, _SIZE - 1), np.clip(u + du, 0, _SIZE - 1)
      inside = (row == v + dv) & (column == u + du)
      q = at[row, column]
      squared = (u - positions[q, 0]) ** 2 + (v - positions[q, 1]) ** 2
      weight = jnp.where(there[row, column] & inside, jnp.exp(-squared / 2), 0.0)
      top, bottom = top + weight * values[q], bottom + weight
  return jnp.where(bottom > 0, top / jnp.where(bottom > 0, bottom, 1.0), 0.0)


def _closed_form(model, face, mask, upstream):
  """The adjoint of the layer, written out vertex by vertex in NumPy.

  With A = |m1|, B = |m2|, outward n: h = -(m1 x m2).n / (A B), g = relu(h),
  dh/dm1 = -(m2 x n)/(A B) - h m1/A^2, dh/dm2 = -(n x m1)/(A B) - h m2/B^2.
  """
  vertices = np.asarray(morphable_model.shape(model, face))
  camera = np.asarray(face.camera)
  m1, m2 = camera[0, :3], camera[1, :3]
  a, b = np.linalg.norm(m1), np.linalg.norm(m2)
  normals = np.asarray(model.mean_normals)
  h = -normals @ np.cross(m1, m2) / (a * b)
  g = np.maximum(h, 0)
  xy = vertices @ camera[:, :3].T + camera[:, 3]
  depth = vertices @ np.cross(m1, m2) / np.sqrt(a * b)
  drawn = np.isin(np.arange(len(g)), np.asarray(model.regions['rendered']))
  kept = {}
  for q in np.where((g > 0) & drawn)[0]:
    cell = tuple(np.floor(xy[q] + 0.5).astype(int))
    inside = min(cell) >= 0 and max(cell) < _SIZE
    if inside and (cell not in kept or depth[q] < depth[kept[cell]]):
      kept[cell] = q
  grad_m1, grad_m2 = np.zeros(3), np.zeros(3)
  grad_t, grad_vertex = np.zeros(2), np.zeros_like(vertices)
  for v in range(_SIZE):
    for u in range(_SIZE):
      window = [
        kept[u + du, v + dv]
        for dv in (-1, 0, 1)
        for du in (-1, 0, 1)
        if (u + du, v + dv) in kept
      ]
      if not window:
        continue
      weight = {
        q: np.exp(-((u - xy[q, 0]) ** 2 + (v - xy[q, 1]) ** 2) / 2) for q in window
      }
      total = sum(weight.values())
      value = sum(weight[q] * g[q] * mask[q] for q in window) / total
      for q in window:
        scale = upstream[v, u] / total
        bar_x = scale * (g[q] * mask[q] - value) * weight[q] * (u - xy[q, 0])
        bar_y = scale * (g[q] * mask[q] - value) * weight[q] * (v - xy[q, 1])
        bar_g = scale * mask[q] * weight[q]
        n = normals[q]
        grad_m1 += bar_x * vertices[q] + bar_g * (
          -np.cross(m2, n) / (a * b) - h[q] * m1 / a**2
        )
        grad_m2 += bar_y * vertices[q] + bar_g * (
          -np.cross(n, m1) / (a * b) - h[q] * m2 / b**2
        )
        grad_t += [bar_x, bar_y]
        grad_vertex[q] += bar_x * m1 + bar_y * m2
  return {
    'camera': np.stack([np.append(grad_m1, grad_t[0]), np.append(grad_m2, grad_t[1])]),
    'identity': np.einsum('kqi,qi->k', model.identity_basis, grad_vertex),
    'expression': np.einsum('kqi,qi->k', model.expression_basis, grad_vertex),
  }


# Compiled once for all cameras.
_value_and_gradient = jax.jit(
  jax.value_and_grad(
    lambda face: jnp.sum(
      jnp.sin(visualization.visualize(_MODEL, face, image_size=_SIZE))
    )
  )
)


class HostileInputTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('zero_camera', [[0.0] * 4] * 2),
    ('parallel_rows', [[0.3, 0, 0, 20], [0.3, 0, 0, 20]]),
    ('far_away', [[0.3, 0, 0, 1e6], [0, -0.3, 0, -1e6]]),
    ('one_point', [[1e-6, 0, 0, 20], [0, -1e-6, 0, 20]]),
    ('enormous', [[1e6, 0, 0, 20], [0, -1e6, 0, 20]]),
    ('beyond_int32', [[1e12, 0, 0, 1e12], [0, -1e12, 0, 1e12]]),
    ('from_behind', [[-0.3, 0, 0, 20], [0, -0.3, 0, 20]]),
  )
  def test_finite_values_and_gradients(self, camera):
    face = _face().replace(camera=jnp.array(camera, jnp.float32))
    value, grad = _value_and_gradient(face)
    self.assertTrue(np.isfinite(value))
    for leaf in jax.tree.leaves(grad):
      self.assertTrue(np.all(np.isfinite(leaf)))

  def test_random_hostile_parameters(self):
    rng = np.random.default_rng(11)
    count = 300
    vectors = rng.normal(size=(count, 20)) * 10.0 ** rng.uniform(-8, 6, (count, 1))
    vectors[::7, 3] = 1e6

    def one(vector):
      return jnp.sum(
        jnp.sin(
          visualization.visualize(_MODEL, unflatten_params(vector, 8), image_size=16)
        )
      )

    values, grads = jax.jit(jax.vmap(jax.value_and_grad(one)))(
      jnp.asarray(vectors, jnp.float32)
    )
    self.assertTrue(np.all(np.isfinite(values)))
    self.assertTrue(np.all(np.isfinite(grads)))

  def test_coincident_vertices(self):
    model, face = _four_vertices([2.0] * 4, [0.5] * 4)
    grad = jax.grad(
      lambda f: jnp.sum(
        visualization.visualize(model, f, image_size=20, mask=jnp.ones(4))
      )
    )(face)
    self.assertTrue(np.all(np.isfinite(grad.camera)))

  def test_nothing_in_view_draws_zero(self):
    face = _face()
    away = face.replace(camera=face.camera.at[:, 3].add(500.0))
    np.testing.assert_array_equal(
      visualization.visualize(_MODEL, away, image_size=_SIZE), 0.0
    )

  def test_bad_arguments_say_what_is_wrong(self):
    with self.assertRaisesRegex(ValueError, 'image_size=0'):
      visualization.visualize(_MODEL, _face(), image_size=0)
    with self.assertRaisesRegex(ValueError, "mask='nosey' is not a mask"):
      visualization.visualize(_MODEL, _face(), image_size=8, mask='nosey')


class CostTest(absltest.TestCase):
  def test_memory_grows_with_vertices_plus_pixels(self):
    # What the compiled program needs beside arguments and results, as the compiler
    # counts it, at the size of the paper's model. Nothing is computed.
    count, bases, size, batch = 53215, 228, 114, 8
    of = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    model = MorphableModel(
      mean_shape=of(count, 3),
      identity_basis=of(199, count, 3),
      identity_stddev=of(199),
      expression_basis=of(29, count, 3),
      expression_stddev=of(29),
      triangles=np.zeros((0, 3), np.int32),
      mean_normals=of(count, 3),
      nose_tip=np.int32(0),
      landmark_schemes={},
      regions={},
    )
    faces = FaceParams(of(batch, 2, 4), of(batch, 199), of(batch, 29))

    def draw(model, face, mask):
      return jnp.sum(
        jnp.sin(
          visualization.visualize(model, face, image_size=size, mask=mask, radius=2)
        )
      )

    for function, floats, written in (
      (draw, 3.4, False),
      (jax.value_and_grad(draw, argnums=1), 14, True),
    ):
      compiled = (
        jax.jit(jax.vmap(function, in_axes=(None, 0, None)))
        .lower(model, faces, of(count))
        .compile()
      )
      temporary = compiled.memory_analysis().temp_size_in_bytes
      # A tile of the basis beside it, whatever the batch.
      tile = 4 * bases * 3 * 768
      self.assertLess(temporary - tile, batch * floats * 4 * (count + size**2))
      # Where nobody asks for a gradient the vertices are not written.
      self.assertEqual(f'f32[{batch},{count},3]' in compiled.as_text(), written)

  def test_a_large_batch_is_shaped_in_tiles_that_overlap(self):
    # The last tile of 768 is moved back: 1,550 vertices are two tiles and fourteen.
    rng = np.random.default_rng(0)
    array = lambda *shape: rng.normal(size=shape).astype(np.float32)
    model = _MODEL.replace(
      mean_shape=array(1550, 3),
      identity_basis=array(8, 1550, 3),
      expression_basis=array(4, 1550, 3),
    )
    faces = FaceParams(jnp.zeros((5, 2, 4)), array(5, 8), array(5, 4))
    one = lambda face: morphable_model.shape(model, face)
    loss = lambda face: jnp.sum(jnp.sin(one(face)))
    by_loop = [
      jax.value_and_grad(loss)(jax.tree.map(lambda x, i=i: x[i], faces))
      for i in range(5)
    ]
    values, grads = jax.jit(jax.vmap(jax.value_and_grad(loss)))(faces)
    # float32 sums of 4,650 terms of size 1.
    np.testing.assert_allclose(values, [value for value, _ in by_loop], atol=1e-3)
    for i, (_, grad) in enumerate(by_loop):
      np.testing.assert_allclose(grads.identity[i], grad.identity, atol=2e-3)
      np.testing.assert_allclose(grads.expression[i], grad.expression, atol=2e-3)

  def test_a_visualization_is_the_same_with_and_without_a_gradient(self):
    faces = jax.tree.map(
      lambda *x: jnp.stack(x), *[_face(yaw) for yaw in (-70.0, -20.0, 0.0, 40.0)]
    )
    total = lambda draw: (
      lambda model, face: (lambda drawn: (jnp.sum(jnp.sin(drawn)), drawn))(
        draw(model, face, image_size=_SIZE)
      )
    )
    # Two and a half tiles: the vertices of a batch are not written, one's are.
    with mock.patch.object(morphable_model, '_TILE', _MODEL.num_vertices * 2 // 5):
      for model in (_MODEL, morphable_model.tile(_MODEL)):
        run = lambda function, model=model: jax.jit(
          jax.vmap(function, in_axes=(None, 0))
        )(model, faces)
        _, drawn = run(total(visualization.visualize))
        (_, beside), _ = run(
          jax.value_and_grad(total(visualization.visualize), argnums=1, has_aux=True)
        )
        _, slow = run(total(visualization.visualize_dense))
        # The same averages of values of order 1, summed in another order.
        np.testing.assert_allclose(drawn, beside, atol=1e-5)
        np.testing.assert_allclose(drawn, slow, atol=1e-4)

  def test_what_accelerators_run_is_the_same(self):
    faces = jax.tree.map(
      lambda *x: jnp.stack(x), *[_face(yaw) for yaw in (-70.0, -20.0, 0.0, 40.0)]
    )
    run = lambda: jax.jit(
      jax.vmap(
        jax.value_and_grad(
          lambda face: jnp.sum(
            jnp.sin(visualization.visualize(_MODEL, face, image_size=_SIZE))
          )
        )
      )
    )(faces)
    on_cpu = run()
    with mock.patch.object(
      jax.lax, 'platform_dependent', lambda *args, cpu, default: default(*args)
    ):
      elsewhere = run()
    # The same sums in another order.
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(
        a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max())
      ),
      elsewhere,
      on_cpu,
    )

  def test_gradient_with_respect_to_the_model(self):
    face = _face(20.0)
    mask = masks.vertex_mask(_MODEL, 'nose')
    weights = np.random.default_rng(1).normal(size=(_SIZE, _SIZE)).astype(np.float32)

    def loss(draw, mean, identity_basis, expression_basis, mask):
      model = _MODEL.replace(
        mean_shape=mean,
        identity_basis=identity_basis,
        expression_basis=expression_basis,
      )
      return jnp.sum(weights * draw(model, face, image_size=_SIZE, mask=mask))

    inputs = (_MODEL.mean_shape, _MODEL.identity_basis, _MODEL.expression_basis, mask)
    fast, slow = (
      jax.jit(jax.grad(functools.partial(loss, draw), argnums=range(4)))(*inputs)
      for draw in (visualization.visualize, visualization.visualize_dense)
    )
    for a, b in zip(fast, slow, strict=True):
      self.assertGreater(float(jnp.max(jnp.abs(b))), 1e-3)
      # float32 sums over 1,600 pixels, in another order.
      np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3 * float(jnp.abs(b).max()))

  def test_other_derivatives_are_refused_not_wrong(self):
    mask = masks.vertex_mask(_MODEL, 'nose')

    def loss(vector):
      return jnp.sum(
        jnp.sin(
          visualization.visualize(
            _MODEL, unflatten_params(vector, 8), image_size=_SIZE, mask=mask
          )
        )
      )

    vector = flatten_params(_face(20.0))
    with self.assertRaisesRegex(TypeError, 'forward-mode'):
      jax.jvp(loss, (vector,), (vector,))
    with self.assertRaisesRegex(ValueError, 'does not support reverse-mode'):
      jax.grad(lambda vector: jnp.sum(jax.grad(loss)(vector)))(vector)


class PropertyTest(absltest.TestCase):
  def test_a_shift_by_whole_pixels_shifts_the_visualization(self):
    face = _face()
    moved = face.replace(camera=face.camera.at[:, 3].add(jnp.array([3.0, 2.0])))
    a = visualization.visualize(_MODEL, face, image_size=_SIZE)
    b = visualization.visualize(_MODEL, moved, image_size=_SIZE)
    # Positions of up to 40 pixels, rounded to 4e-6, in averages of values up to 3.
    np.testing.assert_allclose(b[2 + 1 : -1, 3 + 1 : -1], a[1:-3, 1:-4], atol=1e-4)

  def test_values_lie_between_the_extremes_of_what_is_averaged(self):
    drawn = visualization.visualize(_MODEL, _face(), image_size=_SIZE, mask='none')
    self.assertGreaterEqual(float(drawn.min()), 0.0)
    self.assertLessEqual(float(drawn.max()), 1.0)
    self.assertGreater(float(drawn.max()), 0.9)


if __name__ == '__main__':
  absltest.main()
