"""Faces of the full renderer for tests: one compiled program for every strength.

Compiling the renderer takes half a minute, a face a few hundredths of a second. So the
strengths are arguments of the compiled program here, instead of constants in it.
"""

from collections.abc import Callable
import dataclasses
import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.datasets import synthetic
from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import rendering
from pifa_jax.synthesis import anatomy as anatomy_lib
from pifa_jax.synthesis import imaging
from pifa_jax.synthesis.anatomy import Anatomy
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import Array, MorphableModel

SIZE = 48  # pixels
SEED = 5
COUNT = 4  # faces a call
# Red and blue alone: nothing is drawn in these colours.
LOUD = np.zeros((2, 16, 16, 3), np.uint8)
LOUD[0, ..., 0], LOUD[1, ..., 2] = 255, 255

# `supersample` is the shape of an array, so it cannot be an argument.
NAMES = tuple(
  field.name for field in dataclasses.fields(Ingredients) if field.name != 'supersample'
)


def many(function: Callable[[Draws], jax.Array], count: int = 512) -> np.ndarray:
  """(count, ...) results of a function of a stream of 16 random numbers."""
  keys = jax.random.split(jax.random.key(0), count)
  return np.asarray(jax.jit(jax.vmap(lambda k: function(Draws(k, 16))))(keys))


class Strength:
  """A strength that is known when the compiled program runs.

  The renderer leaves out of the program what has no strength (`if config.hair:`). This
  number is true there, so that everything is in the program.
  """

  def __init__(self, value: Array):
    self.value = value

  def __bool__(self):
    return True

  def __jax_array__(self):
    return self.value

  def __mul__(self, other):
    return self.value * other

  __rmul__ = __mul__


def ingredients(values: Array, names: tuple[str, ...] = NAMES) -> Ingredients:
  """Ingredients with traced strengths.

  Args:
    values: (len(names),) strengths.
    names: of the fields.
  """
  return Ingredients(**{name: Strength(values[i]) for i, name in enumerate(names)})


@functools.cache
def model() -> MorphableModel:
  """The built-in face model."""
  return load_face_model('builtin')


@functools.cache
def anatomy() -> Anatomy:
  """The anatomy of `model`."""
  return anatomy_lib.build_anatomy(model())


def one_window():
  """A context in which `rendering.scatter_triangles` sorts triangles into two sizes.

  There are ten usually. The images are the same, and much less is compiled.
  """
  scatter = rendering.scatter_triangles
  return mock.patch.object(
    rendering,
    'scatter_triangles',
    lambda *args, windows=(), **kwargs: scatter(*args, windows=(8,), **kwargs),
  )


def _without_camera(radiance: Array) -> jax.Array:
  """Any curve that shows all of the radiance and treats every pixel alone."""
  return radiance / (1 + radiance)


@jax.jit
def _faces(values, camera, indices):
  take = imaging.photo

  def photo(key, radiance, subject, config, *, scale):
    return jax.lax.cond(
      camera,
      lambda: take(key, radiance, subject, config, scale=scale),
      lambda: _without_camera(radiance),
    )

  config = synthetic.SyntheticConfig(image_size=SIZE, ingredients=ingredients(values))
  with (
    mock.patch.object(imaging, 'photo', photo),
    mock.patch.object(anatomy_lib, 'build_anatomy', lambda model: anatomy()),
    one_window(),
  ):
    draw = synthetic.make_generator(
      model(), config, SEED, photos=LOUD, labels=synthetic.MAPS
    )
    return draw(indices)


def render(
  strengths: dict[str, float], *, camera: bool = False, first: int = 0
) -> dict[str, np.ndarray]:
  """Renders `COUNT` faces.

  Args:
    strengths: of ingredients; those that are not named have none.
    camera: whether a camera takes the image. Without one a pixel's value depends on the
      light of that pixel alone.
    first: index of the first face.

  Returns:
    See `synthetic.generate`, with the labels 'depth' and 'regions'.
  """
  anatomy()  # made before tracing begins
  values = np.array([strengths.get(name, 0.0) for name in NAMES], np.float32)
  return jax.device_get(
    _faces(values, np.bool_(camera), jnp.arange(first, first + COUNT))
  )
