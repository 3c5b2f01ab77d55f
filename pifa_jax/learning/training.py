"""One training step and one evaluation step, as pure functions.

The step is written once with `axis_name`, for one device and for several.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from pifa_jax import settings
from pifa_jax.evaluation import metrics
from pifa_jax.geometry import mirror, morphable_model, projection
from pifa_jax.learning import losses, parallel
from pifa_jax.learning.batching import AugmentConfig, CropRows, make_batch, sample_keys
from pifa_jax.learning.network import NetworkGeometry, PifaNetwork
from pifa_jax.settings import setting
from pifa_jax.types import (
  Array,
  Batch,
  MorphableModel,
  camera_of,
  flatten_params,
  unflatten_params,
)

# Imported where it is used: who aligns a photo does not wait for it.
if TYPE_CHECKING:
  import optax

# Pixels: below this error the root of a loss is as good as its square.
_ROOT_FLOOR = 0.5


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """All that changes from step to step, and all that a checkpoint holds.

  Attributes:
    step: () int32, the number of steps taken, skipped ones included.
    skipped: () int32, steps whose update was not finite and was left out.
    skipped_in_row: () int32, of them, those since the last good step.
    params: the network's weights.
    batch_stats: running means and variances.
    opt_state: of Optax.
  """

  step: Array
  skipped: Array
  skipped_in_row: Array
  params: Any
  batch_stats: Any
  opt_state: Any


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """Which loss every block has, and how much it counts.

  A field that is made by `setting` carries its own help; the other is:

  Attributes:
    rotation_translation_ratio: r under Eq. (6), for eq6_mode 'literal'; measured on
      the training set.
  """

  num_param_blocks: int | None = setting(
    None,
    'Number of first blocks with Eq. (6), the others have Eq. (7); default: half of '
    'the blocks, as in the paper.',
    low=0,
  )
  block_weights: tuple[float, ...] | None = setting(
    None, 'Comma-separated weights of the blocks; default: 1,2,...,N_v (Sec. 4).'
  )
  eq6_mode: str = setting(
    'landmarks',
    'Reading of W in Eq. (6): BUILD_NOTES.md D-11, D-92.',
    choices=losses.EQ6_MODES,
  )
  root: bool = setting(
    False,
    'Take the square root of the loss of every face, which is then its rms landmark '
    'error in pixels: hard faces do not outweigh all others (BUILD_NOTES.md D-92).',
  )
  rotation_translation_ratio: float | None = None
  hidden_weight: float = setting(
    0.0,
    'Weight in Eq. (7) of hidden landmarks, whose target is where the target P puts '
    'them; 0 = visible landmarks alone, as in the paper (BUILD_NOTES.md D-65).',
    low=0.0,
    high=1.0,
  )
  pair_weight: float = setting(
    0.0,
    'Weight, beside Eq. (7), of the squared errors of the offsets between upper and '
    'lower lids, upper and lower lips, and brows and lids; needs the scheme ibug68 '
    '(BUILD_NOTES.md D-102).',
    low=0.0,
  )

  def __post_init__(self):
    settings.check(self)


def block_losses(
  outputs: dict[str, Any],
  predicted: Array,
  batch: Batch,
  geometry: NetworkGeometry,
  config: LossConfig,
) -> jax.Array:
  """The loss of every block of every face, before block weights.

  Eq. (6) in the first blocks, Eq. (7) in the others (Sec. 3.2). The target of a
  block is the true P minus that block's INPUT P.

  Args:
    outputs: of `PifaNetwork`.
    predicted: (1 + N_v, B, N, 2) of `block_landmarks`.
    batch: the targets.
    geometry: the network's.
    config: which loss where.

  Returns:
    (N_v, B); square pixels, or pixels with config.root.
  """
  num_blocks = outputs['params'].shape[0]
  num_param_blocks = (
    num_blocks // 2 if config.num_param_blocks is None else config.num_param_blocks
  )
  weights = losses.param_weights(
    geometry.scales,
    config.eq6_mode,
    displacements=geometry.displacements,
    rotation_translation_ratio=config.rotation_translation_ratio,
  )
  target = flatten_params(batch.face_params)

  def block(index):
    if index < num_param_blocks:
      return jax.vmap(losses.param_loss, in_axes=(0, 0, None))(
        geometry.scales * outputs['updates'][index],
        target - outputs['inputs'][index],
        weights,
      )
    labels = batch.landmarks, batch.visible, config.hidden_weight
    over_faces = lambda loss: jax.vmap(loss, in_axes=(0, 0, 0, None))(
      predicted[1 + index], *labels
    )
    if not config.pair_weight:
      return over_faces(losses.landmark_loss)
    pairs = over_faces(losses.pair_loss)
    return over_faces(losses.landmark_loss) + config.pair_weight * pairs

  per_face = jnp.stack([block(index) for index in range(num_blocks)])
  if config.root:
    # The added square keeps the gradient finite where a face fits exactly.
    per_face = jnp.sqrt(2 * per_face / batch.landmarks.shape[1] + _ROOT_FLOOR**2)
  return per_face


def predict_landmarks(landmark_model: MorphableModel, vectors: Array) -> jax.Array:
  """Landmarks of flat parameter vectors (Eq. 3).

  Args:
    landmark_model: `projection.landmark_model` of a scheme.
    vectors: (..., 8 + N_I + N_E).

  Returns:
    (..., N, 2) pixels.
  """

  def one(vector):
    face = unflatten_params(vector, landmark_model.num_identity)
    return projection.project(face.camera, morphable_model.shape(landmark_model, face))

  flat = vectors.reshape((-1, vectors.shape[-1]))
  points = jax.vmap(one)(flat)
  return points.reshape(vectors.shape[:-1] + points.shape[1:])


def block_landmarks(
  outputs: dict[str, Any], landmark_model: MorphableModel
) -> jax.Array:
  """Landmarks before the first and after every block, in one product.

  Losses and errors both use them. So every landmark is projected once, and no other
  vertex is.

  Args:
    outputs: of `PifaNetwork`.
    landmark_model: of the batch's scheme.

  Returns:
    (1 + N_v, B, N, 2) pixels, of P^0 first.
  """
  return predict_landmarks(
    landmark_model, jnp.concatenate([outputs['inputs'][:1], outputs['params']])
  )


def place_hidden(batch: Batch, landmark_model: MorphableModel) -> Batch:
  """Puts hidden landmarks, which have no label, where the target P has them.

  Args:
    batch: the targets.
    landmark_model: of their scheme.

  Returns:
    The batch with finite landmarks; visible ones stay as labelled.
  """
  return dataclasses.replace(
    batch,
    landmarks=jnp.where(
      batch.visible[..., None],
      batch.landmarks,
      predict_landmarks(landmark_model, flatten_params(batch.face_params)),
    ),
  )


def summed_errors(predicted: Array, batch: Batch) -> jax.Array:
  """Sum of the NMEs of a batch after every block, P^0 first (Table 3).

  Args:
    predicted: (1 + N_v, B, N, 2) of `block_landmarks`, crop pixels.
    batch: the targets; padding and faces without a visible landmark add nothing.

  Returns:
    (1 + N_v,); of fractions, not percent.
  """
  one_block = jax.vmap(metrics.summable_error)
  errors = jax.vmap(one_block, in_axes=(0, None, None, None))(
    predicted, batch.landmarks, batch.visible, batch.box_size
  )
  return jnp.sum(errors * batch.weight, axis=1)


def train_step(
  state: TrainState,
  rows: CropRows,
  samples: Array,
  geometry: NetworkGeometry,
  landmark_model: MorphableModel,
  *,
  network: PifaNetwork,
  optimizer: 'optax.GradientTransformation',
  loss: LossConfig,
  augment: AugmentConfig,
  seed: int,
  mirror_map: mirror.MirrorMap | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
  """One step of SGD on the weighted sum of the blocks' losses (Secs. 3.2, 4).

  A step whose loss or gradient is not finite changes nothing but the counters.

  Args:
    state: before the step; its buffers may be donated.
    rows: this device's share of the batch, B crops.
    samples: (B,) int32 ids of these samples, for their random keys.
    geometry: of `network_geometry`.
    landmark_model: of the training scheme.
    network: with axis_name=AXIS under `parallel`, None under plain jit.
    optimizer: of `make_optimizer`.
    loss: which loss where.
    augment: how the samples are jittered and changed.
    seed: of the run.
    mirror_map: needed with augment.flip.

  Returns:
    The state after, and numbers of the whole batch. Means over its faces: 'loss' (),
    'block_loss' (N_v,), 'nme' (1 + N_v,), a fraction, over the faces that have a
    visible landmark; NaN if none has. 'num_without_labels' (), the faces that 'nme'
    leaves out. 'grad_norm' (), 'finite' (). Where the fault of a step that is not
    finite lies: 'finite_leaves' (n,), of the gradient, in the order of
    `jax.tree.leaves(params)`; 'finite_faces' (B of all devices,), of the crops or, if
    all of these are, of the losses.
  """
  import optax

  axis_name = network.axis_name
  keys = sample_keys(seed, state.step, samples)
  crop_keys = jax.vmap(lambda key: jax.random.fold_in(key, 0))(keys)
  dropout_keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
  batch = make_batch(
    rows,
    network.config.crop_size,
    landmark_model.num_identity,
    keys=crop_keys,
    augment=augment,
    mirror_map=mirror_map,
    crop_scale=network.config.crop_scale,
  )
  if loss.hidden_weight:
    batch = place_hidden(batch, landmark_model)

  # One bad crop spoils all losses, through the statistics of the batch.
  finite_crops = jnp.isfinite(batch.image).all(axis=(1, 2, 3)) | (batch.weight == 0)
  # An error can be measured of the faces with a visible landmark alone.
  labelled = jnp.any(batch.visible, axis=1)
  total, num_labelled = parallel.sum_over_devices(
    (jnp.sum(batch.weight), jnp.sum(batch.weight * labelled)), axis_name
  )

  def objective(params):
    outputs, updated = network.apply(
      {'params': params, 'batch_stats': state.batch_stats},
      batch.image,
      geometry,
      train=True,
      dropout_keys=dropout_keys,
      mutable=['batch_stats'],
    )
    predicted = block_landmarks(outputs, landmark_model)
    per_face = block_losses(outputs, predicted, batch, geometry, loss)
    per_block = jnp.sum(per_face * batch.weight, axis=1) / total
    num_blocks = per_block.shape[0]
    weights = (
      jnp.arange(1, num_blocks + 1, dtype=jnp.float32)
      if loss.block_weights is None
      else jnp.asarray(loss.block_weights, jnp.float32)
    )
    # The second factor is 1 but where faces lack labels.
    nme = summed_errors(predicted, batch) / total * (total / num_labelled)
    finite_faces = jnp.isfinite(per_face).all(axis=0) | (batch.weight == 0)
    return jnp.sum(weights * per_block), (
      updated['batch_stats'],
      per_block,
      nme,
      finite_faces,
    )

  (value, (batch_stats, per_block, nme, finite_faces)), grads = jax.value_and_grad(
    objective, has_aux=True
  )(state.params)
  # Flags ride with a sum that is taken anyway: every further collective is one more
  # that devices can hang in (BUILD_NOTES.md D-57).
  bad = parallel.place_share(
    1.0 - jnp.stack([finite_faces, finite_crops], axis=1), axis_name
  )
  grads, value, per_block, nme_and_bad = parallel.sum_over_devices(
    (grads, value, per_block, jnp.concatenate([nme, bad.ravel()])), axis_name
  )
  nme, bad = nme_and_bad[: len(nme)], nme_and_bad[len(nme) :]
  finite_faces, finite_crops = (bad.reshape(-1, 2) == 0).T
  grad_norm = optax.tree.norm(grads)
  finite = jnp.isfinite(value) & jnp.isfinite(grad_norm)

  def apply(params, opt_state, unused_old_stats):
    updates, opt_state = optimizer.update(grads, opt_state, params)
    updates = _without_frozen(updates, network.config.frozen_blocks)
    leaves = jnp.ones(len(jax.tree.leaves(grads)), bool)
    return optax.apply_updates(params, updates), opt_state, batch_stats, leaves

  def skip(params, opt_state, old_stats):
    # Their squares, as in the norm; `isfinite(leaf).all()` would write a second leaf.
    squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(grads)]
    leaves = jnp.isfinite(jnp.stack(squares))
    return params, opt_state, old_stats, leaves

  # A branch, not a `where` a leaf: that one reads every old leaf beside its new
  # one, so that neither is written in place (BUILD_NOTES.md D-50).
  params, opt_state, batch_stats, finite_leaves = jax.lax.cond(
    finite, apply, skip, state.params, state.opt_state, state.batch_stats
  )
  new_state = TrainState(
    step=state.step + 1,
    skipped=state.skipped + ~finite,
    skipped_in_row=jnp.where(finite, 0, state.skipped_in_row + 1),
    params=params,
    batch_stats=batch_stats,
    opt_state=opt_state,
  )
  return new_state, {
    'loss': value,
    'block_loss': per_block,
    'nme': nme,
    'num_without_labels': total - num_labelled,
    'grad_norm': grad_norm,
    'finite': finite,
    'finite_leaves': finite_leaves,
    'finite_faces': jnp.where(finite_crops.all(), finite_faces, finite_crops),
  }


def _without_frozen(updates, frozen_blocks):
  """No update of the first blocks, whose weights would decay without a gradient."""
  frozen = {f'block{index + 1}' for index in range(frozen_blocks)}
  return {
    name: jax.tree.map(jnp.zeros_like, part) if name in frozen else part
    for name, part in updates.items()
  }


def init_state(
  variables: dict[str, Any], optimizer: 'optax.GradientTransformation'
) -> TrainState:
  """The state before the first step.

  Args:
    variables: of `network.init_variables`.
    optimizer: of `make_optimizer`.

  Returns:
    A TrainState at step 0.
  """
  # Three arrays, not one thrice: a donated buffer may appear only once.
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    skipped=jnp.zeros((), jnp.int32),
    skipped_in_row=jnp.zeros((), jnp.int32),
    params=variables['params'],
    batch_stats=variables['batch_stats'],
    opt_state=optimizer.init(variables['params']),
  )


def evaluate_rows(
  variables: dict[str, Any],
  rows: CropRows,
  geometry: NetworkGeometry,
  landmark_model: MorphableModel,
  *,
  network: PifaNetwork,
  keys: Array | None = None,
  augment: AugmentConfig | None = None,
) -> dict[str, Any]:
  """Predictions of every block beside the labels, for evaluation.

  Args:
    variables: {'params', 'batch_stats'}.
    rows: cached crops.
    geometry: of `network_geometry`.
    landmark_model: of the evaluation scheme.
    network: with axis_name=None.
    keys: (B,) keys, to jitter the boxes as in training; None = boxes as given.
    augment: needed with keys; only its box jitter should be on.

  Returns:
    'landmarks' (1 + N_v, B, N, 2) crop pixels: of P^0 and after every block;
    'visible' (B, N) and 'params' (B, 8 + ...) of the last block; 'image', and
    'target' and 'target_visible' of the labels; 'box_size' (B,) sqrt(w h) of the
    provided box and 'scale' (B,) of a cached pixel, crop pixels; 'visualization', a
    tuple of (B, h, w).

  Raises:
    ValueError: if the network has an axis name.
  """
  if network.axis_name is not None:
    raise ValueError(
      f'evaluate_rows(): the network has axis_name={network.axis_name!r}, which is '
      'bound on several devices alone; pass network.clone(axis_name=None).'
    )
  batch = make_batch(
    rows,
    network.config.crop_size,
    landmark_model.num_identity,
    keys=keys,
    augment=augment,
    crop_scale=network.config.crop_scale,
  )
  outputs: Any = network.apply(variables, batch.image, geometry, train=False)
  last = outputs['params'][-1]
  normals = landmark_model.mean_normals
  visible = jax.vmap(
    lambda camera: projection.is_visible(projection.frontability(camera, normals))
  )(camera_of(last))
  return {
    'landmarks': block_landmarks(outputs, landmark_model),
    'visible': visible,
    'params': last,
    'image': batch.image,
    'target': batch.landmarks,
    'target_visible': batch.visible,
    'box_size': batch.box_size,
    'scale': batch.box_size / jnp.sqrt(rows.box[:, 2] * rows.box[:, 3]),
    'visualization': outputs['visualization'],
  }
