"""experiments.align_video and measure_tracking on short clips, as users type them."""

import json
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image

from pifa_jax.files import video_files
from pifa_jax.files.video_files import VideoReader, VideoWriter
from tests import program_runs

_EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'example.jpg'
_RATE = 10.0


def _clip(path, count):
  """The rendered faces of the example, moved to the right by two pixels a frame."""
  photo = np.asarray(Image.open(_EXAMPLE).convert('RGB'))
  writer = VideoWriter(path, _RATE)
  for k in range(count):
    writer.write(np.roll(photo, 2 * k, axis=1), k / _RATE)
  writer.close()


@absltest.skipIf(video_files.pyav_missing(), 'PyAV is not installed')
class AlignVideoTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.out = self.root / 'out'

  def follow(self, path, *flags, code=0):
    return program_runs.run(
      'align_video',
      f'--input={path}',
      f'--workdir={self.out}',
      '--nomirror',
      *flags,
      code=code,
    )

  def lines(self, name):
    text = (self.out / f'{name}.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]

  def test_faces_keep_their_numbers_and_a_damaged_frame_does_not_end_it(self):
    path = self.root / 'clip.mp4'
    _clip(path, 12)
    whole = list(VideoReader(path))
    data = bytearray(path.read_bytes())
    # The last frames' data: what comes before them does not depend on it.
    end = data.rindex(b'moov') - 4
    data[end - 200 : end - 20] = bytes(180)
    path.write_bytes(data)
    broken = [f.index for f in VideoReader(path) if f.problem]
    self.assertNotEmpty(broken)
    done = self.follow(path, '--smooth', code=3)
    lines = self.lines('results')
    self.assertEqual([line['frame'] for line in lines], list(range(len(whole))))
    np.testing.assert_allclose(
      [line['time'] for line in lines], np.arange(12) / _RATE, atol=2e-3
    )
    self.assertEqual([line['frame'] for line in self.lines('failures')], broken)
    good = [line for line in lines if line['frame'] not in broken]
    self.assertTrue(good[0]['detector_ran'])
    first = {face['id']: face for face in good[0]['faces']}
    last = {face['id']: face for face in good[-1]['faces']}
    self.assertLen(first, 4)
    self.assertEqual(sorted(first), sorted(last))
    for number, face in first.items():
      moved = np.subtract(
        last[number]['landmarks']['ibug68'], face['landmarks']['ibug68']
      ).mean(axis=0)
      want = 2 * (good[-1]['frame'] - good[0]['frame'])
      # The filter lags by a frame or two.
      self.assertBetween(moved[0], want - 6, want + 2)
      self.assertBetween(moved[1], -2, 2)
      self.assertLen(face['visible']['ibug68'], 68)
      self.assertBetween(face['yaw_degrees'], -110, 110)
      self.assertIn('confidence', face)
    for line in lines:
      if line['frame'] in broken:
        self.assertIsNone(line['faces'])
        self.assertTrue(line['problem'])
    self.assertIn('12 frames, 4 faces', done.stdout)
    self.assertIn('img/s', done.stdout)
    shown = list(VideoReader(self.out / 'overlay.mp4'))
    self.assertLen(shown, len(good))
    # Landmarks and boxes are on it.
    plain = whole[0].image.astype(int)
    self.assertGreater((np.abs(shown[0].image - plain).max(axis=-1) > 60).sum(), 500)

  def test_errors_are_one_sentence(self):
    text = self.root / 'clip.mp4'
    text.write_text('no video')
    for path, flag, words in (
      (text, '--noretry', 'is no video that can be read'),
      (text, '--detector=none', '--detector=none finds no face'),
    ):
      done = self.follow(path, flag, code=1)
      self.assertIn(words, done.stderr)
      self.assertFalse(self.out.exists())


class MeasureTrackingTest(absltest.TestCase):
  def test_table(self):
    with tempfile.TemporaryDirectory() as folder:
      done = program_runs.run(
        'measure_tracking',
        f'--workdir={folder}/out',
        '--clip_renderer=plain',
        '--num_heads=1',
        '--num_frames=20',
        '--frame_size=112',
        '--turn_seconds=1.5',
        '--yaw_amplitude=20',
        '--nomirror',
      )
      found = json.loads((pathlib.Path(folder) / 'out' / 'tracking.json').read_text())
    self.assertIn('raw', done.stdout)
    self.assertIn('smoothed', done.stdout)
    self.assertEqual(found['frames'], 40)
    self.assertEqual(found['lost_frames'], 0)
    raw, smooth = found['raw'], found['smoothed']
    self.assertBetween(raw['nme'], 0.5, 15)
    # What smoothing is for, and what it costs.
    self.assertLess(smooth['jitter'], 0.8 * raw['jitter'])
    self.assertGreater(smooth['lag'], raw['lag'])


if __name__ == '__main__':
  absltest.main()
