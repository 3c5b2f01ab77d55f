"""Hair, hats, hoods and scarves: meshes that hang from the head's hull."""

import jax
import jax.numpy as jnp

from pifa_jax.synthesis import colors, meshes
from pifa_jax.synthesis.anatomy import Anatomy
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import Array

_ROWS = 22


def uncovered(key: Array, config: Ingredients) -> jax.Array:
  """Says whether a head has hair and nothing is worn over it.

  Args:
    key: what `hair_and_headwear` gets.
    config: probabilities of `hair` and `headwear`.

  Returns:
    () bool.
  """
  has_hair, _, worn = _kind(Draws(jax.random.split(key, 3)[0], 128), config)
  return has_hair & ~worn


def _kind(draws, config):
  """Whether there is hair, it is long, and something is worn over it."""
  return (
    draws.chance(config.hair),
    draws.chance(config.long_hair),
    draws.chance(config.headwear),
  )


def hair_and_headwear(
  key: Array,
  anatomy: Anatomy,
  vertices: Array,
  hair_color: Array,
  config: Ingredients,
  *,
  without: Array | None = None,
) -> tuple[meshes.Mesh, jax.Array, jax.Array]:
  """Makes the hair and what is worn over it.

  Args:
    key: a key.
    anatomy: of the model.
    vertices: (Q, 3) the face, model frame.
    hair_color: (3,) linear RGB.
    config: probabilities of `hair`, `long_hair` and `headwear`.
    without: () bool, True = other hair is on the head, none is made.

  Returns:
    One mesh, first hair, then headwear, NaN where there is none; (columns,) y below
    which no hair grows, canonical millimetres, for `scalp_cover`; () opacity in [0, 1]
    of the hair on the scalp.
  """
  keys = jax.random.split(key, 3)
  draws = Draws(keys[0], 128)
  has_hair, is_long, worn = _kind(draws, config)
  kind = draws.choice((0.4, 0.3, 0.3))  # cap or hat, knitted, hood or scarf
  angle = jnp.asarray(anatomy.envelope_angle)
  hairline, bottom, thickness = _hair_style(draws, keys[1], angle, is_long)
  # Under a hat hair is flat; a hood hides it.
  thickness = jnp.where(worn, jnp.minimum(thickness, 4.0), thickness)
  strands = _strands(keys[1], len(angle))
  # Strands of fair hair differ less.
  shade = jnp.exp(
    strands * draws.uniform(0.2, 0.55) * jnp.where(hair_color[1] > 0.15, 0.5, 1.0)
  )
  rough, flare = draws.uniform(0.0, 0.16), draws.uniform(-0.08, 0.25)
  # Darker towards the roots and the ends' shadow.
  s = jnp.linspace(0, 1, _ROWS)[None, :]
  tone = shade * (1.05 - draws.uniform(0, 0.6) * (s - 0.45) ** 2)
  hair_albedo = jnp.clip(tone[..., None] * hair_color, 0.003, 0.9)
  hair_gloss = draws.uniform(0.2, 1.2)

  hood = kind == 2
  level = jnp.where(hood, draws.uniform(68, 96), draws.uniform(56, 84))
  lowest = draws.uniform(-165, -110)
  opening = draws.uniform(0.85, 1.35)
  tilt = draws.normal(0, 4) * jnp.sin(angle)
  hat_bottom = level + tilt - draws.uniform(0, 40) * (1 - jnp.cos(angle)) / 2
  around = _smoothstep(jnp.abs(angle), opening - 0.25, opening + 0.25)
  hat_bottom = jnp.where(hood, level + tilt + around * (lowest - level), hat_bottom)
  cap = draws.chance(0.6)
  front = _smoothstep(-jnp.abs(angle), -1.1, -0.6)
  brim = jnp.where(kind == 0, draws.uniform(30, 65) * jnp.where(cap, front, 0.8), 0)
  over = draws.uniform(4, 14) + jnp.where(is_long | hood, 3.0, 0.0)
  # Both at once: half the program.
  both = lambda hair, hat: jnp.stack([hair, jnp.broadcast_to(hat, hair.shape)])
  hair, hat = jax.vmap(lambda *shape: _shell(anatomy, vertices, strands, *shape))(
    both(bottom, hat_bottom),
    both(thickness, over),
    both(jnp.zeros_like(angle), brim),
    both(rough, jnp.where(kind == 0, 0.01, 0.05)),
    both(flare, jnp.where(hood, draws.uniform(0, 0.25), 0.0)),
  )
  hair = _mesh(hair, hair_albedo, hair_gloss)
  color, second = colors.cloth(draws), colors.cloth(draws)
  rows = jnp.arange(_ROWS)[None, :] + 0.0 * angle[:, None]
  columns = jnp.arange(len(angle))[:, None] + 0.0 * rows
  pattern = jnp.sin(rows * draws.uniform(0.4, 3)) * jnp.where(
    draws.chance(0.5), jnp.sin(columns * draws.uniform(0.3, 3)), 1.0
  )
  pattern = jnp.clip(0.5 + 2 * pattern, 0, 1) * draws.chance(0.4)
  knit = jnp.exp(0.12 * strands)
  albedo = (color + pattern[..., None] * (second - color)) * knit[..., None]
  hat = _mesh(hat, jnp.clip(albedo, 0.003, 0.9), draws.uniform(0, 0.3))

  visible = has_hair & ~(worn & hood)
  if without is not None:
    visible = visible & ~without
  # Shaved heads keep a shade of stubble; some are bald.
  opacity = jnp.where(has_hair, 1.0, draws.uniform(0, 0.6) * draws.chance(0.6))
  return (
    meshes.join([meshes.shown(hair, visible), meshes.shown(hat, worn)]),
    hairline,
    opacity,
  )


