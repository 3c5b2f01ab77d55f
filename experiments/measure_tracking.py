"""Error, jitter and lag of tracked faces, on synthetic heads with exact landmarks.

  python -m experiments.measure_tracking --workdir=DIR

Renders heads that turn, and heads that are at rest, follows them as
experiments.align_video does, and prints a table: without smoothing, and with the
One-Euro filter. Writes tracking.json, and the clips with --clips.

NME: of the turning heads, mean distance to the true landmarks over sqrt(w h) of their
true box, percent. Jitter: of the heads at rest, standard deviation over time, pixels
and percent of that size. Lag: of the turning heads, frames by which the landmarks come
later than the true ones, by least squares.
"""

import dataclasses
import pathlib
import sys
from typing import Any

from absl import flags
import numpy as np

from experiments.lib import (
  cli,
  derived_flags,
  output_files,
  restore,
  trained_aligner,
  video_overlay,
)
from pifa_jax.datasets import synthetic, turning_head
from pifa_jax.datasets.turning_head import HeadClip
from pifa_jax.detection.detections import Detections
from pifa_jax.files import video_files
from pifa_jax.inference.smoothing import SmoothingSettings, jitter, lag_in_frames
from pifa_jax.inference.track_smoother import TrackSmoother
from pifa_jax.inference.tracking import Tracker, TrackingSettings

restore.define_flags()
derived_flags.define(trained_aligner.AlignerSettings)
derived_flags.define(TrackingSettings)
derived_flags.define(SmoothingSettings)
flags.DEFINE_enum(
  'clip_renderer', 'full', synthetic.RENDERERS, 'Of the heads; see --renderer of train.'
)
flags.DEFINE_integer('num_heads', 2, 'Heads, each turning and at rest.', lower_bound=1)
flags.DEFINE_integer('num_frames', 90, 'Frames of a clip.', lower_bound=10)
flags.DEFINE_float('frame_rate', 30.0, 'Frames a second.', lower_bound=1.0)
flags.DEFINE_integer('frame_size', 200, 'Side of a frame, pixels.', lower_bound=48)
flags.DEFINE_float(
  'yaw_amplitude', 45.0, 'Greatest yaw to each side, degrees.', lower_bound=0.0
)
flags.DEFINE_float(
  'turn_seconds', 3.0, 'Seconds of a turn to both sides and back.', lower_bound=0.1
)
flags.DEFINE_float(
  'sensor_noise',
  2.0,
  'Noise that differs from frame to frame, standard deviation in grey levels.',
  lower_bound=0.0,
)
flags.DEFINE_boolean(
  'clips', False, 'Write every clip with what was found drawn on it.'
)

_MARGIN = 1.8  # side of the frame over that of the face
_YAW_AT_REST = 15.0


