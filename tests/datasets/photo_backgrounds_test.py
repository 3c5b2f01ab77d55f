"""Photos cut into squares for the backgrounds of synthetic faces."""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from pifa_jax.datasets import photo_backgrounds
from tests.miniatures import encode


class PhotoBackgroundsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tempfile.mkdtemp())

  def write(self, name, image):
    path = self.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode(np.uint8(image)))
    return path

  def test_squares_cover_a_photo(self):
    # Three colours side by side, 1 : 2.5, so three squares that overlap.
    wide = np.zeros((80, 200, 3))
    wide[:, :70, 0], wide[:, 70:130, 1], wide[:, 130:, 2] = 200, 200, 200
    for image, name in ((wide, 'wide.png'), (wide.transpose(1, 0, 2), 'tall.png')):
      squares, rejects = photo_backgrounds.read_backgrounds([self.write(name, image)])
      self.assertEqual(
        (squares.shape, squares.dtype),
        ((3, photo_backgrounds.SIDE, photo_backgrounds.SIDE, 3), np.uint8),
      )
      self.assertEmpty(rejects)
      shares = (squares > 100).mean(axis=(1, 2))
      np.testing.assert_allclose(
        shares,
        [[70 / 80, 10 / 80, 0], [10 / 80, 60 / 80, 10 / 80], [0, 10 / 80, 70 / 80]],
        atol=0.01,
      )

  def test_a_panorama_is_cut_off(self):
    squares, _ = photo_backgrounds.read_backgrounds(
      [self.write('panorama.png', np.full((64, 64 * 9, 3), 90))]
    )
    self.assertLen(squares, 4)
    self.assertEqual(np.ptp(squares), 0)  # no grey from outside the image

  def test_what_cannot_be_used_is_named(self):
    good = self.write('good.png', np.full((64, 64, 3), 7))
    small = self.write('small.png', np.full((40, 90, 3), 7))
    (self.folder / 'half.jpg').write_bytes(b'\xff\xd8\xff')
    files = photo_backgrounds.list_backgrounds(self.folder)
    self.assertEqual(
      [path.name for path in files], ['good.png', 'half.jpg', 'small.png']
    )
    squares, rejects = photo_backgrounds.read_backgrounds(files)
    self.assertLen(squares, 1)
    self.assertEqual([r.name for r in rejects], ['half.jpg', 'small.png'])
    self.assertIn('90 x 40 pixels are too few', rejects[1].reason)
    good.unlink()
    with self.assertRaisesRegex(ValueError, 'None of the 2 photos.*half.jpg'):
      photo_backgrounds.read_backgrounds([self.folder / 'half.jpg', small])

  def test_folders(self):
    inside = self.write('b/inside.png', np.full((64, 64, 3), 7))
    outside = self.write('outside.png', np.full((64, 64, 3), 7))
    self.assertEqual(
      photo_backgrounds.list_backgrounds(str(self.folder)), [outside, inside]
    )
    with self.assertRaisesRegex(FileNotFoundError, 'no folder .*nowhere'):
      photo_backgrounds.list_backgrounds(self.folder / 'nowhere')
    inside.unlink()
    with self.assertRaisesRegex(FileNotFoundError, 'no photos.* in .*/b'):
      photo_backgrounds.list_backgrounds(self.folder / 'b')


if __name__ == '__main__':
  absltest.main()
