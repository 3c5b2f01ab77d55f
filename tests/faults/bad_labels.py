"""R11: files of labels that cannot be used, among good ones."""

from collections.abc import Iterator
import csv
import hashlib
import io
import itertools
import json
import pathlib
import subprocess

import numpy as np
import scipy.io

from pifa_jax.datasets import folder, w300lp
from tests import miniatures, program_runs
from tests.faults import hostile_folders
from tests.faults.tally import Scale, Tally

_FACES = 10
_KINDS = 18  # of `_labels`
_FEW = 40
_MANY = 1000


def _pts(face, start='version: 1\nn_points: 68\n{\n'):
  return start + ''.join(f'{x + 1:.3f} {y + 1:.3f}\n' for x, y in face) + '}\n'


def _mat(**content):
  stream = io.BytesIO()
  scipy.io.savemat(stream, content, do_compression=True)
  return stream.getvalue()


def _json(face, box):
  return json.dumps({'landmarks': face.tolist(), 'box': list(box)}).encode()


def _labels() -> Iterator[tuple[str, bytes, np.ndarray | None]]:
  """Endless (end of the name, content, the points that must be read or None)."""
  faces, _ = miniatures.faces(_FACES, seed=8)
  for face in itertools.cycle(faces):
    text, table = _pts(face), face.T + 1
    fifth = np.arange(68) == 5
    infinite = np.where(fifth, np.inf, table)
    unlabelled = np.where(fifth[:, None], np.nan, face)
    mat = _mat(pt2d=table)
    found = (
      ('cut.pts', text[: len(text) // 2].encode(), None),
      ('count.pts', text.replace(' 68', ' 67').encode(), None),
      ('comma.pts', text.replace('.', ',').encode(), None),
      ('inf.pts', _pts(infinite.T).encode(), None),
      ('page.pts', b'<!DOCTYPE html><html><body>404</body></html>', None),
      ('empty.pts', b'', None),
      ('crlf.pts', text.replace('\n', '\r\n').encode(), face),
      ('nan.pts', _pts(unlabelled).encode(), unlabelled),
      ('mark.pts', text.encode('utf-8-sig'), face),
      ('cut.mat', mat[: len(mat) // 2], None),
      ('v73.mat', b'MATLAB 7.3 MAT-file'.ljust(512) + b'\x89HDF\r\n\x1a\n', None),
      ('key.mat', _mat(other=table), None),
      ('shape.mat', _mat(pt2d=np.zeros((5, 68))), None),
      ('nan.mat', _mat(pt2d=np.full_like(table, np.nan)), None),
      ('inf.mat', _mat(pt2d=infinite), None),
      ('zero_box.json', _json(face, [20, 20, 0, 50]), None),
      ('negative_box.json', _json(face, [20, 20, 50, -50]), None),
      ('far_box.json', _json(face, [-900, 20, 50, 50]), None),
    )
    assert len(found) == _KINDS
    yield from found


def _digest(sample):
  """All that a sample says."""
  digest = hashlib.sha256(sample.image_bytes + sample.name.encode())
  for part in (sample.landmarks, sample.visible, sample.box, sample.pose):
    digest.update(b'' if part is None else np.ascontiguousarray(part).tobytes())
  return digest.hexdigest()


def _read(reader, *arguments):
  """Digests of the samples, and the reasons of the rejects, by name."""
  found = reader(*arguments)
  return (
    {sample.name: (_digest(sample), sample.landmarks) for sample in found.samples},
    {reject.name: reject.reason for reject in found.rejects},
  )


def _put(place, count):
  place.mkdir(parents=True)
  faces, _ = miniatures.faces(_FACES, seed=9)
  for number, face in zip(range(count), itertools.cycle(faces)):
    path = place / f'{number:04}.jpg'
    path.write_bytes(miniatures.image(number % _FACES))
    content = (
      ('.pts', _pts(face).encode()),
      ('.mat', _mat(pt2d=face.T + 1)),
      ('.json', _json(face, [*face.min(0), *np.ptp(face, axis=0)])),
    )[number % 3]
    path.with_suffix(content[0]).write_bytes(content[1])


def samples(scale: Scale) -> Tally:
  """R11: bad photos and boxes through align, bad labels through readers.

  Args:
    scale: see `hostile_folders.photos` and `labels`.

  Returns:
    The counts of both.
  """
  tally = Tally()
  for part in (hostile_folders.photos, labels):
    place = scale.folder / part.__name__
    place.mkdir()
    tally.join(part(Scale(place, scale.full)))
  return tally


def labels(scale: Scale) -> Tally:
  """R11: bad files of labels in a plain folder, and in the .mat files of AFLW2000-3D.

  Args:
    scale: 18 among 40, or 60 among 1,000 and through prepare_data as well.

  Returns:
    The counts, one a bad file and one for all others. Clean = rejected with a reason;
    identical = read to the right points, or the same as without the bad ones.
  """
  tally, place = Tally(), scale.folder / 'photos'
  _put(place, scale.count(_FEW, _MANY))
  clean, _ = _read(folder.read_folder, place, 'train')
  wanted: dict[str, np.ndarray | None] = {}
  for number, (end, content, points) in enumerate(
    itertools.islice(_labels(), scale.count(_KINDS, 60))
  ):
    path = place / f'bad_{number:04}_{end}'
    path.write_bytes(content)
    path.with_suffix('.jpg').write_bytes(miniatures.image(number))
    wanted[path.with_suffix('.jpg').name] = points
  dirty, reasons = _read(folder.read_folder, place, 'train')
  same = {name: dirty[name][0] for name in dirty if name not in wanted} == {
    name: digest for name, (digest, _) in clean.items()
  }
  tally.add('identical' if same else 'silent', 'the other samples have changed')
  for name, points in wanted.items():
    reason = reasons.get(name, '')
    if points is None and name in dirty:
      tally.add('silent', f'{name}: accepted')
    elif points is None:
      fine = bool(reason.strip()) and '\n' not in reason
      tally.add('clean' if fine else 'silent', f'{name}: left out without a word')
    elif name not in dirty:
      tally.add('other', f'{name}: {reason}')
    else:
      # Files of text have three digits.
      right = np.allclose(dirty[name][1], points, atol=2e-3, equal_nan=True)
      tally.add('identical' if right else 'silent', f'{name}: other points')
  _aflw2000(tally, scale.folder / 'aflw2000')
  if scale.full:
    _prepare(tally, scale.folder, {name for name in wanted if wanted[name] is None})
  return tally


def _aflw2000(tally, root):
  """Counts bad .mat files of the first of four photos, one after the other."""
  root.mkdir()
  miniatures.write_aflw2000(root)
  clean, _ = _read(w300lp.read_aflw2000, root)
  name = min(clean)
  path = (root / name).with_suffix('.mat')
  good = path.read_bytes()
  full = {
    key: value
    for key, value in scipy.io.loadmat(path).items()
    if not key.startswith('__')
  }
  bad_pose = np.where(np.arange(7) == 1, np.nan, full['Pose_Para'])
  bad_points = np.where(np.arange(68) == 9, np.nan, full['pt3d_68'])
  for what, content in (
    ('cut', good[: len(good) // 2]),
    ('version 7.3', b'MATLAB 7.3 MAT-file'.ljust(512)),
    ('without pose', _mat(**{k: v for k, v in full.items() if k != 'Pose_Para'})),
    ('21 points', _mat(**{**full, 'pt3d_68': full['pt3d_68'][:, :21]})),
    ('NaN in the pose', _mat(**{**full, 'Pose_Para': bad_pose})),
    ('NaN in a point', _mat(**{**full, 'pt3d_68': bad_points})),
  ):
    path.write_bytes(content)
    found, reasons = _read(w300lp.read_aflw2000, root)
    others = {key: found[key][0] for key in found} == {
      key: digest for key, (digest, _) in clean.items() if key != name
    }
    if name in found or not others:
      tally.add('silent', f'AFLW2000-3D, {what}: accepted, or others have changed')
    else:
      fine = set(reasons) == {name} and '\n' not in reasons[name]
      tally.add('clean' if fine else 'other', f'AFLW2000-3D, {what}: {reasons}')


def _prepare(tally: Tally, root: pathlib.Path, bad: set[str]) -> None:
  """Counts the program: exit code 3, and the bad ones alone in rejects.csv."""
  done = subprocess.run(
    program_runs.command(
      'prepare_data',
      '--dataset=folder',
      f'--src={root / "photos"}',
      '--verify',
      f'--workdir={root / "out"}',
    ),
    cwd=program_runs.ROOT,
    env=program_runs.environment(),
    text=True,
    capture_output=True,
    timeout=1200,
    check=False,
  )
  if done.returncode != 3 or 'Traceback' in done.stderr:
    tally.add('other', f'prepare_data: {done.returncode}: {done.stderr[-300:]}')
    return
  with open(root / 'out' / 'rejects.csv', encoding='utf-8', newline='') as file:
    rows = list(csv.DictReader(file))
  fine = {row['name'] for row in rows if row['reason']} == bad and len(rows) == len(bad)
  tally.add('clean' if fine else 'silent', 'rejects.csv names others')
