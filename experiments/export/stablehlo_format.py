"""The function as StableHLO, through `jax.export`: JAX runs it without our code."""

from collections.abc import Callable
import os

import jax
from jax import export

from experiments.export import face_function
from pifa_jax.files.formats import write_atomically

PLATFORMS = ('cpu', 'cuda', 'tpu')


def write(
  path: str | os.PathLike[str],
  function: Callable[[jax.Array], dict[str, jax.Array]],
  crop_size: int,
  batch_size: int = 0,
) -> None:
  """Writes the serialised program: `jax.export.deserialize(bytes).call(crops)`.

  Args:
    path: the file.
    function: of `face_function`.
    crop_size: S, pixels.
    batch_size: B; 0 = any.
  """
  crops = face_function.crops_of(crop_size, batch_size, 'b')
  program = export.export(jax.jit(function), platforms=PLATFORMS)(crops)
  write_atomically(path, bytes(program.serialize()))
