"""Vertices and pose in ONNX are those of the library."""

import unittest

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from experiments.export import onnx_geometry
from pifa_jax.geometry import morphable_model, projection
from pifa_jax.types import unflatten_params
from tests.experiments.export import onnx_run
from tests.toy_model import make_toy_model


def _cameras(angles):
  rng = np.random.default_rng(1)
  rows = []
  for yaw, pitch, roll in np.deg2rad(angles):
    rotation = projection.rotation_from_euler(yaw, pitch, roll, xp=np)
    rows.append(np.concatenate([rotation[:2] * [[0.4], [-0.4]], [[50], [61]]], axis=1))
  # Not quite weak perspective, as a network's cameras are.
  cameras = np.array(rows) * rng.normal(1, 0.03, (len(rows), 2, 4))
  return cameras.reshape(-1, 8).astype(np.float32)


@unittest.skipUnless(onnx_run.INSTALLED, 'needs the extra onnx')
class ViewTest(absltest.TestCase):
  def test_same_vertices(self):
    model = make_toy_model()
    cameras = _cameras([(3, 2, 1), (42, -8, 5), (-77, 12, -20)])
    rng = np.random.default_rng(2)
    shape = rng.normal(size=(3, model.num_params - 8)).astype(np.float32)
    vector = np.concatenate([cameras, shape], axis=1)
    vector = np.concatenate([vector, np.zeros_like(vector[:1])])  # a degenerate camera

    def reference(row):
      face = unflatten_params(row, model.num_identity)
      vertices = morphable_model.shape(model, face)
      u, v = projection.project(face.camera, vertices).T
      depth = projection.depth(face.camera, vertices)
      sight = projection.viewing_direction(face.camera)
      towards = -(jnp.asarray(model.mean_normals) @ sight)
      return {'u': u, 'v': v, 'depth': depth, 'towards': towards}

    wanted = jax.vmap(reference)(jnp.asarray(vector))

    def build(graph, values):
      return vars(onnx_geometry.view(graph, model, values['vector']))

    found = onnx_run.run(build, wanted, vector=vector)
    for name, value in wanted.items():
      # Positions of up to 120 pixels: a few roundings of 1e-5.
      np.testing.assert_allclose(found[name], value, atol=3e-5, err_msg=name)
    self.assertGreater(np.ptp(wanted['u']), 30)

  def test_another_size_of_the_image(self):
    model = make_toy_model()
    vector = np.zeros((1, model.num_params), np.float32)
    vector[:, :8] = _cameras([(20, 0, 0)])
    whole, half = (
      lambda graph, values, factor=factor: {
        'u': onnx_geometry.view(graph, model, values['vector'], factor).u
      }
      for factor in (1.0, 0.5)
    )
    like = {'u': np.zeros((1, model.num_vertices), np.float32)}
    u, small = (
      onnx_run.run(build, like, vector=vector)['u'] for build in (whole, half)
    )
    np.testing.assert_allclose(small, (u + 0.5) / 2 - 0.5, atol=1e-5)


@unittest.skipUnless(onnx_run.INSTALLED, 'needs the extra onnx')
class PoseTest(absltest.TestCase):
  def test_same_angles(self):
    rng = np.random.default_rng(0)
    angles = np.concatenate(
      [
        rng.uniform(-180, 180, (60, 3)),  # also heads that look away
        rng.uniform(-30, 30, (20, 3)) + [[120, 0, 0]],
        [[0, 0, 0], [89.9, 3, 4], [-89.9, 3, 4]],
      ]
    )
    cameras = np.concatenate([_cameras(angles), np.zeros((1, 8), np.float32)])
    # One coefficient, which the pose does not see.
    vector = np.pad(cameras, ((0, 0), (0, 1)), constant_values=5)
    pitch, yaw, roll = projection.pose_degrees(vector).T
    wanted = {'yaw': yaw, 'pitch': pitch, 'roll': roll}

    def build(graph, values):
      pose = onnx_geometry.pose_degrees(graph, values['vector'], vector.shape[1])
      return dict(zip(wanted, pose, strict=True))

    found = onnx_run.run(build, wanted, vector=vector)
    for name, value in wanted.items():
      turn = np.abs(found[name] - value)
      # float32; near yaw = 90 the arcsine is as steep as a root.
      self.assertLess(np.minimum(turn, 360 - turn).max(), 2e-2, name)
      self.assertLess(np.median(turn), 2e-5, name)
    self.assertGreater((np.abs(yaw) > 90).sum(), 15)


if __name__ == '__main__':
  absltest.main()
