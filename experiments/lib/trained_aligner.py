"""The aligner of trained weights, as the flags ask for it."""

from collections.abc import Callable
import dataclasses
from typing import Any

from absl import flags

from experiments.lib import cli, confidence_file, derived_flags, restore
from pifa_jax.geometry.mirror import coefficient_signs
from pifa_jax.inference import Aligner, Confidence
from pifa_jax.settings import setting
from pifa_jax.types import MorphableModel

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class AlignerSettings:
  """How faces are fitted; each field has its own help."""

  mirror: bool = setting(
    True,
    'Fit the mirrored photo, too, and take the mean: more accurate, at twice the work. '
    'Without effect for face models that have no symmetry.',
  )
  upright: bool = setting(
    True,
    'In the passes after the first, turn the photo so that the head is upright, where '
    'it leans by more than 15 degrees.',
  )
  confidence: str | None = setting(
    None,
    'File of experiments.calibrate; default: what the weights hold. Without either, '
    'faces have no confidence, and doubtful ones are not searched again.',
    is_path=True,
  )
  retry: bool = setting(
    True,
    'Search a face of low confidence again, from eight other first boxes, moved and '
    'scaled: seven times the work for such a face. Another result is taken only if it '
    'is clearly surer.',
  )
  blocks: int | None = setting(
    None,
    'Stop after so many blocks of the network: faster and less accurate, and faces '
    'have no confidence. Default: all.',
    low=1,
  )


@dataclasses.dataclass(frozen=True)
class TrainedAligner:
  """An aligner and what belongs to it.

  Attributes:
    aligner: of the weights.
    variables: {'params', 'batch_stats'} of its network.
    model: its face model.
    step: of the training.
    checkpoint: its hash.
  """

  aligner: Aligner
  variables: dict[str, Any]
  model: MorphableModel
  step: int
  checkpoint: str


def open_aligner(
  f: flags.FlagValues,
  log: Log,
  *,
  min_confidence: float = 0.0,
  keep_visualizations: bool = False,
) -> TrainedAligner:
  """Reads weights and makes their aligner.

  Args:
    f: the flags, those of `AlignerSettings` among them; --checkpoint and --weights say
      which weights.
    log: prints a sentence for the user.
    min_confidence: that faces must have; above 0 they need to have one.
    keep_visualizations: whether results hold V of every block.

  Returns:
    The aligner.

  Raises:
    UserError: as `restore.open_run` and `restore.face_model`; if there are not so many
      blocks, or the confidence is missing or that of other weights.
  """
  config = derived_flags.read(AlignerSettings, f)
  run = restore.open_run(f.checkpoint)
  model = restore.face_model(run, f, log)
  step, variables, checkpoint = run.load(model, f.weights)
  num_blocks = run.config.network.num_blocks
  if config.blocks is not None and config.blocks > num_blocks:
    raise cli.UserError(
      f'--blocks={config.blocks} is more than the {num_blocks} blocks of the network; '
      'give at most as many.'
    )
  schemes = [
    name
    for name in ('ibug68', 'aflw34', run.config.landmark_scheme)
    if name in model.landmark_schemes
  ]
  aligner = Aligner(
    model,
    run.config.network,
    schemes=tuple(dict.fromkeys(schemes)),
    mirror=config.mirror and coefficient_signs(model) is not None,
    box_scale=run.config.augment.box_scale,
    upright=config.upright,
    confidence=_confidence(run, checkpoint, config, min_confidence, log),
    num_blocks=config.blocks,
    keep_visualizations=keep_visualizations,
  )
  return TrainedAligner(aligner, variables, model, step, checkpoint)


def _confidence(run, checkpoint, config, least, log) -> Confidence | None:
  """That of the file, else that of the weights; None if there is none."""
  card = run.content.card if isinstance(run, restore.WeightsFile) else {}
  found = None
  if config.blocks is not None and config.blocks < run.config.network.num_blocks:
    # It was fitted to results of all blocks.
    if config.confidence:
      raise cli.UserError(
        f'--confidence is of all blocks, and --blocks={config.blocks} stops before; '
        'give one of the two.'
      )
    missing = f'--blocks={config.blocks} has no confidence'
  else:
    missing = 'These weights have no confidence'
    if config.confidence:
      found = confidence_file.read(
        config.confidence, {checkpoint, card.get('checkpoint', checkpoint)}
      )
    elif 'confidence' in card:
      found = Confidence.from_json(card['confidence'])
  if found is None:
    if least:
      raise cli.UserError(
        f'{missing}, which --min_confidence={least:g} needs; leave it out, or make one '
        'with python -m experiments.calibrate.'
      )
    log(
      f'{missing}: results have "confidence": null, and doubtful faces are not '
      'searched again; python -m experiments.calibrate makes one.'
    )
  elif not config.retry:
    found = dataclasses.replace(found, retry_below={})
  return found
