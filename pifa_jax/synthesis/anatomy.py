"""The anatomy of a face model: where its parts are, as fields over its vertices.

Everything is measured once, on the mean shape. A vertex keeps its meaning, so a field
fits every identity and expression.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import rendering
from pifa_jax.types import Array, MorphableModel

_NUM_DIRECTIONS = 48
_SHADOW_SIZE = 160  # pixels of the shadow maps; coarser than a crop, on purpose
_COLUMNS, _LEVELS = 72, 56  # of the envelope of the head: angles and heights


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Anatomy:
  """Measurements of a face model with Q vertices.

  Attributes:
    canonical: (Q, 3) the mean shape in units of the built-in face's millimetres:
      the outer eye corners are 82.8 apart, the origin is that of the model.
    unit: () model units per such millimetre.
    fields: name -> (Q,) weight in [0, 1] of a part or feature.
    visibility: (Q, K) share of the light from a direction that is not in the
      head's own shadow.
    directions: (K, 3) unit, model frame.
    landmarks: (68,) vertex ids.
    eyes: (2, 3) centres of the irises, canonical.
    brow: (5, 2) x > 0 and y of the brow's landmarks, canonical, inner first.
    brow_curve: (3,) coefficients, highest power first, of the parabola y(x) nearest to
      them.
    ear_roots: (2,) ids of the vertices that glasses rest on, -x first.
    envelope_radius: (columns, levels) distance of the head's hull from the
      upright axis through `envelope_axis`, canonical.
    envelope_vertex: (columns, levels) int32, the vertex that it moves with.
    envelope_angle: (columns,) radians; 0 is the front, positive towards +x.
    envelope_height: (levels,) descending y, canonical.
    envelope_axis: () z of the axis.
  """

  canonical: Array
  unit: Array
  fields: dict[str, Array]
  visibility: Array
  directions: Array
  landmarks: Array
  eyes: Array
  brow: Array
  brow_curve: Array
  ear_roots: Array
  envelope_radius: Array
  envelope_vertex: Array
  envelope_angle: Array
  envelope_height: Array
  envelope_axis: Array


def build_anatomy(model: MorphableModel) -> Anatomy:
  """Measures a face model: takes a second or two.

  Args:
    model: the 3DMM, with 'ibug68' and triangles; parts without a region get the colour
      of skin.

  Returns:
    Its anatomy, as NumPy arrays.
  """
  ids = np.asarray(model.landmark_schemes['ibug68'])
  shape = np.asarray(model.mean_shape, np.float32)
  unit = np.linalg.norm(shape[ids[36]] - shape[ids[45]]) / 82.8
  canonical = shape / unit
  fields = _fields(model, canonical, ids)
  directions = _fibonacci_sphere(_NUM_DIRECTIONS)
  brow = _brow(canonical, ids)
  return Anatomy(
    canonical=canonical,
    unit=np.asarray(unit, np.float32),
    fields=fields,
    visibility=_visibility(model, canonical, directions, fields),
    directions=directions,
    landmarks=ids.astype(np.int32),
    eyes=_eye_centres(model, canonical, ids),
    brow=brow,
    brow_curve=np.polyfit(brow[:, 0], brow[:, 1], 2).astype(np.float32),
    ear_roots=_ear_roots(canonical, ids),
    **_envelope(model, canonical),
  )


def _region(model, name):
  """(Q,) bool."""
  inside = np.zeros(model.num_vertices, bool)
  if name in model.regions:
    inside[np.asarray(model.regions[name])] = True
  return inside


def _bump(distance, width):
  return np.exp(-((distance / width) ** 2)).astype(np.float32)


def _step(x, width):
  """0 well below 0, 1 well above, smooth over +-width."""
  t = np.clip(x / (2 * width) + 0.5, 0, 1)
  return (t * t * (3 - 2 * t)).astype(np.float32)


def _to_polyline(points, line):
  """(Q,) least distance of points to a polyline, any dimension."""
  best = np.full(len(points), np.inf)
  for a, b in itertools.pairwise(line):
    along = np.clip((points - a) @ (b - a) / max(((b - a) ** 2).sum(), 1e-9), 0, 1)
    best = np.minimum(
      best, np.linalg.norm(points - a - along[:, None] * (b - a), axis=1)
    )
  return best


def _smooth(values, triangles, rounds):
  """Averages with the neighbours, so that a region's edge is not its triangles'."""
  edges = np.concatenate(
    [triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]
  )
  count = np.bincount(edges[:, 0], minlength=len(values)) + 1.0
  for _ in range(rounds):
    values = (
      values + np.bincount(edges[:, 0], values[edges[:, 1]], minlength=len(values))
    ) / count
  return values.astype(np.float32)


def _fields(model, canonical, ids):
  x, y, z = canonical.T
  at = canonical[ids]
  side = np.abs(x)
  triangles = np.asarray(model.triangles)
  regions = {
    name: _region(model, name).astype(np.float32)
    for name in (
      'lips',
      'mouth_inside',
      'eye_white',
      'iris',
      'nostrils',
      'ears',
      'neck',
      'eyelids',
      'eye_sockets',
    )
  }
  eyeball = np.clip(
    regions['eye_white']
    + regions['iris']
    + sum(
      _region(model, n)
      for n in ('pupil_left', 'pupil_right', 'eyeball_left', 'eyeball_right')
    ),
    0,
    1,
  )
  inner = np.maximum(eyeball, regions['mouth_inside'])
  front = _step(z + 25, 15) * (1 - inner)
  mirrored = canonical.copy()
  mirrored[:, 0] = side
  # Landmarks of the +x eye: upper lid 42-45, lower lid 45-47 and 42.
  upper = at[[42, 43, 44, 45]]
  lower = at[[45, 46, 47, 42]]
  eye = at[42:48].mean(axis=0)
  corner, wing = at[54], at[35]
  flat = lambda dx, dy, cx, cy: np.hypot((side - cx) / dx, (y - cy) / dy)
  cheek = flat(20, 17, 43, (eye[1] + wing[1]) / 2 - 9)
  bag = flat(13, 3.5, eye[0], eye[1] - 11.5)
  fold = _to_polyline(
    mirrored[:, :2],
    np.array(
      [wing[:2] + [3, 5], wing[:2] + [7, -4], corner[:2] + [7, 3], corner[:2] + [7, -6]]
    ),
  )
  lips = _smooth(regions['lips'], triangles, 1) * (1 - inner)
  seam = np.concatenate([at[60:65], at[[65, 66, 67, 60]]])
  # The edge of a beard: from the ear down to the corner of the mouth.
  edge = np.interp(
    side,
    [0, 30, 50, 70, 90],
    [wing[1] - 4, wing[1] - 12, corner[1] + 6, corner[1] + 30, corner[1] + 36],
  )
  not_lips = 1 - np.clip(2 * lips, 0, 1)
  chin = at[8][1]
  jaw = (
    _step(edge - y, 8)
    * _step(y - chin + 22, 11)
    * _step(z + 48, 14)
    * not_lips
    * (1 - inner)
    * (1 - regions['nostrils'])
  )
  above_lip = (
    _step(y - corner[1], 2)
    * _step(wing[1] + 1 - y, 1.5)
    * _step(corner[0] + 5 - side, 5)
  )
  beside = _step(side - corner[0] + 2, 3)
  below = _step(corner[1] - 2 - y, 3)
  return {
    'lips': lips,
    'eyeball': eyeball.astype(np.float32),
    'mouth_inside': regions['mouth_inside'],
    'nostrils': _smooth(regions['nostrils'], triangles, 1),
    'ears': regions['ears'],
    'neck': _smooth(regions['neck'], triangles, 3),
    'cheeks': _bump(cheek, 1.0) * front,
    'nose': _bump(np.linalg.norm(canonical - at[30], axis=1), 16) * (1 - inner),
    'bags': _bump(bag, 1.0) * front,
    'folds': _bump(fold, 2.5) * front,
    'forehead': _step(y - eye[1] - 24, 8) * _step(z - 5, 15) * front,
    'seam': _bump(_to_polyline(canonical, seam), 1.6) * (1 - eyeball),
    'lashes_upper': _bump(_to_polyline(mirrored, upper), 1.5) * (1 - eyeball),
    'lashes_lower': _bump(_to_polyline(mirrored, lower), 1.1) * (1 - eyeball),
    'lid': (
      _bump(flat(17, 6, eye[0], eye[1] + 5), 1.0) * front * _step(y - eye[1] + 1, 2)
    ),
    'sockets': _bump(flat(22, 12, eye[0] - 2, eye[1] + 4), 1.0) * front,
    'creases': _bump(_to_polyline(mirrored[:, :2], upper[:, :2] + [0, 4.2]), 1.2)
    * front,
    'moustache': above_lip * not_lips * (1 - inner) * (1 - regions['nostrils']),
    'goatee': jaw
    * np.maximum(above_lip, _step(corner[0] + 3 - side, 6) * np.maximum(below, beside)),
    'beard': jaw,
    'oil': np.maximum.reduce(
      [
        _bump(np.hypot(side / 8, (y - at[29][1]) / 24), 1.0),
        _bump(np.hypot(side / 35, (y - eye[1] - 38) / 20), 1.0) * 0.8,
        _bump(cheek, 0.8) * 0.7,
      ]
    ).astype(np.float32)
    * front,
  }


def _eye_centres(model, canonical, ids):
  """(2, 3): the irises' centres, or the middles of the lids' landmarks."""
  centres = []
  for name, lids in (('iris_left', ids[36:42]), ('iris_right', ids[42:48])):
    part = model.regions.get(name, lids)
    centres.append(canonical[np.asarray(part)].mean(axis=0))
  return np.stack(centres).astype(np.float32)


def _brow(canonical, ids):
  left, right = canonical[ids[17:22]][::-1], canonical[ids[22:27]]
  both = (right + left * [-1, 1, 1]) / 2
  return both[:, :2].astype(np.float32)


def _ear_roots(canonical, ids):
  """(2,): the outermost vertices a little below the eyes' height."""
  eye = canonical[ids[36:48], 1].mean()
  side = np.abs(canonical[:, 0])
  near = np.where((np.abs(canonical[:, 1] - eye + 2) < 6) & (side > 60))[0]
  near = near if len(near) else np.arange(len(canonical))
  return np.array([near[np.argmax(s * canonical[near, 0])] for s in (-1, 1)], np.int32)


