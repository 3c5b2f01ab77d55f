"""Videos and cameras as frames with their times, and frames as a video, with PyAV.

PyAV is what imageio reads videos with. imageio itself gives no times of frames, which a
filter over time needs, and ends at the first broken frame.
"""

from collections.abc import Iterator
import dataclasses
from fractions import Fraction
import importlib.util
import os
import pathlib
import re
import types
from typing import Any

import numpy as np

_CAMERA = re.compile(r'<video(\d+)>|/dev/video(\d+)')
_STREAM = re.compile(r'[a-z][a-z0-9+.-]+://', re.IGNORECASE)
_SECONDS = 10.0  # a stream that sends nothing for so long has ended
# After so many broken packets without a frame between them the rest is no video.
_MOST_BROKEN = 100
_USUAL_RATE = 25.0  # frames a second, where a file does not say
_CLOCK = 90_000  # ticks a second of the files that are written


class VideoSupportMissing(ImportError):
  """The package that reads videos is not installed; the text says what to do."""


@dataclasses.dataclass(frozen=True)
class VideoFrame:
  """A frame, or the place of one that is broken.

  Attributes:
    index: from 0; broken ones count.
    time: seconds after the first frame; grows from frame to frame.
    image: (H, W, 3) uint8 RGB, upright; None if it is broken.
    problem: why it is broken.
  """

  index: int
  time: float
  image: np.ndarray | None
  problem: str | None = None


def is_stream(name: str) -> bool:
  """Whether a name stands for a camera or a network stream, which has no end.

  Args:
    name: '<video0>', '/dev/video0', 'rtsp://...', or a file.

  Returns:
    True if it is no file.
  """
  return bool(_CAMERA.fullmatch(name) or _STREAM.match(name))


class VideoReader:
  """The frames of a video file, a camera ('<video0>') or a stream ('rtsp://...').

  Attributes:
    name: as it was given.
    rate: frames a second, on average.
    num_frames: as the file says it; None if it does not.
  """

  def __init__(self, name: str | os.PathLike[str]):
    """Opens a video.

    Args:
      name: of the file, camera or stream.

    Raises:
      VideoSupportMissing: if PyAV is not installed.
      FileNotFoundError: if there is no such file.
      ValueError: if it is no video that can be read.
    """
    av = _pyav()
    self.name = os.fspath(name)
    stream, options = is_stream(self.name), {}
    source = self.name
    camera = _CAMERA.fullmatch(self.name)
    if camera:
      source, options = f'/dev/video{camera[1] or camera[2]}', {'format': 'v4l2'}
    elif not stream and not os.path.isfile(self.name):
      raise FileNotFoundError(f'There is no video {self.name}; name one that exists.')
    # Or a name such as "concat:a|b" would be taken for a protocol.
    if not stream:
      source = 'file:' + os.path.abspath(self.name)
    try:
      self._container = av.open(
        source, timeout=_SECONDS if stream and not camera else None, **options
      )
    except (av.FFmpegError, OSError, ValueError) as error:
      raise ValueError(_no_video(self.name, stream, error)) from error
    if not self._container.streams.video:
      self.close()
      raise ValueError(f'{self.name} has no pictures, only sound; give a video.')
    self._stream = self._container.streams.video[0]
    if re.search('image|_pipe', self._container.format.name):
      self.close()
      raise ValueError(
        f'{self.name} is a photo, not a video; experiments.align takes photos.'
      )
    rate = self._stream.average_rate or self._stream.guessed_rate
    self.rate = float(rate) if rate else _USUAL_RATE
    self.num_frames = self._stream.frames or None
    self._is_file = not stream

  def close(self) -> None:
    """Closes the file."""
    self._container.close()

  def __enter__(self) -> 'VideoReader':
    return self

  def __exit__(self, *_: Any) -> None:
    self.close()

  def __iter__(self) -> Iterator[VideoFrame]:
    """The frames in the order of their times; broken ones without an image.

    Raises:
      ValueError: if there is no frame at all.
    """
    index, time, start = 0, 0.0, None
    good, broken, last_problem = 0, 0, ''
    for stamp, picture, problem in self._in_order():
      image = None
      if picture is not None:
        image, problem = _image(picture)
      if stamp is not None and start is None:
        start = stamp
      passed = None if stamp is None or start is None else stamp - start
      if index:
        # Where the file has no times, or wrong ones.
        if passed is not None and time < passed < np.inf:
          time = passed
        else:
          time += 1 / self.rate
      if problem is None:
        good, broken = good + 1, 0
      else:
        last_problem, broken = problem, broken + 1
      if broken > _MOST_BROKEN:
        yield VideoFrame(index, time, None, 'nothing after it can be decoded')
        break
      yield VideoFrame(index, time, image, problem)
      index += 1
    if not good:
      reason = f': {last_problem}' if last_problem else ''
      raise ValueError(
        f'No frame of {self.name} can be decoded{reason}; convert it to another format.'
      )
    missing = self._missing(index, time)
    if missing:
      yield VideoFrame(
        index, time + 1 / self.rate, None, f'the file ends here, {missing} early'
      )

  def _missing(self, count, time):
    """What a file lacks of what its head announces; '' for nothing."""
    if not self._is_file:
      return ''
    if self.num_frames:
      missing = self.num_frames - count
      return f'{missing} of {self.num_frames} frames' if missing > 0 else ''
    # The length of the file is that of its pictures only where there is no sound.
    duration = self._container.duration
    if duration is None or len(self._container.streams) > 1:
      return ''
    missing = duration / 1e6 - time - 1 / self.rate
    return f'{missing:.1f} s' if missing > max(0.5, 2 / self.rate) else ''

  def _in_order(self):
    """(time in the file, PyAV's frame, None) or (time, None, why there is none)."""
    # A decoder holds frames back, to put them in the order in which they are shown: a
    # broken packet is told before the frames that are shown before it.
    waiting: list[tuple[float, str]] = []
    for stamp, picture, problem in self._decoded():
      if picture is None and stamp is not None:
        waiting.append((stamp, problem))
        continue
      while waiting and stamp is not None and min(waiting)[0] < stamp:
        first = min(waiting)
        waiting.remove(first)
        yield first[0], None, first[1]
      yield stamp, picture, problem
    for stamp, problem in sorted(waiting):
      yield stamp, None, problem

  def _decoded(self):
    """As `_in_order`, in the order in which the decoder tells it."""
    av = _pyav()
    packets = self._container.demux(self._stream)
    while True:
      try:
        packet = next(packets)
      except StopIteration:
        return
      except (av.FFmpegError, OSError) as error:
        # A file that was cut off, or a camera that was taken away.
        yield np.inf, None, f'it cannot be read any further ({_reason(error)})'
        return
      try:
        pictures = packet.decode()
      except av.FFmpegError as error:
        stamp = None if packet.pts is None else float(packet.pts * packet.time_base)
        yield stamp, None, f'it cannot be decoded ({_reason(error)})'
        continue
      for picture in pictures:
        yield picture.time, picture, None


