"""Opens trained weights: a work folder of experiments.train, or a file of them."""

from collections.abc import Collection
import dataclasses
import os
from typing import Any

from absl import flags
import flax.traverse_util
import numpy as np

from experiments.lib import cli, data_loading, derived_flags
from experiments.lib import config as config_lib
from pifa_jax import face_models
from pifa_jax.learning import checkpoints, network, optimizer, training
from pifa_jax.learning.weights import TrainedWeights, load_weights
from pifa_jax.settings import setting
from pifa_jax.types import MorphableModel


@dataclasses.dataclass(frozen=True)
class CheckpointSettings:
  """Which trained weights a program uses; each field has its own help."""

  checkpoint: str | None = setting(
    None,
    'Work folder of a training run, a file of experiments.export_weights, or '
    '"builtin", the weights that come with the package. Default: --workdir, which a '
    'flag file gives, else builtin.',
    is_path=True,
  )
  weights: str = setting(
    'latest',
    'Which of its checkpoints: the newest, or the one with the lowest validation NME.',
    choices=('latest', 'best'),
  )


def define_flags() -> None:
  """Defines --checkpoint and --weights, for programs that use trained weights."""
  if 'checkpoint' in flags.FLAGS:
    return  # by another program that was imported into the same process
  derived_flags.define(CheckpointSettings)


@dataclasses.dataclass(frozen=True)
class TrainedRun:
  """A training run on disk; its weights are not read yet.

  Attributes:
    folder: its work folder.
    config: what it computed.
    checkpointer: its checkpoints.
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
      CheckpointError: if every checkpoint is damaged.
      UserError: if the checkpoints were removed meanwhile.
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
    found = restore(template)
    if found is None:
      raise cli.UserError(
        f'The checkpoints of {self.folder} have gone; train it again, or name another '
        'run with --checkpoint.'
      )
    step, state, _ = found
    return (
      step,
      {'params': state.params, 'batch_stats': state.batch_stats},
      self.checkpointer.content_hash(step),
    )


@dataclasses.dataclass(frozen=True)
class WeightsFile:
  """A file of weights, used like the run that made it.

  Attributes:
    folder: where the results of evaluating it go.
    config: what the run computed.
    content: of the file.
  """

  folder: str
  config: config_lib.RunConfig
  content: TrainedWeights

  def load(
    self, model: MorphableModel, weights: str
  ) -> tuple[int, dict[str, Any], str]:
    """As `TrainedRun.load`; a file holds one state only.

    Args:
      model: not used.
      weights: not used.

    Returns:
      The step, {'params', 'batch_stats'}, and the hash of the file.
    """
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
    UserError: if it does not exist, or holds no finished checkpoint.
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
  if not os.path.isdir(folder):
    raise cli.UserError(
      f'There are no weights at {folder}; give the work folder of a training run, a '
      'file of experiments.export_weights, or "builtin".'
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
    run: the run, which knows its face model.
    f: the flags; --face_model is set to that of the run.
    log: prints a sentence for the user.

  Returns:
    The model.

  Raises:
    UserError: if the face model has changed since.
  """
  setattr(f, 'face_model', run.config.face_model)  # noqa: B010 absl has no type for it
  model = face_models.load_face_model(run.config.face_model)
  scheme = run.config.landmark_scheme
  if (
    scheme in model.landmark_schemes
    and face_models.face_model_hash(model, scheme) == run.config.face_model_hash
  ):
    return model
  # A landmark file is a part of the model that the run was trained with.
  name = f.landmark_scheme
  if name not in ('auto', *model.landmark_schemes) and os.path.isfile(name):
    model, scheme = data_loading.scheme_of_file(model, name, log)
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
    name: as `open_run` takes it; of a run, its newest checkpoint is taken. With as many
      blocks as the new run freezes, it gives these blocks alone.
    config: of the new run.
    variables: {'params', 'batch_stats'} of the new run, for names and shapes.
    model: the face model of the new run.
    hashes: of the face models that are accepted; a landmark file changes only the
      labels.

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
  if config.network.frozen_blocks == run.config.network.num_blocks:
    # The next stage of a cascade: the blocks that are not frozen begin afresh.
    found = {
      kind: {**variables[kind], **found[kind]} for kind in ('params', 'batch_stats')
    }
  have, wanted = shapes(found), shapes(variables)
  for key in sorted({*have, *wanted}):
    if have.get(key) != wanted.get(key):
      raise cli.UserError(
        f'--initial_weights={name} are of another network ({key} is '
        f'{have.get(key, "missing")} there and {wanted.get(key, "missing")} here); '
        'pass the flags of its network, such as --preset and --fc_pool, or '
        '--initial_weights= to start from random ones.'
      )
  return dataclasses.replace(
    config, initial_weights=digest, earlier_datasets=run.config.datasets
  ), found
