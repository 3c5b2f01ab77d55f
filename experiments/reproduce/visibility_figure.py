"""Fig. 5: four vertices in one pixel, and which of them fills it, on the mean face."""

import dataclasses

import numpy as np
from PIL import Image, ImageDraw

from experiments.lib import mesh_images
from experiments.reproduce import pages
from pifa_jax.geometry import boxes, image_maps, masks, projection, visualization
from pifa_jax.types import Array, MorphableModel

# Where a pixel like that of Fig. 5 is looked for: sides of V, and yaws, degrees, at
# which the nose is before the far cheek.
_SIZES, _YAWS = (114, 57), range(40, 75, 5)
_PANEL, _SUPERSAMPLE = 420, 2
_WINNER, _HIDDEN, _PRUNED = (20, 150, 60), (215, 140, 0), (120, 120, 120)
_ARROW, _PIXEL, _SURFACE = (215, 35, 35), (200, 225, 250), (175, 165, 160)


@dataclasses.dataclass(frozen=True)
class Case:
  """Four vertices of the mean face that are projected to one pixel.

  Attributes:
    yaw: of the face, degrees.
    image_size: side of V, pixels.
    cell: (row, column) of the pixel.
    vertices: (4,) ids, the smallest depth first.
    positions: (4, 2) pixels of V.
    depth: (4,) pixels; smaller is nearer.
    normals: (4, 3) of the mean face, outward: u right, v down, and z towards the
      viewer, whose sign is that of Fig. 5.
    winner: the id of the vertex that the visualization layer takes.
  """

  yaw: float
  image_size: int
  cell: tuple[int, int]
  vertices: np.ndarray
  positions: np.ndarray
  depth: np.ndarray
  normals: np.ndarray
  winner: int


def find_case(model: MorphableModel) -> Case:
  """Looks for a pixel like that of Fig. 5.

  Args:
    model: the 3DMM, with the 'ibug68' scheme.

  Returns:
    Of all pixels that hold four vertices, two with g > 0 and two with g = 0, the one
    whose vertices are best told apart: by the smallest distance in depth.

  Raises:
    ValueError: if there is no such pixel: the model has too few vertices.
  """
  found = [
    (gap, case)
    for size in _SIZES
    for yaw in _YAWS
    for gap, case in [_best_of_view(model, size, yaw)]
    if case is not None
  ]
  if not found:
    raise ValueError(
      f'No pixel of the face model holds four vertices as in Fig. 5: it has '
      f'{len(masks.rendered_vertices(model))} rendered vertices; use a finer one, such '
      'as --face_model=builtin-1.'
    )
  return max(found, key=lambda pair: pair[0])[1]


def _camera(model: MorphableModel, size: int, yaw: float) -> np.ndarray:
  """M of the mean face at some yaw, its landmarks in the middle of V, (2, 4)."""
  start = np.asarray(boxes.initial_params(model, size).camera, np.float64)
  rotation = projection.rotation_from_euler(*np.deg2rad((yaw, 0.0, 0.0)), xp=np)
  linear = start[:, :3] @ rotation
  points = np.asarray(model.mean_shape, np.float64)[
    np.asarray(model.landmark_schemes['ibug68'])
  ]
  places = points @ linear.T
  middle = (places.min(axis=0) + places.max(axis=0)) / 2
  return np.concatenate([linear, ((size - 1) / 2 - middle)[:, None]], axis=1)


