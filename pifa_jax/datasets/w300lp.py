"""300W-LP and AFLW2000-3D as they are distributed: images with .mat files.

  300W-LP   {AFW,HELEN,IBUG,LFPW}[_Flip]/<photo>_<k>.jpg and .mat, k = variant in pose,
            landmarks/{AFW,...}/<photo>_<k>_pts.mat with pts_3d (68, 2)
  AFLW2000  image<nnnnn>.jpg and .mat

Pose_Para = [pitch, yaw, roll, tx, ty, tz, f] places the Basel face S (micrometres)
at V = f R S + t in pixels that count from 1, with y up from the lower edge.
"""

from collections.abc import Sequence
import pathlib

import numpy as np

from pifa_jax.datasets.samples import (
  Reject,
  Sample,
  SampleSet,
  data_root,
  landmark_box,
  photo_samples,
)
from pifa_jax.files import matlab_files
from pifa_jax.files.formats import impossible_points
from pifa_jax.files.images import read_image_size
from pifa_jax.geometry import projection
from pifa_jax.types import MorphableModel, unflatten_params

FOLDERS = ('AFW', 'HELEN', 'IBUG', 'LFPW')
HOW_TO_GET_300WLP = (
  '--data_dir must hold the folders AFW, HELEN, IBUG and LFPW (and their _Flip '
  'twins, if wanted) of the unpacked 300W-LP.zip, which the authors of 3DDFA '
  '(Zhu et al., CVPR 2016) give to researchers.'
)
HOW_TO_GET_AFLW2000 = (
  '--data_dir must hold image00002.jpg, image00002.mat, ... of the unpacked '
  'AFLW2000-3D.zip, which the authors of 3DDFA (Zhu et al., CVPR 2016) give to '
  'researchers.'
)
# Micrometres of the Basel face in the millimetres of our models.
_PER_UNIT = 1000.0
_FAR = 1.0  # pixels


def read_300wlp(
  data_dir: str | pathlib.Path | None,
  split: str = 'train',
  *,
  model: MorphableModel | None = None,
) -> SampleSet:
  """Reads 300W-LP: training only, as 300W's own photos are in it.

  Labels are the projected 68 points of the 3D face (pts_3d of the landmarks
  folder, else pt2d). The box of a face is that of its landmarks: roi is the crop
  of the photo, not a face.

  Args:
    data_dir: the unpacked archive; folders that are not there are named in `missing`.
    split: 'train'.
    model: the Basel model in our form (199 + 29 bases; `face_models`): the
      samples then carry their exact P.

  Returns:
    The split; variants and mirror images of one photo share a group.

  Raises:
    FileNotFoundError: if none of the four folders is there.
    ValueError: for another split; or if `model` does not meet the labels.
  """
  if split != 'train':
    raise ValueError(f'split={split!r}; 300W-LP has train alone.')
  root, sources = data_root(data_dir, HOW_TO_GET_300WLP)
  there = {name: sources.is_dir(root / name) for name in FOLDERS}
  if not any(there.values()):
    raise FileNotFoundError(f'There is no folder {root / "AFW"}: {HOW_TO_GET_300WLP}')
  folders = [
    root / folder
    for name in FOLDERS
    for folder in (name, f'{name}_Flip')
    if sources.is_dir(root / folder)
  ]
  image_paths = [path for f in folders for path in sources.find_images(f).images]

  def place(path):
    folder = path.parent.name
    photo = path.stem.rpartition('_')[0] or path.stem
    labels = root / 'landmarks' / folder / f'{path.stem}_pts.mat'
    return f'{folder.removesuffix("_Flip")}/{photo}', labels

  missing = tuple(f'{name}/' for name in FOLDERS if not there[name])
  return _read(root, sources, image_paths, place, model, missing)


def read_aflw2000(
  data_dir: str | pathlib.Path | None,
  split: str = 'test',
  *,
  model: MorphableModel | None = None,
) -> SampleSet:
  """Reads AFLW2000-3D: testing only, labels are pt3d_68 (the original set).

  Args:
    data_dir: the unpacked archive.
    split: 'test'.
    model: see `read_300wlp`.

  Returns:
    The split.

  Raises:
    FileNotFoundError: if the folder is missing.
    ValueError: see `read_300wlp`.
  """
  if split != 'test':
    raise ValueError(f'split={split!r}; AFLW2000-3D has test alone.')
  root, sources = data_root(data_dir, HOW_TO_GET_AFLW2000)
  image_paths = sources.find_images(root).images
  if not image_paths:
    raise FileNotFoundError(f'There are no images in {root}: {HOW_TO_GET_AFLW2000}')
  return _read(root, sources, image_paths, lambda path: ('', None), model, ())


