"""Files of landmarks, fitted faces and meshes: .pts .npy .json .mat .npz .obj .ply.

In memory points are 0-based pixels (an integer is a pixel's centre) and boxes outer
edges; every file keeps its own field's habits, stated at its function.
"""

import dataclasses
import io
import json
import math
import os
import pathlib
from typing import Any
import zipfile

import numpy as np

from pifa_jax.files import matlab_files

_MAX_POINTS = 100_000
_MAX_BYTES = 64 << 20  # of a file of landmarks
LANDMARK_SUFFIXES = ('.pts', '.json', '.npy', '.mat')


@dataclasses.dataclass(frozen=True)
class LandmarkFile:
  """What a file says of faces.

  Attributes:
    points: (n, N, 2) float32 0-based pixels of n faces; NaN where not labelled.
    visible: (n, N) bool: labelled, and not marked as hidden.
    box: (4,) float32 outer edges x, y, width, height, or None.
  """

  points: np.ndarray
  visible: np.ndarray
  box: np.ndarray | None = None


def read_landmarks(path: str | os.PathLike[str]) -> LandmarkFile:
  """Reads a file of landmarks of any known kind, chosen by its suffix.

  - .pts: iBUG's text, 1-based; one face, all visible.
  - .json: one object. COCO's way: "keypoints" [x, y, v, ...], v = 0 not labelled,
    1 labelled but hidden, 2 visible, 0-based, and "bbox" [x, y, w, h]. Or
    "landmarks" [[x, y], ...] with "visible" [...] and "box" [x, y, w, h].
  - .npy: (N, 2) or (n, N, 2), 0-based; not visible where not finite.
  - .mat: "pt3d_68" (3, 68), else "pt2d" (2, N), of 300W-LP and AFLW2000-3D, or
    "landmarks" (N, 2) or (n, N, 2); 1-based; -1 or NaN = not visible.

  Args:
    path: the file.

  Returns:
    Its faces; one for all but .npy and "landmarks" of .mat.

  Raises:
    FileNotFoundError: if it does not exist.
    ValueError: if it cannot be read, with the reason.
  """
  path = pathlib.Path(path)
  suffix = path.suffix.lower()
  if suffix == '.pts':
    return _one_face(read_pts(path))
  if suffix == '.json':
    return _read_json(path)
  if suffix == '.npy':
    return _faces(_read_npy(path), path)
  if suffix == '.mat':
    return _read_mat(path)
  raise ValueError(
    f'{path.name} is no file of landmarks; they end in {", ".join(LANDMARK_SUFFIXES)}.'
  )


def _bytes(path):
  with open(path, 'rb') as file:
    data = file.read(_MAX_BYTES + 1)
  if len(data) > _MAX_BYTES:
    raise ValueError(
      f'{path.name} is larger than {_MAX_BYTES >> 20} MiB; no file of landmarks is.'
    )
  return data


def _one_face(points, visible=None, box=None):
  if visible is None:
    visible = np.isfinite(points).all(axis=-1)
  return LandmarkFile(points[None].astype(np.float32), visible[None], box)


def _faces(points, path):
  if points.ndim == 2:
    points = points[None]
  if points.ndim != 3 or points.shape[2] != 2 or not points.shape[1]:
    raise ValueError(
      f'{path.name} has shape {points.shape}; wanted (N, 2), or (n, N, 2) for n faces.'
    )
  visible = np.isfinite(points).all(axis=-1)
  known = visible[..., None]
  finite = _finite(np.where(known, points, 0.0), path)
  return LandmarkFile(np.where(known, finite, np.float32(np.nan)), visible)


