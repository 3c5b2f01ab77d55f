"""Where the time of a run goes, with a clock that is made up."""

from unittest import mock

from absl.testing import absltest

from experiments.align import stages as stages_lib


class StagesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.now = 100.0
    self.enter_context(
      mock.patch.object(stages_lib.time, 'monotonic', lambda: self.now)
    )
    self.stages = stages_lib.Stages()

  def later(self, seconds, item=None):
    self.now += seconds
    return item

  def test_waiting_is_not_fitting(self):
    photos = (self.later(2.0, name) for name in 'ab')

    def fitted():
      for name in self.stages.timed(photos, 'waiting for photos', inside='fitting'):
        yield self.later(5.0, name)

    found = []
    with self.stages.whole():
      for name in self.stages.timed(fitted(), 'fitting'):
        found.append(name)
        with self.stages.during('noting'):
          self.later(1.0)
    self.assertEqual(found, ['a', 'b'])
    facts = self.stages.facts()
    self.assertEqual(facts['all'], 16.0)
    self.assertEqual(facts['fitting'], 10.0)
    self.assertEqual(facts['waiting for photos'], 4.0)
    self.assertEqual(facts['noting'], 2.0)

  def test_the_sentence(self):
    self.assertEqual(self.stages.sentence(), '')
    with self.stages.whole():
      with self.stages.during('fitting'):
        self.later(9.0)
      with self.stages.during('detecting'):
        self.later(1.0)
    self.assertEqual(
      self.stages.sentence(),
      'Of 10.0 s: fitting 90 %, waiting for photos 0 %; at the same time reading 0 %, '
      'detecting 10 %, writing 0 %.',
    )

  def test_what_fails_counts_as_well(self):
    with self.assertRaises(ValueError), self.stages.during('reading'):
      self.later(3.0)
      raise ValueError
    self.assertEqual(self.stages.facts()['reading'], 3.0)


if __name__ == '__main__':
  absltest.main()
