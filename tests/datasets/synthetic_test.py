"""Synthetic faces: determinism, exact labels, visibility by pose."""

from unittest import mock

from absl.testing import absltest
import jax
import numpy as np

from pifa_jax.datasets import synthetic
from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import morphable_model, projection
from pifa_jax.synthesis import label_maps
from pifa_jax.types import unflatten_params
from tests.synthesis import faces

_CONFIG = synthetic.plain_config(image_size=64)
_COUNT = 24  # one number of faces a call, as each is compiled anew


class GenerateTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = load_face_model('builtin')
    draw = synthetic.make_generator(cls.model, _CONFIG, 5)
    cls.draw = staticmethod(draw)
    cls.faces = jax.device_get(draw(np.arange(_COUNT)))

  def test_a_sample_is_a_function_of_seed_and_index(self):
    again = jax.device_get(self.draw(np.arange(_COUNT)[::-1]))
    for name, value in self.faces.items():
      np.testing.assert_array_equal(again[name][::-1], value)
    other = jax.device_get(
      synthetic.make_generator(self.model, _CONFIG, 6)(np.arange(_COUNT))
    )
    self.assertGreater(np.abs(other['yaw'] - self.faces['yaw']).max(), 1)

  def test_many_are_drawn_in_order(self):
    told = []
    with mock.patch.object(synthetic, '_CHUNK', _COUNT):
      found = synthetic.generate(
        self.model, _CONFIG, seed=5, start=3, count=54, progress=told.append
      )
    self.assertEqual(told, ['  54 of 54'])
    for name, value in found.items():
      self.assertLen(value, 54)
      np.testing.assert_array_equal(value[: _COUNT - 3], self.faces[name][3:], name)
    last = jax.device_get(self.draw(np.arange(3 + 48, 3 + 72)))
    for name, value in found.items():
      np.testing.assert_array_equal(value[48:], last[name][:6], name)

  def test_single_actions_of_another_model_are_refused(self):
    with self.assertRaisesRegex(ValueError, r'\(7,\).*the face model 29'):
      synthetic.make_generator(self.model, _CONFIG, 5, {'jawOpen': np.zeros(7)})

  def test_photos_that_are_no_squares_are_refused(self):
    for wrong in (
      np.zeros((2, 8, 9, 3), np.uint8),
      np.zeros((2, 8, 8, 3)),
      np.zeros((0, 8, 8, 3), np.uint8),
    ):
      with self.assertRaisesRegex(ValueError, 'photos are .*squares'):
        synthetic.make_generator(self.model, _CONFIG, 5, photos=wrong)

  def test_side_by_side_as_one_after_the_other(self):
    draw = synthetic.make_generator(self.model, _CONFIG, 5, faces_at_once=3)
    with faces.one_window():
      found = jax.device_get(draw(np.arange(6)))
    for name, value in found.items():
      wanted = self.faces[name][:6]
      if name == 'images':  # a grey level is rounded here and there
        self.assertLess(np.abs(value.astype(int) - wanted).mean(), 0.02)
      elif name == 'visible':
        self.assertGreater((value == wanted).mean(), 0.99)
      else:
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-2, err_msg=name)

  def test_labels_are_the_projection_of_p(self):
    truth = unflatten_params(self.faces['params'], self.model.num_identity)
    project = jax.jit(
      jax.vmap(lambda face: projection.landmarks(self.model, face, 'ibug68'))
    )
    np.testing.assert_allclose(project(truth), self.faces['landmarks'], atol=5e-3)
    yaw = jax.vmap(lambda camera: projection.pose_from_camera(camera)['yaw'])
    np.testing.assert_allclose(
      np.rad2deg(yaw(truth.camera)), self.faces['yaw'], atol=0.05
    )

  def test_the_box_is_that_of_the_landmarks(self):
    points = self.faces['landmarks']
    low, high = points.min(axis=1), points.max(axis=1)
    size = np.sqrt(np.prod(high - low, axis=1))
    np.testing.assert_allclose(size, 64 / 1.4, rtol=1e-3)
    np.testing.assert_allclose((low + high) / 2, 31.5, atol=1e-2)
    np.testing.assert_allclose(self.faces['boxes'][:, 2], size, rtol=1e-3)
    np.testing.assert_allclose(
      self.faces['boxes'][:, :2] + self.faces['boxes'][:, 2:] / 2, 31.5, atol=1e-3
    )

  def test_more_labels(self):
    draw = synthetic.make_generator(
      self.model, _CONFIG, 5, labels=('ibug34', 'aflw34', 'depth', 'regions')
    )
    with faces.one_window():
      found = jax.device_get(draw(np.arange(_COUNT)))
    for name, value in self.faces.items():  # the same faces as without them
      np.testing.assert_array_equal(found[name], value, err_msg=name)
    # Points that two schemes share are the same ones.
    schemes = self.model.landmark_schemes
    where = [list(schemes['ibug68']).index(b) for b in schemes['ibug34']]
    np.testing.assert_allclose(
      found['landmarks_ibug34'], found['landmarks'][:, where], atol=1e-4
    )
    np.testing.assert_array_equal(found['visible_ibug34'], found['visible'][:, where])
    self.assertEqual(found['landmarks_aflw34'].shape, (24, 34, 2))
    np.testing.assert_array_equal(np.isfinite(found['depth']), found['regions'] > 0)
    for i in range(0, 24, 4):
      self.check_maps(found, i)

  def check_maps(self, found, i):
    """Depth and parts of some pixels, triangle by triangle."""
    face = unflatten_params(found['params'][i], self.model.num_identity)
    vertices = np.asarray(morphable_model.shape(self.model, face))
    pose = projection.pose_from_camera(face.camera)
    places = np.asarray(projection.project(face.camera, vertices))
    depth = -float(pose['scale']) * (vertices @ np.asarray(pose['rotation']).T)[:, 2]
    part = np.ones(len(vertices), int)
    for k, name in enumerate(label_maps.PARTS):
      part[np.asarray(self.model.regions[name])] = k + 1
    triangles = np.asarray(self.model.triangles)
    a, b, c = (places[triangles[:, k]] for k in range(3))
    cross = lambda p, q: p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
    area = cross(b - a, c - a)
    agree = []
    for v, u in np.random.default_rng(i).integers(8, 56, (60, 2)):
      at = np.array([[u, v]], float)
      w = (
        np.stack(
          [cross(b - at, c - at), cross(c - at, a - at), cross(a - at, b - at)], axis=1
        )
        / area[:, None]
      )
      inside = (area < 0) & (w >= 0).all(axis=1)
      if not inside.any():
        agree.append(found['regions'][i, v, u] == 0)
        continue
      z = np.where(inside, (w * depth[triangles]).sum(axis=1), np.inf)
      corners = part[triangles[z.argmin()]]
      agree.append(
        abs(found['depth'][i, v, u] - z.min()) < 0.05
        and found['regions'][i, v, u] == np.median(corners)
      )
    # A pixel on an edge may belong to either side.
    self.assertGreater(np.mean(agree), 0.95)

  def test_a_label_that_there_is_not(self):
    with self.assertRaisesRegex(
      ValueError, "label 'normals' is neither of depth, regions nor .*aflw34.* ibug68"
    ):
      synthetic.make_generator(self.model, _CONFIG, 5, labels=('normals',))

  def test_profiles_hide_more_than_frontal_faces(self):
    hidden = (~self.faces['visible']).sum(axis=1)
    yaw = np.abs(self.faces['yaw'])
    self.assertLess(hidden[yaw < 20].mean(), 5)
    self.assertGreater(hidden[yaw > 70].mean(), 15)

  def test_images_are_faces_on_varied_ground(self):
    images = self.faces['images'].astype(float)
    self.assertGreater(images.std(axis=(1, 2)).min(), 2)
    self.assertGreater(np.abs(images[0] - images[1]).mean(), 10)


class ConfigTest(absltest.TestCase):
  def test_an_unknown_renderer_is_refused(self):
    with self.assertRaisesRegex(ValueError, "renderer='nice'.*full, plain"):
      synthetic.SyntheticConfig(renderer='nice')


if __name__ == '__main__':
  absltest.main()
