"""The fault suite in short; and each of its rows fails without the defence."""

import concurrent.futures
import logging
import pathlib
import tempfile
from unittest import mock
import zipfile

from absl.testing import absltest, parameterized
import jax.numpy as jnp
import numpy as np

from pifa_jax.files import array_files, images
from pifa_jax.learning import checkpoints
from tests.faults import (
  bad_labels,
  bad_numbers,
  checkpoint_faults,
  cut_runs,
  dying_workers,
  full_disk,
  hostile_files,
  hostile_folders,
  hostile_poses,
  parsers,
  rows,
  tally,
)


class FaultsTestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.scale = tally.Scale(pathlib.Path(folder.name))

  def check(self, found):
    self.assertTrue(found.passed, found.notes)


class RowsTest(FaultsTestCase):
  @parameterized.parameters(
    checkpoint_faults.missing_and_cut,
    checkpoint_faults.flipped_and_zeroed,
    checkpoint_faults.all_bad,
    checkpoint_faults.foreign,
    checkpoint_faults.two_trainers,
    hostile_files.pickles,
    hostile_files.archives,
    hostile_files.memory_bombs,
    hostile_files.hostile_text,
    bad_numbers.non_finite,
    cut_runs.second_signals,
    dying_workers.workers,
    hostile_poses.numbers_of_faces,
    hostile_poses.gradients,
  )
  def test_row(self, run):
    self.check(run(self.scale))

  def test_full_disk(self):
    if not full_disk.can_mount():
      self.skipTest('no user namespaces')
    self.check(full_disk.full_disk(self.scale))

  @parameterized.parameters(*parsers.PARSERS)
  def test_mutants(self, name):
    logging.disable(logging.WARNING)  # one line a damaged checkpoint
    self.addCleanup(logging.disable, logging.NOTSET)
    self.check(parsers.fuzz(name, self.scale.folder, 150))


class FoldersTest(FaultsTestCase):
  @parameterized.parameters(
    hostile_folders.outputs, bad_labels.samples, hostile_folders.names
  )
  def test_row(self, run):
    self.check(run(self.scale))


class DefencesTest(FaultsTestCase):
  def test_checkpoints_without_the_manifest(self):
    with mock.patch.object(checkpoints.Checkpointer, 'problem', return_value=None):
      found = checkpoint_faults.flipped_and_zeroed(self.scale)
    self.assertFalse(found.passed)
    self.assertGreater(found.silent, 0)

  def test_two_trainers_without_the_lock(self):
    with mock.patch.object(checkpoints.fcntl, 'flock'):
      found = checkpoint_faults.two_trainers(self.scale)
    self.assertEqual(found.silent, 1)

  def test_pickles_with_a_reader_that_loads_them(self):
    def trusting(unused_path, archive, info):
      with archive.open(info) as member:
        return np.lib.format.read_array(member, allow_pickle=True)

    with mock.patch.object(array_files, '_read_array', trusting):
      found = hostile_files.pickles(self.scale)
    self.assertIn('silent: object.npz: the payload ran', found.notes)

  def test_archives_without_the_checks(self):
    with (
      mock.patch.object(array_files, '_check_name'),
      mock.patch.object(zipfile.ZipFile, 'testzip', return_value=None),
      mock.patch.object(array_files, '_read_array'),
    ):
      found = hostile_files.archives(self.scale)
    self.assertGreaterEqual(found.silent, 4)

  def test_mutants_with_an_undocumented_error(self):
    with mock.patch.object(images, 'decode_image', side_effect=[None, *[KeyError] * 9]):
      found = parsers.fuzz('image', self.scale.folder, 9)
    self.assertEqual((found.tried, found.other), (10, 10))

  def test_gradients_of_an_unguarded_norm(self):
    def unguarded(model, face, **more):
      drawn = hostile_poses.visualization.visualize(model, face, **more)
      return drawn / jnp.linalg.norm(face.camera[0, :3])

    found = hostile_poses.gradients(self.scale, unguarded)
    self.assertEqual(found.notes, len(found.notes) * ['silent: zero: not finite'])
    self.assertGreater(found.silent, 10)

  def test_a_worker_whose_error_is_kept(self):
    with mock.patch.object(concurrent.futures.Future, 'result', return_value=()):
      found = dying_workers.workers(self.scale)
    self.assertFalse(found.passed)


class TableTest(FaultsTestCase):
  def test_every_row_has_a_line(self):
    wanted = [f'R{i}' for i in range(1, 17)] + [f'S{i}' for i in range(1, 7)]
    self.assertEqual(list(rows.ROWS), wanted)
    for name, row in rows.ROWS.items():
      line = tally.line(name, row, None)
      self.assertIn('not tried' if row.run else 'not built', line)

  def test_what_passes(self):
    found = tally.Tally()
    self.assertFalse(found.passed)  # nothing was tried
    found.add('clean')
    self.assertTrue(found.passed)
    found.refused('accepted', lambda: None)
    found.refused('other error', lambda: {}['x'])
    self.assertEqual((found.tried, found.silent, found.other), (3, 1, 1))
    self.assertFalse(found.passed)
    self.assertIn('FAILED', tally.line('R5', rows.ROWS['R5'], found))


if __name__ == '__main__':
  absltest.main()
