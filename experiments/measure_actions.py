"""Whether named actions of faces are read right, on synthetic faces with exact truth.

  python -m experiments.measure_actions --workdir=DIR
  python -m experiments.measure_actions --checkpoint=runs/mine --workdir=DIR --pictures

Renders people who make one action after the other, in steps from nothing to full
strength, fits them as experiments.align does, and prints two tables. Writes actions.md
and actions.json.

Strength: what `expression_actions` reads of the fitted p^E beside what the face shows,
from 0 to 1, over all people and steps. Limit: the error with the true p^E, since
several sums of actions give one expression. Openings: the distance of the lids or lips,
pixels, by the landmarks that were found and by the true ones. NME: mean distance to the
true landmarks over sqrt(w h) of their true box, percent.
"""

from collections import deque
from collections.abc import Iterator, Sequence
import json
import pathlib
import sys
from typing import Any

from absl import flags
import numpy as np

from experiments.lib import (
  action_scores,
  cli,
  derived_flags,
  output_files,
  restore,
  trained_aligner,
)
from experiments.lib.action_scores import Action
from pifa_jax.datasets import synthetic, turning_head
from pifa_jax.datasets.turning_head import HeadClip
from pifa_jax.face_models import expression_actions, load_expression_units
from pifa_jax.files.images import encode_png
from pifa_jax.results import overlays
from pifa_jax.synthesis.ingredients import Ingredients

restore.define_flags()
derived_flags.define(trained_aligner.AlignerSettings)
flags.DEFINE_list(
  'actions',
  [
    'jawOpen',
    'eyeBlinkLeft',
    'eyeBlinkRight',
    'eyeBlinkLeft+eyeBlinkRight',
    'eyeWideLeft+eyeWideRight',
    'mouthSmileLeft+mouthSmileRight',
    'mouthFrownLeft+mouthFrownRight',
    'mouthPucker',
    'browDownLeft+browDownRight',
    'browOuterUpLeft+browOuterUpRight',
  ],
  'Actions of the face model that the people make, in turn; several at once with + '
  'between them.',
)
flags.DEFINE_integer('num_people', 16, 'Different people.', lower_bound=1)
flags.DEFINE_integer(
  'num_levels', 5, 'Steps of an action, from nothing to full strength.', lower_bound=2
)
flags.DEFINE_enum(
  'people_renderer',
  'full',
  synthetic.RENDERERS,
  'Of the people; see --renderer of train.',
)
flags.DEFINE_list(
  'leave_out',
  ['occluder', 'dark_glasses'],
  'Ingredients of the full renderer that the people are without: what hides eyes or '
  'mouth tells nothing of how they are read.',
)
flags.DEFINE_integer('frame_size', 200, 'Side of a picture, pixels.', lower_bound=48)
flags.DEFINE_float(
  'yaw_max',
  25.0,
  'The people look to the sides by up to so many degrees, each by another angle.',
  lower_bound=0.0,
  upper_bound=90.0,
)
flags.DEFINE_integer(
  'passes', 2, 'As of experiments.align.', lower_bound=1, upper_bound=5
)
flags.DEFINE_boolean(
  'pictures',
  False,
  'Write person_N.png: a row an action, a column a step, with the landmarks found.',
)

_MARGIN = 1.8  # side of the picture over that of the face


