"""The full renderer: a head as a photo shows it, with hair, things, light and camera.

`render` goes from the face's vertices to pixels in steps, one function each: the
colours of the head, the meshes around it, the samples that show them, the lenses of
glasses, the background, an object before the face, and the camera.

The optimization barriers keep XLA from computing small things again for every vertex
or sample. They are also part of the result: without one, the compiler fuses other
operations, which changes the rounding.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pifa_jax.geometry import depth_keys, morphable_model, projection, rendering
from pifa_jax.synthesis import (
  accessories,
  backgrounds,
  hair_meshes,
  imaging,
  light_maps,
  lighting,
  meshes,
  occluders,
  scrambling,
)
from pifa_jax.synthesis import hair as hair_lib
from pifa_jax.synthesis import skin as skin_lib
from pifa_jax.synthesis.anatomy import Anatomy
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.hair_meshes import HairMeshes
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.synthesis.light_maps import LightMaps
from pifa_jax.types import Array, MorphableModel

_NOWHERE = -500.0  # mm: no place on the face
# Each step has random numbers of its own: one ingredient does not change another.
_KEYS = (
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
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class View:
  """The camera: how points of the model frame come into the image.

  Attributes:
    rotation: (3, 3) model to camera frame.
    scale: () pixels per model unit.
    translation: (2,) pixels; where weak perspective puts the model's origin.
    nearness: () 1 / distance of the camera, in 1 / model units; 0 = weak
      perspective.
    centre: (3,) camera frame, model units: the point whose place and size do not depend
      on the perspective.
  """

  rotation: Array
  scale: Array
  translation: Array
  nearness: Array
  centre: Array

  def __call__(self, points: Array) -> tuple[Array, Array]:
    """Projects points.

    Args:
      points: (E, 3) model frame, model units.

    Returns:
      (E, 2) u, v in pixels and (E,) depth in pixels, smaller is nearer.
    """
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


class _Head(NamedTuple):
  """The head's surface, for Q vertices.

  Attributes:
    attributes: (Q, 12), see `_attributes`.
    diffuse: (Q, 3) irradiance.
    view_normals: (Q, 3) unit, camera frame.
    open_share: (Q,) in [0, 1], how much of the surroundings the vertex can see.
    shells: the meshes of hair and headwear.
  """

  attributes: jax.Array
  diffuse: jax.Array
  view_normals: jax.Array
  open_share: jax.Array
  shells: meshes.Mesh


class _Raster(NamedTuple):
  """What the samples show; s S is `fine`, the samples along a side.

  Attributes:
    ids: (s S, s S) index of the triangle, head first, or -1.
    weights: (s S, s S, 3) its barycentric coordinates.
    z: (s S, s S) depth in samples, infinite where there is nothing.
    triangles: (T, 3) of the head, then of the things.
    head_keys: (s S * s S,) depth keys of the head alone.
    head_depth: (s S, s S) depth of the head alone, samples.
  """

  ids: jax.Array
  weights: jax.Array
  z: jax.Array
  triangles: jax.Array
  head_keys: jax.Array
  head_depth: jax.Array


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
  maps: LightMaps | None = None,
  strands: HairMeshes | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Renders one face.

  Args:
    key: a key.
    model: the 3DMM.
    anatomy: of the model.
    vertices: (Q, 3) the face, model frame.
    view: the camera.
    pose: (3,) yaw, pitch, roll in radians; the shoulders follow about half of it.
    config: strengths and probabilities.
    image_size: S, side of the image in pixels.
    blur_scale: see `scale` of `imaging.photo`.
    photos: (N, P, P, 3) uint8 for the backgrounds, or None.
    maps: of the light of real places, or None.
    strands: hair for a share of the heads, or None.

  Returns:
    (S, S, 3) image in [0, 1]; (s S, s S) z-buffer of the head alone, depth in pixels,
    for s = `config.supersample` samples along a pixel's side; (s S, s S) index of the
    head's triangle at each sample, -1 where there is none.
  """
  keys = dict(zip(_KEYS, jax.random.split(key, len(_KEYS)), strict=True))
  draws = Draws(keys['rest'], 32)
  # Once, not in every loop over vertices or samples.
  light, place = lighting.random_light(keys['light'], config), None
  if maps is not None and config.light_maps:
    light, place = light_maps.random_place(
      jax.random.fold_in(keys['light'], 1), maps, light, config
    )
  person, light = jax.lax.optimization_barrier(
    (skin_lib.random_complexion(keys['person'], config), light)
  )
  chosen = None
  if strands is not None and config.hair and config.hair_meshes:
    chosen = hair_meshes.choose(
      jax.random.fold_in(keys['hair'], 1),
      strands,
      hair_lib.uncovered(keys['hair'], config),
      config,
    )
  head = _light_head(
    keys, model, anatomy, vertices, view, person, light, config, strands, chosen
  )
  things, lenses = _make_things(
    keys, draws, anatomy, vertices, view, pose, person, head.shells, config
  )
  extra = _light_things(things, light, view, config)
  raster = _rasterize(vertices, model, things, view, image_size, config.supersample)
  image, texture = _shade_samples(
    keys['texture'],
    raster,
    jnp.concatenate([head.attributes, extra]),
    person,
    anatomy,
    image_size,
    config,
  )
  if strands is not None and chosen is not None:
    image, raster = _comb(
      keys, strands, chosen, vertices, view, person, light, image, raster, config
    )
  if lenses is not None:
    image = _look_through(lenses, image, raster, view, config.supersample)
  scenery = None
  if maps is not None and place is not None and config.scenery:
    scenery = light_maps.view(jax.random.fold_in(keys['light'], 2), maps, place)
  ground = backgrounds.background(
    keys['ground'],
    image_size,
    config.background,
    photos,
    config.photos,
    scenery=scenery,
    shown=place.shown if place is not None else False,
  )
  image, covered = _put_before(ground, image, raster.ids, config.supersample)
  face = _face_box(view(vertices[jnp.asarray(anatomy.landmarks)])[0])
  subject = _inside_face(face, image_size) * covered
  lit_skin = _lit_skin(person, head)
  if config.occluder:
    image = occluders.occlude(keys['occluder'], image, face, lit_skin, texture, config)
  image = imaging.photo(keys['photo'], image, subject, config, scale=blur_scale)
  head_ids = depth_keys.winning_index(raster.head_keys).reshape(raster.ids.shape)
  return image, raster.head_depth / config.supersample, head_ids


