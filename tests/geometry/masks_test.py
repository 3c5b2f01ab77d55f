"""Eq. (11) and the two other masks."""

from absl.testing import absltest
import numpy as np

from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import masks


class VertexMaskTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.model = load_face_model()
    self.drawn = np.asarray(self.model.regions['rendered'])

  def test_nose_mask_is_the_normalised_gaussian(self):
    mask = np.asarray(masks.vertex_mask(self.model, 'nose'))
    # float32 sums over thousands of vertices.
    np.testing.assert_allclose(mask[self.drawn].mean(), 0, atol=1e-5)
    np.testing.assert_allclose(mask[self.drawn].std(), 1, rtol=1e-5)
    self.assertEqual(int(np.argmax(mask)), int(self.model.nose_tip))
    # Undo the normalisation with two points, then compare Eq. (11) at others.
    sigma = masks.NOSE_SIGMA_RATIO * float(masks.interocular_distance(self.model))
    squared = np.sum(
      (self.model.mean_shape - self.model.mean_shape[int(self.model.nose_tip)]) ** 2, 1
    )
    gaussian = np.exp(-squared / (2 * sigma**2))
    np.testing.assert_allclose(np.corrcoef(mask, gaussian)[0, 1], 1, atol=1e-6)

  def test_sign_changes_at_the_contour(self):
    # Fig. 4: positive in the middle, negative along the contour.
    mask = np.asarray(masks.vertex_mask(self.model, 'nose'))
    b = self.model.landmark_schemes['ibug68']
    self.assertTrue(np.all(mask[b[27:36]] > 0))
    self.assertTrue(np.all(mask[b[:5]] < 0))
    self.assertTrue(np.all(mask[b[12:17]] < 0))

  def test_five_positive_areas(self):
    mask = np.asarray(masks.vertex_mask(self.model, 'five'))
    centres = self.model.regions['mask_five']
    self.assertTrue(np.all(mask[centres] > 1))
    # float32 sums over thousands of vertices.
    np.testing.assert_allclose(mask[self.drawn].mean(), 0, atol=1e-5)
    np.testing.assert_allclose(mask[self.drawn].std(), 1, rtol=1e-5)
    # Between the eyes, and on the chin, it is lower than at the centres.
    b = self.model.landmark_schemes['ibug68']
    self.assertLess(mask[b[8]], 0)

  def test_none_is_one(self):
    np.testing.assert_array_equal(masks.vertex_mask(self.model, 'none'), 1)

  def test_bad_kinds_and_models_are_named(self):
    with self.assertRaisesRegex(ValueError, 'use one of nose, five, none'):
      masks.vertex_mask(self.model, 'ears')
    bare = self.model.replace(regions={})
    with self.assertRaisesRegex(ValueError, "'mask_five' names five"):
      masks.vertex_mask(bare, 'five')
    with self.assertRaisesRegex(ValueError, "no 'ibug68'"):
      masks.vertex_mask(self.model.replace(landmark_schemes={}), 'nose')


class ThinOutTest(absltest.TestCase):
  def test_one_vertex_of_every_cube(self):
    model = load_face_model()
    drawn = np.asarray(masks.rendered_vertices(model))
    np.testing.assert_array_equal(masks.subsample_vertices(model, drawn, 0), drawn)
    few = masks.subsample_vertices(model, drawn, 10.0)
    self.assertLess(len(few), len(drawn))
    self.assertTrue((np.diff(few) > 0).all())  # in the order of `drawn`
    self.assertTrue(np.isin(few, drawn).all())
    # No vertex lies further than a cube's diagonal from one that was kept.
    at = np.asarray(model.mean_shape)
    gap = np.linalg.norm(at[drawn][:, None] - at[few][None], axis=-1).min(axis=1)
    self.assertLess(gap.max(), 10 * np.sqrt(3))


if __name__ == '__main__':
  absltest.main()