def scalp_cover(anatomy: Anatomy, hairline: Array) -> jax.Array:
  """Finds how densely hair covers the vertices.

  Args:
    anatomy: of the model.
    hairline: (columns,) y of the lower edge, canonical millimetres.

  Returns:
    (Q,) in [0, 1].
  """
  x, y, z = jnp.moveaxis(jnp.asarray(anatomy.canonical), -1, 0)
  angle = jnp.arctan2(x, z - anatomy.envelope_axis)
  edge = jnp.interp(angle, anatomy.envelope_angle, hairline)
  return jnp.clip((y - edge) / 7 + 0.5, 0, 1) * (
    1 - jnp.asarray(anatomy.fields['ears'])
  )


def _smoothstep(x, low, high):
  t = jnp.clip((x - low) / (high - low), 0, 1)
  return t * t * (3 - 2 * t)


def _hair_style(draws, key, angle, is_long):
  """(columns,) hairline, lower end of the hair, and thickness in mm."""
  aside = jnp.abs(angle)
  line = draws.uniform(80, 100)
  temples = draws.uniform(-4, 22) * jnp.exp(-(((aside - 0.6) / 0.28) ** 2))
  top = line + temples
  sideburn = draws.uniform(-8, 28)
  nape = draws.uniform(-60, -25)
  # Down the temples in a curve, around the ear, to the nape.
  temple = draws.uniform(-0.1, 0.1)
  side = jnp.interp(
    aside - temple,
    jnp.array([0.75, 0.95, 1.05, 1.15, 1.3, 1.5, 1.9, 2.3, 3.2]),
    jnp.stack(
      [line - 6, line - 18, line - 36, sideburn + 10, sideburn, 28.0, 10.0, nape, nape]
    ),
  )
  hairline = top + _smoothstep(aside - temple, 0.6, 0.85) * (side - top)
  # A fringe hangs over the forehead, rarely to the brows; parted anywhere.
  fringe = draws.chance(0.35)
  part = draws.normal(0, 0.45)
  hang = draws.uniform(44, 78)
  open_part = draws.uniform(0, 30) * jnp.exp(-(((angle - part) / 0.25) ** 2))
  fringe_line = hang + open_part + 6 * draws.normal() * jnp.sin(angle)
  front = jnp.where(fringe, jnp.minimum(fringe_line, hairline), hairline)
  # Most hair is held back from the cheeks, some falls over them.
  opening = jnp.where(
    draws.chance(0.2), draws.uniform(0.85, 1.0), draws.uniform(0.95, 1.6)
  )
  # The two sides differ: a lock before one ear, the other tucked behind.
  opening = opening + draws.uniform(0, 0.35) * (draws.uniform(-1, 1) * jnp.sign(angle))
  length = draws.uniform(-190, -30)
  curtain = _smoothstep(aside, opening - 0.2, opening + 0.2)
  long_bottom = front + curtain * (length - front)
  # Locks are a few columns wide.
  noise = jax.random.normal(key, angle.shape)
  noise = (noise + jnp.roll(noise, 1) + 0.7 * jnp.roll(noise, 2)) / 1.6
  ragged = noise * draws.uniform(0.5, 5)
  bottom = jnp.where(
    is_long, jnp.minimum(long_bottom, front), jnp.where(aside < 0.95, front, hairline)
  ) + ragged * (jnp.where(is_long | fringe, 1.0, 0.4))
  thickness = jnp.where(is_long, draws.uniform(5, 22), draws.uniform(1.5, 14.0))
  big = draws.chance(0.12) * draws.uniform(10, 45)  # curls
  return hairline, bottom, jnp.full_like(angle, thickness + big)


