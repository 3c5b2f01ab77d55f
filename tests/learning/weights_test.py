"""Weights in a file, and the programs that take it for a run."""

import json
import pathlib
import re
import tempfile

from absl.testing import absltest
import jax
import numpy as np

from experiments.lib import cli, restore
import pifa_jax
from pifa_jax.datasets import synthetic
from pifa_jax.face_models import face_model_hash, load_face_model
from pifa_jax.files import array_files
from pifa_jax.learning import network_config, weights
from tests import program_runs


def _variables(rng):
  return {
    'params': {
      'block1': {
        'conv1': {'kernel': rng.normal(size=(3, 3, 4, 5))},
        'fc2': {'kernel': rng.normal(size=(6, 7)), 'bias': rng.normal(size=7)},
      }
    },
    'batch_stats': {
      'block1': {'bn1': {'mean': rng.normal(size=5), 'var': 1e6 * rng.random(5)}}
    },
  }


class WeightsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.path = self.root / 'w.npz'
    config = network_config.PRESETS['tiny']
    self.card = {
      'config': {
        'network': json.loads(json.dumps(vars(config))),
        'face_model': 'builtin',
      },
      'note': 'ü',
    }

  def test_round_trip(self):
    variables = _variables(np.random.default_rng(0))
    digest = weights.save_weights(self.path, variables, self.card)
    found = weights.load_weights(self.path)
    self.assertEqual(found.network, network_config.PRESETS['tiny'])
    self.assertEqual(found.card, self.card)
    self.assertEqual(found.content_hash, digest)
    self.assertEqual(found.box_scale, 1.0)  # the card does not say
    self.card['config']['augment'] = {'box_scale': 1.25}
    block, wanted = found.variables['params']['block1'], variables['params']['block1']
    # Half a unit in the last of eleven bits.
    np.testing.assert_allclose(
      block['conv1']['kernel'], wanted['conv1']['kernel'], rtol=2**-11, atol=1e-7
    )
    np.testing.assert_allclose(block['fc2']['bias'], wanted['fc2']['bias'], rtol=1e-7)
    np.testing.assert_allclose(
      found.variables['batch_stats']['block1']['bn1']['var'],
      variables['batch_stats']['block1']['bn1']['var'],
      rtol=1e-7,
    )
    weights.save_weights(self.path, variables, self.card, dtype=np.float32)
    found = weights.load_weights(self.path)
    self.assertEqual(found.box_scale, 1.25)
    np.testing.assert_allclose(
      found.variables['params']['block1']['fc2']['kernel'],
      wanted['fc2']['kernel'],
      rtol=1e-7,
    )

  def test_too_large_for_float16(self):
    variables = _variables(np.random.default_rng(0))
    variables['params']['block1']['fc2']['kernel'][0, 0] = 1e5
    with self.assertRaisesRegex(ValueError, 'params/block1/fc2/kernel are not finite'):
      weights.save_weights(self.path, variables, self.card)

  def test_other_files(self):
    with self.assertRaisesRegex(FileNotFoundError, 'No file of weights at'):
      weights.load_weights(self.path)
    array_files.write(self.path, {'card': np.asarray('{}')})
    with self.assertRaisesRegex(ValueError, 'does not hold weights'):
      weights.load_weights(self.path)
    self.path.write_bytes(b'<!DOCTYPE html>')
    with self.assertRaisesRegex(ValueError, 'cannot be read'):
      weights.load_weights(self.path)

  def test_stands_for_the_run_that_made_it(self):
    data = [
      '--dataset=synthetic',
      '--renderer=plain',
      '--num_train=16',
      '--num_test=8',
      f'--cache_dir={self.root / "cache"}',
    ]
    run = self.root / 'run'

    def train(workdir, *more):
      return program_runs.run(
        'train',
        f'--workdir={workdir}',
        '--preset=tiny',
        '--num_blocks=1',
        '--face_model=builtin',
        '--fc_pool=4',
        '--batch_size=4',
        '--num_steps=3',
        '--visualize_every=0',
        '--tensorboard=false',
        *data,
        *more,
      ).stdout

    reached = train(run)
    said = program_runs.run(
      'export_weights',
      f'--checkpoint={run}',
      f'--output={self.path}',
      '--kernel_dtype=float32',
    ).stdout
    self.assertIn(f'Use it with --checkpoint={self.path}', said)
    row = lambda text: text.partition('NME (%)')[2].splitlines()[1]
    scored = program_runs.run('evaluate', f'--checkpoint={self.path}', *data).stdout
    self.assertEqual(row(scored), row(reached))
    self.assertTrue((self.root / 'w' / 'evaluation').is_dir())

    # The same run once more, from there: all else is equal.
    further = self.root / 'further'
    said = train(further, f'--initial_weights={self.path}')
    self.assertIn('trained on synthetic (2 times), step 3', said)
    first = lambda folder: json.loads(
      (folder / 'metrics.jsonl').read_text().splitlines()[0]
    )['train_nme']
    self.assertNotAlmostEqual(first(run)[0], first(further)[0])
    before, after = restore.open_run(str(self.path)), restore.open_run(str(further))
    self.assertEqual(after.config.initial_weights, before.content.content_hash[:12])
    model, config = load_face_model('builtin'), before.config
    hashes = (face_model_hash(model),)
    begun, found = restore.start_from(
      str(self.path), config, before.content.variables, model, hashes
    )
    self.assertEqual(begun.datasets, ('synthetic', 'synthetic'))
    jax.tree.map(np.testing.assert_array_equal, found, before.content.variables)
    with self.assertRaisesRegex(cli.UserError, 'another face model .*=builtin'):
      restore.start_from(str(self.path), config, found, model, ('0',))
    del before.content.variables['params']['block1']['fc2']['bias']
    with self.assertRaisesRegex(cli.UserError, 'another network .*block1/fc2/bias'):
      restore.start_from(
        str(self.path), config, before.content.variables, model, hashes
      )


class BuiltinTest(absltest.TestCase):
  def test_align_drawn_faces(self):
    weights_path = pathlib.Path(weights.__file__).parent / 'assets/builtin_weights.npz'
    self.assertLess(weights_path.stat().st_size, 40e6)
    # The lines of docs/data.md, with faces of the plain renderer, which the weights
    # were not trained on.
    page = (program_runs.ROOT / 'docs/data.md').read_text()
    code = next(
      block
      for block in re.findall(r'```python\n(.*?)\n```', page, re.DOTALL)
      if 'load_weights' in block
    )
    drawn = synthetic.generate(
      load_face_model('builtin'),
      synthetic.plain_config(image_size=120),
      seed=3,
      start=0,
      count=8,
    )
    box = drawn['boxes'][0]
    names = {'pifa_jax': pifa_jax, 'photo': drawn['images'][0], 'boxes': [box]}
    exec(compile(code, 'docs/data.md', 'exec'), names)
    found = [names['faces']] + [
      names['aligner'].align(names['weights'].variables, image, [box], passes=2)
      for image in drawn['images'][1:]
    ]
    errors = [
      np.linalg.norm(faces.landmarks['ibug68'][0] - points, axis=1)[seen].mean()
      for faces, points, seen in zip(
        found, drawn['landmarks'], drawn['visible'], strict=True
      )
    ]
    self.assertEqual(
      face_model_hash(load_face_model(names['weights'].card['config']['face_model'])),
      names['weights'].card['config']['face_model_hash'],
    )
    # Percent of the box; the mean face in it is off by 25.
    self.assertLess(100 * np.median(errors) / box[2], 8.0)


if __name__ == '__main__':
  absltest.main()
