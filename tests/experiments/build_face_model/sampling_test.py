"""Random heads and expressions."""

from absl.testing import absltest
import numpy as np

from experiments.build_face_model import sampling


class SamplingTest(absltest.TestCase):
  def test_age_weights_interpolate(self):
    knots = {'child': 0.2, 'young': 0.5, 'old': 1.0}
    weights = sampling.interpolation_weights(np.array([0.35, 0.5, 0.9]), knots)
    np.testing.assert_allclose(weights['child'], [0.5, 0, 0])
    np.testing.assert_allclose(weights['young'], [0.5, 1, 0.2])
    np.testing.assert_allclose(weights['old'], [0, 0, 0.8])

  def test_eyes_look_the_same_way(self):
    self.assertEqual(sampling.other_eye('eyeLookInLeft'), 'eyeLookOutRight')
    self.assertEqual(sampling.other_eye('eyeLookUpRight'), 'eyeLookUpLeft')


if __name__ == '__main__':
  absltest.main()
