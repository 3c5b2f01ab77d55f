"""The image of a face model: landmarks by number, first modes at +-3 sigma.

Used by `build_face_model --image`; a small NumPy z-buffer of its own, because it
needs no accelerator and no tuning.
"""

import os

import numpy as np
from PIL import Image, ImageDraw

from pifa_jax.face_models import subdivision
from pifa_jax.geometry import morphable_model
from pifa_jax.types import FaceParams, MorphableModel

_TILE = 150
_ZOOM_HEIGHT = 480
_PANEL = 550
_SIGMAS = 3.0
_NUM_MODES = 5
_YAWS = (0, 45, 90)
_SUPERSAMPLE = 2
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


def save(model: MorphableModel, path: str | os.PathLike[str]) -> None:
  """Writes the image of a face model as a palette .png.

  Args:
    model: the 3DMM, not subdivided, with the scheme 'ibug68'.
    path: the .png to write.
  """
  columns = 1 + 2 * _NUM_MODES
  width = max(columns * _TILE, len(_YAWS) * _PANEL)
  caption = 18
  height = _PANEL + caption + _ZOOM_HEIGHT + 2 * (len(_YAWS) * _TILE + caption)
  sheet = Image.new('RGB', (width, height), 'white')
  draw = ImageDraw.Draw(sheet)

  fine = subdivision.subdivide(model, levels=1)
  numbers = model.landmark_schemes['ibug68']
  for i, yaw in enumerate(_YAWS):
    panel = _numbered(
      fine,
      numbers,
      yaw,
      size=_PANEL,
      half_width=112.0,
      centre=(30 * np.sin(np.radians(yaw)), -8),
    )
    sheet.paste(panel, (i * _PANEL, 0))
  for i, (y, half_width) in enumerate(((17.0, 62.0), (-37.0, 31.0))):
    zoom = _numbered(
      fine, numbers, 0, size=width // 2, half_width=half_width, centre=(0, y)
    )
    cut = (zoom.height - _ZOOM_HEIGHT) // 2
    sheet.paste(
      zoom.crop((0, cut, zoom.width, cut + _ZOOM_HEIGHT)), (i * (width // 2), _PANEL)
    )
  draw.text(
    (4, _PANEL + _ZOOM_HEIGHT + 2),
    'mean shape with the 68 iBUG landmarks '
    'by number (1-based); yaw 0, 45, 90 degrees, eyes and mouth enlarged',
    fill=(0, 0, 0),
    font_size=12,
  )

  top = _PANEL + _ZOOM_HEIGHT + caption
  for kind in ('identity', 'expression'):
    draw.text(
      (4, top + 2),
      f'mean, then the first {_NUM_MODES} {kind} modes at '
      f'-{_SIGMAS:g} and +{_SIGMAS:g} standard deviations; yaw '
      f'{", ".join(map(str, _YAWS))} degrees',
      fill=(0, 0, 0),
      font_size=12,
    )
    top += caption
    for column in range(columns):
      coefficients = {
        'identity': np.zeros(model.num_identity, np.float32),
        'expression': np.zeros(model.num_expression, np.float32),
      }
      if column:
        mode, sign = (column - 1) // 2, (-1, 1)[(column - 1) % 2]
        stddev = getattr(model, f'{kind}_stddev')[mode]
        coefficients[kind][mode] = sign * _SIGMAS * stddev
      vertices = np.asarray(
        morphable_model.shape(
          fine, FaceParams(camera=np.zeros((2, 4), np.float32), **coefficients)
        )
      )
      for row, yaw in enumerate(_YAWS):
        image, _, _ = render(
          fine,
          vertices,
          yaw,
          size=_TILE,
          half_width=150.0,
          centre=(45 * np.sin(np.radians(yaw)), 5),
        )
        sheet.paste(Image.fromarray(image), (column * _TILE, top + row * _TILE))
    top += len(_YAWS) * _TILE
  sheet.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
    path, optimize=True
  )


def save_numbered(
  model: MorphableModel, ids: np.ndarray, path: str | os.PathLike[str]
) -> None:
  """Draws the mean shape at yaw 0, 45 and 90 with numbered vertices.

  Args:
    model: the 3DMM.
    ids: (N,) vertices, numbered from 1.
    path: of the PNG.
  """
  panels = [
    _numbered(
      model,
      ids,
      yaw,
      size=640,
      half_width=130.0,
      centre=(45 * np.sin(np.radians(yaw)), 5),
    )
    for yaw in _YAWS
  ]
  page = Image.new('RGB', (640 * len(panels), 640))
  for column, panel in enumerate(panels):
    page.paste(panel, (640 * column, 0))
  page.save(path)


def _numbered(model, ids, yaw, **view):
  """The mean shape with numbered points, as a Pillow image."""
  return with_numbers(*render(model, model.mean_shape, yaw, **view), ids)


def with_numbers(image, positions, hidden, ids, *, first=1):
  """Numbered points on an image of the mean shape, as a Pillow image.

  Args:
    image, positions, hidden: of `render`.
    ids: (N,) vertices.
    first: number of the first one.
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


def render(model, vertices, yaw, *, size, half_width, centre):
  """A z-buffered, Gouraud-shaded face, orthographic.

  Args:
    model: triangles and regions.
    vertices: (Q, 3) millimetres.
    yaw: degrees; positive turns the nose to the image's left.
    size: pixels.
    half_width: half of what the image shows, millimetres.
    centre: (x, y) model millimetres in the middle of the image.

  Returns:
    (image, positions, hidden): (size, size, 3) uint8, (Q, 2) pixels, (Q,) bool.
  """
  colours = np.tile(np.array(_SKIN), (len(vertices), 1))
  for name, colour in _COLOURS:
    if name in model.regions:
      colours[model.regions[name]] = colour
  angle = np.radians(yaw)
  rotation = np.array(
    [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
  )
  turned = vertices @ rotation.T
  normals = subdivision.vertex_normals(vertices, model.triangles) @ rotation.T
  light = np.array([0.25, 0.45, 0.86])
  shade = 0.3 + 0.7 * np.clip(normals @ light, 0, 1)
  grid = size * _SUPERSAMPLE
  scale = grid / (2 * half_width)
  u = (turned[:, 0] - centre[0]) * scale + grid / 2
  v = grid / 2 - (turned[:, 1] - centre[1]) * scale
  screen = np.stack([u, v, turned[:, 2]], axis=1)

  # Every triangle that faces us is sampled at points at most a pixel apart.
  corners = screen[model.triangles]
  edges = corners - np.roll(corners, 1, axis=1)
  facing = (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) < 0
  longest = np.sqrt((edges[..., :2] ** 2).sum(-1)).max(axis=1)
  steps = np.ceil(longest * 1.2).astype(int) + 1
  depth = np.full(grid * grid, -np.inf)
  image = np.ones((grid * grid, 3))
  values = colours * shade[:, None]
  for count in np.unique(steps[facing]):
    chosen = model.triangles[facing & (steps == count)]
    i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1), indexing='ij')
    i, j = i[i + j <= count], j[i + j <= count]
    weights = np.stack([i, j, count - i - j], axis=1) / count
    points = np.einsum('sc,tck->tsk', weights, screen[chosen]).reshape(-1, 3)
    painted = np.einsum('sc,tck->tsk', weights, values[chosen]).reshape(-1, 3)
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
  column = np.clip(np.floor(u).astype(int), 0, grid - 1)
  row = np.clip(np.floor(v).astype(int), 0, grid - 1)
  hidden = screen[:, 2] < depth[row * grid + column] - 4.0  # 4 mm: lids, lips.
  image = image.reshape(size, _SUPERSAMPLE, size, _SUPERSAMPLE, 3).mean(axis=(1, 3))
  return (
    (np.clip(image, 0, 1) * 255).astype(np.uint8),
    screen[:, :2] / _SUPERSAMPLE,
    hidden,
  )
