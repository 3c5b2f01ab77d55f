"""Draws a head as a photo shows it: person, hair, things, light, camera."""

import dataclasses

import jax
import jax.numpy as jnp

from pifa_jax.geometry import depth_keys, morphable_model, projection, rendering
from pifa_jax.synthesis import (
  accessories,
  backgrounds,
  imaging,
  lighting,
  meshes,
  occluders,
)
from pifa_jax.synthesis import hair as hair_lib
from pifa_jax.synthesis import skin as skin_lib
from pifa_jax.synthesis.anatomy import Anatomy
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import Array, MorphableModel

_NOWHERE = -500.0  # mm: no place on the face


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class View:
  """How points of the head's frame come into the image.

  Attributes:
    rotation: (3, 3) model to camera frame.
    scale: () pixels per model unit.
    translation: (2,) where the model's origin would be without perspective, pixels.
    nearness: () 1 / distance of the camera, in 1 / model units; 0 = weak
      perspective.
    centre: (3,) in the camera's frame, model units: the point that perspective
      leaves where it is and as large as it is.
  """

  rotation: Array
  scale: Array
  translation: Array
  nearness: Array
  centre: Array

  def __call__(self, points: Array) -> tuple[jax.Array, jax.Array]:
    """Projects (E, 3) model-frame points: (E, 2) pixels and (E,) depth, pixels."""
    view_points = points @ self.rotation.T
    offset = view_points - self.centre
    # Nearer than the centre is larger. Not nearer than a third of the distance:
    # shoulders of a head that is very close would come through the camera.
    growth = 1 / jnp.maximum(1 - self.nearness * offset[:, 2], 1 / 3)
    flat = self.centre[:2] + offset[:, :2] * growth[:, None]
    return (
      self.translation + self.scale * flat * jnp.array([1.0, -1.0]),
      -self.scale * view_points[:, 2],
    )


