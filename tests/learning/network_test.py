"""Table 1, Figs. 2, 3, 6, Table 8: sizes, variants, gradient flow."""

import dataclasses
import functools

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import projection
from pifa_jax.learning import blocks, network, network_config, training
from pifa_jax.types import FaceParams, flatten_params
from tests.toy_model import make_toy_model

_TOY = make_toy_model()
# Two blocks: what is tested does not depend on their number, compiling does.
_SMALL = network_config.NetworkConfig(
  crop_size=24, channels=(4,) * 4, kernels=(3,) * 4, hidden_size=8
)
_RESIDUAL = dataclasses.replace(_SMALL, stem_pool=4, units=(2, 1), width=8, dropout=0.0)
_TWELVE = dataclasses.replace(_SMALL, channels=(4,) * 12, kernels=(3,) * 12)


def _shapes(config):
  """Shapes of the variables and of the output for two images."""
  net = network.PifaNetwork(config, _TOY.num_params)
  geometry = network.network_geometry(_TOY, config)
  image = jnp.zeros((2, config.crop_size, config.crop_size, 3))
  out, variables = jax.eval_shape(
    net.init_with_output, jax.random.key(0), image, geometry
  )
  return variables, out


def _count(tree):
  return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))


@functools.cache
def _apply(config):
  """A network on the toy model, its variables and two images."""
  net = network.PifaNetwork(config, _TOY.num_params)
  geometry = network.network_geometry(_TOY, config)
  variables = network.init_variables(net, geometry, 0)
  image = jax.random.uniform(
    jax.random.key(1), (2, config.crop_size, config.crop_size, 3), minval=-1
  )
  return net, geometry, variables, image


class PresetTest(parameterized.TestCase):
  def test_parameter_counts(self):
    model = load_face_model()
    config = network_config.PRESETS['paper']
    net = network.PifaNetwork(config, model.num_params)
    geometry = network.network_geometry(model, config)
    shapes = jax.eval_shape(
      net.init, jax.random.key(0), jnp.zeros((1, 114, 114, 3)), geometry
    )
    blocks = [_count(shapes['params'][f'block{i}']) for i in range(1, 7)]
    self.assertEqual(
      [round(b / 1e6, 2) for b in blocks], [41.78, 62.58, 83.38, 104.18, 104.19, 104.19]
    )
    self.assertEqual(round(_count(shapes['params']) / 1e6, 1), 500.3)
    self.assertEqual(model.num_params, 236)
    block = shapes['params']['block2']
    self.assertEqual(block['conv1']['kernel'].shape, (3, 3, 3 + 16 + 1, 20))
    self.assertEqual(block['fc1']['kernel'].shape, (57 * 57 * 24, 800))
    self.assertEqual(block['fc2']['kernel'].shape, (800, 236))

  @parameterized.parameters(('small', 28, 19.45), ('tiny', 28, 5.9))
  def test_small_presets_have_six_blocks_of_few_weights(self, name, side, millions):
    config = network_config.PRESETS[name]
    variables, out = _shapes(config)
    self.assertEqual(out['params'].shape, (6, 2, _TOY.num_params))
    self.assertEqual(
      [v.shape[1] for v in out['visualization']], [config.crop_size] + [side] * 5
    )
    self.assertEqual(round(_count(variables['params']) / 1e6, 2), millions)


class ParamScalesTest(absltest.TestCase):
  def test_golden(self):
    camera = np.array([[0.6, 0, 0, 7], [0, -0.6, 0, 9]], np.float32)
    scales = network.param_scales(_TOY, FaceParams(camera, None, None), 100)
    # Two of six entries are 0.6: rms 0.6 / sqrt(3). A tenth of 100 pixels.
    row = [0.6 / np.sqrt(3)] * 3 + [10]
    np.testing.assert_allclose(
      scales, [*row, *row, *_TOY.identity_stddev, *_TOY.expression_stddev], rtol=1e-6
    )

  def test_the_same_for_a_turned_head(self):
    scales = [
      network.param_scales(
        _TOY,
        FaceParams(
          projection.camera_from_pose(
            projection.rotation_from_euler(yaw, 0.3, -0.5), 0.6, jnp.zeros(2)
          ),
          None,
          None,
        ),
        100,
      )
      for yaw in (0.0, 1.2)
    ]
    # float32, through a rotation.
    np.testing.assert_allclose(scales[0], scales[1], rtol=1e-5)


