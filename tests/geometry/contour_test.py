"""Landmarks on the contour of a turned face."""

from absl.testing import absltest, parameterized
import jax.numpy as jnp
import numpy as np

from pifa_jax import face_models
from pifa_jax.geometry import contour, fitting, morphable_model, projection
from pifa_jax.types import FaceParams


def _face(model, yaw, seed=0):
  rng = np.random.default_rng(seed)
  rotation = projection.rotation_from_euler(np.radians(yaw), 0.05, 0.1)
  camera = projection.camera_from_pose(rotation, 0.6, jnp.array([60.0, 60.0]))
  return FaceParams(
    camera=camera,
    identity=jnp.asarray(0.7 * rng.normal(size=model.num_identity), jnp.float32)
    * model.identity_stddev,
    expression=jnp.zeros(model.num_expression),
  )


class ContourTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = face_models.load_face_model('builtin')
    cls.candidates = contour.contour_candidates(cls.model)
    cls.landmarks = np.asarray(cls.model.landmark_schemes['ibug68'])

  def marched(self, face):
    return np.asarray(contour.march(self.model, face, self.landmarks, self.candidates))

  def test_candidates_run_from_the_landmark_to_the_middle_at_its_height(self):
    mean = np.asarray(self.model.mean_shape)
    self.assertEqual(self.candidates.shape, (16, 24))
    np.testing.assert_array_equal(
      self.candidates[:, 0], self.landmarks[contour.jaw_points('ibug68')]
    )
    height = mean[self.candidates, 1] - mean[self.candidates[:, :1], 1]
    # The coarse mesh has vertices every few millimetres.
    self.assertLess(np.abs(height).max(), 12.0)
    side = np.sign(mean[self.landmarks[contour.jaw_points('ibug68')], 0])
    self.assertTrue(np.all(mean[self.candidates, 0] * side[:, None] > -3.0))

  def test_a_frontal_face_keeps_its_landmarks(self):
    np.testing.assert_array_equal(self.marched(_face(self.model, 0)), self.landmarks)

  @parameterized.parameters(-60, -40, 40, 60)
  def test_the_hidden_side_moves_to_the_outline(self, yaw):
    face = _face(self.model, yaw)
    ids = self.marched(face)
    moved = np.where(ids != self.landmarks)[0]
    self.assertNotEmpty(moved)
    # Points of one side alone, the one that is turned away.
    self.assertTrue(np.all(moved < 8) or np.all(moved > 8))
    shape = np.asarray(morphable_model.shape(self.model, face))
    points = np.asarray(projection.project(face.camera, shape))
    sign = -1 if moved[0] < 8 else 1
    across = points[:, 0] * sign
    for k in moved:
      # Further out than the jaw point itself, and than all other candidates.
      self.assertGreaterEqual(across[ids[k]] + 0.3, across[self.landmarks[k]])

  def test_labels_on_the_contour_are_fitted_better_by_marching(self):
    faces = [
      _face(self.model, yaw, seed) for seed, yaw in enumerate((-65, -50, 45, 60, 70))
    ]
    points, angles = [], []
    for face in faces:
      ids = self.marched(face)
      scheme = self.model.replace(landmark_schemes={'marched': ids})
      points.append(np.asarray(projection.landmarks(scheme, face, 'marched')))
      angles.append(float(projection.pose_from_camera(face.camera)['yaw']))
    points = np.stack(points)
    visible = np.ones(points.shape[:2], bool)
    results = {}
    for march in (False, True):
      params, residuals = fitting.fit_faces(
        self.model, points, visible, scheme='ibug68', march=march
      )
      yaw = np.deg2rad(projection.pose_degrees(params)[:, 1])
      results[march] = (residuals.mean(), np.abs(yaw - angles).mean())
    self.assertLess(results[True][0], 0.7 * results[False][0])
    self.assertLess(results[True][1], results[False][1])

  def test_other_schemes_are_refused(self):
    with self.assertRaisesRegex(ValueError, 'march'):
      fitting.fit_faces(
        self.model,
        np.zeros((1, 34, 2)),
        np.ones((1, 34), bool),
        scheme='ibug34',
        march=True,
      )


if __name__ == '__main__':
  absltest.main()