def main(run: cli.Run) -> int:
  """Renders, follows, measures.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  trained = trained_aligner.open_aligner(f, _log)
  workdir = pathlib.Path(run.make_folder(f.workdir))
  run.open(str(workdir), checkpoint=trained.checkpoint, checkpoint_step=trained.step)
  moving = turning_head.sinusoidal_yaw(
    f.num_frames, f.frame_rate, amplitude=f.yaw_amplitude, period=f.turn_seconds
  )
  config = synthetic.SyntheticConfig(
    image_size=f.frame_size, margin=_MARGIN, renderer=f.clip_renderer
  )
  found: dict[str, dict[str, list]] = {
    kind: {'nme': [], 'lag': [], 'jitter': [], 'jitter_percent': []} for kind in _KINDS
  }
  lost = 0
  for head in range(f.num_heads):
    for name, yaw in (
      ('turning', moving),
      ('at_rest', np.full(f.num_frames, _YAW_AT_REST)),
    ):
      _log(f'Head {head + 1} of {f.num_heads}, {name}: rendering.')
      clip = turning_head.turning_head(
        trained.model, config, yaw, seed=f.seed + head, noise=f.sensor_noise
      )
      tracks = follow(trained, clip, f.frame_rate)
      if f.clips:
        _write_clip(workdir / f'{name}_{head}.mp4', clip, tracks, f.frame_rate)
      lost += int(np.isnan(tracks['raw'][:, 0, 0]).sum())
      for kind, points in tracks.items():
        for measure, value in _measures(points, clip, name == 'turning').items():
          found[kind][measure].append(value)
  table = {
    kind: {
      name: float(np.mean(values)) if values else None
      for name, values in of_kind.items()
    }
    for kind, of_kind in found.items()
  }
  _print(table)
  frames = 2 * f.num_heads * f.num_frames
  print(
    f'{lost} of {output_files.count_of(frames, "frame")} without the face; wrote '
    f'tracking.json to {workdir}.'
  )
  facts: dict[str, Any] = {'frames': frames, 'lost_frames': lost, **table}
  output_files.write_json(workdir / 'tracking.json', facts)
  run.note(**facts)
  return cli.EXIT_OK


_KINDS = ('raw', 'smoothed')


@dataclasses.dataclass(frozen=True)
class FirstBox:
  """In place of a detector: the box of the first frame, always.

  So that what is measured is the tracker's alone.

  Attributes:
    box: (4,) about the landmarks.
  """

  box: np.ndarray

  def detect(self, image: np.ndarray) -> Detections:
    """As `detection.Detector.detect`.

    Args:
      image: not looked at.

    Returns:
      The box.
    """
    del image
    return Detections(self.box[None], np.ones(1))


def follow(
  trained: trained_aligner.TrainedAligner, clip: HeadClip, rate: float
) -> dict[str, np.ndarray]:
  """Follows the head of a clip.

  Args:
    trained: the aligner.
    clip: of one head.
    rate: frames a second.

  Returns:
    'raw' and 'smoothed': (T, 68, 2) landmarks, NaN where the face was lost.
  """
  f = flags.FLAGS
  low, high = clip.landmarks[0].min(axis=0), clip.landmarks[0].max(axis=0)
  tracker = Tracker(
    trained.aligner,
    trained.variables,
    FirstBox(np.concatenate([low, high - low])),
    derived_flags.read(TrackingSettings, f),
  )
  smoother = TrackSmoother(trained.model, derived_flags.read(SmoothingSettings, f))
  tracks = {kind: np.full(clip.landmarks.shape, np.nan) for kind in _KINDS}
  for index, image in enumerate(clip.images):
    frame = tracker.next(image, index / rate)
    smooth = smoother(frame, index / rate)
    if len(frame):
      tracks['raw'][index] = frame.faces.landmarks['ibug68'][0]
      tracks['smoothed'][index] = smooth.landmarks['ibug68'][0]
  return tracks


def _measures(points, clip, moves):
  """What one clip tells; nothing where the face was lost."""
  seen = np.isfinite(points[:, 0, 0])
  if not seen.all():
    _log(f'  lost in {(~seen).sum()} of {len(seen)} frames: left out of the table.')
    return {}
  true = clip.landmarks
  size = np.sqrt(np.prod(np.ptp(true, axis=1), axis=-1))
  if moves:
    distance = np.linalg.norm(points - true, axis=-1).mean(axis=1)
    lag = lag_in_frames(true, points)
    return {'nme': 100 * float(np.mean(distance / size)), 'lag': lag}
  # The filter begins with the first frame as it is.
  settled = points[len(points) // 5 :]
  shake = jitter(settled)
  return {'jitter': shake, 'jitter_percent': 100 * shake / float(size.mean())}


def _print(table):
  def line(kind, cells):
    print(kind.ljust(10), *(cell.rjust(12) for cell in cells))

  line('', ('NME, %', 'jitter, px', 'jitter, %', 'lag, frames'))
  columns = (('nme', 2), ('jitter', 3), ('jitter_percent', 3), ('lag', 2))
  for kind, row in table.items():
    line(
      kind, ['-' if row[name] is None else f'{row[name]:.{n}f}' for name, n in columns]
    )


def _write_clip(path, clip, tracks, rate):
  writer = video_files.VideoWriter(path, rate)
  for index, image in enumerate(clip.images):
    points = tracks['smoothed'][index]
    seen = [] if np.isnan(points[0, 0]) else [points]
    writer.write(
      video_overlay.draw_points(image, seen, [clip.visible[index]] * len(seen)),
      index / rate,
    )
  writer.close()


def _log(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
