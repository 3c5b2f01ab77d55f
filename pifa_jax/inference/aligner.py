"""Fits faces in boxes of photos: landmarks, visibility, pose and P in image pixels."""

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.files.box_files import box_problem
from pifa_jax.geometry import boxes as box_lib
from pifa_jax.geometry import cropping, morphable_model, projection
from pifa_jax.geometry import mirror as mirror_lib
from pifa_jax.inference import batching, search
from pifa_jax.inference import confidence as confidence_lib
from pifa_jax.inference import signs as signs_lib
from pifa_jax.learning import network
from pifa_jax.learning.network_config import NetworkConfig
from pifa_jax.types import Array, FaceParams, MorphableModel, unflatten_params

# Faces a call at most; with their mirror images 32 crops, where two cores are fastest.
_BATCH = 16
_SIZES = (_BATCH, 8, 1)  # batch sizes that are compiled, each when it is first needed
_LOOSE = 1.15  # side of the usual given box over that of the landmarks' box
_MAX_BYTES = 256_000_000  # of photos that are open at a time


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
    confidence: (n,) in [0, 1]: the probability that the landmarks are within 10 % of
      their box; None if the aligner was not given a `Confidence`.
    signs: name -> (n,) what the confidence is made of (`inference.signs`).
    visualizations: V of every block in the last pass, (n, h, w) each (Fig. 10); empty
      unless the aligner keeps them.
  """

  boxes: np.ndarray
  angles: np.ndarray
  landmarks: dict[str, np.ndarray]
  frontability: dict[str, np.ndarray]
  visible: dict[str, np.ndarray]
  params: FaceParams
  pose: dict[str, np.ndarray]
  confidence: np.ndarray | None
  signs: dict[str, np.ndarray]
  visualizations: tuple[np.ndarray, ...] = ()

  def __len__(self) -> int:
    return len(self.boxes)


class Aligner:
  """Fits faces in photos with one network, which it compiles for a few batch sizes."""

  def __init__(
    self,
    model: MorphableModel,
    config: NetworkConfig,
    *,
    schemes: Sequence[str] = ('ibug68',),
    mirror: bool = False,
    box_scale: float = 1.0,
    upright: bool = False,
    first_scale: float | None = None,
    confidence: confidence_lib.Confidence | None = None,
    num_blocks: int | None = None,
    keep_visualizations: bool = False,
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
      first_scale: side of the first box over that of the given box. By default 1,
        and `box_scale / 1.15` for weights that were trained with wider crops: boxes of
        data sets and detectors are 1.15 times as wide as those of the landmarks, or
        more (BUILD_NOTES.md D-62).
      confidence: of the same weights. Faces then get a confidence, and those for which
        it is low are searched from other first boxes, too; the result is replaced only
        by one that is clearly surer.
      num_blocks: stop after so many blocks of the network, for the P of the last of
        them; the others are not computed. None = all.
      keep_visualizations: report V of every block.

    Raises:
      ValueError: if the model lacks a scheme, or is not symmetric and `mirror` is
        wanted, or `box_scale` or `first_scale` is not above 0, or the network has not
        so many blocks, or there is a confidence, which is one of all blocks.
    """
    config = _shortened(config, num_blocks, confidence)
    if first_scale is None:
      first_scale = max(1.0, box_scale / _LOOSE)
    for name, value, unit in (
      ('box_scale', box_scale, 'landmarks'),
      ('first_scale', first_scale, 'user'),
    ):
      if not value > 0:
        raise ValueError(
          f'Aligner: {name}={value}; it must be above 0, 1 = the box of the {unit}.'
        )
    flips = mirror_lib.coefficient_signs(model) if mirror else None
    if mirror and flips is None:
      raise ValueError(
        'Aligner: the face model or its bases have no symmetry, which mirror=True '
        'needs; use mirror=False.'
      )
    self._size, self._mirror = config.crop_size, mirror
    self._crop_scale = config.crop_scale
    self._plan = search.Plan(
      box_scale=box_scale,
      first_scale=first_scale,
      upright=upright,
      confidence=confidence,
    )
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
      count = len(crops)
      visualizations = outputs['visualization'] if keep_visualizations else ()
      part = parts['ibug68']
      unflatten = jax.vmap(lambda vector: unflatten_params(vector, model.num_identity))
      points = jax.vmap(
        lambda face: projection.project(face.camera, morphable_model.shape(part, face))
      )
      before, faces = (unflatten(outputs[key][-1]) for key in ('inputs', 'params'))
      of_mirror = None
      if flips is not None:
        back = lambda faces: jax.vmap(mirror_lib.mirror_params, (0, None, None))(
          jax.tree.map(lambda x: x[count:], faces), flips, config.crop_size
        )
        ahead = lambda faces: jax.tree.map(lambda x: x[:count], faces)
        of_mirror = jnp.stack([points(ahead(faces)), points(back(faces))], axis=1)
        before, faces = (
          jax.tree.map(lambda a, b: (a + b) / 2, ahead(both), back(both))
          for both in (before, faces)
        )
      signs = jax.vmap(
        functools.partial(signs_lib.of_a_call, part, crop_size=config.crop_size)
      )(faces, points(faces), points(before), of_mirror)
      return jax.vmap(
        lambda face, box, angle: _describe(face, box, angle, config.crop_size, parts)
      )(faces, boxes, angles) | {
        'signs': signs,
        # Those of the crops, without those of the mirrored crops.
        'visualizations': tuple(v[:count] for v in visualizations),
      }

    self._fit = jax.jit(fit)

  @property
  def given_scale(self) -> float:
    """Side of a given box over that of the landmarks' box, for crops as in training.

    For boxes about landmarks that are known, such as those of the frame before.
    """
    return self._plan.box_scale / self._plan.first_scale

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
    (faces,) = self.align_many(variables, [(image, boxes)], passes=passes)
    return faces

  def align_many(
    self,
    variables: dict[str, Any],
    photos: Iterable[tuple[np.ndarray, Array]],
    *,
    passes: int = 1,
  ) -> Iterator[AlignedFaces]:
    """Fits the faces of many photos, those of several photos in one batch.

    Args:
      variables: {'params', 'batch_stats'} of the network.
      photos: (image, boxes) as `align` takes them. They are read a batch ahead of what
        is returned, and no further while those that are open hold 256 MB.
      passes: as in `align`.

    Yields:
      What `align` returns of every photo, in their order.

    Raises:
      ValueError: as `align`; faces of earlier photos may not have been returned yet.
    """
    if passes < 1:
      raise ValueError(f'align(): passes={passes}; use 1 or more.')
    plan = dataclasses.replace(self._plan, passes=passes)
    plan.check(mirror=self._mirror)

    def groups():
      for image, boxes in photos:
        image, boxes = _checked(image, boxes)
        yield batching.Group(
          [search.search(plan, image, box) for box in boxes], image.nbytes
        )

    results = batching.run(
      groups(),
      functools.partial(self._submit, variables),
      batch_size=_BATCH,
      max_bytes=_MAX_BYTES,
    )
    for found in results:
      yield self._faces(variables, found)

  def _submit(self, variables, requests):
    """Begins to fit (image, square box, angle); returns what waits for the results."""
    started, first = [], 0
    for size in batching.split(len(requests), _SIZES):
      some = requests[first : first + size]
      first += len(some)
      crops = np.zeros((size, self._size, self._size, 3), np.uint8)
      boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (size, 1))
      angles = np.zeros(size, np.float32)
      for row, request in enumerate(some):
        # The network's crop, which is wider than the box of the face.
        boxes[row] = search.scaled(request.box, self._crop_scale)
        angles[row] = request.angle
        crops[row] = self._crop(request.image, boxes[row], angles[row])
      out = self._fit(variables, crops, boxes, angles, self._geometry, self._parts)
      started.append((len(some), out))

    def wait():
      outcomes = []
      for count, out in started:
        out = jax.device_get(out)
        outcomes += [jax.tree.map(lambda a, i=i: a[i], out) for i in range(count)]
      return outcomes

    return wait

  def _crop(self, image, box, angle):
    image, box = _neighbourhood(image, box, self._size)
    if angle:
      return cropping.crop_rotated(image, box, self._size, angle)
    return cropping.crop(image, box, self._size)

  def _faces(self, variables, results):
    """The results of one photo, stacked."""
    if results:
      found = jax.tree.map(lambda *a: np.stack(a), *[r.found for r in results])
    else:  # of the right shapes, without a call
      one = np.zeros
      shapes = jax.eval_shape(
        self._fit,
        variables,
        one((1, self._size, self._size, 3), np.uint8),
        one((1, 4), np.float32),
        one(1, np.float32),
        self._geometry,
        self._parts,
      )
      found = jax.tree.map(lambda a: np.zeros((0, *a.shape[1:]), a.dtype), shapes)
    return AlignedFaces(
      boxes=np.array([r.box for r in results], np.float64).reshape(-1, 4),
      angles=np.array([r.angle for r in results], np.float32),
      params=found['params'],
      pose=found['pose'],
      confidence=None
      if self._plan.confidence is None
      else np.array([r.confidence for r in results], np.float32),
      signs=found['signs']
      | {
        name: np.array([r.signs[name] for r in results], np.float32)
        for name in (results[0].signs if results else ())
      },
      visualizations=found['visualizations'],
      **{
        what: {name: found[what][name] for name in self._schemes}
        for what in ('landmarks', 'frontability', 'visible')
      },
    )


