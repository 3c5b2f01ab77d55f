"""Steadier faces of a video: the One-Euro filter on P, and what it costs in lag.

G. Casiez, N. Roussel, D. Vogel, "1 Euro Filter: A Simple Speed-based Low-pass Filter
for Noisy Input in Interactive Systems", CHI 2012.
"""

import dataclasses

import numpy as np
import scipy.interpolate
import scipy.optimize

from pifa_jax import settings
from pifa_jax.settings import setting
from pifa_jax.types import Array, FaceParams, MorphableModel

# No lag beyond this many frames is looked for.
_LONGEST_LAG = 15.0


@dataclasses.dataclass(frozen=True)
class SmoothingSettings:
  """How strongly tracked faces are smoothed; each field has its own help."""

  min_cutoff: float = setting(
    1.5,
    'Of the One-Euro filter, Hz: the cut-off for a face at rest. Lower = steadier.',
    low=1e-3,
  )
  # A head that turns to 45 degrees and back in 3 s (experiments.measure_tracking): with
  # 3 it comes 1.7 frames of 30 Hz later, with 20 half a frame; a head at rest shakes
  # less than a third as much with either.
  beta: float = setting(
    20.0,
    'Of the One-Euro filter: how many Hz are added to the cut-off for each size of the '
    'face that it moves in a second. Higher = less lag.',
    low=0,
  )

  def __post_init__(self):
    settings.check(self)


class OneEuroFilter:
  """A low-pass filter whose cut-off grows with the speed of its input (Eqs. 5-7).

  A quantity of several numbers has one cut-off, that of its speed as a whole: numbers
  that belong together, such as those of a rotation, stay together.
  """

  def __init__(
    self, *, min_cutoff: float, beta: float = 0.0, derivative_cutoff: float = 1.0
  ):
    """An empty filter.

    Args:
      min_cutoff: Hz, of an input at rest.
      beta: Hz more for each unit of speed.
      derivative_cutoff: Hz, of the speed.

    Raises:
      ValueError: if a cut-off is not above 0, or beta is negative.
    """
    for name, value in (
      ('min_cutoff', min_cutoff),
      ('derivative_cutoff', derivative_cutoff),
    ):
      if not value > 0:
        raise ValueError(f'OneEuroFilter: {name}={value}; it must be above 0 Hz.')
    if not beta >= 0:
      raise ValueError(f'OneEuroFilter: beta={beta}; it must be 0 or more.')
    self._min_cutoff, self._beta = min_cutoff, beta
    self._derivative_cutoff = derivative_cutoff
    self._time = 0.0
    self._before: np.ndarray | None = None  # the last input
    self._value = np.zeros(0)
    self._velocity = np.zeros(0)

  def __call__(
    self, value: Array, time: float, *, unit: float | Array = 1.0
  ) -> np.ndarray:
    """The next value.

    Args:
      value: of any shape, the same at every call.
      time: seconds, later than at the call before.
      unit: what counts as one unit of speed a second; a number, or one for each number
        of the value. The speed is the root mean square over the value.

    Returns:
      The smoothed value, float64; the first one is the first input.

    Raises:
      ValueError: if the time does not grow, or the value has another shape.
    """
    value = np.asarray(value, np.float64)
    if self._before is None:
      self._time, self._before, self._value = time, value, value
      self._velocity = np.zeros_like(value)
      return value
    if value.shape != self._before.shape:
      raise ValueError(
        f'OneEuroFilter: the value has shape {value.shape}, those before '
        f'{self._before.shape}.'
      )
    step = time - self._time
    if not step > 0:
      raise ValueError(
        f'OneEuroFilter: time={time} s is not after that of the value before, '
        f'{self._time} s.'
      )
    self._velocity = _mix(
      self._velocity,
      (value - self._before) / step,
      _share(self._derivative_cutoff, step),
    )
    speed = float(np.sqrt(np.mean((self._velocity / unit) ** 2))) if value.size else 0.0
    cutoff = self._min_cutoff + self._beta * speed
    self._value = _mix(self._value, value, _share(cutoff, step))
    self._time, self._before = time, value
    return self._value


def _share(cutoff, step):
  """alpha of Eq. (3): the share of the input in the output of a low-pass filter."""
  return 1.0 / (1.0 + 1.0 / (2 * np.pi * cutoff * step))


def _mix(old, new, share):
  return old + share * (new - old)