def read_pts(path: str | os.PathLike[str]) -> np.ndarray:
  """Points of an iBUG .pts file, 1-based there, 0-based here.

  Args:
    path: a text file "version: 1 / n_points: 68 / { / x y / ... / }".

  Returns:
    (N, 2) float32 pixels.

  Raises:
    ValueError: if it is not such a file, or a number is not finite.
  """
  path = pathlib.Path(path)
  try:
    text = _bytes(path).decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise ValueError(f'{path.name} is not a text file') from error
  head, brace, rest = text.partition('{')
  body, end, _ = rest.partition('}')
  if not brace or not end:
    raise ValueError(
      f'{path.name} has no {{ points }}: it is not a .pts file, or only a part of one'
    )
  rows = [line.split() for line in body.splitlines() if line.strip()]
  if len(rows) > _MAX_POINTS:
    raise ValueError(f'{path.name} has {len(rows)} points')
  try:
    points = np.array([[float(x), float(y)] for x, y in rows], np.float64)
  except ValueError as error:
    raise ValueError(
      f'{path.name} has a line that is not "x y" with decimal points'
    ) from error
  wanted = [
    line.split(':')[1].strip()
    for line in head.splitlines()
    if line.strip().startswith('n_points:')
  ]
  if wanted and wanted[0] != str(len(points)):
    raise ValueError(
      f'{path.name} says n_points: {wanted[0][:20]} but has {len(points)}'
    )
  return _finite(points.reshape(-1, 2) - 1.0, path)


def _finite(points, path):
  """float32 points that are numbers of pixels."""
  if not np.all(np.abs(points) < 1e7):  # False for NaN as well
    raise ValueError(f'{path.name} has a point that is not finite')
  return points.astype(np.float32)


