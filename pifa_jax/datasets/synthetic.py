"""Synthetic faces: images rendered from the face model, with exact labels.

Sample i is a function of (seed, i) alone. It is the same in any order and batch.
"""

from collections.abc import Callable, Sequence
import concurrent.futures
import dataclasses
import functools
import itertools
import os

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax import settings
from pifa_jax.datasets import light_map_file
from pifa_jax.geometry import morphable_model, projection, rendering
from pifa_jax.settings import setting
from pifa_jax.synthesis import anatomy as anatomy_lib
from pifa_jax.synthesis import face_distribution as face_distribution_lib
from pifa_jax.synthesis import full_renderer, label_maps, plain_renderer
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.face_distribution import FaceDistribution
from pifa_jax.synthesis.hair_meshes import HairMeshes
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import Array, FaceParams, MorphableModel, flatten_params

VERSION = 4  # part of the cache key: raise it when the images change
SCHEME = 'ibug68'
RENDERERS = ('full', 'plain')
MAPS = ('depth', 'regions')

# A landmark this far (mm on the built-in face: 9 % of the inter-ocular distance)
# behind the surface is still on it: lids and lips are thinner than the pixels, and
# a point of the jaw just past the contour is labelled as visible.
_TOLERANCE = 0.09
# The camera is never nearer than this many face sizes (about 30 cm).
_NEAREST = 2.3
_FACES_AT_ONCE = 32  # on an accelerator
_CHUNK = 64  # faces a call


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
  """How synthetic faces are rendered.

  Attributes:
    image_size: side of the cached crop, pixels.
    margin: side of the crop over side of the face box.
    face_distribution: poses and shapes.
    ingredients: what the full renderer adds, and how strongly.
  """

  image_size: int = 160
  margin: float = 1.4
  renderer: str = setting(
    'full',
    'Of synthetic faces: full = like photos; plain = flat colours on simple '
    'backgrounds, learnt in minutes.',
    choices=RENDERERS,
  )
  face_distribution: FaceDistribution = FaceDistribution()
  ingredients: Ingredients = Ingredients()

  def __post_init__(self):
    settings.check(self)


def plain_config(**changes) -> SyntheticConfig:
  """The usual config of the plain renderer.

  Pitch and roll are centred on zero, identities deviate as the model has it, and no
  action of the face has a probability of its own.

  Args:
    **changes: other fields of `SyntheticConfig`.

  Returns:
    The config.
  """
  distribution = FaceDistribution(
    pitch_mean=0.0,
    pitch_stddev=12.0,
    roll_mean=0.0,
    roll_stddev=14.0,
    wide_identity=0.0,
    closed_eyes=0.0,
    open_mouth=0.0,
    pursed_mouth=0.0,
    smile=0.0,
    squint=0.0,
  )
  return SyntheticConfig(renderer='plain', face_distribution=distribution, **changes)


