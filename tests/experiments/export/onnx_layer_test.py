"""The exported layer is the layer, in other operations."""

import unittest

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments.export import onnx_layer
from pifa_jax.geometry import boxes, masks, projection, visualization
from pifa_jax.types import FaceParams, flatten_params, unflatten_params
from tests.experiments.export import onnx_run
from tests.toy_model import make_toy_model


def _batch(graph, value):
  return graph.node('Shape', value, start=0, end=1)


@unittest.skipUnless(onnx_run.INSTALLED, 'needs the extra onnx')
class NearestTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 2)
  def test_same_winners_bit_for_bit(self, seed):
    rng = np.random.default_rng(seed)
    size, faces, vertices = 6, 4, 900
    cell = rng.integers(0, size * size + 1, (faces, vertices))
    cell[:, rng.integers(0, vertices, 5)] = 0
    cell[cell == 7] = size * size  # an empty cell
    depth = rng.normal(size=(faces, vertices)).astype(np.float32)
    depth[depth > 1] = 1.0  # ties
    depth[:, :40] = 0.0
    depth[:, 10:20] = -0.0  # equal to 0
    wanted = np.stack(
      [
        visualization.winners(c, d, size)
        for c, d in zip(cell.astype(np.int32), depth, strict=True)
      ]
    )

    def build(graph, values):
      winner, occupied = onnx_layer.nearest(
        graph, values['cell'], values['depth'], _batch(graph, depth), size**2, vertices
      )
      return {'winner': graph.where(occupied, winner, np.array(-1))}

    like = {'winner': wanted.astype(np.int64)}
    found = onnx_run.run(build, like, cell=cell, depth=depth)['winner']
    np.testing.assert_array_equal(found, wanted)
    self.assertTrue((found[:, 7] == -1).all())

  def test_same_cells_at_and_beyond_the_edges(self):
    size = 5
    edge = np.array([-0.5, 0.5, 4.5, -0.51, 4.49, 2.5, np.nan, np.inf, -np.inf, 1e20])
    below, above = (np.nextafter(np.float32(edge), np.float32(x)) for x in (-99, 99))
    ticks = np.concatenate([np.float32(edge), below, above])
    u, v = (x.reshape(1, -1) for x in np.meshgrid(ticks, ticks))
    valid = np.arange(u.size)[None] % 7 > 0
    wanted = visualization.cells(np.stack([u[0], v[0]], axis=1), valid[0], size)

    def build(graph, values):
      return {'cell': onnx_layer.cells(graph, *values.values(), size)}

    like = {'cell': np.asarray(wanted, np.int64)[None]}
    found = onnx_run.run(build, like, u=u, v=v, valid=valid)['cell']
    np.testing.assert_array_equal(found[0], wanted)
    self.assertGreater(len(set(found[0])), size)


@unittest.skipUnless(onnx_run.INSTALLED, 'needs the extra onnx')
class VisualizeTest(parameterized.TestCase):
  @parameterized.parameters((1, 1.0), (2, 0.7))
  def test_same_image(self, radius, sigma):
    model = make_toy_model().replace(regions={})
    mask = masks.vertex_mask(make_toy_model(), 'nose')
    rng = np.random.default_rng(3)
    rows = [
      projection.rotation_from_euler(*np.deg2rad(angles), xp=np)[:2] * [[0.4], [-0.4]]
      # Away from angles that put columns of vertices on the edges of cells.
      for angles in ((3.1, 2.2, 1.3), (41.7, -8.2, 5.1), (-77.3, 11.9, -20.3))
    ]
    places = [[29.1, 30.9], [30.3, 31.7], [1.7, 55.2]]  # the last half outside
    faces = FaceParams(
      camera=jnp.asarray(
        [np.column_stack(x) for x in zip(rows, places, strict=True)], jnp.float32
      ),
      identity=jnp.asarray(rng.normal(size=(3, model.num_identity)), jnp.float32),
      expression=jnp.asarray(rng.normal(size=(3, model.num_expression)), jnp.float32),
    )
    vector = np.asarray(flatten_params(faces))

    def reference(row):
      face = unflatten_params(row, model.num_identity)
      face = face.replace(camera=boxes.scale_camera(face.camera, 0.5))
      return visualization.visualize(
        model, face, image_size=30, mask=mask, sigma=sigma, radius=radius
      )

    wanted = np.asarray(jax.vmap(reference)(jnp.asarray(vector)))

    def build(graph, values):
      return {
        'v': onnx_layer.visualize(
          graph,
          model,
          mask,
          values['vector'],
          _batch(graph, values['vector']),
          image_size=30,
          factor=0.5,
          sigma=sigma,
          radius=radius,
        )
      }

    found = onnx_run.run(build, {'v': wanted[:, None]}, vector=vector)['v']
    self.assertGreater(np.abs(wanted).max(axis=(1, 2)).min(), 0.1)
    # float32: positions of up to 30 px are rounded to 2e-6 in another order, and a
    # weight changes by as much.
    np.testing.assert_allclose(found[:, 0], wanted, atol=1e-5)


if __name__ == '__main__':
  absltest.main()
