"""Tests of ingredients.py: leaving ingredients out by name."""

import dataclasses

from absl.testing import absltest

from pifa_jax.synthesis.ingredients import Ingredients


class AblateTest(absltest.TestCase):
  def test_named_ingredients_are_left_out_and_the_others_stay(self):
    usual = Ingredients()
    found = usual.ablate(['hair', 'supersample'])
    self.assertEqual((found.hair, found.supersample), (0, 1))
    self.assertEqual(dataclasses.replace(found, hair=usual.hair, supersample=2), usual)
    self.assertEqual(usual.ablate([]), usual)

  def test_an_unknown_name_is_refused(self):
    with self.assertRaisesRegex(ValueError, "'hat' is not an ingredient.*headwear"):
      Ingredients().ablate(['hat'])


if __name__ == '__main__':
  absltest.main()
