"""Runs are trained once, go on where they stopped, and fail alone."""

import json
import pathlib
import signal
import tempfile
from unittest import mock

from absl import flags
from absl.testing import absltest

from experiments import train
from experiments.lib import cli
from experiments.reproduce import runs, tables
from experiments.reproduce.catalogue import TABLES
from experiments.reproduce.finished import Hole, Stopped
from experiments.reproduce.measures import Measures
from experiments.reproduce.timed_log import TimedLog
from tests.experiments.reproduce.variants_test import make_runs


class _Trainer:
  """Stands in for `train.main`: writes the files of a run, without training.

  Attributes:
    calls: (folder, initial weights, mask) of every call.
    ends: what the next calls do, first to last: an exit code, or an exception.
  """

  def __init__(self, *ends):
    self.calls, self.ends = [], list(ends)

  def __call__(self, run):
    f = flags.FLAGS
    self.calls.append((f.workdir, f.initial_weights, f.mask))
    signal.signal(signal.SIGINT, lambda *unused: None)
    end = self.ends.pop(0) if self.ends else cli.EXIT_OK
    if isinstance(end, Exception):
      raise end
    folder = pathlib.Path(run.make_folder(f.workdir))
    run.open(str(folder), seed=f.seed)
    for step in range(1, 4):
      print(f'step {step}/{f.num_steps}  loss 1')
    blocks = f.num_blocks or 6
    if end == cli.EXIT_OK:
      run.note(
        test_nme=[26.0, *(10.0 - block for block in range(blocks))],
        num_test=8,
        num_train=20,
        last_step=f.num_steps,
        statement='faces, test, N=8; visible landmarks',
        config_hash='c',
      )
      lines = [
        {'step': 2, 'loss': 1.0},
        {'step': f.num_steps, 'split': 'validation', 'nme': [9.0, 7.0 + f.seed]},
      ]
      text = '\n'.join(map(json.dumps, lines))
      (folder / 'metrics.jsonl').write_text(text + '\n')
    return end


class RunsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = tempfile.mkdtemp()
    self.said = []
    # Each record of a run would ask git in a process of its own.
    self.enter_context(mock.patch.object(cli, '_commit', return_value='c'))

  def _runs(self, **more):
    return make_runs(self.folder, log=self.said.append, **more)

  def _train(self, *ends):
    trainer = _Trainer(*ends)
    self.enter_context(mock.patch.object(train, 'main', trainer))
    return trainer

  def test_a_finished_run_is_not_trained_again(self):
    trainer = self._train()
    handler = signal.getsignal(signal.SIGINT)
    found = self._runs().finished('base', 1)
    self.assertEqual(found.errors, (26.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0))
    self.assertEqual(found.curve, ((900, 8.0),))
    self.assertEqual((found.steps, found.num_test), (900, 8))
    self.assertGreaterEqual(found.seconds, 0)
    self.assertEqual(self._runs().finished('base', 1), found)
    self.assertLen(trainer.calls, 1)
    # Another seed, another variant and another number of steps are other runs.
    self._runs().finished('base', 0)
    self._runs().finished('mask_none', 1)
    self._runs(given={'num_steps': '5'}).finished('base', 1)
    self.assertLen({call[0] for call in trainer.calls}, 4)
    self.assertEqual([call[2] for call in trainer.calls], [None, None, 'none', None])
    # Neither the flags nor the signals of this process are the trainer's.
    self.assertIsNone(flags.FLAGS.mask)
    self.assertIs(signal.getsignal(signal.SIGINT), handler)
    self.assertIn('step 3/900', (found.folder / 'train.log').read_text())

  def test_the_run_can_be_repeated_by_its_flag_file_alone(self):
    self._train()
    flags.DEFINE_string('only_of_this_test', 'x', '')
    self.addCleanup(delattr, flags.FLAGS, 'only_of_this_test')
    with mock.patch.object(runs, 'OWN_FLAGS', {'only_of_this_test'}):
      found = self._runs().finished('mask_none', 1)
    self.assertEqual(flags.FLAGS.only_of_this_test, 'x')
    kept = (found.folder / 'train.flags').read_text().splitlines()
    self.assertIn('--mask=none', kept)
    self.assertIn('--num_steps=900', kept)
    self.assertNotIn('only_of_this_test', ' '.join(kept))

  def test_a_stopped_run_goes_on(self):
    trainer = self._train(cli.EXIT_INTERRUPTED, cli.EXIT_STOPPED)
    for code in (cli.EXIT_INTERRUPTED, cli.EXIT_STOPPED):
      with self.assertRaises(Stopped) as caught:
        self._runs().finished('base', 0)
      self.assertEqual(caught.exception.code, code)
    found = self._runs().finished('base', 0)
    self.assertLen({call[0] for call in trainer.calls}, 1)
    timing = (found.folder / 'timing.jsonl').read_text().splitlines()
    self.assertLen(timing, 6)

  def test_a_run_that_fails_is_a_hole_and_the_others_go_on(self):
    self._train(cli.EXIT_OK, MemoryError('no room'), cli.EXIT_OK)
    found = self._runs()
    cells = tables.measure(TABLES['7'], Measures(found), (0,))
    self.assertEqual(cells['mask 1'].values, {0: 5.0})
    self.assertEqual(cells['mask 2'].hole, 'MemoryError: no room')
    self.assertEqual(cells['no mask'].values, {0: 5.0})
    self.assertEqual(found.failures(), ['mask_five, seed 0: MemoryError: no room'])
    # Not tried again by this program, but by the next one.
    trainer = self._train()
    with self.assertRaises(Hole):
      found.finished('mask_five', 0)
    self.assertEmpty(trainer.calls)
    self.assertEqual(self._runs().finished('mask_five', 0).errors[-1], 5.0)

  def test_a_run_that_diverges_is_a_hole_for_good(self):
    trainer = self._train(cli.EXIT_NON_FINITE)
    for _ in range(2):
      found = self._runs()
      with self.assertRaisesRegex(Hole, 'the updates were not finite'):
        found.finished('base', 0)
      self.assertLen(found.failures(), 1)
    self.assertLen(trainer.calls, 1)

  def test_a_cascade_is_trained_stage_after_stage(self):
    trainer = self._train()
    cells = tables.measure(TABLES['cascade'], Measures(self._runs()), (0, 1))
    first = [call for call in trainer.calls if 'seed0' in call[0]]
    self.assertLen(first, 13)
    cascade = [call for call in first if '-cascade_' in call[0]]
    self.assertEqual(
      [call[1] for call in cascade], [None, *(call[0] for call in cascade[:-1])]
    )
    self.assertEqual(cells['at the end, end to end'].values, {0: 5.0, 1: 5.0})
    # Every stage ends at an error of 7 + seed on the validation faces, as the whole.
    row = 'long stages: the error that both reach'
    self.assertEqual(cells[row].values, {0: 7.0, 1: 8.0})
    row = 'equal steps: steps to it, cascade'
    self.assertEqual(cells[row].values, {0: 150.0, 1: 150.0})

  def test_without_the_stage_before_there_is_no_stage(self):
    self._train(cli.EXIT_OK, ValueError('broken'))
    with self.assertRaisesRegex(Hole, 'cascade_2, failed: ValueError: broken'):
      self._runs().finished('cascade_3', 0)

  def test_what_cannot_be_measured_says_why(self):
    self._train()
    found = Measures(self._runs())
    with self.assertRaisesRegex(Hole, '--data=300w'):
      found.w300(0, 'common')
    with self.assertRaisesRegex(Hole, '--afw_dir'):
      found.afw(0)
    with self.assertRaisesRegex(Hole, 'blocks_4x3 has 6 blocks'):
      found.error('blocks_4x3', 0, block=7)
    on_300w = Measures(self._runs(data='300w', given={'data_dir': '/x'}), '/afw')
    with self.assertRaisesRegex(Hole, 'contains the photos of AFW'):
      on_300w.afw(0)


class TimedLogTest(absltest.TestCase):
  def test_time_is_taken_at_reported_steps(self):
    folder = pathlib.Path(tempfile.mkdtemp())
    clock = iter([100.0, 101.0, 105.0])
    with (
      TimedLog(folder / 'log') as log,
      mock.patch('time.monotonic', lambda: next(clock)),
    ):
      print('step 1/20  loss 3', file=log)
      print('step 10  validation NME', file=log)
      log.write('step 11/20  lo')
      log.write('ss 2\nstep 13/20  loss\n')
    self.assertEqual(
      [(x['step'], x['seconds']) for x in log.intervals()], [(11, 0.1), (13, 2.0)]
    )
    self.assertIn('step 11/20  loss 2', (folder / 'log').read_text())


if __name__ == '__main__':
  absltest.main()
