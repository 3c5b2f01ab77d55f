"""A small network with random weights, for tests of the exported files."""

import dataclasses
from typing import Any

import jax
import numpy as np

from experiments.export import face_function
from pifa_jax.learning import network
from pifa_jax.types import MorphableModel
from tests.toy_model import make_toy_model

CONFIG = dataclasses.replace(
  network.PRESETS['tiny'],
  channels=(4, 6, 6, 6),
  kernels=(5, 3, 3, 3),
  fc_pool=4,
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

  def function(self, net: network.PifaNetwork | None = None):
    """The exported function, of `net` or of its own network."""
    return face_function.face_function(
      net or self.net, self.variables, self.geometry, self.model, 'ibug68'
    )


def make_small() -> Small:
  """Makes it; deterministic."""
  model = make_toy_model()
  net = network.PifaNetwork(CONFIG, model.num_params)
  geometry = network.network_geometry(model, CONFIG)
  variables = network.init_variables(net, geometry, 0)
  # Fresh networks leave P where it is.
  larger = lambda path, x: x * 100 if 'fc2' in jax.tree_util.keystr(path) else x
  return Small(
    net, jax.tree_util.tree_map_with_path(larger, variables), geometry, model
  )


def crops(count: int) -> np.ndarray:
  """(count, S, S, 3) uint8 noise."""
  size = CONFIG.crop_size
  return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
