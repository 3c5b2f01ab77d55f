"""R9, R11 and S6: folders, photos and names that people's machines really hold.

All of them go through experiments.align, in a process of its own; names that stand in
lists of data sets go through the readers.
"""

import json
import os
import pathlib
import subprocess

import numpy as np
from PIL import Image
import scipy.io

from experiments.lib import output_files
from pifa_jax.datasets import registry
from tests import miniatures, program_runs
from tests.faults.tally import Scale, Tally

_BOX = [20, 20, 56, 56]
_FEW = 40
_MANY = 1000


def _align(photos, out, *flags, more=None):
  """The finished process; `more` has a second box for some photos."""
  names = sorted(
    os.fsdecode(path.relative_to(photos))
    for path in photos.rglob('*')
    if path.is_file()
  )
  boxes = photos.parent / 'boxes.json'
  seconds = more or {}
  boxes.write_text(
    json.dumps(
      {name: [_BOX, *([seconds[name]] if name in seconds else [])] for name in names}
    )
  )
  command = program_runs.command(
    'align',
    f'--input={photos}',
    f'--boxes={boxes}',
    f'--workdir={out}',
    '--passes=1',
    '--nomirror',
    *flags,
  )
  shared = os.environ.get('PIFA_JAX_TEST_CACHE')
  more = {'JAX_COMPILATION_CACHE_DIR': shared} if shared else {}
  return subprocess.run(
    command,
    cwd=program_runs.ROOT,
    env=program_runs.environment(**more),
    text=True,
    capture_output=True,
    timeout=1200,
    check=False,
  )


def _lines(path):
  return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def _put(folder, count):
  folder.mkdir(parents=True)
  for seed in range(count):
    (folder / f'{seed:04}.jpg').write_bytes(miniatures.image(seed))


def outputs(scale: Scale) -> Tally:
  """R9: a --workdir that cannot be used, or that only looks so.

  Args:
    scale: two of the places, or all eight.

  Returns:
    The counts; identical = the results are those of a plain folder.
  """
  tally, root = Tally(), scale.folder
  photos = root / 'photos'
  _put(photos, 2)
  _align(photos, root / 'plain', '--save=json')
  wanted = (root / 'plain' / 'results.jsonl').read_bytes()
  (root / 'file').write_bytes(b'x')
  os.symlink(root / 'loop', root / 'loop')
  os.symlink(root / 'gone', root / 'dangling')
  works = {
    'spaces and other letters': root / 'a b' / 'ü 日本',
    'missing parents': root / 'x' / 'y' / 'z',
  }
  refused = {
    'a file': root / 'file',
    'below a file': root / 'file' / 'out',
    'a loop of links': root / 'loop' / 'out',
    'read-only': pathlib.Path('/proc/1/out'),
    'a name of 260 characters': root / ('n' * 260),
    'a link to nothing': root / 'dangling',
  }
  if not scale.full:
    refused = {'a loop of links': refused['a loop of links']}
    works.pop('missing parents')
  for name, place in {**works, **refused}.items():
    done = _align(photos, place, '--save=json')
    said = done.stderr.strip()
    if 'Traceback' in said:
      tally.add('other', f'{name}: a traceback')
    elif name in works:
      same = not done.returncode and (place / 'results.jsonl').read_bytes() == wanted
      tally.add('identical' if same else 'other', f'{name}: {said[-200:]}')
    elif done.returncode == 1 and str(place) in said:
      tally.add('clean')
    else:
      tally.add('other', f'{name}: exit code {done.returncode}: {said[-200:]}')
  return tally