def generate(
  model: MorphableModel,
  config: SyntheticConfig,
  *,
  seed: int,
  start: int,
  count: int,
  expression_units: dict[str, np.ndarray] | None = None,
  photos: np.ndarray | None = None,
  labels: Sequence[str] = (),
  hair: HairMeshes | None = None,
  progress: Callable[[str], None] = lambda text: None,
) -> dict[str, np.ndarray]:
  """Renders samples start .. start + count - 1.

  Where the image has true perspective, 'landmarks' are where the image shows them, and
  'params' is the weak-perspective P of the same pose at the distance of the face. The
  landmarks of that P are up to a few percent of the face's size away. Things before the
  face (hair, glasses, hands) do not make a landmark invisible.

  Args:
    model: the 3DMM, with 'ibug68' and triangles; its regions get their own colours.
    config: the distribution.
    seed: of the set.
    start: first index.
    count: how many.
    expression_units: name -> (N_E,) coefficients of single actions; a face then
      adds a few of them with weights in [0, 1]. None = normal coefficients.
    photos: (N, P, P, 3) uint8; the full renderer puts parts of them behind a share of
      the faces, see `Ingredients.photos`.
    labels: further labels: landmark schemes of the model, such as 'aflw34', and `MAPS`.
    hair: meshes that are bound to the model, of `hair_binding.bind`; the full renderer
      puts one of them on a share of the heads, see `Ingredients.hair_meshes`.
    progress: called with a line of text now and then.

  Returns:
    'images' (n, S, S, 3) uint8; 'landmarks' (n, 68, 2), 'params' (n, 8 + N_I + N_E) and
    'boxes' (n, 4) the square face boxes, all in pixels of the image; 'visible' (n, 68)
    bool by the z-buffer; 'yaw' (n,) degrees. For a scheme among `labels`
    'landmarks_SCHEME' (n, N, 2) and 'visible_SCHEME' (n, N). Maps are of the head
    alone, as if no hair or thing were before it: 'depth' (n, S, S) float32, pixels
    from the plane of the model's origin, smaller is nearer, infinite where there is
    no head; 'regions' (n, S, S) uint8, 1 + the place in `label_maps.PARTS`, 0 where
    there is no head.

  Raises:
    ValueError: see `make_generator`.
  """
  render = make_generator(
    model, config, seed, expression_units, photos, labels, hair=hair
  )

  def part(first):
    # One compiled size; what is too much at the end is thrown away.
    out = jax.device_get(render(jnp.arange(first, first + _CHUNK)))
    return {name: value[: start + count - first] for name, value in out.items()}

  firsts = range(start, start + count, _CHUNK)
  parts = []
  # On a CPU one call leaves cores idle now and then, so several run at a time.
  workers = min(16, os.cpu_count() or 1) if jax.default_backend() == 'cpu' else 1
  with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    # The first one, which compiles, alone.
    for found in itertools.chain([part(firsts[0])], pool.map(part, firsts[1:])):
      parts.append(found)
      done = min(_CHUNK * len(parts), count)
      if done % 1024 == 0 or done == count:
        progress(f'  {done} of {count}')
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def make_generator(
  model: MorphableModel,
  config: SyntheticConfig,
  seed: int,
  expression_units: dict[str, np.ndarray] | None = None,
  photos: np.ndarray | None = None,
  labels: Sequence[str] = (),
  *,
  hair: HairMeshes | None = None,
  faces_at_once: int | None = None,
) -> Callable[[Array], dict[str, jax.Array]]:
  """Makes the compiled function behind `generate`.

  Args:
    model: see `generate`, as the next five.
    config: the distribution.
    seed: of the set.
    expression_units: coefficients of single actions, or None.
    photos: for the backgrounds, or None.
    labels: further labels.
    hair: meshes of hair, or None.
    faces_at_once: how many faces are rendered together. By default one on a CPU, whose
      caches hold one image, and many elsewhere. The faces are the same to rounding.

  Returns:
    A function of (n,) int32 indices, with the results of `generate` as JAX arrays.

  Raises:
    ValueError: if the units or the hair are those of another face model, the photos are
      not squares of uint8, or there is no such label.
  """
  anatomy = anatomy_lib.build_anatomy(model) if config.renderer == 'full' else None
  units = expression_units or {}
  stacked = np.stack(list(units.values())) if units else None
  if stacked is not None and stacked.shape[1:] != (model.num_expression,):
    raise ValueError(
      f'make_generator(): expression_units have {stacked.shape[1:]} '
      f'coefficients, the face model {model.num_expression}; give the units '
      'of the same model.'
    )
  if photos is not None and (
    photos.dtype != np.uint8
    or photos.ndim != 4
    or not len(photos)
    or photos.shape[1] != photos.shape[2]
    or photos.shape[3] != 3
  ):
    raise ValueError(
      f'make_generator(): photos are {photos.dtype} of shape '
      f'{photos.shape}; give squares, (N, P, P, 3) uint8.'
    )
  for name in labels:
    if name not in (*MAPS, *model.landmark_schemes):
      raise ValueError(
        f'make_generator(): the label {name!r} is neither of '
        f'{", ".join(MAPS)} nor a landmark scheme of the face model, '
        f'which has {", ".join(sorted(model.landmark_schemes))}.'
      )
  points = np.asarray(model.mean_shape)[np.asarray(model.landmark_schemes[SCHEME])]
  tolerance = _TOLERANCE * float(np.linalg.norm(points[36] - points[45]))
  full = config.renderer == 'full' and config.ingredients.light_maps
  maps = light_map_file.load() if full else None
  if hair is not None and hair.shade.shape[1] != model.num_vertices:
    raise ValueError(
      f'make_generator(): hair is bound to {hair.shade.shape[1]} vertices, the face '
      f'model has {model.num_vertices}; bind it to the same model.'
    )
  arrays = jax.device_put((model, anatomy, stacked, photos, maps, hair))
  if faces_at_once is None:
    faces_at_once = 1 if jax.default_backend() == 'cpu' else _FACES_AT_ONCE
  return lambda indices: _samples(
    *arrays,
    seed,
    indices,
    config=config,
    names=tuple(units),
    labels=tuple(labels),
    tolerance=tolerance,
    faces_at_once=faces_at_once,
  )


# At module level, so that generators with other seeds share the compiled program.
@functools.partial(
  jax.jit, static_argnames=('config', 'names', 'labels', 'tolerance', 'faces_at_once')
)
def _samples(
  model,
  anatomy,
  units,
  photos,
  maps,
  hair,
  seed,
  indices,
  *,
  config,
  names,
  labels,
  tolerance,
  faces_at_once,
):
  """(n,) indices -> the results of `generate`."""
  groups = face_distribution_lib.unit_groups(names)
  keys = jax.vmap(lambda index: jax.random.fold_in(jax.random.key(seed), index))(
    indices
  )
  faces, angles = jax.vmap(lambda key: _random_face(key, model, config, units, groups))(
    keys
  )
  # All shapes in one product: one after the other they would cost as much as the
  # rendering (BUILD_NOTES.md D-40).
  vertices = jax.vmap(lambda face: morphable_model.shape(model, face))(faces)
  parts = label_maps.triangle_parts(model)
  return jax.lax.map(
    lambda sample: _render_face(
      *sample,
      model=model,
      anatomy=anatomy,
      config=config,
      tolerance=tolerance,
      photos=photos,
      maps=maps,
      hair=hair,
      labels=labels,
      parts=parts,
    ),
    (keys, faces, angles, vertices),
    batch_size=faces_at_once if faces_at_once > 1 else None,
  )