def main(run: cli.Run) -> int:
  """Renders, fits, measures.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  trained = trained_aligner.open_aligner(f, _log)
  units = load_expression_units(f.face_model)
  actions = action_scores.parse_actions(f.actions, units)
  config = _rendering()
  workdir = pathlib.Path(run.make_folder(f.workdir))
  run.open(str(workdir), checkpoint=trained.checkpoint, checkpoint_step=trained.step)
  levels = np.linspace(0.0, 1.0, f.num_levels)
  true: list[np.ndarray] = []
  found: list[np.ndarray] = []
  read: list[dict[str, float]] = []
  doubtful = 0
  clips: deque[HeadClip] = deque()
  faces = trained.aligner.align_many(
    trained.variables, _pictures(trained.model, config, actions, clips), passes=f.passes
  )
  points: list[np.ndarray] = []
  for face in faces:
    points.append(face.landmarks['ibug68'][0])
    read.append(expression_actions(units, np.asarray(face.params.expression)[0]))
    if face.confidence is not None:
      doubtful += int(not face.confidence[0] >= 0.5)
    if len(points) < len(clips[0].images):
      continue
    clip = clips.popleft()
    if f.pictures:
      path = workdir / f'person_{len(true)}.png'
      _write_picture(path, clip, points, f.num_levels)
    true.append(clip.landmarks)
    found.append(np.array(points))
    points = []
  shape = (f.num_people, 1 + len(actions) * (f.num_levels - 1))
  facts = _scores(
    actions,
    levels,
    np.array(true),
    np.array(found),
    np.array(read).reshape(shape),
    units,
  )
  facts |= {'doubtful': doubtful, 'frame_size': f.frame_size}
  table = _tables(facts)
  print(table, end='')
  print(f'Wrote actions.md and actions.json to {workdir}.')
  with output_files.new_table(workdir / 'actions.md') as file:
    file.write(table)
  with open(workdir / 'actions.json', 'w', encoding='utf-8') as file:
    json.dump(cli.json_value(facts), file, indent=2)
    file.write('\n')
  run.note(people=facts['people'], pictures=facts['pictures'])
  return cli.EXIT_OK


def _rendering() -> synthetic.SyntheticConfig:
  f = flags.FLAGS
  size = {'image_size': f.frame_size, 'margin': _MARGIN}
  if f.people_renderer == 'plain':
    return synthetic.plain_config(**size)
  try:
    ingredients = Ingredients().ablate([name for name in f.leave_out if name])
  except ValueError as error:
    raise cli.UserError(f'--leave_out={",".join(f.leave_out)}: {error}') from None
  return synthetic.SyntheticConfig(renderer='full', ingredients=ingredients, **size)


def _pictures(
  model, config, actions: Sequence[Action], clips: deque[HeadClip]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """The faces and their boxes, person by person; fills `clips` with what they show."""
  f = flags.FLAGS
  steps = np.linspace(0.0, 1.0, f.num_levels)[1:]
  rest = np.zeros((1, model.num_expression))
  acting = [np.outer(steps, action.expression) for action in actions]
  expressions = np.concatenate([rest, *acting])
  for person, yaw in enumerate(np.linspace(-f.yaw_max, f.yaw_max, f.num_people)):
    _log(f'Person {person + 1} of {f.num_people}: rendering.')
    clip = turning_head.turning_head(
      model,
      config,
      np.full(len(expressions), yaw if f.num_people > 1 else 0.0),
      seed=f.seed + person,
      expressions=expressions,
    )
    clips.append(clip)
    low, high = clip.landmarks[0].min(axis=0), clip.landmarks[0].max(axis=0)
    # That of the face at rest, always: how large the box is tells nothing.
    box = np.concatenate([low, high - low])[None]
    for image in clip.images:
      yield image, box


def _scores(actions, levels, true, found, read, units) -> dict[str, Any]:
  """What actions.json holds."""
  people, steps = len(true), len(levels) - 1
  errors = action_scores.normalized_errors(true, found)
  shown = np.broadcast_to(levels, (people, len(levels)))
  strengths, openings = [], []
  for number, action in enumerate(actions):
    # The face at rest, and the steps of this action.
    columns = np.r_[0, 1 + number * steps + np.arange(steps)]
    here = np.array(
      [[action.strength(face) for face in row] for row in read[:, columns]]
    )
    of_truth = [
      action.strength(expression_actions(units, level * action.expression))
      for level in levels
    ]
    strengths.append(
      {
        'action': action.name,
        **action_scores.score_strengths(
          shown, here, np.broadcast_to(of_truth, shown.shape)
        ),
        'nme_at_full': float(errors[:, columns[-1]].mean()),
      }
    )
    openings += action_scores.score_openings(
      action.name, true[:, columns], found[:, columns]
    )
  size = np.sqrt(np.prod(np.ptp(true[:, 0], axis=1), axis=-1)).mean()
  return {
    'people': people,
    'pictures': int(errors.size),
    'face_size': float(size),
    'nme': float(errors.mean()),
    'nme_at_rest': float(errors[:, 0].mean()),
    'strengths': strengths,
    'openings': openings,
  }


def _tables(facts) -> str:
  """The two tables as Markdown."""
  number = output_files.count_of
  lines = [
    f'{number(facts["pictures"], "picture")} of {facts["people"]} people, faces of '
    f'{facts["face_size"]:.0f} pixels; NME {facts["nme"]:.2f} %, at rest '
    f'{facts["nme_at_rest"]:.2f} %; {number(facts["doubtful"], "face")} doubtful.',
    '',
    '| strength of | correlation | slope | mean error | read at 0 | read at 1 | '
    'limit | NME at 1, % |',
    '|---|---|---|---|---|---|---|---|',
  ]
  keys = ('correlation', 'slope', 'error', 'at_rest', 'at_full', 'limit', 'nme_at_full')
  lines += [
    _row([row['action']], [row[key] for key in keys]) for row in facts['strengths']
  ]
  lines += [
    '',
    '| opening | by | true at 0, px | found | true at 1, px | found | correlation | '
    'slope | mean error, px |',
    '|---|---|---|---|---|---|---|---|---|',
  ]
  keys = (
    'true_at_rest',
    'found_at_rest',
    'true_at_full',
    'found_at_full',
    'correlation',
    'slope',
    'error',
  )
  lines += [
    _row([row['opening'], row['action']], [row[key] for key in keys])
    for row in facts['openings']
  ]
  return '\n'.join(lines) + '\n'


def _row(names, values):
  cells = [*names, *('-' if x is None else f'{x:.2f}' for x in values)]
  return f'| {" | ".join(cells)} |'


def _write_picture(path, clip, points, num_levels):
  """The pictures of one person with what was found: a row an action."""
  cells = [
    np.asarray(overlays.draw_landmarks(image, [found], [seen], enlarge=False))
    for image, found, seen in zip(clip.images, points, clip.visible, strict=True)
  ]
  steps = num_levels - 1
  rows = [
    np.concatenate([cells[0], *cells[first : first + steps]], axis=1)
    for first in range(1, len(cells), steps)
  ]
  path.write_bytes(encode_png(np.concatenate(rows)))


def _log(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
