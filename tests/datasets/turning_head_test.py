"""The turning head: one face, one light, exact labels."""

from absl.testing import absltest
import numpy as np

from pifa_jax.datasets import synthetic, turning_head
from pifa_jax.face_models import load_expression_units, load_face_model
from pifa_jax.geometry import projection

_SIZE = 80


class TurningHeadTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = load_face_model('builtin')
    cls.config = synthetic.plain_config(image_size=_SIZE, margin=1.8)
    cls.yaw = np.array([0.0, 30.0, 0.0, -30.0])
    cls.clip = cls.render(noise=0.0)

  @classmethod
  def render(cls, **more):
    return turning_head.turning_head(cls.model, cls.config, cls.yaw, seed=3, **more)

  def test_only_the_pose_changes(self):
    images = self.clip.images.astype(int)
    self.assertEqual(images.shape, (4, _SIZE, _SIZE, 3))
    np.testing.assert_array_equal(images[0], images[2])
    self.assertGreater(np.abs(images[1] - images[0]).mean(), 2)
    # The background stays.
    np.testing.assert_array_equal(images[:, :6, :6], np.stack([images[0, :6, :6]] * 4))
    np.testing.assert_array_equal(
      self.clip.params[:, 8:], np.stack([self.clip.params[0, 8:]] * 4)
    )

  def test_labels_are_those_of_the_pose(self):
    points = self.clip.landmarks
    self.assertTrue(((points > 0) & (points < _SIZE - 1)).all())
    size = np.sqrt(np.prod(np.ptp(points[0], axis=0)))
    self.assertAlmostEqual(size, _SIZE / 1.8, places=2)
    degrees = projection.pose_degrees(self.clip.params)
    np.testing.assert_allclose(degrees[:, 1], self.yaw, atol=1e-2)
    np.testing.assert_allclose(degrees[:, [0, 2]], 0, atol=1e-2)
    # It turns about its middle: the tip of the nose moves, to opposite sides.
    tip = points[:, 30, 0] - points[0, 30, 0]
    self.assertAlmostEqual(tip[1], -tip[3], delta=1.5)
    self.assertGreater(abs(tip[1]), 0.1 * size)
    # The contour on the far side is hidden, that on the near one is not.
    near, far = self.clip.visible[1, :5], self.clip.visible[1, 12:17]
    self.assertNotEqual(near.all(), far.all())

  def test_noise_differs_from_frame_to_frame(self):
    noisy = self.render(noise=2.0)
    shift = noisy.images.astype(float) - self.clip.images
    self.assertBetween(shift.std(), 1.5, 2.3)  # with what is clipped
    self.assertGreater(np.abs(shift[0] - shift[2]).mean(), 1.0)
    np.testing.assert_array_equal(noisy.landmarks, self.clip.landmarks)

  def test_only_the_expression_changes(self):
    jaw = np.asarray(load_expression_units('builtin')['jawOpen'])
    acting = np.stack([0 * jaw, jaw, 0.5 * jaw, 0 * jaw])
    # The first and the last frame look the same way.
    yaw = np.zeros(4)
    clip = turning_head.turning_head(
      self.model, self.config, yaw, seed=3, noise=0.0, expressions=acting
    )
    np.testing.assert_allclose(clip.params[:, -len(jaw) :], acting, atol=1e-6)
    np.testing.assert_array_equal(clip.images[0], clip.images[3])
    np.testing.assert_array_equal(clip.images[0], self.clip.images[0])
    lips = clip.landmarks[:, 66, 1] - clip.landmarks[:, 62, 1]
    self.assertGreater(lips[1], lips[0] + 8)
    self.assertBetween(lips[2] - lips[0], 0.4 * (lips[1] - lips[0]), lips[1] - lips[0])
    # The head neither moves nor shrinks.
    still = [27, 28, 29, 30, 36, 39, 42, 45]
    np.testing.assert_allclose(
      clip.landmarks[1, still], clip.landmarks[0, still], atol=0.5
    )
    with self.assertRaisesRegex(ValueError, r'shape \(2, 29\); wanted \(4, 29\)'):
      turning_head.turning_head(
        self.model, self.config, yaw, seed=3, expressions=acting[:2]
      )

  def test_the_yaw_is_a_wave(self):
    yaw = turning_head.sinusoidal_yaw(91, 30.0, amplitude=40.0, period=3.0)
    self.assertAlmostEqual(yaw[0], 0)
    self.assertAlmostEqual(yaw.max(), 40, delta=0.1)
    self.assertAlmostEqual(yaw[90], 0, places=6)


if __name__ == '__main__':
  absltest.main()
