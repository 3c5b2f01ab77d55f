"""Pose_Para of 300W-LP and AFLW2000-3D, there and back."""

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.datasets import w300lp


def _pose_para(pitch, yaw, roll):
  return np.array([*np.deg2rad([pitch, yaw, roll]), 210.0, 190.0, -80.0, 1.1e-3])


class PoseParaTest(parameterized.TestCase):
  @parameterized.parameters(
    (5.0, 20.0, -10.0),
    (-35.0, -88.0, 30.0),
    # Labels beyond the profile, which AFLW2000-3D has a few of.
    (12.0, 97.0, -20.0),
    (-8.0, -120.0, 15.0),
    (-25.0, 170.0, 40.0),
    # A head that lies on its side, and one in a photo that is upside down.
    (4.0, 30.0, 100.0),
    (15.0, -40.0, 175.0),
  )
  def test_round_trip(self, pitch, yaw, roll):
    pose = _pose_para(pitch, yaw, roll)
    camera = w300lp.camera_from_pose_para(pose, 450)
    found = w300lp.pose_para_from_camera(camera, 450, tz=-80.0)
    # asin near +-90 degrees loses half of the digits of float64.
    np.testing.assert_allclose(found, pose, atol=1e-7)

  def test_labels_within_the_profile_are_read_as_they_stand(self):
    rng = np.random.default_rng(0)
    for pitch, yaw, roll in rng.uniform([-80, -89, -90], [80, 89, 90], (200, 3)):
      pose = _pose_para(pitch, yaw, roll)
      found = w300lp.pose_para_from_camera(
        w300lp.camera_from_pose_para(pose, 300), 300, tz=-80.0
      )
      np.testing.assert_allclose(found, pose, atol=1e-9)


if __name__ == '__main__':
  absltest.main()
