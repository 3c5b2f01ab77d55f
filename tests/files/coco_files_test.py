"""COCO files that other programs, and this one, read."""

import contextlib
import io
import json
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from pifa_jax.datasets import coco as coco_reader
from pifa_jax.files import coco_files
from tests import miniatures

_NAMES = [f'p{i}' for i in range(9)]
_POINTS = np.array(
  [[10.25, 12], [40, 13.5], [np.nan, 5], [20, 50], [33, 52]]
  + [[22, 20], [25, 28], [30, 31], [27, 40]]
)
_VISIBLE = np.array([True, False, True, True, False, True, True, False, False])


class CocoFileTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.path = self.root / 'coco.json'

  def write(self):
    file = coco_files.CocoFile(_NAMES)
    first = file.add_photo('a/\u00e4 "1".jpg', 96, 80)
    empty = file.add_photo('none.jpg', 10, 10)
    second = file.add_photo('b.jpg', 96, 80)
    file.add_face(first, _POINTS, _VISIBLE, [8.0, 9, 40, 45.5], score=0.5)
    file.add_face(second, _POINTS + 1, _VISIBLE, [8.0, 9, 40, 45.5])
    file.add_face(second, _POINTS + 2, ~_VISIBLE, [8.0, 9, 40, 45.5])
    self.assertEqual((first, empty, second), (1, 2, 3))
    file.write(self.path)

  def test_content(self):
    self.write()
    content = json.loads(self.path.read_text())
    self.assertEqual(content['categories'][0]['keypoints'], _NAMES)
    self.assertEqual([a['image_id'] for a in content['annotations']], [1, 3, 3])
    face = content['annotations'][0]
    self.assertEqual(face['keypoints'][:6], [10.25, 12, 2, 40, 13.5, 1])
    self.assertEqual(face['keypoints'][6:9], [0, 0, 0])
    self.assertEqual(face['num_keypoints'], 8)
    self.assertEqual(face['score'], 0.5)
    self.assertEqual(face['area'], 40 * 45.5)

  def test_pycocotools_reads_it_and_finds_it_equal_to_itself(self):
    try:
      from pycocotools.coco import COCO
      from pycocotools.cocoeval import COCOeval
    except ImportError:
      self.skipTest('pycocotools is not installed')
    self.write()
    with contextlib.redirect_stdout(io.StringIO()):
      truth = COCO(str(self.path))
      self.assertEqual(sorted(truth.getImgIds()), [1, 2, 3])
      self.assertLen(truth.getAnnIds(imgIds=[3]), 2)
      self.assertEqual(truth.loadCats(1)[0]['keypoints'], _NAMES)
      results = [
        {
          key: face.get(key, 0.9)
          for key in ('image_id', 'category_id', 'keypoints', 'score')
        }
        for face in truth.loadAnns(truth.getAnnIds())
      ]
      evaluation = COCOeval(truth, truth.loadRes(results), 'keypoints')
      evaluation.params.kpt_oks_sigmas = np.full(len(_NAMES), 0.05)
      evaluation.evaluate()
      evaluation.accumulate()
      evaluation.summarize()
    self.assertAlmostEqual(evaluation.stats[0], 1.0)  # mean average precision

  def test_the_reader_of_data_sets_reads_it(self):
    self.write()
    for name in ('a/\u00e4 "1".jpg', 'b.jpg'):
      (self.root / name).parent.mkdir(exist_ok=True)
      (self.root / name).write_bytes(miniatures.image(1))
    found = coco_reader.read_coco(self.root, 'train')
    self.assertEqual(found.rejects, [])
    self.assertLen(found.samples, 3)
    sample = found.samples[0]
    np.testing.assert_allclose(sample.landmarks[[0, 3]], _POINTS[[0, 3]])
    np.testing.assert_array_equal(sample.visible, _VISIBLE & (np.arange(9) != 2))
    np.testing.assert_allclose(sample.box, [8.0, 9, 40, 45.5])

  def test_an_empty_file_is_one(self):
    coco_files.CocoFile(_NAMES).write(self.path)
    content = json.loads(self.path.read_text())
    self.assertEqual((content['images'], content['annotations']), ([], []))

  def test_what_does_not_fit_is_refused(self):
    file = coco_files.CocoFile(_NAMES)
    with self.assertRaisesRegex(ValueError, 'no photo 1 of 0'):
      file.add_face(1, _POINTS, _VISIBLE, [0, 0, 1, 1])
    file.add_photo('a', 1, 1)
    with self.assertRaisesRegex(ValueError, r'\(4, 2\).*wanted \(9, 2\)'):
      file.add_face(1, _POINTS[:4], _VISIBLE, [0, 0, 1, 1])


if __name__ == '__main__':
  absltest.main()
