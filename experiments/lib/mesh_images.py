"""Images of a face model's mesh: shaded, and with numbered vertices.

A small z-buffer in NumPy: these images are rare, and it needs no accelerator and no
tuning.
"""

import os

import numpy as np
from PIL import Image, ImageDraw

from pifa_jax.face_models import subdivision
from pifa_jax.results import photo_maps
from pifa_jax.types import MorphableModel

YAWS = (0, 45, 90)  # degrees, of the three panels of a numbered mesh
_SUPERSAMPLE = 2
_BACKGROUND = (1.0, 1.0, 1.0)
_LIGHT = np.array([0.25, 0.45, 0.86])
# A vertex is hidden if another surface is that much nearer, millimetres: lids and lips
# lie close upon each other.
_HIDDEN_DEPTH = 4.0
# Colours of the regions, painted in this order over skin.
_COLOURS = (
  ('ears', (0.90, 0.74, 0.62)),
  ('neck', (0.80, 0.68, 0.60)),
  ('scalp', (0.45, 0.42, 0.40)),
  ('brows', (0.42, 0.30, 0.24)),
  ('lips', (0.80, 0.42, 0.40)),
  ('mouth_inside', (0.25, 0.08, 0.08)),
  ('eye_sockets', (0.45, 0.25, 0.22)),
  ('nostrils', (0.35, 0.2, 0.18)),
  ('eye_white', (0.97, 0.97, 0.97)),
  ('iris', (0.30, 0.42, 0.55)),
  ('pupil_left', (0.05, 0.05, 0.05)),
  ('pupil_right', (0.05, 0.05, 0.05)),
)
_SKIN = (0.88, 0.74, 0.65)


def save_numbered(
  model: MorphableModel, ids: np.ndarray, path: str | os.PathLike[str]
) -> None:
  """Writes the mean shape with numbered vertices, at yaw 0, 45 and 90 degrees.

  Args:
    model: the 3DMM, in millimetres.
    ids: (N,) vertices, numbered from 1.
    path: of the PNG.
  """
  size = 640
  page = Image.new('RGB', (size * len(YAWS), size))
  for column, yaw in enumerate(YAWS):
    centre = (45 * np.sin(np.radians(yaw)), 5)
    panel = numbered(model, ids, yaw, size=size, half_width=130.0, centre=centre)
    page.paste(panel, (size * column, 0))
  photo_maps.write_image(path, page)


def numbered(
  model: MorphableModel,
  ids: np.ndarray,
  yaw: float,
  *,
  size: int,
  half_width: float,
  centre: tuple[float, float],
) -> Image.Image:
  """Shows the mean shape with numbered vertices; hidden ones are left out.

  Args:
    model: the 3DMM, in millimetres.
    ids: (N,) vertices, numbered from 1.
    yaw: degrees; positive turns the nose to the image's left.
    size: side of the image, pixels.
    half_width: half of what the image shows, millimetres.
    centre: (x, y) of the middle of the image after turning, millimetres.

  Returns:
    (size, size) RGB.
  """
  image, positions, hidden = render(
    model,
    np.asarray(model.mean_shape),
    yaw,
    size=size,
    half_width=half_width,
    centre=centre,
  )
  return with_numbers(image, positions, hidden, ids)


def with_numbers(
  image: np.ndarray,
  positions: np.ndarray,
  hidden: np.ndarray,
  ids: np.ndarray,
  *,
  first: int = 1,
) -> Image.Image:
  """Puts numbered points on an image of the mesh; hidden ones are left out.

  Args:
    image: (S, S, 3) uint8 of `render`.
    positions: (Q, 2) pixels, of `render`.
    hidden: (Q,) bool, of `render`.
    ids: (N,) vertices.
    first: number of the first one.

  Returns:
    The image with its points.
  """
  panel = Image.fromarray(image)
  pen = ImageDraw.Draw(panel)
  dot = (0, 0, 220) if panel.mode == 'RGB' else 0
  for number, vertex in enumerate(ids, first):
    if not hidden[vertex]:
      x, y = positions[vertex]
      pen.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=dot)
      pen.text((x + 2, y - 11), str(number), fill='black', font_size=11)
  return panel


