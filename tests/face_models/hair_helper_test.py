"""The vertices of MakeHuman's base mesh that a face model knows."""

import tempfile

from absl.testing import absltest
import numpy as np

from experiments import build_hair_helper
from pifa_jax import face_models
from pifa_jax.face_models import hair_helper


class HairHelperTest(absltest.TestCase):
  def test_the_built_in_model(self):
    model = face_models.load_face_model('builtin')
    base = hair_helper.load_base_vertices('builtin-1')
    self.assertLen(base.ids, model.num_vertices)
    self.assertLen(np.unique(base.ids), len(base.ids))
    self.assertEmpty(np.intersect1d(base.ids, base.helper_ids))
    self.assertEqual(base.helper.shape, (len(base.helper_ids), 3))
    # Around the head, both sides alike, and down to the waist.
    skull = model.mean_shape[model.regions['scalp']]
    self.assertGreater(base.helper[:, 1].max(), skull[:, 1].max() - 5)
    self.assertLess(base.helper[:, 1].min(), model.mean_shape[:, 1].min() - 200)
    self.assertAlmostEqual(base.helper[:, 0].max(), -base.helper[:, 0].min(), delta=2)

  def test_another_model(self):
    path = f'{tempfile.mkdtemp()}/other.npz'
    face_models.save_npz(path, face_models.load_face_model('builtin'), units='mm')
    with self.assertRaisesRegex(
      ValueError, 'other.npz.* does not say which.*builtin-1'
    ):
      hair_helper.load_base_vertices(path)

  def test_carrying_a_helper(self):
    rng = np.random.default_rng(0)
    before, points = rng.normal(0, 50, (40, 3)), rng.normal(0, 100, (5, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    after = 1.1 * before @ turn + [1, 2, 3]
    found = build_hair_helper.carry(points, before, after)
    np.testing.assert_allclose(found, 1.1 * points @ turn + [1, 2, 3], atol=1e-3)


if __name__ == '__main__':
  absltest.main()
