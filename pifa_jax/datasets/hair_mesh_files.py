"""Reads hair of MakeHuman: .mhclo files and the .obj files that they name.

A .mhclo binds a mesh to the base mesh hm08: every vertex lies on a triangle of it, plus
an offset in units of the size of the head. Such hair, under CC0, is in the repository
github.com/makehumancommunity/makehuman-assets, in the folder base/hair at the revision
8cf9645b975a98eea056b140df11a1d278da0d10. No textures are read.
"""

import hashlib
import itertools
import pathlib
from typing import NamedTuple

import numpy as np

_BASE = 'hm08'
_AXES = 'xyz'
_ENDS = ('weights', 'delete_verts')  # sections that follow the bound vertices
_LASHES = (14742, 14991)  # ids of the helper of eyelashes, which are no hair
_MOST = 200_000  # lines; the largest of MakeHuman's hair has 16,000


class HairFile(NamedTuple):
  """One mesh and how it is bound to hm08.

  Attributes:
    name: of the file, without .mhclo.
    ids: (E, 3) int32 vertices of hm08.
    weights: (E, 3) of these; a vertex is their weighted sum plus the offset.
    offsets: (E, 3) x, y, z in the unit of the sizes below.
    size_ids: (3, 2) int32: the vertices of hm08 whose distance along x, y and z ...
    sizes: (3,) ... is this where offsets are as given.
    triangles: (T, 3) int32 vertex ids.
    uv: (T, 3, 2) texture coordinates of their corners.
  """

  name: str
  ids: np.ndarray
  weights: np.ndarray
  offsets: np.ndarray
  size_ids: np.ndarray
  sizes: np.ndarray
  triangles: np.ndarray
  uv: np.ndarray


def list_hair(folder: str | pathlib.Path) -> list[pathlib.Path]:
  """The .mhclo files in a folder and in the folders inside.

  Args:
    folder: of hair.

  Returns:
    Paths, sorted.

  Raises:
    FileNotFoundError: if there is no such folder, or no .mhclo in it.
  """
  root = pathlib.Path(folder)
  if not root.is_dir():
    raise FileNotFoundError(f'There is no folder {root}; give one of .mhclo files.')
  found = sorted(root.rglob('*.mhclo'))
  if not found:
    raise FileNotFoundError(
      f'There is no .mhclo in {root}; give a folder of hair of MakeHuman, .mhclo and '
      '.obj files.'
    )
  return found


def read_all(paths: list[pathlib.Path]) -> tuple[list[HairFile], str]:
  """Reads hair, without eyelashes.

  Args:
    paths: of `list_hair`.

  Returns:
    The meshes; and 64 hex digits that identify all bytes that were read.

  Raises:
    FileNotFoundError: if an .obj is missing.
    ValueError: if a file is damaged, or there are eyelashes only.
  """
  digest = hashlib.sha256()
  found = []
  for path in paths:
    hair, contents = read(path)
    for content in contents:
      digest.update(hashlib.sha256(content).digest())
    if not np.all((hair.ids >= _LASHES[0]) & (hair.ids <= _LASHES[1]), axis=1).any():
      found.append(hair)
  if not found:
    raise ValueError(
      f'{paths[0].parent} has eyelashes only; add hair, such as short01.mhclo and '
      'short01.obj.'
    )
  return found, digest.hexdigest()


def read(path: pathlib.Path) -> tuple[HairFile, tuple[bytes, bytes]]:
  """Reads one .mhclo and its .obj.

  Args:
    path: of the .mhclo.

  Returns:
    The mesh, and the bytes of both files.

  Raises:
    FileNotFoundError: if one of the files is missing.
    ValueError: if one is damaged or they do not belong together; the sentence names the
      file and the line.
  """
  binding = path.read_bytes()
  header, rows = _read_mhclo(path, binding)
  obj = path.parent / header['obj_file']
  if not obj.is_file():
    raise FileNotFoundError(
      f'{path.name} names {obj.name}, which is not beside it; put both into one folder.'
    )
  mesh = obj.read_bytes()
  count, triangles, uv = _read_obj(obj, mesh)
  if len(rows) != count:
    raise ValueError(
      f'{path.name} binds {len(rows)} vertices but {obj.name} has {count}; take both '
      'from one release.'
    )
  table = np.array(rows)
  return HairFile(
    name=path.stem,
    ids=table[:, :3].astype(np.int32),
    weights=table[:, 3:6].astype(np.float32),
    offsets=table[:, 6:].astype(np.float32),
    size_ids=np.array([header[axis][:2] for axis in _AXES], np.int32),
    sizes=np.array([header[axis][2] for axis in _AXES], np.float32),
    triangles=triangles,
    uv=uv,
  ), (binding, mesh)


