"""The exported layer is the layer, in other operations."""

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments.export import onnx_layer
from pifa_jax.geometry import masks, projection, visualization
from pifa_jax.types import FaceParams
from tests.toy_model import make_toy_model


class NearestTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 2)
  def test_same_winners_bit_for_bit(self, seed):
    rng = np.random.default_rng(seed)
    size, faces, vertices = 6, 4, 900
    cell = rng.integers(0, size * size + 1, (faces, vertices)).astype(np.int32)
    cell[:, rng.integers(0, vertices, 5)] = 0
    cell[cell == 7] = size * size  # an empty cell
    depth = rng.normal(size=(faces, vertices)).astype(np.float32)
    depth[depth > 1] = 1.0  # ties
    depth[:, :40] = 0.0
    depth[:, 10:20] = -0.0  # equal to 0
    depth[:, 50:60] = np.inf
    depth[:, 60:70] = np.nan  # as far as infinity
    depth[:, 70:80] = -np.inf
    cell[:, 50:70] = 3
    wanted = [
      visualization.winners(c, d, size) for c, d in zip(cell, depth, strict=True)
    ]
    found = jax.jit(onnx_layer.nearest, static_argnums=2)(cell, depth, size * size)
    np.testing.assert_array_equal(found, np.stack(wanted))
    self.assertTrue((np.asarray(found)[:, 7] == -1).all())

  def test_the_farthest_alone_in_its_cell_wins(self):
    depth = np.array([[np.nan, np.inf, 1.0]], np.float32)
    cell = np.array([[0, 1, 4]], np.int32)
    found = onnx_layer.nearest(cell, depth, 4)
    np.testing.assert_array_equal(found, [[0, 1, -1, -1]])
    np.testing.assert_array_equal(found[0], visualization.winners(cell[0], depth[0], 2))


class VisualizeFacesTest(absltest.TestCase):
  def test_same_image(self):
    model = make_toy_model().replace(regions={})
    mask = masks.vertex_mask(make_toy_model(), 'nose')
    rng = np.random.default_rng(3)
    rows = [
      projection.rotation_from_euler(*np.deg2rad(angles), xp=np)[:2] * [[0.2], [-0.2]]
      # Away from angles that put columns of vertices on the edges of cells.
      for angles in ((3.1, 2.2, 1.3), (41.7, -8.2, 5.1), (-77.3, 11.9, -20.3))
    ]
    faces = FaceParams(
      camera=jnp.asarray(
        [np.concatenate([r, [[14.3], [15.2]]], axis=1) for r in rows], jnp.float32
      ),
      identity=jnp.asarray(rng.normal(size=(3, model.num_identity)), jnp.float32),
      expression=jnp.asarray(rng.normal(size=(3, model.num_expression)), jnp.float32),
    )
    found = jax.jit(
      lambda faces: onnx_layer.visualize_faces(
        model, faces, image_size=30, mask=mask, sigma=1.0, radius=1
      )
    )(faces)
    wanted = jax.vmap(
      lambda face: visualization.visualize(model, face, image_size=30, mask=mask)
    )(faces)
    self.assertGreater(float(found.min(axis=0).max()), 0.1)
    # float32: positions of up to 30 px are rounded to 2e-6 in another order, and a
    # weight changes by as much.
    np.testing.assert_allclose(found, wanted, atol=1e-5)


if __name__ == '__main__':
  absltest.main()
