"""The plain renderer: flat colours, one light, simple grounds; quick to learn from.

The demonstration trains on it. `full_renderer` makes faces that look like photos.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import rendering
from pifa_jax.types import Array, MorphableModel

# Visible skin over the human range, from deep brown to pale; linear-ish RGB.
_SKIN = np.array(
  [
    [0.16, 0.09, 0.06],
    [0.33, 0.20, 0.13],
    [0.52, 0.34, 0.24],
    [0.70, 0.50, 0.38],
    [0.85, 0.66, 0.55],
  ],
  np.float32,
)
_HAIR = np.array(
  [[0.03, 0.02, 0.02], [0.13, 0.08, 0.05], [0.35, 0.22, 0.10], [0.45, 0.42, 0.40]],
  np.float32,
)
_IRIS = np.array(
  [[0.10, 0.05, 0.03], [0.15, 0.25, 0.35], [0.20, 0.25, 0.12]], np.float32
)


def render(
  key_face: Array,
  key_ground: Array,
  key_photo: Array,
  model: MorphableModel,
  positions: Array,
  depth: Array,
  normals: Array,
  *,
  image_size: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Renders one face.

  Args:
    key_face: key of the head and its light.
    key_ground: key of the background.
    key_photo: key of the camera.
    model: the 3DMM; its regions get their own colours.
    positions: (Q, 2) pixels.
    depth: (Q,) pixels, smaller is nearer.
    normals: (Q, 3) unit, camera frame.
    image_size: S, side of the image in pixels.

  Returns:
    (S, S, 3) image in [0, 1]; (S, S) z-buffer, depth in pixels, infinite where there is
    no head; (S, S) index of the triangle at each pixel, -1 where there is none.
  """
  ids, weights, z_buffer = rendering.rasterize(
    positions, depth, model.triangles, image_size=image_size
  )
  attributes = jnp.concatenate([normals, _albedo(key_face, model)], axis=1)
  pixels = rendering.interpolate(ids, weights, model.triangles, attributes)
  normal = pixels[..., :3]
  length = jnp.linalg.norm(normal, axis=-1, keepdims=True)
  lit = rendering.shade(
    pixels[..., 3:],
    normal / jnp.maximum(length, 1e-6),
    **_random_light(jax.random.fold_in(key_face, 1)),
  )
  image = jnp.where((ids >= 0)[..., None], lit, _background(key_ground, image_size))
  return _photo(key_photo, image), z_buffer, ids


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
    keys[5], (3,), maxval=0.12
  ) * jnp.array([1.0, 0.2, 0.3])
  bald = jax.random.bernoulli(keys[6], 0.15)
  paint = [
    ('lips', lips),
    ('brows', 0.35 * skin + 0.65 * hair),
    ('scalp', jnp.where(bald, skin, hair)),
    ('eyelids', skin * 0.85),
    ('eye_sockets', skin * 0.7),
    ('nostrils', skin * 0.25),
    ('mouth_inside', jnp.array([0.18, 0.06, 0.06])),
    ('eye_white', jnp.array([0.85, 0.83, 0.80])),
    ('iris', blend(keys[7], _IRIS)),
    ('pupil_left', jnp.full(3, 0.02)),
    ('pupil_right', jnp.full(3, 0.02)),
  ]
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
    'ambient': jax.random.uniform(keys[1], (), minval=0.35, maxval=0.8) * warm(keys[2]),
    'sky': (
      0.12 * jax.random.normal(keys[3], (1, 3))
      + 0.03 * jax.random.normal(jax.random.fold_in(key, 8), (3, 3))
    ),
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
    inside = (jnp.abs(grid - d[0]) < 0.05 + 0.2 * d[2])[None, :] & (
      jnp.abs(grid - d[1]) < 0.05 + 0.2 * d[3]
    )[:, None]
    ground = jnp.where(inside[..., None], d[4:7], ground)
  return ground


def _photo(key, image):
  """Exposure, gamma, blur and sensor noise."""
  keys = jax.random.split(key, 5)
  image = image * jnp.exp(0.2 * jax.random.normal(keys[0]))
  gamma = jnp.exp(0.2 * jax.random.normal(keys[1])) * 0.7
  image = jnp.clip(image, 1e-4, 1.0) ** gamma
  amount = jax.random.uniform(keys[2], ())
  soft = (
    image
    + jnp.roll(image, 1, 0)
    + jnp.roll(image, 1, 1)
    + jnp.roll(image, (1, 1), (0, 1))
  ) / 4
  image = image + amount * (soft - image)
  noise = jax.random.uniform(keys[3], (), maxval=0.03)
  return image + noise * jax.random.normal(keys[4], image.shape)
