"""A clip of one synthetic head that turns or acts: frames with exact labels.

Face, light, background and camera are those of one synthetic face; only the pose and
the expression change from frame to frame, and the noise of the sensor.
"""

from collections.abc import Callable
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.datasets.synthetic import SCHEME, SyntheticConfig
from pifa_jax.geometry import morphable_model, projection
from pifa_jax.synthesis import anatomy as anatomy_lib
from pifa_jax.synthesis import face_distribution as face_distribution_lib
from pifa_jax.synthesis import full_renderer, plain_renderer
from pifa_jax.types import FaceParams, MorphableModel, flatten_params


@dataclasses.dataclass(frozen=True)
class HeadClip:
  """The frames of a clip.

  Attributes:
    images: (T, S, S, 3) uint8 RGB.
    landmarks: (T, 68, 2) pixels, exact.
    visible: (T, 68) bool: they face the camera (Eq. 8).
    params: (T, 8 + N_I + N_E) P, exact: the camera is a weak-perspective one.
  """

  images: np.ndarray
  landmarks: np.ndarray
  visible: np.ndarray
  params: np.ndarray


def sinusoidal_yaw(
  num_frames: int, rate: float, *, amplitude: float = 45.0, period: float = 3.0
) -> np.ndarray:
  """A head that is shaken slowly.

  Args:
    num_frames: T.
    rate: frames a second.
    amplitude: greatest yaw to each side, degrees.
    period: seconds from left to left.

  Returns:
    (T,) degrees, 0 in the first frame.
  """
  return amplitude * np.sin(2 * np.pi * np.arange(num_frames) / (rate * period))


def turning_head(
  model: MorphableModel,
  config: SyntheticConfig,
  yaw: np.ndarray,
  *,
  seed: int,
  noise: float = 2.0,
  expressions: np.ndarray | None = None,
  progress: Callable[[str], None] = lambda text: None,
) -> HeadClip:
  """Renders a clip.

  Args:
    model: the 3DMM, with 'ibug68' and triangles.
    config: `image_size`, `margin` (side of the frame over that of the face), renderer,
      the distribution of identities, and the ingredients of the full renderer.
    yaw: (T,) degrees, of every frame; pitch and roll are 0.
    seed: of face, light, background and noise.
    noise: standard deviation of the noise that differs from frame to frame, in grey
      levels.
    expressions: (T, N_E) p^E of every frame; None = a face at rest. The head keeps its
      size and place.
    progress: called with a line of text now and then.

  Returns:
    The clip.

  Raises:
    ValueError: if the expressions are not one of the model for every frame.
  """
  wanted = (len(yaw), model.num_expression)
  if expressions is None:
    expressions = np.zeros(wanted)
  if np.shape(expressions) != wanted:
    raise ValueError(
      f'turning_head(): expressions have shape {np.shape(expressions)}; wanted '
      f'{wanted}, one of the face model for every frame.'
    )
  key = jax.random.fold_in(jax.random.key(seed), 0)
  face_key, *photo_keys = jax.random.split(key, 4)
  identity = face_distribution_lib.identity(face_key, model, config.face_distribution)
  full = config.renderer == 'full'
  anatomy = anatomy_lib.build_anatomy(model) if full else None
  # Upon a still head, not on one that is rendered anew at another size.
  config = dataclasses.replace(
    config, ingredients=dataclasses.replace(config.ingredients, perspective=0.0)
  )
  arrays = jax.device_put((model, anatomy, identity, jnp.stack(photo_keys)))
  noises = np.random.default_rng(seed)
  frames = []
  moves = zip(
    np.asarray(yaw, np.float32), np.asarray(expressions, np.float32), strict=True
  )
  for number, (angle, expression) in enumerate(moves):
    out = jax.device_get(_frame(*arrays, angle, expression, config=config))
    image = out['image'] * 255 + noise * noises.standard_normal(out['image'].shape)
    frames.append({**out, 'image': np.uint8(np.clip(np.round(image), 0, 255))})
    if (number + 1) % 30 == 0:
      progress(f'  {number + 1} of {len(yaw)} frames')
  stacked = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
  return HeadClip(
    stacked['image'], stacked['landmarks'], stacked['visible'], stacked['params']
  )


@functools.partial(jax.jit, static_argnames=('config',))
def _frame(model, anatomy, identity, keys, yaw, expression, *, config):
  """One frame, without the noise."""
  size = config.image_size
  pose = jnp.deg2rad(jnp.stack([yaw, jnp.float32(0), jnp.float32(0)]))
  rotation = projection.rotation_from_euler(*pose)
  face = FaceParams(camera=jnp.zeros((2, 4)), identity=identity, expression=expression)
  vertices = morphable_model.shape(model, face)
  part = projection.landmark_model(model, SCHEME)
  # Of the face at rest: a mouth that opens must not make the head smaller.
  points = morphable_model.shape(
    part, face.replace(expression=jnp.zeros_like(expression))
  )
  side = jnp.sqrt(jnp.prod(jnp.ptp(points[:, :2], axis=0)))
  scale = size / config.margin / side
  # It turns about the middle of the head, half a face behind the landmarks.
  axis = jnp.mean(points, axis=0) - jnp.array([0.0, 0.0, 0.5]) * side
  turned = rotation @ axis
  middle = (size - 1) / 2
  translation = middle - scale * turned[:2] * jnp.array([1.0, -1.0])
  view = full_renderer.View(
    rotation=rotation,
    scale=scale,
    translation=translation,
    nearness=jnp.float32(0.0),
    centre=turned,
  )
  if config.renderer == 'plain':
    positions, depths = view(vertices)
    normals = morphable_model.vertex_normals(vertices, model.triangles)
    image, _, _ = plain_renderer.render(
      keys[0],
      keys[1],
      keys[2],
      model,
      positions,
      depths,
      normals @ rotation.T,
      image_size=size,
    )
  else:
    image, _, _ = full_renderer.render(
      keys[0], model, anatomy, vertices, view, pose, config.ingredients, image_size=size
    )
  camera = projection.camera_from_pose(rotation, scale, translation)
  face = face.replace(camera=camera)
  return {
    'image': jnp.clip(image, 0.0, 1.0),
    'landmarks': projection.landmarks(model, face, SCHEME),
    'visible': projection.is_visible(
      projection.frontability(camera, part.mean_normals)
    ),
    'params': flatten_params(face),
  }
