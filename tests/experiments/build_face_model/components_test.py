"""The linear algebra of the face-model builder, on small made-up families."""

from absl.testing import absltest
import numpy as np

from experiments.build_face_model import components

FLIP = np.array([-1, 1, 1])


class ComponentsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    half = rng.normal(size=(6, 3)) + [3, 0, 0]
    self.mean = np.concatenate([half, half * FLIP])
    self.mirror = np.r_[6:12, 0:6]
    self.everything = np.arange(12)
    self.rng = rng

  def test_components_reproduce_the_symmetrised_covariance(self):
    factor = self.rng.normal(size=(9, 12, 3))
    modes, explained = components.principal_components(
      factor, self.mirror, self.everything, 18
    )
    flat = factor.reshape(9, -1)
    reflected = (factor[:, self.mirror] * FLIP).reshape(9, -1)
    wanted = (flat.T @ flat + reflected.T @ reflected) / 2
    got = modes.reshape(len(modes), -1)
    # float64, sums of 18 terms of size one.
    np.testing.assert_allclose(got.T @ got, wanted, atol=1e-12)
    power = (got**2).sum(axis=1)
    self.assertTrue((np.diff(power) <= 1e-12).all())
    np.testing.assert_allclose(got @ got.T, np.diag(power), atol=1e-11)
    np.testing.assert_allclose(explained[-1], 1)
    mirrored = modes[:, self.mirror] * FLIP
    symmetric = (mirrored == modes).all(axis=(1, 2))
    np.testing.assert_array_equal(mirrored[~symmetric], -modes[~symmetric])

  def test_components_do_not_depend_on_the_factor(self):
    factor = self.rng.normal(size=(5, 12, 3))
    turn, _ = np.linalg.qr(self.rng.normal(size=(5, 5)))
    first, _ = components.principal_components(factor, self.mirror, self.everything, 6)
    second, _ = components.principal_components(
      np.tensordot(turn, factor, axes=1), self.mirror, self.everything, 6
    )
    np.testing.assert_allclose(
      components.fix_signs(first), components.fix_signs(second), atol=1e-9
    )

  def test_metric_counts_only_its_vertices(self):
    factor = np.zeros((2, 12, 3))
    factor[0, [0, 6], 1] = 1  # Counts.
    factor[1, [5, 11], 1] = 100  # Large, but outside of the metric.
    metric = np.setdiff1d(self.everything, [5, 11])
    modes, _ = components.principal_components(factor, self.mirror, metric, 1)
    np.testing.assert_allclose(np.abs(modes[0, 0]), [0, 1, 0], atol=1e-12)

  def test_square_root(self):
    samples = self.rng.normal(size=(50, 4)) @ self.rng.normal(size=(4, 7))
    moment = samples.T @ samples  # Singular: rank 4 of 7.
    root = components.square_root(moment)
    np.testing.assert_allclose(root.T @ root, moment, rtol=1e-9, atol=1e-9)

  def test_rigid_motion_and_scale_vanish_and_shape_stays(self):
    angle = 1e-5
    rotation = np.array([[1, -angle, 0], [angle, 1, 0], [0, 0, 1]])
    moved = (1.00002 * self.mean @ rotation.T + [0.3, -0.2, 0.1]) - self.mean
    face = np.arange(8)
    left = components.remove_rigid(moved[None], self.mean, face)
    # What is left is second order: angle * scale * size = 1e-9.
    self.assertLess(np.abs(left).max(), 2e-9)
    shape = self.rng.normal(size=(1, 12, 3))
    clean = components.remove_rigid(shape, self.mean, face)
    np.testing.assert_allclose(
      components.remove_rigid(clean + moved, self.mean, face), clean, atol=2e-9
    )
    self.assertGreater(np.abs(clean).max(), 0.5)


if __name__ == '__main__':
  absltest.main()
