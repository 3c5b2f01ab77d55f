"""Expressions that are made of known actions are read back."""

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.face_models import expression_actions, load_expression_units

_UNITS = load_expression_units()


def _expression(strengths):
  return sum(value * _UNITS[name] for name, value in strengths.items())


class ActionsTest(parameterized.TestCase):
  def test_every_single_action_is_read_back(self):
    found = expression_actions(_UNITS, np.zeros(29))
    self.assertEqual(set(found.values()), {0.0})
    # The bases of the built-in face hold no eyes that look left or right.
    missing = set(_UNITS) - set(found)
    self.assertTrue(all('LookIn' in n or 'LookOut' in n for n in missing), missing)
    self.assertLen(missing, 4)
    for name in found:
      for strength in (0.35, 1.0):
        read = expression_actions(_UNITS, strength * _UNITS[name])
        self.assertAlmostEqual(read.pop(name), strength, delta=0.02, msg=name)
        self.assertLess(max(read.values()), 0.02, name)

  @parameterized.parameters(
    {'eyeBlinkLeft': 1.0, 'eyeBlinkRight': 0.2, 'jawOpen': 0.6},
    {'mouthSmileLeft': 0.8, 'mouthSmileRight': 0.5, 'browInnerUp': 0.9},
    {'jawOpen': 0.3, 'mouthPucker': 0.7, 'browDownLeft': 0.4, 'eyeWideRight': 0.5},
  )
  def test_sums_are_read_back(self, **strengths):
    read = expression_actions(_UNITS, _expression(strengths))
    for name, value in strengths.items():
      self.assertAlmostEqual(read.pop(name), value, delta=0.06, msg=name)
    self.assertLess(max(read.values()), 0.06)

  def test_strengths_stay_within_0_and_1(self):
    read = expression_actions(_UNITS, _expression({'jawOpen': 3.0}))
    self.assertEqual(read['jawOpen'], 1.0)
    read = expression_actions(_UNITS, _expression({'eyeBlinkLeft': -1.0}))
    self.assertEqual(read['eyeBlinkLeft'], 0.0)
    self.assertLessEqual(max(read.values()), 1.0)

  def test_a_model_without_actions_has_none(self):
    self.assertEqual(expression_actions({}, np.zeros(7)), {})
    self.assertEqual(expression_actions({'a': np.zeros(3)}, np.ones(3)), {})

  def test_other_expressions_are_refused(self):
    with self.assertRaisesRegex(ValueError, r'\(28,\); wanted \(29,\)'):
      expression_actions(_UNITS, np.zeros(28))
    with self.assertRaisesRegex(ValueError, 'finite'):
      expression_actions(_UNITS, np.full(29, np.nan))


if __name__ == '__main__':
  absltest.main()
