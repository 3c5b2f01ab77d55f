"""COCO, WFLW and COFW: what each layout means."""

import json
import pathlib
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np

from pifa_jax.datasets import coco, cofw, wflw
from pifa_jax.datasets.samples import MissingSplitError
from pifa_jax.files import images
from tests import miniatures

try:
  import h5py
except ImportError:  # optional
  h5py = None


class DataSetTestCase(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)


class CocoTest(DataSetTestCase):
  def test_faces_and_splits(self):
    points = miniatures.write_coco(self.root)
    found = coco.read_coco(self.root, 'train').samples
    self.assertLen(found, 3)
    for sample, face in zip(found, points[:3], strict=True):
      np.testing.assert_array_equal(np.flatnonzero(~sample.visible), [5])
      np.testing.assert_allclose(sample.landmarks, face, rtol=1e-6)
      np.testing.assert_allclose(sample.box[2:], np.ptp(face, axis=0), rtol=1e-5)
    self.assertEqual(found[0].group, found[1].group)
    self.assertNotEqual(found[0].group, found[2].group)
    self.assertLen(coco.read_coco(self.root, 'all').samples, 6)
    with self.assertRaisesRegex(MissingSplitError, 'there is train,val'):
      coco.read_coco(self.root, 'test')

  def test_a_single_file_is_for_training(self):
    miniatures.write_coco(self.root)
    (self.root / 'annotations' / 'keypoints_val2017.json').unlink()
    old = self.root / 'annotations' / 'keypoints_train2017.json'
    old.rename(self.root / 'faces.json')
    self.assertLen(coco.read_coco(self.root, 'train').samples, 3)
    with self.assertRaises(MissingSplitError):
      coco.read_coco(self.root, 'test')

  def test_whole_body_and_what_cannot_be_used(self):
    points = miniatures.write_coco(self.root)
    path = self.root / 'annotations' / 'keypoints_train2017.json'
    content = json.loads(path.read_text())
    first, second, third = content['annotations']
    first['face_kpts'], first['face_box'] = first['keypoints'], first['bbox']
    first['keypoints'] = [0, 0, 0] * 17
    second['keypoints'] = [0, 0, 0] * 68
    third['keypoints'] = third['keypoints'][:51]
    content['annotations'] += [dict(first, id=9, bbox=[1, 2], face_box=[1, 2])]
    path.write_text(json.dumps(content))
    (self.root / 'annotations' / 'train_colours.json').write_text('[1]')
    found = coco.read_coco(self.root, 'train')
    np.testing.assert_allclose(found.samples[0].landmarks, points[0], rtol=1e-6)
    self.assertIn('1 annotations have no labelled keypoint: left out.', found.notes)
    self.assertIn('train_colours.json is not a JSON object', ' '.join(found.notes))
    reasons = ' '.join(reject.reason for reject in found.rejects)
    self.assertIn('bbox [1, 2] is not', reasons)
    self.assertIn('it has 17 landmarks, most others 68', reasons)

  def test_a_web_page(self):
    (self.root / 'train.json').write_text('<!DOCTYPE html><html>{ 1 2 }</html>')
    with self.assertRaisesRegex(FileNotFoundError, 'it is a web page'):
      coco.read_coco(self.root, 'train')


