"""Tests of anatomy.py: the shadow that the head throws on itself."""

from absl.testing import absltest
import numpy as np

from tests.synthesis import faces


class AnatomyTest(absltest.TestCase):
  def test_hollows_see_less_light(self):
    model = faces.model()
    share = faces.anatomy().visibility.mean(axis=1)
    nose = share[int(model.nose_tip)]
    nostrils = share[np.asarray(model.regions['nostrils'])].mean()
    inside = share[np.asarray(model.regions['mouth_inside'])].mean()
    self.assertGreater(nose, 0.4)
    self.assertLess(nostrils, 0.6 * nose)
    self.assertLess(inside, 0.5 * nose)


if __name__ == '__main__':
  absltest.main()
