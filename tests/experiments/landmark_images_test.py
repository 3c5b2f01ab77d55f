"""The numbered images of the landmark schemes."""

import pathlib

from absl.testing import absltest
import numpy as np

from experiments import landmark_images
from pifa_jax.face_models import landmark_tables

_DOCS = pathlib.Path(__file__).resolve().parents[2] / 'docs'


class LandmarkImagesTest(absltest.TestCase):
  def test_every_scheme_has_its_image_in_the_document(self):
    text = (_DOCS / 'landmark_schemes.md').read_text()
    for name in landmark_tables.TABLES:
      self.assertIn(f'`{name}`', text)
      self.assertIn(f'(landmarks_{name}.png)', text)
      self.assertLess((_DOCS / f'landmarks_{name}.png').stat().st_size, 120e3)

  def test_hidden_points_are_not_drawn(self):
    # Five white views; vertex 0 is hidden in all of them, vertex 1 in the first.
    views = [
      (
        np.full((size, size), 255, np.uint8),
        np.array([[200.0, 200.0], [300.0, 300.0]]),
        np.array([True, i == 0]),
      )
      for i, size in enumerate((400, 400, 400, 600, 600))
    ]
    page = np.asarray(landmark_images.numbered_page(views, np.array([0, 1])))
    # The middle of 380 of the 600 rows of an enlarged view is shown: 110 are cut off.
    top = 400 - 110
    dark = [
      page[y + dy, x + dx] < 128
      for y, x in ((0, 0), (0, 400), (0, 800), (top, 0), (top, 600))
      for dy, dx in ((200, 200), (300, 300))
    ]
    self.assertEqual(dark, [False, False] + [False, True] * 4)
    self.assertEqual(page.shape, (780, 1200))


if __name__ == '__main__':
  absltest.main()