def _light_head(
  keys, model, anatomy, vertices, view, person, light, config, strands, chosen
):
  """Colours and lights the head's vertices: a `_Head`."""
  normals = morphable_model.vertex_normals(vertices, model.triangles)
  albedo, gloss = skin_lib.vertex_albedo(keys['skin'], person, anatomy, config)
  shells, hairline, opacity = hair_lib.hair_and_headwear(
    keys['hair'],
    anatomy,
    vertices,
    person.hair,
    config,
    without=None if chosen is None else chosen.worn,
  )
  cover = opacity * hair_lib.scalp_cover(anatomy, hairline)
  left = None
  if chosen is not None:
    left, under = hair_meshes.skin_under(strands, chosen)
    cover = jnp.where(chosen.worn, cover * under, cover)
  albedo = albedo + cover[:, None] * (0.8 * person.hair - albedo)
  if config.scrambled:
    parts = (jnp.maximum(anatomy.fields['ears'], cover), anatomy.fields['neck'])
    for i, part in enumerate(parts):
      albedo = scrambling.scramble(
        jax.random.fold_in(keys['rest'], i), anatomy.canonical, albedo, part, config
      )
  visibility = 1 - config.shadow * (1 - anatomy.visibility)
  diffuse = lighting.irradiance(
    light, normals, view.rotation, anatomy.directions, visibility
  )
  if left is not None:
    diffuse = diffuse * (1 - config.shadow * (1 - left))[:, None]
  normals, albedo, diffuse, visibility = jax.lax.optimization_barrier(
    (normals, albedo, diffuse, visibility)
  )
  open_share = jnp.clip(jnp.mean(visibility, axis=1) * 2, 0, 1)
  eyeball = jnp.asarray(anatomy.fields['eyeball'])
  view_normals = normals @ view.rotation.T
  # Eyes are wet: small, strong highlights. So is some skin.
  wet = 0.15 * jax.random.uniform(jax.random.fold_in(keys['rest'], 8)) ** 2 * gloss
  sharp = jnp.maximum(0.4 * eyeball, wet)
  shine = (
    config.specular
    * open_share[:, None]
    * (
      0.09 * gloss[:, None] * lighting.highlight(light, view_normals, sharp=False)
      + sharp[:, None] * lighting.highlight(light, view_normals, sharp=True)
      + 0.4 * gloss[:, None] * lighting.sheen(light, view_normals)
    )
  )
  # The back of the head lies under the same x and y as the face.
  canonical = jnp.asarray(anatomy.canonical)
  place = jnp.where(canonical[:, 2:] > -20, canonical[:, :2], _NOWHERE)
  return _Head(
    attributes=_attributes(albedo, diffuse, shine, place, eyeball),
    diffuse=diffuse,
    view_normals=view_normals,
    open_share=open_share,
    shells=shells,
  )