def _strands(key, columns):
  """(columns, rows) noise that is stretched along the rows."""
  a, b, c = jax.random.split(key, 3)
  fine = jax.random.normal(a, (columns, 1))
  wide = jax.image.resize(
    jax.random.normal(b, (columns // 4, 3)), (columns, _ROWS), 'linear'
  )
  loose = jax.image.resize(
    jax.random.normal(c, (columns, 5)), (columns, _ROWS), 'linear'
  )
  return 0.6 * fine + 0.6 * wide + 0.5 * loose


def _shell(anatomy, vertices, strands, bottom, thickness, brim, rough, flare):
  """(columns, rows, 3) vertices of a shell in the model's frame and unit."""
  angle = jnp.asarray(anatomy.envelope_angle)[:, None]
  heights = jnp.asarray(anatomy.envelope_height)
  s = jnp.linspace(0, 1, _ROWS)[None, :]
  # The last rows are the brim: they leave the hull level.
  down = jnp.clip(s / 0.85, 0, 1) ** 1.3
  out = jnp.clip((s - 0.85) / 0.15, 0, 1)
  has_brim = jnp.any(brim > 0)
  down = jnp.where(has_brim, down, s**1.3)
  top = heights[0]
  y = top + down * (bottom[:, None] - top)
  # Heights are top - span t^1.6: the level of a height in closed form.
  span = top - heights[-1]
  level = (jnp.clip((top - y) / span, 0, 1) ** (1 / 1.6)) * (len(heights) - 1)
  low = jnp.clip(level.astype(jnp.int32), 0, len(heights) - 2)
  column = jnp.arange(angle.shape[0])[:, None]
  at = level - low
  hull = jnp.asarray(anatomy.envelope_radius)
  radius = hull[column, low] * (1 - at) + hull[column, low + 1] * at
  which = jnp.asarray(anatomy.envelope_vertex)[column, low]
  moved = vertices[which] / anatomy.unit - jnp.asarray(anatomy.canonical)[which]
  # Thin at the free edge, as hair grows out of the skin there.
  free = jnp.where(has_brim, 1.0, 1 - 0.75 * s**6)
  thick = thickness[:, None] * free * (1 + 2.5 * rough * strands)
  below = jnp.clip((10 - y) / 100, 0, 1.5)
  radius = radius + thick + flare * 40 * below + out * brim[:, None]
  y = y + thick * jnp.clip(1 - s * 3, 0, 1) - 0.12 * out * brim[:, None]
  place = jnp.stack(
    [radius * jnp.sin(angle), y, anatomy.envelope_axis + radius * jnp.cos(angle)],
    axis=-1,
  )
  return (place + moved) * anatomy.unit


def _mesh(places, albedo, gloss):
  columns = places.shape[0]
  return meshes.Mesh(
    vertices=places.reshape(-1, 3),
    albedo=albedo.reshape(-1, 3),
    gloss=jnp.full(columns * _ROWS, 0.3) * gloss,
    triangles=meshes.grid_triangles(columns, _ROWS, closed=True, two_sided=True),
  )
