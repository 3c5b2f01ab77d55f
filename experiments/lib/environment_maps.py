"""Reads and measures environment maps: lamps, harmonics and a blurred panorama."""

import base64
import pathlib
import tempfile

import numpy as np

from pifa_jax.synthesis import lighting

_HEIGHT = 64  # of a panorama, pixels
_LAMPS = 2
_LAMP = np.cos(np.deg2rad(20))  # the cone that is one lamp
_WIDEST, _NARROWEST = 2.0, 40.0  # exponents of lobes
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def directions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
  """Finds what the pixels of an equirectangular map show.

  Args:
    height: of the map, pixels.
    width: likewise.

  Returns:
    (height, width, 3) unit directions and (height, 1) solid angles, steradians.
  """
  polar = np.pi * (np.arange(height) + 0.5) / height
  azimuth = 2 * np.pi * (np.arange(width) + 0.5) / width
  r, y = np.sin(polar)[:, None], np.cos(polar)[:, None]
  found = np.stack(
    [-r * np.sin(azimuth), np.broadcast_to(y, (height, width)), r * np.cos(azimuth)], -1
  )
  return found, np.sin(polar)[:, None] * np.pi / height * 2 * np.pi / width


def measure(radiance: np.ndarray) -> dict[str, np.ndarray]:
  """Measures one map.

  Args:
    radiance: (H, W, 3) linear, H a multiple of 64 and W = 2 H.

  Returns:
    The arrays of `LightMaps` for one map.
  """
  toward, angle = directions(*radiance.shape[:2])
  radiance = np.maximum(radiance.astype(np.float64), 0)  # compression overshoots
  radiance = radiance / ((radiance @ _LUMINANCE * angle).sum() / (4 * np.pi))
  block = radiance.shape[0] // _HEIGHT
  small = radiance.reshape(_HEIGHT, block, 2 * _HEIGHT, block, 3).mean(axis=(1, 3))
  rest, lamps = radiance.copy(), []
  for _ in range(_LAMPS):
    # The centre is the brightest place of the blurred map.
    coarse = (rest @ _LUMINANCE).reshape(_HEIGHT, block, 2 * _HEIGHT, block)
    v, u = np.unravel_index(np.argmax(coarse.mean(axis=(1, 3))), (_HEIGHT, 2 * _HEIGHT))
    centre = directions(_HEIGHT, 2 * _HEIGHT)[0][v, u]
    inside = toward @ centre > _LAMP
    around = np.median(rest[(toward @ centre > 2 * _LAMP**2 - 1) & ~inside], axis=0)
    above = np.where(inside[..., None], np.maximum(rest - around, 0), 0)
    rest = rest - above
    power = above @ _LUMINANCE * angle
    mean = (power[..., None] * toward).sum(axis=(0, 1)) / max(power.sum(), 1e-9)
    length = float(np.linalg.norm(mean))
    lamps.append(
      (
        mean / max(length, 1e-9) if length > 1e-6 else centre,
        # E = L * solid angle / pi, so that radiance 1 all around gives 1.
        (above * angle[..., None]).sum(axis=(0, 1)) / np.pi,
        np.clip(1 / max(1 - length, 1e-3), _WIDEST, _NARROWEST),
      )
    )
  basis = np.asarray(lighting.basis(toward, np))
  weights = np.broadcast_to(angle, toward.shape[:2])[..., None]
  norms = (basis**2 * weights).sum(axis=(0, 1))
  harmonics = np.einsum('hwk,hwc->kc', basis * weights, rest) / norms[:, None]
  return {
    'harmonics': harmonics.astype(np.float32),
    'directions': np.array([lamp[0] for lamp in lamps], np.float32),
    'colors': np.array([lamp[1] for lamp in lamps], np.float32),
    'width': np.array([lamp[2] for lamp in lamps], np.float32),
    'panorama': small,
  }


def read(path: pathlib.Path) -> np.ndarray:
  """Reads a map.

  Args:
    path: *.exr or *.exr.js.

  Returns:
    (H, W, 3) linear radiance.

  Raises:
    ImportError: if the package OpenEXR is missing.
    ValueError: if it is no equirectangular map of a usual size.
  """
  try:
    import OpenEXR
  except ImportError as error:
    raise ImportError(
      'Environment maps need the package OpenEXR: pip install OpenEXR.'
    ) from error
  with tempfile.TemporaryDirectory() as folder:
    if path.suffix == '.js':
      packed = (
        path.read_text().partition('base64,')[2].strip().rstrip(';').rstrip('\'"')
      )
      path = pathlib.Path(folder) / path.stem
      path.write_bytes(base64.b64decode(packed))
    radiance = np.asarray(OpenEXR.File(str(path)).channels()['RGB'].pixels)
  height, width = radiance.shape[:2]
  if width != 2 * height or height % _HEIGHT:
    raise ValueError(
      f'{path.name} is {width} x {height} pixels; an equirectangular map is twice as '
      f'wide as high, and its height a multiple of {_HEIGHT}.'
    )
  return radiance