class FaceFilter:
  """Smooths P of one face: landmarks, mesh and pose stay those of one face.

  The pose and the expression are filtered each by its own speed, so that a blink of a
  head at rest is not slowed down. The identity of a face does not change at all: its
  cut-off is `min_cutoff`, whatever its speed.
  """

  def __init__(self, model: MorphableModel, config: SmoothingSettings):
    """An empty filter.

    Args:
      model: the 3DMM of the parameters.
      config: how strongly.
    """
    ids = np.asarray(model.landmark_schemes['ibug68'])
    points = np.asarray(model.mean_shape, np.float64)[ids]
    self._centre = points.mean(axis=0)
    # Model units by which a rotation moves the landmarks, in root mean square.
    self._reach = float(np.sqrt(np.mean((points - self._centre) ** 2)))
    self._size = float(np.sqrt(np.prod(np.ptp(points[:, :2], axis=0))))
    basis = np.asarray(model.expression_basis, np.float64)[:, ids]
    # How far one unit of each coefficient moves the 68 landmarks, in sizes of the face.
    self._effect = np.sqrt(np.mean(basis**2, axis=(1, 2))) / self._size
    shared = {'min_cutoff': config.min_cutoff}
    self._camera = OneEuroFilter(**shared, beta=config.beta)
    self._expression = OneEuroFilter(**shared, beta=config.beta)
    self._identity = OneEuroFilter(**shared)

  def __call__(self, params: FaceParams, time: float) -> FaceParams:
    """The next P.

    Args:
      params: P of the face in pixels of the frame, NumPy arrays.
      time: seconds, later than at the call before.

    Returns:
      The smoothed P, float32.

    Raises:
      ValueError: if the time does not grow.
    """
    camera = np.asarray(params.camera, np.float64)
    # The place of the middle of the landmarks, not of the model's origin.
    middle = camera[:, :3] @ self._centre + camera[:, 3]
    scale = np.linalg.norm(camera[:, :3]) / np.sqrt(2.0)
    side = max(scale * self._size, 1e-6)
    # Eight numbers whose changes move the landmarks by as many pixels.
    moves = np.concatenate([camera[:, :3] * self._reach, middle[:, None]], axis=1)
    moves = self._camera(moves, time, unit=side / np.sqrt(moves.size / 2))
    linear, middle = moves[:, :3] / self._reach, moves[:, 3]
    camera = np.concatenate([linear, (middle - linear @ self._centre)[:, None]], axis=1)
    moves = np.asarray(params.expression, np.float64) * self._effect
    effect = np.where(self._effect > 0, self._effect, 1.0)
    unit = 1.0 / np.sqrt(max(moves.size, 1))
    smooth = self._expression(moves, time, unit=unit) / effect
    return FaceParams(
      camera=camera.astype(np.float32),
      identity=self._identity(params.identity, time).astype(np.float32),
      expression=smooth.astype(np.float32),
    )


def lag_in_frames(reference: np.ndarray, delayed: np.ndarray) -> float | None:
  """How much later a signal does what another one does, by least squares.

  Args:
    reference: (T, ...) at equal steps, such as true landmarks, or unsmoothed ones.
    delayed: (T, ...) the same, delayed.

  Returns:
    The shift of the reference, in steps, that comes closest to the other one; None
    with fewer than 5 steps, or if the reference does not move.

  Raises:
    ValueError: if the shapes differ.
  """
  reference, delayed = (np.asarray(x, np.float64) for x in (reference, delayed))
  if reference.shape != delayed.shape:
    raise ValueError(
      f'lag_in_frames(): the signals have shapes {reference.shape} and '
      f'{delayed.shape}; they must be the same.'
    )
  count = len(reference)
  reference, delayed = reference.reshape(count, -1), delayed.reshape(count, -1)
  if count < 5 or not np.ptp(reference, axis=0).max() > 1e-9:
    return None
  curve = scipy.interpolate.CubicSpline(np.arange(count), reference)
  longest = min(_LONGEST_LAG, count / 3)

  def cost(lag):
    # What was before the first step is not known.
    steps = np.arange(np.ceil(max(lag, 0.0)), count + np.floor(min(lag, 0.0)))
    rows = steps.astype(int)
    rows = rows[rows < count]
    return float(np.mean((curve(rows - lag) - delayed[rows]) ** 2))

  coarse = np.arange(-2.0, longest + 0.25, 0.25)
  best = coarse[np.argmin([cost(lag) for lag in coarse])]
  found = scipy.optimize.minimize_scalar(
    cost, bounds=(best - 0.25, best + 0.25), method='bounded'
  )
  return float(found.x)


def jitter(points: np.ndarray) -> float:
  """How much the landmarks of a face at rest shake.

  Args:
    points: (T, N, 2) pixels.

  Returns:
    The standard deviation over time, root mean square over landmarks and coordinates,
    pixels.
  """
  return float(np.sqrt(np.mean(np.var(np.asarray(points, np.float64), axis=0))))
