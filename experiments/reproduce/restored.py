"""A trained network as the figures take it."""

import dataclasses
from typing import Any

from experiments.lib import cli, restore
from experiments.lib.config import RunConfig
from pifa_jax import face_models
from pifa_jax.types import MorphableModel


@dataclasses.dataclass(frozen=True)
class Restored:
  """Trained weights and what they belong to.

  Attributes:
    config: what the run computed.
    variables: {'params', 'batch_stats'} of its network.
    model: its face model.
    digest: of the checkpoint; '' if it does not matter.
  """

  config: RunConfig
  variables: dict[str, Any]
  model: MorphableModel
  digest: str = ''


def open_restored(name: str | None = None, weights: str = 'latest') -> Restored:
  """Reads trained weights.

  Args:
    name: a work folder, a file of weights, or 'builtin'; None is 'builtin', the weights
      that come with the package.
    weights: 'latest' or 'best', of a work folder.

  Returns:
    The weights.

  Raises:
    UserError: if there are none, or their face model has changed since.
    ValueError: if a file does not hold weights.
  """
  run = restore.open_run(name)
  model = face_models.load_face_model(run.config.face_model)
  if run.config.face_model_hash not in restore.hashes_of(model):
    raise cli.UserError(
      f'The face model {run.config.face_model} is not the one that '
      f'{name or "builtin"} was trained with (its hash differs), or that had landmarks '
      'from a file; figures need the very face model.'
    )
  _, variables, digest = run.load(model, weights)
  return Restored(run.config, variables, model, digest)
