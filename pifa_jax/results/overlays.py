"""Photos with what was found drawn on them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pifa_jax.geometry import host_rasterizer
from pifa_jax.results.face_files import SCHEME
from pifa_jax.results.fitted_face import FittedFace, shown_triangles

GREEN, RED, BLUE = (40, 220, 60), (235, 50, 45), (70, 120, 255)
_BOX, _WIRE = (255, 205, 60), (120, 235, 255)
_SKIN = np.array([205.0, 200, 195])
# From above, a little from the left; the mesh's own colours say nothing of its shape.
_LIGHT = np.array([-0.35, 0.45, 0.82])
_OPAQUE, _WIRE_OPAQUE = 0.9, 0.75
_CLEAR = 8.0  # height of triangles, pixels, from which wires are drawn in full
_SIDE = 1200  # small photos are enlarged to about this

OVERLAYS = {
  'overlay': 'landmarks, green visible and red hidden',
  'boxes': 'boxes with the numbers of the faces and their pose',
  'axes': 'the axes of the heads: x red, y green, z (out of the face) blue',
  'wire': 'the wires of the meshes',
  'shaded': 'the meshes, shaded',
}


def draw(
  photo: np.ndarray, faces: Sequence[FittedFace], kind: str = 'overlay'
) -> Image.Image:
  """Draws the faces of a photo on it.

  Args:
    photo: (H, W, 3) uint8 RGB.
    faces: in its pixels.
    kind: one of `OVERLAYS`.

  Returns:
    The picture, enlarged by a whole number if the photo is small.

  Raises:
    ValueError: for another kind.
  """
  if kind not in OVERLAYS:
    raise ValueError(f'kind={kind!r} is not one of {", ".join(OVERLAYS)}.')
  if kind == 'overlay':
    return draw_landmarks(
      photo,
      [face.landmarks[SCHEME] for face in faces],
      [face.visible[SCHEME] for face in faces],
    )
  figure, scale = _enlarged(photo)
  if kind in ('wire', 'shaded'):
    pixels = np.array(figure)
    for face in sorted(faces, key=lambda face: face.pixels_per_unit):
      _draw_mesh(pixels, face, scale, is_wire=kind == 'wire')
    return Image.fromarray(pixels)
  pen = ImageDraw.Draw(figure)
  for number, face in enumerate(faces):
    if kind == 'boxes':
      _draw_box(pen, face, number, scale)
    else:
      _draw_axes(pen, face, scale)
  return figure


def draw_landmarks(
  photo: np.ndarray,
  points: Sequence[np.ndarray],
  visible: Sequence[np.ndarray],
  *,
  enlarge: bool = True,
) -> Image.Image:
  """Draws the landmarks of the faces of a photo on it (Fig. 9).

  Args:
    photo: (H, W, 3) uint8 RGB.
    points: (N, 2) pixels of every face.
    visible: (N,) bool of every face.
    enlarge: a small photo by a whole number, so that landmarks do not cover faces.

  Returns:
    The picture.
  """
  figure, scale = _enlarged(photo) if enlarge else (Image.fromarray(photo), 1)
  pen = ImageDraw.Draw(figure)
  for places, seen in zip(points, visible, strict=True):
    places = np.asarray(places, float)
    size = np.sqrt(np.prod(np.ptp(places, axis=0))) * scale
    radius = max(1.0, size / 110)
    # Hidden ones first: the visible ones are in front.
    for i in np.argsort(seen):
      x, y = _placed(places[i], scale)
      if np.isfinite(x) and np.isfinite(y):
        pen.ellipse(
          (x - radius, y - radius, x + radius, y + radius),
          fill=GREEN if seen[i] else RED,
        )
  return figure


def _enlarged(photo):
  height, width = photo.shape[:2]
  scale = max(1, round(_SIDE / max(height, width)))
  figure = Image.fromarray(photo)
  if scale > 1:
    figure = figure.resize((width * scale, height * scale), Image.Resampling.BICUBIC)
  return figure, scale


def _placed(points, scale):
  """Pixels of the photo -> of the picture; integers are pixel centres in both."""
  return (np.asarray(points, np.float64) + 0.5) * scale - 0.5


def _draw_mesh(pixels, face, scale, *, is_wire):
  """Mixes the mesh into (H, W, 3) pixels of the picture."""
  triangles = shown_triangles(face.model)
  points, depth = _placed(face.vertices[:, :2], scale), face.vertices[:, 2] * scale
  used = points[np.unique(triangles)]
  height, width = pixels.shape[:2]
  low = np.maximum(np.floor(used.min(axis=0)), 0).astype(int)
  high = np.minimum(np.ceil(used.max(axis=0)) + 1, [width, height]).astype(int)
  if (high <= low).any():
    return
  points = points - low
  columns, rows = high - low
  ids, weights, _ = host_rasterizer.rasterize(
    points, depth, triangles, height=rows, width=columns
  )
  if is_wire:
    opaque = _WIRE_OPAQUE * _edges(ids, weights, points, triangles)
    color = np.array(_WIRE, np.float64)
  else:
    light = _LIGHT / np.linalg.norm(_LIGHT)
    shade = 0.25 + 0.75 * np.clip(face.viewer_normals @ light, 0, 1)
    color = _SKIN * host_rasterizer.interpolate(ids, weights, triangles, shade[:, None])
    opaque = _OPAQUE * (ids >= 0)
  part = pixels[low[1] : high[1], low[0] : high[0]]
  part[:] = np.round(part + opaque[..., None] * (color - part))


def _edges(ids, weights, points, triangles):
  """(h, w) from 0 to 1: how much of a pixel the nearest edge of its triangle covers."""
  a, b, c = points[triangles].transpose(1, 0, 2)
  area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
  # The distance from a side is the barycentric coordinate times the height over it.
  sides = np.linalg.norm([b - c, c - a, a - b], axis=-1).T
  heights = area[:, None] / np.maximum(sides, 1e-9)
  distance = (weights * heights[np.maximum(ids, 0)]).min(axis=-1)
  drawn = ids >= 0
  # The photo stays visible under the finest mesh: wires of triangles of a few pixels
  # would cover all of it.
  width = np.median(heights[np.unique(ids[drawn])]) if drawn.any() else 0.0
  return np.where(drawn, np.clip(1.0 - distance, 0, 1) * min(1.0, width / _CLEAR), 0.0)


def _draw_box(pen, face, number, scale):
  x, y, width, height = np.asarray(face.box, np.float64)
  # Outer edges: half a pixel before the centre of the first pixel.
  left, top = (np.array([x, y]) + 0.5) * scale
  right, bottom = (np.array([x + width, y + height]) + 0.5) * scale - 1
  pen.rectangle((left, top, max(right, left), max(bottom, top)), outline=_BOX, width=2)
  yaw, pitch, roll = face.angles
  text = f'{number}: yaw {yaw:.0f} pitch {pitch:.0f} roll {roll:.0f}'
  if face.confidence is not None:
    text += f', {face.confidence:.2f}'
  pen.text(
    (left + 3, max(top - 17, 1)),
    text,
    fill=_BOX,
    stroke_width=1,
    stroke_fill=(0, 0, 0),
    font_size=13,
  )


def _draw_axes(pen, face, scale):
  points = np.asarray(face.landmarks[SCHEME], np.float64)
  start = _placed(face.vertices[int(face.model.nose_tip), :2], scale)
  length = 0.6 * np.sqrt(np.prod(np.ptp(points, axis=0))) / face.pixels_per_unit
  directions = np.asarray(face.params.camera, np.float64)[:, :3].T * length * scale
  width = max(2, round(np.linalg.norm(directions, axis=1).max() / 40))
  for direction, color in zip(directions, (RED, GREEN, BLUE), strict=True):
    end = start + direction
    pen.line((*start, *end), fill=color, width=width)
    pen.ellipse((*(end - width), *(end + width)), fill=color)


def draw_visualizations(face: FittedFace, *, size: int = 224) -> Image.Image:
  """V of every block side by side, zero grey (Fig. 10).

  Args:
    face: with visualizations.
    size: side of each, pixels.

  Returns:
    The picture.

  Raises:
    ValueError: if the face has none.
  """
  if not face.visualizations:
    raise ValueError('the network that found it has no visualizations')
  gap, count = 2, len(face.visualizations)
  page = Image.new('RGB', (count * (size + gap) - gap, size), (24, 24, 24))
  for number, plane in enumerate(face.visualizations):
    grey = np.uint8(np.clip(127.5 + 50.0 * np.asarray(plane, np.float32), 0, 255))
    image = Image.fromarray(grey).resize((size, size), Image.Resampling.NEAREST)
    page.paste(image.convert('RGB'), (number * (size + gap), 0))
  return page
