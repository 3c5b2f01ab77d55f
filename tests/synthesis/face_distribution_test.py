"""Tests of face_distribution.py: poses, chosen actions, changed fields."""

import dataclasses

from absl.testing import absltest
import jax
import numpy as np

from pifa_jax.face_models import load_expression_units, load_face_model
from pifa_jax.synthesis import face_distribution


class FaceDistributionTest(absltest.TestCase):
  def test_pose_distribution(self):
    keys = jax.random.split(jax.random.key(1), 4096)
    config = face_distribution.FaceDistribution(yaw_max=80)
    angles = np.asarray(
      jax.jit(jax.vmap(lambda k: face_distribution.pose(k, config)))(keys)
    )
    self.assertLessEqual(np.abs(angles[:, 0]).max(), 80)
    self.assertGreater((np.abs(angles[:, 0]) > 60).mean(), 0.2)
    np.testing.assert_array_less(np.abs(angles[:, 1:]).max(axis=0), [40.1, 60.1])
    self.assertGreater((np.abs(angles[:, 1]) > 25).mean(), 0.08)
    np.testing.assert_allclose(angles[:, 1:].mean(axis=0), [4, 2], atol=1.2)
    np.testing.assert_allclose(angles[:, 1:].std(axis=0), [15.6, 19.8], atol=1.2)

  def test_eyes_close_as_often_as_wanted(self):
    names = tuple(load_expression_units())
    groups = face_distribution.unit_groups(names)
    config = face_distribution.FaceDistribution(closed_eyes=0.3, num_units=1)
    keys = jax.random.split(jax.random.key(2), 512)
    found = jax.jit(
      jax.vmap(
        lambda k: face_distribution.expression(
          k, None, config, np.eye(len(names)), groups
        )
      )
    )(keys)
    share = np.mean(np.asarray(found)[:, names.index('eyeBlinkLeft')] > 0.42)
    np.testing.assert_allclose(share, 0.3, atol=0.1)

  def test_some_identities_deviate_by_more(self):
    model = load_face_model()
    keys = jax.random.split(jax.random.key(4), 256)

    def spread(share):
      config = face_distribution.FaceDistribution(wide_identity=share)
      draw = jax.jit(
        jax.vmap(lambda key: face_distribution.identity(key, model, config))
      )
      return np.std(draw(keys) / np.asarray(model.identity_stddev), axis=1)

    usual, some, every = spread(0.0), spread(0.4), spread(1.0)
    self.assertLess(usual.max(), 1.2)
    np.testing.assert_allclose(np.mean(some > usual * 1.001), 0.4, atol=0.1)
    self.assertTrue((every >= usual).all())
    np.testing.assert_allclose((every / usual).max(), 1.8, atol=0.05)

  def test_changed_fields(self):
    usual = face_distribution.FaceDistribution()
    # Every field has a range, which holds its usual value.
    self.assertEqual(usual.changed(dataclasses.asdict(usual)), usual)
    still = usual.changed(
      {
        'num_units': 0.0,
        'closed_eyes': 0,
        'open_mouth': 0,
        'pursed_mouth': 0,
        'smile': 0,
        'squint': 0,
      }
    )
    names = tuple(load_expression_units())
    found = face_distribution.expression(
      jax.random.key(3),
      None,
      still,
      np.eye(len(names)),
      face_distribution.unit_groups(names),
    )
    self.assertEqual(np.abs(found).max(), 0)
    self.assertEqual(usual.changed({}), usual)
    with self.assertRaisesRegex(
      ValueError, "'yaw' is not a field .*yaw_max, pitch_mean"
    ):
      usual.changed({'yaw': 45})


if __name__ == '__main__':
  absltest.main()
