"""The network: visualization blocks (Fig. 3) in a row (Fig. 2, Table 1, Fig. 6).

This module holds layers only and calls the geometry. `PifaNetwork` is a pure
function of (variables, image, geometry): the face model is an argument, not a
constant of the compiled program.
"""

import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax import settings
from pifa_jax.geometry import boxes, masks, morphable_model
from pifa_jax.geometry.visualization import DEFAULT_RADIUS, DEFAULT_SIGMA, visualize
from pifa_jax.settings import setting
from pifa_jax.types import (
  Array,
  FaceParams,
  MorphableModel,
  flatten_params,
  unflatten_params,
)

INPUTS = ('IFV', 'FV', 'IV')
PRECISIONS = ('float32', 'bfloat16')


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
  """The shape of the network. The defaults are the paper's (Sec. 4, Table 1).

  Architectures a, b and c of Fig. 6 and Table 6 are its `inputs`, the blocks and layers
  of Table 8 its `channels` and `convs_per_block`.

  A field that is made by `setting` carries its own help; the others are:

  Attributes:
    crop_size: side of the input image, pixels.
    stem_pool: pooling after the first convolution (2: 114 -> 57).
    channels: filters of every convolution, block after block.
    kernels: kernel sizes, likewise.
    hidden_size: width of the first fully connected layer.
    batch_norm_momentum: decay of the old running statistics.
    splat_sigma: sigma of Eq. (10), pixels of the visualization.
    splat_radius: D(u, v) of Eq. (9), cells.
  """

  crop_size: int = 114
  stem_pool: int = 2
  channels: tuple[int, ...] = (12, 16, 20, 24, 28, 32, 36, 40, 40, 40, 40, 40)
  kernels: tuple[int, ...] = (5, 5, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3)
  convs_per_block: int = setting(2, 'N_c (Table 8).', low=1)
  inputs: str = setting(
    'IFV',
    'What blocks 2.. see (Fig. 6): image I, features F, visualization V.',
    choices=INPUTS,
  )
  mask: str = setting('nose', 'Mask of Eq. (11) (Table 7).', choices=masks.KINDS)
  visualization: bool = setting(
    True, 'Whether the blocks see the visualization V (Sec. 4.3).'
  )
  fc_pool: int = setting(
    1, 'Average pooling before the first FC layer; 1 = none, as in the paper.', low=1
  )
  hidden_size: int = 800
  dropout: float = setting(
    0.5, 'Rate after the first FC layer: BUILD_NOTES.md D-07.', low=0.0, high=0.95
  )
  batch_norm_momentum: float = 0.99
  splat_sigma: float = DEFAULT_SIGMA
  splat_radius: int = DEFAULT_RADIUS
  vertex_spacing: float = setting(
    0.0,
    'Distance between the vertices that blocks 2.. render, in pixels of their '
    'visualization; 0 = all vertices: BUILD_NOTES.md D-55.',
    low=0.0,
  )
  stop_gradient_between_blocks: bool = setting(
    False, 'Cut the gradient between blocks (both blue arrows of Fig. 2): a cascade.'
  )
  precision: str = setting(
    'float32',
    'Of activations and matrix products; geometry, statistics, losses and weights '
    'are float32. bfloat16 is for GPU and TPU: BUILD_NOTES.md D-52.',
    choices=PRECISIONS,
  )

  def __post_init__(self):
    settings.check(self)
    if len(self.channels) != len(self.kernels):
      raise ValueError(
        f'{len(self.channels)} channels but {len(self.kernels)} kernel sizes; give '
        'one kernel size for each convolution.'
      )
    if len(self.channels) % self.convs_per_block:
      raise ValueError(
        f'{len(self.channels)} convolutions do not split into blocks of '
        f'convs_per_block={self.convs_per_block}; use a divisor.'
      )
    if self.crop_size % self.stem_pool:
      raise ValueError(
        f'crop_size={self.crop_size} is not a multiple of stem_pool={self.stem_pool}.'
      )

  @property
  def num_blocks(self) -> int:
    """N_v."""
    return len(self.channels) // self.convs_per_block

  def with_num_blocks(self, num_blocks: int) -> 'NetworkConfig':
    """The same network with another number of blocks (Table 8).

    Args:
      num_blocks: N_v. The lists of convolutions are cut, or continued with their
        last entries.

    Returns:
      The new configuration.
    """
    wanted = num_blocks * self.convs_per_block
    resized = lambda values: (values + values[-1:] * wanted)[:wanted]
    return dataclasses.replace(
      self, channels=resized(self.channels), kernels=resized(self.kernels)
    )

  @property
  def feature_size(self) -> int:
    """Side of F, and of I and V from block 2 on, pixels."""
    return self.crop_size // self.stem_pool