def _read(root, sources, image_paths, place, model, missing):
  paths, samples, rejects, notes, poorer = [], [], [], [], 0
  for path in image_paths:
    name = path.relative_to(root).as_posix()
    group, better_labels = place(path)
    try:
      if better_labels is not None and not sources.is_file(better_labels):
        better_labels, poorer = None, poorer + 1
      points, pose_para, coefficients = _labels(sources, path, better_labels)
      height = None if model is None else read_image_size(path)[1]
      samples.append(
        make_sample(
          name, points, pose_para, coefficients, height, model=model, group=group
        )
      )
      paths.append(path)
    except (OSError, ValueError) as error:
      rejects.append(Reject(name, str(error)))
  if poorer:
    notes.append(
      f'{poorer} of {len(image_paths)} photos have no file in landmarks/: their pt2d '
      'is used instead, whose hidden points are less exact; unpack the whole archive.'
    )
    missing += (f'the pts_3d of {poorer} photos in landmarks/',)
  if model is not None and samples:
    notes.append(check_params(model, samples))
  return SampleSet(
    photo_samples(sources, paths, samples), rejects, notes, sources, missing
  )


def make_sample(
  name: str,
  points: np.ndarray,
  pose_para: np.ndarray,
  coefficients: tuple[np.ndarray, np.ndarray],
  height: int | None,
  *,
  model: MorphableModel | None,
  group: str,
) -> Sample:
  """A sample from what 300W-LP says of an image, without the image's bytes.

  Args:
    name: of the image.
    points: (68, 2) 0-based pixels.
    pose_para: (7,) Pose_Para.
    coefficients: Shape_Para (199,) and Exp_Para (29,).
    height: of the image; needed with `model`.
    model: the Basel model, for the exact P; None = without.
    group: of the variants of one photo.

  Returns:
    The sample.

  Raises:
    ValueError: if the coefficients are not the model's.
  """
  params = None
  if model is not None and height is not None:
    camera = camera_from_pose_para(pose_para, height)
    params = np.concatenate([camera.ravel(), *coefficients]).astype(np.float32)
    if len(params) != model.num_params:
      raise ValueError(
        f'it has {len(coefficients[0])} + {len(coefficients[1])} coefficients, '
        f'the face model {model.num_identity} + {model.num_expression}'
      )
  visible = np.ones(68, bool)
  return Sample(
    name,
    b'',
    points.astype(np.float32),
    visible,
    landmark_box(points, visible),
    pose=np.rad2deg(pose_para[:3]).astype(np.float32),
    params=params,
    group=group,
  )


def _labels(sources, path, better):
  """68 points, Pose_Para and (Shape_Para, Exp_Para) of one image."""
  label = sources.find_beside(path, ('.mat',))
  if label is None:
    raise ValueError(f'there is no {path.stem}.mat beside it')
  content = matlab_files.read_numbers(label, ('Pose_Para', 'Shape_Para', 'Exp_Para'))
  pose = content['Pose_Para'].ravel()
  if pose.shape != (7,) or not np.all(np.isfinite(pose)):
    raise ValueError(f'{path.stem}.mat: Pose_Para is not seven numbers')
  points: np.ndarray | None
  if better is not None:
    points = matlab_files.read_numbers(better, ('pts_3d',))['pts_3d']
  else:
    found = matlab_files.read_mat(label, ('pt3d_68', 'pt2d'))
    # AFLW2000's pt2d are the 21 points of AFLW.
    table = found.get('pt3d_68', found.get('pt2d'))
    points = np.asarray(table)[:2].T if isinstance(table, np.ndarray) else None
  if points is None or points.shape != (68, 2) or points.dtype.kind not in 'fiu':
    raise ValueError(f'{path.stem}.mat has no 68 points')
  if not np.all(np.abs(points) < 1e6):
    raise ValueError(f'{path.stem}.mat has a point that is not finite')
  problem = impossible_points(points - 1.0, np.ones(68, bool))
  if problem:
    raise ValueError(f'{path.stem}.mat: {problem}')
  return (
    points.astype(np.float64) - 1.0,
    pose,
    (content['Shape_Para'].ravel(), content['Exp_Para'].ravel()),
  )


