"""One labelled photograph, as every reader of a data set gives it."""

import dataclasses
import io
import warnings

import numpy as np

# Twice a 24-megapixel camera; larger pictures are refused before decoding.
MAX_PIXELS = 50_000_000
# Only formats that Pillow decodes by itself: EPS, for one, starts Ghostscript.
_FORMATS = ('JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF', 'GIF', 'PPM')


@dataclasses.dataclass(frozen=True)
class Sample:
  """A face with its labels, undecoded.

  Attributes:
    name: of the sample in its data set.
    image_bytes: the encoded file.
    landmarks: (N, 2) float32, 0-based pixels.
    visible: (N,) bool.
    box: (4,) float32 outer edges (x, y, width, height).
  """

  name: str
  image_bytes: bytes
  landmarks: np.ndarray
  visible: np.ndarray
  box: np.ndarray


@dataclasses.dataclass(frozen=True)
class Reject:
  """A sample that cannot be used, and why."""

  name: str
  reason: str


def decode_image(data: bytes, name: str) -> np.ndarray:
  """Decodes a picture with Pillow, turned as its EXIF tag says.

  Args:
    data: an encoded file.
    name: for error messages.

  Returns:
    (H, W, 3) uint8 RGB: grey, palette, CMYK and 16-bit pictures are converted,
    transparency is laid on mid-grey.

  Raises:
    ValueError: if it is not a whole picture, or has more than `MAX_PIXELS`.
  """
  from PIL import Image, ImageOps
  if not data:
    raise ValueError(f'{name} cannot be decoded: it is empty.')
  try:
    with warnings.catch_warnings():
      # Pillow warns above 89 megapixels; the line below refuses them.
      warnings.simplefilter('ignore', Image.DecompressionBombWarning)
      image = Image.open(io.BytesIO(data), formats=_FORMATS)
    # The size is in the header: refused before any pixel is unpacked.
    if image.width * image.height > MAX_PIXELS:
      raise ValueError(f'{image.width} x {image.height} pixels is more than the '
                       f'{MAX_PIXELS} that are read; scale it down')
    return _to_rgb(ImageOps.exif_transpose(image), Image)
  # Pillow's readers raise many kinds on damaged files: OSError, SyntaxError,
  # struct.error, zlib.error, IndexError, ...
  except Exception as error:  # pylint: disable=broad-except
    head = data[:200].lstrip().lower()
    what = ("it is a web page saved under a picture's name"
            if head.startswith((b'<!doctype', b'<html')) else
            'it is no picture of a known format'
            if isinstance(error, Image.UnidentifiedImageError) else
            str(error).rstrip('.') or type(error).__name__)
    raise ValueError(f'{name} cannot be decoded: {what}.') from error


def _to_rgb(image, pillow):
  if image.mode.startswith('I'):
    # 16-bit grey: Pillow's own conversion would clip at 255.
    grey = np.asarray(image, np.float64) / 257.0
    image = pillow.fromarray(np.uint8(np.clip(np.round(grey), 0, 255)))
  if 'A' in image.getbands() or 'transparency' in image.info:
    image = image.convert('RGBA')
    ground = pillow.new('RGBA', image.size, (128, 128, 128, 255))
    image = pillow.alpha_composite(ground, image)
  return np.array(image.convert('RGB'))
