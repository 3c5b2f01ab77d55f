"""Figs. 4 and 8: what the pictures of the masks say."""

from absl.testing import absltest, parameterized
import numpy as np
from scipy import ndimage

from experiments.reproduce import mask_figures
from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import masks


class MaskFiguresTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = load_face_model('builtin')

  def _images(self, kind, yaw, size=200):
    mask = np.asarray(masks.vertex_mask(self.model, kind))
    return mask_figures.value_image(self.model, mask, yaw, size)

  @parameterized.parameters(0.0, 90.0)
  def test_mask_1_falls_with_the_distance_from_the_nose(self, yaw):
    values, _, _ = self._images('nose', yaw)
    vertices = np.asarray(self.model.mean_shape)
    away = np.linalg.norm(vertices - vertices[self.model.nose_tip], axis=1)
    distance, _, _ = mask_figures.value_image(self.model, away, yaw, 200)
    known = np.isfinite(values)
    order = np.argsort(distance[known])
    means = [part.mean() for part in np.array_split(values[known][order], 12)]
    self.assertTrue((np.diff(means) < 0).all(), means)
    self.assertGreater(means[0], 0.5)
    self.assertLess(means[-1], -0.5)

  def test_mask_2_has_five_positive_areas(self):
    values, _, _ = self._images('five', 0.0)
    # The slits of eyes and mouth part no area.
    high = ndimage.binary_closing(np.nan_to_num(values) > 1.0, iterations=2)
    _, count = ndimage.label(high)
    self.assertEqual(count, 5)

  def test_the_side_view_shows_what_is_not_rendered(self):
    values, _, drawn = self._images('nose', 90.0)
    bare = drawn & ~np.isfinite(values)
    # The nose is on the left, the back of the head, which is bare, on the right.
    self.assertGreater(bare[:, 120:].sum(), 5 * bare[:, :80].sum())

  def test_red_is_positive_and_blue_negative(self):
    shown = mask_figures.colors(np.linspace(-3, 3, 31), 2.0)
    warmth = shown[:, 0] - shown[:, 2]
    self.assertTrue((np.diff(warmth)[6:25] > 0).all())
    np.testing.assert_array_equal(shown[:5], shown[:1].repeat(5, axis=0))
    self.assertAlmostEqual(warmth[15], 0)

  @parameterized.parameters('nose', 'five')
  def test_the_picture(self, kind):
    picture = np.asarray(mask_figures.draw_mask(self.model, kind), float)
    warmth = picture[..., 0] - picture[..., 2]
    # Two views and the scale of the colours, from left to right.
    for part in np.array_split(warmth, [430, 870], axis=1):
      self.assertGreater(part.max(), 60)
      self.assertLess(part.min(), -30)
    # The nose of the frontal view is red, the neck below it blue.
    self.assertGreater(warmth[210, 222], 60)
    self.assertLess(warmth[380, 222], -15)


if __name__ == '__main__':
  absltest.main()
