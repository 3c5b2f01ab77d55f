"""TFDS's own `the300w_lp` and `aflw2k3d`, where somebody has prepared them.

Their records keep less than the archives: no file names, and AFLW2000-3D neither
pose nor parameters. What is missing is derived, and how is said at each function.
Points are (1-based pixel) / 450 there. TensorFlow is not needed, but the records must
be ArrayRecord files.
"""

import hashlib
import pathlib

import numpy as np

from pifa_jax.datasets import w300lp
from pifa_jax.datasets.samples import LazySamples, Reject, Sample, SampleSet
from pifa_jax.face_models import load_face_model
from pifa_jax.files.sources import Sources
from pifa_jax.types import MorphableModel

# Our name -> theirs. Both have one split, called train.
NAMES = {'300wlp': 'the300w_lp', 'aflw2000': 'aflw2k3d'}
_SIDE = 450  # pixels of every image, and what points are divided by


def folder(name: str, tfds_dir: str | pathlib.Path) -> pathlib.Path | None:
  """Where a data set of TFDS's catalogue lies prepared.

  Args:
    name: a key of `registry.DATASETS`.
    tfds_dir: TFDS's data folder.

  Returns:
    The folder of its newest version; None if there is none.
  """
  if name not in NAMES:
    return None
  found = sorted(
    path.parent
    for path in (pathlib.Path(tfds_dir) / NAMES[name]).glob('*/dataset_info.json')
  )
  return found[-1] if found else None


def read(
  name: str, tfds_dir: str | pathlib.Path, *, model: MorphableModel | None = None
) -> SampleSet:
  """Reads the one split of a data set of TFDS's catalogue.

  Args:
    name: a key of `NAMES`; `folder` must find it.
    tfds_dir: TFDS's data folder.
    model: for 300wlp: the Basel model; samples then carry their exact P.

  Returns:
    The samples, in the order of the records.

  Raises:
    ValueError: if the records cannot be read, or `model` does not meet them.
  """
  import tensorflow_datasets as tfds

  where = _found(name, tfds_dir)
  sources = Sources(where)
  for path in files(name, tfds_dir):
    sources.use(path)
  try:
    builder = tfds.builder_from_directory(str(where))
    source = builder.as_data_source(
      'train', decoders={'image': tfds.decode.SkipDecoding()}
    )
  # TFDS raises many kinds: NotImplementedError for its old file format, ...
  except Exception as error:
    text = str(error).split('\n')[0][:200]
    raise ValueError(
      f'{where} cannot be read without TensorFlow ({text}); prepare it with '
      "file_format='array_record', or give the unpacked archive: --data_dir."
    ) from error
  make = {'300wlp': _sample_300wlp, 'aflw2000': _sample_aflw2000}[name]
  if name != '300wlp' and model is not None:
    raise ValueError(
      f'The records of {NAMES[name]} have no P; leave --exact_params '
      'out, or give the unpacked archive.'
    )
  samples, rejects, rows = [], [], []
  for row in range(len(source)):
    label = f'{NAMES[name]}-{row:06d}'
    try:
      samples.append(make(source[row], label, model))
      rows.append(row)
    except ValueError as error:
      rejects.append(Reject(label, str(error)))
  notes = []
  if name == '300wlp':
    notes.append(
      'The records have no file names: images with the same face '
      'coefficients count as variants of one photo '
      f'({len({s.group for s in samples})} photos).'
    )
  if model is not None and samples:
    notes.append(w300lp.check_params(model, samples))
  read = lambda row: bytes(source[row]['image'])
  return SampleSet(LazySamples(read, rows, samples), rejects, notes, sources)


def files(name: str, tfds_dir: str | pathlib.Path) -> list[pathlib.Path]:
  """The files that decide what `read` gives.

  Args:
    name: as for `read`.
    tfds_dir: TFDS's data folder.

  Returns:
    Their paths, sorted.
  """
  return sorted(path for path in _found(name, tfds_dir).iterdir() if path.is_file())


def _found(name, tfds_dir):
  where = folder(name, tfds_dir)
  if where is None:
    raise ValueError(f'There are no records of {NAMES.get(name, name)} in {tfds_dir}.')
  return where


def _points(record, key):
  points = np.asarray(record[key], np.float64) * _SIDE - 1.0
  if points.shape != (68, 2) or not np.all(np.abs(points) < 1e6):
    raise ValueError(f'{key} is not 68 points')
  return points


def _sample_300wlp(record, name, model):
  """One face; the labels are landmarks_3d, the projected 68 points.

  roi is the crop of the original photo, not a face: it is not used. Profiling
  (Zhu et al., CVPR 2016) turns a fitted face and keeps its coefficients, so equal
  ones tell the variants of one photo.
  """
  pose = np.asarray(record['pose_params'], np.float64)
  if pose.shape != (7,) or not np.all(np.isfinite(pose)):
    raise ValueError('pose_params is not seven numbers')
  shape = np.asarray(record['shape_params'], np.float32)
  expression = np.asarray(record['exp_params'], np.float32)
  group = hashlib.sha256(shape.tobytes() + expression.tobytes()).hexdigest()[:16]
  return w300lp.make_sample(
    name,
    _points(record, 'landmarks_3d'),
    pose,
    (shape, expression),
    _SIDE,
    model=model,
    group=group,
  )


def _sample_aflw2000(record, name, model):
  """One face; its pose is that of the similarity of its 68 3D points with a mean face.

  Umeyama (1991), as in `w300lp.pose_of_points`: the records do not keep Pose_Para.
  """
  del model
  points = _points(record, 'landmarks_68_3d_xy_normalized')
  depth = np.asarray(record['landmarks_68_3d_z'], np.float64).reshape(-1, 1)
  if depth.shape != (68, 1) or not np.all(np.isfinite(depth)):
    raise ValueError('landmarks_68_3d_z is not 68 numbers')
  mean = load_face_model('builtin')
  mean = np.asarray(mean.mean_shape, np.float64)[
    np.asarray(mean.landmark_schemes['ibug68'])
  ]
  low, high = points.min(axis=0), points.max(axis=0)
  return Sample(
    name,
    b'',
    points.astype(np.float32),
    np.ones(68, bool),
    np.concatenate([low, high - low]).astype(np.float32),
    pose=w300lp.pose_of_points(mean, np.hstack([points, depth])),
  )
