"""Finds the landmarks, their visibility and the head's pose in photos.

  python -m experiments.align --input=DIR --boxes=boxes.json
  python -m experiments.align --checkpoint=runs/aflw --input=DIR --boxes=boxes.json

boxes.json holds the faces: {"photo.jpg": [[x, y, width, height], ...], ...}, in pixels,
names as in --input. Writes results.jsonl, a line a face, and an overlay a photo.
"""

import json
import pathlib
import sys

from absl import flags
import numpy as np

from experiments.lib import cli, figures, restore
from pifa_jax.files import formats
from pifa_jax.files.images import decode_image, list_images_below
from pifa_jax.geometry.mirror import coefficient_signs
from pifa_jax.inference import AlignedFaces, Aligner

restore.define_flags()
flags.DEFINE_string('input', None, 'A photo, or a folder of them.')
flags.DEFINE_string(
  'boxes', None, 'JSON file of boxes: {"photo.jpg": [[x, y, width, height], ...]}.'
)
flags.DEFINE_integer(
  'passes',
  2,
  '2 = fit again in the box of the landmarks that the '
  'first pass found: boxes need not fit; 1 = half the work.',
  lower_bound=1,
  upper_bound=5,
)
flags.DEFINE_boolean(
  'mirror',
  True,
  'Look at the mirrored photo, too, and take the '
  'mean: nearer, at twice the work. Face models without symmetry are '
  'looked at once.',
)
flags.DEFINE_boolean(
  'upright',
  True,
  'Turn the photo for the further passes where '
  'the head is turned in it by more than 15 degrees.',
)
flags.DEFINE_boolean('overlay', True, 'Draw the landmarks upon the photos.')


def main(run: cli.Run) -> int:
  """Aligns; returns the exit code."""
  f = flags.FLAGS
  if not f.input or not f.boxes:
    raise cli.UserError(
      'Say what to align: --input=PHOTO or FOLDER, and '
      '--boxes=FILE.json with {"photo.jpg": [[x, y, width, '
      'height], ...]}.'
    )
  source = pathlib.Path(f.input).expanduser()
  photos = _photos(source)
  boxes, failures = _boxes(pathlib.Path(f.boxes).expanduser(), photos, source.is_dir())
  trained_run = restore.open_run(f.checkpoint)
  model = restore.face_model(trained_run, f, _log)
  step, variables, checkpoint = trained_run.load(model, f.weights)
  schemes = [
    name
    for name in ('ibug68', 'aflw34', trained_run.config.landmark_scheme)
    if name in model.landmark_schemes
  ]
  aligner = Aligner(
    model,
    trained_run.config.network,
    schemes=tuple(dict.fromkeys(schemes)),
    mirror=f.mirror and coefficient_signs(model) is not None,
    box_scale=trained_run.config.augment.box_scale,
    upright=f.upright,
  )
  workdir = pathlib.Path(run.make_folder(f.workdir))
  run.open(str(workdir), checkpoint=checkpoint, checkpoint_step=step)

  count = aligned = 0
  with open(workdir / 'results.jsonl', 'w', encoding='utf-8') as file:
    for name, path in photos.items():
      if name not in boxes:
        failures.append((name, f'{f.boxes} has no box for it'))
        continue
      try:
        image = decode_image(path.read_bytes(), 'it')
        faces = aligner.align(variables, image, boxes[name], passes=f.passes)
      except (OSError, ValueError) as error:
        failures.append((name, str(error)))
        continue
      for face in range(len(faces)):
        file.write(
          json.dumps(cli.json_value(_line(name, faces, face, boxes[name][face]))) + '\n'
        )
      count, aligned = count + len(faces), aligned + bool(len(faces))
      if f.overlay and len(faces):
        # One flat folder; a name from a folder tree cannot lead out of it.
        figures.photo(image, faces.landmarks['ibug68'], faces.visible['ibug68']).save(
          workdir / f'{name.replace("/", "__")}_overlay.png', compress_level=1
        )
  with open(workdir / 'failures.jsonl', 'w', encoding='utf-8') as file:
    file.writelines(
      json.dumps({'image': name, 'reason': reason}) + '\n' for name, reason in failures
    )
  for name, reason in failures[:20]:
    print(f'failed: {name}: {reason}', file=sys.stderr)
  number = lambda n, what: f'{n} {what}{"" if n == 1 else "s"}'
  print(
    f'{number(count, "face")} in {aligned} of '
    f'{number(len(photos), "photo")}, '
    f'{number(len(failures), "failure")}; wrote results.jsonl, failures.jsonl and '
    f'the overlays to {workdir}.'
  )
  return cli.EXIT_SOME_FAILED if failures else cli.EXIT_OK


def _photos(path):
  """Name -> file, by name; names are relative to the folder."""
  if path.is_file():
    return {path.name: path}
  if not path.is_dir():
    raise cli.UserError(
      f'There is no photo or folder {path}; give --input one that exists.'
    )
  found = list_images_below(path)
  if not found:
    raise cli.UserError(
      f'There is no photo in {path}; give --input a folder of .jpg, .png, ...'
    )
  return {p.relative_to(path).as_posix(): p for p in found}


def _boxes(path, photos, is_folder):
  """Name -> (n, 4) boxes, and what is wrong with the others."""
  if not path.is_file():
    raise cli.UserError(
      f'There is no file {path}; give --boxes a JSON file of '
      '{"photo.jpg": [[x, y, width, height], ...]}.'
    )
  content = formats.parse_json(path.read_bytes(), path.name)
  boxes, failures = {}, []
  for name, value in content.items():
    if name not in photos:
      # A photo chosen from the folder that the file describes is no failure.
      if is_folder:
        failures.append((name, 'it has boxes but is not in --input'))
      continue
    try:
      table = np.asarray(value, np.float64).reshape(-1, 4)
      if not (np.abs(table) < 1e7).all() or (table[:, 2:] <= 0).any():
        raise ValueError
      boxes[name] = table
    except (TypeError, ValueError, OverflowError):
      failures.append(
        (
          name,
          f'its boxes are {str(value)[:60]}; wanted [[x, y, width, '
          'height], ...] with width and height above 0',
        )
      )
      boxes[name] = np.zeros((0, 4))
  return boxes, failures


def _line(name: str, faces: AlignedFaces, face: int, box: np.ndarray) -> dict:
  """One face as a JSON object."""
  rounded = lambda array, digits: np.round(
    np.asarray(array, np.float64), digits
  ).tolist()
  degrees = {
    key: float(np.round(np.rad2deg(faces.pose[key][face]), 3))
    for key in ('yaw', 'pitch', 'roll')
  }
  return {
    'image': name,
    'face': face,
    'box': box.tolist(),
    'landmarks': {k: rounded(v[face], 3) for k, v in faces.landmarks.items()},
    'visible': {k: v[face].tolist() for k, v in faces.visible.items()},
    'frontability': {k: rounded(v[face], 4) for k, v in faces.frontability.items()},
    **{f'{key}_degrees': value for key, value in degrees.items()},
    'rotation': rounded(faces.pose['rotation'][face], 6),
  }


def _log(text):
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
