"""Teeth, glasses and clothes: meshes that go with a head."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import colors, meshes
from pifa_jax.synthesis.anatomy import Anatomy
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import Array

_TEETH = 17  # vertices along an arch
_RIM = 25  # points of a rim of glasses
_ARC, _STEPS = 97, 17  # of the shoulders


@dataclasses.dataclass(frozen=True)
class Lenses:
  """The lenses of a pair of glasses.

  Attributes:
    vertices: (E, 3) model frame; NaN = there are none.
    triangles: (T, 3) int32 NumPy.
    through: (3,) share of the light that comes through, RGB.
    mirror: (3,) linear radiance that they reflect, RGB.
  """

  vertices: Array
  triangles: np.ndarray
  through: Array
  mirror: Array


def teeth(key: Array, anatomy: Anatomy, vertices: Array) -> meshes.Mesh:
  """Makes two arches of teeth behind the lips.

  The upper one moves with the base of the nose, the lower one with the chin.

  Args:
    key: a key.
    anatomy: of the model.
    vertices: (Q, 3) the face, model frame.

  Returns:
    The mesh of both arches, model frame.
  """
  draws = Draws(key, 16)
  ids = jnp.asarray(anatomy.landmarks)
  rest = jnp.asarray(anatomy.canonical)
  moved = lambda which: jnp.mean(
    vertices[ids[jnp.asarray(which)]] / anatomy.unit - rest[ids[jnp.asarray(which)]],
    axis=0,
  )
  upper, lower = moved([31, 33, 35]), moved([7, 8, 9])
  lips = rest[ids[jnp.array([62, 66])]].mean(axis=0)
  t = jnp.linspace(-1, 1, _TEETH)
  x = 24 * jnp.sin(t * 1.45)
  # Well behind the lips: teeth must not come through them.
  z = lips[2] - 5.0 - 20 * (1 - jnp.cos(t * 1.45))
  show = draws.uniform(0.5, 3.0)
  arch = lambda y, back, move: jnp.stack([x, jnp.full_like(x, y), z - back], -1) + move
  edge = lips[1] - show
  up = jnp.stack([arch(edge + 11, 0.0, upper), arch(edge, 0.5, upper)], axis=1)
  down = jnp.stack([arch(edge - 0.5, 2.0, lower), arch(edge - 10, 2.5, lower)], axis=1)
  white = draws.uniform(0.3, 0.6) * jnp.array([1.0, 0.93, 0.78])
  # Darker at the back, and gaps between the teeth.
  tone = jnp.cos(t * 1.2) * (1 - 0.25 * (jnp.arange(_TEETH) % 2))
  albedo = jnp.repeat((tone[:, None] * white)[:, None], 2, axis=1)
  parts = [
    meshes.Mesh(
      vertices=part.reshape(-1, 3) * anatomy.unit,
      albedo=albedo.reshape(-1, 3) * shade,
      gloss=jnp.full(2 * _TEETH, 0.8),
      triangles=meshes.grid_triangles(_TEETH, 2),
    )
    for part, shade in ((up, 1.0), (down, 0.7))
  ]
  return meshes.join(parts)


def glasses(
  key: Array, anatomy: Anatomy, vertices: Array, config: Ingredients
) -> tuple[meshes.Mesh, Lenses]:
  """Makes a pair of glasses: the frame, and the lenses as a part of their own.

  Lenses are blended with what is behind them, so they are not in the frame's mesh.

  Args:
    key: a key.
    anatomy: of the model.
    vertices: (Q, 3) the face, model frame.
    config: probabilities of `glasses` and `dark_glasses`.

  Returns:
    The frame and the lenses, model frame; all vertices are NaN if none are worn.
  """
  draws = Draws(key, 48)
  worn = draws.chance(config.glasses)
  dark = draws.chance(config.dark_glasses)
  ids = anatomy.landmarks
  at = vertices[jnp.asarray(ids)] / anatomy.unit
  left, right = jnp.mean(at[36:42], axis=0), jnp.mean(at[42:48], axis=0)
  bridge = at[27]
  centre = (left + right) / 2
  apart = (right[0] - left[0]) / 2
  big = jnp.where(dark, draws.uniform(0.9, 1.2), draws.uniform(0.75, 1.1))
  half_w = jnp.minimum(24 * big, apart - 4.0)
  half_h = half_w * draws.uniform(0.6, 0.98)
  power = draws.uniform(0.45, 1.0)  # 1 = oval, small = nearly a rectangle
  drop = draws.uniform(-1, 5)
  z = jnp.maximum(bridge[2], centre[2] + 8) + draws.uniform(3, 7)
  a = jnp.linspace(0, 2 * np.pi, _RIM)
  round_ = lambda x: jnp.sign(x) * jnp.abs(x) ** power
  rim = jnp.stack([half_w * round_(jnp.cos(a)), half_h * round_(jnp.sin(a))], -1)
  wrap = draws.uniform(0.0, 0.35)
  lines = []
  for side in (-1.0, 1.0):
    x = side * (apart + 0.5) + rim[:, 0]
    depth = z - wrap * jnp.maximum(jnp.abs(x) - 12, 0)
    lines.append(jnp.stack([centre[0] + x, centre[1] - drop + rim[:, 1], depth], -1))
  thin = draws.chance(0.45)
  radius = jnp.where(thin, draws.uniform(0.5, 1.0), draws.uniform(1.0, 2.4))
  forward = jnp.array([0.0, 0.0, 1.0])
  inner = apart + 0.5 - half_w
  nose = jnp.stack(
    [
      jnp.stack([centre[0] + s * inner, centre[1] - drop + 0.3 * half_h + up, z + 0.5])
      for s, up in ((-1.0, 0.0), (0.0, 1.5), (1.0, 0.0))
    ]
  )
  tubes = [meshes.tube(line, radius, forward) for line in lines]
  tubes.append(meshes.tube(nose, radius, forward))
  ears = [vertices[anatomy.ear_roots[i]] / anatomy.unit for i in range(2)]
  for side, ear in zip((-1.0, 1.0), ears, strict=True):
    hinge_x = apart + 0.5 + half_w
    hinge = jnp.stack(
      [
        centre[0] + side * hinge_x,
        centre[1] - drop + 0.4 * half_h,
        z - wrap * (hinge_x - 12),
      ]
    )
    # Outside the temple all the way to the ear.
    out = jnp.stack(
      [
        side * jnp.maximum(jnp.abs(ear[0]) - 2, hinge_x + 2),
        hinge[1] * 0.5 + ear[1] * 0.5 + 2,
        hinge[2] * 0.6 + ear[2] * 0.4,
      ]
    )
    end = jnp.stack([ear[0], ear[1] + 2, ear[2] + 2])
    tubes.append(
      meshes.tube(
        jnp.stack([hinge, out, end]), radius * 1.2, jnp.array([0.0, 1.0, 0.0])
      )
    )
  counts = [_RIM, _RIM, 3, 3, 3]
  color = jnp.where(draws.chance(0.55), jnp.full(3, 0.015), colors.cloth(draws))
  frames = meshes.join(
    [
      meshes.Mesh(
        vertices=part * anatomy.unit,
        albedo=jnp.broadcast_to(color, part.shape),
        gloss=jnp.full(part.shape[0], 1.5),
        triangles=meshes.tube_triangles(n),
      )
      for part, n in zip(tubes, counts, strict=True)
    ]
  )
  # Frames of some glasses are invisible; dark lenses then still show.
  points, triangles = [], []
  for k, line in enumerate(lines):
    points += [jnp.mean(line[:-1], axis=0)[None], line]
    first = k * (1 + _RIM)
    fan = np.array(
      [(first, first + 1 + i, first + 2 + i) for i in range(_RIM - 1)], np.int32
    )
    triangles += [fan, fan[:, ::-1]]
  lens = jnp.where(worn, jnp.concatenate(points) * anatomy.unit, jnp.nan)
  through = jnp.where(
    dark,
    draws.uniform(0.02, 0.2) * jnp.exp(draws.normal(0, 0.3, (3,))),
    draws.uniform(0.75, 1.0),
  )
  mirror = (
    draws.uniform() ** 3
    * jnp.where(dark, 0.25, 0.15)
    * jnp.exp(draws.normal(0, 0.2, (3,)))
  )
  return meshes.shown(frames, worn), Lenses(
    vertices=lens,
    triangles=np.concatenate(triangles),
    through=jnp.broadcast_to(through, (3,)),
    mirror=mirror,
  )


def clothes(
  key: Array,
  anatomy: Anatomy,
  skin: Array,
  rotation: Array,
  body_rotation: Array,
  config: Ingredients,
) -> meshes.Mesh:
  """Makes shoulders and a collar.

  Args:
    key: a key.
    anatomy: of the model.
    skin: (3,) linear RGB, shown in an open collar.
    rotation: (3, 3) of the head, model to camera frame.
    body_rotation: (3, 3) of the shoulders.
    config: probability of `clothes`.

  Returns:
    The mesh, in the head's model frame; all vertices are NaN if there are none.
  """
  draws = Draws(key, 64)
  pivot = jnp.array([0.0, -95.0, -52.0])  # where the neck turns
  angle = jnp.linspace(-np.pi, np.pi, _ARC)
  t = jnp.linspace(0, 1, _STEPS)
  collar = draws.uniform(-2, 28)
  # From the collar around the neck out over the shoulders and down.
  grow_x = jnp.interp(
    t,
    jnp.array([0.0, 0.15, 0.5, 0.75, 1.0]),
    jnp.array([58.0, 66.0, 130.0, 190.0, 205.0]),
  )
  grow_z = jnp.interp(
    t,
    jnp.array([0.0, 0.15, 0.5, 0.75, 1.0]),
    jnp.array([56.0, 62.0, 85.0, 100.0, 105.0]),
  )
  width = draws.uniform(0.85, 1.15)
  fall = jnp.interp(
    t, jnp.array([0.0, 0.15, 0.5, 0.75, 1.0]), jnp.array([0.0, 1.0, 1.4, 2.2, 5.0])
  )
  slope = draws.uniform(22, 40)
  x = width * grow_x * jnp.sin(angle)[:, None]
  z = grow_z * jnp.cos(angle)[:, None] - 4
  # The collar is lower in front.
  y = (
    -12
    + collar * (1 - t)
    - slope * fall
    - 20 * (1 + jnp.cos(angle)[:, None]) * (1 - t) * draws.uniform(0.3, 1.2)
  )
  local = jnp.stack([x, jnp.broadcast_to(y, x.shape), z], axis=-1)
  places = pivot + (local @ body_rotation.T) @ rotation
  main, shirt, tie = (colors.cloth(draws) for _ in range(3))
  dark_jacket = draws.chance(0.35)
  main = jnp.where(dark_jacket, main * 0.15, main)
  shirt = jnp.where(dark_jacket, 0.3 + 0.7 * shirt, shirt)
  opening = draws.uniform(0.15, 0.7) * (1.15 - t)[None, :] * draws.chance(0.7)
  front = jnp.abs(angle)[:, None] < opening
  inner = jnp.where(draws.chance(0.45), skin * 0.95, shirt)
  albedo = jnp.where(front[..., None], inner, main)
  knot = draws.chance(0.3) & (jnp.abs(angle)[:, None] < 0.1)
  albedo = jnp.where((knot & front)[..., None], tie, albedo)
  stripes = jnp.sin(
    jnp.arange(_STEPS) * draws.uniform(0.5, 2)
    + draws.uniform(-1, 1) * jnp.arange(_ARC)[:, None]
  )
  stripes = draws.chance(0.3) * jnp.clip(0.5 + 2 * stripes, 0, 1)
  albedo = albedo + 0.6 * (stripes * ~front)[..., None] * (shirt - albedo)
  folds = (
    0.3
    * jnp.sin(
      jnp.outer(jnp.arange(_ARC), draws.uniform(0.1, 0.6, (4,)))
      + draws.uniform(0, 6, (4,))
    )
    @ draws.normal(0, 0.4, (4, 1))
  )
  albedo = jnp.clip(albedo * jnp.exp(folds)[..., None], 0.003, 0.9)
  mesh = meshes.Mesh(
    vertices=places.reshape(-1, 3) * anatomy.unit,
    albedo=albedo.reshape(-1, 3),
    gloss=jnp.full(_ARC * _STEPS, 0.1),
    triangles=meshes.grid_triangles(_ARC, _STEPS),
  )
  return meshes.shown(mesh, draws.chance(config.clothes))
