"""The exported program gives the same bits in a process that knows JAX alone."""

import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest, parameterized
import jax
from jax import export
import numpy as np

from experiments.export import face_function, stablehlo_format
from tests.experiments.export import small_network

_RUN = """
import pathlib, sys
import jax, numpy as np
program = jax.export.deserialize(bytearray(pathlib.Path('face.stablehlo').read_bytes()))
found = program.call(np.load('crops.npy'))
assert not [m for m in sys.modules if m.startswith(('pifa_jax', 'experiments'))]
np.savez('found.npz', **found)
"""


class StablehloTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    small = small_network.make_small()
    cls.function = staticmethod(small.function())

  @parameterized.parameters(0, 2)
  def test_another_process_gives_the_same_bits(self, batch_size):
    crops = small_network.crops(2)
    with tempfile.TemporaryDirectory() as name:
      folder = pathlib.Path(name)
      stablehlo_format.write(
        folder / 'face.stablehlo', self.function, crops.shape[1], batch_size
      )
      np.save(folder / 'crops.npy', crops)
      done = subprocess.run(
        [sys.executable, '-c', _RUN],
        cwd=folder,
        # The compiler's flags are those of this process: others round otherwise.
        env={**os.environ, 'PYTHONPATH': ''},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
      )
      self.assertEqual(done.returncode, 0, done.stderr)
      with np.load(folder / 'found.npz') as file:
        found = dict(file)
      program = export.deserialize(bytearray((folder / 'face.stablehlo').read_bytes()))
    wanted = jax.jit(self.function)(crops)
    self.assertEqual(set(found), set(face_function.OUTPUTS))
    for key, value in wanted.items():
      np.testing.assert_array_equal(found[key], value, err_msg=key)
    self.assertEqual(program.platforms, stablehlo_format.PLATFORMS)
    self.assertGreater(np.ptp(found['landmarks'], axis=(0, 1)).min(), 10)
    # The two faces differ: the crop has a say.
    self.assertGreater(np.abs(np.diff(found['params'], axis=0)).max(), 1e-2)


if __name__ == '__main__':
  absltest.main()
