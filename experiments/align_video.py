"""Follows the faces of a video: landmarks, visibility and pose in every frame.

  python -m experiments.align_video --input=clip.mp4 --workdir=DIR
  python -m experiments.align_video --input=/dev/video0 --num_frames=500 --smooth

--input is a video file, a camera (/dev/video0) or a stream (rtsp://...); Ctrl-C ends a
camera. The faces of a frame are looked for where they were in the frame before; a
detector looks at the start, when one is lost, and every second. Faces keep their
numbers. Writes results.jsonl, a line per frame, failures.jsonl, and overlay.mp4. Needs
the extra "video": pip install pifa_jax[video].
"""

from collections.abc import Iterator
import concurrent.futures
import dataclasses
import json
import pathlib
import sys
import time as time_lib
from typing import Any, TextIO

from absl import flags
import numpy as np

from experiments.lib import (
  cli,
  derived_flags,
  output_files,
  path_flags,
  restore,
  stop_signal,
  trained_aligner,
  video_overlay,
)
from pifa_jax import detection
from pifa_jax.files import video_files
from pifa_jax.files.video_files import VideoFrame
from pifa_jax.inference import AlignedFaces
from pifa_jax.inference.smoothing import SmoothingSettings
from pifa_jax.inference.track_smoother import LagMeter, TrackSmoother
from pifa_jax.inference.tracking import TrackedFrame, Tracker, TrackingSettings

restore.define_flags()
path_flags.define_path(
  'input', None, 'A video file, a camera such as /dev/video0, or a stream (rtsp://...).'
)
derived_flags.define(trained_aligner.AlignerSettings)
derived_flags.define(detection.DetectionSettings)
derived_flags.define(TrackingSettings)
flags.DEFINE_boolean(
  'smooth',
  False,
  'Smooth P of every face over time (One-Euro filter): steadier, but late; the last '
  'line says by how much.',
)
derived_flags.define(SmoothingSettings)
flags.DEFINE_integer(
  'num_frames', None, 'Stop after so many frames; default: all.', lower_bound=1
)
flags.DEFINE_boolean(
  'overlay', True, 'Write overlay.mp4: the video with what was found drawn on it.'
)

_SAY_EVERY = 5.0  # seconds between lines of progress