def _image(picture):
  """Upright pixels of PyAV's frame, or why they are none."""
  if picture.is_corrupt:
    return None, 'it is damaged'
  try:
    image = picture.to_ndarray(format='rgb24')
  except (ValueError, OSError) as error:
    return None, f'it cannot be decoded ({error})'
  # How the camera was held: counter-clockwise degrees.
  turns = round(picture.rotation / 90) % 4
  return np.ascontiguousarray(np.rot90(image, turns)), None


class VideoWriter:
  """Writes an .mp4 (H.264); it has its name once it is whole."""

  def __init__(self, path: pathlib.Path, rate: float):
    """Starts a video.

    Args:
      path: of the file.
      rate: frames a second, on average; every frame has its own time.

    Raises:
      VideoSupportMissing: if PyAV is not installed.
      OSError: if it cannot be written.
    """
    self._av = _pyav()
    self._path, self._rate = path, rate
    self._partial = path.with_name(path.name + '.partial')
    self._container = self._av.open(str(self._partial), 'w', format='mp4')
    self._stream: Any = None
    self._ticks = -1

  def write(self, image: np.ndarray, time: float) -> None:
    """Adds a frame.

    Args:
      image: (H, W, 3) uint8 RGB, all of one size.
      time: seconds, later than that of the frame before.

    Raises:
      ValueError: if it has another size than the frames before.
    """
    # H.264 has pairs of rows and columns.
    image = np.pad(image, [(0, s % 2) for s in image.shape[:2]] + [(0, 0)], 'edge')
    height, width = image.shape[:2]
    if self._stream is None:
      self._stream = self._start(width, height)
    elif (self._stream.width, self._stream.height) != (width, height):
      raise ValueError(
        f'The frame has {width} x {height} pixels, those before '
        f'{self._stream.width} x {self._stream.height}.'
      )
    picture = self._av.VideoFrame.from_ndarray(image, format='rgb24')
    self._ticks = max(self._ticks + 1, round(time * _CLOCK))
    picture.pts, picture.time_base = self._ticks, Fraction(1, _CLOCK)
    self._container.mux(self._stream.encode(picture))

  def _start(self, width, height):
    options = {'crf': '20', 'preset': 'veryfast'}
    rate = Fraction(self._rate).limit_denominator(1001)
    try:
      stream = self._container.add_stream('libx264', rate=rate, options=options)
    except (self._av.FFmpegError, ValueError):  # a build without it
      stream = self._container.add_stream('mpeg4', rate=rate)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    stream.codec_context.time_base = Fraction(1, _CLOCK)
    return stream

  def close(self) -> bool:
    """Ends the file and puts it in its place.

    Returns:
      Whether there is one: not without a frame.
    """
    if self._stream is not None:
      self._container.mux(self._stream.encode(None))
    self._container.close()
    if self._stream is None:
      self._partial.unlink(missing_ok=True)
      return False
    os.replace(self._partial, self._path)
    return True


def pyav_missing() -> bool:
  """Whether the package that reads videos is not installed."""
  return importlib.util.find_spec('av') is None


def _pyav() -> types.ModuleType:
  try:
    import av
  except ImportError as error:
    raise VideoSupportMissing(
      'Videos need the package av: "pip install pifa_jax[video]".'
    ) from error
  av.logging.set_level(None)  # what it finds broken is told by us, once
  return av


def _no_video(name, stream, error):
  if stream:
    return (
      f'{name} cannot be opened as a camera or stream ({_reason(error)}); name another '
      'one, or a file.'
    )
  return (
    f'{name} is no video that can be read ({_reason(error)}): it may be another kind '
    'of file, or cut off; give a whole video, such as an .mp4.'
  )


def _reason(error):
  return getattr(error, 'strerror', None) or str(error)