def _make_things(
  keys, draws, anatomy, vertices, view, pose, person, shells, config
) -> tuple[meshes.Mesh, accessories.Lenses | None]:
  """One mesh of what goes with the head, and the lenses if there may be glasses."""
  turn = pose * draws.uniform(0.2, 0.7) + draws.normal(
    0, jnp.array([0.25, 0.05, 0.06]), (3,)
  )
  body_rotation = projection.rotation_from_euler(turn[0], 0.3 * turn[1], 0.5 * turn[2])
  # What has no probability is not even compiled.
  parts = [accessories.teeth(keys['teeth'], anatomy, vertices)]
  lenses = None
  if config.hair or config.headwear:
    parts.append(_scramble(keys, 2, shells, anatomy, config))
  if config.clothes:
    worn = accessories.clothes(
      keys['clothes'], anatomy, person.skin, view.rotation, body_rotation, config
    )
    parts.append(_scramble(keys, 3, worn, anatomy, config))
  if config.glasses:
    frames, lenses = accessories.glasses(keys['glasses'], anatomy, vertices, config)
    parts.append(frames)
  return meshes.join(parts), lenses


def _scramble(keys, number, mesh, anatomy, config):
  """The mesh, with the probability `scrambled` in wrong colours."""
  if not config.scrambled:
    return mesh
  key = jax.random.fold_in(keys['rest'], number)
  albedo = scrambling.scramble(
    key, mesh.vertices / anatomy.unit, mesh.albedo, jnp.ones(mesh.gloss.shape), config
  )
  return dataclasses.replace(mesh, albedo=albedo)


def _light_things(things, light, view, config):
  """(E, 12) attributes of the things' vertices, see `_attributes`."""
  normals = (
    morphable_model.vertex_normals(
      jnp.nan_to_num(things.vertices), meshes.outward(things.triangles)
    )
    @ view.rotation.T
  )
  # Who sees the back of a normal looks into a hood or under long hair.
  inner = jnp.clip(0.7 + normals[:, 2:], 1 - 0.6 * config.shadow, 1)
  return _attributes(
    things.albedo,
    inner * lighting.open_irradiance(light, normals),
    0.09
    * config.specular
    * things.gloss[:, None]
    * lighting.highlight(light, normals, sharp=False),
    jnp.full_like(things.vertices[:, :2], _NOWHERE),
    jnp.zeros(things.gloss.shape),
  )


def _attributes(albedo, diffuse, shine, place, eyeball):
  """(Q, 12) albedo 3, irradiance 3, highlight 3, place 2, eyeball 1.

  `place` is x and y on the mean face in canonical millimetres, `_NOWHERE` off the face.
  """
  return jnp.concatenate([albedo, diffuse, shine, place, eyeball[:, None]], axis=1)


def _rasterize(vertices, model, things, view, image_size, factor):
  """Finds what each sample shows: a `_Raster`.

  The head comes first and has keys of its own, since landmarks are visible by the head
  alone.
  """
  fine = image_size * factor
  positions, depth = _to_samples(view, vertices, factor)
  empty = depth_keys.empty(fine * fine)
  head_keys = rendering.scatter_triangles(
    empty, positions, depth, model.triangles, image_size=fine
  )
  head_depth = depth_keys.nearest_depth(head_keys).reshape(fine, fine)
  more_positions, more_depth = _to_samples(view, things.vertices, factor)
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
  return _Raster(ids, weights, z, triangles, head_keys, head_depth)


def _to_samples(view, points, factor):
  """Projects points, in samples: an integer is a sample's centre, as for pixels."""
  positions, depth = view(points)
  return (positions + 0.5) * factor - 0.5, depth * factor


