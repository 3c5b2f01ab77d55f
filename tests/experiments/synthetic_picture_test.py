"""The program that shows synthetic faces: its sheets and what it says."""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image

from tests import program_runs

_CROP, _GAP = 160, 2  # pixels: a synthetic face, and what is between two of them


class SyntheticPictureTest(absltest.TestCase):
  def test_the_sheets(self):
    with tempfile.TemporaryDirectory() as folder:
      done = program_runs.run(
        'synthetic_picture',
        f'--workdir={folder}',
        '--face_model=builtin',
        '--renderer=plain',
        '--num_faces=6',
        '--box_scale=2',
      )
      sheets = {
        path.name: np.asarray(Image.open(path))
        for path in pathlib.Path(folder).glob('*.png')
      }
    self.assertEqual(set(sheets), {'faces.png', 'yaw.png', 'labels.png'})
    grid = lambda rows, columns, side: (
      rows * (side + _GAP) - _GAP,
      columns * (side + _GAP) - _GAP,
      3,
    )
    self.assertEqual(sheets['faces.png'].shape, grid(3, 2, 2 * _CROP))
    self.assertEqual(sheets['yaw.png'].shape, grid(4, 4, 320))
    self.assertEqual(sheets['labels.png'].shape, grid(8, 6, 160))
    # Green and red landmarks; a face, its parts and its depth side by side.
    tile = sheets['yaw.png'][:320, :320].astype(int)
    for color in ([40, 220, 60], [235, 50, 45]):
      self.assertGreater((np.abs(tile - color).max(axis=-1) < 20).sum(), 100)
    parts, depth = (
      sheets['labels.png'][:160, 162:322],
      sheets['labels.png'][:160, 324:484],
    )
    self.assertBetween(len(np.unique(parts.reshape(-1, 3), axis=0)), 5, 15)
    self.assertEqual(np.ptp(depth, axis=-1).max(), 0)
    np.testing.assert_array_equal(parts.any(axis=-1), depth.any(axis=-1))
    self.assertIn('Hidden landmarks of 68 by yaw', done.stdout)


if __name__ == '__main__':
  absltest.main()
