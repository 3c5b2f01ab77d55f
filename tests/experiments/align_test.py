"""experiments.align on what people's folders and boxes really hold."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unicodedata

from absl.testing import absltest
import numpy as np

from experiments.lib import confidence_file
from pifa_jax.inference import confidence
from tests import miniatures, program_runs

_BOX = [20, 20, 56, 56]
_EXAMPLE = program_runs.ROOT / 'docs' / 'example.jpg'
_BOXES = program_runs.ROOT / 'docs' / 'example_boxes.json'


class AlignTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.photos = self.root / 'photos'
    self.out = self.photos / 'out'

  def put(self, *names):
    for seed, name in enumerate(names):
      path = self.photos / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(miniatures.image(seed))

  def align(self, boxes, *flags, code=0):
    path = self.root / 'boxes.json'
    path.write_text(boxes if isinstance(boxes, str) else json.dumps(boxes))
    return program_runs.run(
      'align',
      f'--input={self.photos}',
      f'--boxes={path}',
      f'--workdir={self.out}',
      '--passes=1',
      '--nomirror',
      '--save=overlay',
      *flags,
      code=code,
    )

  def lines(self, name):
    text = (self.out / f'{name}.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]

  def test_one_bad_face_or_photo_leaves_the_others(self):
    decomposed = unicodedata.normalize('NFD', 'caf\u00e9.jpg')
    self.put('a/same.jpg', 'a__same.jpg', 'many.jpg', 'five.jpg', 'wide.jpg')
    self.put('real/e.jpg', decomposed)
    (self.photos / 'broken.jpg').write_bytes(b'no photo')
    os.symlink('real', self.photos / 'link')
    (self.photos / 'other.avif').write_bytes(b'x')
    scored = [[20 + i, 20, 56, 56, 0.9 - 0.1 * i] for i in range(4)]
    # NaN is no JSON, but detectors write it.
    boxes = json.dumps(
      {
        './a/same.jpg': scored,
        'a__same.jpg': _BOX,
        'many.jpg': [
          [200, 10, 30, 30],
          _BOX,
          [5, 5, 0, 9],
          [1, 'NaN', 5, 5],
          [1, 2, 3],
        ],
        'five.jpg': [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]],
        'wide.jpg': [[20, 30, 40]] * 4,
        'link/e.jpg': [_BOX],
        unicodedata.normalize('NFC', decomposed): [_BOX],
        'broken.jpg': [_BOX],
        'gone.jpg': [_BOX],
        'MANY.JPG': [_BOX],
      }
    ).replace('"NaN"', 'NaN')
    done = self.align(boxes, code=3)
    found = {(line['image'], line['face']): line for line in self.lines('results')}
    good = [('a/same.jpg', i) for i in range(4)]
    good += [('a__same.jpg', 0), ('many.jpg', 1), ('real/e.jpg', 0), (decomposed, 0)]
    self.assertCountEqual(found, good)
    # Four faces of five numbers are four faces.
    for i in range(4):
      line = found['a/same.jpg', i]
      self.assertEqual(line['box'], scored[i][:4])
      self.assertEqual(line['score'], scored[i][4])
    self.assertNotIn('score', found['a__same.jpg', 0])
    self.assertEqual(done.stderr.count('is taken for its score'), 1)
    self.assertIn(
      'Not read as photos: 1 of type .avif, 1 folders that another path leads to.',
      done.stderr,
    )
    failures = {
      (line['image'], line.get('face')): line['reason']
      for line in self.lines('failures')
    }
    for key, words in {
      ('many.jpg', 0): 'lies outside the photo, which has 96 x 96 pixels',
      ('many.jpg', 2): 'has no area',
      ('many.jpg', 3): 'finite',
      ('many.jpg', 4): 'row 4 of its boxes is [1, 2, 3]',
      ('five.jpg', None): 'row 0 of its boxes is [1, 2, 3, 4, 5]',
      ('wide.jpg', None): '4 rows of 3 numbers',
      ('broken.jpg', None): 'cannot be decoded',
      ('gone.jpg', None): 'it has boxes but is not in --input',
      ('MANY.JPG', None): 'not in --input; many.jpg is there, is it meant?',
    }.items():
      self.assertIn(words, failures.pop(key))
    self.assertEmpty(failures)
    # Results lie like their photos, each in a file of its own.
    overlays = sorted(
      path.relative_to(self.out).as_posix() for path in self.out.rglob('*.png')
    )
    wanted = {name for name, _ in good}
    self.assertCountEqual(overlays, [f'{name}_overlay.png' for name in wanted])
    self.assertIn(f'{len(wanted)} _overlay.png to {self.out}', done.stdout)

    # A second run does not take the overlays of the first for photos.
    done = self.align(boxes, '--save=none', code=3)
    self.assertIn(f'Skipped {len(wanted)} files in {self.out}', done.stderr)
    self.assertLen(self.lines('failures'), 9)
    # And does not say that it wrote any.
    self.assertNotIn('overlay', done.stdout)
    self.assertNotIn('index.html', done.stdout)

  def test_corners(self):
    names = [f'{i}.jpg' for i in range(5)]
    self.put(*names)
    rng = np.random.default_rng(0)
    corners = {}
    for name in names:
      low = rng.uniform(35, 45, 2)
      corners[name] = [[*low, *(low + 45)]]
    # Read as they are not: an own word, and what to do.
    done = self.align(corners)
    self.assertIn('start again with --box_format=xyxy', done.stderr)
    done = self.align(corners, '--box_format=xyxy')
    self.assertNotIn('Warning', done.stderr)
    for line in self.lines('results'):
      np.testing.assert_allclose(line['box'][2:], [45, 45], atol=1e-9)
    right = {name: [[20, 20, 50, 50]] for name in names}
    self.assertNotIn('Warning', self.align(right).stderr)

  def test_confidence(self):
    names = [f'{i}.jpg' for i in range(5)]
    self.put(*names)
    boxes = {name: [_BOX] * (1 + i % 2) for i, name in enumerate(names)}
    done = self.align(boxes, '--save=none', '--blocks=2')
    self.assertEqual(done.stderr.count('--blocks=2 has no confidence'), 1)
    self.assertEqual({line['confidence'] for line in self.lines('results')}, {None})
    # That of the shipped weights.
    self.align(boxes, '--save=none', '--noretry')
    lines = self.lines('results')
    # In the order of the photos, faces in that of their boxes.
    order = [(line['image'], line['face']) for line in lines]
    self.assertEqual(order, sorted(order))
    self.assertLen(order, 7)
    self.assertTrue(all(0 < line['confidence'] < 1 for line in lines))

    checkpoint = json.loads((self.out / 'run.json').read_text())['checkpoint']
    weights = dict.fromkeys(confidence._names('plain_first'), 0.0)
    # However the faces look: above the threshold, so that nothing is searched again.
    sure = confidence.Confidence(
      {'plain_first': confidence.Logistic(1, weights)}, {'plain_first': 0.7}
    )
    path = self.root / 'confidence.json'
    confidence_file.write(str(path), sure, checkpoint, {})
    self.align(boxes, '--save=none', f'--confidence={path}')
    again = self.lines('results')
    for line, before in zip(again, lines, strict=True):
      self.assertAlmostEqual(line['confidence'], 1 / (1 + np.exp(-1)), places=4)
      self.assertEqual(line['landmarks'], before['landmarks'])

    confidence_file.write(str(path), sure, 'others', {})
    done = self.align(boxes, f'--confidence={path}', code=1)
    self.assertIn('was fitted with the weights others, not with', done.stderr)

  def test_results_among_the_photos_are_refused(self):
    self.put('a.jpg')
    done = self.align({'a.jpg': _BOX}, f'--workdir={self.photos}', code=1)
    self.assertIn('is the folder of --input', done.stderr)
    self.assertFalse((self.photos / 'run.json').exists())

  def test_the_example_without_boxes(self):
    done = program_runs.run(
      'align',
      f'--input={_EXAMPLE}',
      f'--workdir={self.out}',
      '--passes=1',
      '--nomirror',
      '--blocks=2',
      '--save=index,json,glb',
    )
    self.assertIn('4 faces in 1 of 1 photo, 0 failures', done.stdout)
    self.assertEqual(
      done.stdout.splitlines()[-1], f'Open {self.out}/index.html in a browser.'
    )
    lines = self.lines('results')
    self.assertEqual([line['face'] for line in lines], [0, 1, 2, 3])
    self.assertTrue(all(0 < line['score'] <= 1 for line in lines))
    given = json.loads(_BOXES.read_text())['example.jpg']
    for line in lines:
      # Each lies on a face of the example, and the landmarks lie in it.
      nearest = min(given, key=lambda box: abs(box[0] - line['box'][0]))
      np.testing.assert_allclose(line['box'], nearest, atol=40)
      middle = np.mean(line['landmarks']['ibug68'], axis=0)
      self.assertLess(abs(middle[0] - nearest[0] - nearest[2] / 2), nearest[2] / 4)
    self.assertLen(json.loads((self.out / 'coco.json').read_text())['annotations'], 4)
    self.assertTrue((self.out / 'example.jpg_3.glb').is_file())
    self.assertFalse((self.out / 'example.jpg_overlay.png').exists())

  def test_sentences(self):
    self.put('a.jpg')
    (self.root / 'empty').mkdir()
    (self.root / 'file').write_text('x')
    photo = f'--input={self.photos}/a.jpg'
    cases = {
      'Say what to align: --input=PHOTO': [],
      'There is no photo or folder gone.jpg': ['--input=gone.jpg'],
      'is an address; download the photo': ['--input=https://a.org/b.jpg'],
      'There is no photo in': [f'--input={self.root}/empty'],
      '--save=stl is not a kind of file': [photo, '--save=stl'],
      '--detector=none needs --boxes=FILE.json': [photo, '--detector=none'],
      'There is no file gone.json': [photo, '--boxes=gone.json'],
      'There are no weights at gone': [photo, '--checkpoint=gone'],
      'There is no finished checkpoint': [photo, f'--checkpoint={self.photos}'],
      'cannot be read as a file of weights': [photo, f'--checkpoint={self.root}/file'],
      '--blocks=60 is more than the': [photo, '--blocks=60'],
      'cannot be made': [photo, f'--workdir={self.root}/file/out'],
      '--min_confidence=0.5 needs': [photo, '--blocks=1', '--min_confidence=0.5'],
    }
    said = self.errors(list(cases.values()))
    for sentence, (code, text) in zip(cases, said, strict=True):
      with self.subTest(sentence):
        self.assertEqual(code, 1)
        self.assertIn(sentence, text)
        self.assertNotIn('Traceback', text)
    self.assertFalse((self.out / 'run.json').exists())

  def errors(self, calls):
    """(exit code, stderr) of several calls; one process, for the time of a start."""
    program = (
      'import contextlib, io, json, sys\n'
      'from absl import flags\n'
      'from experiments.align import __main__ as align\n'
      'from experiments.lib import cli\n'
      'found = []\n'
      'for given in json.loads(sys.argv[1]):\n'
      '  for name in flags.FLAGS:\n'
      '    flags.FLAGS[name].unparse()\n'
      '  flags.FLAGS(["align", *given])\n'
      '  with contextlib.redirect_stderr(io.StringIO()) as said:\n'
      '    code = cli._guarded(align.main, ["align"])\n'
      '  found.append((code, said.getvalue()))\n'
      'print(json.dumps(found))\n'
    )
    calls = [[f'--workdir={self.out}', '--nocompilation_cache', *x] for x in calls]
    done = subprocess.run(
      [sys.executable, '-c', program, json.dumps(calls)],
      cwd=program_runs.ROOT,
      text=True,
      capture_output=True,
      env=program_runs.environment(),
      timeout=300,
      check=True,
    )
    return json.loads(done.stdout)


if __name__ == '__main__':
  absltest.main()
