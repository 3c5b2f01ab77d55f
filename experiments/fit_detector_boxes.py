"""Measures a face detector on synthetic faces, and fits the map of its boxes.

  python -m experiments.fit_detector_boxes --face_model=builtin --num_test=64

Faces with known landmarks are put into larger images at many sizes. It prints what the
detector finds by yaw, by size and by threshold, and the map from its boxes to those of
the 68 landmarks (BOX_MAP in pifa_jax/detection/). The same faces come from the same
--data_seed.
"""

from collections.abc import Iterator
import dataclasses

from absl import flags
import numpy as np
from PIL import Image

from experiments.lib import cli, data_loading, derived_flags, synthetic_data
from pifa_jax.datasets import synthetic
from pifa_jax.detection import (
  Detections,
  DetectionSettings,
  Detector,
  DetectorMissing,
  make_detector,
)
from pifa_jax.detection.detections import BoxMap
from pifa_jax.face_models import load_expression_units, load_face_model
from pifa_jax.settings import same_setting


@dataclasses.dataclass(frozen=True)
class MeasuredSettings:
  """Which detector is measured; each field has its own help."""

  detector: str = same_setting(DetectionSettings, 'detector')
  min_score: float | None = same_setting(DetectionSettings, 'min_score')


derived_flags.define(MeasuredSettings)

_CANVAS = 480  # pixels; a photo that is looked at in one size
_MARGIN = 2.4  # side of a rendered image over that of the face box
_RENDERED = 128  # pixels
# Sides of the face boxes in the canvas, pixels, even in their logarithm.
_SIDES = (20.0, 190.0)
_YAW_BINS = ((0, 15), (15, 30), (30, 45), (45, 60), (60, 75), (75, 90))
_SIZE_BINS = ((20, 28), (28, 40), (40, 80), (80, 190))
_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
# Every box above this is looked at; the table says what a threshold leaves.
_LOWEST = 0.2


@dataclasses.dataclass(frozen=True)
class Measured:
  """What a detector makes of faces, one row a face; NaN where it was not found.

  Attributes:
    yaw: (n,) degrees.
    side: (n,) of the landmarks' square box, pixels.
    score: (n,) of the detection.
    size: (n,) side of the landmarks' box over sqrt(w h) of the detector's.
    shift: (n, 2) from the detector's centre to the landmarks', over that sqrt(w h);
      x is positive to where the face looks.
    false_scores: (m,) of all detections that are no face.
  """

  yaw: np.ndarray
  side: np.ndarray
  score: np.ndarray
  size: np.ndarray
  shift: np.ndarray
  false_scores: np.ndarray


def main(run: cli.Run) -> int:
  """Prints the tables and the map.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  config = derived_flags.read(MeasuredSettings, flags.FLAGS)
  if config.detector == 'none':
    raise cli.UserError('--detector=none finds nothing; name one to measure.')
  try:
    threshold = make_detector(config.detector, min_score=config.min_score).min_score
    detector = make_detector(config.detector, min_score=_LOWEST, min_size=2.0)
  except DetectorMissing as error:
    raise cli.UserError(str(error)) from error
  settings = data_loading.from_flags()
  faces = _faces(settings)
  run.open(run.make_folder(flags.FLAGS.workdir), seed=settings.synthetic.data_seed)
  measured = measure(detector, faces, settings.synthetic.data_seed)
  for line in report(measured, threshold):
    print(line)
  return cli.EXIT_OK


def _faces(settings) -> dict[str, np.ndarray]:
  """Synthetic test faces with much around them."""
  rendered = settings.synthetic.faces.render_face_model or settings.face_model
  return synthetic.generate(
    load_face_model(rendered),
    synthetic_data.generator_config(
      settings.synthetic.faces, 'test', image_size=_RENDERED, margin=_MARGIN
    ),
    seed=settings.synthetic.seed('test'),
    start=0,
    count=settings.synthetic.num_test,
    expression_units=load_expression_units(rendered),
  )


def canvases(
  faces: dict[str, np.ndarray], seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Puts each face into a larger image, at a random place and size.

  Args:
    faces: of `synthetic.generate`.
    seed: of places and sizes.

  Yields:
    (C, C, 3) uint8 image, and (4,) square box about the landmarks in it.
  """
  rng = np.random.default_rng(seed)
  for image, landmarks in zip(faces['images'], faces['landmarks'], strict=True):
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    side = np.sqrt(np.prod(high - low))
    factor = np.exp(rng.uniform(*np.log(_SIDES))) / side
    width = min(round(len(image) * factor), _CANVAS)
    factor = width / len(image)
    place = rng.integers(0, _CANVAS - width + 1, 2)
    source = Image.fromarray(image)
    # Its own colours, without detail.
    canvas = source.resize((4, 4), Image.Resampling.BOX).resize((_CANVAS, _CANVAS))
    canvas.paste(source.resize((width, width)), tuple(place.tolist()))
    centre = ((low + high) / 2 + 0.5) * factor - 0.5 + place
    square = np.concatenate([centre - side * factor / 2, [side * factor] * 2])
    yield np.asarray(canvas), square


