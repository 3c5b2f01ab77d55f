"""Vertices of unknown landmarks, from faces whose P is known or fitted."""

from absl.testing import absltest
import numpy as np

from pifa_jax import face_models
from pifa_jax.geometry import fitting, landmark_search, projection
from pifa_jax.types import unflatten_params
from tests import miniatures


class FindVerticesTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = face_models.load_face_model('builtin')
    cls.points, _ = miniatures.faces(40, seed=5)
    cls.visible = np.ones(cls.points.shape[:2], bool)
    cls.params, _ = fitting.fit_faces(
      cls.model, cls.points, cls.visible, scheme='ibug68'
    )
    rng = np.random.default_rng(0)
    cls.truth = rng.choice(np.asarray(cls.model.regions['rendered']), 6, replace=False)
    scheme = cls.model.replace(landmark_schemes={'x': cls.truth})
    cls.unknown = np.stack(
      [
        np.asarray(
          projection.landmarks(scheme, unflatten_params(p, cls.model.num_identity), 'x')
        )
        for p in cls.params
      ]
    )

  def test_exact_labels_give_the_exact_vertices(self):
    ids, errors = landmark_search.find_vertices(
      self.model, self.params, self.unknown, np.ones((40, 6), bool)
    )
    np.testing.assert_array_equal(ids, self.truth)
    self.assertLess(errors.max(), 1e-4)

  def test_noise_and_wrong_labels_move_it_by_a_vertex_at_most(self):
    rng = np.random.default_rng(1)
    noisy = self.unknown + rng.normal(scale=0.5, size=self.unknown.shape)
    noisy[:4] += 40.0  # a tenth of the faces is labelled wrongly
    visible = rng.uniform(size=(40, 6)) < 0.8
    noisy[~visible] = np.nan
    ids, errors = landmark_search.find_vertices(self.model, self.params, noisy, visible)
    mean = np.asarray(self.model.mean_shape)
    gap = np.linalg.norm(mean[ids] - mean[self.truth], axis=1)
    # Vertices are 3-6 mm apart; half a pixel is about 1.2 mm here.
    self.assertLess(gap.max(), 6.0)
    self.assertLess(errors.max(), 0.03)

  def test_bad_input(self):
    with self.assertRaisesRegex(ValueError, 'Landmark 3 is visible in none'):
      visible = np.ones((40, 6), bool)
      visible[:, 2] = False
      landmark_search.find_vertices(self.model, self.params, self.unknown, visible)
    with self.assertRaisesRegex(ValueError, 'do not belong together'):
      landmark_search.find_vertices(
        self.model, self.params[:3], self.unknown, np.ones((40, 6), bool)
      )


if __name__ == '__main__':
  absltest.main()
