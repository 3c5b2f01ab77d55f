"""One labelled photo, as every reader of a data set gives it."""

import collections.abc
from collections.abc import Callable, Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np

from pifa_jax.files.formats import impossible_points
from pifa_jax.files.sources import Sources

_MIN_VISIBLE = 4  # landmarks that a fit of P needs
_MIN_SPAN = 4.0  # pixels: below, no face can be seen, and the unit is another
_FARTHEST = 100_000  # pixels; no photo is as wide


class MissingSplitError(FileNotFoundError):
  """A data set is there, but the split that was asked for is not."""


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
    sources: all that the reader looked at; a change there makes the set another.
    missing: parts of the data set that are not there, short phrases: 'afw/'. They
      are named in every result line.
  """

  samples: Sequence[Sample]
  rejects: list[Reject]
  notes: list[str]
  sources: Sources
  missing: tuple[str, ...] = ()


class LazySamples(collections.abc.Sequence):
  """Samples whose images are read at every access, not kept in memory."""

  def __init__(
    self, read: Callable[[Any], bytes], places: Sequence[Any], samples: Sequence[Sample]
  ):
    """Makes the sequence.

    Args:
      read: gives the encoded image of a place.
      places: where the images are: paths, rows of a file.
      samples: without their `image_bytes`, in the same order.
    """
    self._read, self._places, self._samples = read, list(places), list(samples)

  def __len__(self):
    return len(self._samples)

  def __getitem__(self, index):
    if isinstance(index, slice):
      return [self[i] for i in range(*index.indices(len(self)))]
    return dataclasses.replace(
      self._samples[index], image_bytes=self._read(self._places[index])
    )


def photo_samples(
  sources: Sources, paths: Sequence[pathlib.Path], samples: Sequence[Sample]
) -> LazySamples:
  """Samples whose photos are files.

  Args:
    sources: where the photos are recorded.
    paths: of the photos.
    samples: without their `image_bytes`, in the same order.

  Returns:
    The samples, each with its photo at every access.
  """
  return LazySamples(
    pathlib.Path.read_bytes, [sources.use(path) for path in paths], samples
  )


def landmark_problem(landmarks: np.ndarray, visible: np.ndarray) -> str | None:
  """What keeps the landmarks of a face from being used, as far as they say it.

  Args:
    landmarks: (N, 2) pixels.
    visible: (N,) bool.

  Returns:
    A reason to reject the face; None if nothing is wrong.
  """
  if visible.sum() < _MIN_VISIBLE:
    return f'only {visible.sum()} landmarks are visible; {_MIN_VISIBLE} are needed'
  span = np.ptp(landmarks[visible], axis=0)
  if max(span) < _MIN_SPAN:
    return (
      f'its landmarks span {span[0]:.2g} x {span[1]:.2g} pixels; are they fractions of '
      "the photo's size?"
    )
  return None


def landmark_box(landmarks: np.ndarray, visible: np.ndarray) -> np.ndarray:
  """The box of a face's visible landmarks.

  Args:
    landmarks: (N, 2) pixels.
    visible: (N,) bool.

  Returns:
    (4,) float32 x, y, width, height.

  Raises:
    ValueError: if too few are visible to fit a face, or they have no area.
  """
  problem = landmark_problem(landmarks, visible)
  if problem:
    raise ValueError(problem)
  low, high = landmarks[visible].min(axis=0), landmarks[visible].max(axis=0)
  if not min(high - low) > 0:
    raise ValueError('its landmarks lie on one line; give it a box')
  return np.concatenate([low, high - low]).astype(np.float32)


def data_root(
  data_dir: str | pathlib.Path | None, how_to_get: str
) -> tuple[pathlib.Path, Sources]:
  """The folder of a data set, and the record of what is read from it.

  Args:
    data_dir: as the user gave it.
    how_to_get: what it should hold, for the message.

  Returns:
    The folder, and an empty record.

  Raises:
    FileNotFoundError: if none was given, or it does not exist.
  """
  if not data_dir:
    raise FileNotFoundError(f'No --data_dir was given: {how_to_get}')
  root = pathlib.Path(data_dir)
  if not root.is_dir():
    raise FileNotFoundError(f'There is no folder {root}: {how_to_get}')
  return root, Sources(root)


def label_problem(
  box: np.ndarray, points: np.ndarray, visible: np.ndarray
) -> str | None:
  """What is wrong with the labels of one face, as far as they say it themselves.

  Args:
    box: (4,) outer edges.
    points: (N, 2) pixels.
    visible: (N,) bool.

  Returns:
    A reason to reject the face; None if nothing is wrong.
  """
  if not np.all(np.isfinite(box)):
    return 'the box is not finite'
  if box[2] <= 0 or box[3] <= 0:
    return f'the box is {box[2]:g} x {box[3]:g}'
  problem = landmark_problem(points, visible)
  if problem:
    return problem
  if max(np.abs(points[visible]).max(), np.abs(box).max()) > _FARTHEST:
    return f'a coordinate is beyond {_FARTHEST} pixels'
  return far_box(box, points, visible) or impossible_points(points, visible)


def far_box(box: np.ndarray, points: np.ndarray, visible: np.ndarray) -> str | None:
  """Says so if a box is that of another face, or in another unit.

  Args:
    box: (4,) outer edges, with an area.
    points: (N, 2) pixels.
    visible: (N,) bool, at least one.

  Returns:
    A reason to reject the face; None if a landmark lies within two sizes of the box
    from its centre.
  """
  centre, size = box[:2] + box[2:] / 2, np.sqrt(box[2] * box[3])
  if np.min(np.abs(points[visible] - centre).max(axis=1)) > 2 * size:
    return 'the box is nowhere near the landmarks'
  return None
