"""How often the fault and fuzz tests repeat: seldom in the suite, in full on demand.

  PIFA_JAX_THOROUGH=1 python -m pytest tests/fuzz_test.py tests/checkpoints_test.py \
      tests/trainer_test.py
"""

import os

THOROUGH = bool(os.environ.get('PIFA_JAX_THOROUGH'))


def count(short: int, full: int) -> int:
  """`full` repetitions if PIFA_JAX_THOROUGH is set, else `short`."""
  return full if THOROUGH else short