def render(
  key: Array,
  model: MorphableModel,
  anatomy: Anatomy,
  vertices: Array,
  view: View,
  pose: Array,
  config: Ingredients,
  *,
  image_size: int,
  blur_scale: float = 1.0,
  photos: Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Draws one face.

  Args:
    key: a key.
    model: the 3DMM.
    anatomy: of the model.
    vertices: (Q, 3) the face, model frame.
    view: the camera.
    pose: (3,) yaw, pitch, roll in radians; the shoulders follow it half.
    config: strengths and probabilities.
    image_size: side of the image.
    blur_scale: see `photo.photo`.
    photos: (N, P, P, 3) uint8 for the backgrounds, or None.

  Returns:
    (S, S, 3) in [0, 1]; the (s S, s S) z-buffer of the head alone, in depth's
    pixels, s samples a pixel's side; the (s S, s S) triangles of the head that it
    shows, -1 where there is none.
  """
  keys = dict(
    zip(
      (
        'person',
        'skin',
        'light',
        'hair',
        'teeth',
        'glasses',
        'clothes',
        'ground',
        'texture',
        'occluder',
        'photo',
        'rest',
      ),
      jax.random.split(key, 12),
    )
  )
  draws = Draws(keys['rest'], 32)
  # Once, not in every loop over vertices or samples.
  person, light = jax.lax.optimization_barrier(
    (
      skin_lib.random_complexion(keys['person'], config),
      lighting.random_light(keys['light'], config),
    )
  )

  # The head.
  normals = morphable_model.vertex_normals(vertices, model.triangles)
  albedo, gloss = skin_lib.vertex_albedo(keys['skin'], person, anatomy, config)
  shells, hairline, opacity = hair_lib.hair_and_headwear(
    keys['hair'], anatomy, vertices, person.hair, config
  )
  cover = opacity * hair_lib.scalp_cover(anatomy, hairline)
  albedo = albedo + cover[:, None] * (0.8 * person.hair - albedo)
  visibility = 1 - config.shadow * (1 - anatomy.visibility)
  diffuse = lighting.irradiance(
    light, normals, view.rotation, anatomy.directions, visibility
  )
  normals, albedo, diffuse, visibility = jax.lax.optimization_barrier(
    (normals, albedo, diffuse, visibility)
  )
  open_share = jnp.clip(jnp.mean(visibility, axis=1) * 2, 0, 1)
  eyeball = jnp.asarray(anatomy.fields['eyeball'])
  view_normals = normals @ view.rotation.T
  # Eyes are wet: small, strong highlights.
  shine = (
    config.specular
    * open_share[:, None]
    * (
      0.09 * gloss[:, None] * lighting.highlight(light, view_normals, sharp=False)
      + 0.4 * eyeball[:, None] * lighting.highlight(light, view_normals, sharp=True)
    )
  )
  # The back of the head lies under the same x and y as the face.
  canonical = jnp.asarray(anatomy.canonical)
  place = jnp.where(canonical[:, 2:] > -20, canonical[:, :2], _NOWHERE)
  head = _attributes(albedo, diffuse, shine, place, eyeball)

  # What goes with it.
  turn = pose * draws.uniform(0.2, 0.7) + draws.normal(
    0, jnp.array([0.25, 0.05, 0.06]), (3,)
  )
  body_rotation = projection.rotation_from_euler(turn[0], 0.3 * turn[1], 0.5 * turn[2])
  # What has no probability is not even compiled.
  parts = [accessories.teeth(keys['teeth'], anatomy, vertices)]
  if config.hair or config.headwear:
    parts.append(shells)
  if config.clothes:
    parts.append(
      accessories.clothes(
        keys['clothes'], anatomy, person.skin, view.rotation, body_rotation, config
      )
    )
  if config.glasses:
    frames, lenses = accessories.glasses(keys['glasses'], anatomy, vertices, config)
    parts.append(frames)
  things = meshes.join(parts)
  thing_normals = (
    morphable_model.vertex_normals(jnp.nan_to_num(things.vertices), things.triangles)
    @ view.rotation.T
  )
  extra = _attributes(
    things.albedo,
    lighting.open_irradiance(light, thing_normals),
    0.09
    * config.specular
    * things.gloss[:, None]
    * lighting.highlight(light, thing_normals, sharp=False),
    jnp.full_like(things.vertices[:, :2], _NOWHERE),
    jnp.zeros(things.gloss.shape),
  )

  # Samples: head first, since landmarks are visible by the head alone.
  fine = image_size * config.supersample
  place = lambda points: _finer(*view(points), config.supersample)
  positions, depth = place(vertices)
  empty = depth_keys.empty(fine * fine)
  head_keys = rendering.scatter_triangles(
    empty, positions, depth, model.triangles, image_size=fine
  )
  head_depth = depth_keys.nearest_depth(head_keys).reshape(fine, fine)
  more_positions, more_depth = place(things.vertices)
  all_keys = rendering.scatter_triangles(
    head_keys,
    more_positions,
    more_depth,
    things.triangles,
    image_size=fine,
    first_id=model.triangles.shape[0],
    windows=(6, 12, 18, 28, 42, 60, 90, 140),
  )
  triangles = jnp.concatenate(
    [jnp.asarray(model.triangles), things.triangles + model.num_vertices]
  )
  ids, weights, z = rendering.resolve(
    all_keys,
    jnp.concatenate([positions, more_positions]),
    jnp.concatenate([depth, more_depth]),
    triangles,
    image_size=fine,
  )
  ids, weights, attributes, triangles, texture = jax.lax.optimization_barrier(
    (
      ids,
      weights,
      jnp.concatenate([head, extra]),
      triangles,
      backgrounds.octaves(keys['texture'], image_size, 3),
    )
  )
  corners = triangles[jnp.maximum(ids, 0)]
  # Every corner's row is fetched once; fused, it would be for every use.
  rows = jax.lax.optimization_barrier(
    [attributes[corners[..., i].ravel()] for i in range(3)]
  )
  samples = jax.lax.optimization_barrier(
    sum(
      weights[..., i : i + 1] * row.reshape(ids.shape + (-1,))
      for i, row in enumerate(rows)
    )
  )
  image = _shade(
    samples,
    person,
    anatomy,
    jnp.repeat(
      jnp.repeat(texture[..., 0], config.supersample, 0), config.supersample, 1
    ),
  )
  if config.glasses:
    glass = rendering.scatter_triangles(
      empty, *place(lenses.vertices), lenses.triangles, image_size=fine, windows=(48,)
    )
    before = (depth_keys.nearest_depth(glass).reshape(fine, fine) < z) & (ids >= 0)
    image = jnp.where(before[..., None], image * lenses.through + lenses.mirror, image)

  ground = backgrounds.background(
    keys['ground'], image_size, config.background, photos, config.photos
  )
  covered = _pool((ids >= 0).astype(jnp.float32)[..., None], config.supersample)
  image = _pool(jnp.where((ids >= 0)[..., None], image, 0.0), config.supersample)
  image = image + (1 - covered) * ground

  points = view(vertices[jnp.asarray(anatomy.landmarks)])[0]
  low, high = jnp.min(points, axis=0), jnp.max(points, axis=0)
  face = jnp.concatenate([(low + high) / 2, (high - low) / 2])
  grid = jnp.arange(image_size)
  inside = lambda axis: jnp.abs(grid - face[axis]) < 0.7 * face[2 + axis]
  subject = (inside(1)[:, None] & inside(0)[None, :]) * covered[..., 0]
  # As bright as the skin that the image shows.
  facing = jax.nn.relu(view_normals[:, 2:]) * open_share[:, None]
  lit_skin = person.skin * jnp.sum(diffuse * facing, axis=0) / jnp.sum(facing)
  if config.occluder:
    image = occluders.occlude(keys['occluder'], image, face, lit_skin, texture, config)
  image = imaging.photo(keys['photo'], image, subject, config, scale=blur_scale)
  head_ids = depth_keys.winning_index(head_keys).reshape(fine, fine)
  return image, head_depth / config.supersample, head_ids


def _attributes(albedo, diffuse, shine, place, eyeball):
  """(Q, 12) in the order that `_shade` takes apart."""
  return jnp.concatenate([albedo, diffuse, shine, place, eyeball[:, None]], axis=1)


def _shade(samples, person, anatomy, grain):
  """(H, W, 12) samples -> (H, W, 3) radiance."""
  albedo, diffuse, shine, place, eyeball = jnp.split(samples, (3, 6, 9, 11), axis=-1)
  albedo = skin_lib.paint_brows(albedo, place, person, anatomy, grain)
  albedo = jnp.where(
    eyeball > 0.5, skin_lib.eyeball_color(place, person, anatomy), albedo
  )
  return albedo * diffuse + shine


def _finer(positions, depth, factor):
  """Pixels -> samples; an integer is the centre of a pixel, and of a sample."""
  return (positions + 0.5) * factor - 0.5, depth * factor


def _pool(image, factor):
  """Averages the samples of every pixel."""
  size = image.shape[0] // factor
  return image.reshape(size, factor, size, factor, -1).mean(axis=(1, 3))
