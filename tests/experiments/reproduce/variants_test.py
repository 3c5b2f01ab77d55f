"""Variants are settings: each is told apart, and none changes by itself."""

import os
import tempfile
from unittest import mock

from absl import flags
from absl.testing import absltest, flagsaver, parameterized

from experiments.lib import config as config_lib
from experiments.lib import data_loading
from experiments.reproduce import runs, variants
from experiments.reproduce.catalogue import TABLES
from pifa_jax.learning.network_config import PRESETS


def make_runs(folder='', scale='demo', data='synthetic', given=None, log=print):
  """Runs whose flags are parsed."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
  folder = folder or tempfile.mkdtemp()
  return runs.Runs(folder, variants.SCALES[scale], data, given or {}, log)


class VariantsTest(parameterized.TestCase):
  @parameterized.parameters('demo', 'full')
  def test_no_two_variants_have_one_configuration(self, scale):
    found = make_runs(scale=scale)
    keys = {name: found.key(name, 0) for name in variants.VARIANTS}
    self.assertLen(set(keys.values()), len(keys))
    self.assertNotEqual(found.key('base', 0), found.key('base', 1))

  def test_in_smoke_the_long_cascade_is_the_other_one_once_more(self):
    found = make_runs(scale='smoke')
    for stage in range(1, variants.NUM_BLOCKS + 1):
      self.assertEqual(
        found.key(f'cascade_{stage}', 0), found.key(f'long_cascade_{stage}', 0)
      )

  def test_the_hash_stays_and_names_what_is_computed(self):
    found = make_runs()
    before = found.key('base', 0)
    # In whatever state the flags are.
    with flagsaver.flagsaver(log_every=7, num_blocks=5, mask='none'):
      self.assertEqual(make_runs().key('base', 0), before)
    for given, same in (
      ({'cache_dir': '/elsewhere'}, True),
      ({'log_every': '3'}, True),
      ({'num_steps': '901'}, False),
      ({'data_seed': '1'}, False),
      ({'validation': '0.1'}, False),
      ({'renderer': 'full'}, False),
    ):
      self.assertEqual(make_runs(given=given).key('base', 0) == before, same, given)
    of_photos = lambda folder: make_runs(data='aflw', given={'data_dir': folder}).key(
      'base', 0
    )
    self.assertEqual(of_photos('photos'), of_photos(os.path.abspath('photos')))
    self.assertLen({before, of_photos('photos'), of_photos('others')}, 3)

  def test_a_stage_of_a_cascade_is_named_by_those_before_it(self):
    a, b = make_runs(), make_runs(given={'batch_size': '8'})
    self.assertNotEqual(a.key('cascade_6', 0), b.key('cascade_6', 0))
    self.assertNotEqual(a.key('cascade_6', 0), a.key('long_cascade_6', 0))

  @parameterized.parameters(*variants.SCALES)
  def test_all_networks_can_be_built(self, scale):
    found = make_runs(scale=scale)
    blocks = {}
    for name in variants.VARIANTS:
      with found.flags(name, 3):
        network = config_lib.network_from_flags()
        blocks[name] = network.num_blocks
        self.assertEqual(flags.FLAGS.seed, 3)
        self.assertLess(network.frozen_blocks, network.num_blocks)
    self.assertEqual(
      [blocks[name] for name in ('base', 'blocks_4x3', 'blocks_3x4', 'blocks_8')],
      [6, 4, 3, 8],
    )
    self.assertEqual(blocks['cascade_3'], 3)

  def test_steps_and_faces_are_shares_of_what_is_given(self):
    found = make_runs(given={'num_steps': '60', 'num_train': '80'})
    for name, steps, faces in (
      ('base', 60, 80),
      ('cascade_2', 10, 80),
      ('long_cascade_2', 60, 80),
      ('faces_8', 60, 10),
    ):
      with found.flags(name, 0):
        f = flags.FLAGS
        self.assertEqual((f.num_steps, f.num_train), (steps, faces), name)

  def test_the_full_scale_is_the_paper(self):
    found = make_runs(scale='full')
    with found.flags('base', 0):
      self.assertEqual(config_lib.network_from_flags(), PRESETS['paper'])
      f = flags.FLAGS
      # 33 epochs of 20 boxes of 3,901 images.
      self.assertEqual(f.num_steps * f.batch_size // 10**5, 25)
      rates = config_lib.from_flags(
        rotation_translation_ratio=1.0,
        dataset='',
        landmark_scheme='',
        face_model='',
        face_model_hash='',
        data_hash='',
      ).optimizer
      (first, half), (second, tenth) = rates.learning_rate_drops
      self.assertAlmostEqual(first * 33, 20, delta=0.01)
      self.assertAlmostEqual(second * 33, 29, delta=0.01)
      self.assertAlmostEqual(half / rates.learning_rate, 0.5)
      self.assertAlmostEqual(tenth / rates.learning_rate, 0.1)
      self.assertEqual(rates.schedule, 'multistep')

  def test_photos_are_read_by_the_usual_readers(self):
    found = make_runs(data='300w', given={'data_dir': '/photos'})
    with found.flags('mask_none', 0):
      settings = data_loading.from_flags()
      self.assertEqual((settings.dataset, settings.data_dir), ('w300', '/photos'))
      self.assertEqual(flags.FLAGS.mask, 'none')
    reason = variants.problem(variants.VARIANTS['faces_8'], '300w')
    self.assertIn('on synthetic faces alone', reason)

  def test_a_flag_file_is_the_recipe_of_its_variant(self):
    name = variants.FINE_TUNED
    given = {'data_dir': '/photos', 'noise': '0.5'}
    found = make_runs(scale='demo', data='300w', given=given)
    with found.flags(name, 0):
      f = flags.FLAGS
      self.assertEqual((f.initial_weights, f.preset), ('builtin', 'residual'))
      self.assertEqual((f.dataset, f.root, f.noise), ('w300', True, 0.5))
      self.assertGreater(f.num_steps, 1000)
      # The scale's own augmentation is not in the file.
      self.assertEqual(f.occlusion, 0)
    with found.flags(variants.BASE, 0):
      self.assertIsNone(flags.FLAGS.initial_weights)
    # At scale smoke it is as short as all runs.
    with make_runs(scale='smoke', data='300w', given=given).flags(name, 0):
      self.assertEqual((f.preset, f.num_steps, f.batch_size), ('residual', 12, 4))
    key = found.key(name, 0)
    with mock.patch.object(runs, 'load_weights') as load:
      load.return_value.content_hash = 64 * '0'
      self.assertNotEqual(found.key(name, 0), key)
    reason = variants.problem(variants.VARIANTS[name], 'synthetic')
    self.assertIn('w300.flags is for photos of 300W', reason)

  def test_every_table_has_rows_of_its_own_names(self):
    for table in TABLES.values():
      names = [row.name for row in table.rows]
      self.assertLen(set(names), len(names), table.key)
      for claim in table.claims:
        self.assertContainsSubset(claim.rows, names, claim.text)


if __name__ == '__main__':
  absltest.main()
