"""Label maps of a rendered head: the part and the depth at every pixel."""

import jax
import jax.numpy as jnp

from pifa_jax.types import Array, MorphableModel

# Later ones lie upon earlier ones. Value i + 1 in a map is part i; 0 is no head.
PARTS = (
  'skin',
  'neck',
  'scalp',
  'ears',
  'brows',
  'eyelids',
  'nostrils',
  'lips',
  'mouth_inside',
  'eye_sockets',
  'eye_white',
  'iris',
  'pupil_left',
  'pupil_right',
)


def triangle_parts(model: MorphableModel) -> jax.Array:
  """Finds the part of every triangle.

  A triangle is of the part of most of its corners; what no region names is skin.

  Args:
    model: a 3DMM with regions; parts that it lacks are not in the map.

  Returns:
    (T,) uint8, 1 + the place in `PARTS`.
  """
  part = jnp.ones(model.num_vertices, jnp.uint8)
  for i, name in enumerate(PARTS):
    if name in model.regions:
      part = part.at[jnp.asarray(model.regions[name])].set(i + 1)
  # The middle one of three: two that agree are the majority.
  return jnp.sort(part[jnp.asarray(model.triangles)], axis=1)[:, 1]


def label_maps(
  z_buffer: Array, triangle_ids: Array, parts: Array, image_size: int
) -> dict[str, jax.Array]:
  """Takes depth and part of the nearest of each pixel's samples.

  Args:
    z_buffer: (s S, s S) depth, smaller is nearer, infinite where there is nothing.
    triangle_ids: (s S, s S) index of the triangle, -1 where there is nothing.
    parts: (T,) of `triangle_parts`.
    image_size: S, pixels.

  Returns:
    'depth' (S, S) float32 in the z-buffer's unit, infinite where there is no head;
    'regions' (S, S) uint8, 0 where there is none.
  """
  factor = z_buffer.shape[0] // image_size
  samples = lambda plane: (
    plane.reshape(image_size, factor, image_size, factor)
    .swapaxes(1, 2)
    .reshape(image_size, image_size, factor * factor)
  )
  z = samples(z_buffer)
  nearest = jnp.argmin(z, axis=-1, keepdims=True)
  ids = jnp.take_along_axis(samples(triangle_ids), nearest, axis=-1)[..., 0]
  return {
    'depth': jnp.min(z, axis=-1).astype(jnp.float32),
    'regions': jnp.where(ids >= 0, parts[jnp.maximum(ids, 0)], jnp.uint8(0)),
  }
