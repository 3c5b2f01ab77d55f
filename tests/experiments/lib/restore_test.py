"""Which face models pass for the one that a run was trained with."""

import pathlib
import tempfile
import types

from absl import flags
from absl.testing import absltest, flagsaver
import numpy as np

from experiments.lib import cli, restore
from pifa_jax import face_models


class FaceModelTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = face_models.load_face_model('builtin')

  def opened(self, scheme, digest, *, file='auto'):
    run = types.SimpleNamespace(
      config=types.SimpleNamespace(
        face_model='builtin', face_model_hash=digest, landmark_scheme=scheme
      )
    )
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(landmark_scheme=file):
      return restore.face_model(run, flags.FLAGS, print)

  def test_schemes_of_the_model_and_of_the_package(self):
    # Of before the package had schemes: the model's own alone were in the hash.
    before = face_models.face_model_hash(self.model)
    for scheme in ('ibug68', 'aflw34'):
      self.assertIn(scheme, self.opened(scheme, before).landmark_schemes)
    now = face_models.face_model_hash(self.model, 'wflw98')
    self.assertIn('wflw98', self.opened('wflw98', now).landmark_schemes)
    # Of a run whose 98 points were other vertices.
    other = self.model.replace(
      landmark_schemes={**self.model.landmark_schemes, 'wflw98': np.arange(98)}
    )
    with self.assertRaisesRegex(cli.UserError, 'is not the face model'):
      self.opened('wflw98', face_models.face_model_hash(other, 'wflw98'))

  def test_a_landmark_file_is_noticed(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'mine.txt'
      path.write_text('5\n7\n9\n')
      with_file = self.model.replace(
        landmark_schemes={**self.model.landmark_schemes, 'mine': np.array([5, 7, 9])}
      )
      digest = face_models.face_model_hash(with_file, 'mine')
      with self.assertRaisesRegex(cli.UserError, 'the file of --landmark_scheme'):
        self.opened('mine', digest)
      found = self.opened('mine', digest, file=str(path))
      np.testing.assert_array_equal(found.landmark_schemes['mine'], [5, 7, 9])
      path.write_text('5\n7\n8\n')
      with self.assertRaisesRegex(cli.UserError, 'the file of --landmark_scheme'):
        self.opened('mine', digest, file=str(path))

  def test_trained_weights_may_start_a_run_on_another_scheme(self):
    hashes = restore.hashes_of(self.model)
    for scheme in (None, 'ibug68', 'wflw98', 'mtcnn5'):
      self.assertIn(face_models.face_model_hash(self.model, scheme), hashes)
    changed = self.model.replace(nose_tip=np.int32(3))
    self.assertEmpty(hashes & restore.hashes_of(changed))


if __name__ == '__main__':
  absltest.main()
