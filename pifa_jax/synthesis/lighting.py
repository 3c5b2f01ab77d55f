"""Light on a face: surroundings, lamps, the head's own shadow, highlights."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Light:
  """The light of one image, in the camera's frame (x right, y up, z to viewer).

  Attributes:
    harmonics: (9, 3) radiance of the surroundings, second-order spherical
      harmonics (unnormalised basis of `basis`), RGB.
    directions: (2, 3) unit, towards the lamps.
    colors: (2, 3) their strengths.
    width: (2,) exponents of their lobes; large is a small lamp.
  """

  harmonics: Array
  directions: Array
  colors: Array
  width: Array


def basis(directions: Array, library: Any = jnp) -> jax.Array:
  """Computes the spherical harmonics up to the second order, unnormalised.

  Args:
    directions: (..., 3) unit.
    library: NumPy's or JAX's functions.

  Returns:
    (..., 9); harmonics of different kinds are orthogonal over the sphere.
  """
  x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
  return library.stack(
    [library.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y],
    axis=-1,
  )


def random_light(key: Array, config: Ingredients) -> Light:
  """Draws the light of one image.

  Args:
    key: a key.
    config: strengths of `environment` and `key_light`.

  Returns:
    The light; with both strengths 0 it is white, of radiance 1 from all sides.
  """
  draws = Draws(key, 64)
  env, lamp = config.environment, config.key_light
  warm = lambda s: jnp.exp(
    s * draws.normal() * jnp.array([1.0, 0.05, -1.0])
    + 0.3 * s * draws.normal(0, 1, (3,))
  )
  tint = warm(0.10 * env)
  # Light mostly comes from above and, on photos of faces, from the front.
  linear = jnp.array([0.0, 0.28, 0.12]) * env + draws.normal(0, 0.22 * env, (3,))
  second = draws.normal(0, 0.07 * env, (5,))
  shape = jnp.concatenate([jnp.ones(1), linear, second])
  colored = draws.normal(0, 0.03 * env, (9, 3))
  harmonics = tint * (shape[:, None] + colored)
  directions = draws.normal(0, 1, (2, 3)) * jnp.array([1.0, 0.6, 0.7]) + jnp.array(
    [[0.0, 0.7, 0.9], [0.0, 0.1, -0.2]]
  )
  directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
  # From flat, cloudy light to a lamp or the sun alone; a second one at times.
  strength = (
    3.0
    * lamp
    * jnp.stack([draws.uniform() ** 1.3, draws.uniform() * draws.chance(0.3)])
  )
  colors = strength[:, None] * jnp.stack([warm(0.08 * lamp), warm(0.22 * lamp)])
  return Light(
    harmonics=harmonics,
    directions=directions,
    colors=colors,
    width=draws.uniform(2.0, 40.0, (2,)),
  )


def irradiance(
  light: Light, normals: Array, rotation: Array, directions: Array, visibility: Array
) -> jax.Array:
  """Computes the diffuse light at every vertex of the head, with its own shadow.

  The surroundings and the lamps are sampled in the directions for which shadows
  are known: E = sum_k V_k max(0, n.d_k) L(d_k), scaled so that unit radiance all
  around gives 1 on an open surface.

  Args:
    light: of the image.
    normals: (Q, 3) unit, model frame.
    rotation: (3, 3) model to camera frame.
    directions: (K, 3) unit, model frame.
    visibility: (Q, K) share of the light from each direction that arrives.

  Returns:
    (Q, 3) irradiance, RGB.
  """
  view_directions = directions @ rotation.T
  radiance = jnp.maximum(basis(view_directions) @ light.harmonics, 0.05)
  # A lobe's samples add up to the same light, wherever it points.
  lobe = jnp.exp(light.width * (view_directions @ light.directions.T - 1))
  lobe = lobe / jnp.sum(lobe, axis=0)
  count = directions.shape[0]
  radiance = radiance + 0.25 * count * lobe @ light.colors
  cosine = jax.nn.relu(normals @ directions.T) * visibility
  return (4.0 / count) * cosine @ radiance


def open_irradiance(light: Light, normals: Array) -> jax.Array:
  """Computes the diffuse light of surfaces that cast no shadow on themselves.

  The unit is that of `irradiance`. The harmonics are weakened as in Ramamoorthi and
  Hanrahan, 2001.

  Args:
    light: of the image.
    normals: (..., 3) unit, camera frame.

  Returns:
    (..., 3) irradiance, RGB.
  """
  # Lambert's cosine weakens the first and second order to 2/3 and 1/4.
  order = np.array([1.0] + 3 * [2 / 3] + 5 * [0.25], np.float32)
  around = jnp.maximum(basis(normals) * order @ light.harmonics, 0.05)
  lamps = jax.nn.relu(normals @ light.directions.T) @ light.colors
  return around + lamps


def highlight(light: Light, normals: Array, *, sharp: bool) -> jax.Array:
  """Computes the reflections of the lamps on a glossy surface (Blinn 1977).

  Args:
    light: of the image.
    normals: (..., 3) unit, camera frame.
    sharp: True = small as on an eye, False = broad as on skin.

  Returns:
    (..., 3) radiance for a gloss of 1, RGB.
  """
  half = light.directions + jnp.array([0.0, 0.0, 1.0])
  half = half / jnp.maximum(jnp.linalg.norm(half, axis=1, keepdims=True), 1e-3)
  return jax.nn.relu(normals @ half.T) ** (128 if sharp else 16) @ light.colors


def sheen(light: Light, normals: Array) -> jax.Array:
  """Computes the surroundings' reflection on a surface that is seen at a flat angle.

  The share of reflected light is Schlick's (1994), (1 - cos)^5.

  Args:
    light: of the image.
    normals: (..., 3) unit, camera frame.

  Returns:
    (..., 3) radiance for a gloss of 1, RGB.
  """
  cosine = normals[..., 2:]
  mirrored = 2 * cosine * normals - jnp.array([0.0, 0.0, 1.0])
  radiance = jnp.maximum(basis(mirrored) @ light.harmonics, 0.0)
  # What is seen from behind is hidden.
  return jnp.where(cosine > 0, (1 - cosine) ** 5, 0.0) * radiance
