"""What the flags that name a data set ask for."""

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver

from experiments import data_flags
from pifa_jax.synthesis.appearance import Appearance


class WithoutTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()

  def test_training_faces_alone_lose_an_ingredient(self):
    with flagsaver.flagsaver(without=['hair', 'supersample']):
      train = data_flags.synthetic_config(flags.FLAGS)
      test = data_flags.synthetic_config(flags.FLAGS, 'test')
    self.assertEqual((train.appearance.hair, train.appearance.supersample), (0, 1))
    self.assertEqual(train.appearance.glasses, Appearance().glasses)
    self.assertEqual(test.appearance, Appearance())

  def test_what_cannot_be_left_out(self):
    with flagsaver.flagsaver(without=['hat']):
      with self.assertRaisesRegex(
          ValueError, "--without=hat: 'hat' is not an ingredient.*headwear"):
        data_flags.synthetic_config(flags.FLAGS)
    with flagsaver.flagsaver(without=['hair'], appearance='plain'):
      with self.assertRaisesRegex(ValueError, 'the plain look has none'):
        data_flags.synthetic_config(flags.FLAGS)
      # The flag file of a training run, used to score it on plain faces.
      self.assertEqual(data_flags.synthetic_config(flags.FLAGS, 'test').look, 'plain')


if __name__ == '__main__':
  absltest.main()
