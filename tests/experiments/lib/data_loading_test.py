"""What the flags that name a data set ask for."""

import dataclasses
import tempfile

from absl import flags
from absl.testing import absltest, flagsaver
import numpy as np

from experiments.lib import data_loading
from pifa_jax import face_models
from pifa_jax.geometry import projection
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import unflatten_params
from tests.datasets.aflw_test import encode


class FlagsTestCase(absltest.TestCase):
  """With all flags at their defaults."""

  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()


class WithoutTest(FlagsTestCase):
  def test_training_faces_alone_lose_an_ingredient(self):
    with flagsaver.flagsaver(ablate=['hair', 'supersample']):
      train = data_loading.synthetic_config(flags.FLAGS)
      test = data_loading.synthetic_config(flags.FLAGS, 'test')
    self.assertEqual((train.ingredients.hair, train.ingredients.supersample), (0, 1))
    self.assertEqual(train.ingredients.glasses, Ingredients().glasses)
    self.assertEqual(test.ingredients, Ingredients())

  def test_what_cannot_be_left_out(self):
    with flagsaver.flagsaver(ablate=['hat']):
      with self.assertRaisesRegex(
        ValueError, "--ablate=hat: 'hat' is not an ingredient.*headwear"
      ):
        data_loading.synthetic_config(flags.FLAGS)
    with flagsaver.flagsaver(ablate=['hair'], renderer='plain'):
      with self.assertRaisesRegex(ValueError, 'the plain renderer has none'):
        data_loading.synthetic_config(flags.FLAGS)
      # The flag file of a training run, used to score it on plain faces.
      self.assertEqual(
        data_loading.synthetic_config(flags.FLAGS, 'test').renderer, 'plain'
      )


class PopulationTest(FlagsTestCase):
  def test_training_faces_alone_are_others(self):
    with flagsaver.flagsaver(face_distribution=['yaw_max:45', 'num_units:0']):
      for renderer in ('full', 'plain'):
        with flagsaver.flagsaver(renderer=renderer):
          usual = data_loading.synthetic_config(flags.FLAGS, 'test').face_distribution
          train = data_loading.synthetic_config(flags.FLAGS).face_distribution
        self.assertEqual(usual.yaw_max, 90)
        self.assertEqual(train, dataclasses.replace(usual, yaw_max=45, num_units=0))

  def test_what_it_cannot_be(self):
    for pair, said in (
      ('yaw:45', "'yaw' is not a field.*yaw_max"),
      ('yaw_max:91', 'yaw_max is 91; it may be 0 to 90'),
      ('smile:nan', 'smile is nan; it may be 0 to 1'),
      ('num_units:1.5', 'num_units is 1.5; it is a whole number'),
      ('yaw_max', "'yaw_max' is not a field and its value"),
    ):
      with flagsaver.flagsaver(face_distribution=[pair]):
        with self.assertRaisesRegex(ValueError, f'--face_distribution={pair}: {said}'):
          data_loading.synthetic_config(flags.FLAGS)


class BackgroundsTest(FlagsTestCase):
  def test_for_training_faces_of_the_full_look(self):
    folder = tempfile.mkdtemp()
    with flagsaver.flagsaver(backgrounds=folder):
      with self.assertRaisesRegex(
        FileNotFoundError, f'--backgrounds={folder}: .*one at'
      ):
        data_loading.background_files(flags.FLAGS)
      with open(f'{folder}/wall.png', 'wb') as file:
        file.write(encode(np.full((70, 70, 3), 60, np.uint8)))
      files = data_loading.background_files(flags.FLAGS)
      self.assertEqual([path.name for path in files], ['wall.png'])
      self.assertEmpty(data_loading.background_files(flags.FLAGS, 'test'))
      with flagsaver.flagsaver(renderer='plain'):
        with self.assertRaisesRegex(ValueError, 'needs --renderer=full'):
          data_loading.background_files(flags.FLAGS)
    self.assertEmpty(data_loading.background_files(flags.FLAGS))
    said = []
    self.assertEqual(data_loading.read_backgrounds(files, said.append).shape[0], 1)
    self.assertEqual(said, ['Squares for the backgrounds: 1, of photos: 1 of 1'])
    self.assertIsNone(data_loading.read_backgrounds([], said.append))


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
      expression_stddev=model.expression_stddev[:4],
    )
    path = f'{folder}/others.npz'
    face_models.save_npz(path, others, units='cm')
    with flagsaver.flagsaver(
      dataset='synthetic',
      renderer='plain',
      num_test=6,
      face_model='builtin',
      cache_dir=folder,
    ):
      own = data_loading.open_test(model, 'ibug68', lambda text: None)
      with flagsaver.flagsaver(render_face_model=path):
        test = data_loading.open_test(model, 'ibug68', lambda text: None)
    self.assertEqual(
      (own.name, test.name), ('synthetic_plain', 'synthetic_plain_others')
    )
    self.assertIn(path, test.title)
    # The same poses and looks of other faces ...
    np.testing.assert_allclose(test.crops.poses, own.crops.poses, atol=0.1)
    self.assertGreater(np.abs(test.crops.landmarks - own.crops.landmarks).max(), 2)
    # ... and P is of the face model that is asked for, near the other's landmarks.
    self.assertEqual(test.crops.params.shape, (6, model.num_params))
    points = np.stack(
      [
        projection.landmarks(model, unflatten_params(p, model.num_identity), 'ibug68')
        for p in test.crops.params
      ]
    )
    gap = np.linalg.norm(points - test.crops.landmarks, axis=-1).mean()
    self.assertBetween(gap, 0.02, 2.5)  # of faces of 114 pixels
    self.assertGreater(test.crops.residuals.min(), 0)


if __name__ == '__main__':
  absltest.main()
