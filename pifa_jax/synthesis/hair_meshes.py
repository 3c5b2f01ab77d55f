"""Hair from meshes of strands: chosen, put on a head, cut into strands and lit.

The meshes are sheets and ribbons of hair without textures. Strands are noise across
the sheets; towards a sheet's free edge every strand ends at a place of its own.
"""

from collections.abc import Callable
import dataclasses

import jax
import jax.numpy as jnp

from pifa_jax.geometry import depth_keys, rendering
from pifa_jax.synthesis import colors, lighting
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.synthesis.lighting import Light
from pifa_jax.types import Array

_WINDOWS = (3, 5, 8, 12, 18, 28, 42, 60, 90)
_ABOVE = 1.5  # mm: hair this little below the skin still lies upon it
_HIDDEN = 6.0  # mm: a triangle with all corners this deep under the skin is not seen
_ROUND = 4096  # samples that are shaded at a time
_LOCK = 6.0  # strands


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HairMeshes:
  """M meshes that are bound to a face model, padded to E vertices and T triangles.

  A mesh hangs from points: the Q vertices of the face, then H of a helper around the
  head, which moves as C vertices of the head do.

  Attributes:
    ids: (M, E, 3) int32, the points that a vertex hangs from.
    weights: (M, E, 3) of these points.
    offsets: (M, E, 3) from their weighted sum, in units of `sizes`.
    size_ids: (M, 3, 2) int32: the points whose distance along x, y, z ...
    sizes: (M, 3) ... is this where an offset of 1 is one model unit.
    triangles: (M, T, 3) int32 vertex ids; padded with (0, 0, 0).
    strands: (M, T, 3, 4) at their corners: mm across the strands, mm along them, the
      distance to a free edge, 0 to about 1.6, where 1 is as far as strands end, and mm
      inside the face's outline, seen from the front.
    normals: (M, E, 3) unit, outwards, on the mean face.
    tangents: (M, E, 3) unit, along the strands.
    openness: (M, E) in [0, 1], small under other hair.
    shade: (M, Q) in [0, 1], what light hair leaves to the skin under it.
    cover: (M, Q) in [0, 1], where the skin is under hair.
    helper: (H, 3) on the mean face.
    controls: (C,) int32 vertices.
    controls_mean: (C, 3) on the mean face.
    follow: (H, C) how much of each control's displacement the helper follows.
  """

  ids: Array
  weights: Array
  offsets: Array
  size_ids: Array
  sizes: Array
  triangles: Array
  strands: Array
  normals: Array
  tangents: Array
  openness: Array
  shade: Array
  cover: Array
  helper: Array
  controls: Array
  controls_mean: Array
  follow: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Choice:
  """The hair of one head.

  Attributes:
    worn: () bool, whether it is a mesh at all.
    which: () int32.
  """

  worn: Array
  which: Array


def choose(
  key: Array, hair: HairMeshes, uncovered: Array, config: Ingredients
) -> Choice:
  """Gives a share of the heads a mesh, each mesh as often as another.

  Args:
    key: a key.
    hair: to choose from.
    uncovered: () bool, whether the head has hair and no hat.
    config: probability of `hair_meshes`.

  Returns:
    The choice.
  """
  draws = Draws(key, 2)
  count = hair.ids.shape[0]
  worn = uncovered & draws.chance(config.hair_meshes)
  which = jnp.minimum(jnp.int32(draws.uniform(0, count)), count - 1)
  return Choice(worn=worn, which=which)


def skin_under(hair: HairMeshes, choice: Choice) -> tuple[jax.Array, jax.Array]:
  """Finds what the hair does to the skin.

  Args:
    hair: the meshes.
    choice: of them.

  Returns:
    (Q,) light that is left, 1 without a mesh; (Q,) where the skin is under hair.
  """
  pick = lambda table: jnp.asarray(table)[choice.which].astype(jnp.float32)
  return jnp.where(choice.worn, pick(hair.shade), 1.0), pick(hair.cover)


