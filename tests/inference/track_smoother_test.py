"""Smoothed faces: each its own filter, and every array that of the smoothed P."""

from absl.testing import absltest
import jax
import numpy as np

from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import projection
from pifa_jax.inference.aligner import AlignedFaces
from pifa_jax.inference.track_smoother import LagMeter, TrackSmoother
from pifa_jax.inference.tracking import TrackedFrame
from pifa_jax.types import FaceParams


def _frame(model, shifts, ids, **more):
  """Mean faces, moved to the right."""
  rotation = np.asarray(projection.rotation_from_euler(0.3, 0.0, 0.0))
  count = len(shifts)
  cameras = np.zeros((count, 2, 4))
  cameras[:, :, :3] = 0.6 * rotation[:2] * [[1], [-1]]
  cameras[:, 0, 3], cameras[:, 1, 3] = shifts, 90.0
  params = FaceParams(
    cameras.astype(np.float32),
    np.zeros((count, model.num_identity), np.float32),
    np.zeros((count, model.num_expression), np.float32),
  )
  points = np.zeros((0, 68, 2))
  if count:
    points = jax.vmap(lambda p: projection.landmarks(model, p, 'ibug68'))(params)
  faces = AlignedFaces(
    boxes=np.zeros((count, 4)),
    angles=np.zeros(count),
    landmarks={'ibug68': np.asarray(points)},
    frontability={'ibug68': np.zeros((count, 68))},
    visible={'ibug68': np.zeros((count, 68), bool)},
    params=params,
    pose={},
    confidence=np.full(count, 0.7),
    signs={},
  )
  return TrackedFrame(np.array(ids), faces, **more)


class TrackSmootherTest(absltest.TestCase):
  def test_faces_have_their_own_filters_and_consistent_arrays(self):
    model = load_face_model('builtin')
    smoother, meter = TrackSmoother(model), LagMeter()
    for k in range(40):
      shifts = [100 + 40 * np.sin(k / 5), 300.0]
      frame = _frame(model, shifts, [3, 8])
      # The order of the faces may change.
      if k % 2:
        frame = _frame(model, shifts[::-1], [8, 3])
      smooth = smoother(frame, k / 25)
      meter.add(frame, smooth)
    moving, still = (list(frame.ids).index(number) for number in (3, 8))
    raw = frame.faces.landmarks['ibug68']
    # The moving one lags, the other one is where it was.
    behind = np.abs(smooth.landmarks['ibug68'] - raw).mean(axis=(1, 2))
    self.assertGreater(behind[moving], 0.1)
    self.assertLess(behind[still], 0.01)
    lag = meter.frames()
    self.assertBetween(lag, 0.2, 4.0)
    for row in range(2):
      params = jax.tree.map(lambda x, row=row: x[row], smooth.params)
      np.testing.assert_allclose(
        smooth.landmarks['ibug68'][row],
        projection.landmarks(model, params, 'ibug68'),
        atol=1e-3,  # float32 of some hundred pixels
      )
      self.assertAlmostEqual(float(smooth.pose['yaw'][row]), 0.3, places=3)
      np.testing.assert_array_equal(
        smooth.visible['ibug68'][row],
        projection.landmark_visibility(model, params, 'ibug68'),
      )
    np.testing.assert_array_equal(smooth.confidence, frame.faces.confidence)
    # A number that has ended may not come back; if it does, it starts anew.
    smoother(_frame(model, [], [], ended=(3, 8)), 2.0)
    again = smoother(_frame(model, [700.0], [3]), 2.1)
    want = _frame(model, [700.0], [3]).faces.landmarks['ibug68']
    np.testing.assert_allclose(again.landmarks['ibug68'], want, atol=1e-2)

  def test_no_face_and_no_motion(self):
    model = load_face_model('builtin')
    smoother, meter = TrackSmoother(model), LagMeter()
    empty = _frame(model, [], [])
    self.assertLen(smoother(empty, 0.0), 0)
    for k in range(10):
      frame = _frame(model, [50.0], [0])
      meter.add(frame, smoother(frame, 1 + k / 25))
    self.assertIsNone(meter.frames())


if __name__ == '__main__':
  absltest.main()