class LandmarkDisplacementsTest(absltest.TestCase):
  def test_finite_differences(self):
    """The squared distances by which the landmarks move, parameter by parameter."""
    config = dataclasses.replace(_SMALL, crop_scale=1.2)
    geometry = network.network_geometry(_TOY, config)
    part = projection.landmark_model(_TOY, 'ibug68')
    start = np.asarray(flatten_params(geometry.initial))
    points = training.predict_landmarks(part, start)
    # P is linear in every single entry.
    steps = 0.1 * np.asarray(geometry.scales)
    moved = training.predict_landmarks(part, start + np.diag(steps))
    found = np.sum((np.asarray(moved) - points) ** 2, axis=(1, 2)) / steps**2
    np.testing.assert_allclose(geometry.displacements, found, rtol=2e-3)


class ResidualTest(parameterized.TestCase):
  def test_preset(self):
    config = network_config.PRESETS['residual']
    variables, out = _shapes(config)
    self.assertEqual(out['params'].shape, (6, 2, _TOY.num_params))
    self.assertEqual([v.shape[1] for v in out['visualization']], [112] + [28] * 5)
    block = variables['params']['block2']
    # I and V of 28 pixels, folded to 14; F; half of the filters in the middle.
    self.assertEqual(block['conv_unit1a']['kernel'].shape, (3, 3, 4 * 4 + 96, 48))
    self.assertEqual(block['conv_unit1b']['kernel'].shape, (3, 3, 48, 96))
    self.assertLess(_count(variables['params']), 3e6)

  @parameterized.parameters(('FV', 4 + 8), ('IV', 4 * 4), ('IFV', 4 * 4 + 8))
  def test_inputs_of_later_blocks(self, inputs, channels):
    config = dataclasses.replace(_RESIDUAL, inputs=inputs)
    shapes, _ = _shapes(config)
    kernel = shapes['params']['block2']['conv_unit1a']['kernel']
    self.assertEqual(kernel.shape[2], channels)

  def test_number_of_blocks(self):
    self.assertEqual(_RESIDUAL.with_num_blocks(4).units, (2, 1, 1, 1))
    self.assertEqual(_RESIDUAL.with_num_blocks(1).units, (2,))

  def test_folding_keeps_every_pixel(self):
    x = jnp.arange(2 * 6 * 4 * 3.0).reshape(2, 6, 4, 3)
    folded = blocks.fold(x, 2)
    self.assertEqual(folded.shape, (2, 3, 2, 12))
    np.testing.assert_array_equal(folded[1, 2, 1].reshape(2, 2, 3), x[1, 4:6, 2:4])

  def test_every_block_has_a_gradient(self):
    net, geometry, variables, image = _apply(_RESIDUAL)

    def loss(params):
      out, _ = net.apply(
        {**variables, 'params': params},
        image,
        geometry,
        train=True,
        mutable=['batch_stats'],
      )
      return jnp.sum(out['updates'] ** 2)

    for name, grad in jax.jit(jax.grad(loss))(variables['params']).items():
      self.assertGreater(float(jnp.abs(grad['fc1']['kernel']).max()), 0, name)

  def test_a_shift_common_to_all_hidden_units_kills_none(self):
    # The shift of Adam's first steps (BUILD_NOTES.md D-93).
    net, geometry, variables, image = _apply(_RESIDUAL)
    shifted = jax.tree_util.tree_map_with_path(
      lambda path, x: (
        x - 0.5 if "['fc1']['kernel']" in jax.tree_util.keystr(path) else x
      ),
      variables,
    )
    apply = jax.jit(lambda variables: net.apply(variables, image, geometry)['updates'])
    before, after = apply(variables), apply(shifted)
    self.assertGreater(float(jnp.abs(before).max()), 0)
    np.testing.assert_allclose(after, before, rtol=1e-2, atol=1e-5)

  def test_crop_that_cannot_be_folded(self):
    with self.assertRaisesRegex(ValueError, 'crop_size=20 is not a multiple of 8'):
      dataclasses.replace(_RESIDUAL, crop_size=20)


