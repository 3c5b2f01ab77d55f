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

import pathlib
import sys

from absl import flags

from experiments.align import faces
from experiments.align.photos import Photos, find_photos
from experiments.align.progress import Progress
from experiments.align.report import Counts, Failures, report
from experiments.align.session import Session
from experiments.align_outputs import writer as writer_lib
from experiments.lib import cli, derived_flags, path_flags, restore
from experiments.lib.trained_aligner import AlignerSettings, open_aligner
from pifa_jax import face_models
from pifa_jax.detection import DetectionSettings, DetectorMissing, make_detector
from pifa_jax.files import box_files

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
  'How often each face is fitted: 2 = again in the box of the landmarks that were '
  'found, so that the first boxes need not fit closely; 1 = half the work, and less '
  'accurate.',
  lower_bound=1,
  upper_bound=5,
)
derived_flags.define(AlignerSettings)
flags.DEFINE_float(
  'min_confidence',
  0.0,
  'Leave out faces of less confidence; 0.5 = all that would be marked as doubtful. '
  'With 0 all stay.',
  lower_bound=0,
  upper_bound=1,
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
  trained = open_aligner(
    f, _log, min_confidence=f.min_confidence, keep_visualizations='v' in kinds
  )
  run.make_folder(f.workdir)
  run.open(str(workdir), checkpoint=trained.checkpoint, checkpoint_step=trained.step)

  writer = writer_lib.Writer(
    workdir, kinds, units=face_models.load_expression_units(f.face_model)
  )
  progress = Progress(len(files))
  is_whole = True
  with open(workdir / 'results.jsonl', 'w', encoding='utf-8') as file:
    session = Session(
      aligner=trained.aligner,
      variables=trained.variables,
      model=trained.model,
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
  run.note(seconds=session.stages.facts())
  for line in failures.lost:
    writer.lost(line['image'], line['reason'], line.get('face'))
  for reason in writer.close():
    failures.add_file('', reason)
  total = len(photos.files) + len(photos.missing)
  if counts.faces:
    _log(session.stages.sentence())
  code = report(
    workdir, counts, total, failures, writer.summary(), _log, are_detected=not f.boxes
  )
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


def _log(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
