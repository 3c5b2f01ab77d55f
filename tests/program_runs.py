"""The programs in processes of their own, as users type them."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Tests run a compiled program a few times: half of their time was spent on compiling
# it well. Other optimisation passes change results by rounding alone.
QUICK_COMPILER = '--xla_backend_optimization_level=0'


def environment(**more: str) -> dict[str, str]:
  """What a user's machine has: one device, and no compiled programs kept elsewhere.

  Args:
    **more: further variables.

  Returns:
    For `subprocess`.
  """
  found = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': QUICK_COMPILER}
  found.pop('JAX_COMPILATION_CACHE_DIR', None)
  return {**found, **more}


def command(name: str, *flags: str) -> list[str]:
  """How a program of `experiments` is started."""
  return [sys.executable, '-m', f'experiments.{name}', *flags]


def run(
  name: str, *flags: str, code: int = 0, cache: bool = True
) -> subprocess.CompletedProcess:
  """Runs a program to its end.

  Args:
    name: of the module in `experiments`.
    *flags: what stands after it.
    code: the exit code that is wanted.
    cache: share compiled programs with the other programs of this test session;
      False leaves them to --cache_dir.

  Returns:
    The finished process, with stdout and stderr as text.

  Raises:
    AssertionError: if it ended with another code, or with a traceback.
  """
  shared = {}
  if cache:
    shared['JAX_COMPILATION_CACHE_DIR'] = os.environ['PIFA_JAX_TEST_CACHE']
  done = subprocess.run(
    command(name, *flags),
    cwd=ROOT,
    text=True,
    capture_output=True,
    env=environment(**shared),
    timeout=300,
    check=False,
  )
  if done.returncode != code or 'Traceback' in done.stderr:
    raise AssertionError(
      f'{name} ended with {done.returncode}, wanted {code}:\n{done.stdout}{done.stderr}'
    )
  return done
