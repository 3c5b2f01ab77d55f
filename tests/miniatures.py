"""Small data sets in the exact layouts in which the real ones are distributed."""

import io
import json
import pathlib

import numpy as np
from PIL import Image
import scipy.io

from pifa_jax.datasets import w300lp
from pifa_jax.face_models import load_face_model
from pifa_jax.face_models.landmark_tables import IBUG34
from pifa_jax.files import formats
from pifa_jax.geometry.projection import rotation_from_euler

SIZE = 96


def encode(array, kind='PNG', mode=None, **options):
  """An image file of an array; `mode` converts it, options are Pillow's."""
  file = io.BytesIO()
  image = Image.fromarray(array)
  (image if mode is None else image.convert(mode)).save(file, kind, **options)
  return file.getvalue()


def gradient(height=40, width=60):
  """(height, width, 3) smooth colours."""
  rows, columns = np.mgrid[:height, :width]
  return np.stack([4 * columns, 5 * rows, 2 * (rows + columns)], axis=-1).astype(
    np.uint8
  )


def faces(
  count: int, seed: int = 0, scheme: str = 'ibug68'
) -> tuple[np.ndarray, np.ndarray]:
  """Landmarks of built-in faces in images of SIZE x SIZE pixels.

  Args:
    count: n.
    seed: of poses.
    scheme: of the landmarks.

  Returns:
    (n, N, 2) 0-based pixels and (n, 2, 4) cameras.
  """
  model = load_face_model('builtin')
  rng = np.random.default_rng(seed)
  ids = np.asarray(model.landmark_schemes[scheme])
  mean = np.asarray(model.mean_shape, np.float64)[ids]
  points, cameras = [], []
  for _ in range(count):
    yaw, pitch, roll = rng.uniform(-0.6, 0.6), *rng.uniform(-0.2, 0.2, 2)
    rotation = np.asarray(rotation_from_euler(yaw, pitch, roll), np.float64)
    scale = rng.uniform(0.35, 0.45)
    camera = np.concatenate(
      [scale * rotation[:2] * [[1], [-1]], (SIZE / 2 + rng.uniform(-4, 4, 2))[:, None]],
      axis=1,
    )
    camera[:, 3] -= camera[:, :3] @ mean.mean(axis=0)
    points.append(mean @ camera[:, :3].T + camera[:, 3])
    cameras.append(camera)
  return np.array(points), np.array(cameras)


def image(seed: int, suffix: str = '.jpg') -> bytes:
  """An encoded image of coloured noise."""
  rng = np.random.default_rng(seed)
  small = rng.integers(0, 255, (6, 6, 3), np.uint8)
  stream = io.BytesIO()
  Image.fromarray(small).resize((SIZE, SIZE), Image.BICUBIC).save(
    stream, {'.jpg': 'JPEG', '.png': 'PNG'}[suffix.lower()]
  )
  return stream.getvalue()


def _put(path: pathlib.Path, data: bytes) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(data)


