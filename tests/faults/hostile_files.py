"""S1 to S4: files made to harm: pickles, bombs, hostile text."""

import io
import json
import os
import pathlib
import pickle
import resource
import stat
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np

from pifa_jax.files import array_files, box_files, formats, images, matlab_files
from tests import program_runs
from tests.faults.tally import Scale, Tally


class _Payload:
  """An object whose pickle makes a folder when it is loaded."""

  def __init__(self, place):
    self._place = str(place)

  def __reduce__(self):
    return os.mkdir, (self._place,)


def _npy(header, body=b''):
  text = header.encode()
  text += b' ' * (-(len(text) + 11) % 64) + b'\n'
  return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text + body


def _zip(path, members):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, data in members:
      archive.writestr(name, data)


def pickles(scale: Scale) -> Tally:
  """S1: pickles under ten names, each given to the reader of that name.

  Args:
    scale: where the files go.

  Returns:
    The counts; a payload that ran is silent.
  """
  tally = Tally()
  ran = scale.folder / 'payload_ran'
  raw = pickle.dumps(_Payload(ran))
  inside = io.BytesIO()
  np.save(inside, np.array([_Payload(ran)], object), allow_pickle=True)
  member = inside.getvalue()
  # As a .pth holds it.
  _zip(scale.folder / 'weights.pth', [('archive/data.pkl', raw)])
  _zip(scale.folder / 'object.npz', [('a.npy', member)])
  _zip(scale.folder / 'raw.npz', [('a.npy', raw)])
  _zip(scale.folder / 'other.npz', [('a.pkl', raw)])
  for name, data in (
    ('object.npy', member),
    ('raw.npy', raw),
    ('raw.mat', raw),
    ('raw.pts', raw),
    ('raw.json', raw),
    ('raw.pkl', raw),
  ):
    (scale.folder / name).write_bytes(data)
  for path in sorted(scale.folder.iterdir()):
    read = (
      (lambda path=path: array_files.read(path, 'thing'))
      if path.suffix in ('.npz', '.pth')
      else (lambda path=path: formats.read_landmarks(path))
    )
    tally.refused(path.name, read)
    if ran.exists():
      ran.rmdir()
      tally.add('silent', f'{path.name}: the payload ran')
  return tally


def archives(scale: Scale) -> Tally:
  """S2: zips that inflate, lie about their sizes, or name places elsewhere.

  Args:
    scale: where the files go.

  Returns:
    The counts.
  """
  tally, folder = Tally(), scale.folder / 'zips'
  folder.mkdir()
  limit = 1 << 20
  small = _small_npy()
  bomb = folder / 'bomb.npz'
  _zip(bomb, [('a.npy', bytes(64 << 20))])
  _zip(folder / 'many.npz', [(f'{i}.npy', bytes(1 << 18)) for i in range(100)])
  _zip(folder / 'nested.npz', [('a.npy', bomb.read_bytes())])
  # Says that it holds 100 bytes.
  lying = bytearray(bomb.read_bytes())
  for place in (22, lying.rindex(b'PK\x01\x02') + 24):
    lying[place : place + 4] = struct.pack('<I', 100)
  (folder / 'lying.npz').write_bytes(lying)
  _zip(folder / 'up.npz', [('../../up.npy', small)])
  _zip(folder / 'absolute.npz', [('/absolute.npy', small)])
  link = zipfile.ZipInfo('link.npy')
  link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
  _zip(folder / 'link.npz', [(link, b'/etc/passwd')])
  packed = zlib.compress(bytes(64 << 20))
  (folder / 'bomb.mat').write_bytes(
    b'MATLAB 5.0'.ljust(124) + b'\0\1IM' + struct.pack('<II', 15, len(packed)) + packed
  )
  for path in sorted(folder.iterdir()):
    read = matlab_files.read_mat if path.suffix == '.mat' else _read_npz
    tally.refused(path.name, lambda path=path, read=read: read(path, max_bytes=limit))
  if {path.name for path in scale.folder.iterdir()} != {'zips'}:
    tally.add('silent', 'a member was written beside the archives')
  return tally


def _read_npz(path, max_bytes):
  return array_files.read(path, 'thing', max_bytes=max_bytes)


def _small_npy():
  stream = io.BytesIO()
  np.save(stream, np.arange(3.0))
  return stream.getvalue()


def _png(width, height):
  header = struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)
  rows = zlib.compressobj(9)
  body = bytearray()
  row = bytes(1 + (width + 7) // 8)
  for _ in range(height):
    body += rows.compress(row)
  body += rows.flush()

  def chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', crc)

  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', bytes(body))
    + chunk(b'IEND', b'')
  )


def _hdf5_with_a_link(path):
  """A file of version 7.3 whose data lie in another file."""
  try:
    import h5py
  except ImportError:
    path.write_bytes(b'\x89HDF\r\n\x1a\n' + bytes(600))
    return
  with h5py.File(path, 'w') as file:
    file['x'] = h5py.ExternalLink('/etc/passwd', '/x')


