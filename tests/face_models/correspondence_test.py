"""Parts of another face: found where they are, under any map that keeps them apart."""

from absl.testing import absltest
import numpy as np

from pifa_jax import face_models
from pifa_jax.face_models import correspondence


class CarryRegionsTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.source = face_models.load_face_model('builtin')
    cls.parts = set(cls.source.regions) - {'rendered', 'mask_five'}

  def moved(self, shape):
    return self.source.replace(mean_shape=shape.astype(np.float32))

  def test_the_same_face_in_another_unit_and_sheared(self):
    # The map reproduces affine maps exactly.
    shear = np.array([[1.1, 0.1, 0.0], [0.0, 0.9, 0.1], [0.05, 0.0, 1.0]])
    model = self.moved(1000 * self.source.mean_shape @ shear + [5e3, -2e3, 1e3])
    found = correspondence.carry_regions(model, self.source, {})
    self.assertEqual(set(found), self.parts)
    for name in self.parts:
      np.testing.assert_array_equal(found[name], self.source.regions[name], name)

  def test_another_person(self):
    # Vertices keep their meaning, so the truth is known.
    coefficients = np.random.default_rng(0).normal(size=self.source.num_identity)
    model = self.moved(
      self.source.mean_shape
      + np.tensordot(
        coefficients * self.source.identity_stddev, self.source.identity_basis, 1
      )
    )
    found = correspondence.carry_regions(model, self.source, {})
    for name in ('lips', 'ears', 'brows', 'nostrils', 'skin'):
      want = self.source.regions[name]
      both = np.intersect1d(found[name], want)
      self.assertGreater(len(both) / len(np.union1d(found[name], want)), 0.85, name)

  def test_what_is_known_is_kept_and_given_nothing_else(self):
    known = {'iris': np.array([7, 3])}
    found = correspondence.carry_regions(self.source, self.source, known)
    np.testing.assert_array_equal(found['iris'], [7, 3])
    for name in self.parts - {'iris'}:
      self.assertEmpty(np.intersect1d(found[name], [7, 3]), name)

  def test_what_is_far_away_has_no_part(self):
    shape = np.array(self.source.mean_shape)
    lips = self.source.regions['lips']
    marks = set(self.source.landmark_schemes['ibug68'].tolist())
    gone = np.array([i for i in lips if i not in marks])
    shape[gone] += [0, 0, 400]
    found = correspondence.carry_regions(self.moved(shape), self.source, {})
    for name, ids in found.items():
      self.assertEmpty(np.intersect1d(ids, gone), name)


if __name__ == '__main__':
  absltest.main()
