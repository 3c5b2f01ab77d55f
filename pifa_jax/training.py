"""One training step and one evaluation step, as pure functions.

The step is written once with `axis_name`; `parallel` is the one place that knows
`pmap`. All randomness of a step is a function of (seed, step, sample): a resumed
run is the run, and the number of devices does not matter.
"""

import dataclasses
from typing import Any, Callable

import chex
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import optax

from pifa_jax import boxes, losses, metrics, mirror, morphable_model, projection
from pifa_jax.network import NetworkGeometry, PifaNetwork
from pifa_jax.types import Array, Batch, MorphableModel
from pifa_jax.types import flatten_params, unflatten_params

AXIS = 'batch'


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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CropRows:
  """B rows of a packed data set, as they lie in memory.

  Attributes:
    image: (B, S, S, 3) uint8: the square box with a margin around it.
    landmarks: (B, N, 2) pixels of the packed crop.
    visible: (B, N) bool.
    params: (B, 8 + N_I + N_E) target P in pixels of the packed crop.
    box: (B, 4) the provided box in packed-crop pixels (outer edges).
    weight: (B,) 1; 0 for padding.
  """

  image: Array
  landmarks: Array
  visible: Array
  params: Array
  box: Array
  weight: Array


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
  """What happens to a training sample on the device.

  Attributes:
    shift: box jitter, fraction of its size, uniform in +-shift.
    scale: box jitter, factor uniform in [1 - scale, 1 + scale].
    anisotropic: jitter width and height apart (BUILD_NOTES.md D-06).
    zoom: mean side of the jittered boxes over the provided one's.
    brightness: offset uniform in +-brightness, in [-1, 1] units.
    contrast: log-uniform factor up to 1 + contrast.
    color: each channel's gain, log-uniform up to 1 + color.
    occlusion: probability of a grey rectangle over part of the crop.
    flip: probability of the mirrored picture.
  """

  shift: float = 0.1
  scale: float = 0.1
  anisotropic: bool = False
  zoom: float = 1.0
  brightness: float = 0.0
  contrast: float = 0.0
  color: float = 0.0
  occlusion: float = 0.0
  flip: float = 0.0


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """Which loss every block has, and how much it counts.

  Attributes:
    num_param_blocks: the first so many blocks take Eq. (6), the rest Eq. (7);
      None = half of them (3 of 6: the paper).
    block_weights: None = 1, 2, ..., N_v (Sec. 4).
    eq6_mode: see `losses.param_weights`.
    rotation_translation_ratio: r, for eq6_mode 'literal'.
    hidden_weight: of a hidden landmark in Eq. (7), whose target is then where the
      target P puts it; 0 = none, as in the paper (BUILD_NOTES.md D-65).
  """

  num_param_blocks: int | None = None
  block_weights: tuple[float, ...] | None = None
  eq6_mode: str = 'whitened'
  rotation_translation_ratio: float | None = None
  hidden_weight: float = 0.0


def sample_keys(seed: int | Array, step: Array, samples: Array) -> jax.Array:
  """The random key of every sample of a step: a function of its arguments only.

  Args:
    seed: of the run.
    step: () int.
    samples: (B,) ids of the samples in the data set.

  Returns:
    (B,) typed keys.
  """
  root = jax.random.fold_in(jax.random.key(seed), step)
  return jax.vmap(lambda sample: jax.random.fold_in(root, sample))(samples)


