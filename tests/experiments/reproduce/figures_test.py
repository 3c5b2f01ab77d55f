"""The registry of the figures: every entry draws what it says."""

import dataclasses
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np
from PIL import Image

from experiments.lib import cli
from experiments.reproduce import figures, gallery_faces, restored, variants
import pifa_jax


class FiguresTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    self.model = pifa_jax.load_face_model('builtin')

  def test_the_figures_of_the_issue(self):
    self.assertEqual(set(figures.FIGURES), {1, 4, 5, 7, 8, 9, 10})
    for number, figure in figures.FIGURES.items():
      self.assertEqual(figure.number, number)

  def test_figures_of_the_face_model_alone(self):
    for number in (4, 5, 8):
      self.assertEqual(figures.FIGURES[number].needs, ())
      (path,) = figures.draw(number, {}, self.model, self.folder)
      self.assertEqual(path, self.folder / f'figure_{number}.png')
      with Image.open(path) as image:
        self.assertGreater(np.asarray(image).std(), 20)

  def test_overview_is_of_the_model_that_is_given(self):
    face = gallery_faces.GalleryFace(
      np.zeros((90, 90, 3), np.uint8),
      np.array([10.0, 10, 60, 60]),
      pifa_jax.initial_params(self.model, 60),
    )
    with mock.patch.object(
      gallery_faces, 'rendered_faces', return_value=[face]
    ) as rendered:
      (path,) = figures.draw(1, {}, self.model, self.folder)
    self.assertIs(rendered.call_args.args[1], self.model)
    self.assertTrue(path.is_file())

  def test_weights_of_the_architectures_that_are_there(self):
    network = restored.open_restored()
    image_and_v = {
      f'block{i}': {
        name: {'kernel': np.ones((3, 3, 4 * 4 * 4 if i == 1 else 2 * 2 * 4, 2))}
        for name in ('conv_entry1', 'conv_unit1a')
      }
      for i in range(1, 7)
    }
    config = dataclasses.replace(
      network.config, network=dataclasses.replace(network.config.network, inputs='IV')
    )
    runs = {
      'base': network,
      'inputs_iv': restored.Restored(config, {'params': image_and_v}, network.model),
    }
    files = figures.draw(7, runs, self.model, self.folder)
    text = (self.folder / 'figure_7.csv').read_text()
    self.assertIn(self.folder / 'figure_7.csv', files)
    self.assertIn('a,F,2,', text)
    self.assertIn('c,V,6,1\n', text.replace('\r', ''))
    self.assertNotIn('b,', text)

  def test_what_figures_need_is_trained(self):
    for figure in figures.FIGURES.values():
      self.assertContainsSubset(figure.needs, variants.VARIANTS)

  def test_what_cannot_be_drawn_is_one_sentence(self):
    with self.assertRaisesRegex(cli.UserError, '--figure=2 is not drawn here; use one'):
      figures.draw(2, {}, self.model, self.folder)
    for number in (7, 9, 10):
      with self.assertRaisesRegex(cli.UserError, f'Fig. {number} shows a trained net'):
        figures.draw(number, {}, self.model, self.folder)


class RestoredTest(absltest.TestCase):
  def test_the_built_in_weights(self):
    network = restored.open_restored()
    self.assertEqual(network.model.num_params, 236)
    self.assertIn('block1', network.variables['params'])

  def test_a_folder_without_weights_is_refused(self):
    with tempfile.TemporaryDirectory() as folder:
      with self.assertRaisesRegex(cli.UserError, 'no finished checkpoint'):
        restored.open_restored(folder)


if __name__ == '__main__':
  absltest.main()
