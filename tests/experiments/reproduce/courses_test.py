"""Two trainings on one scale of steps and seconds."""

import pathlib

from absl.testing import absltest

from experiments.reproduce import courses
from experiments.reproduce.finished import Finished, Hole


def _finished(curve, steps, seconds):
  return Finished(pathlib.Path('x'), (26.0, 5.0), curve, 1, 1, steps, seconds, 1.0, '')


class CourseTest(absltest.TestCase):
  def test_stages_follow_each_other_and_each_has_its_own_speed(self):
    whole = courses.course([_finished(((10, 9.0), (20, 5.0)), 20, 2.0)])
    cascade = courses.course(
      [_finished(((10, 12.0),), 10, 0.5), _finished(((5, 8.0), (10, 7.0)), 10, 1.0)]
    )
    self.assertEqual(cascade.steps, (10, 15, 20))
    self.assertEqual(cascade.seconds, (5.0, 10.0, 15.0))
    common = courses.common_error([whole, cascade])
    self.assertEqual(common, 7.0)
    self.assertEqual(whole.reaches(common), (20, 40.0))
    self.assertEqual(cascade.reaches(common), (20, 15.0))
    self.assertEqual(cascade.reaches(1.0), (float('inf'), float('inf')))

  def test_a_run_without_times_is_a_hole(self):
    with self.assertRaisesRegex(Hole, 'too few steps'):
      courses.course([_finished(((1, 9.0),), 1, None)])


if __name__ == '__main__':
  absltest.main()
