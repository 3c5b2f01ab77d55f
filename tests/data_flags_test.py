"""What the flags that name a data set ask for."""

import dataclasses
import tempfile

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
import numpy as np

from experiments import data_flags
from pifa_jax import face_models, projection
from pifa_jax.synthesis.appearance import Appearance
from pifa_jax.types import unflatten_params
from tests.datasets_aflw_test import encode


class FlagsTestCase(absltest.TestCase):
  """With all flags at their defaults."""

  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()


class WithoutTest(FlagsTestCase):

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


class PopulationTest(FlagsTestCase):

  def test_training_faces_alone_are_others(self):
    with flagsaver.flagsaver(population=['yaw_max:45', 'num_units:0']):
      for look in ('full', 'plain'):
        with flagsaver.flagsaver(appearance=look):
          usual = data_flags.synthetic_config(flags.FLAGS, 'test').population
          train = data_flags.synthetic_config(flags.FLAGS).population
        self.assertEqual(usual.yaw_max, 90)
        self.assertEqual(train, dataclasses.replace(usual, yaw_max=45, num_units=0))

  def test_what_it_cannot_be(self):
    for pair, said in (('yaw:45', "'yaw' is not a field.*yaw_max"),
                       ('yaw_max:91', 'yaw_max is 91; it may be 0 to 90'),
                       ('smile:nan', 'smile is nan; it may be 0 to 1'),
                       ('num_units:1.5', 'num_units is 1.5; it is a whole number'),
                       ('yaw_max', "'yaw_max' is not a field and its value")):
      with flagsaver.flagsaver(population=[pair]):
        with self.assertRaisesRegex(ValueError, f'--population={pair}: {said}'):
          data_flags.synthetic_config(flags.FLAGS)


class BackgroundsTest(FlagsTestCase):

  def test_for_training_faces_of_the_full_look(self):
    folder = tempfile.mkdtemp()
    with flagsaver.flagsaver(backgrounds=folder):
      with self.assertRaisesRegex(FileNotFoundError, f'--backgrounds={folder}: .*one at'):
        data_flags.background_files(flags.FLAGS)
      with open(f'{folder}/wall.png', 'wb') as file:
        file.write(encode(np.full((70, 70, 3), 60, np.uint8)))
      files = data_flags.background_files(flags.FLAGS)
      self.assertEqual([path.name for path in files], ['wall.png'])
      self.assertEmpty(data_flags.background_files(flags.FLAGS, 'test'))
      with flagsaver.flagsaver(appearance='plain'):
        with self.assertRaisesRegex(ValueError, 'needs --appearance=full'):
          data_flags.background_files(flags.FLAGS)
    self.assertEmpty(data_flags.background_files(flags.FLAGS))
    said = []
    self.assertEqual(data_flags.read_backgrounds(files, said.append).shape[0], 1)
    self.assertEqual(said, ['Squares for the backgrounds: 1, of photographs: 1 of 1'])
    self.assertIsNone(data_flags.read_backgrounds([], said.append))


class PeopleTest(FlagsTestCase):

  def test_faces_of_another_model_with_the_own_ones_parameters(self):
    folder = tempfile.mkdtemp()
    model = face_models.load_face_model('builtin')
    # Broader, with fewer bases, and of another unit.
    others = model.replace(
        mean_shape=0.1 * model.mean_shape * np.float32([1.1, 1, 1]),
        identity_basis=0.1 * model.identity_basis[:9],
        identity_stddev=model.identity_stddev[:9],
        expression_basis=0.1 * model.expression_basis[:4],
        expression_stddev=model.expression_stddev[:4])
    path = f'{folder}/others.npz'
    face_models.save_npz(path, others, units='cm')
    with flagsaver.flagsaver(dataset='synthetic', appearance='plain', num_test=6,
                             face_model='builtin', cache_dir=folder):
      own = data_flags.open_test(model, 'ibug68', lambda text: None)
      with flagsaver.flagsaver(people=path):
        test = data_flags.open_test(model, 'ibug68', lambda text: None)
    self.assertEqual((own.name, test.name), ('synthetic_plain', 'synthetic_plain_others'))
    self.assertIn(path, test.title)
    # The same poses and looks of other faces ...
    np.testing.assert_allclose(test.packed.poses, own.packed.poses, atol=0.1)
    self.assertGreater(np.abs(test.packed.landmarks - own.packed.landmarks).max(), 2)
    # ... and P is of the face model that is asked for, near the other's landmarks.
    self.assertEqual(test.packed.params.shape, (6, model.num_params))
    points = np.stack([projection.landmarks(
        model, unflatten_params(p, model.num_identity), 'ibug68')
                       for p in test.packed.params])
    gap = np.linalg.norm(points - test.packed.landmarks, axis=-1).mean()
    self.assertBetween(gap, 0.02, 2.5)  # of faces of 114 pixels
    self.assertGreater(test.packed.residuals.min(), 0)


if __name__ == '__main__':
  absltest.main()