def make_batch(rows: CropRows, crop_size: int, num_identity: int, *,
               keys: Array | None = None, augment: AugmentConfig | None = None,
               mirror_map: mirror.MirrorMap | None = None) -> Batch:
  """Cuts network inputs and their targets out of packed crops, on the device.

  Args:
    rows: B packed crops.
    crop_size: side of the network's input.
    num_identity: N_I.
    keys: (B,) a key a sample; None = the provided boxes, no jitter, no change of
      the picture.
    augment: needed with keys.
    mirror_map: needed with augment.flip.

  Returns:
    The batch in pixels of the network's crop.

  Raises:
    ValueError: if one of them is missing.
  """
  if keys is not None and augment is None:
    raise ValueError('make_batch(): keys without an AugmentConfig; pass both.')
  if keys is not None and augment.flip and mirror_map is None:
    raise ValueError('make_batch(): augment.flip without a mirror_map; pass that of '
                     'mirror.mirror_map().')

  def one(row, key):
    if key is not None and augment.flip:
      # A key of its own: the other draws are those of runs without it.
      flip = jax.random.bernoulli(jax.random.fold_in(key, 2), augment.flip)
      row = jax.tree.map(lambda a, b: jnp.where(flip, a, b),
                         _flipped(row, num_identity, mirror_map), row)
    square = boxes.square_box(row.box)
    if key is None:
      box = square
    else:
      key_box, key_picture = jax.random.split(key)
      box = boxes.jitter_box(key_box, square, shift=augment.shift,
                             scale=augment.scale,
                             anisotropic=augment.anisotropic,
                             zoom=augment.zoom)
    image = boxes.resample_crop(
        row.image.astype(jnp.float32) / 127.5 - 1.0, box, crop_size)
    if key is not None:
      image = augment_picture(key_picture, image, augment)
    face = boxes.crop_params(unflatten_params(row.params, num_identity), box,
                             crop_size)
    factor = crop_size / jnp.sqrt(box[2] * box[3])
    return Batch(
        image=image, landmarks=boxes.crop_points(row.landmarks, box, crop_size),
        visible=row.visible, face_params=face,
        # The normaliser is the PROVIDED box, not the jittered one.
        box_size=jnp.sqrt(row.box[2] * row.box[3]) * factor,
        weight=row.weight)

  if keys is None:
    return jax.vmap(lambda row: one(row, None))(rows)
  return jax.vmap(one)(rows, keys)


def _flipped(row: CropRows, num_identity: int, mirror_map: mirror.MirrorMap
             ) -> CropRows:
  """One packed crop and its labels, left and right exchanged."""
  size = row.image.shape[1]
  face = mirror.mirror_params(unflatten_params(row.params, num_identity),
                              mirror_map.signs, size)
  points = row.landmarks[mirror_map.landmarks]
  return dataclasses.replace(
      row, image=row.image[:, ::-1], params=flatten_params(face),
      landmarks=points.at[:, 0].set(size - 1 - points[:, 0]),
      visible=row.visible[mirror_map.landmarks] & (mirror_map.landmarks >= 0),
      box=row.box.at[0].set(size - 1 - row.box[0] - row.box[2]))


def augment_picture(key: Array, image: Array,
                    config: AugmentConfig) -> jax.Array:
  """Changes colours and hides a part of one crop.

  Args:
    key: a key.
    image: (S, S, 3) in [-1, 1].
    config: strengths; a zero leaves that change out.

  Returns:
    (S, S, 3) in [-1, 1].
  """
  keys = jax.random.split(key, 5)
  if config.contrast or config.color or config.brightness:
    gain = jnp.exp(
        jax.random.uniform(keys[0], (), minval=-1.0)
        * jnp.log1p(config.contrast)
        + jax.random.uniform(keys[1], (3,), minval=-1.0)
        * jnp.log1p(config.color))
    offset = config.brightness * jax.random.uniform(keys[2], (), minval=-1.0)
    mean = jnp.mean(image, axis=(0, 1))
    image = jnp.clip((image - mean) * gain + mean + offset, -1.0, 1.0)
  if config.occlusion:
    size = image.shape[0]
    # centre u, v; half width, half height; value.
    draw = jax.random.uniform(keys[3], (5,))
    grid = jnp.arange(size)
    half = (0.05 + 0.15 * draw[2:4]) * size
    inside = ((jnp.abs(grid - draw[0] * size) < half[0])[None, :]
              & (jnp.abs(grid - draw[1] * size) < half[1])[:, None])
    hit = jax.random.bernoulli(keys[4], config.occlusion)
    image = jnp.where((hit & inside)[..., None], 2 * draw[4] - 1, image)
  return image


