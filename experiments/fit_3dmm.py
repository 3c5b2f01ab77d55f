"""Landmarks -> 3DMM parameters, meshes and overlays (Sec. 3.1), without a network.

  python -m experiments.fit_3dmm --input=DIR --workdir=runs/fit
  python -m experiments.fit_3dmm --input=face.pts --save=npz,obj,overlay
  python -m experiments.fit_3dmm --dataset=w300 --data_dir=~/300W --workdir=runs/fit

Reads .pts, .json, .npy and .mat (see `pifa_jax.formats`), where a photo of the
same name beside a file of landmarks is drawn upon; or all splits of a data set.
"""

import csv
import pathlib
import sys
import time
from typing import NamedTuple

from absl import flags
import jax
import numpy as np

from experiments.lib import cli, data_loading, figures
from pifa_jax import face_models
from pifa_jax.datasets import label_fitting, registry, w300lp
from pifa_jax.datasets.samples import decode_image, list_images
from pifa_jax.files import formats
from pifa_jax.geometry import contour, cropping, fitting, morphable_model, projection
from pifa_jax.types import unflatten_params

KINDS = ('npz', 'mat', 'obj', 'ply', 'overlay')
flags.DEFINE_string(
  'input',
  None,
  'A file of landmarks, or a folder of them '
  '(folders in it are looked into); or name a data set: '
  '--dataset and --data_dir.',
)
flags.DEFINE_list(
  'save', ['npz', 'overlay'], 'What to write for every face: ' + ', '.join(KINDS) + '.'
)
flags.DEFINE_boolean(
  'march',
  False,
  'Of 68, 98 and 106 points: let hidden jaw points slide along '
  'the contour, as annotators of 2D landmarks place them.',
)


