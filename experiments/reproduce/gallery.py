"""Figs. 1, 9 and 10: faces with their meshes, landmarks and visualizations."""

from collections.abc import Sequence
import dataclasses

import numpy as np
from PIL import Image, ImageDraw

from experiments.lib import figures, mesh_images
from experiments.reproduce import pages
from experiments.reproduce.gallery_faces import GalleryFace
from experiments.reproduce.restored import Restored
from pifa_jax.geometry import boxes as box_lib
from pifa_jax.geometry import cropping, morphable_model, projection
from pifa_jax.geometry.visualization import visualize
from pifa_jax.inference import Aligner
from pifa_jax.results import overlays
from pifa_jax.results.fitted_face import FittedFace, fitted_face
from pifa_jax.types import FaceParams, MorphableModel

_SCHEME = 'ibug68'
_TILE, _LARGE = 150, 320  # pixels: sides of the pictures
_ROOM = 1.5  # side of what a picture of a photo shows over that of the face box
_COLUMNS = 8
_BOX = (255, 205, 60)
_VISUALIZATION_SIDE = 80  # of Fig. 1: builtin-1's vertices leave no holes at this size


@dataclasses.dataclass(frozen=True)
class FittedPicture:
  """What a network made of one face, in pixels of a picture of its surroundings.

  Attributes:
    picture: (S, S, 3) uint8 RGB.
    box: (4,) the square in which P^0 lies: that of the face box's centre and area.
    start: (68, 2) landmarks of P^0.
    face: the result.
    crop: (C, C, 3) uint8, what the network saw.
  """

  picture: np.ndarray
  box: np.ndarray
  start: np.ndarray
  face: FittedFace
  crop: np.ndarray


def fit(
  restored: Restored, faces: Sequence[GalleryFace], *, size: int = _TILE
) -> list[FittedPicture]:
  """Runs a network on faces, once each: one pass, without the mirrored photo.

  Args:
    restored: the network.
    faces: with their boxes.
    size: side of the pictures, pixels.

  Returns:
    The results, in the order of the faces.
  """
  config, model = restored.config.network, restored.model
  aligner = Aligner(
    model,
    config,
    box_scale=restored.config.augment.box_scale,
    keep_visualizations=config.visualization,
  )
  start = box_lib.initial_params(model, config.crop_size, config.crop_scale)
  found = aligner.align_many(
    restored.variables, ((face.photo, face.box[None]) for face in faces)
  )
  fitted = []
  for face, aligned in zip(faces, found, strict=True):
    box = _scaled(aligned.boxes[0], 1.0)
    crop_box = _scaled(box, config.crop_scale)
    shown = _scaled(box, _ROOM)
    result = fitted_face(model, aligned, 0)
    initial = box_lib.uncrop_params(start, crop_box, config.crop_size)
    fitted.append(
      FittedPicture(
        picture=cropping.crop(face.photo, shown, size),
        box=_box_in(box, shown, size),
        start=_landmarks(model, box_lib.crop_params(initial, shown, size)),
        face=dataclasses.replace(
          result,
          params=_as_numpy(box_lib.crop_params(result.params, shown, size)),
          landmarks={
            _SCHEME: np.asarray(
              box_lib.crop_points(result.landmarks[_SCHEME], shown, size)
            )
          },
          box=_box_in(box, shown, size),
        ),
        crop=cropping.crop(face.photo, crop_box, config.crop_size),
      )
    )
  return fitted


def draw_alignment(fitted: Sequence[FittedPicture]) -> Image.Image:
  """Fig. 9: start, mesh and landmarks of some faces, then landmarks of the others.

  First row: the face box (yellow) and the landmarks of P^0; second: the estimated dense
  shapes; third: the estimated landmarks, green visible and red hidden. Further rows:
  estimated landmarks.

  Args:
    fitted: of `fit`; the first ones, at most eight, fill the first three rows.

  Returns:
    The picture, RGB.

  Raises:
    ValueError: if there is no face.
  """
  if not fitted:
    raise ValueError('Fig. 9 needs at least one face.')
  columns = min(_COLUMNS, len(fitted))
  first, rest = fitted[:columns], fitted[columns:]
  tiles = [_start(one) for one in first]
  tiles += [mesh(one.picture, one.face) for one in first]
  tiles += [_result(one) for one in (*first, *rest)]
  return figures.sheet(tiles, columns)


