"""The configuration of a run out of flags, to and from JSON."""

import dataclasses

from absl import flags
from absl.testing import absltest, flagsaver

from experiments.lib import config, synthetic_data
from pifa_jax.learning import batching, network_config, optimizer, training, weights


def _config():
  return config.RunConfig(
    network=network_config.PRESETS['small'],
    optimizer=optimizer.PRESETS['paper'],
    loss=training.LossConfig(block_weights=(1.0, 2.0)),
    augment=batching.AugmentConfig(),
    num_steps=10,
    batch_size=4,
    seed=0,
    dataset='synthetic',
    landmark_scheme='ibug68',
    face_model='builtin',
    face_model_hash='ab',
    data_hash='cd',
    synthetic=synthetic_data.SyntheticFaces(ablate=('hair',)),
  )


class RunConfigTest(absltest.TestCase):
  def test_round_trip(self):
    for one in (_config(), dataclasses.replace(_config(), synthetic=None)):
      self.assertEqual(config.RunConfig.from_json(one.to_json()), one)

  def test_hash_names_the_content(self):
    self.assertEqual(_config().hash(), _config().hash())
    for change in (
      {'seed': 1},
      {'validation': 0.1},
      {'augment': batching.AugmentConfig(flip=0.5)},
      {'synthetic': synthetic_data.SyntheticFaces()},
    ):
      other = dataclasses.replace(_config(), **change)
      self.assertNotEqual(_config().hash(), other.hash())

  def test_foreign_json_is_refused_in_one_sentence(self):
    for change in ({'colour': 'red'}, {'renderer': 'plain'}, {'network': {'zoom': 1}}):
      with self.assertRaisesRegex(ValueError, 'not one that this version wrote') as got:
        config.RunConfig.from_json({**_config().to_json(), **change})
      self.assertRegex(str(got.exception), r'^[^.]*\.$')

  def test_a_configuration_of_before_a_field_existed(self):
    old = _config().to_json()
    for part, name in (
      (old['network'], 'precision'),
      (old['network'], 'vertex_spacing'),
      (old['synthetic'], 'face_distribution'),
      (old['synthetic'], 'render_face_model'),
      (old, 'validation'),
      (old, 'earlier_datasets'),
    ):
      del part[name]
    self.assertEqual(config.RunConfig.from_json(old), _config())

  def test_the_shipped_weights(self):
    found = config.RunConfig.from_json(weights.load_weights().card['config'])
    self.assertEqual(found.network.vertex_spacing, 0.75)
    self.assertEqual(found.network.crop_scale, 1.1)
    self.assertEqual(found.augment.shift_jitter, 0.12)
    self.assertTrue(found.loss.root)
    self.assertEqual(found.loss.hidden_weight, 1.0)
    self.assertEqual(found.optimizer.learning_rate_drops, ())
    self.assertEqual(found.synthetic, synthetic_data.SyntheticFaces())
    # Trained twice: the end with the loss of pairs.
    self.assertEqual(found.loss.pair_weight, 10.0)
    self.assertEqual(found.datasets, ('synthetic', 'synthetic'))


class FromFlagsTest(absltest.TestCase):
  def from_flags(self, **facts):
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    return config.from_flags(
      rotation_translation_ratio=1.5,
      dataset='folder',
      landmark_scheme='ibug68',
      face_model='builtin',
      face_model_hash='ab',
      data_hash='cd',
      **facts,
    )

  def test_the_paper_network_takes_smaller_steps(self):
    rates = {}
    for preset in ('small', 'paper'):
      with flagsaver.flagsaver(preset=preset):
        rates[preset] = self.from_flags().optimizer.learning_rate
    self.assertAlmostEqual(rates['paper'], rates['small'] / 10)
    # Unless told otherwise, and never in the paper's own numbers.
    with flagsaver.flagsaver(preset='paper', learning_rate=0.25):
      self.assertEqual(self.from_flags().optimizer.learning_rate, 0.25)
    with flagsaver.flagsaver(preset='paper', optimizer_preset='paper'):
      self.assertEqual(self.from_flags().optimizer, optimizer.PRESETS['paper'])

  def test_drops_of_the_learning_rate_make_its_schedule(self):
    self.assertEqual(self.from_flags().optimizer.schedule, 'cosine')
    with flagsaver.flagsaver(learning_rate_drops=['0.5:1e-3', '0.75:1e-4']):
      found = self.from_flags().optimizer
    self.assertEqual(found.learning_rate_drops, ((0.5, 1e-3), (0.75, 1e-4)))
    self.assertEqual(found.schedule, 'multistep')
    with flagsaver.flagsaver(learning_rate_drops=['0.5']):
      with self.assertRaisesRegex(
        ValueError, '--learning_rate_drops=0.5 .*0.6061:5e-7'
      ):
        self.from_flags()

  def test_number_of_blocks(self):
    with flagsaver.flagsaver(num_blocks=2, convs_per_block=3):
      found = self.from_flags().network
    self.assertEqual(found.channels, (12, 16, 20, 24, 28, 32))
    self.assertEqual(found.num_blocks, 2)
    with flagsaver.flagsaver(num_blocks=7):
      found = self.from_flags().network
    self.assertEqual((found.num_blocks, found.channels[-2:]), (7, (40, 40)))
    self.assertEqual(found.kernels[-2:], (3, 3))

  def test_the_ratio_is_of_the_literal_loss_alone(self):
    self.assertIsNone(self.from_flags().loss.rotation_translation_ratio)
    with flagsaver.flagsaver(eq6_mode='literal'):
      self.assertEqual(self.from_flags().loss.rotation_translation_ratio, 1.5)

  def test_the_seed_is_that_of_all_programs(self):
    with flagsaver.flagsaver(seed=8):
      self.assertEqual(self.from_flags().seed, 8)

  def test_the_trainer(self):
    self.from_flags()
    with flagsaver.flagsaver(log_every=3, fresh=True):
      found = config.trainer_from_flags()
    self.assertEqual(found, config.TrainerSettings(log_every=3, fresh=True))


if __name__ == '__main__':
  absltest.main()
