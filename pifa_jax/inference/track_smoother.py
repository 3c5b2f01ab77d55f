"""The faces of a video, smoothed each by a filter of its own."""

import collections
import dataclasses

import jax
import numpy as np

from pifa_jax.geometry import morphable_model, projection
from pifa_jax.inference.aligner import AlignedFaces
from pifa_jax.inference.smoothing import (
  FaceFilter,
  SmoothingSettings,
  jitter,
  lag_in_frames,
)
from pifa_jax.inference.tracking import TrackedFrame
from pifa_jax.types import FaceParams, MorphableModel

# Frames of a face that count for the lag: a camera has no end.
_REMEMBERED = 1800
# A face that moves less than this share of its size shows noise, not its lag.
_MOVED = 0.05


class TrackSmoother:
  """Smooths P of every tracked face, and describes the smoothed faces."""

  def __init__(self, model: MorphableModel, config: SmoothingSettings | None = None):
    """A smoother without faces.

    Args:
      model: the 3DMM of the faces.
      config: how strongly; None = the defaults.
    """
    self._model = model
    self._config = SmoothingSettings() if config is None else config
    self._filters: dict[int, FaceFilter] = {}
    self._parts: dict[str, MorphableModel] = {}
    self._describe = jax.jit(_describe)

  def __call__(self, frame: TrackedFrame, time: float) -> AlignedFaces:
    """The faces of the next frame, smoothed.

    Args:
      frame: of `Tracker.next`.
      time: of the frame, seconds, later than that of the frame before.

    Returns:
      The faces in the same order: P, landmarks, visibility and pose of the smoothed P;
      boxes, confidence and signs as they were.

    Raises:
      ValueError: if the time does not grow.
    """
    for number in frame.ended:
      self._filters.pop(number, None)
    faces = frame.faces
    if not len(frame):
      return faces
    for name in faces.landmarks:
      if name not in self._parts:
        self._parts[name] = projection.landmark_model(self._model, name)
    smooth = []
    for row, number in enumerate(frame.ids):
      if number not in self._filters:
        self._filters[number] = FaceFilter(self._model, self._config)
      params = self._filters[number](
        FaceParams(
          camera=np.asarray(faces.params.camera)[row],
          identity=np.asarray(faces.params.identity)[row],
          expression=np.asarray(faces.params.expression)[row],
        ),
        time,
      )
      smooth.append(jax.device_get(self._describe(params, self._parts)))
    found = jax.tree.map(lambda *arrays: np.stack(arrays), *smooth)
    return dataclasses.replace(faces, **found)


class LagMeter:
  """Tells how late smoothed faces are, by the unsmoothed ones."""

  def __init__(self):
    """Without faces."""
    self._pairs: dict[int, collections.deque] = {}

  def add(self, frame: TrackedFrame, smooth: AlignedFaces) -> None:
    """Notes the faces of a frame.

    Args:
      frame: of `Tracker.next`.
      smooth: of `TrackSmoother`.
    """
    for row, number in enumerate(frame.ids):
      pairs = self._pairs.setdefault(int(number), collections.deque(maxlen=_REMEMBERED))
      pairs.append(
        (frame.faces.landmarks['ibug68'][row], smooth.landmarks['ibug68'][row])
      )

  def frames(self) -> float | None:
    """The lag by least squares over the last minute of every face.

    Returns:
      Frames, the mean over faces by their frames; None if no face moved enough: by a
      twentieth of its size, as a standard deviation.
    """
    lags, weights = [], []
    for pairs in self._pairs.values():
      raw, smooth = (np.array(x, np.float64) for x in zip(*pairs, strict=True))
      size = np.sqrt(np.prod(np.ptp(raw, axis=1), axis=-1)).mean()
      if np.sqrt(2) * jitter(raw) < _MOVED * size:
        continue
      lag = lag_in_frames(raw, smooth)
      if lag is not None:
        lags.append(lag)
        weights.append(len(raw))
    return float(np.average(lags, weights=weights)) if lags else None


def _describe(params, parts):
  """The arrays of `AlignedFaces` that follow from P of one face."""
  front = {
    name: projection.frontability(params.camera, part.mean_normals)
    for name, part in parts.items()
  }
  return {
    'params': params,
    'landmarks': {
      name: projection.project(params.camera, morphable_model.shape(part, params))
      for name, part in parts.items()
    },
    'frontability': front,
    'visible': {name: projection.is_visible(g) for name, g in front.items()},
    'pose': projection.pose_from_camera(params.camera),
  }
