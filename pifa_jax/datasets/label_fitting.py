"""P from the labels of a data set, their landmark scheme, and checks (Sec. 3.1)."""

import jax
import numpy as np

from pifa_jax.geometry import boxes as box_lib
from pifa_jax.geometry import fitting, projection
from pifa_jax.types import MorphableModel, flatten_params, unflatten_params

# So few points are met by some face in whatever order they come.
FEW_POINTS = 10
# Largest median residual of labels that follow a scheme, of a fit of pose and shape,
# and of the mean face alone.
_LARGEST = 0.08
_LARGEST_OF_MEAN_FACE = 0.2


def choose_scheme(
  model: MorphableModel, landmarks: np.ndarray, visible: np.ndarray
) -> tuple[str, dict[str, float]]:
  """The landmark scheme that the labels follow: the one that fits best.

  Releases with the same number of points differ in what the points are. Fewer than
  `FEW_POINTS` are compared with the mean face in its best pose, because some shape
  or other meets them in any order.

  Args:
    model: the 3DMM.
    landmarks: (n, N, 2) pixels.
    visible: (n, N).

  Returns:
    The name, and every candidate's median residual (fraction of the landmarks'
    size) on up to 128 faces spread over the set.

  Raises:
    ValueError: if no scheme has N points, or none fits.
  """
  count = landmarks.shape[1]
  names = [name for name, b in model.landmark_schemes.items() if len(b) == count]
  if not names:
    have = ', '.join(
      f'{name} ({len(b)})' for name, b in sorted(model.landmark_schemes.items())
    )
    raise ValueError(
      f"The data set has {count} landmarks a face but the face model's schemes "
      f'are {have}; give --landmark_scheme a file of {count} vertex ids.'
    )
  some = np.linspace(0, len(landmarks) - 1, min(128, len(landmarks))).astype(int)
  few = count < FEW_POINTS
  residuals = {}
  for name in names:
    fitted = _mean_face(projection.landmark_model(model, name)) if few else model
    _, gaps = fitting.fit_faces(fitted, landmarks[some], visible[some], scheme=name)
    residuals[name] = float(np.median(gaps))
  best = min(residuals, key=lambda name: residuals[name])
  if not residuals[best] < (_LARGEST_OF_MEAN_FACE if few else _LARGEST):
    raise ValueError(
      f"No landmark scheme fits the labels: {residuals} of the face's size; "
      f'give --landmark_scheme a file of {count} vertex ids in their order.'
    )
  return best, residuals


def _mean_face(model):
  """A model whose shape does not vary."""
  return model.replace(
    identity_basis=np.zeros_like(model.identity_basis),
    expression_basis=np.zeros_like(model.expression_basis),
  )


def exact_params(
  model: MorphableModel,
  params: list[np.ndarray],
  outer: np.ndarray,
  landmarks: np.ndarray,
  visible: np.ndarray,
  *,
  scheme: str,
  image_size: int,
) -> tuple[np.ndarray, np.ndarray]:
  """The samples' own P in crop pixels, and how far the labels lie from it.

  Args:
    model: the 3DMM that the samples' P was made with.
    params: n flat vectors (8 + N_I + N_E,), pixels of the photo.
    outer: (n, 4) the boxes of the crops, pixels of the photo.
    landmarks: (n, N, 2) labels, pixels of the crops.
    visible: (n, N) bool.
    scheme: of the labels.
    image_size: pixels a side of the crops.

  Returns:
    (n, 8 + N_I + N_E) float32 P in pixels of the crops, and (n,) float32 residuals,
    fractions of the size of the landmarks' box.
  """

  @jax.jit
  def move(vectors, outer):
    def one(vector, box):
      face = box_lib.crop_params(
        unflatten_params(vector, model.num_identity), box, image_size
      )
      return flatten_params(face), projection.landmarks(model, face, scheme)

    return jax.lax.map(lambda row: one(*row), (vectors, outer), batch_size=64)

  in_crops, points = jax.device_get(move(np.stack(params).astype(np.float32), outer))
  gap = np.linalg.norm(points - landmarks, axis=-1)
  low = np.where(visible[..., None], landmarks, np.inf).min(axis=1)
  high = np.where(visible[..., None], landmarks, -np.inf).max(axis=1)
  size = np.sqrt(np.prod(high - low, axis=1))
  return in_crops, (
    np.where(visible, gap, 0).sum(axis=1) / visible.sum(axis=1) / size
  ).astype(np.float32)


# Of 5,361 real faces with right labels the least share of landmarks that face the
# camera is 0.75, of their mirror images with left and right points not exchanged the
# largest is 0.25. Labels of a head at 100 degrees of yaw that call its hidden side
# visible, as 300W-LP's do, have 0.3 or more.
_LEAST_FACING = 0.3
# A fit this many times worse than the set's median, and this bad for itself, in sizes
# of the face. Real labels: at most 2 times the median.
_BAD_FIT = 4.0
_BAD_RESIDUAL = 0.1


def contradictions(
  model: MorphableModel,
  params: np.ndarray,
  residuals: np.ndarray,
  visible: np.ndarray,
  *,
  scheme: str,
) -> list[str | None]:
  """Labels that their own fit contradicts.

  Two signs are looked at. A face whose landmarks face away from the camera although
  they are labelled visible (Eq. 8): the photo was mirrored and left and right points
  were not exchanged, so that the points fit the inside of a face seen from behind; x
  and y exchanged, or y counted from below, do the same. And a residual far above the
  set's: points in another order, or of another face.

  Profiles pass, and so do sets that label hidden points as visible (300W-LP): a
  third of the points still faces the camera. Mirrored labels are found up to about
  60 degrees of yaw; beyond that a set of all 68 points does not tell them from such
  profiles.

  Args:
    model: the 3DMM.
    params: (n, 8 + N_I + N_E) fitted P.
    residuals: (n,) of the fits.
    visible: (n, N) bool labels.
    scheme: of the landmarks.

  Returns:
    n reasons; None where nothing speaks against the labels.
  """
  if not len(params):
    return []
  normals = np.asarray(model.mean_normals)[np.asarray(model.landmark_schemes[scheme])]
  cameras = unflatten_params(np.asarray(params), model.num_identity).camera
  front = jax.vmap(projection.frontability, (0, None))(cameras, normals)
  facing = np.asarray(projection.is_visible(front))
  total = np.maximum(visible.sum(axis=1), 1)
  share = (facing & visible).sum(axis=1) / total
  finite = residuals[np.isfinite(residuals)]
  usual = np.median(finite) if len(finite) else np.inf
  reasons = []
  for part, seen, residual in zip(share, total, residuals, strict=True):
    reason = None
    if not np.isfinite(residual):
      pass  # rejected anyway, with its own reason
    elif part < _LEAST_FACING:
      reason = (
        f'the fitted face looks away from the camera: {round(part * seen)} of {seen} '
        'landmarks labelled visible face it; was the photo mirrored without exchanging '
        'its left and right points, or were x and y exchanged?'
      )
    elif residual > max(_BAD_FIT * usual, _BAD_RESIDUAL):
      reason = (
        f'its landmarks lie {100 * residual:.1f} % of the face from the fitted face, '
        f'the median is {100 * usual:.1f} %; are they in the order of the others?'
      )
    reasons.append(reason)
  return reasons