class WflwTest(DataSetTestCase):
  def test_faces_boxes_and_attributes(self):
    points = miniatures.write_wflw(self.root)
    found = wflw.read_wflw(self.root, 'train').samples
    self.assertLen(found, 3)
    for sample, face in zip(found, points[:3], strict=True):
      np.testing.assert_allclose(sample.landmarks, face, atol=1e-5)
      # First and last pixel are inside.
      low, high = np.floor(face.min(0)), np.ceil(face.max(0))
      np.testing.assert_allclose(sample.box, [*(low - 0.5), *(high - low + 1)])
    self.assertEqual(found[0].group, found[1].group)
    self.assertLen({sample.name for sample in found}, 3)
    for number, attribute in enumerate(('pose', 'expression', 'illumination')):
      part = wflw.read_wflw(self.root, attribute).samples
      self.assertLen(part, 1)
      np.testing.assert_allclose(part[0].landmarks, points[3 + number], atol=1e-5)
    self.assertEmpty(wflw.read_wflw(self.root, 'blur').samples)

  def test_lists_of_other_editors(self):
    points = miniatures.write_wflw(self.root)
    for path in self.root.rglob('*.txt'):
      path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes().replace(b'\n', b'\r\n'))
    found = wflw.read_wflw(self.root, 'train').samples
    np.testing.assert_allclose(found[0].landmarks, points[0], atol=1e-5)

  def test_damaged_lists(self):
    miniatures.write_wflw(self.root)
    path = next(self.root.rglob('*_train.txt'))
    good = path.read_text()
    for bad, words in (
      ('<html>{ 1 2 }</html>', 'but a web page'),
      (good.replace(' ', ' x', 1), 'line 1: wanted 206 numbers'),
      (good.split('\n')[0][:900], 'line 1: wanted 206 numbers'),
    ):
      path.write_text(bad)
      with self.assertRaisesRegex(ValueError, words):
        wflw.read_wflw(self.root, 'train')
    path.unlink()
    self.assertLen(wflw.read_wflw(self.root, 'test').samples, 3)
    with self.assertRaisesRegex(MissingSplitError, 'no list_98pt_rect_attr_train'):
      wflw.read_wflw(self.root, 'train')


class CofwTest(DataSetTestCase):
  def _check(self, points):
    found = cofw.read_cofw(self.root, 'test')
    self.assertLen(found.samples, 3)
    for number, (sample, face) in enumerate(zip(found.samples, points, strict=True)):
      np.testing.assert_allclose(sample.landmarks, face, rtol=1e-5)
      np.testing.assert_array_equal(np.flatnonzero(~sample.visible), [4])
      np.testing.assert_allclose(sample.box[:2], face.min(0), rtol=1e-4)
      # The image comes back as it was, grey or coloured.
      wanted = images.decode_image(miniatures.image(number), 'x')
      if not number % 2:
        wanted = np.repeat(wanted[..., :1], 3, axis=2)
      np.testing.assert_array_equal(
        images.decode_image(sample.image_bytes, 'a'), wanted
      )

  def test_faces_and_occlusion(self):
    self._check(miniatures.write_cofw(self.root))

  @absltest.skipIf(h5py is None, 'h5py is not installed')
  def test_version_7_3_as_it_is_released(self):
    tables = miniatures.cofw_tables(3)
    # Matlab puts 512 bytes of text before HDF5, and turns all axes around.
    path = self.root / 'COFW_test_color.mat'
    with h5py.File(path, 'w', userblock_size=512) as file:
      cell = file.create_dataset('IsT', (1, 3), h5py.ref_dtype)
      for number, image in enumerate(tables['images'].ravel()):
        file[f'#refs#/{number}'] = np.transpose(image)
        cell[0, number] = file[f'#refs#/{number}'].ref
      file['bboxesT'] = tables['boxes'].T
      file['phisT'] = tables['labels'].T
    with open(path, 'r+b') as file:
      file.write(b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM')
    self._check(tables['points'])
    with self.assertRaisesRegex(MissingSplitError, 'no COFW_train.mat'):
      cofw.read_cofw(self.root, 'train')
    with mock.patch.dict(sys.modules, {'h5py': None}):
      with self.assertRaisesRegex(ValueError, 'needs the package h5py'):
        cofw.read_cofw(self.root, 'test')
    path.write_bytes(path.read_bytes()[:1500])
    with self.assertRaisesRegex(ValueError, 'not a file of COFW that can be read'):
      cofw.read_cofw(self.root, 'test')

  def test_tables_that_do_not_agree(self):
    miniatures.write_cofw(self.root)
    import scipy.io

    scipy.io.savemat(self.root / 'COFW_train_color.mat', {'IsTr': np.eye(3)})
    with self.assertRaisesRegex(ValueError, "no variable 'bboxesTr'"):
      cofw.read_cofw(self.root, 'train')
    content = scipy.io.loadmat(self.root / 'COFW_test_color.mat')
    scipy.io.savemat(
      self.root / 'COFW_test_color.mat',
      {
        'IsT': content['IsT'],
        'bboxesT': content['bboxesT'],
        'phisT': content['phisT'][:, :86],
      },
    )
    with self.assertRaisesRegex(ValueError, 'do not agree'):
      cofw.read_cofw(self.root, 'test')


if __name__ == '__main__':
  absltest.main()
