"""300W folders and .pts files, whole and broken."""

import io
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image

from pifa_jax.datasets import ibug


def _pts(points, ends='\n', head='version: 1\nn_points: {}\n'):
  lines = (
    head.format(len(points)).splitlines()
    + ['{']
    + [f'{x:.3f} {y:.3f}' for x, y in points]
    + ['}']
  )
  return ends.join(lines) + ends


class IbugTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.points = np.random.default_rng(0).uniform(10, 50, (68, 2)).round(3)
    for sub in sum(ibug.SPLITS.values(), ()):
      (self.root / sub).mkdir(parents=True, exist_ok=True)
      self._add(sub, 'face 1', _pts(self.points))

  def _add(self, sub, name, text, ending='.jpg'):
    image = io.BytesIO()
    Image.new('RGB', (60, 60), (90, 80, 70)).save(image, 'JPEG')
    (self.root / sub / (name + ending)).write_bytes(image.getvalue())
    if text is not None:
      (self.root / sub / (name + '.pts')).write_bytes(text.encode())

  def test_reads_both_splits(self):
    for split in ('train', 'test'):
      found = ibug.read_300w(self.root, split)
      samples, rejects = found.samples, found.rejects
      self.assertLen(samples, 3)
      self.assertEmpty(rejects)
      # 1-based in the file, 0-based here.
      np.testing.assert_allclose(samples[0].landmarks, self.points - 1, atol=1e-3)
      np.testing.assert_allclose(
        samples[0].box[2:], np.ptp(self.points, axis=0), atol=1e-3
      )

  def test_broken_files_are_rejected_and_the_rest_kept(self):
    self._add('afw', 'windows', _pts(self.points, '\r\n'), '.JPG')
    self._add('afw', 'bom', '\ufeff' + _pts(self.points))
    for name, text, part in (
      ('none', None, 'no none.pts'),
      ('short', _pts(self.points[:60]), '60'),
      ('comma', _pts(self.points).replace('.', ','), 'decimal'),
      ('count', _pts(self.points).replace('68', '67', 1), 'n_points: 67'),
      ('half', _pts(self.points)[:400], 'a part'),
      ('page', '<html>', 'not a .pts'),
      (
        'nan',
        _pts(self.points).replace('}', 'inf 1\n}').replace('68', '69', 1),
        'not finite',
      ),
      ('huge', _pts(np.zeros((2000, 2))), '2000 points'),
    ):
      with self.subTest(name):
        self._add('afw', name, text)
        found = ibug.read_300w(self.root, 'train')
        samples, rejects = found.samples, found.rejects
        self.assertLen(samples, 5)
        reasons = {r.name: r.reason for r in rejects}
        self.assertIn(part, reasons[f'afw/{name}.jpg'])

  def test_a_missing_folder_says_what_is_wanted(self):
    with self.assertRaisesRegex(FileNotFoundError, 'must hold lfpw/'):
      ibug.read_300w(self.root / 'afw', 'train')
    with self.assertRaisesRegex(FileNotFoundError, 'demo.flags'):
      ibug.read_300w(None, 'train')


if __name__ == '__main__':
  absltest.main()
