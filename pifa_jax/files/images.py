"""Photos as files: which there are, their names, and their pixels."""

import dataclasses
import io
import os
import pathlib
import posixpath
import unicodedata
import warnings

import numpy as np

from pifa_jax.files import content, folders

# Twice a 24-megapixel camera; larger images are refused before decoding.
MAX_PIXELS = 50_000_000
# Only formats that Pillow decodes by itself: EPS, for one, starts Ghostscript. MPO is
# read as JPEG.
_FORMATS = ['JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF', 'GIF', 'PPM']
_HEIC_SUFFIXES = ('.heic', '.heif')
IMAGE_SUFFIXES = (
  '.jpg',
  '.jpeg',
  '.jfif',
  '.jpe',
  '.png',
  '.bmp',
  '.webp',
  '.tif',
  '.tiff',
  '.gif',
  '.ppm',
  '.pgm',
  '.mpo',
  *_HEIC_SUFFIXES,
)
# Brands of the ISO container that HEIC photos carry: ISO/IEC 23008-12, Annex B.
_HEIC_BRANDS = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1')
# Files that stand beside photos by design; nobody expects them to be read as photos.
_COMPANIONS = frozenset(
  (
    '.pts .json .ljson .npy .npz .mat .csv .txt .xml .md .jsonl .lst .obj .ply .flags'
  ).split()
)


@dataclasses.dataclass(frozen=True)
class ImageListing:
  """The images in a folder.

  Attributes:
    images: by name, folder by folder.
    folders: the folders that were looked into, the first one included.
    skipped: reason -> number of files or folders that were left out for it. Labels
      and notes that stand beside photos are not counted.
  """

  images: list[pathlib.Path]
  folders: list[pathlib.Path]
  skipped: dict[str, int]

  def skipped_text(self) -> str:
    """'3 of type .avif, 1 hidden file', or '' if nothing was left out."""
    return ', '.join(f'{count} {reason}' for reason, count in self.skipped.items())


def find_images(folder: str | os.PathLike[str], *, deep: bool = False) -> ImageListing:
  """Lists the images in a folder.

  Links to folders are followed; a folder that is reached twice is listed once, so
  that links in a circle end. HEIC photos are listed whether or not `pillow-heif` is
  installed: without it, decoding one fails with a sentence.

  Args:
    folder: to look into.
    deep: look into the folders inside, too.

  Returns:
    The listing.

  Raises:
    OSError: if the folder cannot be listed.
  """
  listing = ImageListing([], [], {})

  def skip(reason):
    listing.skipped[reason] = listing.skipped.get(reason, 0) + 1

  for directory, others in folders.walk(folder, deep=deep, skip=skip):
    listing.folders.append(directory)
    for path in others:
      suffix = path.suffix.lower()
      if path.name.startswith('.'):
        # macOS leaves "._a.jpg" beside "a.jpg" on foreign disks: not photos.
        if suffix in IMAGE_SUFFIXES:
          skip('hidden files (their names begin with a dot)')
      elif suffix not in IMAGE_SUFFIXES:
        if suffix not in _COMPANIONS:
          skip(f'of type {suffix}' if suffix else 'without a type in their names')
      elif path.is_file():
        listing.images.append(path)
      elif os.path.lexists(path) and not path.exists():
        skip('links that lead nowhere')
      else:
        skip('pipes or devices')
  return listing


