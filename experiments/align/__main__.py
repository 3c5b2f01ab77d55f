"""Finds the faces of photos: landmarks, their visibility, the head's pose, a mesh.

  python -m experiments.align --input=photo.jpg
  python -m experiments.align --input=DIR --save=glb,json,overlay --workdir=OUT
  python -m experiments.align --input=DIR --boxes=boxes.json --checkpoint=runs/aflw

--input takes photos, folders, patterns in quotes ('trip/*.jpg'), lists (.txt or .lst, a
path a line) and "-" for paths on standard input; several with commas between them, or
the flag again. Faces are detected, unless boxes.json holds them: {"photo.jpg": [[x, y,
width, height], ...], ...}, in pixels, with names as in results.jsonl; a fifth number
from 0 to 1 is a detector's score. Names are relative to the folder of --input, or to
the one that the photos of a list or pattern have in common.

Writes results.jsonl, a line per face, with the confidence that it was found ("doubtful"
if that is below 0.5), failures.jsonl, and what --save names, in folders like those of
--input: by default an overlay per photo and index.html, a page of all faces. Exit code
3: some photos or faces failed, with their reasons in failures.jsonl.
"""

import dataclasses
import pathlib
import sys

from absl import flags

from experiments.align import faces
from experiments.align.photos import Photos, find_photos
from experiments.align.progress import Progress
from experiments.align.report import Counts, Failures, report
from experiments.align.session import Session
from experiments.align_outputs import writer as writer_lib
from experiments.lib import cli, confidence_file, derived_flags, path_flags, restore
from pifa_jax import face_models
from pifa_jax.detection import DetectionSettings, DetectorMissing, make_detector
from pifa_jax.files import box_files
from pifa_jax.geometry.mirror import coefficient_signs
from pifa_jax.inference import Aligner, Confidence
from pifa_jax.types import MorphableModel

restore.define_flags()
derived_flags.define(DetectionSettings)
path_flags.define_paths(
  'input',
  'Photos: files, folders, patterns in quotes, lists (.txt or .lst, a path a line), '
  '- for paths on standard input; several with commas, or the flag again.',
)
path_flags.define_path(
  'boxes',
  None,
  'JSON file of boxes: {"photo.jpg": [[x, y, width, height], ...]}; default: the '
  'detector finds them.',
)
flags.DEFINE_enum(
  'box_format',
  'xywh',
  box_files.BOX_FORMATS,
  'What the numbers of a box are: x, y, width, height, or two corners x1, y1, x2, y2.',
)
flags.DEFINE_list(
  'save', list(writer_lib.DEFAULT_KINDS), f'Comma-separated. {writer_lib.help_text()}'
)
flags.DEFINE_integer(
  'passes',
  2,
  '2 = fit again in the box of the landmarks that the first pass found: the given '
  'boxes need not fit closely. 1 = half the work.',
  lower_bound=1,
  upper_bound=5,
)
flags.DEFINE_boolean(
  'mirror',
  True,
  'Fit the mirrored photo, too, and take the mean: more accurate, at twice the work. '
  'Without effect for face models that have no symmetry.',
)
flags.DEFINE_integer(
  'blocks',
  None,
  'Stop after so many blocks of the network: faster and less accurate, and faces have '
  'no confidence. Default: all.',
  lower_bound=1,
)
flags.DEFINE_boolean(
  'upright',
  True,
  'Turn the photo for the further passes where the head is turned in it by more than '
  '15 degrees.',
)
path_flags.define_path(
  'confidence',
  None,
  'File of experiments.calibrate; default: what the weights hold. Without either, '
  'faces have no confidence, and doubtful ones are not searched again.',
)
flags.DEFINE_float(
  'min_confidence',
  0.0,
  'Leave out faces of less confidence. With 0 all stay; those below 0.5 are marked as '
  'doubtful.',
  lower_bound=0,
  upper_bound=1,
)
flags.DEFINE_boolean(
  'retry',
  True,
  'Where the confidence is low, try other first boxes, moved and scaled: six times '
  'the work for these faces.',
)