def check_params(model: MorphableModel, samples: Sequence[Sample]) -> str:
  """Whether exact P and labels are of the same faces, on up to 64 of them.

  Args:
    model: the Basel model.
    samples: with their P.

  Returns:
    A sentence on how far the projected faces lie from their labels.

  Raises:
    ValueError: if that is more than a pixel.
  """
  some = samples[:: max(1, len(samples) // 64)]
  ids = np.asarray(model.landmark_schemes['ibug68'])
  mean, identity, expression = (
    np.asarray(a[..., ids, :], np.float64)
    for a in (model.mean_shape, model.identity_basis, model.expression_basis)
  )
  offsets = []
  for sample in some:
    p = unflatten_params(np.asarray(sample.params, np.float64), model.num_identity)
    face = (
      mean
      + np.tensordot(p.identity, identity, 1)
      + np.tensordot(p.expression, expression, 1)
    )
    offsets.append(face @ p.camera[:, :3].T + p.camera[:, 3] - sample.landmarks)
  offset = np.mean(offsets, axis=(0, 1))
  far = np.mean(np.linalg.norm(offsets, axis=-1))
  note = (
    f'The exact P of {len(some)} faces meets the labels within {far:.2f} '
    f'pixels on average; mean offset ({offset[0]:+.2f}, {offset[1]:+.2f}).'
  )
  if not far < _FAR:
    raise ValueError(
      note + ' More than one pixel: --face_model is not the Basel '
      'model of the data set, or its coordinates are not as assumed.'
    )
  return note


def camera_from_pose_para(pose_para: np.ndarray, height: int) -> np.ndarray:
  """M of a face that Pose_Para places (see the head of this file).

  Args:
    pose_para: (7,) pitch, yaw, roll in radians; tx, ty, tz in pixels; f in pixels
      per micrometre.
    height: of the photo, pixels.

  Returns:
    (2, 4) float64, for a model in millimetres: 0-based pixels, v down.
  """
  pitch, yaw, roll, tx, ty, _, f = np.asarray(pose_para, np.float64)
  linear = f * _PER_UNIT * projection.rotation_from_euler(yaw, pitch, roll, xp=np)
  return np.array([[*linear[0], tx - 1.0], [*-linear[1], height - ty]])


def pose_para_from_camera(
  camera: np.ndarray, height: int, tz: float = 0.0
) -> np.ndarray:
  """The inverse of `camera_from_pose_para`; M says nothing of tz.

  Args:
    camera: (2, 4) a scaled rotation and a translation.
    height: of the photo.
    tz: to be filled in.

  Returns:
    (7,) float64.
  """
  camera = np.asarray(camera, np.float64)
  m1, m2 = camera[0, :3], -camera[1, :3]
  scale = np.sqrt((m1 @ m1 + m2 @ m2) / 2)
  r1, r2 = m1 / scale, m2 / scale
  yaw, pitch, roll = projection.euler_from_rotation(
    np.stack([r1, r2, np.cross(r1, r2)]), xp=np
  )
  return np.array(
    [pitch, yaw, roll, camera[0, 3] + 1.0, height - camera[1, 3], tz, scale / _PER_UNIT]
  )


def pose_of_points(mean: np.ndarray, points: np.ndarray) -> np.ndarray:
  """Pose of labelled 3D points: that of the similarity which the mean face needs.

  Args:
    mean: (N, 3) the points on a mean face: x right, y up, z towards the viewer.
    points: (N, 3) pixels: u right, v down; z towards the viewer.

  Returns:
    (3,) float32 pitch, yaw, roll in degrees.
  """
  rotation, _, _ = similarity(mean, points * [1, -1, 1])
  m = np.hstack([rotation[:2] * [[1], [-1]], np.zeros((2, 1))])
  return np.rad2deg(pose_para_from_camera(m, 0)[:3]).astype(np.float32)


def similarity(
  source: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
  """The similarity that moves points best: target = scale R source + shift.

  Umeyama, "Least-squares estimation of transformation parameters between two point
  patterns", 1991.

  Args:
    source: (N, 3).
    target: (N, 3).

  Returns:
    R (3, 3), scale, shift (3,).
  """
  a, b = source - source.mean(0), target - target.mean(0)
  u, s, vt = np.linalg.svd(b.T @ a)
  sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
  rotation = u @ sign @ vt
  scale = np.trace(np.diag(s) @ sign) / np.sum(a**2)
  return rotation, scale, target.mean(0) - scale * rotation @ source.mean(0)