def write_300w(root: pathlib.Path, count: int = 3) -> np.ndarray:
  """300W; returns the (n, 68, 2) landmarks in the order of the folders."""
  folders = (
    'lfpw/trainset',
    'helen/trainset',
    'afw',
    'lfpw/testset',
    'helen/testset',
    'ibug',
  )
  points, _ = faces(count * len(folders))
  for number, face in enumerate(points):
    path = root / folders[number // count] / f'image_{number:04d}.png'
    _put(path, image(number, '.png'))
    formats.write_pts(path.with_suffix('.pts'), face)
  return points


def write_300wlp(root: pathlib.Path, variants: int = 2) -> np.ndarray:
  """300W-LP with mirror twins; returns the landmarks by image name."""
  points, cameras = faces(len(w300lp.FOLDERS) * 2 * variants)
  number = 0
  for folder in w300lp.FOLDERS:
    for twin in ('', '_Flip'):
      for k in range(variants):
        stem = f'{folder}_image_{7}_{k}'
        path = root / (folder + twin) / f'{stem}.jpg'
        _put(path, image(number))
        pose = w300lp.pose_para_from_camera(cameras[number], SIZE, tz=-90.0)
        _put_mat(
          path.with_suffix('.mat'),
          pt2d=points[number].T + 1,
          Pose_Para=pose[None].astype(np.float32),
          Shape_Para=np.zeros((199, 1)),
          Exp_Para=np.zeros((29, 1)),
          roi=np.int16([[1, 1, SIZE, SIZE]]),
        )
        _put_mat(
          root / 'landmarks' / (folder + twin) / f'{stem}_pts.mat',
          pts_2d=points[number] + 1,
          pts_3d=points[number] + 1,
        )
        number += 1
  (root / 'Code').mkdir()
  return points


def write_aflw2000(root: pathlib.Path, count: int = 4) -> np.ndarray:
  """AFLW2000-3D; returns the landmarks."""
  points, cameras = faces(count, seed=1)
  for number, (face, camera) in enumerate(zip(points, cameras, strict=True)):
    path = root / f'image{number + 2:05d}.jpg'
    _put(path, image(number))
    depth = np.linspace(-50, 50, 68)[None]
    _put_mat(
      path.with_suffix('.mat'),
      pt2d=np.full((2, 21), -1.0),
      pt3d_68=np.concatenate([face.T + 1, depth]).astype(np.float32),
      Pose_Para=w300lp.pose_para_from_camera(camera, SIZE)[None].astype(np.float32),
      Shape_Para=np.zeros((199, 1)),
      Exp_Para=np.zeros((29, 1)),
      roi=np.int16([[1, 1, SIZE, SIZE]]),
    )
  return points


def _put_mat(path, **content):
  path.parent.mkdir(parents=True, exist_ok=True)
  scipy.io.savemat(path, content, do_compression=True)


def write_afw(root: pathlib.Path) -> np.ndarray:
  """AFW: two photos, of one and two faces; returns (3, 6, 2) landmarks."""
  points, _ = faces(3, seed=2)
  six = np.stack(
    [
      points[:, 36:42].mean(1),
      points[:, 42:48].mean(1),
      points[:, 30],
      points[:, 48],
      points[:, [62, 66]].mean(1),
      points[:, 54],
    ],
    axis=1,
  )
  anno = np.empty((2, 4), object)
  for row, members in enumerate(((0,), (1, 2))):
    name = f'{1000 + row}.jpg'
    _put(root / 'testimages' / name, image(row))
    boxes, poses, marks = (np.empty((1, len(members)), object) for _ in range(3))
    for place, member in enumerate(members):
      low, high = points[member].min(0), points[member].max(0)
      boxes[0, place] = np.stack([low, high]) + 1
      poses[0, place] = np.array([[15.0 * member, 0, 0]])
      marks[0, place] = six[member] + 1
    anno[row] = [name, boxes, poses, marks]
  marks = anno[1, 3][0, 1]
  marks[1] = np.nan  # the second eye of the third face is hidden
  scipy.io.savemat(root / 'anno.mat', {'anno': anno})
  six[2, 1] = np.nan
  return six


def write_folder(root: pathlib.Path, count: int = 4) -> np.ndarray:
  """Photos with .pts and .json in turn; returns the landmarks."""
  points, _ = faces(count, seed=3)
  for number, face in enumerate(points):
    path = root / f'photo {number}.jpg'
    _put(path, image(number))
    if number % 2:
      low, high = face.min(0), face.max(0)
      visible = np.arange(68) != 5
      formats.write_json(
        path.with_suffix('.json'), face, visible, np.concatenate([low, high - low])
      )
    else:
      formats.write_pts(path.with_suffix('.pts'), face)
  return points


def write_aflw(root: pathlib.Path, train: int = 6, test: int = 3) -> None:
  """The release of the AFLW subset with 34 points, iBUG's, 1-based."""
  ids = np.array(IBUG34) - 1
  points, _ = faces(train + test, seed=4)
  boxes, labels = {}, {}
  for key, folder, part in (
    ('Tr', 'TrainImages', points[:train]),
    ('T', 'TestImages', points[train:]),
  ):
    for number in range(len(part)):
      _put(root / folder / f'{number + 1}.jpg', image(number))
    low, high = part.min(1), part.max(1)
    # Matlab's boxes cover whole pixels, counted from 1.
    boxes['bboxes' + key] = np.concatenate([low + 1.5, high - low], axis=1)
    face = part[:, ids] + 1
    labels['phis' + key] = np.concatenate(
      [face[..., 0], face[..., 1], np.ones(face.shape[:2])], axis=1
    )
  _put_mat(root / 'BoundingBox.mat', **boxes)
  _put_mat(root / 'Landmark.mat', **labels)


def write_coco(root: pathlib.Path, count: int = 3) -> np.ndarray:
  """COCO: two photos a split, the first with two faces; returns the landmarks."""
  points, _ = faces(2 * count, seed=5)
  for part, split in enumerate(('train', 'val')):
    photos, annotations = [], []
    for number in range(count):
      face = points[part * count + number]
      photo = max(0, number - 1)
      if number != 1:
        name = f'{part}{photo:011d}.jpg'
        _put(root / f'{split}2017' / name, image(10 * part + photo))
        photos.append({'id': photo, 'file_name': name})
      low, high = face.min(0), face.max(0)
      flags = np.where(np.arange(68) == 5, 1, 2)
      annotations.append(
        {
          'id': number,
          'image_id': photo,
          'keypoints': np.column_stack([face, flags]).ravel().tolist(),
          'bbox': [*low, *(high - low)],
        }
      )
    _put(
      root / 'annotations' / f'keypoints_{split}2017.json',
      json.dumps({'images': photos, 'annotations': annotations}).encode(),
    )
  return points


def write_wflw(root: pathlib.Path, count: int = 3) -> np.ndarray:
  """WFLW: lists and photos, the first photo with two faces; (2 count, 98, 2) points.

  Where the built-in face has no scheme of 98 points, they are the 68 and the first 30
  of them again, which is enough for a reader.
  """
  points, _ = faces(2 * count, seed=6)
  if 'wflw98' in load_face_model('builtin').landmark_schemes:
    points, _ = faces(2 * count, seed=6, scheme='wflw98')
  else:
    points = np.concatenate([points, points[:, :30]], axis=1)
  folder = 'WFLW_annotations/list_98pt_rect_attr_train_test'
  for part, split in enumerate(('train', 'test')):
    lines = []
    for number in range(count):
      face = points[part * count + number]
      name = f'{part}--Parade/{part}_Parade_{max(0, number - 1)}.jpg'
      _put(root / 'WFLW_images' / name, image(number))
      box = [*np.floor(face.min(0)), *np.ceil(face.max(0))]
      # Every face of the test set has one attribute, in turn.
      attributes = np.arange(6) == number
      fields = [*face.ravel().round(6), *map(int, box), *map(int, attributes), name]
      lines.append(' '.join(map(str, fields)) + '\n')
    path = root / folder / f'list_98pt_rect_attr_{split}.txt'
    _put(path, ''.join(lines).encode())
  return points


def cofw_tables(count: int) -> dict[str, np.ndarray]:
  """Images (a cell), boxes and landmarks of COFW's form."""
  points, _ = faces(count, seed=7)
  if 'cofw29' in load_face_model('builtin').landmark_schemes:
    points, _ = faces(count, seed=7, scheme='cofw29')
  else:
    points = points[:, 17:46]
  cell = np.empty((count, 1), object)
  for number in range(count):
    pixels = np.array(Image.open(io.BytesIO(image(number))))
    # Grey and coloured images, as in the release.
    cell[number, 0] = pixels if number % 2 else pixels[..., 0]
  hidden = (np.arange(29) == 4) * np.ones((count, 1))
  low, high = points.min(1), points.max(1)
  return {
    'images': cell,
    'boxes': np.concatenate([low + 1.5, high - low], axis=1),
    'labels': np.concatenate([points[..., 0] + 1, points[..., 1] + 1, hidden], axis=1),
    'points': points,
  }


def write_cofw(root: pathlib.Path, count: int = 3) -> np.ndarray:
  """COFW as it is saved with -v7; returns the (count, 29, 2) points of both splits."""
  tables = cofw_tables(count)
  for split, key in (('train', 'Tr'), ('test', 'T')):
    _put_mat(
      root / f'COFW_{split}_color.mat',
      **{
        'Is' + key: tables['images'],
        'bboxes' + key: tables['boxes'],
        'phis' + key: tables['labels'],
      },
    )
  return tables['points']


def write_folder_splits(root: pathlib.Path) -> None:
  """A folder with train/ and test/."""
  write_folder(root / 'train', 4)
  write_folder(root / 'test', 2)


# What writes the miniature of every data set of the registry.
WRITERS = {
  'aflw': write_aflw,
  'afw': write_afw,
  'w300': write_300w,
  '300wlp': write_300wlp,
  'aflw2000': write_aflw2000,
  'folder': write_folder_splits,
  'coco': write_coco,
  'wflw': write_wflw,
  'cofw': write_cofw,
}
