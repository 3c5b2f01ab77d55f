"""The layer in other libraries computes what ours does, where they are installed."""

from absl.testing import absltest, parameterized
import jax
import numpy as np

from experiments.benchmark import inputs, peers
from pifa_jax.geometry import masks, visualization


class PeersTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = inputs.dense_model(3000)
    cls.mask = masks.vertex_mask(cls.model, 'nose')
    cls.faces = inputs.posed_faces(cls.model, 3, 28, seed=0)

  @parameterized.parameters(1, 2)
  def test_after_projection(self, radius):
    projected = jax.jit(jax.vmap(inputs.splat_inputs, in_axes=(None, None, 0)))(
      self.model, self.mask, self.faces
    )
    expected = jax.vmap(
      lambda *face: visualization.splat(*face, image_size=28, radius=radius)
    )(*projected)
    self.assertGreater(float(np.abs(expected).max()), 1.0)
    splats = peers.splats(28, 1.0, radius)
    self.assertIn('NumPy', splats)
    for name, splat in splats.items():
      # float32 sums of 25 terms of size 2 in another order.
      np.testing.assert_allclose(
        splat(*map(np.array, projected)), expected, atol=2e-5, err_msg=name
      )

  def test_whole_layer(self):
    cotangent = np.random.default_rng(0).normal(size=(28, 28)).astype(np.float32)
    visualize = lambda face: visualization.visualize(
      self.model, face, image_size=28, mask=self.mask
    )
    weigh = lambda face: (cotangent * visualize(face)).sum()
    planes = jax.jit(jax.vmap(visualize))(self.faces)
    grads = jax.jit(jax.vmap(jax.grad(weigh)))(self.faces)
    cameras = np.array(self.faces.camera)
    coeffs = np.concatenate([self.faces.identity, self.faces.expression], axis=1)
    for name, (forward, gradient) in peers.layers(
      self.model, self.mask, cotangent, 28, 1.0, visualization.DEFAULT_RADIUS
    ).items():
      # float32, the shape product too in another order.
      np.testing.assert_allclose(
        forward(cameras, coeffs), planes, atol=1e-4, err_msg=name
      )
      by_camera, by_coeffs = gradient(cameras, coeffs)
      expected = np.concatenate([grads.identity, grads.expression], axis=1)
      # float32 sums over the winners, in another order.
      np.testing.assert_allclose(
        by_coeffs, expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max(), err_msg=name
      )
      np.testing.assert_allclose(
        by_camera,
        grads.camera,
        rtol=1e-2,
        atol=1e-3 * np.abs(grads.camera).max(),
        err_msg=name,
      )


if __name__ == '__main__':
  absltest.main()
