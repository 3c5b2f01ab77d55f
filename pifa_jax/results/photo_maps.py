"""Maps of a photo with all its faces, as PNG: depth, normals, PNCC.

Faces are drawn from the smallest to the largest, so that of two that overlap the larger
one, which is nearer as a rule, is in front.
"""

from collections.abc import Callable, Sequence
import io
import os

import numpy as np
from PIL import Image, PngImagePlugin

from pifa_jax.files.formats import write_atomically
from pifa_jax.geometry import image_maps
from pifa_jax.results.fitted_face import FittedFace, shown_triangles

# A step of depth is a sixteenth of a pixel, unless a face is deeper than 16 bits hold.
_STEPS_PER_PIXEL = 16.0
_MIDDLE = 32768  # the depth of the origin of the face model


def windows(
  photo: np.ndarray,
  faces: Sequence[FittedFace],
  attributes: Callable[[FittedFace], np.ndarray],
) -> list[image_maps.Window]:
  """Draws the faces of a photo, the smallest first.

  Args:
    photo: (H, W, ...).
    faces: in its pixels.
    attributes: face -> (Q, C) what is drawn of its vertices.

  Returns:
    A window a face.
  """
  height, width = photo.shape[:2]
  return [
    image_maps.draw(
      face.vertices,
      shown_triangles(face.model),
      attributes(face),
      height=height,
      width=width,
    )
    for face in sorted(faces, key=lambda face: face.pixels_per_unit)
  ]


def depth_map(
  photo: np.ndarray, faces: Sequence[FittedFace]
) -> tuple[np.ndarray, float]:
  """Depth of the faces; each counts from the origin of its own model.

  A weak-perspective camera does not say how far two faces are apart.

  Args:
    photo: (H, W, 3).
    faces: in its pixels.

  Returns:
    (H, W) uint16, 0 where there is no face, and steps a pixel: depth in pixels of the
    photo is (value - 32768) / steps, smaller is nearer.
  """
  drawn = windows(photo, faces, lambda face: np.zeros((len(face.vertices), 0)))
  deepest = max(
    (float(np.abs(w.depth[w.covered]).max()) for w in drawn if w.covered.any()),
    default=0.0,
  )
  # A power of two, so that the number can be written exactly.
  steps = _STEPS_PER_PIXEL
  while deepest * steps > _MIDDLE - 2:
    steps /= 2
  canvas = np.zeros(photo.shape[:2], np.uint16)
  for window in drawn:
    part, there = window.part_of(canvas), window.covered
    part[there] = np.round(_MIDDLE + steps * window.depth[there].astype(np.float64))
  return canvas, steps


def normal_map(photo: np.ndarray, faces: Sequence[FittedFace]) -> np.ndarray:
  """Normals of the faces: x right, y up, z towards the viewer.

  Args:
    photo: (H, W, 3).
    faces: in its pixels.

  Returns:
    (H, W, 3) uint8: 255 (n + 1) / 2; (0, 0, 0) where there is no face.
  """
  canvas = np.zeros(photo.shape[:2] + (3,), np.uint8)
  for window in windows(photo, faces, lambda face: face.viewer_normals):
    there = window.covered
    normals = window.values[there]
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    window.part_of(canvas)[there] = np.round(127.5 * (normals + 1.0))
  return canvas


def pncc(photo: np.ndarray, faces: Sequence[FittedFace]) -> np.ndarray:
  """Projected Normalised Coordinate Code of 3DDFA: where on a face every pixel is.

  Args:
    photo: (H, W, 3).
    faces: in its pixels.

  Returns:
    (H, W, 3) uint8 RGB: 255 times `image_maps.model_coordinates`; (0, 0, 0) where there
    is no face.
  """
  canvas = np.zeros(photo.shape[:2] + (3,), np.uint8)
  code = lambda face: image_maps.model_coordinates(
    face.model.mean_shape, shown_triangles(face.model)
  )
  for window in windows(photo, faces, code):
    there = window.covered
    window.part_of(canvas)[there] = np.round(255.0 * window.values[there])
  return canvas


def save_map(
  path: str | os.PathLike[str],
  kind: str,
  photo: np.ndarray,
  faces: Sequence[FittedFace],
) -> None:
  """Writes a map as PNG; how it is read stands in its text chunks.

  Args:
    path: the file.
    kind: one of `MAPS`.
    photo: (H, W, 3).
    faces: in its pixels.
  """
  if kind == 'depth':
    canvas, steps = depth_map(photo, faces)
    note = {'depth_pixels': f'(value - {_MIDDLE}) / {steps:g}; 0 = no face'}
  elif kind == 'normals':
    canvas = normal_map(photo, faces)
    note = {'normal': '2 value / 255 - 1; x right, y up, z towards the viewer'}
  else:
    canvas, note = pncc(photo, faces), {'pncc': 'value / 255: mean face, x y z'}
  info = PngImagePlugin.PngInfo()
  for name, text in note.items():
    info.add_text(name, text)
  write_image(path, Image.fromarray(canvas), pnginfo=info)


MAPS = ('depth', 'normals', 'pncc')


def write_image(
  path: str | os.PathLike[str], image: Image.Image, format: str = 'PNG', **options
) -> None:
  """Writes a picture whole or not at all.

  Args:
    path: the file.
    image: the picture.
    format: of Pillow.
    **options: of Pillow's writer.
  """
  stream = io.BytesIO()
  # Photos hardly shrink further: a third of the time for a seventh more bytes.
  defaults = {'compress_level': 1} if format == 'PNG' else {}
  image.save(stream, format=format, **(defaults | options))
  write_atomically(path, stream.getvalue())
