"""Landmarks -> P (Sec. 3.1): the ground truth that 2D labels do not have.

Alternates a weak-perspective camera and ridge regression of the shape. Written for
one face; `fit_faces` fits thousands a second.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import boxes, contour, projection
from pifa_jax.types import Array, FaceParams, MorphableModel, flatten_params

# Label noise against which the shape is regularised, in box sizes.
DEFAULT_NOISE = 0.01
_CG_ITERATIONS = 60
_CG_TOLERANCE = 1e-3  # of the residual; far below the labels' noise
_BATCH = 32  # larger batches fall out of the cache: BUILD_NOTES.md D-13


def fit_landmarks(
  model: MorphableModel,
  points: Array,
  visible: Array,
  *,
  scheme: str,
  rounds: int = 4,
  noise: float = DEFAULT_NOISE,
) -> tuple[FaceParams, jax.Array]:
  """Fits P to the 2D landmarks of one face.

  Every round: (1) an affine camera by least squares on centred points, projected
  on the nearest scaled rotation, so that M is a weak-perspective camera (6
  degrees of freedom, Sec. 3.1); (2) ridge regression of identity and expression
  together, each coefficient with its prior 1 / stddev^2.

  A handful of points, such as the five of a face detector, says little of the shape: it
  stays near the mean, and the residual is small whether or not the points are right.

  Args:
    model: the 3DMM.
    points: (N, 2) pixels; anything, even NaN, where not visible.
    visible: (N,) bool: labelled landmarks, in the order of the scheme.
    scheme: a landmark scheme of the model.
    rounds: of the alternation.
    noise: standard deviation of the labels, as a fraction of the size of the
      points' bounding box: larger values keep the shape nearer to the mean.

  Returns:
    P, and the mean reprojection error of the visible points as a fraction of
    sqrt(area) of their bounding box. The error is infinite, and P the mean face,
    where fewer than 4 points are visible, one is not finite, or all fall in one
    place.

  Raises:
    ValueError: if the points do not fit the scheme.
  """
  part = projection.landmark_model(model, scheme)
  count = part.num_vertices
  if points.shape != (count, 2) or visible.shape != (count,):
    raise ValueError(
      f'fit_landmarks(): scheme {scheme!r} has {count} points but points and '
      f'visible have shapes {tuple(points.shape)} and {tuple(visible.shape)}.'
    )
  points, visible = jnp.asarray(points, jnp.float32), jnp.asarray(visible, bool)
  box = boxes.points_box(points, visible)
  size = jnp.sqrt(box[2] * box[3])
  usable = (jnp.sum(visible) >= 4) & jnp.isfinite(size) & (size > 0)
  # Solved in units of the box, about its centre: well conditioned whatever the
  # image's size. A face that cannot be fitted is replaced by harmless numbers.
  size = jnp.where(usable, size, 1.0)
  centre = jnp.where(usable, box[:2] + box[2:] / 2, 0.0)
  weight = jnp.where(usable, visible.astype(jnp.float32), 1.0)
  target = jnp.where(visible[:, None] & usable, (points - centre) / size, 0.0)

  mean = jnp.asarray(part.mean_shape)
  # In units of the priors' deviations, identity and expression are one basis.
  stddev = jnp.concatenate([part.identity_stddev, part.expression_stddev])
  basis = jnp.concatenate([part.identity_basis, part.expression_basis])
  basis = basis * stddev[:, None, None]
  kernel = _kernel(basis)
  vertices, dual = mean, jnp.zeros(2 * count)
  for _ in range(rounds):
    camera = _camera(vertices, target, weight)
    coeffs, dual = _ridge(camera, basis, kernel, mean, target, weight, noise, dual)
    vertices = mean + jnp.einsum('k,kqi->qi', coeffs, basis)
  camera = _camera(vertices, target, weight)

  error = jnp.sqrt(
    jnp.sum((projection.project(camera, vertices) - target) ** 2, axis=-1)
  )
  residual = jnp.sum(weight * error) / jnp.sum(weight)
  usable = usable & jnp.isfinite(residual)
  camera = (camera * size).at[:, 3].add(centre)
  identity, expression = jnp.split(coeffs * stddev, [model.num_identity])
  fitted = FaceParams(camera=camera, identity=identity, expression=expression)
  fallback = FaceParams(
    camera=jnp.array([[1.0, 0, 0, 0], [0, -1.0, 0, 0]]),
    identity=jnp.zeros_like(identity),
    expression=jnp.zeros_like(expression),
  )
  return (
    jax.tree.map(lambda a, b: jnp.where(usable, a, b), fitted, fallback),
    jnp.where(usable, residual, jnp.inf),
  )


def fit_contour(
  model: MorphableModel,
  points: Array,
  visible: Array,
  candidates: Array,
  *,
  scheme: str = 'ibug68',
  passes: int = 3,
) -> tuple[FaceParams, jax.Array]:
  """`fit_landmarks` for landmarks whose hidden jaw points lie on the contour.

  Args:
    model: the 3DMM.
    points: (N, 2) pixels.
    visible: (N,) bool.
    candidates: of `contour.contour_candidates` for the scheme.
    scheme: of the points, one that `contour.jaw_points` knows.
    passes: fits after the first, each with the vertices of the pose before it.

  Returns:
    P and the residual of the last fit.
  """
  # Traced vertex ids index JAX arrays only.
  model = jax.tree.map(jnp.asarray, model)
  landmarks = model.landmark_schemes[scheme]
  fit = lambda ids: fit_landmarks(
    model.replace(landmark_schemes={'marched': ids}), points, visible, scheme='marched'
  )
  params, residual = fit(landmarks)
  for _ in range(passes):
    params, residual = fit(
      contour.march(model, params, landmarks, candidates, scheme=scheme)
    )
  return params, residual


def fit_faces(
  model: MorphableModel,
  points: Array,
  visible: Array,
  *,
  scheme: str,
  march: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
  """`fit_landmarks` for many faces.

  Args:
    model: the 3DMM.
    points: (M, N, 2) pixels.
    visible: (M, N) bool; points that are not finite never count as visible.
    scheme: of the points.
    march: let hidden jaw points slide along the contour (`contour.jaw_points`).

  Returns:
    (M, 8 + N_I + N_E) flat P and (M,) residuals, as of `fit_landmarks`.

  Raises:
    ValueError: if the points do not fit the scheme, or `march` is asked for
      one without points that slide.
  """
  candidates = contour.contour_candidates(model, scheme=scheme) if march else None
  # Marching needs vertices beside the landmarks'.
  part = model if march else projection.landmark_model(model, scheme)
  if np.shape(points)[1:] != (len(model.landmark_schemes[scheme]), 2):
    raise ValueError(
      f'fit_faces(): scheme {scheme!r} has {len(model.landmark_schemes[scheme])} '
      f'points but the points have shape {np.shape(points)}.'
    )

  visible = np.asarray(visible, bool) & np.isfinite(points).all(axis=-1)
  # Padded to a few sizes, so that small and large sets share programs.
  count = len(points)
  fill = lambda a: np.concatenate([a, np.zeros((-count % 256,) + a.shape[1:], a.dtype)])
  params, residuals = jax.device_get(
    _fit_all(
      part,
      fill(np.asarray(points, np.float32)),
      fill(visible),
      candidates,
      scheme=scheme,
    )
  )
  return params[:count], residuals[:count]


# The model is an argument, not a constant: one program for all calls and models of
# one size.
@functools.partial(jax.jit, static_argnames='scheme')
def _fit_all(model, points, visible, candidates, *, scheme):
  def one(face):
    points, visible = face
    params, residual = (
      fit_landmarks(model, points, visible, scheme=scheme)
      if candidates is None
      else fit_contour(model, points, visible, candidates, scheme=scheme)
    )
    return flatten_params(params), residual

  return jax.lax.map(one, (points, visible), batch_size=_BATCH)


def _camera(vertices, target, weight):
  """Affine camera by least squares, then the nearest scaled rotation."""
  total = jnp.sum(weight)
  middle3 = weight @ vertices / total
  middle2 = weight @ target / total
  x, y = vertices - middle3, target - middle2
  # Tikhonov of a millionth of the trace: four coplanar points leave one
  # direction of the normal equations open.
  normal = (weight[:, None] * x).T @ x
  normal = normal + 1e-6 * jnp.trace(normal) * jnp.eye(3)
  affine = _solve_3x3(normal, (weight[:, None] * x).T @ y).T
  rows, scale = projection.nearest_scaled_rotation(affine)
  rows = scale * rows
  return jnp.concatenate([rows, (middle2 - rows @ middle3)[:, None]], axis=1)


def _solve_3x3(matrix, right):
  # Cramer's rule: the rows of the adjugate are cross products of columns.
  a, b, c = matrix[:, 0], matrix[:, 1], matrix[:, 2]
  adjugate = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)])
  return adjugate @ right / (a @ adjugate[0])


def _kernel(basis):
  """(3, 3, N, N) sum_k B_k B_k^T: all that ridge regression needs of a basis."""
  return jnp.einsum('kni,kmj->ijnm', basis, basis)


def _ridge(camera, basis, kernel, rest, target, weight, noise, guess):
  """argmin_a sum_n w_n |M (rest + basis a) - target|^2 + noise^2 |a|^2.

  By the push-through identity a = A^T (A A^T + noise^2)^-1 r, with A = sqrt(w) M
  basis never formed: A A^T comes from the kernel, which all faces share, and A^T
  is one product with the basis. Returns a, and the dual solution, from which the
  next round starts.
  """
  count = target.shape[0]
  root = jnp.sqrt(weight)
  rows = camera[:, :3]
  # Nine scaled planes of the kernel, not one einsum: the compiler makes a single
  # loop of them, three times as fast as the batched small products.
  gram = sum(
    rows[:, i, None, None, None] * rows[:, j, None] * kernel[i, j][:, None]
    for i in range(3)
    for j in range(3)
  )
  gram = gram * root[:, None, None] * root
  gram = gram.reshape(2 * count, 2 * count) + noise**2 * jnp.eye(2 * count)
  residual = (target - projection.project(camera, rest)) * root[:, None]
  dual = _solve_positive(gram, residual.T.reshape(-1), guess)
  back = (root * dual.reshape(2, count)).T @ rows
  return jnp.einsum('kni,ni->k', basis, back), dual


def _solve_positive(matrix, vector, guess):
  """Solves a symmetric positive definite system by conjugate gradients.

  No LAPACK: two batched LAPACK calls of one program can wait for each other for
  ever on a CPU with two threads (BUILD_NOTES.md D-13). The spectrum is a few
  large modes above a floor of noise^2, so few iterations reach float32.
  """
  solution, _ = jax.scipy.sparse.linalg.cg(
    lambda x: matrix @ x, vector, x0=guess, tol=_CG_TOLERANCE, maxiter=_CG_ITERATIONS
  )
  return solution