def measure(detector: Detector, faces: dict[str, np.ndarray], seed: int) -> Measured:
  """Compares what a detector finds with the landmarks.

  Args:
    detector: whose own boxes are measured, before its map.
    faces: of `synthetic.generate`.
    seed: of places and sizes.

  Returns:
    A row per face.
  """
  rows: list[list[float]] = []
  false_scores: list[float] = []
  for (image, square), yaw in zip(canvases(faces, seed), faces['yaw'], strict=True):
    found = detector.find(image)
    size, shift = _differences(found, square)
    same = (np.abs(np.log(size)) < np.log(2)) & (np.abs(shift) < 0.5).all(axis=1)
    false_scores.extend(found.scores[~same])
    row = [np.nan] * 4
    if same.any():
      best = int(np.argmax(np.where(same, found.scores, -1)))
      toward = shift[best] * [-np.sign(yaw), 1.0]
      row = [found.scores[best], size[best], *toward]
    rows.append([yaw, square[2], *row])
  table = np.array(rows)
  return Measured(
    yaw=table[:, 0],
    side=table[:, 1],
    score=table[:, 2],
    size=table[:, 3],
    shift=table[:, 4:],
    false_scores=np.array(false_scores),
  )


def _differences(found: Detections, square: np.ndarray):
  """Size ratio (n,) and shift (n, 2) from detected boxes to the square."""
  scale = np.sqrt(np.prod(found.boxes[:, 2:], axis=1))
  centre = found.boxes[:, :2] + found.boxes[:, 2:] / 2
  shift = (square[:2] + square[2:] / 2 - centre) / scale[:, None]
  return square[2] / scale, shift


def fit(measured: Measured, threshold: float) -> BoxMap:
  """The map of boxes: medians over all poses.

  Args:
    measured: by `measure`.
    threshold: least score of the faces that count.

  Returns:
    The map.
  """
  good = measured.score >= threshold
  return BoxMap(
    size=round(float(np.median(measured.size[good])), 3),
    down=round(float(np.median(measured.shift[good, 1])), 3),
  )


def report(measured: Measured, threshold: float) -> Iterator[str]:
  """The tables as lines of text.

  Args:
    measured: by `measure`.
    threshold: least score of the faces that count.

  Yields:
    Lines.
  """
  good = measured.score >= threshold
  false = int((measured.false_scores >= threshold).sum())
  yield (
    f'found {good.sum()} of {len(good)}, {false} false, at a score of {threshold:g}'
  )
  for at in _THRESHOLDS:
    yield (
      f'score >= {at}: found {(measured.score >= at).sum()}, '
      f'false {(measured.false_scores >= at).sum()}'
    )
  for low, high in _SIZE_BINS:
    here = (measured.side >= low) & (measured.side < high)
    yield f'side {low}-{high} px: found {good[here].sum()} of {here.sum()}'
  found = fit(measured, threshold)
  yield f'BOX_MAP = {found}'
  yield 'after the map, by yaw: size ratio (10, 50, 90 %), shift towards the look, down'
  size = measured.size / found.size
  shift = (measured.shift - [0.0, found.down]) / found.size
  for low, high in (*_YAW_BINS, (0, 91)):
    here = (np.abs(measured.yaw) >= low) & (np.abs(measured.yaw) < high)
    both = here & good
    if both.any():
      sizes = ' '.join(f'{v:.2f}' for v in np.percentile(size[both], (10, 50, 90)))
      across, down = np.median(shift[both], axis=0)
      yield (
        f'{low}-{high}: found {both.sum()} of {here.sum()}; {sizes}; '
        f'{across:+.3f} {down:+.3f}'
      )


if __name__ == '__main__':
  cli.start(main)
