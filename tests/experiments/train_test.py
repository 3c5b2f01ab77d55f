"""The trainer as a process: resume, signals, errors a user can provoke."""

import json
import os
import signal
import subprocess
import tempfile

from absl.testing import absltest

from pifa_jax.learning import checkpoints
from tests import program_runs

_CACHE = tempfile.mkdtemp()
# Seconds a step matter here, not accuracy.
TINY = [
  '--dataset=synthetic',
  '--renderer=plain',
  '--preset=tiny',
  '--face_model=builtin',
  '--num_train=24',
  '--num_test=8',
  '--batch_size=4',
  '--num_blocks=2',
  '--fc_pool=4',
  '--eval_every=8',
  '--checkpoint_every=4',
  '--log_every=1',
  '--visualize_every=0',
  '--tensorboard=false',
]


def _train(workdir, *more, steps=16):
  return [
    'train',
    f'--workdir={workdir}',
    f'--num_steps={steps}',
    *TINY,
    f'--cache_dir={_CACHE}',
    *more,
  ]


def _run(workdir, *more, steps=16, code=0):
  return program_runs.run(*_train(workdir, *more, steps=steps), code=code, cache=False)


def final(workdir):
  """Hash of the state at the last step, and the metrics."""
  checkpointer = checkpoints.Checkpointer(os.path.join(workdir, 'checkpoints'))
  import orbax.checkpoint as ocp

  step = checkpointer.steps()[-1]
  state = ocp.StandardCheckpointer().restore(
    os.path.join(workdir, 'checkpoints', f'step_{step}', 'state')
  )
  with open(os.path.join(workdir, 'metrics.jsonl')) as file:
    return step, checkpoints.tree_hash(state), file.read()


class ResumeTest(absltest.TestCase):
  def test_stopped_and_killed_runs_end_as_the_uninterrupted_one(self):
    folder = tempfile.mkdtemp()
    whole = os.path.join(folder, 'whole')
    done = _run(whole)
    self.assertIn('fresh', done.stdout)
    self.assertIn('NME (%)', done.stdout)
    self.assertRegex(done.stderr, r'Training set of \d+ MB on the device; float32')
    self.assertRegex(done.stderr, r'compiled the step in [\d.]+ s\n')
    reference = final(whole)
    self.assertEqual(reference[0], 16)
    lines = [json.loads(line) for line in reference[2].splitlines()]
    self.assertLen([m for m in lines if 'loss' in m], 16)
    self.assertLen(lines[-1]['nme'], 2)
    for name in ('run.json', 'faces.png', 'curves.png', 'train.flags'):
      self.assertTrue(os.path.exists(os.path.join(whole, name)), name)

    # One run, cut three times; each part goes on where the one before was saved.
    cut = os.path.join(folder, 'cut')
    begins = 'fresh'
    for number, code, at in (
      (signal.SIGTERM, 75, 2),
      (signal.SIGINT, 130, 6),
      (signal.SIGKILL, -9, 11),
    ):
      process = subprocess.Popen(
        program_runs.command(*_train(cut)),
        cwd=program_runs.ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=program_runs.environment(),
      )
      said = []
      for line in process.stdout:
        said.append(line)
        if line.startswith(f'step {at}/'):
          break
      process.send_signal(number)
      process.communicate(timeout=120)
      self.assertEqual(process.returncode, code)
      self.assertRegex(said[0], begins)
      begins = r'resumed at step [1-9]\d*$'
    # Streamed or not: the same run.
    again = _run(cut, '--data_on_device=no')
    self.assertIn('s, from the cache', again.stderr)
    self.assertRegex(again.stdout, r'resumed at step (8|9|1\d)\n')
    self.assertEqual(final(cut), reference)

    # A flipped bit in the newest checkpoint: the one before takes over.
    newest = os.path.join(cut, 'checkpoints', 'step_16', 'state')
    files = [
      os.path.join(base, name) for base, _, names in os.walk(newest) for name in names
    ]
    largest = max(files, key=os.path.getsize)
    with open(largest, 'r+b') as file:
      file.seek(os.path.getsize(largest) // 2)
      byte = file.read(1)
      file.seek(-1, os.SEEK_CUR)
      file.write(bytes([byte[0] ^ 1]))
    again = _run(cut)
    self.assertIn('damaged', again.stderr)
    self.assertIn('resumed at step 12', again.stdout)
    self.assertEqual(final(cut), reference)

    # Another configuration refuses, and says what differs.
    other = _run(whole, '--learning_rate=0.5', code=1)
    self.assertIn('another configuration', other.stderr)
    # So does another network, whose arrays have other shapes.
    other = _run(whole, '--num_blocks=3', code=1)
    self.assertIn('another configuration (network.', other.stderr)

    program_runs.run(
      'evaluate',
      '--dataset=synthetic',  # of the run's own look
      '--num_train=24',
      '--num_test=8',
      f'--cache_dir={_CACHE}',
      f'--checkpoint={whole}',
    )
    with open(
      os.path.join(whole, 'evaluation', 'synthetic_plain-test-box', 'eval.json')
    ) as file:
      report = json.load(file)
    # The trainer's last line and the evaluator agree on the same weights.
    for a, b in zip(report['nme'], lines[-1]['nme'], strict=True):
      self.assertAlmostEqual(a, b, places=3)


class ErrorTest(absltest.TestCase):
  def _fails(self, *flags, code=1):
    return program_runs.run('train', *flags, code=code, cache=False).stderr

  def test_sentences(self):
    work = f'--workdir={tempfile.mkdtemp()}'
    said = self._fails('--flagfile=aflw.flags', work, '--data_dir=/nowhere')
    for part in ('/nowhere', 'BoundingBox.mat', 'TU Graz', 'demo.flags'):
      self.assertIn(part, said)
    said = self._fails('--flagfile=alfw.flags', code=2)
    self.assertIn('aflw.flags', said)
    said = self._fails('--num_step=3', code=2)
    self.assertIn('num_steps', said)
    said = self._fails(work, '--batch_size=5', '--cpu_devices=2')
    self.assertIn(
      '5 does not split over 2 devices; use a multiple of 2, or --cpu_devices=1.', said
    )
    said = self._fails('workdir=x', code=2)
    self.assertIn('flags begin with "--"', said)
    # A cache that cannot be is a warning; the first error is about the face model.
    with tempfile.NamedTemporaryFile() as file:
      said = self._fails(work, '--face_model=nobody', f'--cache_dir={file.name}/cache')
    self.assertIn("No face model 'nobody'", said)
    self.assertIn('Warning: compiled programs cannot be kept in', said)


if __name__ == '__main__':
  absltest.main()