def main(run: cli.Run) -> int:
  """Fits; returns the exit code."""
  f = flags.FLAGS
  unknown = sorted(set(f.save) - set(KINDS))
  if unknown:
    raise cli.UserError(f'--save={unknown[0]} is not one of {", ".join(KINDS)}.')
  of_data_set = f.dataset != 'synthetic'
  if bool(f.input) == of_data_set:
    raise cli.UserError(
      'Say what to fit, one of both: --input=FILE or FOLDER of '
      f'{", ".join(formats.LANDMARK_SUFFIXES)}, or --dataset '
      'with --data_dir.'
    )
  if of_data_set:
    faces, failures = _read_data_set(f)
  else:
    faces, failures = _read_files(pathlib.Path(f.input).expanduser())
  if not faces:
    for name, reason in failures[:10]:
      print(f'{name}: {reason}', file=sys.stderr)
    raise cli.UserError(f'No landmarks in {f.input or f.data_dir} can be used.')
  workdir = pathlib.Path(run.make_folder(f.workdir))
  run.open(str(workdir))
  model = face_models.load_face_model(f.face_model)
  rows = []
  for count in sorted({len(face['points']) for face in faces}):
    group = [face for face in faces if len(face['points']) == count]
    rows += _fit(model, group, f, workdir, failures)
  outliers = _outliers([row['residual'] for row in rows])
  rows = sorted(
    (dict(row, outlier=bool(o)) for row, o in zip(rows, outliers)),
    key=lambda row: -row['residual'],
  )
  with open(workdir / 'residuals.csv', 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(
      [
        'name',
        'residual_percent',
        'residual_pixels',
        'yaw_degrees',
        'pitch_degrees',
        'roll_degrees',
        'outlier',
      ]
    )
    for row in rows:
      writer.writerow(
        [
          row['name'],
          f'{100 * row["residual"]:.3f}',
          f'{row["pixels"]:.3f}',
          *(f'{a:.2f}' for a in row['angles']),
          int(row['outlier']),
        ]
      )
  if rows:
    print(
      f'{len(rows)} faces fitted, mean residual '
      f'{100 * np.mean([row["residual"] for row in rows]):.2f} % of the face, '
      f'{np.mean([row["pixels"] for row in rows]):.2f} pixels.'
    )
  for row in rows:
    if row['outlier']:
      print(
        f'outlier: {row["name"]}, {100 * row["residual"]:.2f} %: look at its landmarks.'
      )
  for name, reason in failures:
    print(f'failed: {name}: {reason}', file=sys.stderr)
  print(f'Wrote residuals.csv and the faces to {workdir}.')
  if not rows:
    return cli.EXIT_USER_ERROR
  return cli.EXIT_SOME_FAILED if failures else cli.EXIT_OK


def _read_data_set(f):
  """Faces of all splits of a data set, each once, and what its reader rejects."""
  faces, failures = {}, {}
  for split in registry.DATASETS[f.dataset].splits:
    if split in ('train', 'test'):
      found = data_loading.read(f, split)
      faces.update(
        (
          s.name,
          {
            'name': s.name,
            'points': s.landmarks,
            'visible': s.visible,
            'photo': (found.samples, i),
          },
        )
        for i, s in enumerate(found.samples)
      )
      failures.update((r.name, r.reason) for r in found.rejects)
  return list(faces.values()), list(failures.items())


def _files(path):
  if path.is_file():
    return path.parent, [path]
  if not path.is_dir():
    raise cli.UserError(
      f'There is no file or folder {path}; give --input one that exists.'
    )
  found = sorted(
    p
    for p in path.rglob('*')
    if p.is_file()
    and p.suffix.lower() in formats.LANDMARK_SUFFIXES
    and not p.name.startswith('.')
  )
  if not found:
    raise cli.UserError(
      f'There is no {", ".join(formats.LANDMARK_SUFFIXES)} in '
      f'{path}; give --input the folder of the landmarks.'
    )
  return path, found


def _read_files(path):
  """Faces of files: name, points, visible, photo; and what failed."""
  root, files = _files(path)
  faces, failures = [], []
  photos = {}
  for path in files:
    name = path.relative_to(root).as_posix()
    try:
      found = formats.read_landmarks(path)
    except (OSError, ValueError) as error:
      failures.append((name, str(error)))
      continue
    if path.parent not in photos:
      photos[path.parent] = {p.stem: p for p in list_images(path.parent)}
    for number, (points, visible) in enumerate(zip(found.points, found.visible)):
      faces.append(
        {
          'name': name if len(found.points) == 1 else f'{name}#{number + 1}',
          'points': points,
          'visible': visible,
          'photo': photos[path.parent].get(path.stem),
        }
      )
  return faces, failures


def _fit(model, faces, f, workdir, failures):
  """Fits faces with the same number of points; writes what was asked for."""
  points = np.stack([face['points'] for face in faces])
  visible = np.stack([face['visible'] for face in faces])
  began = time.monotonic()
  model, scheme = _scheme(model, points, visible, f)
  march = f.march and scheme in contour.JAW_LINES
  params, residuals = fitting.fit_faces(
    model, points, visible, scheme=scheme, march=march
  )
  print(
    f'{len(faces)} faces of {points.shape[1]} points ({scheme}) in '
    f'{time.monotonic() - began:.1f} s, compilation included.',
    file=sys.stderr,
  )
  if points.shape[1] < label_fitting.FEW_POINTS:
    print(
      f'{points.shape[1]} points tell where a face is and how it is turned, but little '
      'of its shape, which stays near the mean; use more points for meshes.',
      file=sys.stderr,
    )
  angles = projection.pose_degrees(params)
  # Sent to the device once, not with every face.
  on_device = jax.device_put(model)
  rows = []
  for face, vector, residual, angle in zip(faces, params, residuals, angles):
    if not np.isfinite(residual):
      failures.append(
        (
          face['name'],
          'no face fits its landmarks; at least 4 that '
          'are not on one spot must be visible',
        )
      )
      continue
    fitted = unflatten_params(vector, model.num_identity)
    posed = jax.device_get(_posed(on_device, fitted))
    found = posed.positions[np.asarray(model.landmark_schemes[scheme])]
    seen = face['visible']
    gap = np.linalg.norm(found - face['points'], axis=1)[seen]
    low, high = face['points'][seen].min(axis=0), face['points'][seen].max(axis=0)
    rows.append(
      {
        'name': face['name'],
        'residual': float(residual),
        # As the fit measured it: with marching, along the contour.
        'pixels': float(residual * np.sqrt(np.prod(high - low)))
        if march
        else float(gap.mean()),
        'angles': (angle[1], angle[0], angle[2]),
      }
    )
    try:
      _save(workdir, f.save, model, scheme, face, fitted, posed, rows[-1])
    except (OSError, ValueError) as error:
      failures.append((face['name'], str(error)))
  return rows


class _Posed(NamedTuple):
  """All vertices of a fitted face: S_p, their pixels, which face the camera."""

  vertices: np.ndarray
  positions: np.ndarray
  facing: np.ndarray


@jax.jit
def _posed(model, fitted):
  vertices = morphable_model.shape(model, fitted)
  return _Posed(
    vertices,
    projection.project(fitted.camera, vertices),
    projection.frontability(fitted.camera, model.mean_normals) > 0,
  )


def _scheme(model, points, visible, f):
  if f.landmark_scheme != 'auto':
    model, name = data_loading.scheme_of(model, f, '', lambda text: None)
    if len(model.landmark_schemes[name]) != points.shape[1]:
      raise cli.UserError(
        f'--landmark_scheme={f.landmark_scheme} has '
        f'{len(model.landmark_schemes[name])} points, some files have '
        f'{points.shape[1]}.'
      )
    return model, name
  return model, label_fitting.choose_scheme(model, points, visible)[0]


def _outliers(residuals):
  """More than five robust deviations above the median, and above 3 %."""
  residuals = np.asarray(residuals)
  if not len(residuals):
    return residuals
  median = np.median(residuals)
  spread = 1.4826 * np.median(np.abs(residuals - median))
  return residuals > max(median + 5 * spread, 0.03)


def _save(workdir, kinds, model, scheme, face, fitted, posed, row):
  # One flat folder; a name from a folder tree cannot lead out of it.
  base = workdir / face['name'].replace('/', '__').replace('#', '_')
  write = lambda suffix: base.with_name(base.name + suffix)
  camera, identity, expression = (
    np.asarray(a) for a in (fitted.camera, fitted.identity, fitted.expression)
  )
  ids = np.asarray(model.landmark_schemes[scheme])
  found, seen = posed.positions[ids], posed.facing[ids]
  if 'npz' in kinds:
    formats.write_npz(
      write('.npz'),
      camera=camera,
      identity=identity,
      expression=expression,
      landmarks=found,
      visible=seen,
      scheme=np.array(scheme),
      residual=np.array(row['residual']),
      yaw_pitch_roll_degrees=row['angles'],
    )
  if 'mat' in kinds:
    import scipy.io

    photo = _photo(face)
    # Without a photo Pose_Para counts from y = 0.
    height = 0 if photo is None else photo.shape[0]
    scipy.io.savemat(
      write('.mat'),
      {
        'pt2d': found.T + 1.0,
        'Pose_Para': w300lp.pose_para_from_camera(camera, height)[None],
        'Shape_Para': identity[:, None],
        'Exp_Para': expression[:, None],
        'image_height': height,
      },
    )
  if 'obj' in kinds or 'ply' in kinds:
    vertices = formats.image_vertices(camera, posed.vertices)
    if 'obj' in kinds:
      formats.write_obj(write('.obj'), vertices, model.triangles)
    if 'ply' in kinds:
      formats.write_ply(write('.ply'), vertices, model.triangles)
  photo = _photo(face) if 'overlay' in kinds else None
  if photo is not None:
    # A photo hardly shrinks further: a third of the time for a seventh more bytes.
    _overlay(photo, model, posed, ids, face).save(
      write('_overlay.png'), compress_level=1
    )


def _photo(face):
  """Decoded, or None if there is none."""
  if face['photo'] is None:
    return None
  if isinstance(face['photo'], pathlib.Path):
    return decode_image(face['photo'].read_bytes(), face['name'])
  samples, row = face['photo']
  return decode_image(samples[row].image_bytes, face['name'])


def _overlay(photo, model, posed, landmark_ids, face):
  """The photo about the face: mesh, given and fitted landmarks."""
  drawn = np.asarray(model.regions.get('rendered', np.arange(model.num_vertices)))
  points, front = posed.positions[drawn], posed.facing[drawn]
  low, high = points.min(axis=0), points.max(axis=0)
  side = 1.3 * float(max(high - low))
  box = np.array([*((low + high) / 2 - side / 2), side, side], np.float32)
  size = 448
  crop = cropping.crop(photo, box, size)
  place = lambda p: (np.asarray(p, np.float64) - box[:2] + 0.5) * size / side - 0.5
  dots = np.round(place(points[front])).astype(int)
  dots = dots[np.all((dots >= 0) & (dots < size), axis=1)]
  # Mixed half and half, so that the face stays visible beneath.
  crop[dots[:, 1], dots[:, 0]] = crop[dots[:, 1], dots[:, 0]] // 2 + np.uint8(
    [40, 90, 127]
  )
  target = place(np.where(face['visible'][:, None], face['points'], np.nan))
  return figures.face(
    crop,
    place(posed.positions[landmark_ids]),
    posed.facing[landmark_ids],
    size=size,
    target=target,
  )


if __name__ == '__main__':
  cli.start(main)
