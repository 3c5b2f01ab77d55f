"""Opens trained weights: a work folder of experiments.train, or a file of them."""

import dataclasses
import os
from typing import Any, Collection

from absl import flags
import flax.traverse_util
import numpy as np

from experiments.lib import cli, data_loading
from experiments.lib import config as config_lib
from pifa_jax import face_models
from pifa_jax.learning import checkpoints, network, optimizer, training
from pifa_jax.learning.weights import TrainedWeights, load_weights
from pifa_jax.types import MorphableModel


@dataclasses.dataclass(frozen=True)
class TrainedRun:
  """A training run on disk, its weights not yet read.

  Attributes:
    folder: its work folder.
    config: what it computed.
    keeper: its checkpoints.
  """

  folder: str
  config: config_lib.RunConfig
  checkpointer: checkpoints.Checkpointer

  def load(
    self, model: MorphableModel, weights: str
  ) -> tuple[int, dict[str, Any], str]:
    """Reads the weights.

    Args:
      model: of `face_model`.
      weights: 'latest' or 'best'.

    Returns:
      The step, {'params', 'batch_stats'}, and the checkpoint's hash.

    Raises:
      CheckpointError: if no checkpoint is whole.
    """
    net = network.PifaNetwork(self.config.network, model.num_params)
    geometry = network.network_geometry(model, self.config.network)
    template = training.init_state(
      network.init_variables(net, geometry, self.config.seed),
      optimizer.make_optimizer(self.config.optimizer, self.config.num_steps),
    )
    restore = (
      self.checkpointer.restore_best
      if weights == 'best'
      else self.checkpointer.restore_latest
    )
    step, state, _ = restore(template)
    return (
      step,
      {'params': state.params, 'batch_stats': state.batch_stats},
      self.checkpointer.content_hash(step),
    )


@dataclasses.dataclass(frozen=True)
class WeightsFile:
  """A file of weights, as if it were the run that made it.

  Attributes:
    folder: where results on it go.
    config: what the run computed.
    content: of the file.
  """

  folder: str
  config: config_lib.RunConfig
  content: TrainedWeights

  def load(
    self, model: MorphableModel, weights: str
  ) -> tuple[int, dict[str, Any], str]:
    """As `TrainedRun.load`; there is only one state to choose from."""
    del model, weights
    return (
      self.content.card['step'],
      self.content.variables,
      self.content.content_hash[:12],
    )


def open_run(name: str | None) -> TrainedRun | WeightsFile:
  """Opens a training run, or what was exported from one.

  Args:
    name: its work folder, a file of weights, or 'builtin'; None is 'builtin'.

  Returns:
    The run.

  Raises:
    UserError: if there is none, or no finished checkpoint in it.
    ValueError: if a file does not hold weights.
  """
  folder = name or 'builtin'
  if folder == 'builtin' or os.path.isfile(folder):
    content = load_weights(folder)
    results = (
      os.path.join('runs', 'builtin')
      if folder == 'builtin'
      else os.path.splitext(folder)[0]
    )
    return WeightsFile(
      results, config_lib.RunConfig.from_json(content.card['config']), content
    )
  inside = os.path.join(os.path.abspath(folder), 'checkpoints')
  checkpointer = checkpoints.Checkpointer(inside)
  newest = checkpointer.latest_intact_step()
  if newest is None:
    raise cli.UserError(
      f'There is no finished checkpoint in {inside}; train '
      f'with --workdir={folder} first.'
    )
  return TrainedRun(
    folder,
    config_lib.RunConfig.from_json(checkpointer.meta(newest)['config']),
    checkpointer,
  )


def face_model(
  run: TrainedRun | WeightsFile, f: flags.FlagValues, log: data_loading.Log
) -> MorphableModel:
  """The face model of a run, with the landmark file of --landmark_scheme in it.

  Args:
    run: the run, which knows its own face model: --face_model is set to it.
    f: the flags.
    say: prints a sentence for the user.

  Returns:
    The model.

  Raises:
    UserError: if it is not to be had any more.
  """
  f.face_model = run.config.face_model
  model = face_models.load_face_model(f.face_model)
  scheme = run.config.landmark_scheme
  if (
    scheme in model.landmark_schemes
    and face_models.face_model_hash(model, scheme) == run.config.face_model_hash
  ):
    return model
  # A landmark file is a part of the model that the run was trained with.
  if os.path.isfile(f.landmark_scheme):
    model, scheme = data_loading.scheme_of(model, f, 'test', log)
    if face_models.face_model_hash(model, scheme) == run.config.face_model_hash:
      return model
  raise cli.UserError(
    f'--face_model={f.face_model} is not the face model of the checkpoint (its '
    'hash differs); pass the .npz, and the file of --landmark_scheme if there was '
    'one, that it was trained with.'
  )


def hashes_of(model: MorphableModel) -> set[str]:
  """What runs may have recorded of a face model: a hash for every landmark scheme.

  Args:
    model: the face model, without landmark files.

  Returns:
    The hashes of the model with each of its landmark schemes.
  """
  return {face_models.face_model_hash(model, name) for name in model.landmark_schemes}


def start_from(
  name: str,
  config: config_lib.RunConfig,
  variables: dict[str, Any],
  model: MorphableModel,
  hashes: Collection[str],
) -> tuple[config_lib.RunConfig, dict[str, Any]]:
  """Trained weights in place of the random ones of a new run.

  Args:
    name: as `open_run` takes it; of a run, its newest checkpoint.
    config: the new run's.
    variables: its {'params', 'batch_stats'}, for their names and shapes.
    model: its face model.
    hashes: of what may pass for it; a landmark file changes only the labels.

  Returns:
    The configuration, which now names the weights, and the variables.

  Raises:
    UserError: if they are of another network or face model.
  """
  run = open_run(name)
  if run.config.face_model_hash not in hashes:
    raise cli.UserError(
      f'--initial_weights={name} were trained with another face model '
      f'({run.config.face_model}); pass --face_model={run.config.face_model}.'
    )
  _, found, digest = run.load(model, 'latest')
  shapes = lambda tree: {
    key: np.shape(value)
    for key, value in flax.traverse_util.flatten_dict(tree, sep='/').items()
  }
  have, wanted = shapes(found), shapes(variables)
  for key in sorted({*have, *wanted}):
    if have.get(key) != wanted.get(key):
      raise cli.UserError(
        f'--initial_weights={name} are of another network ({key} is '
        f'{have.get(key, "missing")} there and {wanted.get(key, "missing")} here); '
        'pass the flags of its network, such as --preset and --fc_pool.'
      )
  return dataclasses.replace(
    config, initial_weights=digest, earlier_datasets=run.config.datasets
  ), found
