"""Compiled programs on disk: what one process has compiled, the next one only reads."""

import os
import pathlib
import tempfile

import jax


def default_folder() -> pathlib.Path:
  """The folder of the programs of `experiments`, below XDG_CACHE_HOME or ~/.cache."""
  cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return pathlib.Path(cache) / 'pifa_jax' / 'compiled'


def keep_compiled(folder: str | os.PathLike[str] | None = None) -> str:
  """Switches JAX's compilation cache on for this process.

  The library does nothing of the kind by itself: the cache is one setting for all that
  a process compiles. One that is set already, by JAX_COMPILATION_CACHE_DIR or in
  `jax.config`, stays as it is. May be called at any time; what was compiled before is
  not kept.

  Args:
    folder: made if missing; may be deleted at any time. None = `default_folder`.

  Returns:
    The folder that is in use.

  Raises:
    OSError: if it cannot be made, or nothing can be written there.
  """
  # JAX's types do not list its settings.
  known = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
  if known:
    return known
  place = os.path.abspath(default_folder() if folder is None else folder)
  os.makedirs(place, exist_ok=True)
  with tempfile.TemporaryFile(dir=place):
    pass
  jax.config.update('jax_compilation_cache_dir', place)
  # The many small programs as well: together they take as long as the large one.
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  # JAX looks for a cache once, when it compiles for the first time.
  from jax.experimental.compilation_cache import compilation_cache

  compilation_cache.reset_cache()
  return place
