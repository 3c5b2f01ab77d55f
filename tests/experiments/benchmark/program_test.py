"""The benchmark runs at small sizes, reports everything, needs no other library."""

import json
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

from experiments.benchmark import parts
from tests import program_runs

_SMALL = [
  '--face_model=builtin',
  '--num_vertices=900',
  '--image_size=20',
  '--repeats=2',
  '--batch_sizes=2',
  '--train_batch_sizes=2',
  '--preset=tiny',
  '--num_blocks=2',
  '--exits=1',
  '--convs_per_block=1',
  '--fc_pool=7',
  # What takes long to compile: windows, and visualizations in the network.
  '--radius=0',
  '--visualization=false',
]
_BLOCKED = ('torch', 'numba', 'matplotlib', 'tensorflow_datasets')


def _run(*flags, code=0):
  """Runs the program where the optional libraries cannot be imported."""
  program = f"""
import importlib.util, runpy, sys
class Blocked:
  def find_spec(self, name, path=None, target=None):
    if name.split('.')[0] in {_BLOCKED!r}:
      raise ImportError('blocked: ' + name)
sys.meta_path.insert(0, Blocked())
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name.split('.')[0] in {_BLOCKED!r} else found(name, package))
sys.argv = ['benchmark', *{list(flags)!r}]
runpy.run_module('experiments.benchmark', run_name='__main__')
"""
  done = subprocess.run(
    [sys.executable, '-c', program],
    cwd=program_runs.ROOT,
    text=True,
    capture_output=True,
    # Nothing is compared with anything here: compile quickly.
    env=program_runs.environment(JAX_DISABLE_MOST_OPTIMIZATIONS='1'),
    timeout=300,
    check=False,
  )
  if done.returncode != code:
    raise AssertionError(done.stdout + done.stderr)
  return done


class ProgramTest(absltest.TestCase):
  def test_every_part(self):
    with tempfile.TemporaryDirectory() as work:
      said = _run(f'--workdir={work}', '--peers', '--dense_vertices=200', *_SMALL)
      result = json.loads((pathlib.Path(work) / 'benchmark.json').read_text())
    rows = result['rows']
    self.assertEqual({row['part'] for row in rows}, set(parts.PARTS))
    self.assertIn('matplotlib is not installed', said.stderr)
    for key in ('device', 'platform', 'num_devices', 'versions', 'commit', 'flags'):
      self.assertIn(key, result)
    self.assertGreater(result['peak_memory']['process'], 0)
    for row in rows:
      self.assertGreater(row['min_ms'], 0)
      self.assertLessEqual(row['min_ms'], row['median_ms'])
      self.assertLessEqual(row['median_ms'], row['max_ms'])
      self.assertEqual(row['repeats'], 2)
      self.assertIn(row['name'], said.stdout)
      self.assertGreater(row['product_gflop_a_second'], 0)
      if row['gflop']:
        self.assertGreater(row['share_of_product'], 0)
    names = [row['name'] for row in rows if row['part'] == 'layer']
    self.assertIn('after projection, NumPy', names)
    self.assertNotIn('numba', ' '.join(names))
    numpy_row = next(row for row in rows if row['name'] == 'after projection, NumPy')
    self.assertLess(numpy_row['largest_difference'], 1e-4)
    early, full = (
      next(row for row in rows if row['name'] == name)
      for name in ('until block 1', 'forward, tiny')
    )
    self.assertLess(early['gflop'], full['gflop'])
    self.assertIn('2,574,660 samples would take', said.stdout)

  def test_bad_flags_are_one_sentence(self):
    with tempfile.TemporaryDirectory() as work:
      said = _run(f'--workdir={work}', '--parts=layers', code=1).stderr
      self.assertIn('--parts=layers is not a part; use projection, layer', said)
      self.assertNotIn('Traceback', said)
      said = _run(f'--workdir={work}', '--batch_sizes=0', code=1).stderr
      self.assertIn('--batch_sizes=0 is not a number of faces', said)
      said = _run(
        f'--workdir={work}', '--peer_networks=a.onnx', '--batch_sizes=8', code=1
      ).stderr
      self.assertIn('--peer_networks are measured in the part network with one', said)
      said = _run(f'--workdir={work}', '--exits=7', '--preset=tiny', code=1).stderr
      self.assertIn('--exits=7; the network has 6 blocks: use numbers from 1', said)
      vertices = '--num_vertices=9999999999'
      said = _run(f'--workdir={work}', vertices, code=1).stderr
      self.assertRegex(said, f'{vertices} needs .* GB of memory, and .* use at most')
      self.assertNotIn('Traceback', said)


if __name__ == '__main__':
  absltest.main()
