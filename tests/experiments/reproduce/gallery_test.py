"""Figs. 1, 9 and 10: what is drawn is what the network made of the faces."""

import dataclasses
import types
from unittest import mock

from absl.testing import absltest
import jax
import numpy as np
from PIL import Image

from experiments.lib import figures
from experiments.reproduce import gallery
from experiments.reproduce.gallery_faces import GalleryFace
from experiments.reproduce.restored import Restored
import pifa_jax
from pifa_jax.learning import network
from pifa_jax.learning.batching import AugmentConfig
from pifa_jax.learning.network_config import NetworkConfig

_CONFIG = NetworkConfig(
  crop_size=56, channels=(4, 4), kernels=(3, 3), convs_per_block=1, fc_pool=4,
  hidden_size=8,
)  # fmt: skip
_GREEN, _YELLOW = [40, 220, 60], [255, 205, 60]


def _has(picture, color):
  return (np.abs(np.asarray(picture).astype(int) - color).max(axis=-1) < 30).sum()


class GalleryTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = pifa_jax.load_face_model('builtin')
    net = network.PifaNetwork(_CONFIG, cls.model.num_params)
    geometry = network.network_geometry(cls.model, _CONFIG)
    variables = network.init_variables(net, geometry, 0)
    # An untrained network whose second layers give nothing: P stays P^0.
    for block in variables['params'].values():
      block['fc2'] = jax.tree.map(np.zeros_like, block['fc2'])
    config = types.SimpleNamespace(network=_CONFIG, augment=AugmentConfig())
    cls.restored = Restored(config, variables, cls.model)
    photo = np.random.default_rng(0).integers(0, 90, (120, 160, 3), np.uint8)
    cls.faces = [
      GalleryFace(photo, np.array([30.0, 20, 80, 80])),
      GalleryFace(photo, np.array([50.0, 10, 60, 90])),
    ]
    cls.fitted = gallery.fit(cls.restored, cls.faces)

  def test_without_updates_the_result_is_the_start(self):
    for one in self.fitted:
      np.testing.assert_allclose(one.face.landmarks['ibug68'], one.start, atol=0.01)
      # P^0 fills its box: the same centre and area.
      sides = np.ptp(one.start, axis=0)
      self.assertAlmostEqual(
        np.sqrt(np.prod(sides)), np.sqrt(np.prod(one.box[2:])), delta=0.01
      )
      np.testing.assert_allclose(
        (one.start.min(axis=0) + one.start.max(axis=0)) / 2,
        one.box[:2] + one.box[2:] / 2,
        atol=0.01,
      )
      # The box is two thirds of the picture.
      np.testing.assert_allclose(one.box[2:], 150 / 1.5, rtol=1e-5)

  def test_the_mesh_lies_under_the_landmarks(self):
    face = self.fitted[0].face
    ids = np.asarray(self.model.landmark_schemes['ibug68'])
    np.testing.assert_allclose(
      face.vertices[ids, :2], face.landmarks['ibug68'], atol=0.01
    )

  def test_alignment_has_start_mesh_and_landmarks(self):
    picture = np.asarray(gallery.draw_alignment(self.fitted))
    self.assertEqual(picture.shape, (3 * 152 - 2, 2 * 152 - 2, 3))
    start, mesh, result = np.split(picture, [152, 304])
    self.assertGreater(_has(start, _YELLOW), 300)
    self.assertEqual(_has(result, _YELLOW), 0)
    for row in (start, result):
      self.assertGreater(_has(row, _GREEN), 400)
    self.assertEqual(_has(mesh, _GREEN), 0)
    # The photo is dark, the shaded mesh is not.
    self.assertGreater(mesh[40:100, 40:110].mean(), result[40:100, 40:110].mean() + 40)

  def test_what_is_too_many_for_the_first_rows_follows(self):
    blank = Image.new('RGB', (150, 150))
    with mock.patch.object(gallery, 'mesh', return_value=blank):
      picture = gallery.draw_alignment(self.fitted * 5)
    # Eight with three pictures, and two with one.
    self.assertEqual(picture.size, (8 * 152 - 2, 4 * 152 - 2))

  def test_visualizations_are_those_of_the_blocks(self):
    picture = np.asarray(gallery.draw_visualizations(self.fitted))
    start = pifa_jax.initial_params(self.model, 56)
    plane = np.asarray(pifa_jax.visualize(self.model, start, image_size=56))
    wanted = np.asarray(figures.visualization(plane, size=150))
    # The second column of the first row, and P^0 in the row below as well.
    for top in (12, 12 + 162):
      found = picture[top : top + 150, 174 : 174 + 150]
      self.assertLess(np.abs(found.astype(int) - wanted).max(), 3)
    half = self.fitted[0].face.visualizations[1]
    self.assertEqual(half.shape, (28, 28))
    np.testing.assert_array_equal(
      picture[12:162, 336 : 336 + 150],
      np.asarray(figures.visualization(half, size=150)),
    )

  def test_no_visualization_is_refused(self):
    bare = [
      dataclasses.replace(one, face=dataclasses.replace(one.face, visualizations=()))
      for one in self.fitted
    ]
    for none in (bare, []):
      with self.assertRaisesRegex(ValueError, 'a network with a visualization'):
        gallery.draw_visualizations(none)
    with self.assertRaisesRegex(ValueError, 'at least one face'):
      gallery.draw_alignment([])

  def test_overview_shows_the_shape_where_the_face_is(self):
    face = dataclasses.replace(
      self.faces[0],
      params=pifa_jax.uncrop_params(
        pifa_jax.initial_params(self.model, 80), self.faces[0].box, 80
      ),
    )
    page = np.asarray(gallery.draw_overview(self.model, face)).astype(int)
    photo, shape, plane = (page[12:332, x : x + 320] for x in (12, 344, 676))
    self.assertLess(photo.max(), 140)
    # The head is before white, V before grey; both are where P says: in the middle.
    self.assertLess(shape[100:250, 110:210].mean(), 230)
    np.testing.assert_array_equal(shape[:40, :40], 255)
    np.testing.assert_array_equal(plane[:20, :20], 127)
    # Fig. 4: V is positive at the nose.
    self.assertGreater(plane[150:190, 140:180].mean(), 150)

  def test_overview_needs_the_parameters(self):
    with self.assertRaisesRegex(ValueError, 'parameters are known'):
      gallery.draw_overview(self.model, self.faces[0])

  def test_a_mesh_that_is_not_finite_is_left_out(self):
    one = self.fitted[0]
    lost = dataclasses.replace(
      one.face, params=one.face.params.replace(camera=np.full((2, 4), np.nan))
    )
    np.testing.assert_array_equal(
      np.asarray(gallery.mesh(one.picture, lost)), one.picture
    )


if __name__ == '__main__':
  absltest.main()
