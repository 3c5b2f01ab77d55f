"""Crop caches: the memory-mapped form that training reads.

Every face becomes one uint8 crop of its square box with a margin around it (room
for box jitter), with its landmarks, target P and pose in pixels of that crop. The
folder holds plain .npy arrays and dataset.json; a folder is named by the hash of
all that went into it, so a stale one is never read.
"""

from collections.abc import Callable, Iterable, Sequence
import csv
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import shutil
import tempfile
from typing import Any, NamedTuple

import numpy as np

from pifa_jax.datasets import label_fitting
from pifa_jax.datasets.samples import Reject, Sample
from pifa_jax.files.formats import write_atomically
from pifa_jax.files.images import decode_image
from pifa_jax.files.sources import Sources, fingerprint
from pifa_jax.geometry import boxes as box_lib
from pifa_jax.geometry import cropping, fitting, projection
from pifa_jax.types import MorphableModel

SCHEMA = 5  # raise it when crops or target P of the same sources change
IMAGE_SIZE = 160
MARGIN = 1.4  # holds boxes that are moved by 0.1 of their size and scaled by 1.1 or 1.2

_ARRAYS = (
  'images',
  'landmarks',
  'visible',
  'params',
  'boxes',
  'residuals',
  'poses',
  'pixel_sizes',
)


class CropShape(NamedTuple):
  """How large the cached crops are.

  Attributes:
    image_size: side, pixels.
    margin: side over side of the square box.
  """

  image_size: int = IMAGE_SIZE
  margin: float = MARGIN


USUAL_SHAPE = CropShape()


def crop_shape(
  shift: float,
  scale: float,
  *,
  box_scale: float = 1.0,
  rotation: float = 0.0,
  crop_scale: float = 1.0,
) -> CropShape:
  """The cached crops that hold every crop of jittered boxes whole.

  What lies outside a cached crop is grey, and the width of the grey would tell a
  network where in its image the face is.

  Args:
    shift: of `boxes.jitter_box`, as the next two.
    scale: how much the sides change, at most.
    box_scale: factor of the sides.
    rotation: of the jittered box about its centre, degrees, at most.
    crop_scale: side of the network's crop over side of the jittered box. A face has
      fewer pixels there, and so in the cached crop.

  Returns:
    The shape; a margin of `MARGIN`, or more, in steps of a tenth.
  """
  # The upright square about a rotated one is widest at 45 degrees.
  angle = math.radians(min(abs(rotation), 45.0))
  side = crop_scale * box_scale * (1 + scale) * (math.cos(angle) + math.sin(angle))
  needed = side + 2 * shift
  margin = max(MARGIN, math.ceil(10 * needed - 1e-6) / 10)
  return CropShape(round(IMAGE_SIZE * margin / MARGIN / crop_scale), margin)


@dataclasses.dataclass(frozen=True)
class CropCache:
  """A data set on disk, mapped into memory; M faces.

  Attributes:
    images: (M, S, S, 3) uint8.
    landmarks: (M, N, 2) float32, pixels of the cached crop.
    visible: (M, N) bool.
    params: (M, 8 + N_I + N_E) float32 target P, pixels of the cached crop.
    boxes: (M, 4) float32 the provided boxes, pixels of the cached crop.
    residuals: (M,) float32 of the fit, fraction of the landmarks' size; 0 where
      P is exact, infinite where P is not known (and holds zeros).
    poses: (M, 3) float32 pitch, yaw, roll in degrees: the data set's labels, or
      P's; NaN where neither is known.
    pixel_sizes: (M,) float32 a pixel of the photo, in pixels of the crop.
    names: M names.
    groups: M names of the images that the faces are variants of.
    content_hash: of all arrays.
    meta: what dataset.json holds beside them.
  """

  images: np.ndarray
  landmarks: np.ndarray
  visible: np.ndarray
  params: np.ndarray
  boxes: np.ndarray
  residuals: np.ndarray
  poses: np.ndarray
  pixel_sizes: np.ndarray
  names: list[str]
  groups: list[str]
  content_hash: str
  meta: dict[str, Any]

  def __len__(self) -> int:
    return len(self.images)

  @property
  def rejects(self) -> list[Reject]:
    """What was left out when the set was cropped."""
    return [Reject(*row) for row in self.meta.get('rejects', [])]


