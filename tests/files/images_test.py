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

  @parameterized.named_parameters(
    ('empty', b'', 'empty'),
    ('html', b'<!DOCTYPE html><html>no</html>', 'web page'),
    ('text', b'hello', 'known format'),
    ('eps', b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'known'),
    ('cut', encode(gradient(), 'JPEG')[:500], '[Tt]runcated'),
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