def _best_of_view(model, size, yaw) -> tuple[float, Case | None]:
  camera = _camera(model, size, yaw)
  view = projection.image_vertices(camera, np.asarray(model.mean_shape))
  positions, depth = view[:, :2], view[:, 2]
  front = np.asarray(projection.frontability(camera, np.asarray(model.mean_normals)))
  rendered = np.zeros(model.num_vertices, bool)
  rendered[np.asarray(masks.rendered_vertices(model))] = True
  cells = lambda valid: np.asarray(
    visualization.cells(positions.astype(np.float32), valid, size)
  )
  cell = cells(rendered)
  winners = np.asarray(
    visualization.winners(
      cells(rendered & np.asarray(projection.is_visible(front))),
      depth.astype(np.float32),
      size,
    )
  )
  number, count = np.unique(cell, return_counts=True)
  best: tuple[float, Case | None] = 0.0, None
  for place in number[(count == 4) & (number < size * size)]:
    ids = np.flatnonzero(cell == place)
    ids = ids[np.argsort(depth[ids])]
    gap = float(np.diff(depth[ids]).min()) / size
    if (front[ids] > 0).sum() == 2 and gap > best[0]:
      best = (
        gap,
        Case(
          yaw=float(yaw),
          image_size=size,
          cell=(int(place) // size, int(place) % size),
          vertices=ids,
          positions=positions[ids],
          depth=depth[ids],
          normals=_viewer_normals(camera, np.asarray(model.mean_normals)[ids]),
          winner=int(winners[place]),
        ),
      )
  return best


def _viewer_normals(camera: np.ndarray, normals: Array) -> np.ndarray:
  axes = projection.axes(camera, xp=np)
  axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
  return np.asarray(normals, np.float64) @ (axes * [[1], [1], [-1]]).T


def draw_visibility(model: MorphableModel) -> Image.Image:
  """One pixel of V, the four vertices in it, and the one that fills it (Fig. 5).

  Left the face and the pixel; in the middle the surface cut along the pixel's row, seen
  from above, with the surface normals; right the pixel from the front.

  Args:
    model: the 3DMM, with triangles.

  Returns:
    The picture, RGB.

  Raises:
    ValueError: as `find_case`.
  """
  case = find_case(model)
  picture = pages.page(
    [[_face_panel(model, case), _cut_panel(model, case), _pixel_panel(case)]],
    [
      [
        f'yaw {case.yaw:.0f} degrees, V of {case.image_size} x {case.image_size}',
        'the cut along the line, seen from above',
        'the pixel, seen from the front',
      ]
    ],
  )
  named: dict[str, list[str]] = {'fills': [], 'hidden': [], 'pruned': []}
  for number, vertex in enumerate(case.vertices, 1):
    named[_role(case, number - 1, vertex)].append(str(number))
  lines = (
    ('fills', _WINNER, 'fills the pixel: the smallest depth of those with z > 0'),
    ('hidden', _HIDDEN, 'not used: its normal has z > 0, but its depth is larger'),
    ('pruned', _PRUNED, 'pruned: their normals have z < 0, so g = 0'),
  )
  whole = Image.new('RGB', (picture.width, picture.height + 24 * len(lines)), 'white')
  whole.paste(picture, (0, 0))
  pen = ImageDraw.Draw(whole)
  for row, (role, color, text) in enumerate(lines):
    y = picture.height + 24 * row
    pages.write(pen, (24, y), f'{", ".join(named[role])}  {text}', fill=color)
  return whole


def _role(case: Case, row: int, vertex: int) -> str:
  if vertex == case.winner:
    return 'fills'
  return 'hidden' if case.normals[row, 2] > 0 else 'pruned'


def _color(case: Case, row: int) -> tuple[int, int, int]:
  role = _role(case, row, case.vertices[row])
  return {'fills': _WINNER, 'hidden': _HIDDEN, 'pruned': _PRUNED}[role]


def _face_panel(model: MorphableModel, case: Case) -> Image.Image:
  """The face in V's frame, with the row of the cut and the pixel."""
  camera = _camera(model, case.image_size, case.yaw)
  scale = float(np.linalg.norm(camera[0, :3]))
  middle = ((case.image_size - 1) / 2 - camera[:, 3]) / scale
  image, _, _ = mesh_images.render(
    model,
    np.asarray(model.mean_shape),
    case.yaw,
    size=_PANEL,
    half_width=case.image_size / 2 / scale,
    centre=(middle[0], -middle[1]),
  )
  panel = Image.fromarray(image)
  pen = ImageDraw.Draw(panel)
  pixel = _PANEL / case.image_size
  row, column = case.cell
  y = (row + 0.5) * pixel
  pen.line((0, y, _PANEL, y), fill=_ARROW)
  pen.rectangle(
    (
      column * pixel - 2,
      row * pixel - 2,
      (column + 1) * pixel + 1,
      (row + 1) * pixel + 1,
    ),
    fill=_PIXEL,
    outline=pages.INK,
  )
  pen.rectangle((0, 0, _PANEL - 1, _PANEL - 1), outline=_PRUNED)
  return panel


def _cut_panel(model: MorphableModel, case: Case) -> Image.Image:
  """Depth to the right, u downwards: the pixel's line of sight, surface, vertices."""
  side = _PANEL * _SUPERSAMPLE
  low, high = case.depth[0], case.depth[-1]
  # The image plane stands left of the nearest surface, with room for its label.
  near = low - 0.55 * (high - low)
  scale = side / (1.25 * (high - near))
  row, column = case.cell
  place = lambda u, depth: (
    np.asarray(depth - near, float) * scale + 0.08 * side,
    (np.asarray(u, float) - column) * scale + side / 2,
  )
  image = Image.new('RGB', (side, side), 'white')
  pen = ImageDraw.Draw(image)
  plane = 0.08 * side
  band = (side / 2 - scale / 2, side / 2 + scale / 2)
  pen.rectangle((plane, band[0], side, band[1]), fill=_PIXEL)
  camera = _camera(model, case.image_size, case.yaw)
  view = projection.image_vertices(camera, np.asarray(model.mean_shape))
  # Without what lies behind lips and lids, which the layer does not see.
  triangles = image_maps.part_triangles(
    np.asarray(model.triangles), np.asarray(masks.rendered_vertices(model))
  )
  for start, end in _cut(view, triangles, float(row)):
    pen.line((*place(*start), *place(*end)), fill=_SURFACE, width=2 * _SUPERSAMPLE)
  pen.line((plane, 0, plane, side), fill=pages.INK, width=2 * _SUPERSAMPLE)
  pen.line((plane, *band[:1], plane, band[1]), fill=_WINNER, width=6 * _SUPERSAMPLE)
  font = 14 * _SUPERSAMPLE
  pages.write(pen, (plane + 8, 8), 'image plane', size=font)
  pages.write(pen, (0.6 * side, 8), 'depth', size=font)
  level = 8 + 0.6 * font
  _arrow(pen, (0.6 * side + 3.4 * font, level), (1, 0), side / 8, pages.INK)
  for number in range(4):
    x, y = place(case.positions[number, 0], case.depth[number])
    _arrow(pen, (x, y), (-case.normals[number, 2], case.normals[number, 0]), side / 8)
    _dot(pen, (x, y), _color(case, number), 5 * _SUPERSAMPLE)
    # Behind the vertex, where no arrow of a normal that faces the camera is.
    behind = 1 if case.normals[number, 2] > 0 else -1
    pages.write(
      pen,
      (x + 11 * _SUPERSAMPLE * behind, y + 16 * _SUPERSAMPLE),
      str(number + 1),
      size=font,
      anchor='mm',
      fill=_color(case, number),
    )
  return _framed(image)


def _pixel_panel(case: Case) -> Image.Image:
  """The square of the pixel, with the four places in it."""
  side = _PANEL * _SUPERSAMPLE
  image = Image.new('RGB', (side, side), 'white')
  pen = ImageDraw.Draw(image)
  edge, length = 0.12 * side, 0.76 * side
  pen.rectangle(
    (edge, edge, edge + length, edge + length), fill=_PIXEL, outline=_PRUNED, width=2
  )
  row, column = case.cell
  for number, (u, v) in enumerate(case.positions):
    x = edge + (u - column + 0.5) * length
    y = edge + (v - row + 0.5) * length
    _dot(pen, (x, y), _color(case, number), 6 * _SUPERSAMPLE)
    pages.write(
      pen,
      (x + 15 * _SUPERSAMPLE, y),
      str(number + 1),
      size=16 * _SUPERSAMPLE,
      anchor='mm',
      fill=_color(case, number),
    )
  return _framed(image)


def _cut(view: np.ndarray, triangles: np.ndarray, row: float) -> np.ndarray:
  """The lines in which the mesh meets the plane v = row, (n, 2, 2): u and depth."""
  # A vertex exactly in the plane counts as below it: every triangle is cut twice or not
  # at all.
  below = view[triangles, 1] <= row
  cut = triangles[below.any(axis=1) & ~below.all(axis=1)]
  lines = []
  for corners in view[cut]:
    ends = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
      if (a[1] <= row) != (b[1] <= row):
        share = (row - a[1]) / (b[1] - a[1])
        ends.append((a + share * (b - a))[[0, 2]])
    lines.append(ends)
  return np.array(lines).reshape(-1, 2, 2)


def _arrow(pen, start, direction, length, color=_ARROW):
  direction = np.asarray(direction, np.float64)
  end = np.asarray(start) + length * direction
  pen.line((*start, *end), fill=color, width=2 * _SUPERSAMPLE)
  along = direction / max(float(np.linalg.norm(direction)), 1e-9)
  across = np.array([-along[1], along[0]])
  head = 7 * _SUPERSAMPLE
  pen.polygon(
    [
      tuple(end + along * head / 2),
      tuple(end - along * head + across * head * 0.6),
      tuple(end - along * head - across * head * 0.6),
    ],
    fill=color,
  )


def _dot(pen, place, color, radius):
  x, y = place
  pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def _framed(image: Image.Image) -> Image.Image:
  image = image.resize((_PANEL, _PANEL), Image.Resampling.LANCZOS)
  ImageDraw.Draw(image).rectangle((0, 0, _PANEL - 1, _PANEL - 1), outline=_PRUNED)
  return image
