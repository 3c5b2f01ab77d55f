"""FLOPs and bytes of every case, counted by hand.

A multiply-add is two FLOPs. Bytes are those that must be read or written at least
once a call. The symbols: Q vertices, K = N_I + N_E basis shapes.
"""

import dataclasses

import numpy as np

from pifa_jax.datasets import crop_cache
from pifa_jax.learning import blocks
from pifa_jax.learning.network_config import NetworkConfig
from pifa_jax.types import MorphableModel

# The paper's training schedule: 33 epochs of 3,901 faces with 20 boxes each (Sec. 4).
SCHEDULE_SAMPLES = 33 * 78020


@dataclasses.dataclass(frozen=True)
class Counts:
  """The work of one call; 0 = not counted.

  Attributes:
    flops: of the call.
    bytes: read and written at least once.
  """

  flops: float = 0.0
  bytes: float = 0.0


@dataclasses.dataclass(frozen=True)
class ShapeCost:
  """The cost of Eq. (1) for one face.

  Attributes:
    flops: of the product of coefficients and bases, 2 K 3Q.
    basis_bytes: of the bases and the mean shape, 3 (K + 1) Q numbers.
    vertex_bytes: of the result, 3 Q numbers.
  """

  flops: int
  basis_bytes: int
  vertex_bytes: int


def shape_cost(model: MorphableModel) -> ShapeCost:
  """Counts Eq. (1): S_p = S_0 + the weighted sum of K basis shapes.

  Args:
    model: the 3DMM; its Q, K and dtype count.

  Returns:
    The cost of one face.
  """
  count = model.num_identity + model.num_expression
  item = np.dtype(model.mean_shape.dtype).itemsize
  return ShapeCost(
    flops=6 * count * model.num_vertices,
    basis_bytes=3 * (count + 1) * model.num_vertices * item,
    vertex_bytes=3 * model.num_vertices * item,
  )


def shape(model: MorphableModel, batch: int) -> Counts:
  """Counts Eq. (1) for a batch; the bases are read once a batch.

  Args:
    model: the 3DMM.
    batch: faces.

  Returns:
    The work of one call.
  """
  cost = shape_cost(model)
  return Counts(
    flops=batch * cost.flops, bytes=cost.basis_bytes + batch * cost.vertex_bytes
  )


def shape_and_projection(model: MorphableModel, batch: int) -> Counts:
  """Counts Eqs. (1)-(3): 12 Q FLOPs more for the camera, 2 Q numbers written.

  Args:
    model: the 3DMM.
    batch: faces.

  Returns:
    The work of one call.
  """
  cost = shape_cost(model)
  return Counts(
    flops=batch * (cost.flops + 12 * model.num_vertices),
    bytes=cost.basis_bytes + batch * cost.vertex_bytes * 2 / 3,
  )


def shape_along_axes(model: MorphableModel, batch: int) -> Counts:
  """Counts positions and depth without the vertices: 18 Q FLOPs more than Eq. (1).

  Args:
    model: the 3DMM.
    batch: faces.

  Returns:
    The work of one call; 3 Q numbers are written a face.
  """
  cost = shape_cost(model)
  return Counts(
    flops=batch * (cost.flops + 18 * model.num_vertices),
    bytes=cost.basis_bytes + batch * cost.vertex_bytes,
  )


def layer(
  model: MorphableModel, batch: int, image_size: int, radius: int, *, products: int
) -> Counts:
  """Counts the visualization layer, Eqs. (8)-(10).

  FLOPs beside the shape products: 30 a vertex, and for every pixel and cell of its
  window 14 forward, 40 more backward. Bytes: the bases once a product, vertices and
  keys written and read once, V written.

  Args:
    model: the 3DMM; all its vertices are rendered.
    batch: faces.
    image_size: side of V, pixels.
    radius: of the window D(u, v), cells.
    products: shape products a face: 0 = the layer after projection, 1 = forward,
      2 = forward and gradient.

  Returns:
    The work of one call.
  """
  cost = shape_cost(model)
  windows = image_size**2 * (2 * radius + 1) ** 2
  # A 4-byte cell and an 8-byte key of every vertex.
  keys = 2 * 12 * model.num_vertices
  return Counts(
    flops=batch
    * (
      products * cost.flops
      + 30 * model.num_vertices
      + windows * (54 if products == 2 else 14)
    ),
    bytes=products * cost.basis_bytes
    + batch * (2 * cost.vertex_bytes * max(products, 1) + keys + 4 * image_size**2),
  )


