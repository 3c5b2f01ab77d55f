"""Four host devices for every test, set before JAX is first imported."""

import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Programs that a test starts keep the small programs of JAX too, as users' runs do.
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
_FOUR = '--xla_force_host_platform_device_count=4'
if _FOUR not in os.environ.get('XLA_FLAGS', ''):
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {_FOUR}'.strip()