def main(run: cli.Run) -> int:
  """Aligns the faces of all photos.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  given = [item for items in f.input or () for item in items]
  if not given:
    raise cli.UserError('Say what to align: --input=PHOTO, or a folder of photos.')
  kinds = writer_lib.parse_kinds(f.save)
  workdir = pathlib.Path(run.folder(f.workdir))
  photos = find_photos(given, workdir, _log)
  failures, counts = Failures(), Counts()
  for name, reason in photos.missing.items():
    failures.add(name, reason)
  files, find_boxes = _boxes(photos, failures)
  trained_run = restore.open_run(f.checkpoint)
  model = restore.face_model(trained_run, f, _log)
  step, variables, checkpoint = trained_run.load(model, f.weights)
  confidence = _confidence(trained_run, checkpoint)
  aligner = _aligner(trained_run, model, confidence, keep='v' in kinds)
  run.make_folder(f.workdir)
  run.open(str(workdir), checkpoint=checkpoint, checkpoint_step=step)

  writer = writer_lib.Writer(
    workdir, kinds, units=face_models.load_expression_units(f.face_model)
  )
  progress = Progress(len(files))
  is_whole = True
  with open(workdir / 'results.jsonl', 'w', encoding='utf-8') as file:
    session = Session(
      aligner=aligner,
      variables=variables,
      model=model,
      find_boxes=find_boxes,
      are_detected=not f.boxes,
      passes=f.passes,
      min_confidence=f.min_confidence,
      results=file,
      writer=writer,
      failures=failures,
      counts=counts,
    )
    try:
      session.align(files, progress)
    except KeyboardInterrupt:
      is_whole = False
    progress.close()
  for line in failures.lost:
    writer.lost(line['image'], line['reason'], line.get('face'))
  for reason in writer.close():
    failures.add_file('', reason)
  total = len(photos.files) + len(photos.missing)
  code = report(workdir, counts, total, failures, writer.summary(), _log)
  if not is_whole:
    _log('Interrupted: the other photos were not aligned.')
  return code if is_whole else cli.EXIT_INTERRUPTED


def _boxes(
  photos: Photos, failures: Failures
) -> tuple[dict[str, pathlib.Path], faces.FindBoxes]:
  """The photos in which faces are looked for, and where in them."""
  f = flags.FLAGS
  if f.boxes:
    boxes = faces.read_boxes(
      pathlib.Path(f.boxes), f.box_format, photos, failures, _log
    )
    files = {name: path for name, path in photos.files.items() if name in boxes}
    return files, lambda name, image: boxes[name]
  config = derived_flags.read(DetectionSettings, f)
  if config.detector == 'none':
    raise cli.UserError(
      f'--detector=none needs --boxes=FILE.json with {faces.WANTED_BOXES}.'
    )
  try:
    detector = make_detector(
      config.detector,
      max_faces=config.max_faces,
      min_size=config.min_size,
      min_score=config.min_score,
    )
  except DetectorMissing as error:
    raise cli.UserError(str(error)) from error
  return photos.files, faces.of_detector(detector)


def _confidence(trained_run, checkpoint: str) -> Confidence | None:
  """That of --confidence, else that of the weights; None if there is none."""
  f = flags.FLAGS
  card = {}
  if isinstance(trained_run, restore.WeightsFile):
    card = trained_run.content.card
  found = None
  if f.blocks is not None and f.blocks < trained_run.config.network.num_blocks:
    # It was fitted to results of all blocks.
    if f.confidence:
      raise cli.UserError(
        f'--confidence is of all blocks, and --blocks={f.blocks} stops before; give '
        'one of the two.'
      )
    missing = f'--blocks={f.blocks} has no confidence'
  else:
    missing = 'These weights have no confidence'
    if f.confidence:
      found = confidence_file.read(
        f.confidence, {checkpoint, card.get('checkpoint', checkpoint)}
      )
    elif 'confidence' in card:
      found = Confidence.from_json(card['confidence'])
  if found is None:
    if f.min_confidence:
      raise cli.UserError(
        f'{missing}, which --min_confidence={f.min_confidence:g} needs; leave it out, '
        'or make one with python -m experiments.calibrate.'
      )
    _log(
      f'{missing}: results have "confidence": null, and doubtful faces are not '
      'searched again; python -m experiments.calibrate makes one.'
    )
  elif not f.retry:
    found = dataclasses.replace(found, retry_below={})
  return found


def _aligner(
  trained_run, model: MorphableModel, confidence: Confidence | None, *, keep: bool
) -> Aligner:
  """The aligner that the flags ask for."""
  f, config = flags.FLAGS, trained_run.config
  schemes = [
    name
    for name in ('ibug68', 'aflw34', config.landmark_scheme)
    if name in model.landmark_schemes
  ]
  if f.blocks is not None and f.blocks > config.network.num_blocks:
    raise cli.UserError(
      f'--blocks={f.blocks} is more than the {config.network.num_blocks} blocks of the '
      'network; give at most as many.'
    )
  return Aligner(
    model,
    config.network,
    schemes=tuple(dict.fromkeys(schemes)),
    mirror=f.mirror and coefficient_signs(model) is not None,
    box_scale=config.augment.box_scale,
    upright=f.upright,
    confidence=confidence,
    num_blocks=f.blocks,
    keep_visualizations=keep,
  )


def _log(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