def _shortened(config, num_blocks, confidence):
  """The network as far as it is to be computed."""
  if num_blocks is None or num_blocks == config.num_blocks:
    return config
  if not 1 <= num_blocks <= config.num_blocks:
    raise ValueError(
      f'Aligner: num_blocks={num_blocks}; the network has {config.num_blocks} blocks.'
    )
  if confidence is not None:
    raise ValueError(
      f'Aligner: num_blocks={num_blocks} has no confidence, which was fitted to all '
      f'{config.num_blocks} blocks; give one of the two.'
    )
  return config.with_num_blocks(num_blocks)


def _neighbourhood(image, box, crop_size):
  """The part of a photo that a crop of a square reads, and the square in it.

  The time of a crop grows with the photo that it is given.
  """
  # A rotated crop reads a square sqrt(2) times as wide, and pixels count that are up to
  # two steps away.
  reach = 0.25 * box[2:] + 2 * np.ceil(box[2:] / crop_size) + 4
  low = np.maximum(np.floor(box[:2] - reach), 0).astype(int)
  high = np.maximum(np.ceil(box[:2] + box[2:] + reach), 1).astype(int)
  height, width = image.shape[:2]
  # At least a few pixels, also where the square is outside.
  low = np.minimum(low, np.maximum([width - 8, height - 8], 0))
  part = image[low[1] : high[1] + 8, low[0] : high[0] + 8]
  return part, np.concatenate([box[:2] - low, box[2:]]).astype(np.float32)


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
