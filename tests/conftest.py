"""What every test process needs, set before JAX is first imported."""

import os
import shutil
import tempfile

from tests import program_runs

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Programs that a test starts keep the small programs of JAX too, as users' runs do.
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
# Four host devices.
for _flag in ('--xla_force_host_platform_device_count=4', program_runs.QUICK_COMPILER):
  if _flag.partition('=')[0] not in os.environ.get('XLA_FLAGS', ''):
    os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {_flag}'.strip()
# Compiled programs of the processes that tests start; the workers inherit it.
_CACHE = None
if 'PIFA_JAX_TEST_CACHE' not in os.environ:
  _CACHE = os.environ['PIFA_JAX_TEST_CACHE'] = tempfile.mkdtemp()


def pytest_sessionfinish():
  if _CACHE:
    shutil.rmtree(_CACHE, ignore_errors=True)