def list_images(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
  """The images in a folder, by name: `find_images` without what was left out.

  Args:
    folder: the folder.

  Returns:
    Their paths, sorted by name.
  """
  return find_images(folder).images


def list_images_below(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
  """The images in a folder and in all folders inside, folder by folder.

  Args:
    folder: the folder at the top.

  Returns:
    Their paths; those of one folder are sorted by name.
  """
  return find_images(folder, deep=True).images


def image_key(name: str) -> str:
  """The form of an image's name by which names from different sources are matched.

  "./a.jpg" is the same file as "a.jpg", and on Windows folders are parted by
  backslashes; macOS stores letters with accents decomposed (Unicode NFD), most label
  files hold them composed (NFC).

  Args:
    name: relative path as a label file, a box file or the disk has it.

  Returns:
    The path with forward slashes, without "." and "..", in NFC.
  """
  slashes = unicodedata.normalize('NFC', name).replace('\\', '/')
  return posixpath.normpath(slashes) if slashes else ''


def decode_image(data: bytes, name: str) -> np.ndarray:
  """Decodes an image with Pillow, turned as its EXIF tag says.

  Of several images in one file (GIF, MPO, TIFF) the first is read.

  Args:
    data: an encoded file.
    name: for error messages.

  Returns:
    (H, W, 3) uint8 RGB: grey, palette, CMYK and 16-bit images are converted,
    transparency is laid on mid-grey.

  Raises:
    ValueError: if it is not a whole image, has more than `MAX_PIXELS`, has pixels of
      32 bits, or is HEIC and `pillow-heif` is not installed.
  """
  from PIL import Image, ImageOps

  if not data:
    raise ValueError(f'{name} cannot be decoded: it is empty.')
  try:
    with warnings.catch_warnings():
      # Pillow's warnings name no file; what matters is raised below.
      warnings.simplefilter('ignore')
      image = Image.open(io.BytesIO(data), formats=_formats(data))
      # The size is in the header: refused before any pixel is unpacked.
      if image.width * image.height > MAX_PIXELS:
        raise ValueError(
          f'{image.width} x {image.height} pixels is more than '
          f'the {MAX_PIXELS} that are read; scale it down'
        )
      _check_range(image)
      return _to_rgb(ImageOps.exif_transpose(image), Image)
  # Pillow's readers raise many kinds on damaged files: OSError, SyntaxError,
  # struct.error, zlib.error, IndexError, ...
  except Exception as error:
    raise ValueError(f'{name} cannot be decoded: {_problem(error, data)}.') from error


def _problem(error, data):
  """Why an image cannot be decoded, in words."""
  from PIL import Image

  if isinstance(error, Image.UnidentifiedImageError):
    foreign = content.foreign_content(data)
    return f'it is {foreign}' if foreign else 'it is no image of a known format'
  if isinstance(error, Image.DecompressionBombError):
    # Pillow refuses very large images before their size can be asked for.
    return f'it has more than the {MAX_PIXELS} pixels that are read; scale it down'
  what = str(error).rstrip('.') or type(error).__name__
  if 'truncated' in what.lower():
    return f'the file is cut short ({what}); get it again'
  return what


def _formats(head):
  """Pillow's formats that may be tried on a file with this beginning."""
  if head[4:8] != b'ftyp' or head[8:12] not in _HEIC_BRANDS:
    return _FORMATS
  try:
    import pillow_heif
  except ImportError as error:
    raise ValueError(
      'it is a HEIC photo, which needs the package pillow-heif: '
      '"pip install pillow-heif" (the extra "heic" of pifa_jax), or convert it to JPEG'
    ) from error
  pillow_heif.register_heif_opener()
  return ['HEIF']


def _check_range(image):
  """Refuses pixels that may be 0 to 1 as well as 0 to 65,535."""
  if image.mode == 'F' or (image.mode == 'I' and image.format == 'TIFF'):
    raise ValueError(
      'its pixels are 32-bit numbers, whose range is not known; save it with 8 or 16 '
      'bits a channel'
    )


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


def read_image_size(path: pathlib.Path) -> tuple[int, int]:
  """(width, height) from an image's header, turned as its EXIF tag says.

  Args:
    path: of the image.

  Returns:
    Pixels.

  Raises:
    OSError: if the file cannot be opened.
    ValueError: if it is no image that is read here.
  """
  from PIL import Image

  with open(path, 'rb') as file:
    head = file.read(16)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    try:
      with Image.open(path, formats=_formats(head)) as image:
        turned = image.getexif().get(0x0112, 1) >= 5
        return image.size[::-1] if turned else image.size
    except Exception as error:
      raise ValueError(f'{path.name} is no image that can be read') from error


def encode_png(pixels: np.ndarray) -> bytes:
  """A PNG file with little compression.

  Args:
    pixels: (H, W) or (H, W, 3) uint8.

  Returns:
    The content of the file.
  """
  from PIL import Image

  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, 'PNG', compress_level=1)
  return stream.getvalue()
