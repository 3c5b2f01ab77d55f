"""The One-Euro filter against its formulas, and how lag and jitter are measured."""

import math

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.face_models import load_face_model
from pifa_jax.inference import smoothing
from pifa_jax.inference.smoothing import FaceFilter, OneEuroFilter, SmoothingSettings
from pifa_jax.types import FaceParams

_RATE = 30.0


def _paper(values, times, min_cutoff, beta, derivative_cutoff):
  """The algorithm as the paper writes it, for a list of numbers."""
  alpha = lambda cutoff, step: 1 / (1 + (1 / (2 * math.pi * cutoff)) / step)
  before, smooth, slope = values[0], values[0], 0.0
  found = [smooth]
  for i in range(1, len(values)):
    step = times[i] - times[i - 1]
    a = alpha(derivative_cutoff, step)
    slope = a * (values[i] - before) / step + (1 - a) * slope
    a = alpha(min_cutoff + beta * abs(slope), step)
    smooth = a * values[i] + (1 - a) * smooth
    before = values[i]
    found.append(smooth)
  return np.array(found)


class OneEuroFilterTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.7)
  def test_is_the_algorithm_of_the_paper(self, beta):
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.1, 50))
    values = np.cumsum(rng.normal(size=50))
    one = OneEuroFilter(min_cutoff=1.3, beta=beta, derivative_cutoff=0.8)
    got = [float(one(v, t)) for v, t in zip(values, times, strict=True)]
    # The same operations in float64, in another order.
    np.testing.assert_allclose(got, _paper(values, times, 1.3, beta, 0.8), rtol=1e-12)

  def test_a_unit_scales_the_speed_and_several_numbers_have_one(self):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(30, 4))
    one = OneEuroFilter(min_cutoff=1.0, beta=0.5)
    ten = OneEuroFilter(min_cutoff=1.0, beta=0.5)
    for i, value in enumerate(values):
      a = one(value, i / _RATE)
      b = ten(10 * value, i / _RATE, unit=10.0)
    np.testing.assert_allclose(b, 10 * a, rtol=1e-12)
    # All numbers keep their proportions when they move together.
    same = OneEuroFilter(min_cutoff=1.0, beta=0.5)
    for i, value in enumerate(values[:, :1] * [1.0, -2.0, 3.0]):
      out = same(value, i / _RATE)
    np.testing.assert_allclose(out / out[0], [1, -2, 3], rtol=1e-12)

  def test_noise_and_lag_at_rest_are_those_of_a_low_pass(self):
    cutoff = 1.5
    share = 1 / (1 + _RATE / (2 * np.pi * cutoff))
    one = OneEuroFilter(min_cutoff=cutoff)
    noise = np.random.default_rng(2).normal(size=(2000, 20))
    smooth = np.stack([one(x, i / _RATE) for i, x in enumerate(noise)])[50:]
    # The variance of an exponential mean; 39,000 numbers give it within some percent.
    self.assertAlmostEqual(
      smooth.std(), np.sqrt(share / (2 - share)), delta=0.04 * smooth.std()
    )
    ramp = OneEuroFilter(min_cutoff=cutoff)
    for i in range(200):
      last = float(ramp(i, i / _RATE))
    self.assertAlmostEqual(199 - last, (1 - share) / share, places=6)
    quick = OneEuroFilter(min_cutoff=cutoff, beta=0.3)
    for i in range(200):
      quicker = float(quick(i, i / _RATE))
    self.assertLess(199 - quicker, (199 - last) / 3)

  def test_refuses_times_that_do_not_grow_and_bad_settings(self):
    one = OneEuroFilter(min_cutoff=1.0)
    one([1.0], 0.5)
    with self.assertRaisesRegex(ValueError, r'time=0\.5 s is not after'):
      one([2.0], 0.5)
    with self.assertRaisesRegex(ValueError, 'shape'):
      one([2.0, 3.0], 0.6)
    for kind in ({'min_cutoff': 0.0}, {'min_cutoff': 1.0, 'beta': -1.0}):
      with self.assertRaisesRegex(ValueError, list(kind)[-1]):
        OneEuroFilter(**kind)
    with self.assertRaisesRegex(ValueError, 'beta'):
      SmoothingSettings(beta=-1.0)


class FaceFilterTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = load_face_model('builtin')
    cls.ids = np.asarray(cls.model.landmark_schemes['ibug68'])

  def face(self, rng=None, size=1.0, move=(0.0, 0.0)):
    """P of the mean face of about 100 pixels, with noise."""
    noise = lambda *shape: (
      rng.normal(size=shape) if rng is not None else np.zeros(shape)
    )
    extent = np.ptp(np.asarray(self.model.mean_shape)[self.ids], axis=0)[0]
    camera = np.zeros((2, 4))
    camera[0, 0] = camera[1, 1] = 100 / extent
    camera[1, 1] *= -1
    camera[:, :3] *= 1 + 0.01 * noise(2, 3)
    camera[:, 3] = 120 + noise(2) + move
    return FaceParams(
      camera=size * camera,
      identity=0.1 * noise(self.model.num_identity),
      expression=0.1 * noise(self.model.num_expression),
    )

  def points(self, face):
    model, ids = self.model, self.ids
    shape = (
      np.asarray(model.mean_shape)[ids]
      + np.tensordot(face.identity, np.asarray(model.identity_basis)[:, ids], 1)
      + np.tensordot(face.expression, np.asarray(model.expression_basis)[:, ids], 1)
    )
    return shape @ face.camera[:, :3].T + face.camera[:, 3]

  def test_a_face_at_rest_stays_and_shakes_less(self):
    one = FaceFilter(self.model, SmoothingSettings())
    still = self.face()
    for i in range(5):
      out = one(still, i / _RATE)
    # float32 of about 100 pixels.
    np.testing.assert_allclose(self.points(out), self.points(still), atol=1e-3)

    # With the noise of a poor network, the cut-off must not follow the noise.
    config = SmoothingSettings(min_cutoff=1.5, beta=3.0)
    one, rng = FaceFilter(self.model, config), np.random.default_rng(0)
    raw = [self.face(rng) for _ in range(120)]
    smooth = [one(face, i / _RATE) for i, face in enumerate(raw)]
    before = smoothing.jitter(np.stack([self.points(x) for x in raw[30:]]))
    after = smoothing.jitter(np.stack([self.points(x) for x in smooth[30:]]))
    self.assertGreater(before, 0.5)
    self.assertLess(after, before / 2)

  def test_the_size_of_the_photo_does_not_matter(self):
    one, two = (FaceFilter(self.model, SmoothingSettings()) for _ in range(2))
    for i in range(20):
      a = one(self.face(np.random.default_rng(i)), i / _RATE)
      b = two(self.face(np.random.default_rng(i), size=3.0), i / _RATE)
    np.testing.assert_allclose(b.camera, 3 * np.asarray(a.camera), rtol=1e-5)

  def test_beta_takes_the_lag_from_a_moving_face(self):
    lags = []
    for beta in (0.0, 3.0):
      one = FaceFilter(self.model, SmoothingSettings(min_cutoff=1.5, beta=beta))
      moves = 60 * np.sin(2 * np.pi * np.arange(90) / 45)
      raw = [self.face(move=(m, 0.0)) for m in moves]
      smooth = [one(face, i / _RATE) for i, face in enumerate(raw)]
      pair = [np.stack([self.points(x) for x in part]) for part in (raw, smooth)]
      lags.append(smoothing.lag_in_frames(*pair))
    self.assertBetween(lags[0], 2.0, 4.0)
    self.assertBetween(lags[1], 0.1, lags[0] / 2)


class MeasuresTest(parameterized.TestCase):
  @parameterized.parameters(-1.0, 0.0, 0.4, 2.3)
  def test_lag_of_a_shifted_signal(self, lag):
    signal = lambda t: np.stack([np.sin(t / 7), np.cos(t / 11)], axis=-1)
    times = np.arange(60.0)
    found = smoothing.lag_in_frames(signal(times), signal(times - lag))
    # The cubic spline of slow waves is exact to about 1e-4 of a frame.
    self.assertAlmostEqual(found, lag, places=2)

  def test_lag_needs_a_motion_and_equal_shapes(self):
    self.assertIsNone(smoothing.lag_in_frames(np.ones((50, 2)), np.ones((50, 2))))
    self.assertIsNone(smoothing.lag_in_frames(np.arange(4.0), np.arange(4.0)))
    with self.assertRaisesRegex(ValueError, 'the same'):
      smoothing.lag_in_frames(np.ones((50, 2)), np.ones((50, 3)))

  def test_jitter_is_the_standard_deviation(self):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 99, (68, 2)) + 0.5 * rng.normal(size=(400, 68, 2))
    self.assertAlmostEqual(smoothing.jitter(points), 0.5, places=2)


if __name__ == '__main__':
  absltest.main()
