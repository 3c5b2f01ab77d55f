"""Several processes: what flags are refused, the same result, and the end of all."""

import json
import os
import signal
import tempfile
import time

from absl.testing import absltest, parameterized
import jax
import numpy as np

from experiments.lib import cli, processes
from tests import several_processes


class FlagsTest(parameterized.TestCase):
  @parameterized.parameters(
    ({'num_processes': 2}, '--num_processes=2 needs --coordinator_address and'),
    (
      {'coordinator_address': 'a:1', 'num_processes': 2},
      'needs --process_id, too; give all three, or --distributed',
    ),
    (
      {'coordinator_address': 'a:1', 'num_processes': 2, 'process_id': 2},
      '--process_id=2 is none of --num_processes=2; use 0 to 1',
    ),
    (
      {'coordinator_address': 'here', 'num_processes': 2, 'process_id': 1},
      '--coordinator_address=here is not HOST:PORT',
    ),
    ({'distributed': True, 'process_id': 1}, '--process_id=1 names others'),
  )
  def test_refused(self, given, sentence):
    with self.assertRaisesRegex(cli.UserError, sentence):
      processes.check(processes.ProcessSettings(**given))

  def test_without_flags_nothing_is_joined(self):
    with processes.join(processes.ProcessSettings()) as group:
      self.assertFalse(jax.distributed.is_initialized())
      self.assertEqual((group.count, group.index, group.is_writer), (1, 0, True))
      tree = {'a': np.ones(2)}
      self.assertIs(group.from_writer(tree), tree)
      self.assertEqual(group.writer_first(lambda: 3), 3)

  def test_an_error_of_its_own_is_not_taken_for_a_loss(self):
    self.assertTrue(
      processes._is_loss(ValueError('UNKNOWN: Gloo all-reduce failed: Read error'))
    )
    self.assertFalse(processes._is_loss(ValueError('--flip=2 is too much.')))
    self.assertFalse(processes._is_loss(ConnectionError('connection refused')))


class TogetherTest(absltest.TestCase):
  """One run by two processes, of which one is killed, and by one with two devices."""

  def test_killed_then_moved_to_one_process_ends_as_one_process_alone(self):
    folder = tempfile.mkdtemp()
    cache = os.path.join(folder, 'cache')
    moved, alone = os.path.join(folder, 'moved'), os.path.join(folder, 'alone')

    group = several_processes.train(moved, cache, 2)
    several_processes.wait_for_step(moved, 4, group)
    killed = time.monotonic()
    group.processes[1].send_signal(signal.SIGKILL)
    left, victim = group.wait()
    self.assertEqual(victim.code, -signal.SIGKILL, victim.stderr)
    self.assertLess(left.time - killed, 60)
    self.assertEqual(left.code, cli.EXIT_USER_ERROR, left.stderr)
    self.assertIn('Process 0 of 2 cannot reach another one', left.stderr)
    self.assertNotIn('Traceback', left.stderr)
    # One of them wrote.
    self.assertNotIn('step', victim.stdout)
    with open(os.path.join(moved, 'run.json')) as file:
      record = json.load(file)
    self.assertEqual(record['exit_code'], cli.EXIT_USER_ERROR)
    self.assertIn('of 2 processes', record['device'])
    step = several_processes.last_state(moved)[0]
    self.assertBetween(step, 2, several_processes.NUM_STEPS - 1)

    (done,) = several_processes.train(moved, cache, 1, devices=2).wait()
    self.assertEqual(done.code, 0, done.stderr)
    self.assertIn(f'resumed at step {step}\n', done.stdout)
    (done,) = several_processes.train(alone, cache, 1, devices=2).wait()
    self.assertEqual(done.code, 0, done.stderr)
    # A sum of two numbers has one order, so that the bits are the same.
    self.assertEqual(
      several_processes.last_state(moved)[:2], several_processes.last_state(alone)[:2]
    )
    steps = lambda workdir: [
      line for line in several_processes.metrics(workdir) if 'loss' in line
    ]
    self.assertLen(steps(alone), several_processes.NUM_STEPS)
    self.assertEqual(steps(moved), steps(alone))

  def test_a_batch_that_does_not_split_over_all_devices(self):
    folder = tempfile.mkdtemp()
    ended = several_processes.train(folder, folder, 2, devices=3).wait()
    for process in ended:
      self.assertEqual(process.code, cli.EXIT_USER_ERROR, process.stderr)
      self.assertIn('batch_size=8 does not split over 6 devices', process.stderr)


if __name__ == '__main__':
  absltest.main()
