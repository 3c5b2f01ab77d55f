"""Counts of the network and the layer against counts made in another way."""

from absl.testing import absltest
import flax.traverse_util
import jax
import jax.numpy as jnp

from experiments.benchmark import counts, inputs
from pifa_jax import face_models
from pifa_jax.learning import network, network_config
from tests.toy_model import make_toy_model


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

  def test_flops_of_residual_units_are_those_of_the_kernels(self):
    model = make_toy_model()
    config = network_config.PRESETS['residual']
    net = network.PifaNetwork(config, model.num_params)
    shapes = jax.eval_shape(
      net.init,
      jax.random.key(0),
      jnp.zeros((1, 112, 112, 3)),
      network.network_geometry(model, config),
    )
    wanted = 0
    kernels = flax.traverse_util.flatten_dict(shapes['params'], sep='/')
    for name, kernel in kernels.items():
      if name.endswith('/kernel'):
        sides = {'conv_entry1': 28, 'conv_last': 7, 'fc1': 1, 'fc2': 1}
        wanted += 2 * sides.get(name.split('/')[1], 14) ** 2 * kernel.size
    flops = counts.network_flops(config, model) - 6 * counts.shape_cost(model).flops
    self.assertEqual(flops, wanted)

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