def block_losses(outputs: dict[str, Array], predicted: Array, batch: Batch,
                 geometry: NetworkGeometry, config: LossConfig) -> jax.Array:
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
    (N_v, B).
  """
  num_blocks = outputs['params'].shape[0]
  num_param_blocks = (num_blocks // 2 if config.num_param_blocks is None
                      else config.num_param_blocks)
  weights = losses.param_weights(
      geometry.scales, config.eq6_mode,
      rotation_translation_ratio=config.rotation_translation_ratio)
  target = flatten_params(batch.face_params)

  def block(index):
    if index < num_param_blocks:
      return jax.vmap(losses.param_loss, in_axes=(0, 0, None))(
          geometry.scales * outputs['updates'][index],
          target - outputs['inputs'][index], weights)
    return jax.vmap(losses.landmark_loss, in_axes=(0, 0, 0, None))(
        predicted[1 + index], batch.landmarks, batch.visible, config.hidden_weight)

  return jnp.stack([block(index) for index in range(num_blocks)])


def predict_landmarks(landmark_model: MorphableModel,
                      vectors: Array) -> jax.Array:
  """Landmarks of flat parameter vectors (Eq. 3).

  Args:
    landmark_model: `projection.landmark_model` of a scheme.
    vectors: (..., 8 + N_I + N_E).

  Returns:
    (..., N, 2) pixels.
  """

  def one(vector):
    face = unflatten_params(vector, landmark_model.num_identity)
    return projection.project(face.camera,
                              morphable_model.shape(landmark_model, face))

  flat = vectors.reshape((-1, vectors.shape[-1]))
  points = jax.vmap(one)(flat)
  return points.reshape(vectors.shape[:-1] + points.shape[1:])


def block_landmarks(outputs: dict[str, Array],
                    landmark_model: MorphableModel) -> jax.Array:
  """Landmarks before the first and after every block: one product for them all.

  What losses and errors are made of, so that neither projects a vertex again,
  and no vertex that is not a landmark.

  Args:
    outputs: of `PifaNetwork`.
    landmark_model: of the batch's scheme.

  Returns:
    (1 + N_v, B, N, 2) pixels, of P^0 first.
  """
  return predict_landmarks(landmark_model, jnp.concatenate(
      [outputs['inputs'][:1], outputs['params']]))


def place_hidden(batch: Batch, landmark_model: MorphableModel) -> Batch:
  """Hidden landmarks where the target P puts them: no label says where they are.

  Args:
    batch: the targets.
    landmark_model: of their scheme.

  Returns:
    The batch with finite landmarks; what is visible stays.
  """
  return dataclasses.replace(batch, landmarks=jnp.where(
      batch.visible[..., None], batch.landmarks,
      predict_landmarks(landmark_model, flatten_params(batch.face_params))))


def block_errors(predicted: Array, batch: Batch) -> jax.Array:
  """NME of every face after every block, P^0 first (Table 3).

  Args:
    predicted: (1 + N_v, B, N, 2) of `block_landmarks`.
    batch: the targets.

  Returns:
    (1 + N_v, B); a fraction, not percent.
  """
  one_block = jax.vmap(metrics.normalized_mean_error)
  return jax.vmap(one_block, in_axes=(0, None, None, None))(
      predicted, batch.landmarks, batch.visible, batch.box_size)


def train_step(state: TrainState, rows: CropRows, samples: Array,
               geometry: NetworkGeometry, landmark_model: MorphableModel, *,
               network: PifaNetwork, optimizer: optax.GradientTransformation,
               loss: LossConfig, augment: AugmentConfig, seed: int,
               mirror_map: mirror.MirrorMap | None = None
               ) -> tuple[TrainState, dict[str, jax.Array]]:
  """One step of SGD.

  A step whose loss or gradient is not finite changes nothing but the counters.

  Args:
    state: before the step; its buffers may be donated.
    rows: this device's share of the batch.
    samples: (B,) the ids of these samples, for their random keys.
    geometry: of `network_geometry`.
    landmark_model: of the training scheme.
    network: with axis_name=AXIS under `parallel`, None under plain jit.
    optimizer: of `make_optimizer`.
    loss: which loss where.
    augment: what happens to the samples.
    seed: of the run.
    mirror_map: needed with augment.flip.

  Returns:
    The state after, and means over the whole batch: 'loss' (), 'block_loss'
    (N_v,), 'nme' (1 + N_v,), 'grad_norm' (), 'finite' ().
  """
  axis_name = network.axis_name
  keys = sample_keys(seed, state.step, samples)
  crop_keys = jax.vmap(lambda key: jax.random.fold_in(key, 0))(keys)
  dropout_keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
  batch = make_batch(rows, network.config.crop_size,
                     landmark_model.num_identity, keys=crop_keys,
                     augment=augment, mirror_map=mirror_map)
  if loss.hidden_weight:
    batch = place_hidden(batch, landmark_model)

  total = _sum_over_devices(jnp.sum(batch.weight), axis_name)

  def objective(params):
    outputs, updated = network.apply(
        {'params': params, 'batch_stats': state.batch_stats}, batch.image,
        geometry, train=True, dropout_keys=dropout_keys,
        mutable=['batch_stats'])
    predicted = block_landmarks(outputs, landmark_model)
    per_face = block_losses(outputs, predicted, batch, geometry, loss)
    per_block = jnp.sum(per_face * batch.weight, axis=1) / total
    num_blocks = per_block.shape[0]
    weights = (jnp.arange(1, num_blocks + 1, dtype=jnp.float32)
               if loss.block_weights is None
               else jnp.asarray(loss.block_weights, jnp.float32))
    nme = jnp.sum(block_errors(predicted, batch) * batch.weight,
                  axis=1) / total
    return jnp.sum(weights * per_block), (updated['batch_stats'], per_block, nme)

  (value, (batch_stats, per_block, nme)), grads = jax.value_and_grad(
      objective, has_aux=True)(state.params)
  grads, value, per_block, nme = _sum_over_devices(
      (grads, value, per_block, nme), axis_name)
  grad_norm = optax.tree.norm(grads)
  finite = jnp.isfinite(value) & jnp.isfinite(grad_norm)

  def apply(params, opt_state, unused_old_stats):
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, batch_stats

  # A branch, not a `where` a leaf: that one reads every old leaf beside its new
  # one, so that neither is written in place (BUILD_NOTES.md D-50).
  params, opt_state, batch_stats = jax.lax.cond(
      finite, apply, lambda *old: old, state.params, state.opt_state,
      state.batch_stats)
  new_state = TrainState(
      step=state.step + 1, skipped=state.skipped + ~finite,
      skipped_in_row=jnp.where(finite, 0, state.skipped_in_row + 1),
      params=params, batch_stats=batch_stats, opt_state=opt_state)
  return new_state, {'loss': value, 'block_loss': per_block, 'nme': nme,
                     'grad_norm': grad_norm, 'finite': finite}


def _sum_over_devices(tree, axis_name):
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def parallel(step: Callable[..., Any], devices: list[jax.Device] | None = None
             ) -> Callable[..., Any]:
  """Runs a training step on several devices: the only `pmap` of the project.

  One logical state goes in and comes out (no replicas), donated; rows and sample
  ids carry a leading device axis, see `split_over`. What has none must lie on the
  devices as `replicate` puts it: anything else is copied at every call, and a
  state that comes in otherwise than it goes out compiles the step twice.

  Args:
    step: (state, rows, samples, geometry, landmark_model) -> (state, metrics),
      made with axis_name=AXIS.
    devices: default: all local ones.

  Returns:
    The mapped function.
  """
  return jax.pmap(step, axis_name=AXIS, in_axes=(None, 0, 0, None, None),
                  out_axes=(None, None), donate_argnums=(0,), devices=devices)


def replicate(tree: Any, devices: list[jax.Device]) -> Any:
  """Puts one logical copy of a tree on several devices, whole on each.

  Args:
    tree: leaves of any shape. On one device that they lie on already they are
      not copied: donating the result uses the originals up.
    devices: those of `parallel`.

  Returns:
    The same tree, of JAX arrays.
  """
  return jax.device_put(tree, NamedSharding(Mesh(devices, (AXIS,)),
                                            PartitionSpec()))


def distribute(tree: Any, devices: list[jax.Device]) -> Any:
  """Puts every device's share of a batch on that device; returns at once.

  Args:
    tree: leaves (D, B / D, ...) of `split_over`.
    devices: those of `parallel`.

  Returns:
    The same tree, of JAX arrays.
  """
  return jax.device_put(tree, _by_device(devices))


def _by_device(devices):
  return NamedSharding(Mesh(devices, (AXIS,)), PartitionSpec(AXIS))


def make_gather(dataset: CropRows, devices: list[jax.Device]
                ) -> Callable[[Array], CropRows]:
  """Keeps a whole data set on every device, and takes batches out of it there.

  A program of its own, not a part of the step: the step is the same, bit for bit,
  as with rows that come from the host.

  Args:
    dataset: all M rows.
    devices: those of `parallel`.

  Returns:
    (D, B / D) sample ids -> rows with leading axes (D, B / D), each device's share
    on that device.
  """
  dataset = replicate(dataset, devices)
  take = jax.jit(
      lambda dataset, ids: jax.tree.map(lambda column: column[ids], dataset),
      out_shardings=_by_device(devices))
  return lambda ids: take(dataset, ids)


def split_over(tree: Any, num_devices: int) -> Any:
  """Gives every leaf a leading device axis.

  Args:
    tree: leaves (B, ...).
    num_devices: D.

  Returns:
    Leaves (D, B / D, ...).

  Raises:
    ValueError: if B does not split evenly.
  """
  batch = jax.tree.leaves(tree)[0].shape[0]
  if batch % num_devices:
    raise ValueError(
        f'batch_size={batch} does not split over {num_devices} devices; use a '
        f'multiple of {num_devices}.')
  return jax.tree.map(
      lambda x: x.reshape((num_devices, batch // num_devices) + x.shape[1:]),
      tree)


def init_state(variables: dict[str, Any],
               optimizer: optax.GradientTransformation) -> TrainState:
  """The state before the first step.

  Args:
    variables: of `network.init_variables`.
    optimizer: of `make_optimizer`.

  Returns:
    A TrainState at step 0.
  """
  # Three arrays, not one thrice: a donated buffer may appear only once.
  return TrainState(step=jnp.zeros((), jnp.int32),
                    skipped=jnp.zeros((), jnp.int32),
                    skipped_in_row=jnp.zeros((), jnp.int32),
                    params=variables['params'],
                    batch_stats=variables['batch_stats'],
                    opt_state=optimizer.init(variables['params']))


def evaluate_rows(variables: dict[str, Any], rows: CropRows,
                  geometry: NetworkGeometry, landmark_model: MorphableModel, *,
                  network: PifaNetwork, keys: Array | None = None,
                  augment: AugmentConfig | None = None
                  ) -> dict[str, jax.Array]:
  """What evaluation needs of a batch: predictions and labels, block by block.

  Args:
    variables: {'params', 'batch_stats'}.
    rows: packed crops.
    geometry: of `network_geometry`.
    landmark_model: of the evaluation scheme.
    network: with axis_name=None.
    keys: (B,) keys, to jitter the boxes as in training; None = boxes as given.
    augment: with keys: only its box jitter should be on.

  Returns:
    'landmarks' (1 + N_v, B, N, 2) crop pixels: of P^0 and after every block;
    'visible' (B, N) and 'params' (B, 8 + ...) of the last block; 'image', and
    'target' and 'target_visible' of the labels; 'box_size' (B,) sqrt(w h) of the
    provided box and 'scale' (B,) of a packed pixel, crop pixels; 'drawings', a
    tuple of (B, h, w).
  """
  chex.assert_equal(network.axis_name, None)
  batch = make_batch(rows, network.config.crop_size,
                     landmark_model.num_identity, keys=keys, augment=augment)
  outputs = network.apply(variables, batch.image, geometry, train=False)
  last = outputs['params'][-1]
  normals = landmark_model.mean_normals
  visible = jax.vmap(
      lambda camera: projection.frontability(camera, normals) > 0)(
          last[:, :8].reshape(-1, 2, 4))
  return {'landmarks': block_landmarks(outputs, landmark_model),
          'visible': visible, 'params': last, 'image': batch.image,
          'target': batch.landmarks, 'target_visible': batch.visible,
          'box_size': batch.box_size,
          'scale': batch.box_size / jnp.sqrt(rows.box[:, 2] * rows.box[:, 3]),
          'drawings': outputs['visualization']}
