"""Fits 3DMM parameters to landmarks (Sec. 3.1); writes meshes and overlays.

  python -m experiments.fit_3dmm --input=DIR --workdir=runs/fit
  python -m experiments.fit_3dmm --input=face.pts --save=npz,obj,overlay
  python -m experiments.fit_3dmm --dataset=w300 --data_dir=~/300W --workdir=runs/fit

No network is needed. Reads files of landmarks (see `pifa_jax.files.formats`), with the
photo of the same name beside each if there is one, or all splits of a data set.
Results lie in folders like those of --input.
"""

from collections.abc import Callable, Sequence
import csv
import dataclasses
import functools
import pathlib
import sys
import time
from typing import Any, NamedTuple

from absl import flags
import jax
import numpy as np

from experiments.lib import (
  cli,
  data_loading,
  figures,
  output_files,
  path_flags,
  terminal,
)
from pifa_jax import face_models
from pifa_jax.datasets import label_fitting, registry, w300lp
from pifa_jax.datasets.samples import MissingSplitError, Sample, landmark_problem
from pifa_jax.files import formats, mesh_files
from pifa_jax.files.folders import find_files
from pifa_jax.files.images import decode_image, image_key, list_images
from pifa_jax.geometry import (
  contour,
  cropping,
  fitting,
  morphable_model,
  photo_mesh,
  projection,
)
from pifa_jax.types import Array, FaceParams, MorphableModel, unflatten_params

# What --save may name, and how a count of it is written.
KINDS = {
  'npz': '.npz',
  'mat': '.mat',
  'obj': '.obj',
  'ply': '.ply',
  'overlay': 'overlay',
}
_OVERLAY_SIZE = 448
path_flags.define_path(
  'input',
  None,
  'A file of landmarks, or a folder with such files, also in folders inside it. '
  'Instead of it, a data set: --dataset and --data_dir.',
)
flags.DEFINE_list(
  'save', ['npz', 'overlay'], 'What to write for every face: ' + ', '.join(KINDS) + '.'
)
flags.DEFINE_boolean(
  'march',
  False,
  'For 68, 98 and 106 points: let hidden jaw points slide along the contour, as '
  'annotators of 2D landmarks place them.',
)
flags.DEFINE_enum(
  'mesh_frame',
  'photo',
  ['photo', 'viewer'],
  'Frame of .obj and .ply: photo = pixels of the photo, y down, so that the mesh lies '
  'on it; viewer = y up, z towards the viewer, origin in the middle of the face, for '
  'programs that show meshes.',
)
flags.DEFINE_boolean(
  'mesh_colors', True, 'Give the vertices of .obj and .ply the colours of the photo.'
)

# Faces and what failed: (name, reason).
_Failures = list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class _Face:
  """One labelled face.

  Attributes:
    name: for messages and tables.
    output: name of its results, below the work folder.
    points: (N, 2) 0-based pixels.
    visible: (N,) bool.
    read_photo: reads the encoded photo; None = there is no photo.
  """

  name: str
  output: str
  points: np.ndarray
  visible: np.ndarray
  read_photo: Callable[[], bytes] | None


class _Posed(NamedTuple):
  """All vertices of a fitted face: S_p, their pixels, which face the camera."""

  vertices: Array
  positions: Array
  facing: Array


@dataclasses.dataclass(frozen=True)
class _Row:
  """What residuals.csv says of a fitted face.

  Attributes:
    name: of the face.
    residual: of the fit, as a share of the face.
    pixels: of the fit, mean distance.
    angles: yaw, pitch, roll in degrees.
    contradiction: what of its labels the fit contradicts; None = nothing.
  """

  name: str
  residual: float
  pixels: float
  angles: tuple[float, float, float]
  contradiction: str | None


@dataclasses.dataclass(frozen=True)
class _Fit:
  """A fitted face, for its files.

  Attributes:
    face: its labels.
    row: of the table.
    scheme: name of the landmark scheme.
    params: P in pixels of the photo.
    posed: its vertices.
  """

  face: _Face
  row: _Row
  scheme: str
  params: FaceParams
  posed: _Posed