class VariantTest(parameterized.TestCase):
  @parameterized.parameters(
    ({'inputs': 'IFV'}, 3 + 4 + 1),
    ({'inputs': 'FV'}, 4 + 1),
    ({'inputs': 'IV'}, 3 + 1),
    ({'visualization': False}, 3 + 4),
  )
  def test_inputs_of_later_blocks(self, change, channels):
    config = dataclasses.replace(_SMALL, **change)
    shapes, out = _shapes(config)
    kernel = shapes['params']['block2']['conv1']['kernel']
    self.assertEqual(kernel.shape[2], channels)
    self.assertEqual(out['params'].shape, (2, 2, _TOY.num_params))
    self.assertLen(out['visualization'], 2 if config.visualization else 0)

  @parameterized.parameters((2, 6), (3, 4), (4, 3))
  def test_table_8_partitions(self, convs, blocks):
    config = dataclasses.replace(_TWELVE, convs_per_block=convs)
    shapes, out = _shapes(config)
    self.assertEqual(out['params'].shape[0], blocks)
    self.assertLen(shapes['params'], blocks)

  @parameterized.parameters('nose', 'five', 'none')
  def test_masks(self, mask):
    config = dataclasses.replace(_SMALL, mask=mask)
    net, geometry, variables, image = _apply(config)
    drawn = jax.jit(net.apply)(variables, image, geometry)['visualization'][0]
    self.assertGreater(float(jnp.abs(drawn).max()), 0.5)
    self.assertEqual(bool((drawn < -1e-3).any()), mask != 'none')

  def test_visualization_sizes(self):
    _, out = _shapes(_TWELVE)
    sizes = [v.shape for v in out['visualization']]
    self.assertEqual(sizes, [(2, 24, 24)] + [(2, 12, 12)] * 5)

  def test_bad_configurations(self):
    for change, text in (
      ({'convs_per_block': 3}, 'do not split into blocks'),
      ({'inputs': 'VVV'}, 'use one of IFV, FV, IV'),
      ({'mask': 'x'}, 'use one of nose, five, none'),
      ({'crop_size': 25}, 'not a multiple of stem_pool=2'),
      ({'precision': 'half'}, 'use one of float32, bfloat16'),
      ({'vertex_spacing': -1.0}, 'it may be 0 or more'),
      ({'kernels': (3,)}, '4 channels but 1 kernel'),
    ):
      with self.assertRaisesRegex(ValueError, text):
        dataclasses.replace(_SMALL, **change)

  def test_wrong_image_and_model(self):
    net, geometry, variables, image = _apply(_SMALL)
    with self.assertRaisesRegex(ValueError, r'\(B, 24, 24, 3\) but got'):
      net.apply(variables, image[:, :20], geometry)
    other = net.clone(num_params=99)
    with self.assertRaisesRegex(
      ValueError, 'has 20 parameters but the network was made for 99'
    ):
      other.apply(variables, image, geometry)


