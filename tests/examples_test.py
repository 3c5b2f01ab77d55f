"""The scripts in examples/ run, and end where they say."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

from absl.testing import absltest
from PIL import Image

from tests import program_runs


class PhotoToGradientTest(absltest.TestCase):
  def test_it_runs(self):
    with tempfile.TemporaryDirectory() as folder:
      figure = pathlib.Path(folder, 'out.png')
      done = subprocess.run(
        [sys.executable, 'examples/photo_to_gradient.py', f'--output={figure}'],
        cwd=program_runs.ROOT,
        text=True,
        capture_output=True,
        env=program_runs.environment(
          # A script finds what lies beside it, not the folder that it is started in.
          PYTHONPATH=str(program_runs.ROOT),
          JAX_COMPILATION_CACHE_DIR=os.environ['PIFA_JAX_TEST_CACHE'],
        ),
        timeout=300,
        check=False,
      )
      self.assertEqual(done.returncode, 0, done.stderr)
      with Image.open(figure) as image:
        self.assertEqual(image.size, (4 * 280, 280))
      mesh = figure.with_suffix('.obj').read_text()
    self.assertEqual(len(re.findall('(?m)^v ', mesh)), 17655)
    # It starts 20 degrees away. The rest is that P's camera is not exactly a scaled
    # rotation, while the three angles make one.
    off = float(re.search(r'within ([\d.]+) degrees', done.stdout).group(1))
    self.assertLess(off, 2.0, done.stdout)


if __name__ == '__main__':
  absltest.main()
