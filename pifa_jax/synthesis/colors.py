"""Random natural colours in linear RGB, and the conversion from CIE Lab."""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis.draws import Draws
from pifa_jax.types import Array

_XYZ_TO_RGB = np.array(
  [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]],
  np.float32,
)
_WHITE = np.array([0.9505, 1.0, 1.0890], np.float32)  # D65
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # Rec. 709, linear

# Linear RGB: black, dark brown, brown, fair, blond, red, grey, white.
_HAIR = np.array(
  [
    [0.007, 0.006, 0.006],
    [0.022, 0.013, 0.009],
    [0.06, 0.034, 0.02],
    [0.16, 0.095, 0.05],
    [0.40, 0.28, 0.14],
    [0.15, 0.045, 0.018],
    [0.20, 0.19, 0.18],
    [0.52, 0.51, 0.49],
  ],
  np.float32,
)
_HAIR_ODDS = (0.25, 0.22, 0.16, 0.10, 0.10, 0.04, 0.08, 0.05)
# Brown, dark brown, hazel, green, blue, grey.
_IRIS = np.array(
  [
    [0.06, 0.028, 0.012],
    [0.02, 0.011, 0.007],
    [0.12, 0.07, 0.025],
    [0.10, 0.11, 0.05],
    [0.10, 0.16, 0.24],
    [0.17, 0.19, 0.21],
  ],
  np.float32,
)
_IRIS_ODDS = (0.3, 0.25, 0.12, 0.08, 0.15, 0.1)


def lab_to_linear(lab: Array) -> jax.Array:
  """Converts CIE Lab (D65) to linear Rec. 709 RGB (CIE 15:2004, IEC 61966-2-1).

  Args:
    lab: (..., 3) L in [0, 100], a, b.

  Returns:
    (..., 3), clipped to [0, 1].
  """
  fy = (lab[..., 0] + 16) / 116
  f = jnp.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
  xyz = _WHITE * jnp.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
  return jnp.clip(xyz @ _XYZ_TO_RGB.T, 0.0, 1.0)


def skin(draws: Draws, width: float) -> jax.Array:
  """Draws a skin tone.

  It is chosen by its individual typology angle (Chardon et al. 1991),
  ITA = atan((L - 50) / b), from deep brown (-50 degrees) to very light (60 degrees).

  Args:
    draws: a stream.
    width: 1 = the whole range, 0 = one tone.

  Returns:
    (3,) linear RGB.
  """
  ita = jnp.deg2rad(15 + width * draws.uniform(-62, 43))
  # Intermediate tones are the most yellow ones.
  b = 12 + 6.5 * jnp.cos(1.4 * ita) + width * draws.normal(0, 1.5)
  a = 11 + width * draws.normal(0, 1.8) - 2 * jnp.abs(ita)
  lightness = 50 + jnp.maximum(b, 6) * jnp.tan(ita)
  return lab_to_linear(jnp.stack([lightness, a, b]))


def hair(draws: Draws) -> jax.Array:
  """Draws the colour of natural hair.

  Args:
    draws: a stream.

  Returns:
    (3,) linear RGB.
  """
  color = jnp.asarray(_HAIR)[draws.choice(_HAIR_ODDS)]
  return color * jnp.exp(draws.normal(0, 0.25) + draws.normal(0, 0.05, (3,)))


def iris(draws: Draws) -> jax.Array:
  """Draws the colour of an iris.

  Args:
    draws: a stream.

  Returns:
    (3,) linear RGB.
  """
  color = jnp.asarray(_IRIS)[draws.choice(_IRIS_ODDS)]
  return color * jnp.exp(draws.normal(0, 0.2) + draws.normal(0, 0.08, (3,)))


def cloth(draws: Draws) -> jax.Array:
  """Draws the colour of clothes or an object: often dark, white or dull.

  Args:
    draws: a stream.

  Returns:
    (3,) linear RGB.
  """
  lightness = draws.uniform(3, 95)
  angle = draws.uniform(0, 2 * np.pi)
  # The cube makes dull colours frequent and strong ones rare.
  chroma = 75 * draws.uniform() ** 3 + 3
  return lab_to_linear(
    jnp.stack([lightness, chroma * jnp.cos(angle), chroma * jnp.sin(angle)])
  )