def render(
  model: MorphableModel,
  vertices: np.ndarray,
  yaw: float,
  *,
  size: int,
  half_width: float,
  centre: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Renders a face with a z-buffer and Gouraud shading, orthographic.

  Args:
    model: triangles and regions.
    vertices: (Q, 3) millimetres.
    yaw: degrees; positive turns the nose to the image's left.
    size: side of the image, pixels.
    half_width: half of what the image shows, millimetres.
    centre: (x, y) of the middle of the image after turning, millimetres.

  Returns:
    (image, positions, hidden): (size, size, 3) uint8, (Q, 2) pixels, (Q,) bool.
  """
  angle = np.radians(yaw)
  rotation = np.array(
    [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
  )
  grid = size * _SUPERSAMPLE
  rotated = vertices @ rotation.T
  scale = grid / (2 * half_width)
  u = (rotated[:, 0] - centre[0]) * scale + grid / 2
  v = grid / 2 - (rotated[:, 1] - centre[1]) * scale
  screen = np.stack([u, v, rotated[:, 2]], axis=1)
  colours = _shaded_colours(model, vertices, rotation)
  image, depth = _rasterize(model.triangles, screen, colours, grid)
  column = np.clip(np.floor(u).astype(int), 0, grid - 1)
  row = np.clip(np.floor(v).astype(int), 0, grid - 1)
  hidden = screen[:, 2] < depth[row * grid + column] - _HIDDEN_DEPTH
  image = image.reshape(size, _SUPERSAMPLE, size, _SUPERSAMPLE, 3).mean(axis=(1, 3))
  return (
    (np.clip(image, 0, 1) * 255).astype(np.uint8),
    screen[:, :2] / _SUPERSAMPLE,
    hidden,
  )


def _shaded_colours(model, vertices, rotation):
  """(Q, 3) colours of the regions in [0, 1], shaded by one light."""
  colours = np.tile(np.array(_SKIN), (len(vertices), 1))
  for name, colour in _COLOURS:
    if name in model.regions:
      colours[model.regions[name]] = colour
  normals = subdivision.vertex_normals(vertices, model.triangles) @ rotation.T
  shade = 0.3 + 0.7 * np.clip(normals @ _LIGHT, 0, 1)
  return colours * shade[:, None]


def _rasterize(triangles, screen, colours, grid):
  """Colours (grid^2, 3) and depth (grid^2,) of the nearest surface; -inf = none.

  Every triangle that faces the viewer is sampled at points at most a pixel apart.
  """
  corners = screen[triangles]
  edges = corners - np.roll(corners, 1, axis=1)
  facing = (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) < 0
  longest = np.sqrt((edges[..., :2] ** 2).sum(-1)).max(axis=1)
  steps = np.ceil(longest * 1.2).astype(int) + 1
  depth = np.full(grid * grid, -np.inf)
  image = np.tile(_BACKGROUND, (grid * grid, 1))
  for count in np.unique(steps[facing]):
    chosen = triangles[facing & (steps == count)]
    i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1), indexing='ij')
    i, j = i[i + j <= count], j[i + j <= count]
    weights = np.stack([i, j, count - i - j], axis=1) / count
    points = np.einsum('sc,tck->tsk', weights, screen[chosen]).reshape(-1, 3)
    painted = np.einsum('sc,tck->tsk', weights, colours[chosen]).reshape(-1, 3)
    x, y = np.floor(points[:, :2]).astype(int).T
    inside = (x >= 0) & (x < grid) & (y >= 0) & (y < grid)
    cell, z, painted = (y * grid + x)[inside], points[inside, 2], painted[inside]
    if not cell.size:
      continue
    order = np.lexsort((z, cell))
    last = np.append(cell[order][1:] != cell[order][:-1], True)
    cell, z, painted = (a[order][last] for a in (cell, z, painted))
    nearer = z > depth[cell]
    depth[cell[nearer]] = z[nearer]
    image[cell[nearer]] = painted[nearer]
  return image, depth
