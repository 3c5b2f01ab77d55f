"""Labelled faces drawn from the face model: exact P, landmarks and visibility.

Sample i is a function of (seed, i) alone: the same picture in any order and
batch.
"""

import dataclasses
import functools
from typing import Any, Callable

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax import morphable_model, projection, rendering
from pifa_jax.types import Array, FaceParams, MorphableModel, flatten_params

VERSION = 1  # part of the cache key: raise it when the pictures change
SCHEME = 'ibug68'

# Visible skin over the human range, from deep brown to pale; linear-ish RGB.
_SKIN = np.array([[0.16, 0.09, 0.06], [0.33, 0.20, 0.13], [0.52, 0.34, 0.24],
                  [0.70, 0.50, 0.38], [0.85, 0.66, 0.55]], np.float32)
_HAIR = np.array([[0.03, 0.02, 0.02], [0.13, 0.08, 0.05], [0.35, 0.22, 0.10],
                  [0.45, 0.42, 0.40]], np.float32)
_IRIS = np.array([[0.10, 0.05, 0.03], [0.15, 0.25, 0.35], [0.20, 0.25, 0.12]],
                 np.float32)
# A landmark this far (mm on the built-in face: 4 % of the inter-ocular distance)
# behind the surface is still on it: lids and lips are thinner than the pixels.
_TOLERANCE = 0.05


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
  """The distribution of the faces.

  Attributes:
    image_size: side of the packed crop, pixels.
    margin: side of the crop over side of the face box.
    yaw_max: degrees; yaw is uniform in +-yaw_max.
    pitch_stddev: degrees, cut at 35.
    roll_stddev: degrees, cut at 45.
    identity_limit: coefficients are normal, cut at this many deviations.
    num_units: expression units that are active at once, at most.
  """

  image_size: int = 160
  margin: float = 1.4
  yaw_max: float = 90.0
  pitch_stddev: float = 12.0
  roll_stddev: float = 14.0
  identity_limit: float = 2.5
  num_units: int = 4


def generate(model: MorphableModel, config: SyntheticConfig, *, seed: int,
             start: int, count: int, expression_units: np.ndarray | None = None,
             progress: Callable[[str], None] = lambda text: None
             ) -> dict[str, np.ndarray]:
  """Draws samples start .. start + count - 1.

  Args:
    model: the 3DMM, with 'ibug68' and triangles; regions colour what they name.
    config: the distribution.
    seed: of the set.
    start: first index.
    count: how many.
    expression_units: (U, N_E) coefficients of single actions; a face then adds a
      few of them with weights in [0, 1]. None = normal coefficients.
    progress: is told how far it has come.

  Returns:
    'images' (n, S, S, 3) uint8, 'landmarks' (n, 68, 2), 'visible' (n, 68) by the
    z-buffer, 'params' (n, 8 + N_I + N_E), all in pixels of the image, 'boxes'
    (n, 4) the square face boxes, 'yaw' (n,) degrees.
  """
  draw = make_sampler(model, config, seed, expression_units)
  parts = []
  step = 64
  for first in range(start, start + count, step):
    # One compiled size; what is too much at the end is thrown away.
    out = jax.device_get(draw(jnp.arange(first, first + step)))
    parts.append({name: value[:start + count - first]
                  for name, value in out.items()})
    done = min(first + step - start, count)
    if done % 1024 == 0 or done == count:
      progress(f'  {done} of {count}')
  return {name: np.concatenate([part[name] for part in parts])
          for name in parts[0]}


def make_sampler(model: MorphableModel, config: SyntheticConfig, seed: int,
                 expression_units: np.ndarray | None = None
                 ) -> Callable[[Array], dict[str, jax.Array]]:
  """The compiled function behind `generate`: (n,) indices -> samples.

  Args:
    model, config, seed, expression_units: see `generate`.

  Returns:
    A jitted function of (n,) int32.
  """
  # Pixels a model unit of a frontal mean face, with a reserve of 1.5 for small
  # landmark boxes (profiles) and larger faces.
  points = np.asarray(model.mean_shape)[np.asarray(
      model.landmark_schemes[SCHEME])]
  extent = np.ptp(points[:, :2], axis=0)
  side = config.image_size / config.margin
  buckets = rendering.triangle_buckets(
      model.mean_shape, model.triangles, 1.5 * side / np.sqrt(extent.prod()))
  interocular = float(np.linalg.norm(points[36] - points[45]))

  def sample(model, units, index):
    key = jax.random.fold_in(jax.random.key(seed), index)
    return sample_face(key, model, config, buckets=buckets,
                       tolerance=_TOLERANCE * interocular, units=units)

  @jax.jit
  def run(model, units, indices):
    return jax.lax.map(functools.partial(sample, model, units), indices)

  on_device = jax.device_put(model)
  return lambda indices: run(on_device, expression_units, indices)


