"""Binds hair of MakeHuman to a face model and measures it on the mean face.

Where strands run, how deep a place lies under other hair and where hair lies on the
skin is found once, on the mean face, as for the head itself in `anatomy`.
"""

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import scipy.spatial

from pifa_jax.datasets.hair_mesh_files import HairFile
from pifa_jax.face_models.hair_helper import BaseVertices
from pifa_jax.synthesis.hair_meshes import HairMeshes
from pifa_jax.types import MorphableModel

VERSION = 1  # part of the cache key: raise it when hair of meshes looks different
# Lengths are millimetres, as the models' units are.
_NUM_CONTROLS = 64
_STIFF = 20.0  # of the helper: it follows the head's shape, not its details
_COHERENT = 0.7  # mean cosine at which texture coordinates run along the strands
_SMALL = 70.0  # a ribbon
_END = (2.5, 14.0)  # how far from a free edge strands end, least and most
_INSIDE = 1.6  # distance to an edge beyond which no strand ends
_AREA = 20.0  # of hair that one point stands for
_APART = 53.0  # sheets have strands of their own


def bind(
  files: list[HairFile], model: MorphableModel, base: BaseVertices
) -> HairMeshes:
  """Binds hair to a face model.

  Args:
    files: at least one.
    model: the 3DMM in millimetres, with 'ibug68' and the regions skin, scalp, ears and
      neck.
    base: of the same model.

  Returns:
    The meshes, as NumPy arrays.

  Raises:
    ValueError: if hair is bound to vertices that are neither in the model nor in the
      helper.
  """
  mean = np.asarray(model.mean_shape, np.float64)
  count = len(mean)
  lookup = np.full(1 + max(base.ids.max(), base.helper_ids.max()), -1)
  lookup[base.helper_ids] = count + np.arange(len(base.helper_ids))
  lookup[base.ids] = np.arange(len(base.ids))
  points = np.concatenate([mean, base.helper])
  controls = _controls(model, mean)
  head = _Head(model, mean)
  meshes = [_Bound(hair, lookup, points, head) for hair in files]
  padded = lambda name: _pad([getattr(mesh, name) for mesh in meshes])
  return HairMeshes(
    ids=padded('ids'),
    weights=_pad([hair.weights for hair in files]),
    offsets=_pad([hair.offsets for hair in files]),
    size_ids=padded('size_ids'),
    sizes=np.stack([hair.sizes for hair in files]),
    triangles=_pad([hair.triangles for hair in files]),
    strands=padded('strands'),
    normals=padded('normals'),
    tangents=padded('tangents'),
    openness=padded('openness'),
    shade=padded('shade'),
    cover=padded('cover'),
    helper=np.asarray(base.helper, np.float32),
    controls=controls.astype(np.int32),
    controls_mean=mean[controls].astype(np.float32),
    follow=_follow(mean[controls], np.asarray(base.helper, np.float64)),
  )


def _pad(tables):
  """Stacks tables, those of fewer rows filled up with zeros."""
  most = max(len(table) for table in tables)
  kind = np.int32 if np.asarray(tables[0]).dtype.kind in 'iu' else np.float32
  out = np.zeros((len(tables), most, *tables[0].shape[1:]), kind)
  for row, table in zip(out, tables, strict=True):
    row[: len(table)] = table
  return out


def _controls(model, mean):
  """(C,) vertices far from each other on what no expression moves."""
  skin = np.concatenate([model.regions[name] for name in ('scalp', 'ears', 'neck')])
  skin = np.unique(np.asarray(skin))
  chosen = [int(np.argmax(mean[skin, 1]))]
  apart = np.full(len(skin), np.inf)
  for _ in range(min(_NUM_CONTROLS, len(skin)) - 1):
    apart = np.minimum(
      apart, np.linalg.norm(mean[skin] - mean[skin[chosen[-1]]], axis=1)
    )
    chosen.append(int(np.argmax(apart)))
  return skin[chosen]


def _follow(controls, helper):
  """(H, C): radial basis functions -r and a constant, smoothed."""
  gap = lambda a, b: np.linalg.norm(a[:, None] - b[None], axis=-1)
  count = len(controls)
  system = np.ones((count + 1, count + 1))
  system[:count, :count] = -gap(controls, controls) + _STIFF * np.eye(count)
  system[count, count] = 0
  at = np.concatenate([-gap(helper, controls), np.ones((len(helper), 1))], axis=1)
  return np.linalg.solve(system.T, at.T).T[:, :count].astype(np.float32)


