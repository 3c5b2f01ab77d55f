"""Videos as people have them: whole, cut off, damaged, turned, and no videos at all."""

import pathlib
import struct
import sys
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
from PIL import Image

from pifa_jax.files import video_files
from pifa_jax.files.video_files import VideoReader, VideoWriter

_RATE = 25.0


def _colors(count, size=(48, 64)):
  """Frames that differ in their mean, with a white corner at the top left."""
  frames = []
  for k in range(count):
    image = np.full((*size, 3), 40 + 5 * (k % 30), np.uint8)
    image[: size[0] // 3, : size[1] // 3] = 235
    frames.append(image)
  return frames


def _write(path, frames, times=None):
  writer = VideoWriter(path, _RATE)
  for k, image in enumerate(frames):
    writer.write(image, k / _RATE if times is None else times[k])
  return writer.close()


@absltest.skipIf(video_files.pyav_missing(), 'PyAV is not installed')
class VideoTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.path = self.root / 'a clip: 1.mp4'

  def read(self, path=None):
    with VideoReader(path or self.path) as video:
      return list(video)

  def test_frames_come_back_with_their_times(self):
    frames = _colors(30)
    # A phone's rate changes.
    times = np.cumsum(np.where(np.arange(30) % 3, 0.02, 0.1)) - 0.1
    self.assertTrue(_write(self.path, frames, times))
    found = self.read()
    self.assertEqual([f.index for f in found], list(range(30)))
    # Ticks of the file's clock.
    np.testing.assert_allclose([f.time for f in found], times, atol=1e-3)
    for got, want in zip(found, frames, strict=True):
      # A lossy codec, on flat colours.
      self.assertLess(np.abs(got.image.astype(int) - want).mean(), 4)
    with VideoReader(self.path) as video:
      self.assertEqual(video.num_frames, 30)

  def test_odd_sizes_and_nothing(self):
    self.assertTrue(_write(self.path, _colors(2, (33, 47))))
    self.assertEqual(self.read()[0].image.shape, (34, 48, 3))
    self.assertFalse(_write(self.root / 'none.mp4', []))
    self.assertEqual([p.name for p in self.root.iterdir()], [self.path.name])
    writer = VideoWriter(self.root / 'b.mp4', _RATE)
    writer.write(np.zeros((32, 32, 3), np.uint8), 0.0)
    with self.assertRaisesRegex(ValueError, '64 x 32 pixels, those before 32 x 32'):
      writer.write(np.zeros((32, 64, 3), np.uint8), 0.1)
    writer.close()

  @parameterized.parameters((-90, 'right'), (90, 'left'))
  def test_a_phone_that_was_turned(self, degrees, side):
    _write(self.path, _colors(2))
    data = bytearray(self.path.read_bytes())
    # The matrix of the track header (ISO/IEC 14496-12, 8.3.2).
    place = data.index(b'tkhd') + 44
    b, c = (1, -1) if degrees == -90 else (-1, 1)
    one = 1 << 16
    data[place : place + 36] = struct.pack(
      '>9i', 0, b * one, 0, c * one, 0, 0, 0, 0, 1 << 30
    )
    self.path.write_bytes(data)
    image = self.read()[0].image
    self.assertEqual(image.shape, (64, 48, 3))
    # -90 is shown turned clockwise: the top left corner is at the top right.
    corner = image[:10, -10:] if side == 'right' else image[-10:, :10]
    self.assertGreater(corner.mean(), 200)
    self.assertLess(image.mean(), 100)

  def test_damaged_frames_are_told_and_the_others_read(self):
    rng = np.random.default_rng(0)
    small = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(40)]
    _write(self.path, small)
    data = bytearray(self.path.read_bytes())
    start = data.index(b'mdat') + len(data) // 3
    data[start : start + 3000] = bytes(3000)
    self.path.write_bytes(data)
    found = self.read()
    self.assertLen(found, 40)
    bad = [f for f in found if f.problem]
    self.assertBetween(len(bad), 1, 20)
    for frame in found:
      self.assertEqual(frame.image is None, frame.problem is not None)
    times = np.diff([f.time for f in found])
    self.assertTrue((times > 0).all())

  def test_a_video_that_was_cut_off_ends_with_a_word(self):
    import av

    path = self.root / 'clip.mkv'
    with av.open(str(path), 'w') as file:
      stream = file.add_stream('mpeg4', rate=25)
      stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
      for image in _colors(100):
        file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
      file.mux(stream.encode(None))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = self.read(path)
    self.assertBetween(len(found), 20, 80)
    self.assertIn('the file ends here', found[-1].problem)
    self.assertTrue(all(f.problem is None for f in found[:-1]))

  def test_what_is_no_video_is_told_in_a_sentence(self):
    _write(self.path, _colors(9))
    cut = self.root / 'cut.mp4'
    cut.write_bytes(self.path.read_bytes()[:900])  # the table at the end is missing
    text, photo = self.root / 'text.mp4', self.root / 'photo.png'
    text.write_text('no video')
    Image.new('RGB', (32, 32)).save(photo)
    for path, words in (
      (cut, 'cut.mp4 is no video that can be read .* cut off'),
      (text, 'text.mp4 is no video'),
      (photo, 'photo.png is a photo, not a video'),
    ):
      with self.assertRaisesRegex(ValueError, words):
        self.read(path)
    with self.assertRaisesRegex(FileNotFoundError, 'There is no video .*gone.mp4'):
      self.read(self.root / 'gone.mp4')
    with self.assertRaisesRegex(ValueError, 'camera or stream'):
      self.read('/dev/video97')


class WithoutPyavTest(absltest.TestCase):
  def test_says_what_to_install(self):
    with mock.patch.dict(sys.modules, {'av': None}):
      with self.assertRaisesRegex(
        video_files.VideoSupportMissing, r'pip install pifa_jax\[video\]'
      ):
        VideoReader(__file__)

  def test_names_of_cameras_and_streams(self):
    for name in ('/dev/video0', '<video1>', 'rtsp://host/a', 'http://host/a.mp4'):
      self.assertTrue(video_files.is_stream(name), name)
    for name in ('clip.mp4', 'C:/clip.mp4', '/dev/video', 'a:b.mp4'):
      self.assertFalse(video_files.is_stream(name), name)


if __name__ == '__main__':
  absltest.main()