def sample_face(key: Array, model: MorphableModel, config: SyntheticConfig, *,
                buckets: Any, tolerance: float,
                units: Array | None = None) -> dict[str, jax.Array]:
  """Draws one face; arguments as in `generate`, buckets of `rendering`.

  Returns:
    The entries of `generate` for one sample.
  """
  key_pose, key_shape, key_look, key_ground, key_photo = jax.random.split(key, 5)
  size = config.image_size
  face, yaw = _random_face(key_pose, key_shape, model, config, units)
  vertices = morphable_model.shape(model, face)
  positions = projection.project(face.camera, vertices)
  depth = projection.depth(face.camera, vertices)
  ids, weights, z_buffer = rendering.rasterize(
      positions, depth, model.triangles, buckets, image_size=size)
  normals = morphable_model.vertex_normals(vertices, model.triangles)
  rotation = projection.pose_from_camera(face.camera)['rotation']
  attributes = jnp.concatenate(
      [normals @ rotation.T, _albedo(key_look, model)], axis=1)
  pixels = rendering.interpolate(ids, weights, model.triangles, attributes)
  normal = pixels[..., :3]
  length = jnp.linalg.norm(normal, axis=-1, keepdims=True)
  lit = rendering.shade(pixels[..., 3:], normal / jnp.maximum(length, 1e-6),
                        **_random_light(jax.random.fold_in(key_look, 1)))
  image = jnp.where((ids >= 0)[..., None], lit, _background(key_ground, size))
  image = _photograph(key_photo, image)
  b = jnp.asarray(model.landmark_schemes[SCHEME])
  scale = projection.pose_from_camera(face.camera)['scale']
  side = size / config.margin
  edge = (size - side) / 2 - 0.5
  return {
      'images': jnp.uint8(jnp.round(255 * jnp.clip(image, 0.0, 1.0))),
      'landmarks': positions[b],
      'visible': rendering.z_buffer_visibility(
          positions[b], depth[b], z_buffer, tolerance=tolerance * scale),
      'params': flatten_params(face),
      'boxes': jnp.array([edge, edge, side, side], jnp.float32),
      'yaw': yaw,
  }


def _random_face(key_pose, key_shape, model, config, units):
  """P in pixels of the crop, and yaw in degrees."""
  keys = jax.random.split(key_pose, 3)
  yaw = jax.random.uniform(keys[0], (), minval=-1.0) * config.yaw_max
  pitch = jnp.clip(config.pitch_stddev * jax.random.normal(keys[1]), -35, 35)
  roll = jnp.clip(config.roll_stddev * jax.random.normal(keys[2]), -45, 45)
  rotation = projection.rotation_from_euler(*jnp.deg2rad(
      jnp.stack([yaw, pitch, roll])))
  keys = jax.random.split(key_shape, 4)
  limit = config.identity_limit
  identity = model.identity_stddev * jnp.clip(
      jax.random.normal(keys[0], (model.num_identity,)), -limit, limit)
  # Half of the faces are nearly neutral.
  strength = jnp.where(jax.random.bernoulli(keys[1]), 1.0, 0.3)
  if units is None:
    expression = strength * model.expression_stddev * jnp.clip(
        jax.random.normal(keys[2], (model.num_expression,)), -limit, limit)
  else:
    chosen = jax.random.randint(keys[2], (config.num_units,), 0, len(units))
    amount = jax.random.uniform(keys[3], (config.num_units,))
    expression = strength * amount @ jnp.asarray(units)[chosen]
  # Scaled and moved so that the landmarks' box is the crop's face box.
  unit = projection.camera_from_pose(rotation, 1.0, jnp.zeros(2))
  face = FaceParams(camera=unit, identity=identity, expression=expression)
  points = projection.landmarks(model, face, SCHEME)
  low, high = jnp.min(points, axis=0), jnp.max(points, axis=0)
  scale = (config.image_size / config.margin) / jnp.sqrt(jnp.prod(high - low))
  centre = (config.image_size - 1) / 2
  camera = projection.camera_from_pose(rotation, scale,
                                       centre - scale * (low + high) / 2)
  return face.replace(camera=camera), yaw


