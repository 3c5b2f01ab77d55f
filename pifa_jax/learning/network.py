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

from pifa_jax.geometry import boxes, masks, morphable_model, projection
from pifa_jax.geometry.all_vertices import visualize_all
from pifa_jax.geometry.visualization import visualize
from pifa_jax.learning.blocks import make_block
from pifa_jax.learning.network_config import NetworkConfig
from pifa_jax.types import (
  Array,
  FaceParams,
  MorphableModel,
  flatten_params,
  unflatten_params,
)


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
    displacements: (8 + N_I + N_E,) sum of the squared displacements of the 68
      landmarks per unit of every parameter, square crop pixels, at P^0.
  """

  rendered: MorphableModel
  mask: Array
  small_rendered: MorphableModel | None
  small_mask: Array | None
  initial: FaceParams
  scales: Array
  displacements: Array


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
  initial = boxes.initial_params(model, config.crop_size, config.crop_scale)

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
    displacements=landmark_displacements(model, initial),
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


def landmark_displacements(model: MorphableModel, initial: FaceParams) -> jax.Array:
  """How far every parameter moves the 68 landmarks: the diagonal of J^T J.

  J holds the derivatives of the landmarks (Eq. 3) after P, at P^0. As the diagonal of
  W in Eq. (6) it makes that loss the landmark loss of Eq. (7), but for what parameters
  do to each other.

  Args:
    model: the 3DMM, with the 'ibug68' scheme.
    initial: P^0, crop pixels.

  Returns:
    (8 + N_I + N_E,) square pixels per squared unit of the parameter.
  """
  part = projection.landmark_model(model, 'ibug68')

  def landmarks(vector):
    face = unflatten_params(vector, part.num_identity)
    return projection.project(face.camera, morphable_model.shape(part, face))

  jacobian = jax.jit(jax.jacrev(landmarks))(flatten_params(initial))
  return jnp.sum(jacobian**2, axis=(0, 1))


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
    if train and cfg.frozen_blocks >= cfg.num_blocks:
      raise ValueError(
        f'frozen_blocks={cfg.frozen_blocks} of {cfg.num_blocks} blocks leaves none to '
        'train; freeze fewer.'
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
      visualization = None
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
        visualization = visualization[..., None]
      features, update = make_block(
        cfg,
        index=index,
        update_size=self.num_params,
        axis_name=self.axis_name,
        name=f'block{index + 1}',
      )(
        *self._image_and_features(index, image, small_image, features),
        visualization,
        train=train and index >= cfg.frozen_blocks,
        dropout_keys=_fold_keys(dropout_keys, index),
      )
      if index < cfg.frozen_blocks:
        # Nobody asks for its gradient, so that none is computed.
        features, update = jax.lax.stop_gradient((features, update))
      vector = vector + geometry.scales * update
      updates.append(update)
      after.append(vector)
    return {
      'params': jnp.stack(after),
      'inputs': jnp.stack(before),
      'updates': jnp.stack(updates),
      'visualization': tuple(visualizations),
    }

  def _image_and_features(self, index, image, small_image, features):
    """I and F of a block, as far as it sees them (Fig. 6)."""
    if index == 0:
      return image, None
    inputs = self.config.inputs
    return (small_image if 'I' in inputs else None, features if 'F' in inputs else None)

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

    render = visualize if cfg.depth_test else visualize_all

    def one_face(vector):
      face = unflatten_params(vector, model.num_identity)
      face = face.replace(camera=boxes.scale_camera(face.camera, factor))
      return render(
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