PRESETS = {
  'paper': NetworkConfig(),
  'small': NetworkConfig(
    crop_size=112,
    stem_pool=4,
    fc_pool=2,
    hidden_size=512,
    dropout=0.2,
    batch_norm_momentum=0.95,
  ),
  'tiny': NetworkConfig(
    crop_size=56,
    stem_pool=2,
    fc_pool=2,
    hidden_size=256,
    channels=(12, 16) + (20,) * 10,
    dropout=0.1,
    batch_norm_momentum=0.95,
  ),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NetworkGeometry:
  """What the network knows of the face model: made once, an argument of every call.

  Attributes:
    rendered: the face model on the vertices that are rendered.
    mask: (Q_rendered,) a of Eq. (11).
    small_rendered: the face model on fewer vertices, for the small visualizations of
      blocks 2..; None = they take `rendered` again.
    small_mask: a on these vertices, or None.
    initial: P^0 in crop pixels; a constant of the crop (BUILD_NOTES.md D-06).
    scales: (8 + N_I + N_E,) the natural scale of every parameter: the network's
      raw update is multiplied by it, and Eq. (6)'s residual divided by it.
  """

  rendered: MorphableModel
  mask: Array
  small_rendered: MorphableModel | None
  small_mask: Array | None
  initial: FaceParams
  scales: Array


def network_geometry(model: MorphableModel, config: NetworkConfig) -> NetworkGeometry:
  """Prepares a face model for the network.

  Args:
    model: the 3DMM.
    config: gives crop size and mask.

  Returns:
    Arrays that the network and the losses take beside the weights.
  """
  mask = masks.vertex_mask(model, config.mask)
  rendered = np.asarray(masks.rendered_vertices(model))
  initial = boxes.initial_params(model, config.crop_size)

  # Schemes and regions index the whole model; the visualization needs neither.
  def part(ids):
    part = morphable_model.restrict(model, ids).replace(
      landmark_schemes={}, regions={}, triangles=np.zeros((0, 3), np.int32)
    )
    # Other devices do not read them.
    return morphable_model.tile(part) if jax.default_backend() == 'cpu' else part

  small_rendered = small_mask = None
  if config.vertex_spacing:
    pixels_per_unit = (
      np.linalg.norm(np.asarray(initial.camera)[0, :3]) / config.stem_pool
    )
    few = masks.subsample_vertices(
      model, rendered, config.vertex_spacing / pixels_per_unit
    )
    small_rendered, small_mask = part(few), mask[few]
  return NetworkGeometry(
    rendered=part(rendered),
    mask=mask[rendered],
    small_rendered=small_rendered,
    small_mask=small_mask,
    initial=initial,
    scales=param_scales(model, initial, config.crop_size),
  )


# Typical distance of (m4, m8) from P^0's, in crop sides: +-10 % box jitter and
# the shift of the projected centre with pose. BUILD_NOTES.md D-10.
TRANSLATION_SCALE = 0.1


def param_scales(
  model: MorphableModel, initial: FaceParams, crop_size: int
) -> jax.Array:
  """The natural scale s of every parameter: what whitening divides by.

  Shape: the model's standard deviations. Rotation: the rms of the six scaled
  rotation entries, the same for every rotation of P^0's size. Translation: a
  fixed share of the crop. These scales make rotation and translation commensurate,
  as the ratio r under Eq. (6) does.

  Args:
    model: the 3DMM.
    initial: P^0.
    crop_size: pixels.

  Returns:
    (8 + N_I + N_E,) in the order of `flatten_params`.
  """
  rotation = jnp.sqrt(jnp.mean(initial.camera[:, :3] ** 2))
  row = jnp.array([rotation] * 3 + [TRANSLATION_SCALE * crop_size])
  return flatten_params(
    FaceParams(
      camera=jnp.stack([row, row]),
      identity=jnp.asarray(model.identity_stddev, jnp.float32),
      expression=jnp.asarray(model.expression_stddev, jnp.float32),
    )
  )


class VisualizationBlock(nn.Module):
  """One visualization block (Fig. 3): convolutions, then the update of P.

  Attributes:
    config: the network's.
    index: of the block, from 0.
    update_size: 8 + N_I + N_E.
    axis_name: the mapped axis over which batch statistics are averaged.
  """

  config: NetworkConfig
  index: int
  update_size: int
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self, inputs: Array, *, train: bool, dropout_keys: Array | None
  ) -> tuple[Array, Array]:
    """Maps (B, H, W, C) inputs to features and the whitened update.

    Args:
      inputs: (B, H, W, C).
      train: batch statistics and dropout (True) or the running ones (False).
      dropout_keys: (B,) a key a sample; needed when training.

    Returns:
      (B, h, w, c) features after BN and ReLU in the config's precision, and
      (B, update_size) float32.
    """
    cfg = self.config
    dtype = jnp.dtype(cfg.precision)
    x = inputs.astype(dtype)
    first = self.index * cfg.convs_per_block
    for conv in range(first, first + cfg.convs_per_block):
      local = conv - first + 1
      size = cfg.kernels[conv]
      x = nn.Conv(
        cfg.channels[conv],
        (size, size),
        padding='SAME',
        use_bias=False,
        kernel_init=nn.initializers.he_normal(),
        dtype=dtype,
        name=f'conv{local}',
      )(x)
      # Flax takes the statistics in float32 whatever the dtype of x.
      x = nn.BatchNorm(
        use_running_average=not train,
        axis_name=self.axis_name,
        momentum=cfg.batch_norm_momentum,
        dtype=dtype,
        name=f'bn{local}',
      )(x)
      x = nn.relu(x)
      if conv == 0 and cfg.stem_pool > 1:
        pool = (cfg.stem_pool, cfg.stem_pool)
        x = nn.max_pool(x, pool, strides=pool)
    features = x
    if cfg.fc_pool > 1:
      pool = (cfg.fc_pool, cfg.fc_pool)
      x = nn.avg_pool(x, pool, strides=pool)
    x = x.reshape((x.shape[0], -1))
    x = nn.relu(nn.Dense(cfg.hidden_size, dtype=dtype, name='fc1')(x))
    if train and cfg.dropout > 0:
      x = _dropout(x, dropout_keys, cfg.dropout)
    # Near zero: training starts from the mean face in the box, P = P^0. In float32:
    # P adds up the updates of all blocks, and this product is a thousandth of fc1's.
    update = nn.Dense(
      self.update_size,
      name='fc2',
      dtype=jnp.float32,
      kernel_init=nn.initializers.normal(1e-3),
    )(x)
    return features, update


