"""A small network with random weights, for tests of the exported files."""

import dataclasses
from typing import Any

import jax
import numpy as np

from experiments.export import face_function
from pifa_jax.learning import network, network_config
from pifa_jax.learning.network_config import NetworkConfig
from pifa_jax.types import MorphableModel
from tests.toy_model import make_toy_model

CONFIG = dataclasses.replace(
  network_config.PRESETS['tiny'],
  channels=(4, 6, 6, 6),
  kernels=(5, 3, 3, 3),
  fc_pool=4,
  hidden_size=8,
)
RESIDUAL = dataclasses.replace(
  network_config.PRESETS['residual'],
  crop_size=48,
  stem_pool=2,
  units=(1, 1, 1),
  width=8,
  hidden_size=8,
)


@dataclasses.dataclass(frozen=True)
class Small:
  """All that a function of crops is made of.

  Attributes:
    net: the network.
    variables: its weights; the updates of P are large enough to turn the face.
    geometry: of the model.
    model: the toy face.
  """

  net: network.PifaNetwork
  variables: dict[str, Any]
  geometry: network.NetworkGeometry
  model: MorphableModel

  def function(self):
    """The exported function."""
    return face_function.face_function(
      self.net, self.variables, self.geometry, self.model, 'ibug68'
    )


def make_small(config: NetworkConfig = CONFIG) -> Small:
  """Makes it; deterministic.

  Args:
    config: of the network.
  """
  model = make_toy_model()
  net = network.PifaNetwork(config, model.num_params)
  geometry = network.network_geometry(model, config)
  variables = network.init_variables(net, geometry, 0)
  rng = np.random.default_rng(0)

  def trained(path, x):
    name = jax.tree_util.keystr(path)
    # Fresh networks leave P where it is, and fresh normalisation changes nothing.
    if 'fc2' in name:
      return x * 100
    if 'scale' in name or 'var' in name:
      return rng.uniform(0.5, 1.5, x.shape).astype(np.float32)
    if 'mean' in name or ('bias' in name and 'fc' not in name):
      return rng.normal(0, 0.2, x.shape).astype(np.float32)
    return x

  return Small(
    net, jax.tree_util.tree_map_with_path(trained, variables), geometry, model
  )


def crops(count: int, size: int = CONFIG.crop_size) -> np.ndarray:
  """(count, size, size, 3) uint8 noise."""
  return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