def draw_visualizations(fitted: Sequence[FittedPicture]) -> Image.Image:
  """Fig. 10: what the network saw, and V of every block, one row a face.

  Args:
    fitted: of `fit`.

  Returns:
    The picture, RGB.

  Raises:
    ValueError: if there is no face, or the network has no visualization.
  """
  if not fitted or not fitted[0].face.visualizations:
    raise ValueError('Fig. 10 needs a face and a network with a visualization.')
  rows = [
    [
      Image.fromarray(one.crop).resize((_TILE, _TILE), Image.Resampling.BICUBIC),
      *(figures.visualization(v, size=_TILE) for v in one.face.visualizations),
    ]
    for one in fitted
  ]
  count = len(rows[0])
  captions = [[''] * count for _ in rows[:-1]]
  captions.append(['image', *(f'block {i}' for i in range(1, count))])
  return pages.page(rows, captions)


def draw_overview(model: MorphableModel, face: GalleryFace) -> Image.Image:
  """Fig. 1: a face, the 3D shape of its parameters, and the image made of it.

  Args:
    model: the 3DMM.
    face: with its P.

  Returns:
    The picture, RGB.

  Raises:
    ValueError: if P of the face is not known.
  """
  if face.params is None:
    raise ValueError('Fig. 1 needs a face whose parameters are known.')
  shown = _scaled(face.box, _ROOM)
  picture = cropping.crop(face.photo, shown, _LARGE)
  params = _as_numpy(box_lib.crop_params(face.params, shown, _LARGE))
  small = _as_numpy(box_lib.crop_params(face.params, shown, _VISUALIZATION_SIDE))
  plane = np.asarray(visualize(model, small, image_size=_VISUALIZATION_SIDE))
  return pages.page(
    [
      [
        Image.fromarray(picture),
        _head(model, params, _LARGE),
        figures.visualization(plane, size=_LARGE),
      ]
    ],
    [['image', '(a) 3D shape', '(b) visualization']],
  )


def mesh(picture: np.ndarray, face: FittedFace) -> Image.Image:
  """The mesh of a face over its picture, shaded.

  Args:
    picture: (S, S, 3) uint8.
    face: in its pixels.

  Returns:
    The picture, (S, S) RGB; without a mesh if that is not finite.
  """
  if not np.isfinite(face.vertices).all():
    # Of a network that diverged: there is nothing to be seen.
    return Image.fromarray(picture)
  drawn = overlays.draw(picture, [face], 'shaded')
  return drawn.resize(picture.shape[1::-1], Image.Resampling.LANCZOS)


def _head(model: MorphableModel, face: FaceParams, size: int) -> Image.Image:
  """The whole 3D shape of some P, in its parts' colours."""
  view = projection.image_vertices(
    np.asarray(face.camera), np.asarray(morphable_model.shape(model, face))
  )
  middle = (size - 1) / 2
  # Here y runs up, and z towards the viewer.
  image, _, _ = mesh_images.render(
    model,
    view * [1, -1, -1],
    0,
    size=size,
    half_width=size / 2,
    centre=(middle, -middle),
  )
  return Image.fromarray(image)


def _start(one: FittedPicture) -> Image.Image:
  tile = figures.face(
    one.picture, one.start, np.ones(len(one.start), bool), size=len(one.picture)
  )
  x, y, width, height = one.box
  # Outer edges: half a pixel before the centre of the first pixel.
  ImageDraw.Draw(tile).rectangle(
    (x + 0.5, y + 0.5, x + width - 0.5, y + height - 0.5), outline=_BOX
  )
  return tile


def _result(one: FittedPicture) -> Image.Image:
  return figures.face(
    one.picture,
    one.face.landmarks[_SCHEME],
    one.face.visible[_SCHEME],
    size=len(one.picture),
  )


def _landmarks(model: MorphableModel, face: FaceParams) -> np.ndarray:
  """(68, 2) of the mean face under the camera of P^0."""
  points = np.asarray(model.mean_shape)[np.asarray(model.landmark_schemes[_SCHEME])]
  return np.asarray(projection.project(face.camera, points))


def _scaled(box: np.ndarray, factor: float) -> np.ndarray:
  """The square about the box of the same centre, its side times a factor, (4,)."""
  square = box_lib.square_box(np.asarray(box, np.float32))
  return np.asarray(box_lib.scale_box(square, factor), np.float64)


def _box_in(box, shown, size):
  """A box of the photo in pixels of the picture of another one."""
  corner = box_lib.crop_points(box[None, :2], shown, size)[0]
  return np.concatenate([corner, box[2:] * size / shown[2:]])


def _as_numpy(face: FaceParams) -> FaceParams:
  return FaceParams(
    np.asarray(face.camera), np.asarray(face.identity), np.asarray(face.expression)
  )
