"""One labelled photo, as every reader of a data set gives it."""

import collections.abc
import dataclasses
import io
import pathlib
from typing import Sequence
import warnings

import numpy as np

# Twice a 24-megapixel camera; larger images are refused before decoding.
MAX_PIXELS = 50_000_000
# Only formats that Pillow decodes by itself: EPS, for one, starts Ghostscript.
_FORMATS = ('JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF', 'GIF', 'PPM')
_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


@dataclasses.dataclass(frozen=True)
class Sample:
  """A face with its labels, undecoded.

  Attributes:
    name: of the sample in its data set.
    image_bytes: the encoded file.
    landmarks: (N, 2) float32, 0-based pixels; anything where not visible.
    visible: (N,) bool: landmarks that are labelled and count.
    box: (4,) float32 outer edges (x, y, width, height).
    pose: (3,) float32 pitch, yaw, roll in degrees (R = Rx Ry Rz, see
      `projection`), if the data set labels them.
    params: (8 + N_I + N_E,) float32 exact target P in pixels of the photo,
      if the data set has it, for the face model that it was made with.
    group: photos of one group are variants of one image and must not be
      split between training and validation; '' = a group of its own.
  """

  name: str
  image_bytes: bytes
  landmarks: np.ndarray
  visible: np.ndarray
  box: np.ndarray
  pose: np.ndarray | None = None
  params: np.ndarray | None = None
  group: str = ''


@dataclasses.dataclass(frozen=True)
class Reject:
  """A sample that cannot be used, and why."""

  name: str
  reason: str


@dataclasses.dataclass(frozen=True)
class SampleSet:
  """One split of a data set.

  Attributes:
    samples: a sequence of Sample, read from disk at every access.
    rejects: what cannot be used.
    notes: sentences about decisions that the data made, for the user.
  """

  samples: Sequence[Sample]
  rejects: list[Reject]
  notes: list[str]


class LazySamples(collections.abc.Sequence):
  """Samples whose photos are read at every access, not kept in memory."""

  def __init__(self, paths: Sequence[pathlib.Path], samples: Sequence[Sample]):
    """Makes the sequence.

    Args:
      paths: of the photos.
      samples: without their `image_bytes`, in the same order.
    """
    self._paths, self._samples = list(paths), list(samples)

  def __len__(self):
    return len(self._samples)

  def __getitem__(self, index):
    if isinstance(index, slice):
      return [self[i] for i in range(*index.indices(len(self)))]
    return dataclasses.replace(
      self._samples[index], image_bytes=self._paths[index].read_bytes()
    )


def decode_image(data: bytes, name: str) -> np.ndarray:
  """Decodes a image with Pillow, turned as its EXIF tag says.

  Args:
    data: an encoded file.
    name: for error messages.

  Returns:
    (H, W, 3) uint8 RGB: grey, palette, CMYK and 16-bit images are converted,
    transparency is laid on mid-grey.

  Raises:
    ValueError: if it is not a whole image, or has more than `MAX_PIXELS`.
  """
  from PIL import Image, ImageOps

  if not data:
    raise ValueError(f'{name} cannot be decoded: it is empty.')
  try:
    with warnings.catch_warnings():
      # Pillow's warnings name no file; what matters is raised below.
      warnings.simplefilter('ignore')
      image = Image.open(io.BytesIO(data), formats=_FORMATS)
      # The size is in the header: refused before any pixel is unpacked.
      if image.width * image.height > MAX_PIXELS:
        raise ValueError(
          f'{image.width} x {image.height} pixels is more than '
          f'the {MAX_PIXELS} that are read; scale it down'
        )
      return _to_rgb(ImageOps.exif_transpose(image), Image)
  # Pillow's readers raise many kinds on damaged files: OSError, SyntaxError,
  # struct.error, zlib.error, IndexError, ...
  except Exception as error:  # pylint: disable=broad-except
    head = data[:200].lstrip().lower()
    what = (
      "it is a web page saved under a image's name"
      if head.startswith((b'<!doctype', b'<html'))
      else 'it is no image of a known format'
      if isinstance(error, Image.UnidentifiedImageError)
      else str(error).rstrip('.') or type(error).__name__
    )
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


def read_image_size(path: pathlib.Path) -> tuple[int, int]:
  """(width, height) from a image's header, turned as its EXIF tag says.

  Raises:
    OSError, ValueError: if it is no image that is read here.
  """
  from PIL import Image

  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    try:
      with Image.open(path, formats=_FORMATS) as image:
        turned = image.getexif().get(0x0112, 1) >= 5
        return image.size[::-1] if turned else image.size
    except Exception as error:  # pylint: disable=broad-except
      raise ValueError(f'{path.name} is no image that can be read') from error


def list_images(folder: pathlib.Path) -> list[pathlib.Path]:
  """The images in a folder, by name; without what macOS hides beside them."""
  return sorted(
    path
    for path in folder.iterdir()
    if path.suffix.lower() in _SUFFIXES and not path.name.startswith('.')
  )


def list_images_below(folder: pathlib.Path) -> list[pathlib.Path]:
  """The images in a folder and in all folders inside, folder by folder."""
  folders = [
    folder,
    *sorted(
      path for path in folder.rglob('*') if path.is_dir() and not path.is_symlink()
    ),
  ]
  return [path for inside in folders for path in list_images(inside)]


def find_label(image_path: pathlib.Path, suffix: str) -> pathlib.Path:
  """The file of labels beside a image, its suffix in small or capital letters.

  Raises:
    ValueError: if there is none.
  """
  for end in (suffix, suffix.upper()):
    if image_path.with_suffix(end).is_file():
      return image_path.with_suffix(end)
  raise ValueError(f'there is no {image_path.stem}{suffix} beside it')
