"""The program that fits the map of a detector's boxes."""

from absl.testing import absltest
import numpy as np

from experiments import fit_detector_boxes
from pifa_jax.detection.detections import Detections
from tests import program_runs

_SIZE, _DOWN = 0.8, 0.15  # of the map that is to be found


class _KnowsTheFaces:
  """Finds the faces that it is shown in turn, in boxes of its own, and false ones."""

  def __init__(self, squares):
    self._squares = iter(squares)

  def find(self, image):
    del image
    square = next(self._squares)
    scale = square[2] / _SIZE
    centre = square[:2] + square[2:] / 2 - [0, _DOWN * scale]
    sides = scale * np.array([0.8, 1.25])
    false = [-900.0, -900, 20, 20]
    boxes = np.array([false, [*(centre - sides / 2), *sides]])
    return Detections(boxes, np.array([0.4, 0.9]))


def _faces(count):
  rng = np.random.default_rng(0)
  return {
    'images': rng.integers(0, 256, (count, 64, 64, 3), np.uint8),
    'landmarks': rng.uniform(18, 46, (count, 68, 2)),
    'yaw': np.linspace(-90, 90, count),
  }


class FitTest(absltest.TestCase):
  def test_finds_the_map_of_a_known_detector(self):
    faces = _faces(12)
    squares = [square for _, square in fit_detector_boxes.canvases(faces, 3)]
    measured = fit_detector_boxes.measure(_KnowsTheFaces(squares), faces, 3)
    found = fit_detector_boxes.fit(measured, 0.5)
    self.assertAlmostEqual(found.size, _SIZE)
    self.assertAlmostEqual(found.down, _DOWN)
    np.testing.assert_array_equal(measured.score, 0.9)
    np.testing.assert_array_equal(measured.false_scores, 0.4)
    lines = list(fit_detector_boxes.report(measured, 0.5))
    self.assertIn('found 12 of 12, 0 false', lines[0])
    self.assertIn('score >= 0.4: found 12, false 12', lines)
    self.assertIn('size=0.8, down=0.15', ''.join(lines))

  def test_canvases_show_the_face_where_the_box_is(self):
    faces = _faces(6)
    # A dark image with one bright landmark box.
    for image, landmarks in zip(faces['images'], faces['landmarks'], strict=True):
      low, high = np.round([landmarks.min(axis=0), landmarks.max(axis=0)]).astype(int)
      image[:] = 0
      image[low[1] : high[1], low[0] : high[0]] = 255
    for image, square in fit_detector_boxes.canvases(faces, 0):
      x, y = np.round(square[:2] + square[2:] / 2).astype(int)
      self.assertEqual(image.shape, (480, 480, 3))
      self.assertGreater(image[y, x, 0], 200)
      outside = max(0, x - round(square[2] * 0.8))
      self.assertLess(int(image[y, outside, 0]), int(image[y, x, 0]) - 50)

  def test_there_is_nothing_to_measure_without_a_detector(self):
    done = program_runs.run('fit_detector_boxes', '--detector=none', code=1)
    self.assertIn('--detector=none finds nothing', done.stderr)


if __name__ == '__main__':
  absltest.main()
