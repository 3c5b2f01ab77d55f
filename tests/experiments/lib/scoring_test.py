"""What is done with predictions."""

from absl.testing import absltest
import numpy as np

from experiments.lib import scoring
from pifa_jax.evaluation import protocols


class ImageErrorsTest(absltest.TestCase):
  def test_protocols_that_count_all_need_labels_of_hidden_landmarks(self):
    target = np.zeros((1, 68, 2))
    target[0, 0] = 100.0  # a box of 100 x 100
    visible = np.ones((1, 68), bool)
    visible[0, 30] = False
    landmarks = np.stack([target, target])
    landmarks[1, 0, 30] = [34.0, 0.0]
    out = {
      'landmarks': landmarks,
      'target': target,
      'target_visible': visible,
      'box_size': np.full(1, 50.0),
      'pixel_size': np.ones(1),
    }
    every = protocols.PROTOCOLS['aflw2000']
    np.testing.assert_allclose(
      scoring.image_errors(every, out, hidden_is_placed=True), [[0.0], [34 / 68 / 100]]
    )
    np.testing.assert_array_equal(
      scoring.image_errors(protocols.PROTOCOLS['box'], out, hidden_is_placed=True),
      np.zeros((2, 1)),
    )
    with self.assertRaisesRegex(ValueError, 'counts all landmarks but 1 of 1'):
      scoring.image_errors(every, out)


if __name__ == '__main__':
  absltest.main()