def main(run: cli.Run) -> int:
  """Fits the face model to landmarks.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  _check_flags(f)
  workdir = run.folder(f.workdir)
  if f.input:
    faces, failures = _read_files(pathlib.Path(f.input), workdir)
  else:
    faces, failures = _read_data_set(f)
  if not faces:
    for name, reason in failures[:10]:
      _log(terminal.printable(f'{name}: {reason}'))
    raise cli.UserError(
      f'No landmarks in {f.input or f.data_dir} can be used; name a file or folder '
      'with faces of at least 4 visible points.'
    )
  model = face_models.load_face_model(f.face_model)
  model, given_scheme = _given_scheme(model, f)
  run.open(run.make_folder(f.workdir))

  writer = _Writer(pathlib.Path(workdir), f.save, failures)
  rows = []
  for count in sorted({len(face.points) for face in faces}):
    group = [face for face in faces if len(face.points) == count]
    try:
      rows += _fit_group(model, group, given_scheme, f.march, writer)
    except ValueError as error:  # as many points as no scheme has, for example
      failures += [(face.name, str(error)) for face in group]
  _write_table(pathlib.Path(workdir) / 'residuals.csv', rows)
  _report(rows, writer, workdir)
  if not rows:
    return cli.EXIT_USER_ERROR
  return cli.EXIT_SOME_FAILED if failures else cli.EXIT_OK


def _check_flags(f: flags.FlagValues) -> None:
  unknown = sorted(set(f.save) - set(KINDS))
  if unknown:
    raise cli.UserError(
      f'--save={unknown[0]} is not a kind of file; use {", ".join(KINDS)}.'
    )
  of_data_set = f.dataset != 'synthetic'
  if bool(f.input) == of_data_set:
    given = (
      'Both --input and --dataset name'
      if of_data_set
      else ('Neither --input nor --dataset names')
    )
    raise cli.UserError(
      f'{given} what to fit; give one of them: --input=FILE or FOLDER of '
      f'{", ".join(formats.LANDMARK_SUFFIXES)}, or --dataset with --data_dir.'
    )


def _read_data_set(f: flags.FlagValues) -> tuple[list[_Face], _Failures]:
  """Faces of all splits of a data set, each once, and what its reader rejects."""
  faces: dict[str, _Face] = {}
  failures: dict[str, str] = {}
  for split in registry.DATASETS[f.dataset].splits:
    if split in ('train', 'test'):
      try:
        found = data_loading.read(data_loading.from_flags(), split)
      except MissingSplitError:
        continue  # the other split has faces, or reading it says why not
      for row, sample in enumerate(found.samples):
        faces[sample.name] = _Face(
          name=sample.name,
          output=sample.name,
          points=sample.landmarks,
          visible=sample.visible,
          read_photo=functools.partial(_photo_of, found.samples, row),
        )
      failures.update((r.name, r.reason) for r in found.rejects)
  return list(faces.values()), list(failures.items())


def _photo_of(samples: Sequence[Sample], row: int) -> bytes:
  return samples[row].image_bytes


def _files(path: pathlib.Path, workdir: str) -> tuple[pathlib.Path, list[pathlib.Path]]:
  """The folder that names are relative to, and the files of landmarks."""
  if path.is_file():
    return path.parent, [path]
  if not path.is_dir():
    raise cli.UserError(
      f'There is no file or folder {path}; give --input one that exists.'
    )
  found, _ = find_files(path, formats.LANDMARK_SUFFIXES)
  found, skipped = output_files.inputs_only(found, path, workdir)
  for sentence in skipped:
    _log(sentence)
  if not found:
    raise cli.UserError(
      f'There is no {", ".join(formats.LANDMARK_SUFFIXES)} in '
      f'{path}; give --input the folder of the landmarks.'
    )
  return path, found


def _read_files(path: pathlib.Path, workdir: str) -> tuple[list[_Face], _Failures]:
  """Faces of files, and what cannot be read."""
  root, files = _files(path, workdir)
  faces: list[_Face] = []
  failures: _Failures = []
  others: _Failures = []
  photos: dict[pathlib.Path, dict[str, pathlib.Path]] = {}
  for file in files:
    name = file.relative_to(root).as_posix()
    if file.parent not in photos:
      photos[file.parent] = {image_key(p.stem): p for p in list_images(file.parent)}
    photo = photos[file.parent].get(image_key(file.stem))
    try:
      found = formats.read_landmarks(file, hidden_points=flags.FLAGS.hidden_points)
    except formats.NoLandmarksError as error:
      # A table or a file of boxes among the labels; what the user named, or what lies
      # beside its photo, was meant as labels.
      meant = file == path or photo is not None
      (failures if meant else others).append((name, str(error)))
      continue
    except (OSError, ValueError) as error:
      failures.append((name, str(error)))
      continue
    for number, (points, visible) in enumerate(
      zip(found.points, found.visible, strict=True)
    ):
      single = len(found.points) == 1
      face_name = name if single else f'{name}#{number + 1}'
      problem = landmark_problem(points, visible)
      if problem:
        failures.append((face_name, problem))
        continue
      faces.append(
        _Face(
          name=face_name,
          output=name if single else f'{name}_{number + 1}',
          points=points,
          visible=visible,
          read_photo=None if photo is None else photo.read_bytes,
        )
      )
  if others and not faces:
    return faces, failures + others
  if others:
    _log(
      f'Skipped {output_files.count_of(len(others), "file")} without landmarks: '
      f'{", ".join(terminal.printable(name) for name, _ in others[:5])}'
      f'{", ..." if len(others) > 5 else ""}.'
    )
  return faces, failures


def _given_scheme(
  model: MorphableModel, f: flags.FlagValues
) -> tuple[MorphableModel, str | None]:
  """The model with the scheme that --landmark_scheme names; None = find it."""
  if f.landmark_scheme == 'auto':
    return model, None
  return data_loading.scheme_of(model, data_loading.from_flags(), '', _log)


def _group_scheme(
  model: MorphableModel,
  points: np.ndarray,
  visible: np.ndarray,
  given_scheme: str | None,
) -> str:
  """The landmark scheme of faces with the same number of points."""
  if given_scheme is None:
    return label_fitting.choose_scheme(model, points, visible)[0]
  wanted = len(model.landmark_schemes[given_scheme])
  if wanted != points.shape[1]:
    raise ValueError(
      f'it has {points.shape[1]} points, --landmark_scheme={given_scheme} has {wanted}'
    )
  return given_scheme


def _fit_group(
  model: MorphableModel,
  faces: list[_Face],
  given_scheme: str | None,
  march: bool,
  writer: '_Writer',
) -> list[_Row]:
  """Fits faces with the same number of points; writes what was asked for."""
  points = np.stack([face.points for face in faces])
  visible = np.stack([face.visible for face in faces])
  began = time.monotonic()
  scheme = _group_scheme(model, points, visible, given_scheme)
  march = march and scheme in contour.JAW_LINES
  params, residuals = fitting.fit_faces(
    model, points, visible, scheme=scheme, march=march
  )
  _log(
    f'{output_files.count_of(len(faces), "face")} of {points.shape[1]} points '
    f'({scheme}) in {time.monotonic() - began:.1f} s, compilation included.'
  )
  if points.shape[1] < label_fitting.FEW_POINTS:
    _log(
      f'{points.shape[1]} points tell where a face is and how it is turned, but little '
      'of its shape, which stays near the mean; use more points for meshes.'
    )
  angles = projection.pose_degrees(params)
  doubts = label_fitting.contradictions(
    model, params, residuals, visible, scheme=scheme
  )
  # Sent to the device once, not with every face.
  on_device = jax.device_put(model)
  rows = []
  for face, vector, residual, angle, doubt in zip(
    faces, params, residuals, angles, doubts, strict=True
  ):
    if not np.isfinite(residual):
      writer.failures.append(
        (
          face.name,
          'no face fits its landmarks; at least 4 that '
          'are not on one spot must be visible',
        )
      )
      continue
    fitted = unflatten_params(vector, model.num_identity)
    posed = jax.device_get(_posed(on_device, fitted))
    found = posed.positions[np.asarray(model.landmark_schemes[scheme])]
    row = _Row(
      name=face.name,
      residual=float(residual),
      pixels=_pixels(face, found, float(residual), march),
      angles=(angle[1], angle[0], angle[2]),
      contradiction=doubt,
    )
    rows.append(row)
    writer.save(model, _Fit(face, row, scheme, fitted, posed))
  return rows


def _pixels(face: _Face, found: np.ndarray, residual: float, march: bool) -> float:
  """The mean distance between given and fitted landmarks."""
  given = face.points[face.visible]
  if march:
    # As the fit measured it, along the contour.
    return float(residual * np.sqrt(np.prod(given.max(axis=0) - given.min(axis=0))))
  return float(np.linalg.norm(found - face.points, axis=1)[face.visible].mean())


@jax.jit
def _posed(model, fitted):
  vertices = morphable_model.shape(model, fitted)
  return _Posed(
    vertices,
    projection.project(fitted.camera, vertices),
    projection.is_visible(projection.frontability(fitted.camera, model.mean_normals)),
  )


def _outliers(residuals: list[float]) -> np.ndarray:
  """More than five robust deviations above the median, and above 3 %."""
  values = np.asarray(residuals)
  if not len(values):
    return values
  median = np.median(values)
  spread = 1.4826 * np.median(np.abs(values - median))
  return values > max(median + 5 * spread, 0.03)


class _Writer:
  """Writes the results on one face after the other.

  Attributes:
    failures: what could not be written is added to them.
    counts: kind of --save -> files written.
    without_photo: faces that an overlay or colours were wanted for, but no photo was
      there.
  """

  def __init__(self, workdir: pathlib.Path, kinds: list[str], failures: _Failures):
    self._workdir, self._kinds = workdir, kinds
    self.failures = failures
    self.counts = dict.fromkeys((kind for kind in KINDS if kind in kinds), 0)
    self.without_photo = 0

  def save(self, model: MorphableModel, fit: _Fit) -> None:
    """Writes the kinds that were asked for; a failure is noted, the rest is done."""
    photo, problem = self._photo(fit.face)
    if problem:
      self.failures.append((fit.face.name, problem))
    elif photo is None and self.needs_photo():
      self.without_photo += 1
    # For .obj and .ply the same; made only if one of them is wanted.
    mesh = functools.cache(lambda: self._mesh(model, fit, photo))
    save: dict[str, Callable[[pathlib.Path], None]] = {
      'npz': lambda path: _save_npz(path, model, fit),
      'mat': lambda path: _save_mat(path, model, fit, photo),
      'obj': lambda path: mesh_files.write_obj(path, *mesh()),
      'ply': lambda path: mesh_files.write_ply(path, *mesh()),
    }
    if photo is not None:
      # A photo hardly shrinks further: a third of the time for a seventh more bytes.
      save['overlay'] = lambda path: _overlay(photo, model, fit).save(
        path, compress_level=1
      )
    for kind in self.counts:
      if kind not in save:
        continue
      suffix = '_overlay.png' if kind == 'overlay' else f'.{kind}'
      try:
        save[kind](output_files.output_path(self._workdir, fit.face.output, suffix))
        self.counts[kind] += 1
      except (OSError, ValueError) as error:
        self.failures.append((fit.face.name, f'no {KINDS[kind]} was written: {error}'))

  def needs_photo(self) -> list[str]:
    """What cannot be written without a photo, of what was asked for."""
    meshes = flags.FLAGS.mesh_colors and {'obj', 'ply'} & set(self._kinds)
    overlays = ['overlay'] if 'overlay' in self._kinds else []
    return overlays + (['colours'] if meshes else [])

  def _photo(self, face: _Face) -> tuple[np.ndarray | None, str | None]:
    """The decoded photo, if there is one and it is needed; and what is wrong."""
    if face.read_photo is None or not (self.needs_photo() or 'mat' in self._kinds):
      return None, None
    try:
      return decode_image(face.read_photo(), 'its photo'), None
    except (OSError, ValueError) as error:
      return None, str(error)

  def _mesh(self, model, fit, photo):
    """Vertices, triangles and colours, in the frame of --mesh_frame."""
    f = flags.FLAGS
    vertices = projection.image_vertices(
      np.asarray(fit.params.camera), fit.posed.vertices
    )
    colors = None
    if photo is not None and f.mesh_colors:
      colors = photo_mesh.vertex_colors(
        photo, vertices, model.triangles, fit.posed.facing, model.symmetry
      )
    if f.mesh_frame == 'viewer':
      vertices = photo_mesh.viewer_vertices(vertices)
    return vertices, model.triangles, colors


def _landmarks(model: MorphableModel, fit: _Fit) -> tuple[np.ndarray, np.ndarray]:
  """Pixels of the fitted landmarks, and which of them face the camera."""
  ids = np.asarray(model.landmark_schemes[fit.scheme])
  return np.asarray(fit.posed.positions)[ids], np.asarray(fit.posed.facing)[ids]


def _save_npz(path: pathlib.Path, model: MorphableModel, fit: _Fit) -> None:
  found, seen = _landmarks(model, fit)
  formats.write_npz(
    path,
    camera=np.asarray(fit.params.camera),
    identity=np.asarray(fit.params.identity),
    expression=np.asarray(fit.params.expression),
    landmarks=found,
    visible=seen,
    scheme=np.array(fit.scheme),
    residual=np.array(fit.row.residual),
    yaw_pitch_roll_degrees=fit.row.angles,
  )


def _save_mat(
  path: pathlib.Path, model: MorphableModel, fit: _Fit, photo: np.ndarray | None
) -> None:
  import scipy.io

  found, _ = _landmarks(model, fit)
  # Without a photo Pose_Para counts from y = 0.
  height = 0 if photo is None else photo.shape[0]
  scipy.io.savemat(
    path,
    {
      'pt2d': found.T + 1.0,
      'Pose_Para': w300lp.pose_para_from_camera(np.asarray(fit.params.camera), height)[
        None
      ],
      'Shape_Para': np.asarray(fit.params.identity)[:, None],
      'Exp_Para': np.asarray(fit.params.expression)[:, None],
      'image_height': height,
    },
  )


def _overlay(photo: np.ndarray, model: MorphableModel, fit: _Fit) -> Any:
  """The photo around the face: mesh, given and fitted landmarks."""
  face, posed, size = fit.face, fit.posed, _OVERLAY_SIZE
  drawn = np.asarray(model.regions.get('rendered', np.arange(model.num_vertices)))
  points, front = posed.positions[drawn], posed.facing[drawn]
  low, high = points.min(axis=0), points.max(axis=0)
  side = 1.3 * float(max(high - low))
  box = np.array([*((low + high) / 2 - side / 2), side, side], np.float32)
  crop = cropping.crop(photo, box, size)
  place = lambda p: (np.asarray(p, np.float64) - box[:2] + 0.5) * size / side - 0.5
  dots = np.round(place(points[front])).astype(int)
  dots = dots[np.all((dots >= 0) & (dots < size), axis=1)]
  # Mixed half and half, so that the face stays visible beneath.
  crop[dots[:, 1], dots[:, 0]] = crop[dots[:, 1], dots[:, 0]] // 2 + np.array(
    [40, 90, 127], np.uint8
  )
  target = place(np.where(face.visible[:, None], face.points, np.nan))
  found, seen = _landmarks(model, fit)
  return figures.face(crop, place(found), seen, size=size, target=target)


def _with_outliers(rows: list[_Row]) -> list[tuple[_Row, bool]]:
  """The rows, the largest residual first, and whether each is an outlier."""
  flagged = zip(rows, _outliers([row.residual for row in rows]), strict=True)
  return sorted(
    ((row, bool(outlier or row.contradiction)) for row, outlier in flagged),
    key=lambda pair: -pair[0].residual,
  )


def _write_table(path: pathlib.Path, rows: list[_Row]) -> None:
  """Writes residuals.csv."""
  columns = (
    'name residual_percent residual_pixels yaw_degrees pitch_degrees roll_degrees '
    'outlier'
  )
  with output_files.new_table(path) as file:
    writer = csv.writer(file)
    writer.writerow(columns.split())
    for row, outlier in _with_outliers(rows):
      writer.writerow(
        [
          row.name,
          f'{100 * row.residual:.3f}',
          f'{row.pixels:.3f}',
          *(f'{angle:.2f}' for angle in row.angles),
          int(outlier),
        ]
      )


def _report(rows: list[_Row], writer: _Writer, workdir: str) -> None:
  """Says what was fitted, what looks wrong, what failed and what was written."""
  number = output_files.count_of
  if rows:
    print(
      f'{number(len(rows), "face")} fitted, mean residual '
      f'{100 * np.mean([row.residual for row in rows]):.2f} % of the face, '
      f'{np.mean([row.pixels for row in rows]):.2f} pixels.'
    )
  for row in rows:
    if row.contradiction:
      print(f'doubtful: {terminal.printable(row.name)}: {row.contradiction}')
  for row, outlier in _with_outliers(rows):
    if outlier and not row.contradiction:
      print(
        f'outlier: {terminal.printable(row.name)}, {100 * row.residual:.2f} %; '
        'check its landmarks.'
      )
  for name, reason in writer.failures:
    _log(terminal.printable(f'failed: {name}: {reason}'))
  if writer.without_photo:
    _log(
      f'{number(writer.without_photo, "face")} without a photo beside the landmarks: '
      f'{" and ".join(f"no {what}" for what in writer.needs_photo())}.'
    )
  written = [
    f'{count} {KINDS[kind]}' if kind != 'overlay' else number(count, 'overlay')
    for kind, count in writer.counts.items()
    if count
  ]
  print(f'Wrote {", ".join(["residuals.csv", *written])} to {workdir}.')


def _log(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
