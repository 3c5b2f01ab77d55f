"""The colours of a head: skin and its detail, lips, make-up, beard, brows, eyes.

Smooth colours are computed at the vertices. Those with sharp edges (brows, irises) are
computed at the samples, from their place on the mean face.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import colors
from pifa_jax.synthesis.anatomy import Anatomy
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Complexion:
  """The colours and small features of one person.

  Attributes:
    skin: (3,) linear RGB, as all colours here.
    hair: (3,) of the head.
    beard: (3,).
    brow_color: (3,).
    brow_density: () in [0, 1].
    brow_shape: (4,) thickness (mm), lift (mm), arch (mm) and shift of the ends.
    iris: (3,).
    iris_radius: () mm.
    pupil_radius: () mm.
    gaze: (2,) right and up, mm of the iris's centre.
    sclera: (3,).
  """

  skin: Array
  hair: Array
  beard: Array
  brow_color: Array
  brow_density: Array
  brow_shape: Array
  iris: Array
  iris_radius: Array
  pupil_radius: Array
  gaze: Array
  sclera: Array


_EYEBALL_RADIUS = 12.5  # mm


def random_complexion(key: Array, config: Ingredients) -> Complexion:
  """Draws the colours and small features of a person.

  Args:
    key: a key.
    config: strengths of `skin_tone` and `gaze`.

  Returns:
    The complexion.
  """
  draws = Draws(key, 64)
  skin = colors.skin(draws, config.skin_tone)
  hair = colors.hair(draws)
  # Dark skin mostly goes with dark hair.
  dark = draws.chance(jnp.clip(1.2 - 4 * skin[1], 0, 0.9))
  hair = jnp.where(
    dark, jnp.array([0.010, 0.008, 0.007]) * jnp.exp(draws.normal(0, 0.3)), hair
  )
  # Brows and beards are darker than hair, or as it was before it greyed.
  brow = hair * draws.uniform(0.35, 1.0)
  brow = jnp.where(draws.chance(0.3), jnp.minimum(brow, 0.06), brow)
  beard = hair * draws.uniform(0.6, 1.3)
  iris = jnp.where(dark, jnp.array([0.02, 0.011, 0.007]), colors.iris(draws))
  # Some brows are nearly invisible.
  density = jnp.where(
    draws.chance(0.12), draws.uniform(0.05, 0.35), draws.uniform(0.4, 0.95)
  )
  shape = jnp.stack(
    [
      draws.uniform(1.7, 4.3),
      draws.normal(-0.8, 0.9),
      draws.normal(0.0, 0.8),
      draws.uniform(-2.0, 4.0),
    ]
  )
  gaze = _EYEBALL_RADIUS * jnp.sin(
    jnp.deg2rad(draws.normal(0, config.gaze, (2,)) * jnp.array([1.0, 0.6]))
  )
  white = draws.uniform(0.35, 0.62)
  return Complexion(
    skin=skin,
    hair=hair,
    beard=beard,
    brow_color=brow,
    brow_density=density,
    brow_shape=shape,
    iris=iris,
    iris_radius=draws.uniform(5.5, 6.3),
    pupil_radius=draws.uniform(1.6, 3.2),
    gaze=gaze,
    sclera=white * jnp.array([1.0, 0.91, 0.84]) * jnp.exp(draws.normal(0, 0.05, (3,))),
  )


def vertex_albedo(
  key: Array, person: Complexion, anatomy: Anatomy, config: Ingredients
) -> tuple[jax.Array, jax.Array]:
  """Computes the colours and the gloss of the vertices.

  Args:
    key: a key.
    person: the complexion.
    anatomy: of the model.
    config: strengths of `skin_detail`, `make_up` and `beard`.

  Returns:
    (Q, 3) linear RGB and (Q,) gloss in [0, 1].
  """
  key, key_noise = jax.random.split(key)
  draws = Draws(key, 160)
  field = anatomy.fields
  detail = config.skin_detail
  skin = person.skin
  grain = jax.random.normal(key_noise, (anatomy.canonical.shape[0], 2))
  # Colours are changed by factors: the same blush is weaker on dark skin.
  log_tint = 0.0
  tint = lambda weight, rgb: weight[:, None] * jnp.asarray(rgb)
  red = jnp.array([0.08, -0.20, -0.17])
  amount = lambda high: detail * draws.uniform(0, high)
  log_tint += tint(field['cheeks'] * amount(0.9), red)
  log_tint += tint(field['nose'] * amount(0.9), red)
  log_tint += tint(field['ears'] * amount(1.0), red)
  log_tint += tint(field['bags'] * amount(0.8), [-0.45, -0.55, -0.45])
  log_tint += tint(field['sockets'] * amount(0.6), [-0.35, -0.48, -0.42])
  age = draws.uniform() ** 2
  log_tint += tint(
    field['folds'] * (amount(0.35) + 0.8 * detail * age), [-0.30, -0.38, -0.38]
  )
  log_tint += tint(field['creases'] * amount(0.9), [-0.45, -0.55, -0.55])
  y = anatomy.canonical[:, 1]
  lines = jnp.sin(
    y * draws.uniform(0.55, 0.9) + draws.uniform(0, 6) + 0.04 * anatomy.canonical[:, 0]
  )
  log_tint += tint(
    field['forehead'] * jax.nn.relu(lines) ** 3 * age * 0.7 * detail,
    [-0.30, -0.36, -0.36],
  )
  # Large, smooth blotches, and the grain of pores, freckles and moles.
  waves = draws.normal(0, 0.045, (3, 6)) * jnp.array([1.0, 1, 1, 2.2, 2.2, 2.2])
  phase = draws.uniform(0, 2 * np.pi, (6,))
  blotch = jnp.sin(anatomy.canonical @ waves + phase)
  # Mostly lighter and darker, a little redder and yellower.
  log_tint += (
    detail * blotch @ (draws.normal(0, 0.035, (6, 1)) + draws.normal(0, 0.010, (6, 3)))
  )
  log_tint += tint(grain[:, 0] * detail * 0.07 * draws.uniform(), [1, 1, 1])
  freckled = draws.chance(0.2) * (draws.uniform(0.2, 0.8))
  spots = jax.nn.relu(grain[:, 1] - draws.uniform(1.2, 2.6)) * (
    freckled + 0.25 * detail * age
  )
  log_tint += tint(-jnp.minimum(spots, 0.8) * detail, [0.5, 0.75, 0.9])
  color = skin * jnp.exp(log_tint)

  blend = lambda color, weight, other: color + weight[:, None] * (other - color)
  # Lips: as the skin but redder, or painted.
  paint = draws.chance(config.make_up)
  natural = skin * jnp.array([0.95, 0.62, 0.62]) * jnp.exp(draws.normal(0, 0.12, (3,)))
  stick = jnp.stack(
    [draws.uniform(0.15, 0.55), draws.uniform(0.01, 0.12), draws.uniform(0.02, 0.10)]
  )
  lips = jnp.where(paint, stick, natural)
  strength = jnp.where(paint, draws.uniform(0.5, 0.95), draws.uniform(0.3, 1.0))
  color = blend(color, field['lips'] * strength, lips)
  color = blend(color, field['seam'] * draws.uniform(0.35, 0.85), 0.22 * lips)
  # Eyes: shadow on the lids, dark rims of lashes or liner.
  shade = draws.chance(config.make_up)
  eye_paint = colors.cloth(draws) * 0.4
  color = blend(color, field['lid'] * shade * draws.uniform(0.2, 0.7), eye_paint)
  liner = draws.chance(config.make_up)
  rim = jnp.where(liner, 0.95, draws.uniform(0.25, 0.85))
  color = blend(color, field['lashes_upper'] * rim, jnp.array([0.012] * 3))
  color = blend(
    color,
    field['lashes_lower'] * jnp.where(liner, 0.7, draws.uniform(0.05, 0.45)),
    0.25 * skin,
  )
  color = blend(color, field['nostrils'] * draws.uniform(0.6, 0.95), 0.10 * skin)
  # Beard: its part of the face, its density, and the grain of hairs.
  kind = draws.choice((0.45, 0.25, 0.15, 0.15))
  parts = jnp.stack(
    [
      jnp.maximum(field['beard'], field['moustache']),  # stubble
      jnp.maximum(field['beard'], field['moustache']),
      jnp.maximum(field['goatee'], field['moustache']),
      field['moustache'],
    ]
  )
  density = jnp.where(
    kind == 0, draws.uniform(0.12, 0.5), draws.uniform(0.6, 0.95)
  ) * draws.chance(config.beard)
  hairs = jnp.clip(1 + 0.15 * grain[:, 1], 0, 1.3)
  color = blend(color, jnp.clip(parts[kind] * density * hairs, 0, 0.97), person.beard)
  color = blend(
    color,
    field['mouth_inside'],
    jnp.array([0.16, 0.035, 0.03]) * draws.uniform(0.4, 1.2),
  )
  gloss = (
    field['oil'] * draws.uniform(0.0, 1.0)
    + 0.25
    + field['lips'] * draws.uniform(0, 1.5)
  ) * (1 - field['mouth_inside'])
  return jnp.clip(color, 0.003, 0.95), jnp.clip(gloss, 0, 2)


def paint_brows(
  color: Array, place: Array, person: Complexion, anatomy: Anatomy, grain: Array
) -> Array:
  """Paints the brows onto samples of the face.

  Args:
    color: (..., 3) albedo.
    place: (..., 2) x, y on the mean face, canonical millimetres; far away for
      what is not the face.
    person: the complexion.
    anatomy: of the model.
    grain: (...) noise of hairs, about standard normal.

  Returns:
    (..., 3) albedo, linear RGB.
  """
  x, y = jnp.abs(place[..., 0]), place[..., 1]
  thickness, lift, arch, reach = person.brow_shape
  start, end = anatomy.brow[0, 0] - 0.3 * reach, anatomy.brow[-1, 0] + 0.6 * reach
  along = (x - start) / (end - start)
  # A parabola: no table look-ups.
  middle = jnp.polyval(jnp.asarray(anatomy.brow_curve), x)
  middle = middle + lift + arch * (1 - (2 * along - 1) ** 2)
  # Thickest in the inner half, pointed outside.
  half = (
    thickness
    * jnp.clip(1.25 - 0.9 * along, 0.25, 1.0)
    * jnp.clip(4 * along + 0.5, 0.3, 1)
  )
  across = jnp.abs(y - middle) / half
  inside = (
    jnp.clip((1.25 - across) / 0.7, 0, 1)
    * jnp.clip(along * 9 + 0.6, 0, 1)
    * jnp.clip((1.03 - along) * 7, 0, 1)
  )
  alpha = person.brow_density * inside * jnp.clip(0.9 + 0.3 * grain, 0.2, 1.15)
  alpha = jnp.clip(alpha, 0, 0.97)
  return color + alpha[..., None] * (person.brow_color - color)


def eyeball_color(place: Array, person: Complexion, anatomy: Anatomy) -> Array:
  """Computes the colour of samples of the eyeballs: sclera, iris and pupil.

  Args:
    place: (..., 2) x, y on the mean face's eyeballs, canonical millimetres.
    person: the complexion, with its gaze.
    anatomy: of the model.

  Returns:
    (..., 3) albedo, linear RGB.
  """
  right = place[..., 0] > 0
  centre = jnp.where(right[..., None], anatomy.eyes[1, :2], anatomy.eyes[0, :2])
  offset = place - centre - person.gaze
  r = jnp.sqrt(jnp.sum(offset**2, axis=-1))
  soft = lambda edge, width: jnp.clip((edge - r) / width + 0.5, 0, 1)[..., None]
  ring = jnp.clip(1 - jnp.abs(r - person.iris_radius + 0.6) / 1.2, 0, 1)[..., None]
  iris = person.iris * (1 - 0.65 * ring)
  # Redder towards the corners.
  side = jnp.clip(r / 14, 0, 1)[..., None] ** 2
  sclera = person.sclera * (1 - side * jnp.array([0.15, 0.4, 0.4]))
  color = sclera + soft(person.iris_radius, 0.9) * (iris - sclera)
  return color + soft(person.pupil_radius, 0.6) * (0.006 - color)