class Crops(NamedTuple):
  """What `crop_samples` makes of samples.

  Attributes:
    arrays: arrays, names and groups for `write_cache`.
    rejects: samples that could not be used.
    doubts: samples whose labels their fit contradicts (`label_fitting.contradictions`);
      among the rejects, too, if these are left out.
  """

  arrays: dict[str, Any]
  rejects: list[Reject]
  doubts: list[Reject]


def crop_samples(
  samples: Iterable[Sample],
  model: MorphableModel,
  *,
  scheme: str | None,
  exact: bool = False,
  keep_doubtful: bool = False,
  shape: CropShape = USUAL_SHAPE,
) -> Crops:
  """Crops the images and fits P to the landmarks (Sec. 3.1).

  Args:
    samples: of a reader; all with the same number of landmarks.
    model: whose parameters are fitted.
    scheme: the landmark scheme of the samples; None = P is not needed, as in a
      set that is only for evaluation: no face is rejected for its landmarks.
    exact: take P from the samples, which were made with this model.
    keep_doubtful: keep faces whose labels their fit contradicts, as a test set must
      that is compared with published numbers.
    shape: of the crops.

  Returns:
    The crops, what could not be used, and what is in doubt.

  Raises:
    ValueError: if none can be used.
  """
  found = [_crop(sample, *shape) for sample in samples]
  rows = [row for row in found if not isinstance(row, Reject)]
  rejects = [row for row in found if isinstance(row, Reject)]
  if not rows:
    raise ValueError(
      f'None of the {len(rejects)} samples can be used; the first: '
      f'{rejects[0].name}, {rejects[0].reason}.'
      if rejects
      else 'The data set holds no samples.'
    )
  names = [row['names'] for row in rows]
  outer = np.stack([row['outer'] for row in rows])
  arrays: dict[str, Any] = {
    name: np.stack([row[name] for row in rows])
    for name in ('images', 'landmarks', 'visible', 'boxes', 'poses')
  }
  arrays['pixel_sizes'] = (shape.image_size / outer[:, 2]).astype(np.float32)
  doubts: list[Reject] = []
  if scheme is None:
    nothing = np.zeros((len(names), model.num_params), np.float32)
    arrays.update(params=nothing, residuals=np.full(len(names), np.inf, np.float32))
    good = np.ones(len(names), bool)
  else:
    exact_params = [row['params'] for row in rows] if exact else None
    _fit(arrays, exact_params, outer, model, scheme, shape.image_size)
    good = np.isfinite(arrays['residuals'])
    if not good.any():
      raise ValueError(
        f'No face fits the landmarks of any of the {len(names)} '
        f'samples; look at their labels and at scheme {scheme!r}.'
      )
    rejects += [
      Reject(names[i], 'no face fits its landmarks') for i in np.where(~good)[0]
    ]
    # Exact P is no fit, and contradicts nothing.
    reasons: list[str | None] = [None] * len(names)
    if not exact:
      reasons = label_fitting.contradictions(
        model, arrays['params'], arrays['residuals'], arrays['visible'], scheme=scheme
      )
    doubts = [Reject(n, why) for n, why in zip(names, reasons, strict=True) if why]
    if not keep_doubtful:
      good &= np.array([why is None for why in reasons])
      rejects += doubts
    if not good.any():
      raise ValueError(
        f'The labels of all {len(names)} samples are contradicted by their fit; the '
        f'first: {doubts[0].name}, {doubts[0].reason}'
      )
  # Hidden points may be anything; NaN would only invite accidents.
  arrays['landmarks'] = np.where(
    arrays['visible'][..., None], arrays['landmarks'], 0.0
  ).astype(np.float32)
  arrays = {name: value[good] for name, value in arrays.items()}
  for name in ('names', 'groups'):
    arrays[name] = [row[name] for row, g in zip(rows, good, strict=True) if g]
  return Crops(arrays, rejects, doubts)