def _dropout(x, keys, rate):
  # One key a sample, not one a batch: the same units drop on any device count.
  keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
  return jnp.where(keep, x / (1 - rate), 0.0)


class PifaNetwork(nn.Module):
  """The whole network (Fig. 2): P^0 refined by every block in turn.

  Attributes:
    config: its shape.
    num_params: 8 + N_I + N_E of the face model.
    axis_name: mapped axis of synchronised batch normalisation, or None.
  """

  config: NetworkConfig
  num_params: int
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    image: Array,
    geometry: NetworkGeometry,
    *,
    train: bool = False,
    dropout_keys: Array | None = None,
    initial: FaceParams | None = None,
  ) -> dict[str, Any]:
    """Fits a face to every image.

    Args:
      image: (B, crop_size, crop_size, 3) in [-1, 1].
      geometry: of `network_geometry`, for the same config.
      train: batch statistics and dropout on.
      dropout_keys: (B,) a key a sample; needed when training.
      initial: P^0 with a leading B, crop pixels; None takes the geometry's.

    Returns:
      'params': (N_v, B, 8 + N_I + N_E) P after every block, crop pixels.
      'inputs': (N_v, B, ...) P before every block.
      'updates': (N_v, B, ...) the whitened updates dP / s.
      'visualization': V of every block, a tuple of (B, h, w).

    Raises:
      ValueError: while tracing, if image or geometry do not fit the config.
    """
    cfg = self.config
    size = cfg.crop_size
    if image.shape[1:] != (size, size, 3):
      raise ValueError(
        f'The network takes images of shape (B, {size}, {size}, '
        f'3) but got {tuple(image.shape)}; crop and resize first.'
      )
    if geometry.rendered.num_params != self.num_params:
      raise ValueError(
        f'The face model has {geometry.rendered.num_params} parameters but the '
        f'network was made for {self.num_params}; use the face model that it '
        'was trained with.'
      )
    batch = image.shape[0]
    start = geometry.initial if initial is None else initial
    vector = flatten_params(start)
    if initial is None:
      vector = jnp.broadcast_to(vector, (batch, self.num_params))
    small_image = _average_pool(image, cfg.stem_pool)
    features = None
    before, after, updates, visualizations = [], [], [], []
    for index in range(cfg.num_blocks):
      if cfg.stop_gradient_between_blocks:
        vector = jax.lax.stop_gradient(vector)
        if features is not None:
          features = jax.lax.stop_gradient(features)
      before.append(vector)
      inputs = self._block_inputs(index, image if index == 0 else small_image, features)
      if cfg.visualization:
        # Unless it was given, P^0 is the same face in every crop: rendered once.
        same = index == 0 and initial is None
        visualization = self._visualize(
          vector[:1] if same else vector, geometry, small=index > 0
        )
        visualization = jnp.broadcast_to(
          visualization, (batch,) + visualization.shape[1:]
        )
        visualizations.append(visualization)
        inputs.append(visualization[..., None])
      features, update = VisualizationBlock(
        cfg, index, self.num_params, self.axis_name, name=f'block{index + 1}'
      )(
        jnp.concatenate(inputs, axis=-1),
        train=train,
        dropout_keys=_fold_keys(dropout_keys, index),
      )
      vector = vector + geometry.scales * update
      updates.append(update)
      after.append(vector)
    return {
      'params': jnp.stack(after),
      'inputs': jnp.stack(before),
      'updates': jnp.stack(updates),
      'visualization': tuple(visualizations),
    }

  def _block_inputs(self, index, image, features):
    """I and F of a block; V is added after (Fig. 6)."""
    if index == 0:
      return [image]
    inputs = []
    if 'I' in self.config.inputs:
      inputs.append(image)
    if 'F' in self.config.inputs:
      inputs.append(features)
    return inputs

  def _visualize(self, vector, geometry, small):
    cfg = self.config
    side = cfg.feature_size if small else cfg.crop_size
    factor = side / cfg.crop_size
    few = small and geometry.small_rendered is not None
    model, mask = (
      (geometry.small_rendered, geometry.small_mask)
      if few
      else (geometry.rendered, geometry.mask)
    )

    def one_face(vector):
      face = unflatten_params(vector, model.num_identity)
      face = face.replace(camera=boxes.scale_camera(face.camera, factor))
      return visualize(
        model,
        face,
        image_size=side,
        mask=mask,
        sigma=cfg.splat_sigma,
        radius=cfg.splat_radius,
      )

    return jax.vmap(one_face)(vector)


def _average_pool(image, factor):
  """I at the size of the features: the mean of factor x factor pixels."""
  b, h, w, c = image.shape
  return image.reshape(b, h // factor, factor, w // factor, factor, c).mean(axis=(2, 4))


def _fold_keys(keys, data):
  if keys is None:
    return None
  return jax.vmap(lambda key: jax.random.fold_in(key, data))(keys)


def init_variables(
  network: PifaNetwork, geometry: NetworkGeometry, seed: int
) -> dict[str, Any]:
  """Fresh weights and batch statistics.

  Args:
    network: built WITHOUT an axis name, or with one outside a mapped function.
    geometry: for the same config.
    seed: of the initialisers.

  Returns:
    {'params': ..., 'batch_stats': ...}.
  """
  size = network.config.crop_size
  # Initialised outside any mapped axis, where the axis name would be unbound.
  network = network.clone(axis_name=None)
  return dict(
    jax.jit(network.init)(jax.random.key(seed), jnp.zeros((1, size, size, 3)), geometry)
  )