def place(hair: HairMeshes, which: Array, vertices: Array) -> jax.Array:
  """Puts a mesh on a head.

  Args:
    hair: the meshes.
    which: () index of one.
    vertices: (Q, 3) the face, model frame.

  Returns:
    (E, 3) model frame.
  """
  moved = vertices[hair.controls] - hair.controls_mean
  points = jnp.concatenate([vertices, hair.helper + jnp.asarray(hair.follow) @ moved])
  pick = lambda table: jnp.asarray(table)[which]
  ends = points[pick(hair.size_ids)]
  size = jnp.abs(jnp.diagonal(ends[:, 0] - ends[:, 1])) / pick(hair.sizes)
  hung = jnp.sum(pick(hair.weights)[..., None] * points[pick(hair.ids)], axis=1)
  return hung + pick(hair.offsets) * size


def draw(
  key: Array,
  hair: HairMeshes,
  choice: Choice,
  vertices: Array,
  color: Array,
  light: Light,
  rotation: Array,
  project: Callable[[Array], tuple[Array, Array]],
  z: Array,
  config: Ingredients,
) -> tuple[jax.Array, jax.Array]:
  """Draws the hair of one head before what is there already.

  Args:
    key: a key.
    hair: the meshes.
    choice: of them.
    vertices: (Q, 3) the face, model frame; hair is as large as the built-in one's
      millimetres have it.
    color: (3,) of the hair, linear RGB.
    light: of the image.
    rotation: (3, 3) model to camera frame.
    project: points -> (E, 2) positions and (E,) depth, in samples.
    z: (F, F) depth of what is there, samples.
    config: strengths of `specular`, `shadow` and `scrambled`.

  Returns:
    (F, F, 3) linear radiance of hair and (F, F) its depth, infinite where none is
    seen.
  """
  fine = z.shape[0]
  nothing = lambda: (jnp.zeros((fine, fine, 3)), jnp.full((fine, fine), jnp.inf))
  return jax.lax.cond(
    choice.worn,
    lambda: _draw(
      key, hair, choice.which, vertices, color, light, rotation, project, z, config
    ),
    nothing,
  )