def _crop(sample, image_size, margin):
  """The row of one sample, by the names of the columns; or a Reject."""
  try:
    image = decode_image(sample.image_bytes, sample.name)
  except ValueError as error:
    return Reject(sample.name, str(error))
  if not _touches(sample.box, image):
    return Reject(
      sample.name,
      'the box lies outside the image, which has '
      f'{image.shape[1]} x {image.shape[0]} pixels',
    )
  visible = sample.visible & np.isfinite(sample.landmarks).all(axis=1)
  outside = _outside(sample, visible, image)
  if outside:
    return Reject(sample.name, outside)
  outer = _margin_box(sample.box, margin)
  corner = (sample.box[:2] - outer[:2]) * (image_size / outer[2]) - 0.5
  sides = sample.box[2:] * (image_size / outer[2])
  pose = np.full(3, np.nan) if sample.pose is None else sample.pose
  return {
    'images': cropping.crop(image, outer, image_size),
    'landmarks': np.asarray(
      box_lib.crop_points(sample.landmarks, outer, image_size), np.float32
    ),
    'visible': visible,
    'boxes': np.concatenate([corner, sides]).astype(np.float32),
    'outer': outer,
    'poses': np.asarray(pose, np.float32),
    'params': sample.params,
    'names': sample.name,
    'groups': sample.group or sample.name,
  }


def _fit(arrays, exact_params, outer, model, scheme, image_size):
  """Adds P, residuals and, where no label says them, poses to the arrays (Sec. 3.1)."""
  points, visible = arrays['landmarks'], arrays['visible']
  if exact_params is None:
    fitted = fitting.fit_faces(model, points, visible, scheme=scheme)
  else:
    fitted = label_fitting.exact_params(
      model, exact_params, outer, points, visible, scheme=scheme, image_size=image_size
    )
  arrays['params'], arrays['residuals'] = fitted
  unlabelled = np.isnan(arrays['poses']).any(axis=1)
  arrays['poses'] = np.where(
    unlabelled[:, None], projection.pose_degrees(arrays['params']), arrays['poses']
  )


def _outside(sample, visible, image):
  """Names landmarks that lie outside the photo by more than half a face; else None.

  A face at the photo's edge has labels a little outside; labels of another photo, or of
  the photo at another size, lie far outside.
  """
  if not visible.any():
    return None
  height, width = image.shape[:2]
  points = sample.landmarks[visible]
  reach = 0.5 * float(max(np.ptp(points, axis=0)))
  beyond = np.maximum(-points, points - [width - 1, height - 1]).max(axis=1) > reach
  if not beyond.any():
    return None
  x, y = points[beyond][0]
  return (
    f'{beyond.sum()} landmarks lie far outside the photo of {width} x {height} pixels, '
    f'point {np.flatnonzero(visible)[beyond][0] + 1} at ({x:.0f}, {y:.0f})'
  )


def _touches(box, image):
  """Whether a box (outer edges) and an image have an area in common."""
  height, width = image.shape[:2]
  return (
    box[0] < width - 0.5
    and box[1] < height - 0.5
    and box[0] + box[2] > -0.5
    and box[1] + box[3] > -0.5
  )


def _margin_box(box, margin):
  square = np.asarray(box_lib.square_box(np.asarray(box, np.float32)))
  side = square[2] * margin
  centre = square[:2] + square[2:] / 2
  return np.array([*(centre - side / 2), side, side], np.float32)


