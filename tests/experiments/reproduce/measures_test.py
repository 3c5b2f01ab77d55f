"""Errors on photos, and noise on the weights of one block."""

import pathlib
import tempfile

from absl import flags
from absl.testing import absltest, flagsaver
import numpy as np

from experiments.lib.config import RunConfig
from experiments.reproduce import measures
from experiments.reproduce.restored import Restored
from pifa_jax.face_models import load_face_model
from pifa_jax.learning import network, network_config, optimizer
from pifa_jax.learning.batching import AugmentConfig
from pifa_jax.learning.training import LossConfig
from tests import miniatures


def _untrained():
  """A network of two small blocks, as it is before training."""
  config = network_config.NetworkConfig(
    crop_size=28,
    channels=(4, 4),
    kernels=(3, 3),
    convs_per_block=1,
    hidden_size=8,
    visualization=False,
  )
  model = load_face_model('builtin')
  run = RunConfig(
    network=config,
    optimizer=optimizer.PRESETS['adam'],
    loss=LossConfig(),
    augment=AugmentConfig(),
    seed=0,
    dataset='synthetic',
    landmark_scheme='ibug68',
    face_model='builtin',
    face_model_hash='',
    data_hash='',
  )
  net = network.PifaNetwork(config, model.num_params)
  variables = network.init_variables(net, network.network_geometry(model, config), 0)
  return Restored(run, variables, model, 'digest')


class _Runs:
  """Runs that are trained already."""

  def __init__(self, data):
    self.data, self.what, self._restored = data, [], _untrained()

  def measured(self, name, seed, what, measure):
    self.what.append((name, seed, what))
    return measure(self._restored)


class PhotosTest(absltest.TestCase):
  def _flags(self, **values):
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    values = {'cache_dir': tempfile.mkdtemp(), 'tfds_dir': None, **values}
    self.enter_context(flagsaver.flagsaver(**values))

  def test_a_part_of_300w_that_lacks_its_photos_says_so(self):
    root = pathlib.Path(tempfile.mkdtemp())
    miniatures.write_300w(root, 2)
    for path in (root / 'ibug').iterdir():
      path.unlink()
    (root / 'ibug').rmdir()
    self._flags(dataset='w300', data_dir=str(root))
    runs = _Runs('300w')
    found = measures.Measures(runs)
    full = found.w300(0, 'full')
    # Four photos of the test sets of LFPW and HELEN; those of iBUG are not there.
    self.assertEqual(full['num_faces'], 4)
    self.assertIn('ibug', ' '.join(full['gaps']))
    self.assertIn('incomplete', full['statement'])
    self.assertIn('the distance of the means of the six points', full['statement'])
    self.assertEqual(set(full['failures']), {'68', '51'})
    # The network adds next to nothing to the mean face in the box.
    np.testing.assert_allclose(full['errors'][0], full['errors'][1], rtol=0.2)
    with self.assertRaisesRegex(Exception, 'challenging of 300W is not in'):
      found.w300(0, 'challenging')
    self.assertEqual(runs.what[0], ('fine_tuned', 0, 'w300_test'))
    self.assertEqual(runs.what[1], ('fine_tuned', 0, 'w300_challenging'))

  def test_errors_on_afw_are_pixels_of_the_photos(self):
    root = pathlib.Path(tempfile.mkdtemp())
    miniatures.write_afw(root)
    self._flags()
    found = measures.Measures(_Runs('synthetic'), str(root)).afw(0)
    self.assertEqual(found['num_faces'], 3)
    self.assertIn('pixels of the original photo', found['statement'])
    self.assertGreater(found['errors'][-1], 1.0)


class NoiseTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    layer = lambda: {
      'kernel': rng.normal(size=(40, 50)).astype(np.float32),
      'bias': np.zeros(50, np.float32),
    }
    block = lambda: {'conv1': layer(), 'fc1': layer(), 'fc2': layer()}
    self.variables = {
      'params': {'block1': block(), 'block2': block()},
      'batch_stats': {'block1': np.ones(3)},
    }

  def test_only_the_fc_weights_of_one_block_change_by_the_share(self):
    before = self.variables['params']['block2']
    for kind in measures.NOISES:
      found = measures.noisy(self.variables, 2, kind, 0.05, seed=0)
      self.assertIs(found['params']['block1'], self.variables['params']['block1'])
      self.assertIs(found['batch_stats'], self.variables['batch_stats'])
      after = found['params']['block2']
      self.assertIs(after['conv1'], before['conv1'])
      for layer in ('fc1', 'fc2'):
        old, new = before[layer]['kernel'], after[layer]['kernel']
        self.assertEqual(new.dtype, np.float32)
        size = old if kind == 'own' else np.abs(old).max()
        # 2,000 draws: their deviation is known to 2 %.
        self.assertAlmostEqual(np.std((new - old) / size), 0.05, delta=0.004)

  def test_it_depends_on_the_seed_alone(self):
    draw = lambda seed: measures.noisy(self.variables, 1, 'own', 0.05, seed)['params']
    first, again, other = draw(0), draw(0), draw(1)
    kernel = lambda params: params['block1']['fc1']['kernel']
    np.testing.assert_array_equal(kernel(first), kernel(again))
    self.assertGreater(np.abs(kernel(first) - kernel(other)).max(), 0)

  def test_what_later_blocks_leave_of_it(self):
    class Runs(_Runs):
      def measured(self, name, seed, what, measure):
        return {
          'none': [20.0, 10.0, 8.0, 5.0],
          # Two points more after block 1, half a point more at the end.
          'largest': [[20.0, 12.0, 9.0, 5.5], [20.0, 10.0, 7.9, 6.0]],
        }

    found = measures.Measures(Runs('synthetic'))
    self.assertEqual(found.noise(0, 1, 'largest'), 5.5)
    self.assertEqual(found.noise_left(0, 1, 'largest'), 25.0)
    with self.assertRaisesRegex(Exception, 'does not raise the error of block 2'):
      found.noise_left(0, 2, 'largest')
    with self.assertRaisesRegex(Exception, 'base has 3 blocks'):
      found.noise(0, 4, 'largest')

  def test_noise_on_a_block_leaves_the_blocks_before_it(self):
    flags_of = {'dataset': 'synthetic', 'num_test': 4, 'renderer': 'plain'}
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    cache = tempfile.mkdtemp()
    with flagsaver.flagsaver(cache_dir=cache, face_model='builtin', **flags_of):
      found = measures.Measures(_Runs('synthetic'))._noises(0, 1)
    for kind in measures.NOISES:
      self.assertLen(found[kind], 2)
      for block, errors in enumerate(found[kind]):
        np.testing.assert_array_equal(errors[: block + 1], found['none'][: block + 1])
    self.assertNotEqual(found['largest'][0][1], found['none'][1])


if __name__ == '__main__':
  absltest.main()