def main(run: cli.Run) -> int:
  """Follows the faces of one video.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  if not f.input:
    raise cli.UserError(
      'Say what to follow: --input=VIDEO, a file, a camera such as /dev/video0, or a '
      'stream.'
    )
  if f.detector == 'none':
    raise cli.UserError(
      '--detector=none finds no face to follow; leave it out, or use another one.'
    )
  workdir = pathlib.Path(run.folder(f.workdir))
  try:
    video = video_files.VideoReader(f.input)
    detector = _detector(derived_flags.read(detection.DetectionSettings, f))
  except (video_files.VideoSupportMissing, detection.DetectorMissing) as error:
    raise cli.UserError(str(error)) from error
  with video:
    trained = trained_aligner.open_aligner(f, _log)
    run.make_folder(f.workdir)
    run.open(str(workdir), checkpoint=trained.checkpoint, checkpoint_step=trained.step)
    tracker = Tracker(
      trained.aligner,
      trained.variables,
      detector,
      derived_flags.read(TrackingSettings, f),
    )
    smoother = None
    if f.smooth:
      smoother = TrackSmoother(trained.model, derived_flags.read(SmoothingSettings, f))
    session = _Session(video, tracker, smoother, workdir)
    code = session.run()
  facts = session.facts()
  run.note(**facts)
  return session.report(facts, code)


def _detector(config: detection.DetectionSettings) -> detection.Detector:
  fields = dataclasses.asdict(config)
  return detection.make_detector(fields.pop('detector'), **fields)


class _Session:
  """What following the faces of a video needs and leaves."""

  def __init__(
    self,
    video: video_files.VideoReader,
    tracker: Tracker,
    smoother: TrackSmoother | None,
    workdir: pathlib.Path,
  ):
    self._video, self._tracker, self._smoother = video, tracker, smoother
    self._workdir = workdir
    self._failures: list[dict[str, Any]] = []
    self._frames, self._faces, self._looks = 0, 0, 0
    self._ids: set[int] = set()
    self._lag = LagMeter()
    self._seconds = 0.0
    self._has_overlay = False

  def run(self) -> int:
    """Follows the faces to the end; returns the exit code of a stop, or EXIT_OK."""
    f = flags.FLAGS
    stop = stop_signal.StopSignal()
    writer = None
    if f.overlay:
      writer = video_files.VideoWriter(self._workdir / 'overlay.mp4', self._video.rate)
    started = said = time_lib.monotonic()
    try:
      with output_files.open_table(self._workdir / 'results.jsonl') as results:
        for frame in self._upcoming():
          self._next(frame, results, writer)
          now = time_lib.monotonic()
          if now - said >= _SAY_EVERY:
            said = now
            self._say_progress(now - started)
          if stop.exit_code() != cli.EXIT_OK or self._frames == f.num_frames:
            break
    finally:
      self._seconds = time_lib.monotonic() - started
      if writer is not None:
        self._has_overlay = writer.close()
      with output_files.new_table(self._workdir / 'failures.jsonl') as file:
        file.writelines(json.dumps(line) + '\n' for line in self._failures)
    return stop.exit_code()

  def _upcoming(self) -> Iterator[VideoFrame]:
    """The frames; the next one is decoded while one is worked on."""
    frames = iter(self._video)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      ahead = pool.submit(next, frames, None)
      while (frame := ahead.result()) is not None:
        ahead = pool.submit(next, frames, None)
        yield frame

  def _next(self, frame, results: TextIO, writer) -> None:
    self._frames += 1
    if frame.image is None:
      self._fail(frame, frame.problem)
      line = {'frame': frame.index, 'time': round(frame.time, 6), 'faces': None}
      results.write(json.dumps(line | {'problem': frame.problem}) + '\n')
      return
    tracked = self._tracker.next(frame.image, frame.time)
    faces = tracked.faces
    if self._smoother is not None:
      faces = self._smoother(tracked, frame.time)
      self._lag.add(tracked, faces)
    self._faces += len(tracked)
    self._looks += tracked.looked
    self._ids.update(tracked.ids.tolist())
    results.write(json.dumps(cli.json_value(_line(frame, tracked, faces))) + '\n')
    if writer is not None:
      try:
        writer.write(video_overlay.draw(frame.image, tracked.ids, faces), frame.time)
      except ValueError as error:
        self._fail(frame, f'it is not in overlay.mp4: {error}')

  def _fail(self, frame, reason):
    self._failures.append(
      {'frame': frame.index, 'time': round(frame.time, 6), 'reason': reason}
    )

  def _say_progress(self, seconds):
    total = min(
      self._video.num_frames or sys.maxsize, flags.FLAGS.num_frames or sys.maxsize
    )
    of_all = '' if total == sys.maxsize else f' of {total}'
    _log(
      f'frame {self._frames}{of_all}, {self._frames / seconds:.1f} img/s, '
      f'{output_files.count_of(len(self._ids), "face")} so far.'
    )

  def facts(self) -> dict[str, Any]:
    """What was done, for run.json."""
    lag = self._lag.frames() if self._smoother is not None else None
    return {
      'frames': self._frames,
      'face_frames': self._faces,
      'faces': len(self._ids),
      'detector_runs': self._looks,
      'frames_per_second': self._frames / max(self._seconds, 1e-9),
      'video_frames_per_second': self._video.rate,
      'lag_frames': lag,
    }

  def report(self, facts: dict[str, Any], code: int) -> int:
    """Says what was done; returns the exit code."""
    for line in self._failures[:20]:
      _log(f'failed: frame {line["frame"]}: {line["reason"]}')
    if len(self._failures) > 20:
      _log(f'failed: {len(self._failures) - 20} more, see failures.jsonl.')
    number = output_files.count_of
    smooth = ''
    if self._smoother is not None:
      lag = facts['lag_frames']
      smooth = '; smoothed, with a lag that no face moved enough to tell'
      if lag is not None:
        smooth = (
          f'; smoothed, {lag:.1f} frames ({1e3 * lag / self._video.rate:.0f} ms) late'
        )
    overlay = ', overlay.mp4' if self._has_overlay else ''
    print(
      f'{number(self._frames, "frame")}, {number(len(self._ids), "face")} '
      f'({self._faces} over all frames){smooth}; the detector ran '
      f'{number(self._looks, "time")}, {facts["frames_per_second"]:.1f} img/s, '
      f'{number(len(self._failures), "failure")}; wrote results.jsonl, '
      f'failures.jsonl{overlay} to {self._workdir}.'
    )
    if code != cli.EXIT_OK:
      return code
    return cli.EXIT_SOME_FAILED if self._failures else cli.EXIT_OK


def _line(frame: VideoFrame, tracked: TrackedFrame, faces: AlignedFaces):
  """One frame as a JSON object."""
  return {
    'frame': frame.index,
    'time': round(frame.time, 6),
    'detector_ran': tracked.looked,
    'faces': [
      {'id': int(number), **_face(faces, row)} for row, number in enumerate(tracked.ids)
    ],
  }


def _face(faces, row):
  rounded = lambda array, digits: np.round(
    np.asarray(array, np.float64), digits
  ).tolist()
  return {
    'box': rounded(faces.boxes[row], 3),
    'landmarks': {k: rounded(v[row], 3) for k, v in faces.landmarks.items()},
    'visible': {k: np.asarray(v)[row].tolist() for k, v in faces.visible.items()},
    **{
      f'{key}_degrees': float(np.round(np.rad2deg(faces.pose[key][row]), 3))
      for key in ('yaw', 'pitch', 'roll')
    },
    'rotation': rounded(faces.pose['rotation'][row], 6),
    'confidence': None
    if faces.confidence is None
    else float(np.round(faces.confidence[row], 4)),
  }


def _log(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