class _Head:
  """The mean head: where it is and where its skin is."""

  def __init__(self, model, mean):
    ears = mean[np.asarray(model.regions['ears'])].mean(axis=0)
    self.centre = np.array([0.0, ears[1] + 25, ears[2]])
    self.mean = mean
    brows = mean[np.asarray(model.landmark_schemes['ibug68'])[17:27]]
    self.brow, self.width = brows[:, 1].mean(), 1.12 * np.abs(brows[:, 0]).max()
    self.normals = np.asarray(model.mean_normals, np.float64)
    self.skin = np.asarray(model.regions['skin'])

  def outwards(self, points):
    """(N, 3) unit: away from the skull, below it from the neck's axis."""
    away = points - self.centre
    away[:, 1] = np.maximum(away[:, 1], 0)
    return _unit(away)

  def inside_face(self, points):
    """(...) mm inside the face's outline, seen from the front; negative behind it."""
    x, y, z = np.moveaxis(points, -1, 0)
    over = np.minimum(self.brow + 12 - y, self.width - np.abs(x))
    return np.where(z > self.centre[2] + 30, over, -50.0)

  def downwards(self, points):
    """(N, 3) unit: from the crown down along the skull, then straight down."""
    away = points - self.centre
    up = np.array([0.0, 1.0, 0.0])
    radial = _unit(np.where(away[:, 1:2] > 0, away, away * [1, 0, 1]))
    return _unit(radial * radial[:, 1:2] - up)


def _unit(vectors):
  return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


class _Bound:
  """One mesh on the mean face; the attributes are rows of those of `HairMeshes`."""

  def __init__(self, hair: HairFile, lookup, points, head: _Head):
    ids = np.concatenate([hair.ids.ravel(), hair.size_ids.ravel()])
    known = (ids >= 0) & (ids < len(lookup))
    known[known] = lookup[ids[known]] >= 0
    if not known.all():
      raise ValueError(
        f'{hair.name}.mhclo is bound to vertex {ids[~known][0]} of hm08, which is '
        'neither of the head nor of the helper for hair; leave this file out.'
      )
    self.ids, self.size_ids = lookup[hair.ids], lookup[hair.size_ids]
    ends = points[self.size_ids]
    size = np.abs(np.diagonal(ends[:, 0] - ends[:, 1])) / hair.sizes
    places = (hair.weights[..., None] * points[self.ids]).sum(1) + hair.offsets * size
    triangles = hair.triangles
    flow, self.strands = _strands(places, triangles, hair.uv, head)
    corners = places[triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    out = head.outwards(places)
    # A sheet has no outside of its own.
    side = np.sign((cross * out[triangles].mean(axis=1)).sum(-1, keepdims=True))
    flat = _unit(_to_vertices(cross * side, triangles, len(places)))
    self.normals = _unit(0.6 * flat + 0.4 * out)
    area = np.linalg.norm(cross, axis=1) / 2
    self.tangents = _unit(_to_vertices(flow * area[:, None], triangles, len(places)))
    cloud = _cloud(corners, area)
    self.openness = _openness(cloud, places, self.normals)
    self.shade, self.cover = _on_skin(cloud, head)


def _to_vertices(values, triangles, count):
  out = np.zeros((count, 3))
  for corner in triangles.T:
    np.add.at(out, corner, values)
  return out


def _strands(places, triangles, uv, head):
  """(T, 3) directions of the strands and (T, 3, 4), see `HairMeshes.strands`."""
  corners = places[triangles]
  sheet = _sheets(triangles, uv)
  edge = _to_free_edge(places, triangles)
  # How a place moves with the texture coordinates.
  step = lambda table: np.stack(
    [table[:, 1] - table[:, 0], table[:, 2] - table[:, 0]], 1
  )
  duv, dp = step(uv.astype(np.float64)), step(corners)
  flat = np.abs(np.linalg.det(duv)) < 1e-10
  duv[flat] = np.eye(2)
  jacobian = np.linalg.solve(duv, dp)  # (T, 2, 3): mm per unit of u, of v
  jacobian[flat] = 0
  centre = corners.mean(axis=1)
  down = head.downwards(centre)
  flow = np.zeros_like(centre)
  out = np.zeros((len(triangles), 3, 4))
  out[..., 3] = head.inside_face(corners)
  for index in range(sheet.max() + 1):
    own = np.nonzero(sheet == index)[0]
    axis = _axis(jacobian[own], down[own], corners[own])
    if axis is None:
      flow[own] = down[own]
      out[own, :, :2] = _around_the_crown(corners[own], head.centre)
    else:
      along = jacobian[own, axis]
      length = np.linalg.norm(jacobian[own], axis=-1)
      scale = np.median(length[length[:, axis] > 0], axis=0)
      sign = np.sign((along * down[own]).sum(-1).sum()) or 1.0
      flow[own] = _unit(sign * along)
      out[own, :, 0] = uv[own, :, 1 - axis] * scale[1 - axis]
      out[own, :, 1] = uv[own, :, axis] * sign * scale[axis]
    out[own, :, 0] += index * _APART
    near = edge[triangles[own]]
    if near.max() <= 0:  # one strip of quads: strands end at its tip
      tau = out[own, :, 1]
      rest = (tau.max() - tau) / max(np.ptp(tau), 1e-6)
      near = np.clip(rest / 0.4, 0, 1) * _INSIDE
    out[own, :, 2] = near
  return flow, out


def _sheets(triangles, uv):
  """(T,) number of the part of the texture that a triangle is in."""
  key = np.concatenate(
    [triangles[..., None], np.round(uv * 1e5).astype(np.int64)], axis=-1
  ).reshape(-1, 3)
  _, node = np.unique(key, axis=0, return_inverse=True)
  node = node.reshape(-1, 3)
  pairs = np.concatenate([node[:, [0, 1]], node[:, [1, 2]]])
  count = node.max() + 1
  graph = scipy.sparse.coo_matrix(
    (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count)
  )
  return scipy.sparse.csgraph.connected_components(graph)[1][node[:, 0]]


def _axis(jacobian, down, corners):
  """Which texture coordinate runs along the strands, or None for neither."""
  weight = np.linalg.norm(np.cross(jacobian[:, 0], jacobian[:, 1]), axis=-1) + 1e-9
  aligned = [
    abs(np.average((_unit(jacobian[:, k]) * down).sum(-1), weights=weight))
    for k in (0, 1)
  ]
  if aligned[1] > _COHERENT:
    return 1
  if aligned[0] > _COHERENT:
    return 0
  if np.ptp(corners.reshape(-1, 3), axis=0).max() < _SMALL:
    return 1
  return None


def _around_the_crown(corners, centre):
  """(T, 3, 2) mm around the upright axis and mm down from the crown."""
  away = corners - centre
  around = np.arctan2(away[..., 0], away[..., 2])
  # No triangle spans the seam at the back.
  around = around[:, :1] + (around - around[:, :1] + np.pi) % (2 * np.pi) - np.pi
  radius = np.hypot(away[..., 0], away[..., 2])
  polar = np.arctan2(radius, np.maximum(away[..., 1], 0))
  return np.stack([around * 80.0, polar * 90.0 + np.maximum(-away[..., 1], 0)], axis=-1)


def _to_free_edge(places, triangles):
  """(E,) distance along the mesh to where it ends, see `HairMeshes.strands`."""
  pairs = np.concatenate(
    [triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]
  )
  edges, uses = np.unique(np.sort(pairs, axis=1), axis=0, return_counts=True)
  length = np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1)
  graph = scipy.sparse.coo_matrix(
    (np.maximum(length, 1e-6), (edges[:, 0], edges[:, 1])), (len(places),) * 2
  ).tocsr()
  part = scipy.sparse.csgraph.connected_components(graph)[1]
  free = np.unique(edges[uses == 1])
  if not len(free):
    return np.full(len(places), _INSIDE)
  apart = scipy.sparse.csgraph.dijkstra(
    graph, directed=False, indices=free, min_only=True
  )
  deepest = np.zeros(part.max() + 1)
  np.maximum.at(deepest, part, np.where(np.isfinite(apart), apart, 0))
  return np.minimum(apart / np.clip(0.6 * deepest[part], *_END), _INSIDE)


