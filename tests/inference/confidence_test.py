"""A confidence: fitted, written, read, and what is refused."""

import json

from absl.testing import absltest
import numpy as np

from pifa_jax.inference import confidence as confidence_lib
from pifa_jax.inference import signs as signs_lib
from pifa_jax.inference.confidence import Confidence


def _signs(rng, count, *, without=()):
  names = (*signs_lib.OF_A_CALL, *signs_lib.OF_A_SEARCH)
  return {n: rng.normal(-3, 1, count) for n in names if n not in without}


class ConfidenceTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.signs = _signs(rng, 4000)
    # Lost faces: the mirror contradicts, or the box is much too large or too small.
    total = (
      -2 * (self.signs['mirror'] + 3) + 2 - 1.5 * (self.signs['given_size'] + 3) ** 2
    )
    self.signs['given_size'] = self.signs['given_size'] + 3
    self.probability = 1 / (1 + np.exp(-total))
    self.found = rng.random(4000) < self.probability

  def test_the_true_function_is_found(self):
    function = confidence_lib.fit(self.signs, self.found)
    # A few times 1 / sqrt(4000 p (1 - p)), the error of the fit.
    self.assertAlmostEqual(function.weights['mirror'], -2, delta=0.2)
    self.assertAlmostEqual(function.weights['given_size_squared'], -1.5, delta=0.2)
    self.assertAlmostEqual(function.weights['moved'], 0, delta=0.15)
    sure = function(self.signs)
    self.assertLess(np.abs(sure - self.probability).mean(), 0.03)
    self.assertGreater(confidence_lib.area_under_curve(sure, self.found), 0.85)

  def test_all_found_or_none_is_refused(self):
    for found in (self.found | True, self.found & False):
      with self.assertRaisesRegex(ValueError, 'some that were lost'):
        confidence_lib.fit(self.signs, found)

  def test_every_kind_of_search_has_its_function(self):
    functions = {}
    for without in ((), ('mirror',), ('moved',), ('mirror', 'moved')):
      signs = {k: v for k, v in self.signs.items() if k not in without}
      kind = confidence_lib.kind_of(signs)
      functions[kind] = confidence_lib.fit(signs, self.found)
      self.assertNoCommonElements(without, functions[kind].weights)
    self.assertCountEqual(
      functions, ['mirror_further', 'plain_further', 'mirror_first', 'plain_first']
    )
    whole = Confidence(functions, {'plain_first': 0.4})
    read = Confidence.from_json(json.loads(json.dumps(whole.to_json())))
    self.assertEqual(read, whole)
    one = {name: value[0] for name, value in self.signs.items()}
    self.assertAlmostEqual(read(one), functions['mirror_further'](self.signs)[0])
    del one['mirror']
    self.assertAlmostEqual(
      read(one), functions['plain_further']({n: one[n] for n in one})
    )

  def test_doubt_has_a_threshold_of_its_kind(self):
    function = confidence_lib.fit(self.signs, self.found)
    one = {name: value[0] for name, value in self.signs.items()}
    sure = float(function(one))
    for thresholds, wanted in (
      ({}, False),
      ({'mirror_first': 1.0}, False),
      ({'mirror_further': sure - 0.01}, False),
      ({'mirror_further': sure + 0.01}, True),
    ):
      confidence = Confidence({'mirror_further': function}, thresholds)
      self.assertEqual(confidence.doubts(one), wanted)

  def test_signs_that_are_not_finite_are_no_face(self):
    function = confidence_lib.fit(self.signs, self.found)
    one = {name: value[0] for name, value in self.signs.items()}
    self.assertLess(function({**one, 'size': np.nan}), 0.01)

  def test_area_under_curve(self):
    found = np.array([True, True, False, False])
    for sure, wanted in (
      ([0.9, 0.8, 0.2, 0.1], 1.0),
      ([0.1, 0.2, 0.8, 0.9], 0.0),
      ([0.9, 0.3, 0.5, 0.1], 0.75),
      ([0.5] * 4, 0.5),
    ):
      self.assertEqual(confidence_lib.area_under_curve(np.array(sure), found), wanted)
    self.assertTrue(
      np.isnan(confidence_lib.area_under_curve(np.ones(4), np.ones(4, bool)))
    )

  def test_another_object_is_refused(self):
    good = Confidence(
      {'mirror_further': confidence_lib.fit(self.signs, self.found)}
    ).to_json()
    renamed = json.loads(json.dumps(good).replace('"mirror"', '"mirrors"'))
    for value in (None, [], {}, {'functions': 3, 'retry_below': 0.5}, renamed):
      with self.assertRaisesRegex(ValueError, 'experiments.calibrate'):
        Confidence.from_json(value)


if __name__ == '__main__':
  absltest.main()