class RenderedVerticesTest(absltest.TestCase):
  def test_later_blocks_draw_fewer_vertices(self):
    # Blocks that add nothing draw the same face again, if from other vertices.
    net, geometry, variables, image = _apply(_SMALL)
    still = jax.tree_util.tree_map_with_path(
      lambda path, x: 0 * x if path[-2].key == 'fc2' else x, variables['params']
    )
    config = dataclasses.replace(_SMALL, vertex_spacing=1.0)
    few = network.network_geometry(_TOY, config)
    self.assertLess(few.small_rendered.num_vertices, geometry.rendered.num_vertices)
    draw = jax.jit(
      lambda geometry: net.apply({**variables, 'params': still}, image, geometry)[
        'visualization'
      ]
    )
    full, thin = draw(geometry), draw(few)
    np.testing.assert_array_equal(full[0], thin[0])
    # No pixel is drawn that was not, and hardly one is lost.
    self.assertFalse(np.any((np.asarray(thin[1]) != 0) & (np.asarray(full[1]) == 0)))
    self.assertGreater(np.mean(thin[1] != 0), 0.98 * np.mean(full[1] != 0))
    self.assertLess(
      float(jnp.sqrt(jnp.mean((thin[1] - full[1]) ** 2))),
      0.2 * float(jnp.sqrt(jnp.mean(full[1] ** 2))),
    )


class UpdateTest(absltest.TestCase):
  def test_starts_at_the_mean_face_and_adds_scaled_updates(self):
    net, geometry, variables, image = _apply(_SMALL)
    out = jax.jit(net.apply)(variables, image, geometry)
    start = out['inputs'][0]
    # fc2 starts near zero.
    self.assertLess(
      float(jnp.abs((out['params'][-1] - start) / geometry.scales).max()), 0.1
    )
    # float32 sums of numbers of different size, fused or not.
    np.testing.assert_allclose(
      out['params'],
      out['inputs'] + geometry.scales * out['updates'],
      rtol=1e-5,
      atol=1e-5,
    )
    np.testing.assert_array_equal(out['inputs'][1:], out['params'][:-1])

  def test_the_same_with_p0_given(self):
    # Without it, the first visualization is made once for all faces.
    net, geometry, variables, image = _apply(_SMALL)
    apply = jax.jit(
      lambda initial: net.apply(variables, image, geometry, initial=initial)
    )
    given = jax.tree.map(lambda x: jnp.stack([x, x]), geometry.initial)
    # float32 rounding of one product against a batch's.
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
      apply(None),
      apply(given),
    )

  def test_gradient_flows_through_the_visualization(self):
    # With F cut off ({I, V}), the last block hears of block 1 through P and V alone.
    config = dataclasses.replace(_SMALL, inputs='IV', dropout=0.0)
    net, geometry, variables, image = _apply(config)
    variables = jax.tree.map(lambda x: x, variables)
    # Larger updates than at the start, so that V matters.
    variables['params'] = jax.tree_util.tree_map_with_path(
      lambda path, x: 30 * x if path[-2].key == 'fc2' else x, variables['params']
    )

    def loss(params, geometry):
      out = net.apply({**variables, 'params': params}, image, geometry)
      # The last UPDATE alone: P itself is not in it.
      return jnp.sum(out['updates'][-1] ** 2)

    with_v = jax.jit(jax.grad(loss))(variables['params'], geometry)
    size = lambda tree: float(jnp.max(jnp.abs(tree['block1']['fc2']['kernel'])))
    self.assertGreater(size(with_v), 0)
    cut = dataclasses.replace(config, stop_gradient_between_blocks=True)
    net = network.PifaNetwork(cut, _TOY.num_params)
    self.assertEqual(size(jax.jit(jax.grad(loss))(variables['params'], geometry)), 0)

  def test_dropout_depends_on_the_key_of_the_sample_alone(self):
    net, geometry, variables, image = _apply(_SMALL)
    image = jnp.stack([image[0], image[0], image[0], image[0]])
    keys = jax.random.split(jax.random.key(0), 2)[jnp.array([0, 1, 0, 1])]
    out, _ = jax.jit(functools.partial(net.apply, train=True, mutable=['batch_stats']))(
      variables, image, geometry, dropout_keys=keys
    )
    update = np.asarray(out['updates'][0])
    np.testing.assert_array_equal(update[0], update[2])
    self.assertGreater(np.abs(update[0] - update[1]).max(), 0)


if __name__ == '__main__':
  absltest.main()
