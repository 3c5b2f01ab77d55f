"""Boxes for the fit of a confidence, and the file between the programs."""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from experiments import calibrate
from experiments.lib import cli, confidence_file
from pifa_jax.inference import confidence as confidence_lib
from pifa_jax.inference.aligner import AlignedFaces

_SIZE = 240


class _Echo:
  """Finds landmarks that fill the box; a sign tells the box's place in its photo."""

  def align_many(self, variables, photos, *, passes):
    for _, boxes in photos:
      corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
      points = boxes[:, None, :2] + corners * boxes[:, None, 2:]
      yield AlignedFaces(
        boxes=boxes,
        angles=np.zeros(len(boxes)),
        landmarks={'ibug68': points},
        frontability={},
        visible={},
        params=None,
        pose={},
        confidence=None,
        signs={'place': np.arange(len(boxes)), 'passes': 0 * boxes[:, 0] + passes},
      )


class CalibrateTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    low = rng.uniform(60, 80, (200, 1, 2))
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    self.landmarks = low + rng.uniform(90, 100, (200, 1, 2)) * corners

  def test_boxes_fit_are_off_or_lie_beside(self):
    tries = calibrate.draw_boxes(self.landmarks, _SIZE, 5, seed=1)
    self.assertLen(tries.boxes, 1000)
    np.testing.assert_array_equal(tries.face, np.repeat(np.arange(200), 5))
    shares = np.bincount(tries.kind) / 1000
    # Four standard deviations of a count.
    np.testing.assert_allclose(shares, [0.4, 0.4, 0.2], atol=4 * 0.016)
    points = self.landmarks[tries.face]
    low, high = points.min(axis=1), points.max(axis=1)
    boxes = tries.boxes
    shift = boxes[:, :2] + boxes[:, 2:] / 2 - (low + high) / 2
    shift = np.abs(shift / (high - low)).max(axis=1)
    scale = np.sqrt(np.prod(boxes[:, 2:] / (high - low), axis=1))
    for kind, reach, least, most in ((0, 0.1, 0.9, 1.3), (1, 0.35, 0.6, 1.7)):
      these = tries.kind == kind
      self.assertBetween(shift[these].max(), 0.9 * reach, reach)
      self.assertBetween(scale[these].min(), least, 1.1 * least)
      self.assertBetween(scale[these].max(), 0.9 * most, most)
    beside = tries.kind == 2
    shared = np.minimum(boxes[:, :2] + boxes[:, 2:], high) - np.maximum(
      boxes[:, :2], low
    )
    share = np.prod(np.maximum(shared, 0), axis=1) / np.prod(boxes[:, 2:], axis=1)
    self.assertLess(share[beside].max(), 0.2)
    again = calibrate.draw_boxes(self.landmarks, _SIZE, 5, seed=1)
    np.testing.assert_array_equal(again.boxes, boxes)

  def test_errors_are_those_of_the_right_face(self):
    tries = calibrate.draw_boxes(self.landmarks, _SIZE, 3, seed=0)
    images = np.zeros((200, 1, 1, 3), np.uint8)
    signs, error = calibrate.signs_and_errors(
      _Echo(), {}, images, self.landmarks, tries, 2
    )
    np.testing.assert_array_equal(signs['place'], np.tile(np.arange(3), 200))
    np.testing.assert_array_equal(signs['passes'], 2)
    points = self.landmarks[tries.face]
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    found = tries.boxes[:, None, :2] + corners * tries.boxes[:, None, 2:]
    side = np.sqrt(np.prod(points[:, 3] - points[:, 0], axis=1))
    np.testing.assert_allclose(
      error, np.linalg.norm(found - points, axis=2).mean(axis=1) / side
    )


class FileTest(absltest.TestCase):
  def test_what_is_written_is_read(self):
    weights = dict.fromkeys(confidence_lib._names('mirror_further'), 0.5)
    sure = confidence_lib.Confidence(
      {'mirror_further': confidence_lib.Logistic(-1.5, weights)},
      {'mirror_further': 0.4},
    )
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'c.json'
      confidence_file.write(str(path), sure, 'abc', {'auc': float('nan')})
      self.assertEqual(confidence_file.read(str(path), {'abc', 'x'}), sure)
      with self.assertRaisesRegex(cli.UserError, 'weights abc, not with x or y'):
        confidence_file.read(str(path), {'x', 'y'})
      for text in ('no json', '{}', '[]'):
        path.write_text(text)
        with self.assertRaisesRegex(cli.UserError, 'experiments.calibrate'):
          confidence_file.read(str(path), {'abc'})


if __name__ == '__main__':
  absltest.main()
