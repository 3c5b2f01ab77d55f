"""Light of real places: environment maps, as light and as a background that agrees.

A map has a frame of its own: y up, any azimuth.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import projection
from pifa_jax.synthesis import lighting
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.synthesis.lighting import Light
from pifa_jax.types import Array

_RAYS = 28  # along a side of a view; a panorama's pixel is as wide as a few of them
_BRIGHTEST = 12.0  # of a background, in units of the mean radiance of its map
_FLAT = np.eye(9, dtype=np.float32)[:, :1]  # white, the same from all sides


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LightMaps:
  """The light of M places. Its mean over all directions has a luminance of 1.

  Attributes:
    harmonics: (M, 9, 3) radiance without the lamps, as in `lighting.Light`.
    directions: (M, 2, 3) unit, towards the two strongest lamps.
    colors: (M, 2, 3) their strengths.
    width: (M, 2) exponents of their lobes.
    panorama: (M, H, 2 H, 3) radiance with the lamps, blurred; row 0 is the zenith.
  """

  harmonics: Array
  directions: Array
  colors: Array
  width: Array
  panorama: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Surroundings:
  """Where a face is.

  Attributes:
    used: () bool, whether the light is that of a map at all.
    shown: () bool, whether the map is the background as well.
    which: () int32 index of the map.
    rotation: (3, 3) orthogonal, of the map to the camera's frame; it may be mirrored.
    gain: (3,) by what the radiance is multiplied.
  """

  used: Array
  shown: Array
  which: Array
  rotation: Array
  gain: Array


def rotate(harmonics: Array, rotation: Array) -> jax.Array:
  """Turns radiance that is given by spherical harmonics.

  An order of harmonics stays itself under rotation, so its values in a few directions
  determine the turned coefficients exactly.

  Args:
    harmonics: (9, 3) of `lighting.basis`.
    rotation: (3, 3) orthogonal, of the old to the new frame.

  Returns:
    (9, 3) in the new frame.
  """
  count = 24
  at = np.arange(count) + 0.5
  z, angle = 1 - 2 * at / count, np.pi * (1 + 5**0.5) * at
  r = np.sqrt(1 - z * z)
  directions = np.stack([r * np.cos(angle), r * np.sin(angle), z], 1).astype(np.float32)
  inverse = np.linalg.pinv(np.asarray(lighting.basis(directions, np)))
  seen = jnp.asarray(lighting.basis(directions @ rotation) @ harmonics)
  return jnp.asarray(inverse) @ seen


def random_place(
  key: Array, maps: LightMaps, light: Light, config: Ingredients
) -> tuple[Light, Surroundings]:
  """Puts a share of the faces into the light of a map, turned and varied.

  Args:
    key: a key.
    maps: to choose from.
    light: of the other faces.
    config: probabilities of `light_maps` and `scenery`; strengths of `environment` and
      `key_light`.

  Returns:
    The light and the surroundings.
  """
  draws = Draws(key, 48)
  count = maps.harmonics.shape[0]
  index = lambda: jnp.minimum(jnp.int32(draws.uniform(0, count)), count - 1)
  used, shown = draws.chance(config.light_maps), draws.chance(config.scenery)
  which, other = index(), index()
  pick = lambda value, i: jnp.asarray(value)[i].astype(jnp.float32)
  upright = jnp.stack([draws.normal(0, 0.12), draws.normal(0, 0.06)])
  flip = jnp.where(draws.chance(0.5), -1.0, 1.0)
  azimuth, offset = draws.uniform(-np.pi, np.pi), draws.uniform(-np.pi, np.pi)

  def turned(angle):
    turn = projection.rotation_from_euler(angle, upright[0], upright[1])
    return turn * jnp.stack([flip, 1.0, 1.0])

  # Who takes a picture of a face mostly has the light behind him.
  lit = turned(azimuth)[2] @ (
    pick(maps.harmonics, which)[1:4] * (2 / 3)
    + (pick(maps.directions, which)[..., None] * pick(maps.colors, which)[:, None]).sum(
      axis=0
    )
  )
  behind = (jnp.mean(lit) < 0) & draws.chance(0.6)
  rotation = turned(jnp.where(behind, azimuth + np.pi, azimuth))
  # A second place fills in, as another window or a wall does.
  mix = draws.uniform(0, 0.7) * draws.chance(0.35)
  harmonics = (1 - mix) * rotate(pick(maps.harmonics, which), rotation) + mix * rotate(
    pick(maps.harmonics, other), turned(azimuth + offset)
  )
  # Cameras take a part of the light's colour away.
  tone = pick(maps.harmonics, which)[0] + pick(maps.colors, which).sum(axis=0) / 4
  balance = jnp.maximum(tone, 0.05) ** -draws.uniform(0.4, 1.0)
  gain = balance * jnp.exp(draws.normal(0, 0.2) + draws.normal(0, 0.06, (3,)))
  lamps = jnp.exp(draws.normal(0, 0.4, (2,))) * jnp.stack([1 - mix / 2, 1 - mix])
  harmonics = jnp.asarray(_FLAT + config.environment * (gain * harmonics - _FLAT))
  colors = config.key_light * (lamps[:, None] * gain * pick(maps.colors, which))
  found = Light(
    harmonics=harmonics,
    directions=pick(maps.directions, which) @ rotation.T,
    colors=colors,
    width=pick(maps.width, which),
  )
  chosen = jax.tree.map(lambda a, b: jnp.where(used, a, b), found, light)
  return chosen, Surroundings(
    used=used, shown=used & shown, which=which, rotation=rotation, gain=gain
  )


def view(key: Array, maps: LightMaps, place: Surroundings) -> jax.Array:
  """Looks past the face into the map.

  Args:
    key: of the angle of view.
    maps: those of `place`.
    place: where the face is.

  Returns:
    (28, 28, 3) linear radiance at the corners of a coarse grid over the image.
  """
  height, width = maps.panorama.shape[1:3]
  half = jnp.tan(jnp.deg2rad(jax.random.uniform(key, (), minval=12.0, maxval=42.0)))
  at = jnp.linspace(-1, 1, _RAYS) * half
  y, x = jnp.meshgrid(-at, at, indexing='ij')
  rays = jnp.stack([x, y, -jnp.ones_like(x)], axis=-1) @ place.rotation
  rays = rays / jnp.linalg.norm(rays, axis=-1, keepdims=True)
  row = jnp.arccos(jnp.clip(rays[..., 1], -1, 1)) / np.pi * height - 0.5
  column = jnp.arctan2(-rays[..., 0], rays[..., 2]) / (2 * np.pi) * width - 0.5
  panorama = jnp.asarray(maps.panorama)
  low_row, low_column = jnp.floor(row), jnp.floor(column)
  out: Array | float = 0.0
  for down in (0, 1):
    for right in (0, 1):
      weight = jnp.abs(1 - down - (row - low_row)) * jnp.abs(
        1 - right - (column - low_column)
      )
      found = panorama[
        place.which,
        jnp.clip(low_row + down, 0, height - 1).astype(jnp.int32),
        jnp.mod(low_column + right, width).astype(jnp.int32),
      ]
      out = out + weight[..., None] * found.astype(jnp.float32)
  return jnp.asarray(place.gain * jnp.minimum(out, _BRIGHTEST))
