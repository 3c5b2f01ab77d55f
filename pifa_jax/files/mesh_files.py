"""Meshes as files of other programs: .obj .ply .glb."""

import json
import os
import struct
from typing import Any

import numpy as np

from pifa_jax.files.formats import write_atomically


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
      on its photo, those of `projection.image_vertices`.
    triangles: (F, 3) 0-based vertex ids; .obj counts from 1.
    colors: (Q, 3) uint8 RGB of the vertices, or None.
  """
  lines = [f'v {x:.4f} {y:.4f} {z:.4f}' for x, y, z in np.asarray(vertices, np.float64)]
  if colors is not None:
    shares = np.asarray(colors) / 255.0
    lines = [
      f'{line} {red:.4f} {green:.4f} {blue:.4f}'
      for line, (red, green, blue) in zip(lines, shares, strict=True)
    ]
  lines += [f'f {a} {b} {c}' for a, b, c in np.asarray(triangles) + 1]
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


def write_glb(
  path: str | os.PathLike[str],
  vertices: np.ndarray,
  triangles: np.ndarray,
  colors: np.ndarray | None = None,
  *,
  normals: np.ndarray | None = None,
  metres_per_unit: float = 1.0,
  name: str = 'face',
  extras: dict[str, Any] | None = None,
) -> None:
  """Writes a mesh as binary glTF 2.0.

  The format's frame is right-handed, y up, z towards the viewer, metres: give the
  vertices of `photo_mesh.viewer_vertices`. They are stored in their own unit; the node
  scales them to metres, since viewers on phones show a mesh at its true size.

  Colours are shown as they are, without a light (KHR_materials_unlit): those of a photo
  have its light in them. Viewers that do not know the extension use the normals.

  Args:
    path: the file.
    vertices: (Q, 3) x right, y up, z towards the viewer.
    triangles: (F, 3) 0-based vertex ids, counter-clockwise seen from outside.
    colors: (Q, 3) uint8 sRGB of the vertices, or None.
    normals: (Q, 3) unit, outward, or None.
    metres_per_unit: the scale of the node.
    name: of mesh and node.
    extras: JSON values to keep with the mesh.

  Raises:
    ValueError: if an array has another length than the vertices, a coordinate is not
      finite, or the scale is not above 0.
  """
  points = np.ascontiguousarray(vertices, '<f4')
  if points.ndim != 2 or points.shape[1] != 3 or not len(points):
    raise ValueError(f'write_glb(): vertices have shape {points.shape}; wanted (Q, 3).')
  if not np.isfinite(points).all():
    raise ValueError('write_glb(): a vertex is not finite.')
  if not metres_per_unit > 0 or not np.isfinite(metres_per_unit):
    raise ValueError(f'write_glb(): metres_per_unit={metres_per_unit} is not above 0.')
  for what, table in (('colors', colors), ('normals', normals)):
    if table is not None and np.shape(table) != points.shape:
      raise ValueError(
        f'write_glb(): {what} have shape {np.shape(table)}; wanted {points.shape}.'
      )
  body = _GlbBody()
  attributes = {
    'POSITION': body.add(
      points,
      _FLOAT,
      'VEC3',
      target=_VERTICES,
      min=points.min(axis=0).tolist(),
      max=points.max(axis=0).tolist(),
    )
  }
  if normals is not None:
    attributes['NORMAL'] = body.add(
      np.ascontiguousarray(normals, '<f4'), _FLOAT, 'VEC3', target=_VERTICES
    )
  if colors is not None:
    # Four numbers: rows must begin at multiples of four bytes.
    linear = np.full((len(points), 4), 65535, '<u2')
    linear[:, :3] = np.round(65535 * _linear_from_srgb(np.asarray(colors) / 255.0))
    attributes['COLOR_0'] = body.add(
      linear, _USHORT, 'VEC4', target=_VERTICES, normalized=True
    )
  ids = body.add(
    np.ascontiguousarray(triangles, '<u4').ravel(), _UINT, 'SCALAR', target=_INDICES
  )
  content = {
    'asset': {'version': '2.0', 'generator': 'pifa_jax'},
    'scene': 0,
    'scenes': [{'nodes': [0]}],
    'nodes': [{'mesh': 0, 'name': name, 'scale': [float(metres_per_unit)] * 3}],
    'meshes': [
      {
        'name': name,
        'primitives': [{'attributes': attributes, 'indices': ids, 'material': 0}],
        **({} if extras is None else {'extras': extras}),
      }
    ],
    'materials': [
      {
        'pbrMetallicRoughness': {'metallicFactor': 0.0, 'roughnessFactor': 1.0},
        **({} if colors is None else {'extensions': {_UNLIT: {}}}),
      }
    ],
    **({} if colors is None else {'extensionsUsed': [_UNLIT]}),
    'accessors': body.accessors,
    'bufferViews': body.views,
    'buffers': [{'byteLength': len(body.data)}],
  }
  head = json.dumps(content, separators=(',', ':'), allow_nan=False).encode()
  head += b' ' * (-len(head) % 4)
  chunks = struct.pack('<I4s', len(head), b'JSON') + head
  chunks += struct.pack('<I4s', len(body.data), b'BIN\0') + body.data
  write_atomically(path, struct.pack('<4sII', b'glTF', 2, 12 + len(chunks)) + chunks)


# Codes of glTF 2.0: types of numbers, and what a part of the buffer is for.
_USHORT, _UINT, _FLOAT = 5123, 5125, 5126
_VERTICES, _INDICES = 34962, 34963
_UNLIT = 'KHR_materials_unlit'


class _GlbBody:
  """The binary chunk, and the JSON that says where what lies in it."""

  def __init__(self):
    self.data = b''
    self.views: list[dict[str, Any]] = []
    self.accessors: list[dict[str, Any]] = []

  def add(self, array, kind, shape, *, target, **more):
    """Appends an array; returns the number of its accessor."""
    data = array.tobytes()
    self.views.append(
      {
        'buffer': 0,
        'byteOffset': len(self.data),
        'byteLength': len(data),
        'target': target,
      }
    )
    self.accessors.append(
      {
        'bufferView': len(self.views) - 1,
        'componentType': kind,
        'count': len(array),
        'type': shape,
        **more,
      }
    )
    self.data += data + b'\0' * (-len(data) % 4)
    return len(self.accessors) - 1


def _linear_from_srgb(colors):
  """IEC 61966-2-1; the format's vertex colours are linear, a photo's are not."""
  return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