def network_flops(config: NetworkConfig, rendered: MorphableModel) -> int:
  """Counts one face through the network (Table 1, or residual units).

  Convolutions have 2 h w k^2 c_in c_out, fully connected layers 2 n_in n_out, and
  every visualization one shape product of 2 K 3Q.

  Args:
    config: of the network.
    rendered: the face model that its visualizations show.

  Returns:
    FLOPs.
  """
  if config.units:
    return _residual_flops(config, rendered)
  flops, features = 0, 0
  for block in range(config.num_blocks):
    side = config.crop_size if block == 0 else config.feature_size
    channels = int(config.visualization)
    channels += 3 * ('I' in config.inputs or block == 0)
    channels += features * ('F' in config.inputs and block > 0)
    for conv in range(
      block * config.convs_per_block, (block + 1) * config.convs_per_block
    ):
      features = config.channels[conv]
      flops += 2 * side**2 * config.kernels[conv] ** 2 * channels * features
      channels, side = features, config.feature_size
    flat = (config.feature_size // config.fc_pool) ** 2 * features
    flops += 2 * config.hidden_size * (flat + rendered.num_params)
    flops += shape_cost(rendered).flops * config.visualization
  return flops


def _residual_flops(config, rendered):
  side, width = config.feature_size // 2, config.width
  seen = lambda at_start: (
    int(config.visualization) + 3 * ('I' in config.inputs or at_start)
  )
  conv = lambda side, channels, features: 2 * side**2 * 9 * channels * features
  flops = 0
  for block, units in enumerate(config.units):
    inputs = width
    if block == 0:
      folded = config.stem_pool**2 * seen(True)
      flops += conv(config.feature_size, folded, blocks.ENTRY_CHANNELS)
      flops += conv(side, blocks.ENTRY_CHANNELS, width)
    elif 'F' in config.inputs:
      inputs = 4 * seen(False) + width
    else:
      inputs = 4 * seen(False)
      flops += conv(side, inputs, width)
    middle = width if block == 0 else width // 2
    for unit in range(units):
      flops += conv(side, inputs if unit == 0 else width, middle)
      flops += conv(side, middle, width)
    last = -(-side // 2)
    flops += conv(last, width, blocks.LAST_CHANNELS)
    flat = last**2 * blocks.LAST_CHANNELS
    flops += 2 * config.hidden_size * (flat + rendered.num_params)
    flops += shape_cost(rendered).flops * config.visualization
  return flops


def network(
  config: NetworkConfig, rendered: MorphableModel, batch: int, weight_bytes: int
) -> Counts:
  """Counts the network forward; the weights are read once a batch.

  Args:
    config: of the network.
    rendered: the face model that its visualizations show.
    batch: faces.
    weight_bytes: size of all weights.

  Returns:
    The work of one call.
  """
  return Counts(flops=batch * network_flops(config, rendered), bytes=weight_bytes)


def train_step(
  config: NetworkConfig, rendered: MorphableModel, batch: int, weight_bytes: int
) -> Counts:
  """Counts one training step: three times the FLOPs of the network forward.

  Bytes: weights read forward and backward, gradients written and read, weights and
  momentum read and written.

  Args:
    config: of the network.
    rendered: the face model that its visualizations show.
    batch: faces.
    weight_bytes: size of the trained weights.

  Returns:
    The work of one call.
  """
  return Counts(
    flops=3 * batch * network_flops(config, rendered), bytes=8 * weight_bytes
  )


def make_batch(crop_size: int, batch: int) -> Counts:
  """Counts a batch out of cached crops; FLOPs are not counted.

  Bytes: the cached uint8 crops read and copied, the float32 images written.

  Args:
    crop_size: side of the network's image, pixels.
    batch: faces.

  Returns:
    The work of one call.
  """
  return Counts(bytes=batch * (2 * crop_cache.IMAGE_SIZE**2 * 3 + 4 * crop_size**2 * 3))
