"""Evaluation protocols: which landmarks count, the normaliser of errors, the average.

A number means little without these three, so every result states them.

Errors are fractions of the normaliser, or pixels; programs print percent.
"""

import dataclasses
from typing import Any

import numpy as np

from pifa_jax.evaluation import metrics

# AFLW's 21 points and AFW's 6 from the 68, iBUG numbers from 1; several = their mean.
_AFLW21 = (
  (18,),
  (20,),
  (22,),
  (23,),
  (25,),
  (27,),
  (37,),
  range(37, 43),
  (40,),
  (43,),
  range(43, 49),
  (46,),
  (3,),
  (32,),
  (31,),
  (36,),
  (15,),
  (49,),
  range(61, 69),
  (55,),
  (9,),
)
_AFW6 = (range(37, 43), range(43, 49), (31,), (49,), (63, 67), (55,))
_FROM_68 = {'aflw21': _AFLW21, 'afw6': _AFW6}

NORMALIZERS = {
  'provided_box': 'sqrt(w h) of the provided box',
  'landmark_box': 'sqrt(w h) of the box of the true landmarks',
  'inter_pupil': 'the distance of the means of the six points of each eye',
  'inter_ocular': 'the distance of the outer eye corners',
  'pixels': 'none: pixels of the original photo',
}


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How predictions become numbers.

  Attributes:
    title: a name to print.
    points: 'scheme' = the data set's own landmarks; 'ibug68', 'aflw21', 'afw6' =
      these, the last two taken from the predicted 68.
    counted: 'visible' = landmarks that are labelled as visible; 'all' = every one.
    normalizer: a key of `NORMALIZERS`.
    mean_of_bins: whether the headline is the mean of the yaw bins' means, not that of
      the images.
    auc_limit: of the cumulative error distribution; a fraction, or pixels.
    paper: what the paper reports for this protocol, percent or pixels.
  """

  title: str
  points: str
  counted: str
  normalizer: str
  mean_of_bins: bool = False
  auc_limit: float = 0.07
  paper: str = ''

  @property
  def in_pixels(self) -> bool:
    """Whether errors are pixels (MAPE) and not fractions (NME)."""
    return self.normalizer == 'pixels'

  def statement(self) -> str:
    """What the protocol counts, as a result line states it.

    Returns:
      The counted landmarks, the normaliser and the averages, in one line.
    """
    number = {'scheme': '', 'ibug68': '68 ', 'aflw21': '21 ', 'afw6': 'up to 6 '}
    return (
      f'{number[self.points]}landmarks, '
      f'{"all" if self.counted == "all" else "the visible ones"} count; d = '
      f'{NORMALIZERS[self.normalizer]}; mean over '
      + (
        'yaw bins |yaw| <= 30, (30, 60], > 60 and over images'
        if self.mean_of_bins
        else 'images'
      )
    )


_TABLE_3 = (
  "The paper, Table 3, on AFLW's 1,299 test images: start 25.8; blocks "
  '9.26, 6.77, 5.51, 4.98, 4.60, 4.45.'
)
PROTOCOLS = {
  'box': Protocol(
    'visible landmarks over the provided box',
    'scheme',
    'visible',
    'provided_box',
    paper=_TABLE_3,
  ),
  'aflw': Protocol(
    'AFLW as in the paper (Tables 2, 3)',
    'scheme',
    'visible',
    'provided_box',
    paper=_TABLE_3,
  ),
  'afw': Protocol(
    'AFW as in the paper (Table 4)',
    'afw6',
    'visible',
    'pixels',
    auc_limit=15.0,
    paper='The paper, Table 4, on 468 faces: MAPE 6.27 pixels.',
  ),
  'w300_paper': Protocol(
    '300W as in the paper (Table 5)',
    'ibug68',
    'all',
    'inter_pupil',
    auc_limit=0.08,
    paper='The paper, Table 5: common 5.43, challenging 9.88, full 6.30; '
    'failures above 8 % on the full set 16.83 % with 68, 8.99 % with 51 points.',
  ),
  'w300': Protocol('300W as today', 'ibug68', 'all', 'inter_ocular', auc_limit=0.08),
  'aflw2000': Protocol(
    'AFLW2000-3D', 'ibug68', 'all', 'landmark_box', mean_of_bins=True
  ),
  'aflw21': Protocol(
    'AFLW with 21 points', 'aflw21', 'visible', 'landmark_box', mean_of_bins=True
  ),
  'nme_box': Protocol('NME_box, as for MERL-RAV', 'ibug68', 'visible', 'landmark_box'),
}


def from_68(points: np.ndarray, kind: str) -> np.ndarray:
  """AFLW's 21 or AFW's 6 landmarks from the 68.

  Args:
    points: (..., 68, 2).
    kind: 'aflw21' or 'afw6'. Ear lobes (13 and 17 of AFLW) have no counterpart:
      jaw points stand in for them.

  Returns:
    (..., 21 or 6, 2).

  Raises:
    ValueError: if there are not 68 points.
  """
  if points.shape[-2] != 68:
    raise ValueError(
      f'{kind} points are taken from 68 landmarks, not {points.shape[-2]}.'
    )
  return np.stack(
    [points[..., np.asarray(ids) - 1, :].mean(axis=-2) for ids in _FROM_68[kind]],
    axis=-2,
  )


def normalizer(
  protocol: Protocol,
  target: np.ndarray,
  visible: np.ndarray,
  box_size: np.ndarray,
  pixel_size: np.ndarray,
) -> np.ndarray:
  """d_i of every image: what its errors are divided by.

  Args:
    protocol: says which.
    target: (n, N, 2) true landmarks, crop pixels.
    visible: (n, N) bool, those that are labelled.
    box_size: (n,) sqrt(w h) of the provided boxes, crop pixels.
    pixel_size: (n,) size of a pixel of the photo, crop pixels.

  Returns:
    (n,) crop pixels.

  Raises:
    ValueError: if the eyes are asked for but there are not 68 landmarks.
  """
  if protocol.normalizer == 'provided_box':
    return np.asarray(box_size, np.float64)
  if protocol.normalizer == 'pixels':
    return np.asarray(pixel_size, np.float64)
  target = np.asarray(target, np.float64)
  if protocol.normalizer == 'landmark_box':
    hidden = ~np.asarray(visible, bool)[..., None]
    low = np.where(hidden, np.inf, target).min(axis=1)
    high = np.where(hidden, -np.inf, target).max(axis=1)
    return np.sqrt(np.prod(np.maximum(high - low, 0.0), axis=1))
  if target.shape[1] != 68:
    raise ValueError(
      f'The distance of the eyes needs 68 landmarks, not '
      f'{target.shape[1]}; choose another --protocol.'
    )
  if protocol.normalizer == 'inter_pupil':
    left, right = target[:, 36:42].mean(axis=1), target[:, 42:48].mean(axis=1)
  else:
    left, right = target[:, 36], target[:, 45]
  return np.linalg.norm(left - right, axis=1)


def image_errors(
  protocol: Protocol,
  predicted: np.ndarray,
  target: np.ndarray,
  visible: np.ndarray,
  box_size: np.ndarray,
  pixel_size: np.ndarray,
  *,
  first: int = 0,
) -> np.ndarray:
  """The error of every image: mean over the landmarks that count, over d_i.

  Args:
    protocol: the definitions.
    predicted: (..., n, M, 2) crop pixels: the 68 landmarks, or the data set's
      own where the protocol asks for 'scheme'.
    target: (n, N, 2) labels.
    visible: (n, N) bool.
    box_size: (n,) see `normalizer`.
    pixel_size: (n,) see `normalizer`.
    first: leave out the landmarks before this one; 17 = without the jaw of the
      68. The normaliser stays that of all.

  Returns:
    (..., n) fractions, or pixels; infinite where the normaliser is 0 or a
    prediction is not finite, NaN where no landmark counts.

  Raises:
    ValueError: if predictions and labels do not go together.
  """
  predicted = np.asarray(predicted, np.float64)
  if protocol.points in _FROM_68:
    predicted = from_68(predicted, protocol.points)
  wanted = {'ibug68': 68, 'aflw21': 21, 'afw6': 6}.get(
    protocol.points, predicted.shape[-2]
  )
  if target.shape[1] != wanted or predicted.shape[-2] != wanted:
    raise ValueError(
      f'Protocol "{protocol.title}" needs {wanted} landmarks; the labels have '
      f'{target.shape[1]}, the prediction {predicted.shape[-2]}. Choose another '
      '--protocol.'
    )
  counted = np.asarray(visible, bool)
  if protocol.counted == 'all' and not counted.all():
    raise ValueError(
      f'Protocol "{protocol.title}" counts all landmarks but '
      f'{int((~counted).any(axis=1).sum())} of {len(counted)} faces lack some; '
      'choose another --protocol.'
    )
  size = normalizer(protocol, target, visible, box_size, pixel_size)
  counted = counted[:, first:]
  distance = np.linalg.norm(
    predicted - np.where(visible[..., None], target, 0.0), axis=-1
  )[..., first:]
  total = np.sum(np.where(counted, distance, 0.0), axis=-1)
  with np.errstate(divide='ignore', invalid='ignore'):
    errors = total / counted.sum(axis=1) / size
  errors = np.where(np.isfinite(errors), errors, np.inf)
  return np.where(counted.any(axis=1), errors, np.nan)


def summarize(
  protocol: Protocol, errors: np.ndarray, yaw: np.ndarray
) -> dict[str, Any]:
  """What is reported of a set of images.

  Args:
    protocol: the definitions.
    errors: (n,) of the last block, of `image_errors`; NaN leaves an image out.
    yaw: (n,) degrees, as of `metrics.yaw_bin_means`; NaN where it is not known.

  Returns:
    'headline', 'mean', 'yaw_bins' (None if no yaw is known), 'num_images',
    'num_without_labels', 'failure_rate' (a table threshold -> share; a fraction
    threshold of 0.08, or pixels), 'auc'; errors as fractions or pixels.

  Raises:
    ValueError: if no image counts.
  """
  valid = ~np.isnan(errors)
  used = np.asarray(errors)[valid]
  if not len(used):
    raise ValueError('No image has a landmark that counts; nothing to average.')
  yaw = np.asarray(yaw, np.float64)[valid]
  known = np.isfinite(yaw)
  bins = metrics.yaw_bin_means(used[known], yaw[known]) if known.any() else None
  mean = float(np.mean(used))
  return {
    'headline': (bins['mean of bins'] if protocol.mean_of_bins and bins else mean),
    'mean': mean,
    'yaw_bins': bins,
    'num_images': len(used),
    'num_without_labels': int((~valid).sum()),
    'failure_rate': None if protocol.in_pixels else metrics.failure_rate(used),
    'auc': metrics.ced_auc(used, protocol.auc_limit),
  }


def pose_errors(predicted: np.ndarray, target: np.ndarray) -> dict[str, float | int]:
  """Mean absolute errors of pitch, yaw and roll.

  Images with an angle beyond 99 degrees are left out, as the field does.

  Args:
    predicted: (n, 3) pitch, yaw, roll, degrees.
    target: (n, 3), NaN where they are not known.

  Returns:
    'pitch', 'yaw', 'roll', 'mean' in degrees, 'num_images' and 'num_dropped'
    (beyond 99 degrees); NaN if there is no image.
  """
  known = np.isfinite(target).all(axis=1)
  # Not finite compares as False: such images are not known, not dropped.
  with np.errstate(invalid='ignore'):
    inside = known & (np.abs(target) <= 99).all(axis=1)
  gap = np.abs(np.asarray(predicted, np.float64)[inside] - target[inside])
  gap = np.minimum(gap % 360, 360 - gap % 360)
  means = gap.mean(axis=0) if inside.any() else np.full(3, np.nan)
  return {
    'pitch': float(means[0]),
    'yaw': float(means[1]),
    'roll': float(means[2]),
    'mean': float(means.mean()),
    'num_images': int(inside.sum()),
    'num_dropped': int(known.sum() - inside.sum()),
  }
