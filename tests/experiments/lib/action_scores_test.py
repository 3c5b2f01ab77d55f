"""How well actions are read, on numbers that are known."""

from absl.testing import absltest
import numpy as np

from experiments.lib import action_scores, cli
from pifa_jax import face_models
from pifa_jax.face_models.landmark_tables import IBUG68_OPENINGS

_UNITS = {
  'jawOpen': np.array([2.0, 0, 0]),
  'eyeBlinkLeft': np.array([0, 2.0, 0]),
  'eyeBlinkRight': np.array([0, 0, 2.0]),
  'eyeLookInLeft': np.array([0, 0.01, 0]),
}


class ActionsTest(absltest.TestCase):
  def test_several_at_once(self):
    jaw, both = action_scores.parse_actions(
      ['jawOpen', 'eyeBlinkLeft + eyeBlinkRight'], _UNITS
    )
    np.testing.assert_array_equal(jaw.expression, [2, 0, 0])
    np.testing.assert_array_equal(both.expression, [0, 2, 2])
    self.assertEqual(both.members, ('eyeBlinkLeft', 'eyeBlinkRight'))
    read = {'jawOpen': 1.0, 'eyeBlinkLeft': 0.2, 'eyeBlinkRight': 0.6}
    self.assertAlmostEqual(both.strength(read), 0.4)

  def test_sentences(self):
    for names, units, words in (
      (['smile'], _UNITS, 'does not know smile; it has jawOpen, eyeBlinkLeft'),
      (['jawOpen+'], _UNITS, 'does not know an empty name'),
      (['eyeLookInLeft'], _UNITS, 'hardly moves eyeLookInLeft'),
      ([], _UNITS, 'names no action'),
      (['jawOpen'], {}, 'has no named actions'),
    ):
      with self.assertRaisesRegex(cli.UserError, words):
        action_scores.parse_actions(names, units)


class ScoresTest(absltest.TestCase):
  def test_a_line_is_found(self):
    true = np.array([0.0, 0.5, 1.0, 0.0, 0.5, 1.0])
    found = action_scores.compare(true, 0.1 + 0.6 * true)
    self.assertAlmostEqual(found['correlation'], 1)
    self.assertAlmostEqual(found['slope'], 0.6)
    self.assertAlmostEqual(found['error'], np.mean(np.abs(0.1 - 0.4 * true)))
    self.assertAlmostEqual(action_scores.compare(true, -true)['correlation'], -1)

  def test_what_does_not_vary_has_no_correlation(self):
    found = action_scores.compare(np.arange(3.0), np.ones(3))
    self.assertIsNone(found['correlation'])
    self.assertEqual(found['slope'], 0)
    self.assertIsNone(action_scores.compare(np.ones(3), np.arange(3.0))['slope'])

  def test_strengths(self):
    true = np.tile([0.0, 0.5, 1.0], (2, 1))
    found = action_scores.score_strengths(true, 0.2 + 0.5 * true, 0.9 * true)
    self.assertAlmostEqual(found['at_rest'], 0.2)
    self.assertAlmostEqual(found['at_full'], 0.7)
    self.assertAlmostEqual(found['limit'], 0.05)

  def test_openings_of_the_built_in_face(self):
    model = face_models.load_face_model('builtin')
    units = face_models.load_expression_units('builtin')
    ids = np.asarray(model.landmark_schemes['ibug68'])
    mean = np.asarray(model.mean_shape)[ids]

    def landmarks(name, strength):
      moved = np.tensordot(units[name], np.asarray(model.expression_basis)[:, ids], 1)
      return (mean + strength * moved)[:, :2] * [10, -10]

    for name, opening, closes in (
      ('eyeBlinkLeft', 'left eye', True),
      ('eyeBlinkRight', 'right eye', True),
      ('jawOpen', 'mouth', False),
    ):
      true = np.stack([landmarks(name, t) for t in (0.0, 0.5, 1.0)])[None]
      # Found at half of the strength.
      found = np.stack([landmarks(name, t) for t in (0.0, 0.25, 0.5)])[None]
      (row,) = action_scores.score_openings(name, true, found)
      self.assertEqual(row['opening'], opening)
      rest, full = row['true_at_rest'], row['true_at_full']
      if closes:
        self.assertEqual(full, 0)
      else:
        self.assertGreater(full, rest + 10)
      self.assertAlmostEqual(row['found_at_rest'], rest)
      # Lids meet before the end of their way, so that half of it closes more than half.
      self.assertBetween((row['found_at_full'] - rest) / (full - rest), 0.4, 0.8)
      self.assertGreater(row['correlation'], 0.9)
      self.assertBetween(row['slope'], 0.4, 0.8)

  def test_an_opening_does_not_depend_on_the_roll(self):
    model = face_models.load_face_model('builtin')
    ids = np.asarray(model.landmark_schemes['ibug68'])
    points = np.asarray(model.mean_shape)[ids, :2] * [100, -100]
    turn = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    for name in IBUG68_OPENINGS:
      upright = action_scores.opening(points, name)
      self.assertGreater(upright, 0)
      self.assertAlmostEqual(action_scores.opening(points @ turn.T, name), upright)

  def test_errors_are_in_percent_of_the_face(self):
    points = np.random.default_rng(0).uniform(0, 50, (2, 68, 2))
    points[:, 0], points[:, 1] = [0, 0], [50, 50]
    errors = action_scores.normalized_errors(points, points + [3, 4])
    np.testing.assert_allclose(errors, [10, 10])


if __name__ == '__main__':
  absltest.main()