def _lines(path, content):
  """(number, words) of the lines that hold anything."""
  try:
    lines = content.decode('utf-8-sig').splitlines()
  except UnicodeDecodeError:
    raise ValueError(
      f'{path.name} is not text; take it from the repository anew.'
    ) from None
  if len(lines) > _MOST:
    raise ValueError(
      f'{path.name} has {len(lines)} lines; hair has {_MOST} at most here.'
    )
  for number, line in enumerate(lines, 1):
    words = line.split('#', 1)[0].split()
    if words:
      yield number, words


def _numbers(path, number, words, kind, count):
  """Finite numbers, or one sentence."""
  try:
    found = [kind(word) for word in words]
  except ValueError:
    found = []
  if len(found) != count or not np.isfinite(found).all():
    raise ValueError(
      f'{path.name}, line {number}: {" ".join(words)[:40]!r} is not {count} numbers; '
      'take the file from the repository anew.'
    )
  return found


def _read_mhclo(path, content):
  header, rows, inside = {}, [], False
  for number, words in _lines(path, content):
    word, rest = words[0], words[1:]
    if word == 'verts':
      inside = True
    elif word in _ENDS:
      inside = False
    elif inside and word.isdigit():
      rows.append(_bound(path, number, words))
    elif word == 'basemesh':
      header[word] = rest[0] if rest else ''
    elif word == 'obj_file' and len(rest) == 1:
      header[word] = pathlib.PurePath(rest[0]).name
    elif word in ('x_scale', 'y_scale', 'z_scale'):
      a, b, size = _numbers(path, number, rest, float, 3)
      if size <= 0 or a < 0 or b < 0 or a % 1 or b % 1:
        raise ValueError(
          f'{path.name}, line {number}: {" ".join(words)!r} is not two vertices and '
          'their distance above 0; take the file from the repository anew.'
        )
      header[word[0]] = (int(a), int(b), size)
  if header.get('basemesh') != _BASE:
    raise ValueError(
      f'{path.name} is bound to the base mesh {header.get("basemesh")!r}, wanted '
      f'{_BASE!r}; give hair of MakeHuman 1.'
    )
  missing = [
    'obj_file' if name == 'obj_file' else f'{name}_scale'
    for name in ('obj_file', *_AXES)
    if name not in header
  ]
  if not rows:
    missing.append('verts')
  if missing:
    raise ValueError(
      f'{path.name} has no {", ".join(missing)}; take the file from the repository '
      'anew.'
    )
  return header, rows


def _bound(path, number, words):
  """Three ids, three weights and three offsets of a line with one or nine numbers."""
  if len(words) == 1:
    return [int(words[0])] * 3 + [1.0] + [0.0] * 5
  found = _numbers(path, number, words, float, 9)
  if any(value < 0 or value % 1 for value in found[:3]):
    raise ValueError(
      f'{path.name}, line {number}: {" ".join(words[:3])!r} are not three vertices; '
      'take the file from the repository anew.'
    )
  return found


def _read_obj(path, content):
  """Number of vertices, (T, 3) triangles and (T, 3, 2) texture coordinates."""
  count, uv, corners = 0, [], []
  for number, words in _lines(path, content):
    word, rest = words[0], words[1:]
    if word == 'v':
      _numbers(path, number, rest[:3], float, 3)  # only their number counts
      count += 1
    elif word == 'vt':
      uv.append(_numbers(path, number, rest[:2], float, 2))
    elif word == 'f':
      face = [_numbers(path, number, part.split('/')[:2], int, 2) for part in rest]
      if len(face) < 3:
        raise ValueError(
          f'{path.name}, line {number}: a face of {len(face)} corners; wanted three or '
          'more.'
        )
      corners += [(face[0], a, b) for a, b in itertools.pairwise(face[1:])]
  if not corners:
    raise ValueError(f'{path.name} has no face; take it from the repository anew.')
  found = np.array(corners) - 1
  for k, (what, most) in enumerate((('vertex', count), ('texture vertex', len(uv)))):
    wrong = (found[..., k] < 0) | (found[..., k] >= most)
    if wrong.any():
      raise ValueError(
        f'{path.name}: a face names {what} {found[..., k][wrong][0] + 1}, the file has '
        f'1 to {most}; take it from the repository anew.'
      )
  return count, found[..., 0].astype(np.int32), np.array(uv, np.float32)[found[..., 1]]
