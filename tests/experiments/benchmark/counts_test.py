"""Counts of the network and the layer against counts made in another way."""

from absl.testing import absltest

from experiments.benchmark import counts, inputs
from pifa_jax import face_models
from pifa_jax.learning import network_config


class CountsTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = inputs.rendered_part(face_models.load_face_model('builtin'))

  def test_flops_of_the_paper_network(self):
    # 0.88 G multiply-adds a face (0.38 convolutions, 0.50 fully connected), and six
    # shape products of 3 Q K.
    shape = 6 * 228 * self.model.num_vertices
    flops = (
      counts.network_flops(network_config.PRESETS['paper'], self.model) - 6 * shape
    )
    self.assertAlmostEqual(flops / 2e9, 0.88, delta=0.01)

  def test_the_shape_is_counted_as_its_arrays_are(self):
    cost = counts.shape_cost(self.model)
    bases = (self.model.identity_basis, self.model.expression_basis)
    self.assertEqual(cost.flops, 2 * sum(basis.size for basis in bases))
    self.assertEqual(
      cost.basis_bytes,
      sum(basis.nbytes for basis in bases) + self.model.mean_shape.nbytes,
    )
    self.assertEqual(cost.vertex_bytes, self.model.mean_shape.nbytes)

  def test_a_gradient_costs_one_more_product_and_40_flops_a_cell(self):
    forward, gradient = (
      counts.layer(self.model, 3, 20, 2, products=products) for products in (1, 2)
    )
    shape = counts.shape_cost(self.model)
    self.assertEqual(
      gradient.flops - forward.flops, 3 * (shape.flops + 40 * 20**2 * 25)
    )
    self.assertEqual(
      gradient.bytes - forward.bytes, shape.basis_bytes + 3 * 2 * shape.vertex_bytes
    )


if __name__ == '__main__':
  absltest.main()