def _draw(key, hair, which, vertices, color, light, rotation, project, z, config):
  draws = Draws(key, 96)
  pick = lambda table: jnp.asarray(table)[which].astype(jnp.float32)
  wild = colors.cloth(draws)
  if config.scrambled:
    color = jnp.where(draws.chance(config.scrambled), wild, color)
  look = _Look(draws, color)
  points = place(hair, which, vertices)
  normals = pick(hair.normals)
  points = points + _volume(draws, points, normals)
  positions, depth = project(points)
  # Samples per millimetre: the slope of the projection.
  scale = jnp.linalg.norm(project(points[:1] + rotation[1])[0] - positions[:1])
  triangles, strands = jnp.asarray(hair.triangles)[which], pick(hair.strands)
  # Half of the hair is behind the head: no time is spent on it.
  behind = _behind(positions, depth - _HIDDEN * scale, z)
  gone = jnp.all(behind[triangles], axis=1)
  triangles = jnp.where(gone[:, None], 0, triangles)
  # Both sides are seen: what is turned away is turned round.
  at = positions[triangles]
  side, other = at[:, 1] - at[:, 0], at[:, 2] - at[:, 0]
  away = (side[:, 0] * other[:, 1] - side[:, 1] * other[:, 0]) > 0
  triangles = jnp.where(away[:, None], triangles[:, [0, 2, 1]], triangles)
  strands = jnp.where(away[:, None, None], strands[:, jnp.array([0, 2, 1])], strands)
  positions, depth, triangles, strands = jax.lax.optimization_barrier(
    (positions, depth, triangles, strands)
  )
  fine = z.shape[0]
  keys = rendering.scatter_triangles(
    depth_keys.empty(fine * fine),
    positions,
    depth,
    triangles,
    image_size=fine,
    windows=_WINDOWS,
    values=strands,
    keep=look.keep,
  )
  hair_z = depth_keys.nearest_depth(keys).reshape(fine, fine)
  shown = hair_z - _ABOVE * scale < z
  tangents, openness = pick(hair.tangents), pick(hair.openness)
  attributes = jax.lax.optimization_barrier(
    _light(look, light, normals, tangents, openness, rotation, config)
  )
  winner = jnp.maximum(depth_keys.winning_index(keys), 0)

  def shade(cells):
    """(n,) cells -> (n, 3) radiance."""
    found = winner[cells]
    corners = triangles[found]
    at = jnp.stack([cells % fine, cells // fine], axis=-1).astype(positions.dtype)
    weights, _ = rendering.barycentric(positions[corners], at)
    mix = lambda table: jnp.sum(weights[..., None] * table, axis=1)
    across, along = jnp.moveaxis(mix(strands[found][..., :2]), -1, 0)
    lit = mix(attributes[corners])
    tone, glint = look.tone(across, along)
    albedo = jnp.clip(tone[:, None] * color, 0.003, 0.9)
    return albedo * lit[:, :3] + glint[:, None] * lit[:, 3:]

  radiance = _where_shown(shown.ravel(), shade).reshape(fine, fine, 3)
  return radiance, jnp.where(shown, hair_z, jnp.inf)


def _where_shown(shown, shade):
  """(n, 3): what `shade` makes of the cells that are shown, 0 elsewhere."""
  total = shown.shape[0]
  step = min(_ROUND, total)
  (cells,) = jnp.nonzero(shown, size=total + step, fill_value=total)
  count = jnp.sum(shown)

  def part(state):
    first, image = state
    these = jax.lax.dynamic_slice_in_dim(cells, first, step)
    values = shade(jnp.minimum(these, total - 1))
    return first + step, image.at[these].set(values, mode='drop')

  start = (jnp.int32(0), jnp.zeros((total, 3)))
  return jax.lax.while_loop(lambda state: state[0] < count, part, start)[1]


def _behind(positions, depth, z):
  """(E,) whether points are behind what is in the image at their place."""
  fine = z.shape[0]
  cell = jnp.round(jnp.clip(positions, -1, fine)).astype(jnp.int32)
  inside = jnp.all((cell >= 0) & (cell < fine), axis=1)
  at = jnp.clip(cell, 0, fine - 1)
  return inside & (z[at[:, 1], at[:, 0]] < depth)


class _Look:
  """How the strands of one head look."""

  def __init__(self, draws, color):
    self.color = color
    self.width = draws.uniform(0.9, 2.0)  # mm; single hairs are seen as strands
    self.seed = jnp.int32(draws.uniform(0, 1e6))
    curly = draws.chance(0.35)
    self.wave = jnp.where(curly, draws.uniform(0.8, 3.0), draws.uniform(0, 0.6))
    self.length = draws.uniform(9, 45)  # mm of a wave
    self.phase = draws.uniform(0, 6.3)
    # Strands end all along this share of the way to the free edge.
    self.fringe = draws.uniform(0.55, 1.15)
    # Most hair is cut or held back before it falls over the eyes.
    self.over = jnp.where(
      draws.chance(0.8), draws.uniform(-4, 26), draws.uniform(20, 90)
    )
    # Strands of fair hair differ less.
    self.contrast = draws.uniform(0.25, 0.6) * jnp.where(color[1] > 0.15, 0.55, 1.0)
    self.gloss = draws.uniform(0.15, 1.0)

  def _cells(self, across, along):
    """Numbers of strand and of lock at a place."""
    # Locks do not wave in step.
    phase = self.phase + 2.2 * jnp.sin(0.09 * across) + 1.3 * jnp.sin(0.023 * along)
    place = across + self.wave * jnp.sin(along * (6.2832 / self.length) + phase)
    strand = place / self.width
    return strand, strand / _LOCK

  def keep(self, values):
    """Whether there is hair at places of a sheet."""
    across, along, edge, inside = values
    strand, lock = self._cells(across, along)
    end = 0.5 * _noise(jnp.floor(strand), self.seed) + 0.5 * _noise(
      jnp.floor(lock), self.seed + 7
    )
    return (edge > self.fringe * end) & (inside < self.over + 14 * (end - 0.5))

  def tone(self, across, along):
    """Factors of the colour and of the highlight at places of a sheet."""
    strand, lock = self._cells(across, along)
    fine = _noise(jnp.floor(strand), self.seed) - 0.5
    broad = _smooth_noise(lock, self.seed + 7)
    sway = _smooth_noise(lock * 0.4 + along / 60.0, self.seed + 13)
    loud = 1.3 * fine + 1.5 * (broad - 0.5) + 0.8 * (sway - 0.5)
    return jnp.exp(self.contrast * loud), jnp.clip(0.5 + 1.5 * fine + broad - 0.5, 0, 2)


def _noise(cell, seed):
  """Uniform in [0, 1), the same for the same cell (a multiplicative hash)."""
  bits = jax.lax.bitcast_convert_type(cell.astype(jnp.int32) + 7919 * seed, jnp.uint32)
  bits = bits * jnp.uint32(0x9E3779B1)
  bits = (bits ^ (bits >> 15)) * jnp.uint32(0x85EBCA77)
  bits = bits ^ (bits >> 13)
  return (bits >> 8).astype(jnp.float32) * (1.0 / (1 << 24))


def _smooth_noise(place, seed):
  low = jnp.floor(place)
  t = place - low
  t = t * t * (3 - 2 * t)
  return (1 - t) * _noise(low, seed) + t * _noise(low + 1, seed)


def _volume(draws, points, normals):
  """(E, 3): no two heads have quite the same hair."""
  waves = draws.normal(0, 0.018, (3, 3))
  swing = jnp.sin(points @ waves + draws.uniform(0, 6.3, (3,)))
  out = jnp.mean(jnp.concatenate([swing, jnp.ones_like(swing[:, :1])], 1), axis=1)
  return (draws.uniform(0, 6.0) * jnp.maximum(out, 0))[:, None] * normals


def _light(look, light, normals, tangents, openness, rotation, config):
  """(E, 6) irradiance and highlight of the vertices."""
  normals, tangents = normals @ rotation.T, tangents @ rotation.T
  # Who sees the back of a normal looks under the hair.
  inner = jnp.clip(0.75 + normals[:, 2], 1 - 0.6 * config.shadow, 1)
  open_ = 1 - config.shadow * (1 - openness)
  diffuse = lighting.open_irradiance(light, normals)
  # Light goes around and through strands: no sharp terminator.
  diffuse = 0.75 * diffuse + 0.25 * lighting.open_irradiance(light, 0.3 * normals)
  half = light.directions + jnp.array([0.0, 0.0, 1.0])
  half = half / jnp.maximum(jnp.linalg.norm(half, axis=1, keepdims=True), 1e-3)
  # Kajiya and Kay 1989: a strand is a cylinder.
  sine = jnp.sqrt(jnp.clip(1 - (tangents @ half.T) ** 2, 0, 1))
  facing = jnp.clip(0.3 + normals @ light.directions.T, 0, 1)
  shine = (sine**28 * facing) @ light.colors
  tint = 0.35 + 0.65 * look.color / jnp.maximum(jnp.max(look.color), 1e-3)
  shine = 0.09 * config.specular * look.gloss * shine * tint
  dark = (inner * open_)[:, None]
  return jnp.concatenate([dark * diffuse, dark * shine], axis=1)