def _shade_samples(key, raster, attributes, person, anatomy, image_size, config):
  """Interpolates the attributes and shades them.

  Returns:
    (s S, s S, 3) linear radiance, of no meaning where there is no triangle, and the
    (S, S, 3) noise that brows and objects are roughened with.
  """
  ids, weights, attributes, triangles, texture = jax.lax.optimization_barrier(
    (
      raster.ids,
      raster.weights,
      attributes,
      raster.triangles,
      backgrounds.octaves(key, image_size, 3),
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
  factor = config.supersample
  repeat = lambda plane: jnp.repeat(jnp.repeat(plane, factor, 0), factor, 1)
  key_pores, key_depth = jax.random.split(jax.random.fold_in(key, 1))
  fine = 0.5 * texture[..., 1] + 0.8 * jax.random.normal(key_pores, texture.shape[:2])
  pores = config.pores * jax.random.uniform(key_depth) ** 2 * fine
  return _shade(
    samples, person, anatomy, repeat(texture[..., 0]), repeat(pores)
  ), texture


def _shade(samples, person, anatomy, grain, pores):
  """(H, W, 12) attributes and two (H, W) of noise -> (H, W, 3) radiance."""
  albedo, diffuse, shine, place, eyeball = jnp.split(samples, (3, 6, 9, 11), axis=-1)
  # Pores are small hollows: light and even more highlights fall on them unevenly.
  rough = (pores * ((place[..., 0] > _NOWHERE / 2) & (eyeball[..., 0] < 0.5)))[
    ..., None
  ]
  diffuse = diffuse * jnp.clip(1 + 0.1 * rough, 0.7, 1.3)
  shine = shine * jnp.clip(1 + 0.8 * rough, 0, 3)
  painted = skin_lib.paint_brows(albedo, place, person, anatomy, grain)
  albedo = jnp.where(
    eyeball > 0.5, skin_lib.eyeball_color(place, person, anatomy), painted
  )
  return albedo * diffuse + shine


def _comb(keys, strands, chosen, vertices, view, person, light, image, raster, config):
  """The samples and the raster with hair of strands before them."""
  radiance, z = hair_meshes.draw(
    jax.random.fold_in(keys['hair'], 2),
    strands,
    chosen,
    vertices,
    person.hair,
    light,
    view.rotation,
    lambda points: _to_samples(view, points, config.supersample),
    raster.z,
    config,
  )
  shown = jnp.isfinite(z)
  return jnp.where(shown[..., None], radiance, image), raster._replace(
    ids=jnp.where(shown, len(raster.triangles), raster.ids),
    z=jnp.where(shown, z, raster.z),
  )


def _look_through(lenses, image, raster, view, factor):
  """(s S, s S, 3): the samples with lenses before them."""
  fine = image.shape[0]
  positions, depth = _to_samples(view, lenses.vertices, factor)
  glass = rendering.scatter_triangles(
    depth_keys.empty(fine * fine),
    positions,
    depth,
    lenses.triangles,
    image_size=fine,
    windows=(48,),
  )
  before = (depth_keys.nearest_depth(glass).reshape(fine, fine) < raster.z) & (
    raster.ids >= 0
  )
  return jnp.where(before[..., None], image * lenses.through + lenses.mirror, image)


def _put_before(ground, image, ids, factor):
  """Averages the samples of every pixel and fills the rest with the background.

  Args:
    ground: (S, S, 3) radiance.
    image: (s S, s S, 3) radiance of the samples.
    ids: (s S, s S), -1 where a sample shows the background.
    factor: s.

  Returns:
    (S, S, 3) radiance and (S, S) the share of each pixel that is not background.
  """
  covered = _pool((ids >= 0).astype(jnp.float32)[..., None], factor)
  image = _pool(jnp.where((ids >= 0)[..., None], image, 0.0), factor)
  return image + (1 - covered) * ground, covered[..., 0]


def _pool(image, factor):
  """(s S, s S, C) -> (S, S, C): the mean of every pixel's samples."""
  size = image.shape[0] // factor
  return image.reshape(size, factor, size, factor, -1).mean(axis=(1, 3))


def _face_box(points):
  """(4,) centre u, v and half width, half height of (68, 2) landmarks, pixels."""
  low, high = jnp.min(points, axis=0), jnp.max(points, axis=0)
  return jnp.concatenate([(low + high) / 2, (high - low) / 2])


def _inside_face(face, image_size):
  """(S, S) bool: the middle of the face, which the camera is exposed for."""
  grid = jnp.arange(image_size)
  inside = lambda axis: jnp.abs(grid - face[axis]) < 0.7 * face[2 + axis]
  return inside(1)[:, None] & inside(0)[None, :]


def _lit_skin(person, head):
  """(3,) radiance of the skin that faces the camera: hands are as bright."""
  facing = jax.nn.relu(head.view_normals[:, 2:]) * head.open_share[:, None]
  return person.skin * jnp.sum(head.diffuse * facing, axis=0) / jnp.sum(facing)
