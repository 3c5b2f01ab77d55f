"""Checkpoints: nothing damaged is ever restored, nothing finished is ever lost."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pifa_jax.learning import checkpoints

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def make_state(seed=0):
  """A state like the trainer's: nested, several dtypes, an Optax state."""
  rng = np.random.default_rng(seed)
  params = {
    'conv': {
      'kernel': rng.normal(size=(3, 3, 4, 8)).astype(np.float32),
      'bias': rng.normal(size=8).astype(np.float32),
    },
    'fc': {'kernel': rng.normal(size=(40, 20)).astype(np.float32)},
  }
  return {
    'step': np.int32(seed),
    'params': params,
    'opt_state': optax.chain(optax.add_decayed_weights(0.1), optax.trace(0.9)).init(
      params
    ),
    'key': np.array([7, seed], np.uint32),
    'odd': np.array([np.nan, -0.0, 1e-45], np.float32),
  }


def temporary_folder(test):
  folder = tempfile.TemporaryDirectory()
  test.addCleanup(folder.cleanup)
  return folder.name


class CheckpointsTestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(temporary_folder(self)) / 'a ü' / 'run'
    self.checkpointer = checkpoints.Checkpointer(self.root)

  def save(self, *steps):
    for step in steps:
      self.checkpointer.save(step, make_state(step), {'config': {'step': step}})

  def restored(self, **kwargs):
    # A new object, as the next process would have.
    return checkpoints.Checkpointer(self.root).restore_latest(
      kwargs.get('template', make_state())
    )

  def assertRestored(self, found, step):
    self.assertEqual(found[0], step)
    self.assertEqual(
      checkpoints.tree_hash(found[1]), checkpoints.tree_hash(make_state(step))
    )
    self.assertEqual(found[2], {'config': {'step': step}})

  def files(self, step):
    folder = self.root / f'step_{step}'
    return sorted(p for p in folder.rglob('*') if p.is_file())


class RoundTripTest(CheckpointsTestCase):
  def test_bytes(self):
    self.save(3)
    found = self.restored()
    self.assertRestored(found, 3)
    for leaf in jax.tree.leaves(found[1]):
      self.assertIsInstance(leaf, np.ndarray)
    self.assertEqual(jax.tree.structure(found[1]), jax.tree.structure(make_state()))

  def test_from_several_devices(self):
    self.assertGreaterEqual(jax.local_device_count(), 4)
    mesh = jax.sharding.Mesh(jax.local_devices()[:4], 'x')
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    self.checkpointer.save(
      3, jax.device_put(make_state(3), everywhere), {'config': {'step': 3}}
    )
    self.assertRestored(self.restored(), 3)

  def test_nothing_saved(self):
    self.assertIsNone(self.restored())
    self.assertEqual(self.checkpointer.steps(), [])
    self.assertIsNone(self.checkpointer.best_step())

  def test_latest_two_and_the_best_are_kept(self):
    for step, nme in ((1, 4.0), (2, 3.0), (3, float('nan')), (4, 5.0), (5, 9.0)):
      self.checkpointer.save(
        step, make_state(step), {'config': {'step': step}}, {'nme': nme}
      )
    self.assertEqual(self.checkpointer.steps(), [2, 4, 5])
    self.assertCountEqual(
      [p.name for p in self.root.iterdir() if p.is_dir()],
      ['step_2', 'step_4', 'step_5'],
    )
    again = checkpoints.Checkpointer(self.root)
    self.assertRestored(again.restore_best(make_state()), 2)
    self.assertRestored(again.restore_latest(make_state()), 5)

  def test_a_damaged_best_gives_way_to_the_next_best(self):
    for step, nme in ((1, 1.0), (2, 2.0), (3, 3.0)):
      self.checkpointer.save(
        step, make_state(step), {'config': {'step': step}}, {'nme': nme}
      )
    self.files(1)[0].write_bytes(b'')
    again = checkpoints.Checkpointer(self.root)
    with self.assertLogs('pifa_jax.learning.checkpoints', 'WARNING'):
      self.assertRestored(again.restore_best(make_state()), 2)

  def test_content_hash_names_the_bytes(self):
    self.save(1, 2)
    hashes = [self.checkpointer.content_hash(step) for step in (1, 2)]
    self.assertRegex(hashes[0], '^[0-9a-f]{12}$')
    self.assertNotEqual(*hashes)
    self.assertEqual(checkpoints.Checkpointer(self.root).content_hash(2), hashes[1])

  def test_put_aside(self):
    for number in (1, 2):
      self.save(1)
      self.checkpointer.put_aside()
      self.assertIsNone(self.restored())
      aside = checkpoints.Checkpointer(f'{self.root}.aside-{number}')
      self.assertRestored(aside.restore_latest(make_state()), 1)