def memory_bombs(scale: Scale) -> Tally:
  """S3: small files that would take gigabytes, each read in a process of its own.

  Args:
    scale: where the files go.

  Returns:
    The counts. Refused in under a second of CPU time, and in under 300 MB beyond what
    the process took before; else it counts as 'other'.
  """
  tally, folder = Tally(), scale.folder
  for width, height in ((10_000, 9_000), (16_000, 16_000), (20_000, 20_000)):
    (folder / f'{width}.png').write_bytes(_png(width, height))
  (folder / 'huge.npy').write_bytes(
    _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (549755813888,), }")
  )
  (folder / 'tall.npy').write_bytes(
    _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2000000000, 2), }")
  )
  _zip(folder / 'huge.npz', [('a.npy', (folder / 'huge.npy').read_bytes())])
  _zip(folder / 'tall.npz', [('a.npy', (folder / 'tall.npy').read_bytes())])
  _hdf5_with_a_link(folder / 'link.mat')
  # One process for all, as a start costs more than all of them.
  done = subprocess.run(
    [sys.executable, '-m', 'tests.faults.hostile_files', str(folder)],
    cwd=program_runs.ROOT,
    env=program_runs.environment(),
    text=True,
    capture_output=True,
    timeout=600,
    check=False,
  )
  found = done.stdout.splitlines()
  for text in found:
    outcome, _, note = text.partition(' ')
    tally.add(outcome, note)
  if len(found) != 8:
    tally.add('other', f'{len(found)} of 8 were read; {done.stderr[-300:]}')
  return tally


def _read_bombs(folder):
  """Reads every file; a line for each says how it ended."""
  readers = {
    '.png': lambda path: images.decode_image(path.read_bytes(), path.name),
    '.npz': lambda path: array_files.read(path, 'thing'),
  }
  for path in sorted(folder.iterdir()):
    before = resource.getrusage(resource.RUSAGE_SELF)
    outcome = 'silent'
    try:
      readers.get(path.suffix, formats.read_landmarks)(path)
    except ValueError:
      outcome = 'clean'
    except BaseException as error:
      outcome = f'other {type(error).__name__}'
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    megabytes = (after.ru_maxrss - before.ru_maxrss) / 1024
    if outcome == 'clean' and (seconds > 1 or megabytes > 300):
      outcome = 'other'
    print(f'{outcome} {path.name}: {seconds:.1f} s, {megabytes:.0f} MB', flush=True)


def hostile_text(scale: Scale) -> Tally:
  """S4: text that a careless parser believes, evaluates or never comes back from.

  Args:
    scale: where the files go.

  Returns:
    The counts.
  """
  tally, folder = Tally(), scale.folder
  ran = folder / 'ran'
  code = f'__import__("os").mkdir("{ran}")'
  points = '{{\n{}\n}}\n'
  for name, text in (
    ('n_points.pts', 'n_points: 1000000000\n{\n1 2\n}\n'),
    ('inf.pts', points.format('inf 1\n2 3')),
    ('1e999.pts', points.format('1e999 1\n2 3')),
    ('nul.pts', points.format('1\0 2\n3 4')),
    ('code.pts', points.format(code + ' 1')),
    ('deep.json', '[' * 100_000 + ']' * 100_000),
    ('1e999.json', '{"landmarks": [[1e999, 1], [2, 3]]}'),
    ('deep.ljson', '{"a":' * 100_000 + '1' + '}' * 100_000),
    ('code.csv', f'frame, x_0, y_0\n1, {json.dumps(code)}, 2\n'),
  ):
    path = folder / name
    path.write_text(text)
    tally.refused(name, lambda path=path: formats.read_landmarks(path))
  (folder / 'boxes.json').write_text('[' * 100_000)
  tally.refused('boxes.json', lambda: box_files.read_boxes(folder / 'boxes.json'))
  if ran.exists():
    tally.add('silent', 'text was evaluated')
  own = folder / 'self.flags'
  own.write_text(f'--flagfile={own}\n')
  _run_refused(tally, 'align', f'--flagfile={own}')
  return tally


def _run_refused(tally, name, *flags):
  """Counts a program that must end with code 1 or 2 and without a traceback."""
  done = subprocess.run(
    program_runs.command(name, *flags),
    cwd=program_runs.ROOT,
    env=program_runs.environment(),
    text=True,
    capture_output=True,
    timeout=300,
    check=False,
  )
  if 'Traceback' in done.stderr or done.returncode not in (1, 2):
    tally.add('other', f'{name} {flags}: {done.returncode}, {done.stderr[-200:]}')
  else:
    tally.add('clean')


if __name__ == '__main__':
  _read_bombs(pathlib.Path(sys.argv[1]))