def _albedo(key, model):
  """(Q, 3) colours of the regions that the model names."""
  keys = jax.random.split(key, 10)
  blend = lambda key, table: _between(key, jnp.asarray(table))
  skin = blend(keys[0], _SKIN)
  hair = blend(keys[1], _HAIR)
  color = jnp.broadcast_to(skin, (model.num_vertices, 3))
  # Low-frequency blotches, so that no large area is one colour.
  where = jnp.asarray(model.mean_shape) / jnp.std(jnp.asarray(model.mean_shape))
  waves = jax.random.normal(keys[2], (3, 8)) * 3
  phase = jax.random.uniform(keys[3], (8,), maxval=2 * np.pi)
  tint = 0.03 * jax.random.normal(keys[4], (8, 3))
  color = color * (1 + jnp.sin(where @ waves + phase) @ tint)
  lips = skin * jnp.array([1.05, 0.62, 0.62]) + jax.random.uniform(
      keys[5], (3,), maxval=0.12) * jnp.array([1.0, 0.2, 0.3])
  bald = jax.random.bernoulli(keys[6], 0.15)
  paint = [('lips', lips), ('brows', 0.35 * skin + 0.65 * hair),
           ('scalp', jnp.where(bald, skin, hair)),
           ('eyelids', skin * 0.85), ('eye_sockets', skin * 0.7),
           ('nostrils', skin * 0.25), ('mouth_inside', jnp.array([.18, .06, .06])),
           ('eye_white', jnp.array([0.85, 0.83, 0.80])),
           ('iris', blend(keys[7], _IRIS)),
           ('pupil_left', jnp.full(3, 0.02)), ('pupil_right', jnp.full(3, 0.02))]
  for name, value in paint:
    if name in model.regions:
      color = color.at[jnp.asarray(model.regions[name])].set(value)
  return jnp.clip(color, 0.0, 1.0)


def _between(key, table):
  """A random colour between neighbours of a table, slightly perturbed."""
  at_key, noise_key = jax.random.split(key)
  at = jax.random.uniform(at_key, (), maxval=len(table) - 1.001)
  low = at.astype(jnp.int32)
  color = table[low] + (at - low) * (table[low + 1] - table[low])
  return color * jnp.exp(0.08 * jax.random.normal(noise_key, (3,)))


def _random_light(key):
  keys = jax.random.split(key, 6)
  direction = jax.random.normal(keys[0], (3,)) + jnp.array([0.0, 0.5, 1.2])
  warm = lambda key: 1 + 0.08 * jax.random.normal(key, (3,))
  return {
      'ambient': jax.random.uniform(keys[1], (), minval=0.35, maxval=0.8)
                 * warm(keys[2]),
      'sky': (0.12 * jax.random.normal(keys[3], (1, 3))
              + 0.03 * jax.random.normal(jax.random.fold_in(key, 8), (3, 3))),
      'light': direction / jnp.linalg.norm(direction),
      'light_color': jax.random.uniform(keys[4], (), minval=0.2, maxval=0.9)
                     * warm(jax.random.fold_in(key, 7)),
      'specular': jax.random.uniform(keys[5], (), maxval=0.25),
  }


def _background(key, size):
  """A gradient, smooth noise and a few plain rectangles."""
  keys = jax.random.split(key, 4)
  corners = jax.random.uniform(keys[0], (2, 2, 3))
  ground = jax.image.resize(corners, (size, size, 3), 'linear')
  cells = jax.random.normal(keys[1], (12, 12, 3))
  ground = ground + 0.15 * jax.image.resize(cells, (size, size, 3), 'cubic')
  grid = jnp.arange(size) / size
  draws = jax.random.uniform(keys[2], (5, 7))
  for d in draws:
    inside = ((jnp.abs(grid - d[0]) < 0.05 + 0.2 * d[2])[None, :]
              & (jnp.abs(grid - d[1]) < 0.05 + 0.2 * d[3])[:, None])
    ground = jnp.where(inside[..., None], d[4:7], ground)
  return ground


def _photograph(key, image):
  """Exposure, gamma, blur and sensor noise."""
  keys = jax.random.split(key, 5)
  image = image * jnp.exp(0.2 * jax.random.normal(keys[0]))
  gamma = jnp.exp(0.2 * jax.random.normal(keys[1])) * 0.7
  image = jnp.clip(image, 1e-4, 1.0)**gamma
  amount = jax.random.uniform(keys[2], ())
  soft = (image + jnp.roll(image, 1, 0) + jnp.roll(image, 1, 1)
          + jnp.roll(image, (1, 1), (0, 1))) / 4
  image = image + amount * (soft - image)
  noise = jax.random.uniform(keys[3], (), maxval=0.03)
  return image + noise * jax.random.normal(keys[4], image.shape)
