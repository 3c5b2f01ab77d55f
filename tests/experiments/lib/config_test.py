"""Configurations to and from JSON."""

import dataclasses

from absl import flags
from absl.testing import absltest, flagsaver

from experiments.lib import config
from pifa_jax.learning import batching, network, optimizer, training


def _config():
  return config.RunConfig(
    network=network.PRESETS['small'],
    optimizer=optimizer.PRESETS['paper'],
    loss=training.LossConfig(block_weights=(1.0, 2.0)),
    augment=batching.AugmentConfig(),
    num_steps=10,
    batch_size=4,
    seed=0,
    dataset='folder',
    landmark_scheme='ibug68',
    face_model='builtin',
    face_model_hash='ab',
    data_hash='cd',
  )


class RunConfigTest(absltest.TestCase):
  def test_round_trip(self):
    self.assertEqual(config.RunConfig.from_json(_config().to_json()), _config())

  def test_hash_names_the_content(self):
    self.assertEqual(_config().hash(), _config().hash())
    self.assertNotEqual(_config().hash(), dataclasses.replace(_config(), seed=1).hash())

  def test_foreign_json_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'not one that this version wrote'):
      config.RunConfig.from_json({**_config().to_json(), 'colour': 'red'})

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

  def test_a_configuration_of_before_a_field_existed(self):
    old = _config().to_json()
    for part, name in (
      (old['network'], 'precision'),
      (old['network'], 'vertex_spacing'),
      (old, 'ablate'),
      (old, 'face_distribution'),
      (old, 'render_face_model'),
      (old, 'backgrounds'),
    ):
      del part[name]
    self.assertEqual(config.RunConfig.from_json(old), _config())

  def from_flags(self):
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    return config.from_flags(
      dataset='folder',
      landmark_scheme='ibug68',
      face_model='builtin',
      face_model_hash='ab',
      data_hash='cd',
      rotation_translation_ratio=1.0,
    )


if __name__ == '__main__':
  absltest.main()
