"""Four host devices for every test, set before JAX is first imported."""

import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
_FOUR = '--xla_force_host_platform_device_count=4'
if _FOUR not in os.environ.get('XLA_FLAGS', ''):
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {_FOUR}'.strip()
