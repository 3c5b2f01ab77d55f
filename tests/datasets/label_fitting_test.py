"""Checks of labels by the face that was fitted to them."""

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax import face_models
from pifa_jax.datasets import crop_cache, label_fitting
from pifa_jax.datasets.samples import Sample, landmark_box
from pifa_jax.geometry import fitting, projection
from tests import miniatures

_MODEL = face_models.load_face_model('builtin')
_IDS = np.asarray(_MODEL.landmark_schemes['ibug68'])


def _faces(yaw, count=12):
  """Landmarks of other people at a yaw in degrees, and which face the camera."""
  rng = np.random.default_rng(0)
  points, seen = [], []
  basis = np.asarray(_MODEL.identity_basis, np.float64)[:, _IDS]
  for number in range(count):
    weights = rng.normal(size=len(basis)) * np.asarray(_MODEL.identity_stddev)
    shape = np.asarray(_MODEL.mean_shape)[_IDS] + np.tensordot(weights, basis, 1)
    sign = 1 if number % 2 else -1
    rotation = np.asarray(
      projection.rotation_from_euler(
        np.deg2rad(sign * yaw), *rng.uniform(-0.2, 0.2, 2), xp=np
      )
    )
    points.append(shape @ (rotation[:2] * [[1], [-1]]).T)
    seen.append((np.asarray(_MODEL.mean_normals)[_IDS] @ rotation.T)[:, 2] > 0)
  return np.array(points), np.array(seen)


def _check(points, visible):
  params, residuals = fitting.fit_faces(_MODEL, points, visible, scheme='ibug68')
  return label_fitting.contradictions(
    _MODEL, params, residuals, visible, scheme='ibug68'
  )


def _mirrored(points):
  """A mirrored photo whose left and right points were not exchanged."""
  return points * [-1, 1]


class ContradictionsTest(parameterized.TestCase):
  @parameterized.parameters(0, 30, 60, 90)
  def test_right_labels_pass(self, yaw):
    points, seen = _faces(yaw)
    for visible in (seen, np.ones_like(seen)):  # hidden points labelled, too: 300W-LP
      self.assertEqual(_check(points, visible), [None] * len(points))

  @parameterized.parameters(0, 30, 45)
  def test_mirrored_photos_do_not(self, yaw):
    points, seen = _faces(yaw)
    for visible in (seen, np.ones_like(seen)):
      for reason in _check(_mirrored(points), visible):
        self.assertIn('looks away from the camera', reason)

  @parameterized.named_parameters(
    ('x_and_y_exchanged', lambda p: p[..., ::-1]), ('y_up', lambda p: p * [1, -1])
  )
  def test_other_axes(self, change):
    points, _ = _faces(20)
    for reason in _check(change(points), np.ones(points.shape[:2], bool)):
      self.assertIn('x and y exchanged', reason)

  def test_a_mirrored_profile_whose_hidden_points_are_not_labelled(self):
    points, seen = _faces(80)
    for reason in _check(_mirrored(points), seen):
      self.assertIn('looks away from the camera', reason)

  def test_points_in_another_order(self):
    points, _ = _faces(20)
    points[4] = points[4][::-1]
    reasons = _check(points, np.ones(points.shape[:2], bool))
    self.assertRegex(reasons[4], 'of the face from the fitted face|looks away')
    self.assertEqual([r for i, r in enumerate(reasons) if i != 4], [None] * 11)


class CropTest(absltest.TestCase):
  """Issue: 71 mirrored photos were accepted, with 0 outliers."""

  def setUp(self):
    super().setUp()
    points, _ = miniatures.faces(4)
    points[1, :, 0] = miniatures.SIZE - 1 - points[1, :, 0]
    visible = np.ones(68, bool)
    self.samples = [
      Sample(str(i), miniatures.image(i), face, visible, landmark_box(face, visible))
      for i, face in enumerate(points.astype(np.float32))
    ]

  def test_left_out_and_listed_or_kept(self):
    crops = crop_cache.crop_samples(self.samples, _MODEL, scheme='ibug68')
    self.assertEqual(crops.arrays['names'], ['0', '2', '3'])
    self.assertEqual([r.name for r in crops.rejects], ['1'])
    kept = crop_cache.crop_samples(
      self.samples, _MODEL, scheme='ibug68', keep_doubtful=True
    )
    self.assertLen(kept.arrays['names'], 4)
    self.assertEmpty(kept.rejects)
    self.assertEqual(kept.doubts, crops.rejects)
    with self.assertRaisesRegex(ValueError, 'labels of all 1 samples are contradicted'):
      crop_cache.crop_samples(self.samples[1:2], _MODEL, scheme='ibug68')

  def test_labels_of_another_photo_lie_outside(self):
    face = 4 * self.samples[0].landmarks
    wrong = Sample(
      'big', miniatures.image(0), face, np.ones(68, bool), np.float32([0, 0, 90, 90])
    )
    crops = crop_cache.crop_samples([*self.samples, wrong], _MODEL, scheme='ibug68')
    self.assertIn('lie far outside the photo of 96 x 96', crops.rejects[0].reason)

  def test_nan_is_never_visible(self):
    face = self.samples[0].landmarks.copy()
    face[:6] = np.nan
    sample = Sample(
      'nan', miniatures.image(0), face, np.ones(68, bool), self.samples[0].box
    )
    crops = crop_cache.crop_samples([sample], _MODEL, scheme='ibug68')
    self.assertEqual(crops.arrays['visible'].sum(), 62)
    self.assertLess(crops.arrays['residuals'][0], 0.01)  # the mean face fits exactly


if __name__ == '__main__':
  absltest.main()
