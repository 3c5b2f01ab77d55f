"""The benchmark runs small, says all it should, and needs no other library."""

import json
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest, parameterized
import jax
import numpy as np

from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import peers
from pifa_jax.geometry import masks, visualization
from pifa_jax.learning import network
from tests import program_runs

_SMALL = [
  '--face_model=builtin',
  '--num_vertices=900',
  '--image_size=20',
  '--repeats=2',
  '--batch_sizes=2',
  '--train_batch_sizes=2',
  '--preset=tiny',
  '--num_blocks=1',
  '--convs_per_block=1',
  '--fc_pool=7',
  # What takes long to compile: windows, and drawing in the network.
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
sys.argv = ['benchmark.py', *{list(flags)!r}]
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
    self.assertEqual({row['part'] for row in rows}, set(benchmark.PARTS))
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
    self.assertIn('2,574,660 samples would take', said.stdout)

  def test_bad_flags_are_one_sentence(self):
    with tempfile.TemporaryDirectory() as work:
      said = _run(f'--workdir={work}', '--parts=layers', code=1).stderr
      self.assertIn('--parts=layers is not a part; use projection, layer', said)
      self.assertNotIn('Traceback', said)
      said = _run(f'--workdir={work}', '--batch_sizes=0', code=1).stderr
      self.assertIn('--batch_sizes=0 is not a number of faces', said)


class PeersTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = benchmark.dense_model(3000)
    cls.mask = masks.vertex_mask(cls.model, 'nose')
    cls.faces = benchmark.posed_faces(cls.model, 3, 28, seed=0)

  @parameterized.parameters(1, 2)
  def test_after_projection(self, radius):
    inputs = jax.jit(jax.vmap(benchmark._splat_inputs, in_axes=(None, None, 0)))(
      self.model, self.mask, self.faces
    )
    expected = jax.vmap(
      lambda *face: visualization.splat(*face, image_size=28, radius=radius)
    )(*inputs)
    self.assertGreater(float(np.abs(expected).max()), 1.0)
    splats = peers.splats(28, 1.0, radius)
    self.assertIn('NumPy', splats)
    for name, splat in splats.items():
      # float32 sums of 25 terms of size 2 in another order.
      np.testing.assert_allclose(
        splat(*map(np.array, inputs)), expected, atol=2e-5, err_msg=name
      )

  def test_whole_layer(self):
    upstream = np.random.default_rng(0).normal(size=(28, 28)).astype(np.float32)
    draw = lambda face: visualization.visualize(
      self.model, face, image_size=28, mask=self.mask
    )
    drawn = jax.jit(jax.vmap(draw))(self.faces)
    grads = jax.jit(jax.vmap(jax.grad(lambda face: (upstream * draw(face)).sum())))(
      self.faces
    )
    cameras = np.array(self.faces.camera)
    coeffs = np.concatenate([self.faces.identity, self.faces.expression], axis=1)
    for name, (forward, gradient) in peers.layers(
      self.model, self.mask, upstream, 28, 1.0, visualization.DEFAULT_RADIUS
    ).items():
      np.testing.assert_allclose(
        forward(cameras, coeffs), drawn, atol=1e-4, err_msg=name
      )
      by_camera, by_coeffs = gradient(cameras, coeffs)
      expected = np.concatenate([grads.identity, grads.expression], axis=1)
      # float32 sums over the winners, in another order.
      np.testing.assert_allclose(
        by_coeffs, expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max(), err_msg=name
      )
      np.testing.assert_allclose(
        by_camera,
        grads.camera,
        rtol=1e-2,
        atol=1e-3 * np.abs(grads.camera).max(),
        err_msg=name,
      )


class CountsTest(absltest.TestCase):
  def test_models_of_any_size(self):
    for wanted in (900, 3000):
      model = benchmark.dense_model(wanted)
      self.assertBetween(model.num_vertices, wanted - 68, wanted)
    # Denser than builtin-2's drawn part: exactly as many, on the same face.
    model = benchmark.dense_model(43000)
    self.assertEqual(model.num_vertices, 43000)
    self.assertEqual(model.identity_basis.shape[1:], (43000, 3))
    np.testing.assert_allclose(
      np.linalg.norm(model.mean_normals, axis=1), 1.0, rtol=1e-5
    )
    box = lambda x: np.stack([x.min(axis=0), x.max(axis=0)])
    np.testing.assert_array_equal(box(model.mean_shape), box(model.mean_shape[:41624]))

  def test_flops_of_the_paper_network(self):
    # 0.88 G multiply-adds a face (0.38 convolutions, 0.50 fully connected), and six
    # shape products of 3 Q K.
    drawn = benchmark.dense_model(900)
    shape = 6 * 228 * drawn.num_vertices
    flops = benchmark.network_flops(network.PRESETS['paper'], drawn) - 6 * shape
    self.assertAlmostEqual(flops / 2e9, 0.88, delta=0.01)


if __name__ == '__main__':
  absltest.main()
