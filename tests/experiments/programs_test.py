"""The programs on miniatures of every data set, one command each, as users type it."""

import csv
import json
import os
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from tests import miniatures, program_runs

_QUICK = [
  '--preset=tiny',
  '--face_model=builtin',
  '--num_blocks=1',
  '--fc_pool=4',
  '--batch_size=2',
  '--num_steps=2',
  '--visualize_every=0',
  '--tensorboard=false',
]


class ProgramsTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._folder = tempfile.TemporaryDirectory()
    cls.root = pathlib.Path(cls._folder.name)
    for name, write in miniatures.WRITERS.items():
      write(cls.root / name)

  @classmethod
  def tearDownClass(cls):
    cls._folder.cleanup()
    super().tearDownClass()

  def run_program(self, name, *flags, code=0):
    return program_runs.run(
      name, f'--cache_dir={self.root / "cache"}', *flags, code=code
    )

  def train(self, name, *flags):
    work = str(self.root / 'runs' / name)
    self.run_program(
      'train',
      f'--dataset={name}',
      f'--data_dir={self.root / name}',
      f'--workdir={work}',
      *_QUICK,
      *flags,
    )
    return work

  def evaluate(self, work, name, *flags, code=0):
    return self.run_program(
      'evaluate',
      f'--checkpoint={work}',
      f'--dataset={name}',
      f'--data_dir={self.root / name}',
      *flags,
      code=code,
    )

  def test_every_data_set(self):
    lp = self.train('300wlp')
    w300 = self.train('w300')
    # Labels of every kind, predictions of one network.
    said = self.evaluate(lp, 'aflw2000', '--box_noise').stdout
    for words in (
      'AFLW2000-3D (original labels)',
      'N=4',
      '68 landmarks, all count',
      'sqrt(w h) of the box of the true landmarks',
      'yaw bins',
      'trained on 300wlp',
      'checkpoint',
      'error by box noise',
      'pose, mean absolute error',
    ):
      self.assertIn(words, said)
    folder = pathlib.Path(lp) / 'evaluation' / 'aflw2000-test-aflw2000'
    with open(folder / 'eval.json') as file:
      # No face of the miniature is a profile: a bin without a mean, and no "NaN".
      result = json.load(file, parse_constant=self.fail)
    self.assertIsNone(result['yaw_bins']['>60'])
    self.assertIn('>60: no faces', said)
    self.assertLen(result['nme'], 1)
    self.assertLen(result['box_noise'], 7)
    # No noise is the evaluation itself, but for packing with another margin.
    self.assertAlmostEqual(result['box_noise']['0'], result['nme'][-1], delta=0.5)
    with open(folder / 'per_image.csv') as file:
      rows = list(csv.DictReader(file))
    self.assertLen(rows, 4)
    self.assertAlmostEqual(
      sum(float(row['block1_percent']) for row in rows) / 4, result['mean'], places=3
    )
    page = (folder / 'report.html').read_text()
    self.assertEqual(page.count('data:image/png;base64,'), 4)
    self.assertNotIn('http', page.replace('http-equiv', ''))

    folder = self.train('folder')
    self.assertIn('MAPE (px)', self.evaluate(folder, 'afw').stdout)
    self.assertIn(
      'the very photos that this checkpoint was trained on',
      self.evaluate(folder, 'folder', '--split=train', code=1).stderr,
    )
    # Not the whole set that it was trained on: some of the photos may be the same.
    self.assertIn(
      'all (may hold photos that these weights were trained on)',
      self.evaluate(folder, 'folder', '--split=all').stdout,
    )
    self.assertIn(
      'failures above 8 %, 51 points',
      self.evaluate(
        w300, 'w300', '--split=challenging', '--protocol=w300_paper'
      ).stdout,
    )
    for dataset in ('w300', 'afw'):
      refused = self.evaluate(lp, dataset, code=1).stderr
      self.assertIn('trained on 300wlp, which contains the photos of', refused)
    self.assertIn('trained on w300', self.evaluate(w300, 'afw', code=1).stderr)
    self.assertIn(
      'for evaluation alone',
      self.run_program(
        'train',
        '--dataset=aflw2000',
        f'--data_dir={self.root / "aflw2000"}',
        f'--workdir={self.root / "no"}',
        code=1,
      ).stderr,
    )

    # And upon photos, with boxes by hand.
    (self.root / 'boxes.json').write_text(
      json.dumps(
        {
          '1000.jpg': [[20, 20, 50, 50]],
          '1001.jpg': [[10, 10, 40, 60], [50, 5, 60, 60]],
          'gone.jpg': [[0, 0, 5, 5]],
        }
      )
    )
    said = self.run_program(
      'align',
      f'--checkpoint={w300}',
      f'--input={self.root / "afw" / "testimages"}',
      f'--boxes={self.root / "boxes.json"}',
      f'--workdir={self.root / "aligned"}',
      code=3,
    )
    self.assertIn('3 faces in 2 of 2 photos, 1 failure;', said.stdout)
    self.assertIn('gone.jpg: it has boxes but', said.stderr)
    self.assertIn('index.html, 2 _overlay.png to', said.stdout)
    lines = [
      json.loads(line, parse_constant=self.fail)
      for line in (self.root / 'aligned' / 'results.jsonl').read_text().splitlines()
    ]
    self.assertEqual(
      [(line['image'], line['face']) for line in lines],
      [('1000.jpg', 0), ('1001.jpg', 0), ('1001.jpg', 1)],
    )
    for line in lines:
      self.assertEqual(np.shape(line['landmarks']['ibug68']), (68, 2))
      self.assertEqual(np.shape(line['landmarks']['aflw34']), (34, 2))
      self.assertEqual(np.shape(line['visible']['aflw34']), (34,))
      np.testing.assert_allclose(np.linalg.det(line['rotation']), 1, atol=1e-4)
    self.assertTrue((self.root / 'aligned' / '1001.jpg_overlay.png').exists())

    # The release of AFLW through its records: the same result as from the folder.
    aflw = self.train('aflw')
    raw = self.evaluate(aflw, 'aflw').stdout
    records = self.evaluate(aflw, 'aflw', f'--tfds_dir={self.root / "tfds"}').stdout
    row = lambda text: text.partition('NME (%)')[2].splitlines()[1]
    self.assertEqual(row(raw), row(records))

  def test_prepare_data(self):
    root = self.root / 'aflw2000'
    work = self.root / 'prepared'
    flags = [
      '--dataset=aflw2000',
      f'--src={root}',
      f'--workdir={work}',
      '--face_model=builtin',
    ]
    # Four faces are not the published two thousand: said, and exit code 3.
    said = self.run_program('prepare_data', *flags, '--verify', code=3)
    self.assertIn('4 faces were found but 2,000 are published', said.stderr)
    facts = json.loads((work / 'dataset.json').read_text())['splits']['test']
    self.assertEqual((facts['num_faces'], facts['num_rejected']), (4, 0))
    self.assertNotIn('crops', facts)
    # A name whose bytes are no text costs nothing but its letters.
    odd = self.root / 'odd'
    odd.mkdir()
    (odd / os.fsdecode(b'a\xff.jpg')).write_bytes(b'x')
    self.run_program(
      'prepare_data',
      '--dataset=folder',
      f'--src={odd}',
      f'--workdir={work}',
      '--verify',
      code=3,
    )
    self.assertIn('a\\udcff.jpg', (work / 'rejects.csv').read_text())
    image = root / 'image00003.jpg'
    good = image.read_bytes()
    image.write_bytes(good[: len(good) // 2])
    self.addCleanup(image.write_bytes, good)
    for verify in (['--verify'], []):
      self.run_program('prepare_data', *flags, *verify, code=3)
      rows = list(csv.reader((work / 'rejects.csv').read_text().splitlines()))
      self.assertLen(rows, 2)
      self.assertEqual(rows[1][:2], ['test', 'image00003.jpg'])
    facts = json.loads((work / 'dataset.json').read_text())['splits']['test']
    self.assertEqual((facts['num_cropped'], facts['num_rejected']), (3, 1))

  def test_archives_instead_of_folders(self):
    archive = self.root / 'AFLW2000-3D.zip'
    for content, words in (
      (b'<!DOCTYPE html><html>quota exceeded', 'web page'),
      (b'PK\x03\x04 and then no more', 'only a part'),
      (b'BZh9', 'unpack it'),
    ):
      archive.write_bytes(content)
      said = self.run_program(
        'prepare_data', '--dataset=aflw2000', f'--src={archive}', code=1
      )
      self.assertIn(words, said.stderr)


if __name__ == '__main__':
  absltest.main()
