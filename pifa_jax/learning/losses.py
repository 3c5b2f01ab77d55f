"""Eqs. (6)-(7): the parameter loss, the landmark loss and their weights."""

import chex
import jax
import jax.numpy as jnp

from pifa_jax.face_models.landmark_tables import IBUG68_OPENINGS
from pifa_jax.types import Array, flatten_params, unflatten_params

EQ6_MODES = ('landmarks', 'whitened', 'literal')

# Neighbouring landmarks of ibug68: lids, inner lips, brows and upper lids. How far they
# are apart is an expression.
LANDMARK_PAIRS = (
  *(pair for pairs in IBUG68_OPENINGS.values() for pair in pairs),
  *((18, 37), (20, 38), (23, 43), (25, 44)),
)


def param_weights(
  scales: Array,
  mode: str,
  *,
  displacements: Array | None = None,
  rotation_translation_ratio: float | Array | None = None,
) -> jax.Array:
  """The diagonal of W in Eq. (6).

  'landmarks' (default): the squared displacement of the landmarks per unit of every
  parameter, so that both losses are in square pixels. BUILD_NOTES.md D-92.
  'whitened': 1 / s^2, which is the weight 1 on the residual in units of
  every parameter's scale. 'literal': the paper's words, 1 / s on the square of
  the raw residual for the shape, 1 / r for the scaled rotation, 1 for the
  translation. The literal reading is unbalanced by many orders of magnitude in
  raw units: BUILD_NOTES.md D-11.

  Args:
    scales: (8 + N_I + N_E,) s of `network.param_scales`.
    mode: 'landmarks', 'whitened' or 'literal'.
    displacements: (8 + N_I + N_E,) of `landmark_displacements`, for 'landmarks'.
    rotation_translation_ratio: () r, needed for 'literal'; see
      `rotation_translation_ratio`.

  Returns:
    (8 + N_I + N_E,) weights.

  Raises:
    ValueError: for an unknown mode, or one without what it needs.
  """
  scales = jnp.asarray(scales)
  if mode == 'landmarks':
    if displacements is None:
      raise ValueError(
        "eq6_mode='landmarks' needs the landmarks' displacements; pass those of "
        'network_geometry().'
      )
    return jnp.asarray(displacements)
  if mode == 'whitened':
    return 1.0 / scales**2
  if mode != 'literal':
    raise ValueError(f'eq6_mode={mode!r}; use one of {", ".join(EQ6_MODES)}.')
  if rotation_translation_ratio is None:
    raise ValueError(
      "eq6_mode='literal' needs rotation_translation_ratio, the r "
      'under Eq. (6), measured on the training data.'
    )
  rotation = jnp.ones((2, 3)) / rotation_translation_ratio
  camera = jnp.concatenate([rotation, jnp.ones((2, 1))], axis=1)
  return flatten_params(unflatten_params(1.0 / scales, 0).replace(camera=camera))


@jax.jit
def rotation_translation_ratio(cameras: Array) -> jax.Array:
  """r: mean magnitude of scaled rotation entries over that of translations.

  Sec. 3.2, under Eq. (6). Magnitudes, because signed rotation entries average to
  nearly zero over poses.

  Args:
    cameras: (n, 2, 4) target cameras of the training data.

  Returns:
    () r.
  """
  cameras = jnp.asarray(cameras)
  return jnp.mean(jnp.abs(cameras[..., :3])) / jnp.mean(jnp.abs(cameras[..., 3]))


def param_loss(update: Array, target_update: Array, weights: Array) -> jax.Array:
  """Half the weighted squared error of the parameter update of one face.

  Eq. (6): E_P = (dP - dP_target)^T W (dP - dP_target), with Caffe's factor 1/2.

  Args:
    update: (8 + N_I + N_E,) dP in raw units.
    target_update: (8 + N_I + N_E,) target P minus the block's input P.
    weights: (8 + N_I + N_E,) diagonal of W.

  Returns:
    () loss.

  Raises:
    ValueError: while tracing, if the shapes differ.
  """
  chex.assert_equal_shape([update, target_update, weights], exception_type=ValueError)
  return 0.5 * jnp.sum(weights * (update - target_update) ** 2)


def landmark_loss(
  predicted: Array, target: Array, visible: Array, hidden_weight: float = 0.0
) -> jax.Array:
  """Half the squared landmark error of one face.

  Eq. (7): E_S = |f(P + dP) - U|^2 over the landmarks that are labelled and
  visible, with Caffe's factor 1/2.

  Args:
    predicted: (N, 2) pixels.
    target: (N, 2) pixels; anything, even NaN, where not visible if hidden_weight
      is 0.
    visible: (N,) bool.
    hidden_weight: of the square of a hidden landmark's error; 0 is Eq. (7).

  Returns:
    () loss in square pixels; 0 if nothing counts.

  Raises:
    ValueError: while tracing, if the shapes differ.
  """
  chex.assert_equal_shape([predicted, target], exception_type=ValueError)
  # Masked before squaring: a NaN label must not reach the gradient.
  weight = jnp.where(visible, 1.0, hidden_weight)[:, None]
  error = jnp.where(weight > 0, predicted - target, 0.0)
  return 0.5 * jnp.sum(weight * error**2)


def pair_loss(
  predicted: Array, target: Array, visible: Array, hidden_weight: float = 0.0
) -> jax.Array:
  """Half the squared error of the offsets between neighbouring landmarks of one face.

  The eye closure loss of Feng et al., 2021 ("Learning an Animatable Detailed 3D Face
  Model from In-The-Wild Images", Sec. 4.1), with lips and brows: a closed eye moves
  its landmarks by a few pixels, which Eq. (7) of a whole face does not notice.

  Args:
    predicted: (68, 2) pixels, of ibug68.
    target: (68, 2) pixels; anything, even NaN, where not visible if hidden_weight is 0.
    visible: (68,) bool.
    hidden_weight: of a pair of which a landmark is hidden, as in `landmark_loss`.

  Returns:
    () loss in square pixels; 0 if nothing counts.

  Raises:
    ValueError: while tracing, if there are not 68 landmarks.
  """
  chex.assert_shape([predicted, target], (68, 2), exception_type=ValueError)
  first, second = jnp.array(LANDMARK_PAIRS).T
  offsets = lambda points: points[first] - points[second]
  return landmark_loss(
    offsets(predicted), offsets(target), visible[first] & visible[second], hidden_weight
  )
