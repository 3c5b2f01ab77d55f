"""The sets of synthetic faces that the settings ask for."""

import dataclasses
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np

from experiments.lib import data_loading, synthetic_data
from experiments.lib.synthetic_data import SyntheticFaces, SyntheticSettings
from pifa_jax import face_models
from pifa_jax.datasets import crop_cache
from pifa_jax.face_models import hair_helper
from pifa_jax.geometry import projection
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import unflatten_params
from tests.datasets import hair_files
from tests.datasets.aflw_test import encode


class AblateTest(absltest.TestCase):
  def test_training_faces_alone_lose_an_ingredient(self):
    faces = SyntheticFaces(ablate=('hair', 'supersample'))
    train = synthetic_data.generator_config(faces)
    test = synthetic_data.generator_config(faces, 'test')
    self.assertEqual((train.ingredients.hair, train.ingredients.supersample), (0, 1))
    self.assertEqual(train.ingredients.glasses, Ingredients().glasses)
    self.assertEqual(test.ingredients, Ingredients())

  def test_what_cannot_be_left_out(self):
    with self.assertRaisesRegex(
      ValueError, "--ablate=hat: 'hat' is not an ingredient.*headwear"
    ):
      synthetic_data.generator_config(SyntheticFaces(ablate=('hat',)))
    faces = SyntheticFaces(renderer='plain', ablate=('hair',))
    with self.assertRaisesRegex(ValueError, 'the plain renderer has none'):
      synthetic_data.generator_config(faces)
    # The flag file of a training run, used to score it on plain faces.
    self.assertEqual(synthetic_data.generator_config(faces, 'test').renderer, 'plain')


class FaceDistributionTest(absltest.TestCase):
  def test_training_faces_alone_are_others(self):
    for renderer in ('full', 'plain'):
      faces = SyntheticFaces(
        renderer=renderer, face_distribution=('yaw_max:45', 'num_units:0')
      )
      usual = synthetic_data.generator_config(faces, 'test').face_distribution
      train = synthetic_data.generator_config(faces).face_distribution
      self.assertEqual(usual.yaw_max, 90)
      self.assertEqual(train, dataclasses.replace(usual, yaw_max=45, num_units=0))

  def test_what_it_cannot_be(self):
    for pair, said in (
      ('yaw:45', "'yaw' is not a field of FaceDistribution.*yaw_max"),
      ('yaw_max:91', 'yaw_max is 91; it may be 0 to 90'),
      ('smile:nan', 'smile is nan; it may be 0 to 1'),
      ('num_units:1.5', 'num_units is 1.5; it must be a whole number'),
      ('yaw_max', "'yaw_max' is not a field and its value"),
    ):
      with self.assertRaisesRegex(ValueError, f'--face_distribution={pair}: {said}'):
        synthetic_data.generator_config(SyntheticFaces(face_distribution=(pair,)))
    twice = ('yaw_max:45', 'yaw_max:60')
    with self.assertRaisesRegex(ValueError, 'yaw_max stands there twice'):
      synthetic_data.generator_config(SyntheticFaces(face_distribution=twice))


class BackgroundsTest(absltest.TestCase):
  def test_for_training_faces_of_the_full_renderer(self):
    folder = tempfile.mkdtemp()
    faces = SyntheticFaces(backgrounds=folder)
    with self.assertRaisesRegex(FileNotFoundError, f'--backgrounds={folder}: .*one at'):
      synthetic_data.background_files(faces)
    with open(f'{folder}/wall.png', 'wb') as file:
      file.write(encode(np.full((70, 70, 3), 60, np.uint8)))
    files = synthetic_data.background_files(faces)
    self.assertEqual([path.name for path in files], ['wall.png'])
    self.assertEmpty(synthetic_data.background_files(faces, 'test'))
    with self.assertRaisesRegex(ValueError, 'needs --renderer=full'):
      synthetic_data.background_files(dataclasses.replace(faces, renderer='plain'))
    self.assertEmpty(synthetic_data.background_files(SyntheticFaces()))
    said = []
    self.assertEqual(synthetic_data.read_backgrounds(files, said.append).shape[0], 1)
    self.assertEqual(said, ['Squares for the backgrounds: 1, of photos: 1 of 1'])
    self.assertIsNone(synthetic_data.read_backgrounds([], said.append))


class HairMeshesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.model = face_models.load_face_model('builtin')
    base = hair_helper.load_base_vertices('builtin')
    self.folder = pathlib.Path(tempfile.mkdtemp())
    self.path = hair_files.write(
      self.folder, 'curtain', [f'{i}' for i in base.helper_ids[:4]]
    )
    self.faces = SyntheticFaces(hair_meshes=str(self.folder))

  def read(self, split='train', **changes):
    said = []
    faces = dataclasses.replace(self.faces, **changes)
    found = synthetic_data.read_hair(faces, self.model, 'builtin', said.append, split)
    return (*found, said)

  def key(self, faces, split='train'):
    """What the cached set is found by."""
    settings = SyntheticSettings(faces=faces)
    with mock.patch.object(crop_cache, 'open_or_build') as opened:
      synthetic_data.open_split(
        self.model, 'builtin', settings, split, 'nowhere', lambda text: None
      )
    return opened.call_args.args[1]

  def test_for_training_faces_of_the_full_renderer(self):
    hair, contents, said = self.read()
    self.assertEqual(hair.ids.shape, (1, 4, 3))
    self.assertLen(contents, 64)
    self.assertEqual(said, ['Hair: curtain.'])
    self.assertEqual(self.read('test'), (None, '', []))
    self.assertEqual(self.read(hair_meshes=None), (None, '', []))
    with self.assertRaisesRegex(
      ValueError, f'--hair_meshes={self.folder} needs --renderer=full'
    ):
      self.read(renderer='plain')

  def test_one_sentence(self):
    with self.assertRaisesRegex(
      FileNotFoundError, '--hair_meshes=nowhere: There is no'
    ):
      self.read(hair_meshes='nowhere')
    self.path.write_text(self.path.read_text().replace('hm08', 'hm07'))
    with self.assertRaisesRegex(
      ValueError, f"--hair_meshes={self.folder}: curtain.mhclo is bound .*'hm07'"
    ):
      self.read()
    path = f'{self.folder}/other.npz'
    face_models.save_npz(path, self.model, units='mm')
    self.path.write_text(self.path.read_text().replace('hm07', 'hm08'))
    with self.assertRaisesRegex(ValueError, 'hair_meshes=.*other.npz.*does not say'):
      synthetic_data.read_hair(self.faces, self.model, path, print)

  def test_other_hair_is_another_set(self):
    without = self.key(SyntheticFaces())
    self.assertNotIn('hair_meshes', without['config']['ingredients'])
    self.assertNotIn('hair_meshes', without)
    self.assertEqual(self.key(self.faces, 'test'), self.key(SyntheticFaces(), 'test'))
    before = self.key(self.faces)
    self.assertEqual(before, self.key(self.faces))
    self.path.write_text(
      self.path.read_text().replace('y_scale 791 881 2', '#\ny_scale 791 881 3')
    )
    after = self.key(self.faces)
    self.assertNotEqual(after['hair_meshes'], before['hair_meshes'])
    self.assertEqual(after['config'], before['config'])


class RenderFaceModelTest(absltest.TestCase):
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
    settings = data_loading.DataSettings(
      face_model='builtin',
      cache_dir=folder,
      synthetic=SyntheticSettings(faces=SyntheticFaces(renderer='plain'), num_test=6),
    )
    faces = SyntheticFaces(renderer='plain', render_face_model=path)
    of_others = dataclasses.replace(
      settings, synthetic=SyntheticSettings(faces=faces, num_test=6)
    )
    own, test = (
      data_loading.open_test(model, 'ibug68', which, lambda text: None)
      for which in (settings, of_others)
    )
    self.assertEqual(
      (own.name, test.name), ('synthetic_plain', 'synthetic_plain_others')
    )
    self.assertIn(path, test.title)
    # The same poses and colours of other faces ...
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
