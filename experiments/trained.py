"""Opens what experiments.train left in its work folder."""

import dataclasses
import os
from typing import Any

from absl import flags

from experiments import config as config_lib
from experiments import data_flags, program
from pifa_jax import checkpoints, face_models, network, optimizer, training
from pifa_jax.types import MorphableModel

flags.DEFINE_string('checkpoint', None, 'Work folder of a training run; default: '
                    '--workdir, which a flag file gives.')
flags.DEFINE_enum('weights', 'latest', ['latest', 'best'],
                  'Which of its checkpoints: the newest, or the one with the '
                  'lowest validation NME.')


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
  keeper: checkpoints.Checkpointer

  def load(self, model: MorphableModel, weights: str
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
        optimizer.make_optimizer(self.config.optimizer, self.config.num_steps))
    restore = (self.keeper.restore_best if weights == 'best'
               else self.keeper.restore_latest)
    step, state, _ = restore(template)
    return (step, {'params': state.params, 'batch_stats': state.batch_stats},
            self.keeper.content_hash(step))


def open_run(folder: str | None) -> TrainedRun:
  """Opens a training run.

  Args:
    folder: its work folder.

  Returns:
    The run.

  Raises:
    UserError: if there is none, or no finished checkpoint in it.
  """
  if not folder:
    raise program.UserError('Say which run to use: --checkpoint=FOLDER, the --workdir '
                            'of experiments.train.')
  inside = os.path.join(os.path.abspath(folder), 'checkpoints')
  keeper = checkpoints.Checkpointer(inside)
  newest = keeper.latest_intact_step()
  if newest is None:
    raise program.UserError(f'There is no finished checkpoint in {inside}; train '
                            f'with --workdir={folder} first.')
  return TrainedRun(folder, config_lib.RunConfig.from_json(
      keeper.meta(newest)['config']), keeper)


def face_model(run: TrainedRun, f: flags.FlagValues, say: data_flags.Say
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
  if face_models.face_model_hash(model) == run.config.face_model_hash:
    return model
  # A landmark file is a part of the model that the run was trained with.
  if os.path.isfile(f.landmark_scheme):
    model, _ = data_flags.scheme_of(model, f, 'test', say)
    if face_models.face_model_hash(model) == run.config.face_model_hash:
      return model
  raise program.UserError(
      f'--face_model={f.face_model} is not the face model of the checkpoint (its '
      'hash differs); pass the .npz, and the file of --landmark_scheme if there was '
      'one, that it was trained with.')