def _cloud(corners, area):
  """(N, 3) points all over the mesh, as many as its area asks for."""
  count = np.ceil(area / _AREA).astype(int)
  rng = np.random.Generator(np.random.PCG64(0))
  which = np.repeat(np.arange(len(corners)), count)
  weights = rng.dirichlet(np.ones(3), len(which))
  return scipy.spatial.cKDTree((weights[..., None] * corners[which]).sum(axis=1))


def _openness(cloud, places, normals):
  """(E,) how much light reaches a place among hair."""
  apart, which = cloud.query(places, k=min(32, cloud.n), distance_upper_bound=18.0)
  found = np.isfinite(apart)
  near = cloud.data[np.where(found, which, 0)] - places[:, None]
  above = found & ((near * normals[:, None]).sum(-1) > 2.5)
  return 1 - 0.75 * np.clip(1.6 * above.mean(axis=1), 0, 1)


def _on_skin(cloud, head):
  """(Q,) light that the hair leaves, and (Q,) where hair lies on the skin."""
  shade, cover = np.ones(len(head.mean)), np.zeros(len(head.mean))
  at, normal = head.mean[head.skin], head.normals[head.skin]
  apart, which = cloud.query(at, k=min(16, cloud.n), distance_upper_bound=25.0)
  found = np.isfinite(apart)
  near = cloud.data[np.where(found, which, 0)] - at[:, None]
  above = found & ((near * normal[:, None]).sum(-1) > 1.5)
  weight = np.where(above, 1 - np.where(found, apart, 0) / 25.0, 0)
  shade[head.skin] = 1 - 0.55 * np.clip(weight.sum(axis=1) / 8, 0, 1)
  cover[head.skin] = np.clip((16 - apart[:, 0]) / 8, 0, 1)
  return shade, cover
