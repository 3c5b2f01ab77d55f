"""The AFLW release through TFDS: the same samples as from the raw folder."""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from pifa_jax.datasets import aflw, aflw_tfds
from tests.datasets_aflw_test import write_release


class ReadAflwTfdsTest(absltest.TestCase):

  def test_identical_to_the_raw_reader(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    release = pathlib.Path(folder.name) / 'release'
    release.mkdir()
    write_release(release)
    for split, count in (('train', 6), ('test', 3)):
      raw = aflw.read_aflw(release, split)
      records = aflw_tfds.read_aflw_tfds(pathlib.Path(folder.name) / 'tfds',
                                         release, split)
      self.assertLen(raw.samples, count)
      self.assertLen(records.samples, count)
      self.assertEqual(records.notes, raw.notes)
      self.assertEqual(records.rejects, raw.rejects)
      for a, b in zip(raw.samples, records.samples):
        self.assertEqual((a.name, a.image_bytes), (b.name, b.image_bytes))
        for field in ('landmarks', 'visible', 'box'):
          np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
          self.assertEqual(getattr(a, field).dtype, getattr(b, field).dtype)

  def test_a_missing_release_is_named(self):
    with tempfile.TemporaryDirectory() as folder:
      with self.assertRaisesRegex(FileNotFoundError, 'BoundingBox.mat'):
        aflw_tfds.read_aflw_tfds(folder, pathlib.Path(folder) / 'no', 'train')


if __name__ == '__main__':
  absltest.main()