class DamageTest(CheckpointsTestCase):
  def test_the_next_save_replaces_the_damaged(self):
    self.save(1, 2, 3)
    self.files(3)[0].unlink()
    self.assertRestored(self.checkpointer.restore_latest(make_state()), 2)
    self.save(4)
    # Two that can be used, not the damaged one and one.
    self.assertEqual(self.checkpointer.steps(), [2, 4])
    self.assertFalse((self.root / 'step_3').exists())

  def test_hostile_manifests(self):
    self.save(1, 2)
    path = self.root / 'step_2.manifest.json'
    good = json.loads(path.read_text())
    for text in (
      '[]',
      'null',
      '{"files": 3}',
      '{"files": {}}',
      '[' * 100000,
      '\ud800'.encode('utf-8', 'surrogatepass'),
      json.dumps({**good, 'files': {**good['files'], '../x': 1}}),
      json.dumps({**good, 'files': {**good['files'], 'a\0b': 1}}),
      json.dumps({**good, 'metrics': {'nme': 'low'}}),
      json.dumps({**good, 'metrics': None}),
    ):
      path.write_bytes(text if isinstance(text, bytes) else text.encode())
      self.assertRestored(self.restored(), 1)
      self.assertIn(checkpoints.Checkpointer(self.root).best_step(), (1, 2))

  def test_a_changed_manifest_is_named_itself(self):
    self.save(1, 2)
    path = self.root / 'step_2.manifest.json'
    good = json.loads(path.read_text())
    name, digest = next(iter(good['files'].items()))
    files = {**good['files'], name: digest[::-1]}
    renamed = {'sha257' if key == 'sha256' else key: good[key] for key in good}
    for content in ({**good, 'files': files}, {**good, 'step': 3}, renamed):
      path.write_text(json.dumps(content))
      problem = self.checkpointer.problem(2)
      self.assertEqual(problem, 'step_2.manifest.json has changed')
    # Written before manifests had a hash of their own.
    del good['sha256']
    path.write_text(json.dumps(good))
    self.assertIsNone(self.checkpointer.problem(2))


class UnfinishedTest(CheckpointsTestCase):
  def test_leftovers_are_skipped_and_removed(self):
    self.save(1)
    (self.root / 'step_9').mkdir()
    shutil.copytree(
      self.root / 'step_1' / 'state',
      self.root / 'step_8' / 'state.orbax-checkpoint-tmp',
    )
    (self.root / 'step_9.manifest.json.tmp').write_text('{')
    self.assertRestored(self.restored(), 1)
    self.save(2)
    self.assertRestored(self.restored(), 2)
    self.assertFalse((self.root / 'step_8').exists())
    self.assertFalse((self.root / 'step_9').exists())

  def test_killed_at_any_time(self):
    program = """
import sys
import tempfile
from pifa_jax.learning import checkpoints
from tests.learning.checkpoints_test import make_state
checkpointer = checkpoints.Checkpointer(sys.argv[1])
for step in range(1, 10**6):
  checkpointer.save(step, make_state(step), {'config': {'step': step}})
  print(step, flush=True)
"""
    rng = np.random.default_rng(0)
    child = subprocess.Popen(
      [sys.executable, '-c', program, str(self.root)],
      cwd=_ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
    )
    try:
      for _ in range(2):
        child.stdout.readline()
      # Stopped and looked at: the folder is as kill -9 would leave it.
      for _ in range(12):
        printed = int(child.stdout.readline())
        time.sleep(rng.uniform(0, 0.2))
        child.send_signal(signal.SIGSTOP)
        found = self.restored()
        self.assertGreaterEqual(found[0], printed)
        self.assertRestored(found, found[0])
        child.send_signal(signal.SIGCONT)
    finally:
      child.kill()
      child.wait()
      child.stdout.close()
    last = self.restored()[0]
    self.save(last + 1)
    self.assertRestored(self.restored(), last + 1)

  def test_a_disk_that_does_not_take_it(self):
    self.save(1)
    # Also for root, whom permissions do not stop.
    (self.root / 'step_2.manifest.json.tmp').mkdir()
    with self.assertRaisesRegex(
      checkpoints.CheckpointError, 'step 2 could not be written .* make room'
    ):
      self.save(2)
    self.assertFalse((self.root / 'step_2').exists())
    self.assertRestored(self.restored(), 1)
    self.assertRestored(self.checkpointer.restore_latest(make_state()), 1)
    below_a_file = checkpoints.Checkpointer(self.files(1)[0] / 'x')
    with self.assertRaisesRegex(checkpoints.CheckpointError, 'not be written'):
      below_a_file.save(1, make_state(), {})


class TemplateTest(CheckpointsTestCase):
  def test_eight_differences_are_listed(self):
    self.save(1)
    template = {f'x{i}': np.zeros(2) for i in range(20)}
    with self.assertRaises(checkpoints.CheckpointError) as caught:
      self.restored(template=template)
    self.assertEqual(str(caught.exception).count('wanted'), 8)
    self.assertRegex(str(caught.exception), r'\(and \d+ more\)')


class TreeHashTest(absltest.TestCase):
  def test_what_changes_it(self):
    tree = {'a': np.zeros(4, np.float32), 'b': np.zeros(4, np.float32)}
    same = {'b': jnp.zeros(4), 'a': jnp.zeros(4)}
    base = checkpoints.tree_hash(tree)
    self.assertEqual(base, checkpoints.tree_hash(same))
    others = [
      {**tree, 'a': np.array([0, 0, 0, 1e-45], np.float32)},
      {**tree, 'a': np.zeros(4, np.int32)},
      {**tree, 'a': np.zeros((2, 2), np.float32)},
      {**tree, 'a': np.array([0, 0, 0, -0.0], np.float32)},
      {'a': tree['a'], 'c': tree['b']},
      {'a': tree['a']},
    ]
    self.assertLen({base, *map(checkpoints.tree_hash, others)}, 7)


class WorkdirLockTest(absltest.TestCase):
  def test_the_second_is_refused(self):
    workdir = temporary_folder(self)
    with checkpoints.WorkdirLock(workdir):
      pid = pathlib.Path(workdir, '.lock').read_text()
      self.assertEqual(pid, str(os.getpid()))
      with self.assertRaisesRegex(checkpoints.CheckpointError, pid):
        with checkpoints.WorkdirLock(workdir):
          pass
    with checkpoints.WorkdirLock(workdir):
      pass

  def test_no_such_folder(self):
    with self.assertRaisesRegex(checkpoints.CheckpointError, 'cannot be opened'):
      with checkpoints.WorkdirLock('/does/not/exist'):
        pass


if __name__ == '__main__':
  absltest.main()