def _read_npy(path):
  data = _bytes(path)
  try:
    # The header is checked against the bytes that are there before NumPy asks for
    # memory.
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    reader = (
      np.lib.format.read_array_header_1_0
      if version == (1, 0)
      else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = reader(stream)
    if dtype.kind not in 'fiu':
      raise ValueError(f'it holds {dtype}, not numbers')
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
      raise ValueError('it is cut off')
    return np.load(io.BytesIO(data), allow_pickle=False).astype(np.float64)
  # A mutated header is parsed as Python text, with whatever that may raise.
  except Exception as error:  # pylint: disable=broad-except
    raise ValueError(f'{path.name} is not a .npy file of numbers ({error}).') from error


def _read_mat(path):
  content = matlab_files.read_mat(path, ('pt3d_68', 'pt2d', 'landmarks'))
  if not content:
    raise ValueError(f'{path.name} has none of pt3d_68, pt2d and landmarks.')
  name = next(n for n in ('pt3d_68', 'pt2d', 'landmarks') if n in content)
  value = content[name]
  if not isinstance(value, np.ndarray) or value.dtype.kind not in 'fiu':
    raise ValueError(f'{path.name}: {name} is not a table of numbers.')
  points = value.astype(np.float64)
  if name != 'landmarks':
    if points.ndim != 2 or points.shape[0] not in (2, 3) or not points.shape[1]:
      raise ValueError(
        f'{path.name}: {name} has shape {points.shape}; wanted (2, N) or (3, N).'
      )
    points = points[:2].T
  hidden = ~np.isfinite(points).all(axis=-1) | (points == -1).all(axis=-1)
  return _faces(np.where(hidden[..., None], np.nan, points - 1.0), path)


def parse_json(data: bytes, name: str) -> dict[str, Any]:
  """A JSON object, from bytes of any origin.

  Args:
    data: UTF-8 text.
    name: of the file, for messages.

  Returns:
    The object.

  Raises:
    ValueError: if it is not one, or holds NaN or an infinite number.
  """

  def refuse(text):
    raise ValueError(f'it holds {text}')

  try:
    value = json.loads(data.decode('utf-8-sig'), parse_constant=refuse)
  except (ValueError, RecursionError) as error:
    text = str(error).split('\n')[0][:120]
    raise ValueError(
      f'{name} is not JSON that can be read ({text}); it should hold one '
      'object, {"name": value, ...}: write it again.'
    ) from error
  if not isinstance(value, dict):
    raise ValueError(
      f'{name} is not a JSON object but a {type(value).__name__}; it '
      'should hold {"name": value, ...}.'
    )
  return value


def _table(value, width, what, name):
  """A JSON list of numbers as rows of `width`."""
  try:
    table = np.asarray(value, np.float64)
  except (TypeError, ValueError, OverflowError, RecursionError) as error:
    raise ValueError(f'{name}: {what} is not a list of numbers.') from error
  if (
    table.ndim not in (1, 2)
    or not table.size
    or table.size % width
    or (table.ndim == 2 and table.shape[1] != width)
  ):
    raise ValueError(
      f'{name}: {what} has shape {table.shape}; wanted rows of {width} numbers.'
    )
  return table.reshape(-1, width)


def _read_json(path):
  content = parse_json(_bytes(path), path.name)
  box = content.get('bbox', content.get('box'))
  if box is not None:
    box = _table(box, 4, 'the box', path.name)[0]
    if not np.all(np.abs(box) < 1e7) or min(box[2:]) <= 0:
      raise ValueError(
        f'{path.name}: the box {box.tolist()} is not x, y, width, height.'
      )
    box = box.astype(np.float32)
  if 'keypoints' in content:
    rows = _table(content['keypoints'], 3, 'keypoints', path.name)
    points, flag = rows[:, :2], rows[:, 2]
    if not np.isin(flag, (0, 1, 2)).all():
      raise ValueError(f'{path.name}: a v of keypoints is not 0, 1 or 2.')
    points = np.where(flag[:, None] == 0, np.nan, points)
    visible = flag == 2
  elif 'landmarks' in content:
    points = _table(content['landmarks'], 2, 'landmarks', path.name)
    visible = np.ones(len(points), bool)
    if content.get('visible') is not None:
      visible = _table(content['visible'], 1, 'visible', path.name)[:, 0] > 0
      if len(visible) != len(points):
        raise ValueError(
          f'{path.name} has {len(points)} landmarks but '
          f'{len(visible)} entries of visible.'
        )
  else:
    raise ValueError(f'{path.name} has neither "keypoints" nor "landmarks".')
  # JSON has no NaN (`parse_json`), but 1e999 is infinite, hidden or not.
  _finite(np.where(np.isnan(points), 0.0, points), path)
  return _one_face(points, visible, box)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
  """Writes a file whole or not at all."""
  path = pathlib.Path(path)
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_bytes(data)
  os.replace(temporary, path)


def write_pts(path: str | os.PathLike[str], points: np.ndarray) -> None:
  """Writes (N, 2) 0-based points as an iBUG .pts file, which is 1-based."""
  lines = [f'{x + 1:.3f} {y + 1:.3f}' for x, y in np.asarray(points, np.float64)]
  text = '\n'.join(['version: 1', f'n_points: {len(lines)}', '{', *lines, '}', ''])
  write_atomically(path, text.encode())


def write_json(
  path: str | os.PathLike[str],
  points: np.ndarray,
  visible: np.ndarray,
  box: np.ndarray | None = None,
  **more,
) -> None:
  """Writes one face in COCO's way: see `read_landmarks`.

  Args:
    path: the file.
    points: (N, 2) 0-based; NaN = not labelled.
    visible: (N,) bool.
    box: (4,) outer edges.
    **more: JSON values to keep beside them.
  """
  flag = np.where(np.isfinite(points).all(axis=-1), np.where(visible, 2, 1), 0)
  rows = [
    [round(float(x), 3), round(float(y), 3), int(v)] if v else [0, 0, 0]
    for (x, y), v in zip(points, flag)
  ]
  content = {'keypoints': sum(rows, []), 'num_keypoints': int((flag > 0).sum()), **more}
  if box is not None:
    content['bbox'] = [round(float(x), 3) for x in box]
  write_atomically(path, (json.dumps(content) + '\n').encode())


def write_npz(path: str | os.PathLike[str], **arrays) -> None:
  """Writes plain arrays; the same bytes for the same arrays."""
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, 'w') as archive:
    for name, value in arrays.items():
      member = io.BytesIO()
      np.save(member, np.asarray(value), allow_pickle=False)
      # A fixed date: the time of writing is not part of a result.
      archive.writestr(
        zipfile.ZipInfo(f'{name}.npy', (1980, 1, 1, 0, 0, 0)), member.getvalue()
      )
  write_atomically(path, stream.getvalue())


