"""Writes hair of a few vertices, as MakeHuman's files have it."""

import pathlib

import numpy as np

_HEADER = """# made by hand
uuid 0
basemesh hm08
name {name}
obj_file {name}.obj
x_scale {x} 1.5
y_scale {y} 2.0
z_scale {z} 2.5
verts 0
material {name}.mhmat
"""
# MakeHuman's own: pairs of vertices across, up and along the head.
_SIZES = {'x': '5399 11998', 'y': '791 881', 'z': '962 5320'}


def write(
  folder: pathlib.Path, name: str, rows: list[str], *, quads: str = 'f 1/1 2/2 4/4 3/3'
) -> pathlib.Path:
  """Writes a .mhclo and an .obj.

  Args:
    folder: where.
    name: of both, without their ends.
    rows: a line for every vertex: an id of hm08, or three, three weights, an offset.
    quads: the faces.

  Returns:
    The path of the .mhclo.
  """
  count = len(rows)
  lines = [f'v {i} 0 0' for i in range(count)]
  lines += [f'vt {i % 2} {i // 2 / max(1, count // 2 - 1)}' for i in range(count)]
  (folder / f'{name}.obj').write_text('\n'.join([*lines, quads, '']))
  path = folder / f'{name}.mhclo'
  path.write_text(_HEADER.format(name=name, **_SIZES) + '\n'.join(rows) + '\n')
  return path


def ribbon(ids: np.ndarray, count: int = 5) -> tuple[list[str], str]:
  """Rows and faces of a ribbon that falls from three vertices.

  Args:
    ids: (3,) of hm08.
    count: pairs of vertices along it.

  Returns:
    What `write` takes.
  """
  a, b, c = ids
  rows = [
    f'{a} {b} {c} 0.5 0.3 0.2 {0.3 * side} {-0.2 * k} 0.05'
    for k in range(count)
    for side in (0, 1)
  ]
  quads = '\n'.join(
    'f ' + ' '.join(f'{i}/{i}' for i in (k, k + 1, k + 3, k + 2))
    for k in range(1, 2 * count - 2, 2)
  )
  return rows, quads