def _fibonacci_sphere(count):
  at = np.arange(count) + 0.5
  z = 1 - 2 * at / count
  angle = np.pi * (1 + 5**0.5) * at
  r = np.sqrt(1 - z * z)
  return np.stack([r * np.cos(angle), r * np.sin(angle), z], 1).astype(np.float32)


def _visibility(model, canonical, directions, fields):
  """(Q, K): 1 where light from the direction arrives, by shadow maps."""
  triangles = jnp.asarray(model.triangles)
  low, high = canonical.min(axis=0), canonical.max(axis=0)
  scale = (_SHADOW_SIZE - 4) / np.linalg.norm(high - low)
  centred = jnp.asarray((canonical - (low + high) / 2) * scale)

  def one(direction):
    # Any two axes across the direction will do, if they are right-handed.
    helper = jnp.where(
      jnp.abs(direction[1]) < 0.9,
      jnp.array([0.0, 1.0, 0.0]),
      jnp.array([1.0, 0.0, 0.0]),
    )
    right = jnp.cross(helper, direction)
    right = right / jnp.linalg.norm(right)
    up = jnp.cross(direction, right)
    middle = (_SHADOW_SIZE - 1) / 2
    positions = jnp.stack([centred @ right, -(centred @ up)], -1) + middle
    depth = -(centred @ direction)
    z = rendering.rasterize(positions, depth, triangles, image_size=_SHADOW_SIZE)[2]
    z = jnp.where(jnp.isfinite(z), z, 1e4)
    # Bilinear over the four tests around a point: soft edges.
    base = jnp.floor(positions)
    part = positions - base
    lit = 0.0
    for du in (0, 1):
      for dv in (0, 1):
        cell = (base + jnp.array([du, dv])).astype(jnp.int32)
        weight = jnp.abs(1 - du - part[:, 0]) * jnp.abs(1 - dv - part[:, 1])
        lit += weight * (z[cell[:, 1], cell[:, 0]] > depth - 2.5 * scale)
    return lit

  lit = np.array(jax.jit(lambda d: jax.lax.map(one, d))(jnp.asarray(directions))).T
  # The mean face has a closed mouth, without light in it; open mouths have some.
  lit = np.maximum(
    lit, 0.3 * fields['mouth_inside'][:, None] * _step(canonical[:, 2], 20)[:, None]
  )
  # Lids move too: an eyeball is never darker than half.
  lit = np.maximum(lit, 0.45 * fields['eyeball'][:, None])
  smooth = np.stack(
    [_smooth(column, np.asarray(model.triangles), 1) for column in lit.T], axis=1
  )
  return np.float32(smooth)


