"""experiments.measure_actions on one small person, as users type it."""

import json
import pathlib
import tempfile

from absl.testing import absltest
from PIL import Image

from tests import program_runs


class MeasureActionsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.out = pathlib.Path(folder.name) / 'out'

  def measure(self, *flags, code=0):
    return program_runs.run(
      'measure_actions', f'--workdir={self.out}', '--num_people=1', *flags, code=code
    )

  def test_tables(self):
    done = self.measure(
      '--actions=jawOpen,eyeBlinkLeft+eyeBlinkRight',
      '--num_levels=3',
      '--people_renderer=plain',
      '--frame_size=112',
      '--nomirror',
      '--noretry',
      '--passes=1',
      '--pictures',
    )
    found = json.loads((self.out / 'actions.json').read_text())
    self.assertEqual((found['people'], found['pictures']), (1, 5))
    self.assertBetween(found['face_size'], 60, 64)  # 112 over the margin
    jaw, blink = found['strengths']
    self.assertEqual(
      [jaw['action'], blink['action']], ['jawOpen', 'eyeBlinkLeft+eyeBlinkRight']
    )
    # The true P tells them well, if not exactly.
    self.assertLess(jaw['limit'], 0.2)
    openings = {(row['action'], row['opening']): row for row in found['openings']}
    self.assertCountEqual(
      openings,
      [
        ('jawOpen', 'mouth'),
        ('eyeBlinkLeft+eyeBlinkRight', 'left eye'),
        ('eyeBlinkLeft+eyeBlinkRight', 'right eye'),
      ],
    )
    mouth = openings['jawOpen', 'mouth']
    self.assertGreater(mouth['true_at_full'], mouth['true_at_rest'] + 5)
    table = (self.out / 'actions.md').read_text()
    self.assertIn('| jawOpen |', table)
    self.assertIn(table, done.stdout)
    # A row an action, a column a step.
    with Image.open(self.out / 'person_0.png') as picture:
      self.assertEqual(picture.size, (3 * 112, 2 * 112))

  def test_sentences(self):
    done = self.measure('--actions=smile', code=1)
    self.assertIn('does not know smile', done.stderr)
    done = self.measure('--leave_out=moustache', code=1)
    self.assertIn("--leave_out=moustache: 'moustache' is not an ingr", done.stderr)
    self.assertFalse(self.out.exists())


if __name__ == '__main__':
  absltest.main()
