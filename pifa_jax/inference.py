"""Fits faces in boxes of photos: landmarks, visibility, pose and P in image pixels."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.files.box_files import box_problem
from pifa_jax.geometry import boxes as box_lib
from pifa_jax.geometry import cropping, morphable_model, projection
from pifa_jax.geometry import mirror as mirror_lib
from pifa_jax.learning import network, network_config
from pifa_jax.types import Array, FaceParams, MorphableModel, unflatten_params

_BATCH = 32  # faces a call at most; fewer are padded to a power of two
# Nothing is gained by rotating heads that are as upright as most in training.
_UPRIGHT = np.deg2rad(15.0)


@dataclasses.dataclass(frozen=True)
class AlignedFaces:
  """The faces of one photo, in the order of the boxes.

  Attributes:
    boxes: (n, 4) the boxes that the network saw, outer edges in pixels of the photo,
      before they were rotated.
    angles: (n,) by which they were rotated about their centres, radians, clockwise as
      one sees the photo.
    landmarks: scheme -> (n, N, 2) pixels of the photo (Eq. 3).
    frontability: scheme -> (n, N) g of Eq. (8): 1 faces the camera, 0 away from it.
    visible: scheme -> (n, N) bool: g > 0 (Sec. 3.3).
    params: P, with a leading axis of n, in pixels of the photo.
    pose: 'yaw', 'pitch', 'roll' (n,) radians, 'rotation' (n, 3, 3), 'scale' (n,),
      'translation' (n, 2), as `projection.pose_from_camera` gives them.
  """

  boxes: np.ndarray
  angles: np.ndarray
  landmarks: dict[str, np.ndarray]
  frontability: dict[str, np.ndarray]
  visible: dict[str, np.ndarray]
  params: FaceParams
  pose: dict[str, np.ndarray]

  def __len__(self) -> int:
    return len(self.boxes)


class Aligner:
  """Fits faces in photos with one network, which it compiles for a few batch sizes."""

  def __init__(
    self,
    model: MorphableModel,
    config: network_config.NetworkConfig,
    *,
    schemes: Sequence[str] = ('ibug68',),
    mirror: bool = False,
    box_scale: float = 1.0,
    upright: bool = False,
  ):
    """Prepares the geometry of a network.

    Args:
      model: the 3DMM that the network was trained with.
      config: of the network.
      schemes: landmark schemes of the model to report.
      mirror: fit the mirrored crop, too, and take the mean of both P: more accurate,
        at twice the work (BUILD_NOTES.md D-66).
      box_scale: side of the boxes of further passes over that of the landmarks' box.
        In training it was `TrainedWeights.box_scale` on average (BUILD_NOTES.md D-80).
      upright: further passes rotate the box with the head, if that is rotated by more
        than 15 degrees: heads in training are mostly upright (BUILD_NOTES.md D-82).

    Raises:
      ValueError: if the model lacks a scheme, or is not symmetric and `mirror` is
        wanted, or `box_scale` is not above 0.
    """
    if not box_scale > 0:
      raise ValueError(
        f'Aligner: box_scale={box_scale}; it must be above 0, 1 = the box of the '
        'landmarks.'
      )
    signs = mirror_lib.coefficient_signs(model) if mirror else None
    if mirror and signs is None:
      raise ValueError(
        'Aligner: the face model or its bases have no symmetry, which mirror=True '
        'needs; use mirror=False.'
      )
    self._size, self._box_scale = config.crop_size, box_scale
    self._crop_scale = config.crop_scale
    self._upright = upright
    self._geometry = network.network_geometry(model, config)
    self._parts = {
      name: projection.landmark_model(model, name) for name in ('ibug68', *schemes)
    }
    self._schemes = tuple(schemes)
    net = network.PifaNetwork(config, model.num_params)

    def fit(variables, crops, boxes, angles, geometry, parts):
      image = crops.astype(jnp.float32) / 127.5 - 1.0
      if mirror:
        image = jnp.concatenate([image, image[:, :, ::-1]])
      outputs: Any = net.apply(variables, image, geometry)
      faces = jax.vmap(lambda vector: unflatten_params(vector, model.num_identity))(
        outputs['params'][-1]
      )
      if signs is not None:
        faces, of_flipped = (
          jax.tree.map(lambda x, i=i: jnp.split(x, 2)[i], faces) for i in (0, 1)
        )
        faces = jax.vmap(mirror_lib.mean_with_mirror, in_axes=(0, 0, None, None))(
          faces, of_flipped, signs, config.crop_size
        )
      return jax.vmap(
        lambda face, box, angle: _describe(face, box, angle, config.crop_size, parts)
      )(faces, boxes, angles)

    self._fit = jax.jit(fit)

  def align(
    self, variables: dict[str, Any], image: np.ndarray, boxes: Array, *, passes: int = 1
  ) -> AlignedFaces:
    """Fits the face in every box.

    Args:
      variables: {'params', 'batch_stats'} of the network.
      image: (H, W, 3) uint8 RGB.
      boxes: (n, 4) x, y, width, height of the outer edges, 0-based pixels. A box may
        reach out of the photo, which counts as grey there, but must overlap it.
      passes: 2 = fit again in a box about the 68 landmarks that the first pass found,
        `box_scale` times as large as theirs, and rotated with the head if `upright`.

    Returns:
      The faces, in the order of the boxes; arrays of length 0 for no box.

    Raises:
      ValueError: if an argument has another shape or type, or if a box is not finite,
        has no area or lies outside the photo.
    """
    image, boxes = _checked(image, boxes)
    if passes < 1:
      raise ValueError(f'align(): passes={passes}; use 1 or more.')
    angles = np.zeros(len(boxes), np.float32)
    found = self._one_pass(variables, image, boxes, angles)
    for _ in range(passes - 1):
      if self._upright:
        angles = _roll_angles(found['params'].camera)
      boxes = _boxes_of(found['landmarks']['ibug68'], angles, self._box_scale)
      found = self._one_pass(variables, image, boxes, angles)
    return AlignedFaces(
      boxes=np.asarray(boxes),
      angles=angles,
      params=found['params'],
      pose=found['pose'],
      **{
        what: {name: found[what][name] for name in self._schemes}
        for what in ('landmarks', 'frontability', 'visible')
      },
    )

  def _one_pass(self, variables, image, boxes, angles):
    """One batch after the other: crops, network, and what is reported of its P."""
    squares = np.zeros((len(boxes), 4), np.float32)
    for row, box in enumerate(boxes.astype(np.float32)):
      squares[row] = box_lib.scale_box(box_lib.square_box(box), self._crop_scale)
    parts = []
    # One call even without a box: its results have the right shapes.
    for start in range(0, max(len(squares), 1), _BATCH):
      some = squares[start : start + _BATCH]
      size = 1 << max(len(some) - 1, 0).bit_length()
      padded = np.concatenate(
        [some, np.tile(np.array([[0, 0, 1, 1]], np.float32), (size - len(some), 1))]
      )
      padded_angles = np.zeros(size, np.float32)
      padded_angles[: len(some)] = angles[start : start + _BATCH]
      crops = np.stack(
        [
          cropping.crop_rotated(image, box, self._size, angle)
          if angle
          else cropping.crop(image, box, self._size)
          for box, angle in zip(padded, padded_angles, strict=True)
        ]
      )
      out = jax.device_get(
        self._fit(variables, crops, padded, padded_angles, self._geometry, self._parts)
      )
      count = len(some)
      parts.append(jax.tree.map(lambda a, count=count: a[:count], out))
    return jax.tree.map(lambda *a: np.concatenate(a), *parts)


def _checked(image, boxes):
  """The arrays of `align`; ValueError with one sentence if they are no such thing."""
  image, boxes = np.asarray(image), np.asarray(boxes, np.float64)
  if boxes.shape == (0,):  # an empty list
    boxes = np.zeros((0, 4))
  if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
    raise ValueError(
      f'align(): the photo has shape {image.shape} and type {image.dtype}; wanted '
      '(H, W, 3) uint8 RGB.'
    )
  if boxes.ndim != 2 or boxes.shape[1] != 4:
    raise ValueError(
      f'align(): boxes have shape {boxes.shape}; wanted (n, 4), x, y, width, height.'
    )
  height, width = image.shape[:2]
  for row, box in enumerate(boxes):
    problem = box_problem(box, width, height)
    if problem:
      raise ValueError(f'align(): row {row} of boxes: {problem}.')
  return image, boxes


def _describe(face, box, angle, crop_size, parts):
  """What is reported of one face, from its P in pixels of the rotated box's crop."""
  face = box_lib.rotate_params(
    box_lib.uncrop_params(face, box, crop_size), box[:2] + box[2:] / 2, angle
  )
  front = {
    name: projection.frontability(face.camera, part.mean_normals)
    for name, part in parts.items()
  }
  return {
    'params': face,
    'landmarks': {
      name: projection.project(face.camera, morphable_model.shape(part, face))
      for name, part in parts.items()
    },
    'frontability': front,
    'visible': {name: projection.is_visible(g) for name, g in front.items()},
    'pose': projection.pose_from_camera(face.camera),
  }


def _roll_angles(cameras):
  """(n,) clockwise angles from up in the photo to up of the heads; small ones are 0."""
  up = np.asarray(cameras)[:, :, 1]  # where the model's y axis points; rows run down
  angles = np.arctan2(up[:, 0], -up[:, 1])
  return np.where(np.abs(angles) > _UPRIGHT, angles, np.float32(0))


def _boxes_of(points, angles, box_scale):
  """(n, 4) boxes about (n, N, 2) points, yet to be rotated; at least a pixel wide."""
  angle = jax.vmap(box_lib.rotate_points)
  middle = points.mean(axis=1)
  upright = angle(points, middle, -angles)
  low, high = upright.min(axis=1), upright.max(axis=1)
  centre = angle((low + high) / 2, middle, angles)
  sides = box_scale * jnp.maximum(high - low, 1.0)
  return np.concatenate([centre - sides / 2, sides], axis=1)