def _envelope(model, canonical):
  """The hull that hair and cloth hang from: radius by angle and height.

  From the crown down the radius only grows, as cloth hangs; ears, and in front
  everything below the forehead, do not count.
  """
  x, y, z = canonical.T
  brow = canonical[np.asarray(model.landmark_schemes['ibug68'])[17:27], 1].mean()
  skull = (y > 0) & ~_region(model, 'ears')
  axis = (z[skull].min() + z[skull].max()) / 2
  angle = np.arctan2(x, z - axis)
  radius = np.hypot(x, z - axis)
  counts = (
    (~_region(model, 'ears') & ~_region(model, 'mouth_inside'))
    & ((y > brow + 4) | (np.abs(angle) > 1.25))
    & (y > -60)
  )
  # Denser near the crown, where the hull is nearly level.
  t = np.linspace(0, 1, _LEVELS)
  top = y.max() + 1
  heights = top - (top + 170) * t**1.6
  angles = (np.arange(_COLUMNS) - _COLUMNS // 2) * 2 * np.pi / _COLUMNS
  radii = np.zeros((_COLUMNS, _LEVELS))
  vertex = np.zeros((_COLUMNS, _LEVELS), np.int32)
  candidates = np.where(counts)[0]
  for i, a in enumerate(angles):
    apart = np.abs((angle[candidates] - a + np.pi) % (2 * np.pi) - np.pi)
    near = candidates[(apart < 1.2 * np.pi / _COLUMNS) | (radius[candidates] < 8)]
    last, which = 0.0, int(candidates[np.argmax(y[candidates])])
    order = near[np.argsort(-y[near])]
    k = 0
    for j, h in enumerate(heights):
      while k < len(order) and y[order[k]] >= h:
        if radius[order[k]] > last:
          last, which = radius[order[k]], order[k]
        k += 1
      radii[i, j], vertex[i, j] = last, which
  # Without the steps that single vertices make.
  for _ in range(2):
    radii = (np.roll(radii, 1, 0) + 2 * radii + np.roll(radii, -1, 0)) / 4
  return {
    'envelope_radius': radii.astype(np.float32),
    'envelope_vertex': vertex,
    'envelope_angle': angles.astype(np.float32),
    'envelope_height': heights.astype(np.float32),
    'envelope_axis': np.float32(axis),
  }