def _bad_photos(folder):
  """Name -> (bytes, whether there is a face's worth of pixels to read), endless."""
  rng = np.random.default_rng(0)
  large = folder.parent / 'large.png'
  Image.new('1', (20_000, 20_000)).save(large)
  number = 0
  while True:
    good = miniatures.image(1000 + number)
    pixels = rng.integers(0, 255, (96, 96, 3), np.uint8)
    frames = [Image.fromarray(pixels[:, :, i]) for i in range(3)]
    animated = folder.parent / 'animated.gif'
    frames[0].save(animated, save_all=True, append_images=frames[1:])
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, data, usable in (
      ('truncated.jpg', good[: len(good) // 2], False),
      ('empty.jpg', b'', False),
      ('page.jpg', b'<!DOCTYPE html><html><body>404</body></html>', False),
      ('point.png', miniatures.encode(pixels[:1, :1]), False),
      ('large.png', large.read_bytes(), False),
      ('noise.jpg', rng.bytes(4000), False),
      ('cmyk.jpg', miniatures.encode(pixels, 'JPEG', mode='CMYK'), True),
      ('deep.png', miniatures.encode(pixels[:, :, 0].astype(np.uint16) * 257), True),
      ('grey.png', miniatures.encode(pixels[:, :, 0]), True),
      ('alpha.png', miniatures.encode(pixels, mode='RGBA'), True),
      ('turned.jpg', miniatures.encode(pixels, 'JPEG', exif=turned), True),
      ('animated.gif', animated.read_bytes(), True),
      ('other_type.png', miniatures.encode(pixels, 'JPEG'), True),
    ):
      yield f'bad_{number:04}_{name}', data, usable
      number += 1


# Second boxes of photos that have a good one.
_BAD_BOXES = (
  [20, 20, 0, 56],
  [20, 20, 56, -56],
  [500, 500, 50, 50],
  [0.2, 0.2, 0.5, 0.5],
  [0, 0, 1e9, 50],
  [float('nan'), 20, 56, 56],
  [20, 20, 56],
)


def photos(scale: Scale) -> Tally:
  """R11: bad photos among good ones, and bad boxes of good photos.

  Args:
    scale: 13 among 40, or 60 among 1,000.

  Returns:
    The counts, one a bad photo or box and one for all others. Clean = rejected with a
    reason; identical = read though it is unusual, or the same as without the rejected
    ones.
  """
  tally, root = Tally(), scale.folder
  folder = root / 'photos'
  _put(folder, scale.count(_FEW, _MANY))
  usable = {}
  bad = _bad_photos(folder)
  for _ in range(scale.count(13, 60)):
    name, data, can_be_read = next(bad)
    (folder / name).write_bytes(data)
    usable[name] = can_be_read
  second = {f'{number:04}.jpg': box for number, box in enumerate(_BAD_BOXES)}
  done = _align(folder, root / 'dirty', '--save=json', more=second)
  if 'Traceback' in done.stderr or done.returncode != 3:
    tally.add('other', f'exit code {done.returncode}: {done.stderr[-300:]}')
    return tally
  for name, can_be_read in usable.items():
    if not can_be_read:
      (folder / name).unlink()
  _align(folder, root / 'clean', '--save=json')
  text, wanted = (
    (root / run / 'results.jsonl').read_text().splitlines()
    for run in ('dirty', 'clean')
  )
  tally.add('identical' if text == wanted else 'silent', 'the others have changed')
  found = {json.loads(line)['image'] for line in text}
  failures = _lines(root / 'dirty' / 'failures.jsonl')
  reasons = {line['image']: line for line in failures if not line.get('face')}
  faces = {line['image'] for line in failures if line.get('face') == 1}
  for name, box in second.items():
    tally.add('clean' if name in faces else 'silent', f'the box {box} was used')
  for name, can_be_read in usable.items():
    reason = reasons.get(name, {}).get('reason', '')
    if can_be_read:
      fine = name in found and not reason
      tally.add('identical' if fine else 'other', f'{name}: {reason or "not there"}')
    elif name in found or not reason:
      tally.add('silent', f'{name}: accepted, or left out without a word')
    else:
      tally.add('clean')
  return tally


_NAMES = (
  '-rf.jpg',
  '--workdir=x.jpg',
  'two\nlines.jpg',
  '<script>alert(1)</script>.jpg'.replace('/', '\u2215'),
  'it\'s "quoted" & $(touch gone).jpg',
  '..jpg.jpg',
  ' .. .jpg',
  'a\x1b[31mred\x07.jpg',
  '\u202egpj.exe.jpg',
  os.fsdecode(b'latin1_\xe9.jpg'),
)


# Names in lists of data sets; the first two lead to a photo that is there.
_PLACES = ('../secret.jpg', '{}/secret.jpg', '../../../etc/passwd', '-rf', 'a\0b.jpg')


def _rename_first(name, place, named):
  """Gives the first photo of a data set's list another name there."""
  if name == 'coco':
    path = place / 'annotations' / 'keypoints_train2017.json'
    content = json.loads(path.read_text())
    content['images'][0]['file_name'] = named
    path.write_text(json.dumps(content))
  elif name == 'wflw':
    path = next(place.rglob('*_train.txt'))
    path.write_text(path.read_text().replace('0--Parade/0_Parade_0.jpg', named))
  else:
    path = place / 'anno.mat'
    table = scipy.io.loadmat(path)['anno']
    table[0, 0] = named
    scipy.io.savemat(path, {'anno': table})


def _names_in_lists(tally, root):
  """Counts names that lead out of a data set, in the lists of those that have any."""
  secret = miniatures.image(77)
  (root / 'secret.jpg').write_bytes(secret)
  for name in ('coco', 'wflw', 'afw'):
    for number, text in enumerate(_PLACES):
      place, named = root / f'{name}_{number}', text.format(root)
      place.mkdir()
      miniatures.WRITERS[name](place)
      _rename_first(name, place, named)
      try:
        found = registry.read(name, place, 'test' if name == 'afw' else 'train')
      except (OSError, ValueError):
        tally.add('clean')
        continue
      if any(sample.image_bytes == secret for sample in found.samples):
        tally.add('silent', f'{name}: {named!r} was read')
      elif not found.rejects and not found.missing:
        tally.add('silent', f'{name}: {named!r} was left out without a word')
      else:
        tally.add('clean')
  out = root / 'results'
  for named in ('../../x', '/x', 'a/../../x'):
    tally.refused(named, lambda named=named: output_files.output_path(out, named, '.o'))


def names(scale: Scale) -> Tally:
  """S6: photos whose names were chosen to do harm, and such names in lists.

  Args:
    scale: where they lie.

  Returns:
    The counts; identical = aligned, and nothing was written beside the work folder.
  """
  tally, root = Tally(), scale.folder
  lists = root / 'lists'
  lists.mkdir()
  _names_in_lists(tally, lists)
  folder, out = root / 'photos', root / 'out'
  folder.mkdir()
  for seed, name in enumerate(_NAMES):
    (folder / name).write_bytes(miniatures.image(seed))
  before = {path for path in root.rglob('*') if out not in path.parents}
  done = _align(folder, out, '--save=json,overlay,pts,index')
  after = {path for path in root.rglob('*') if out not in path.parents}
  stray = sorted(map(str, after - before - {out, root / 'boxes.json'}))
  if 'Traceback' in done.stderr:
    tally.add('other', f'a traceback: {done.stderr[-300:]}')
    return tally
  found = {line['image'] for line in _lines(out / 'results.jsonl')}
  reasons = {line['image']: line['reason'] for line in _lines(out / 'failures.jsonl')}
  page = (out / 'index.html').read_text(encoding='utf-8', errors='surrogateescape')
  for name in _NAMES:
    shown = name if name in found or name in reasons else None
    if stray:
      tally.add('silent', f'written outside of the work folder: {stray}')
    elif '<script>alert' in page:
      tally.add('silent', f'{name!r} is a tag of the page')
    elif '\x1b' in done.stderr:
      tally.add('silent', f'{name!r} reaches the terminal')
    elif shown is None:
      tally.add('silent', f'{name!r} is not in the results and not in the failures')
    else:
      tally.add('identical' if name in found else 'clean')
  return tally
