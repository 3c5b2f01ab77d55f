"""What a run of the benchmark measures: the flags as one frozen object."""

import dataclasses

import jax

from pifa_jax.learning.batching import AugmentConfig
from pifa_jax.learning.network_config import NetworkConfig
from pifa_jax.learning.optimizer import OptimizerConfig
from pifa_jax.learning.training import LossConfig


@dataclasses.dataclass(frozen=True)
class Settings:
  """What all parts of the benchmark need to build their cases.

  Attributes:
    devices: the devices that share every batch, one at least.
    face_model: name or path of the 3DMM.
    num_vertices: Q of the parts projection, layer and linearity; 0 = the rendered
      vertices of `face_model`.
    image_size: side of the visualization V, pixels.
    radius: of the window D(u, v), cells.
    dtype: 'float32' or 'float64', of the face model and the ceilings.
    seed: of everything random.
    peers: whether other implementations of the layer are measured too.
    dense_vertices: Q of the dense reference implementation.
    exits: numbers of blocks after which the part network is stopped, too.
    peer_networks: files of other networks, for the part network.
    preset: name of the network's preset, for the names of the cases.
    network: the network of the parts network, train, data and align.
    optimizer: of the part train.
    loss: of the part train.
    augment: of the parts train and data.
    num_steps: length of the learning rate schedule, steps.
  """

  devices: tuple[jax.Device, ...]
  face_model: str
  num_vertices: int
  image_size: int
  radius: int
  dtype: str
  seed: int
  peers: bool
  dense_vertices: int
  exits: tuple[int, ...]
  peer_networks: tuple[str, ...]
  preset: str
  network: NetworkConfig
  optimizer: OptimizerConfig
  loss: LossConfig
  augment: AugmentConfig
  num_steps: int
