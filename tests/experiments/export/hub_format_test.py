"""Weights in the layout of model hubs come back as they were."""

import dataclasses
import importlib.util
import json
import pathlib
import tempfile
import unittest
from unittest import mock

from absl.testing import absltest
import flax.traverse_util
import numpy as np

from experiments.export import hub_format
from experiments.lib import cli
from pifa_jax.learning.weights import TrainedWeights
from tests.experiments.export import small_network

_INSTALLED = importlib.util.find_spec('safetensors')


def _weights():
  small = small_network.make_small()
  card = {
    'config': {'dataset': 'aflw', 'face_model': 'builtin', 'face_model_hash': '12ab'},
    'note': 'ü',
    'step': 3,
    'checkpoint': 'abc',
  }
  return TrainedWeights(small_network.CONFIG, small.variables, card, 'ff00')


class HubFormatTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  @unittest.skipUnless(_INSTALLED, 'needs the extra safetensors')
  def test_the_same_bits(self):
    content = _weights()
    names = hub_format.write(self.folder, content)
    self.assertEqual(set(names), {path.name for path in self.folder.iterdir()})
    found = hub_format.read(self.folder)
    flat = lambda tree: flax.traverse_util.flatten_dict(tree, sep='/')
    wanted, arrays = flat(content.variables), flat(found.variables)
    self.assertEqual(set(arrays), set(wanted))
    for name, value in wanted.items():
      self.assertEqual(arrays[name].dtype, value.dtype)
      self.assertEqual(arrays[name].tobytes(), np.asarray(value).tobytes(), name)
    self.assertEqual(
      dataclasses.replace(found, variables={}),
      dataclasses.replace(content, variables={}),
    )

  @unittest.skipUnless(_INSTALLED, 'needs the extra safetensors')
  def test_the_card_and_the_header_are_what_hubs_read(self):
    hub_format.write(self.folder, _weights())
    card = (self.folder / 'README.md').read_text()
    self.assertTrue(card.startswith('---\nlibrary_name: pifa_jax\n'))
    self.assertIn('| Trained on | aflw |', card)
    self.assertIn('ü', card)
    data = (self.folder / 'model.safetensors').read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], 'little')])
    self.assertEqual(header['__metadata__']['format'], 'flax')
    self.assertEqual(header['params.block1.conv1.kernel']['dtype'], 'F32')

  @unittest.skipUnless(_INSTALLED, 'needs the extra safetensors')
  def test_a_folder_of_another_model_is_refused(self):
    (self.folder / 'config.json').write_text('{"model_type": "bert"}')
    with self.assertRaisesRegex(ValueError, '--format=safetensors'):
      hub_format.read(self.folder)

  def test_without_the_package_one_sentence(self):
    with mock.patch.dict('sys.modules', {'safetensors.numpy': None}):
      with self.assertRaisesRegex(cli.UserError, r'pifa_jax\[safetensors\]'):
        hub_format.write(self.folder, _weights())
    self.assertEmpty(list(self.folder.iterdir()))


if __name__ == '__main__':
  absltest.main()