def write_cache(
  directory: str | pathlib.Path,
  arrays: dict[str, Any],
  meta: dict[str, Any],
  rejects: Sequence[Reject] = (),
) -> None:
  """Writes a crop cache, whole or not at all.

  Args:
    directory: is replaced.
    arrays: the array fields of `CropCache`, 'names' and 'groups'. Without
      'residuals' they are 0 (P is exact), without 'poses' they are P's, without
      'pixel_sizes' 1, without 'names' numbers, without 'groups' the names.
    meta: JSON values to keep beside them.
    rejects: written to rejects.csv; the 20 worst fits go to worst_fits.csv.

  Raises:
    ValueError: if the arrays are not those of a crop cache.
  """
  directory = pathlib.Path(directory)
  count = len(arrays['images'])
  arrays = {
    'residuals': np.zeros(count, np.float32),
    'pixel_sizes': np.ones(count, np.float32),
    'names': [str(i) for i in range(count)],
    **arrays,
  }
  arrays.setdefault('groups', arrays['names'])
  if 'poses' not in arrays and 'params' in arrays:
    arrays['poses'] = projection.pose_degrees(arrays['params'])
  wrong = _what_is_wrong(arrays, arrays['names'])
  if wrong:
    raise ValueError(f'{directory} is not written: {wrong}.')
  directory.parent.mkdir(parents=True, exist_ok=True)
  temporary = pathlib.Path(
    tempfile.mkdtemp(prefix=directory.name + '.', dir=directory.parent)
  )
  old = temporary.with_name(temporary.name + '.old')
  try:
    digest = hashlib.sha256()
    for name in _ARRAYS:
      array = np.ascontiguousarray(arrays[name])
      np.save(temporary / f'{name}.npy', array, allow_pickle=False)
      digest.update(f'{name} {array.dtype} {array.shape} '.encode())
      digest.update(array.data)
    names = list(arrays['names'])
    with open(temporary / 'dataset.json', 'w', encoding='utf-8') as file:
      json.dump(
        {
          'schema': SCHEMA,
          'content_hash': digest.hexdigest()[:16],
          'meta': meta,
          'names': names,
          'groups': list(arrays['groups']),
          'rejects': [[r.name, r.reason] for r in rejects],
        },
        file,
      )
    with _open_table(temporary / 'rejects.csv') as file:
      csv.writer(file).writerows(
        [('name', 'reason')] + [(reject.name, reject.reason) for reject in rejects]
      )
    worst = np.argsort(-arrays['residuals'])[:20]
    with _open_table(temporary / 'worst_fits.csv') as file:
      csv.writer(file).writerows(
        [('name', 'residual')]
        + [(names[i], f'{arrays["residuals"][i]:.5f}') for i in worst]
      )
    if directory.exists():
      # Aside first: a folder that is not empty cannot be replaced in one step.
      # Who has the old one mapped keeps it.
      os.replace(directory, old)
    os.replace(temporary, directory)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _what_is_wrong(arrays, names):
  """What keeps arrays from being a crop cache; None if they are one."""
  rank = {
    'images': 4,
    'landmarks': 3,
    'visible': 2,
    'params': 2,
    'boxes': 2,
    'residuals': 1,
    'poses': 2,
    'pixel_sizes': 1,
  }
  kind = {'images': 'uint8', 'visible': 'bool'}
  for name in _ARRAYS:
    if name not in arrays:
      return f'{name} is missing'
    array = arrays[name]
    if array.ndim != rank[name] or array.dtype != kind.get(name, 'float32'):
      return f'{name} is {array.dtype} {array.shape}'
    if len(array) != len(names):
      return f'there are {len(array)} {name} but {len(names)} names'
  image, points = arrays['images'].shape, arrays['landmarks'].shape
  if image[1] != image[2] or image[3] != 3:
    return f'images have shape {image}, not (M, S, S, 3)'
  if points != arrays['visible'].shape + (2,) or arrays['boxes'].shape[1] != 4:
    return (
      f'landmarks {points}, visible {arrays["visible"].shape} and boxes '
      f'{arrays["boxes"].shape} do not agree'
    )
  return None


def _open_table(path):
  """A .csv for writing; names whose bytes are no text are escaped in it."""
  return open(path, 'w', newline='', encoding='utf-8', errors='backslashreplace')


