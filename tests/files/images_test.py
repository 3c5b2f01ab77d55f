"""Photos as files: decoding, listing, names."""

import os
import pathlib
import sys
import tempfile
import types
import unicodedata
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
from PIL import Image

from pifa_jax.files import images
from tests.miniatures import encode, gradient


class DecodeImageTest(parameterized.TestCase):
  def test_exact_rgb(self):
    image = images.decode_image(encode(gradient()), 'a.png')
    self.assertEqual(image.dtype, np.uint8)
    np.testing.assert_array_equal(image, gradient())

  def test_exif_rotation(self):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    image = images.decode_image(encode(gradient(), exif=exif.tobytes()), 'a')
    np.testing.assert_array_equal(image, np.rot90(gradient(), -1))

  def test_grey_and_16_bit_are_the_same_grey(self):
    grey = gradient()[..., 0]
    eight = images.decode_image(encode(grey), 'a')
    sixteen = images.decode_image(encode(grey.astype(np.uint16) * 257), 'b')
    np.testing.assert_array_equal(eight, np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(sixteen, eight)

  def test_transparent_pixels_become_mid_grey(self):
    rgba = np.concatenate([gradient(), np.full((40, 60, 1), 255, np.uint8)], 2)
    rgba[:10, :, 3] = 0
    image = images.decode_image(encode(rgba), 'a')
    np.testing.assert_array_equal(image[:10], np.full((10, 60, 3), 128))
    np.testing.assert_array_equal(image[10:], gradient()[10:])

  def test_cmyk(self):
    image = images.decode_image(
      encode(gradient(), 'JPEG', mode='CMYK', quality=95), 'a'
    )
    self.assertEqual(image.shape, (40, 60, 3))
    # JPEG's own loss on a smooth image at quality 95, measured 3.3.
    self.assertLess(np.abs(image.astype(int) - gradient()).mean(), 6)

  @parameterized.parameters(np.float32, np.int32)
  def test_pixels_of_unknown_range_are_refused(self, dtype):
    # Clipped at 255, a photo of 0 to 1 would be black.
    data = encode(gradient()[..., 0].astype(dtype), 'TIFF')
    with self.assertRaisesRegex(ValueError, 'a.tif .*whose range is not known'):
      images.decode_image(data, 'a.tif')

  @parameterized.named_parameters(
    ('empty', b'', 'empty'),
    ('html', b'<!DOCTYPE html><html>no</html>', 'web page'),
    ('text', b'hello', 'known format'),
    ('eps', b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'known'),
    ('cut', encode(gradient(), 'JPEG')[:500], 'the file is cut short .*[Tt]runcated'),
    ('a beginning', encode(gradient(), 'JPEG')[:30], 'the file is cut short'),
    ('mp4', b'\0\0\0\x18ftypisom' + bytes(99), 'it is a video'),
    ('mkv', b'\x1aE\xdf\xa3' + bytes(99), 'it is a video'),
    ('avi', b'RIFF\0\0\0\0AVI LIST' + bytes(99), 'it is a video'),
    ('avif', b'\0\0\0\x18ftypavif' + bytes(99), 'an AVIF image; convert'),
    ('jxl', b'\0\0\0\x0cJXL \r\n\x87\n' + bytes(99), 'a JPEG XL image; convert'),
  )
  def test_what_is_no_image(self, data, reason):
    with self.assertRaisesRegex(ValueError, f'^odd.jpg .*{reason}'):
      images.decode_image(data, 'odd.jpg')

  def test_a_bomb_is_refused_by_its_header(self):
    # 100 megapixels of header in front of almost no data: decoding would fail
    # with another message.
    data = bytearray(encode(np.zeros((4, 4), np.uint8), 'BMP'))
    data[18:26] = np.array([10_000, 10_000], '<i4').tobytes()
    with self.assertRaisesRegex(ValueError, '10000 x 10000 pixels is more than'):
      images.decode_image(bytes(data), 'bomb.bmp')
    # So large that Pillow itself refuses.
    data[18:26] = np.array([20_000, 20_000], '<i4').tobytes()
    with self.assertRaisesRegex(ValueError, 'more than the 50000000 pixels that are'):
      images.decode_image(bytes(data), 'bomb.bmp')

  def test_random_damage_gives_only_value_errors(self):
    rng = np.random.default_rng(0)
    whole = [encode(gradient(), kind) for kind in ('JPEG', 'PNG', 'GIF', 'TIFF')]
    refused = 0
    for i in range(400):
      data = bytearray(whole[i % 4])
      for at in rng.integers(0, len(data), 6):
        data[at] = rng.integers(256)
      try:
        self.assertEqual(images.decode_image(bytes(data), 'x').ndim, 3)
      except ValueError:
        refused += 1
    self.assertGreater(refused, 20)


class KindsTest(parameterized.TestCase):
  @parameterized.parameters(
    ('JPEG', '.jfif'),
    ('JPEG', '.jpe'),
    ('GIF', '.gif'),
    ('PPM', '.ppm'),
    ('PPM', '.pgm'),
  )
  def test_every_listed_kind_is_decoded(self, kind, suffix):
    array = gradient()[..., 0] if suffix == '.pgm' else gradient()
    decoded = images.decode_image(encode(array, kind), 'a' + suffix)
    self.assertEqual(decoded.shape, (40, 60, 3))
    self.assertIn(suffix, images.IMAGE_SUFFIXES)

  def test_the_first_image_of_an_mpo_file(self):
    other = Image.fromarray(255 - gradient())
    data = encode(gradient(), 'MPO', quality=95, save_all=True, append_images=[other])
    # JPEG's own loss on a smooth image at quality 95.
    found = images.decode_image(data, 'a.mpo').astype(int)
    self.assertLess(np.abs(found - gradient()).mean(), 6)

  @parameterized.parameters(
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:0', 'git lfs pull'),
    (b'\n\n<!-- x -->\n<!DOCTYPE html>', 'web page'),
    (b'%PDF-1.7', 'PDF'),
  )
  def test_what_is_saved_under_an_images_name(self, data, words):
    with self.assertRaisesRegex(ValueError, words):
      images.decode_image(data, 'a.jpg')


class HeicTest(absltest.TestCase):
  _HEAD = b'\0\0\0\x18ftypheic' + bytes(64)

  def test_a_sentence_without_the_package(self):
    with mock.patch.dict(sys.modules, {'pillow_heif': None}):
      with self.assertRaisesRegex(
        ValueError, 'a.heic .*pip install pillow-heif.*extra "heic"'
      ):
        images.decode_image(self._HEAD, 'a.heic')

  def test_decoded_where_the_package_is(self):
    # The package itself is not needed: its opener is Pillow's, under the name HEIF.
    asked = []
    package = types.ModuleType('pillow_heif')
    package.register_heif_opener = lambda: asked.append('registered')
    pixels = Image.fromarray(gradient())

    def open_image(stream, formats):
      asked.append(formats)
      return pixels

    with mock.patch.dict(sys.modules, {'pillow_heif': package}):
      with mock.patch.object(Image, 'open', open_image):
        found = images.decode_image(self._HEAD, 'a.heic')
    self.assertEqual(asked, ['registered', ['HEIF']])
    np.testing.assert_array_equal(found, gradient())


class FindImagesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def _put(self, *names):
    for name in names:
      path = self.root / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(b'x')

  def test_every_kind_is_listed_alone_and_in_folders(self):
    names = [f'{n}{suffix}' for n, suffix in enumerate(images.IMAGE_SUFFIXES)]
    self._put(*names, *(f'deep/er/{name.upper()}' for name in names))
    listing = images.find_images(self.root, deep=True)
    self.assertLen(listing.images, 2 * len(names))
    self.assertEqual(listing.skipped, {})
    self.assertLen(images.list_images(self.root), len(names))

  def test_what_is_left_out_is_counted_by_reason(self):
    self._put('a.jpg', 'b.avif', 'c.avif', 'README', '._a.jpg', '.cache/d.jpg')
    self._put('a.pts', 'boxes.json')  # companions are no surprise
    (self.root / 'gone.jpg').symlink_to(self.root / 'nowhere.jpg')
    os.mkfifo(self.root / 'pipe.jpg')
    listing = images.find_images(self.root, deep=True)
    self.assertEqual([path.name for path in listing.images], ['a.jpg'])
    self.assertEqual(
      listing.skipped,
      {
        'of type .avif': 2,
        'without a type in their names': 1,
        'hidden files (their names begin with a dot)': 1,
        'hidden folders (their names begin with a dot)': 1,
        'links that lead nowhere': 1,
        'pipes or devices': 1,
      },
    )
    self.assertIn('2 of type .avif', listing.skipped_text())

  def test_linked_folders_are_followed_once(self):
    elsewhere = tempfile.TemporaryDirectory()
    self.addCleanup(elsewhere.cleanup)
    pathlib.Path(elsewhere.name, 'b.jpg').write_bytes(b'x')
    self._put('a.jpg')
    os.symlink(elsewhere.name, self.root / 'link')
    os.symlink(elsewhere.name, self.root / 'link again')
    os.symlink(self.root, self.root / 'circle')
    listing = images.find_images(self.root, deep=True)
    self.assertEqual([path.name for path in listing.images], ['a.jpg', 'b.jpg'])
    self.assertEqual(listing.skipped, {'folders that another path leads to': 2})


class ImageKeyTest(absltest.TestCase):
  def test_one_form(self):
    for name in ('./b/a.jpg', 'b\\a.jpg', 'b//a.jpg', 'b/c/../a.jpg', '.\\b\\a.jpg'):
      self.assertEqual(images.image_key(name), 'b/a.jpg')
    decomposed = unicodedata.normalize('NFD', 'Zoë.jpg')
    self.assertNotEqual(decomposed, 'Zoë.jpg')
    self.assertEqual(images.image_key(decomposed), 'Zoë.jpg')
    self.assertEqual(images.image_key('../a.jpg'), '../a.jpg')


if __name__ == '__main__':
  absltest.main()