def write_obj(
  path: str | os.PathLike[str],
  vertices: np.ndarray,
  triangles: np.ndarray,
  colors: np.ndarray | None = None,
) -> None:
  """Writes a mesh as Wavefront .obj.

  Colours follow the coordinates of a vertex, as numbers from 0 to 1: no part of the
  original format, but MeshLab, Blender and others read and write it.

  Args:
    path: the file.
    vertices: (Q, 3) in any frame and unit, written as they are; for a mesh that lies
      on its photo, those of `image_vertices`.
    triangles: (F, 3) 0-based vertex ids; .obj counts from 1.
    colors: (Q, 3) uint8 RGB of the vertices, or None.
  """
  lines = ['v %.4f %.4f %.4f' % tuple(v) for v in np.asarray(vertices, np.float64)]
  if colors is not None:
    shares = np.asarray(colors) / 255.0
    lines = [
      f'{line} %.4f %.4f %.4f' % tuple(c) for line, c in zip(lines, shares, strict=True)
    ]
  lines += ['f %d %d %d' % tuple(t) for t in np.asarray(triangles) + 1]
  write_atomically(path, ('\n'.join(lines) + '\n').encode())


def write_ply(
  path: str | os.PathLike[str],
  vertices: np.ndarray,
  triangles: np.ndarray,
  colors: np.ndarray | None = None,
) -> None:
  """Writes a mesh as binary little-endian .ply, float32.

  Args:
    path: the file.
    vertices: (Q, 3) as of `write_obj`.
    triangles: (F, 3) 0-based vertex ids, as .ply has them.
    colors: (Q, 3) uint8 RGB of the vertices, or None.
  """
  triangles = np.asarray(triangles)
  properties = [(axis, '<f4') for axis in 'xyz']
  if colors is not None:
    properties += [(name, 'u1') for name in ('red', 'green', 'blue')]
  rows = np.empty(len(vertices), properties)
  columns = [*np.asarray(vertices).T, *([] if colors is None else np.asarray(colors).T)]
  for (name, _), column in zip(properties, columns, strict=True):
    rows[name] = column
  kinds = {'<f4': 'float', 'u1': 'uchar'}
  head = (
    'ply\nformat binary_little_endian 1.0\n'
    f'element vertex {len(rows)}\n'
    + ''.join(f'property {kinds[kind]} {name}\n' for name, kind in properties)
    + f'element face {len(triangles)}\n'
    'property list uchar int vertex_indices\nend_header\n'
  )
  faces = np.empty(len(triangles), [('n', 'u1'), ('ids', '<i4', 3)])
  faces['n'], faces['ids'] = 3, triangles
  write_atomically(path, head.encode() + rows.tobytes() + faces.tobytes())


def image_vertices(camera: np.ndarray, vertices: np.ndarray) -> np.ndarray:
  """A mesh in the coordinates of its photo.

  x and y are Eq. (3): 0-based pixels, y down; z is the depth along the line of
  sight in the same unit, growing away from the viewer. So x, y, z is right-handed
  and triangles keep their sense as seen from outside.

  Args:
    camera: (2, 4) M in pixels of the photo.
    vertices: (Q, 3) S_p.

  Returns:
    (Q, 3) pixels.
  """
  camera = np.asarray(camera, np.float64)
  m1, m2 = camera[0, :3], camera[1, :3]
  # |m1| |m2| -> the scale's square for a scaled rotation: pixels a unit.
  sight = np.cross(m1, m2) / max(
    np.sqrt(np.linalg.norm(m1) * np.linalg.norm(m2)), 1e-12
  )
  linear = np.stack([m1, m2, sight])
  return np.asarray(vertices, np.float64) @ linear.T + [*camera[:, 3], 0.0]