def open_cache(directory: str | pathlib.Path) -> CropCache:
  """Maps a crop cache into memory.

  Args:
    directory: of `write_cache`.

  Returns:
    The data set.

  Raises:
    ValueError: if the folder is not a whole crop cache.
  """
  directory = pathlib.Path(directory)
  try:
    with open(directory / 'dataset.json') as file:
      info = json.load(file)
    if info['schema'] != SCHEMA:
      raise ValueError(f'schema {info["schema"]}, this version reads {SCHEMA}')
    arrays = {
      name: np.load(directory / f'{name}.npy', mmap_mode='r', allow_pickle=False)
      for name in _ARRAYS
    }
    # The small ones are read whole: fancy indexing of a map is slow.
    arrays = {
      name: value if name == 'images' else np.array(value)
      for name, value in arrays.items()
    }
    wrong = _what_is_wrong(arrays, info['names'])
    if wrong:
      raise ValueError(wrong)
    return CropCache(
      names=info['names'],
      groups=info['groups'],
      content_hash=info['content_hash'],
      meta={**info['meta'], 'rejects': info['rejects']},
      **arrays,
    )
  except (OSError, EOFError, KeyError, TypeError, ValueError, RecursionError) as error:
    raise ValueError(
      f'{directory} is not a crop cache ({error}); delete it, it will be made again.'
    ) from error


def open_or_build(
  cache_dir: str | pathlib.Path,
  key: dict[str, Any],
  build: Callable[[], tuple[dict[str, Any], list[Reject]]],
) -> CropCache:
  """Opens the crop cache of a data set, making it if it is not there.

  Args:
    cache_dir: holds one folder a key.
    key: JSON values that decide the content: data set, split, source, face model
      hash, scheme; image size and margin if they are not the defaults. A changed
      key is another folder.
    build: gives the arrays of `write_cache` and the rejects. It may put further JSON
      values for `CropCache.meta` into the arrays, as 'facts'.

  Returns:
    The data set.
  """
  key = {'image_size': IMAGE_SIZE, 'margin': MARGIN, **key, 'schema': SCHEMA}
  directory = pathlib.Path(cache_dir) / f'crops_{_digest(key)}'
  if directory.exists():
    try:
      return open_cache(directory)
    except ValueError:
      pass  # half deleted by hand: made again
  arrays, rejects = build()
  facts = arrays.pop('facts', {})
  write_cache(directory, arrays, {**key, **facts}, rejects)
  return open_cache(directory)


def _digest(key):
  return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]


def known_fingerprint(
  cache_dir: str | pathlib.Path, source: dict[str, Any]
) -> str | None:
  """The fingerprint of what a reader looked at last time, if all is as it was then.

  So an unchanged data set is not read again: its files are only looked at.

  Args:
    cache_dir: see `open_or_build`.
    source: JSON values that decide what is read: data set, split, folder.

  Returns:
    Of `remember_sources`; None if it is not known or something has changed.
  """
  try:
    record = json.loads(_record_path(cache_dir, source).read_text('utf-8'))
    paths = [pathlib.Path(record['root'], path) for path in record['paths']]
    if fingerprint(paths, record['root']) == record['fingerprint']:
      return record['fingerprint']
  except (OSError, KeyError, TypeError, ValueError):
    pass  # no record, or a damaged one: the data set is read
  return None


def remember_sources(
  cache_dir: str | pathlib.Path, source: dict[str, Any], sources: Sources
) -> str:
  """Records what a reader has looked at, for `known_fingerprint`.

  Args:
    cache_dir: see `open_or_build`.
    source: as of `known_fingerprint`.
    sources: of the reader.

  Returns:
    The fingerprint of all that was looked at.
  """
  found = sources.fingerprint()
  path = _record_path(cache_dir, source)
  path.parent.mkdir(parents=True, exist_ok=True)
  record = {
    'root': str(sources.root.absolute()),
    'fingerprint': found,
    'paths': [os.path.relpath(each, sources.root) for each in sources.paths],
  }
  write_atomically(path, json.dumps(record).encode())
  return found


def _record_path(cache_dir, source):
  # Of another release, the readers may look at other files.
  digest = _digest({**source, 'schema': SCHEMA})
  return pathlib.Path(cache_dir) / f'sources_{digest}.json'
