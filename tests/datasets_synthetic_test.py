"""Built-in faces: determinism, exact labels, visibility by pose."""

from absl.testing import absltest
import jax
import numpy as np

from pifa_jax import projection
from pifa_jax.datasets import synthetic
from pifa_jax.face_models import load_face_model
from pifa_jax.types import unflatten_params

_CONFIG = synthetic.SyntheticConfig(image_size=64)


class GenerateTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = load_face_model('builtin')
    draw = synthetic.make_sampler(cls.model, _CONFIG, 5)
    cls.draw = staticmethod(draw)
    cls.faces = jax.device_get(draw(np.arange(24)))

  def test_a_sample_is_a_function_of_seed_and_index(self):
    again = jax.device_get(self.draw(np.arange(24)[::-1]))
    for name, value in self.faces.items():
      np.testing.assert_array_equal(again[name][::-1], value)
    other = jax.device_get(synthetic.make_sampler(self.model, _CONFIG, 6)(
        np.arange(24)))
    self.assertGreater(np.abs(other['yaw'] - self.faces['yaw']).max(), 1)

  def test_labels_are_the_projection_of_p(self):
    for i in range(24):
      face = unflatten_params(self.faces['params'][i], self.model.num_identity)
      np.testing.assert_allclose(
          projection.landmarks(self.model, face, 'ibug68'),
          self.faces['landmarks'][i], atol=5e-3)
      pose = projection.pose_from_camera(face.camera)
      np.testing.assert_allclose(np.rad2deg(pose['yaw']), self.faces['yaw'][i],
                                 atol=0.05)

  def test_the_box_is_that_of_the_landmarks(self):
    points = self.faces['landmarks']
    low, high = points.min(axis=1), points.max(axis=1)
    size = np.sqrt(np.prod(high - low, axis=1))
    np.testing.assert_allclose(size, 64 / 1.4, rtol=1e-3)
    np.testing.assert_allclose((low + high) / 2, 31.5, atol=1e-2)
    np.testing.assert_allclose(self.faces['boxes'][:, 2], size, rtol=1e-3)
    np.testing.assert_allclose(
        self.faces['boxes'][:, :2] + self.faces['boxes'][:, 2:] / 2, 31.5,
        atol=1e-3)

  def test_profiles_hide_more_than_frontal_faces(self):
    hidden = (~self.faces['visible']).sum(axis=1)
    yaw = np.abs(self.faces['yaw'])
    self.assertLess(hidden[yaw < 20].mean(), 5)
    self.assertGreater(hidden[yaw > 70].mean(), 15)

  def test_pictures_are_faces_on_varied_ground(self):
    images = self.faces['images'].astype(float)
    self.assertGreater(images.std(axis=(1, 2)).min(), 2)
    self.assertGreater(np.abs(images[0] - images[1]).mean(), 10)


if __name__ == '__main__':
  absltest.main()