def _random_face(key, model, config, units, groups):
  """P without its scale and place, and yaw, pitch, roll in degrees."""
  keys = jax.random.split(jax.random.fold_in(key, 1), 3)
  angles = face_distribution_lib.pose(keys[0], config.face_distribution)
  rotation = projection.rotation_from_euler(*jnp.deg2rad(angles))
  return FaceParams(
    camera=projection.camera_from_pose(rotation, 1.0, jnp.zeros(2)),
    identity=face_distribution_lib.identity(keys[1], model, config.face_distribution),
    expression=face_distribution_lib.expression(
      keys[2], model, config.face_distribution, units, groups
    ),
  ), angles


def _render_face(
  key,
  face,
  angles,
  vertices,
  *,
  model,
  anatomy,
  config,
  tolerance,
  photos,
  maps,
  hair,
  labels,
  parts,
):
  """One sample: the results of `generate` without their first axis."""
  key_camera, key_face, key_ground, key_photo = jax.random.split(
    jax.random.fold_in(key, 2), 4
  )
  size = config.image_size
  side = size / config.margin
  edge = (size - side) / 2 - 0.5
  b = jnp.asarray(model.landmark_schemes[SCHEME])
  view = _random_view(key_camera, vertices[b], angles, config)
  camera = projection.camera_from_pose(view.rotation, view.scale, view.translation)
  face = face.replace(camera=camera)
  points, depth = view(vertices[b])
  if config.renderer == 'plain':
    positions, depths = view(vertices)
    normals = morphable_model.vertex_normals(vertices, model.triangles)
    image, z_buffer, triangle_ids = plain_renderer.render(
      key_face,
      key_ground,
      key_photo,
      model,
      positions,
      depths,
      normals @ view.rotation.T,
      image_size=size,
    )
  else:
    image, z_buffer, triangle_ids = full_renderer.render(
      key_face,
      model,
      anatomy,
      vertices,
      view,
      jnp.deg2rad(angles),
      config.ingredients,
      image_size=size,
      photos=photos,
      maps=maps,
      strands=hair,
      # The blur is that of a face of the default config's size.
      blur_scale=side / (SyntheticConfig.image_size / SyntheticConfig.margin),
    )
  # In samples of the z-buffer; any of those around a landmark may show it.
  fine = z_buffer.shape[0] // size
  visible = lambda points, depth: rendering.z_buffer_visibility(
    (points + 0.5) * fine - 0.5,
    depth,
    z_buffer,
    tolerance=tolerance * view.scale,
    radius=fine,
  )
  out = {
    'images': jnp.uint8(jnp.round(255 * jnp.clip(image, 0.0, 1.0))),
    'landmarks': points,
    'visible': visible(points, depth),
    'params': flatten_params(face),
    'boxes': jnp.array([edge, edge, side, side], jnp.float32),
    'yaw': angles[0],
  }
  maps = label_maps.label_maps(z_buffer, triangle_ids, parts, size)
  for name in labels:
    if name in MAPS:
      out[name] = maps[name]
    else:
      points, depth = view(vertices[jnp.asarray(model.landmark_schemes[name])])
      out |= {f'landmarks_{name}': points, f'visible_{name}': visible(points, depth)}
  return out


def _random_view(key, points, angles, config):
  """A camera that puts the landmarks' box where the crop's face box is."""
  draws = Draws(key, 4)
  rotation = projection.rotation_from_euler(*jnp.deg2rad(angles))
  view_points = points @ rotation.T
  centre = (jnp.min(view_points, axis=0) + jnp.max(view_points, axis=0)) / 2
  size = jnp.sqrt(jnp.prod(jnp.ptp(view_points[:, :2], axis=0)))
  share = config.ingredients.perspective if config.renderer == 'full' else 0.0
  # Uniform in the nearness: selfies are common, telephoto is weak perspective.
  nearness = jnp.where(draws.chance(share), draws.uniform(0.1, 1.0), 0.0) / (
    _NEAREST * size
  )
  view = full_renderer.View(
    rotation=rotation,
    scale=jnp.float32(1.0),
    translation=jnp.zeros(2),
    nearness=nearness,
    centre=centre,
  )
  flat, _ = view(points)
  low, high = jnp.min(flat, axis=0), jnp.max(flat, axis=0)
  scale = (config.image_size / config.margin) / jnp.sqrt(jnp.prod(high - low))
  middle = (config.image_size - 1) / 2
  return dataclasses.replace(
    view, scale=scale, translation=middle - scale * (low + high) / 2
  )
