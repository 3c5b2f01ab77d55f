"""Fits the confidence of trained weights to synthetic faces.

  python -m experiments.calibrate --checkpoint=runs/synthetic --output=confidence.json

Faces are looked for in boxes that fit, in boxes that are off, and where there is no
face; a confidence is the probability that the landmarks are within 10 % of their box.
It tells experiments.align where to try other boxes. experiments.export_weights
--confidence=FILE puts it into the card of the weights; before that,
experiments.align --confidence=FILE uses it, too.
"""

import dataclasses
import sys
from typing import Any

from absl import flags
import numpy as np

from experiments.lib import (
  cli,
  confidence_file,
  data_loading,
  derived_flags,
  path_flags,
  restore,
  synthetic_data,
)
from pifa_jax.datasets import crop_cache
from pifa_jax.geometry.mirror import coefficient_signs
from pifa_jax.inference import Aligner
from pifa_jax.inference import confidence as confidence_lib
from pifa_jax.settings import setting

# Side of the images over that of the face boxes: room for boxes without a face.
_MARGIN = 2.4
_IMAGE_SIZE = 274  # faces have as many pixels as in usual cached crops
# Of the seed of the faces: those of training and testing have smaller ones.
_SEEDS = 10_000
_FITS, _OFF, _NO_FACE = range(3)
_SHARES = (0.4, 0.4, 0.2)
# Of the faces, for the figures that are printed.
_HELD_OUT = 0.25
# This share of the found faces in boxes that fit is searched again in vain.
_RETRIED = 0.05
_BOUNDS = (0.3, 0.9)  # of the confidence below which faces are searched again


@dataclasses.dataclass(frozen=True)
class CalibrateSettings:
  """How much is tried; each field has its own help."""

  num_faces: int = setting(300, 'Synthetic faces.', low=8)
  boxes_per_face: int = setting(4, 'Boxes tried for each of them.', low=1)


restore.define_flags()
derived_flags.define(CalibrateSettings)
path_flags.define_path('output', None, 'The .json to write.')


@dataclasses.dataclass(frozen=True)
class Tries:
  """Boxes in synthetic images.

  Attributes:
    face: (n,) index of the image.
    kind: (n,) 0 = it fits, 1 = it is off, 2 = there is no face.
    boxes: (n, 4) outer edges.
  """

  face: np.ndarray
  kind: np.ndarray
  boxes: np.ndarray


def draw_boxes(landmarks: np.ndarray, size: int, count: int, seed: int) -> Tries:
  """Draws boxes about faces and beside them.

  Args:
    landmarks: (n, N, 2) pixels of the images.
    size: side of the images.
    count: of boxes a face.
    seed: of the draws.

  Returns:
    The boxes, face after face. Those that fit are moved by up to 10 % and scaled by
    0.9 to 1.3; those that are off are moved by up to 35 % and scaled by 0.6 to 1.7;
    those without a face share less than a fifth of their area with its box.
  """
  rng = np.random.default_rng(seed)
  faces, kinds, boxes = [], [], []
  for face, points in enumerate(landmarks):
    low, high = points.min(axis=0), points.max(axis=0)
    for _ in range(count):
      kind = rng.choice(len(_SHARES), p=_SHARES)
      if kind == _NO_FACE:
        box = _beside(rng, low, high, size)
      else:
        reach, least, most = (0.1, 0.9, 1.3) if kind == _FITS else (0.35, 0.6, 1.7)
        sides = np.exp(rng.uniform(np.log(least), np.log(most))) * (high - low)
        centre = (low + high) / 2 + rng.uniform(-reach, reach, 2) * (high - low)
        box = np.concatenate([centre - sides / 2, sides])
      faces.append(face)
      kinds.append(kind)
      boxes.append(box)
  return Tries(np.array(faces), np.array(kinds), np.array(boxes))


def _beside(rng, low, high, size):
  """A square that hardly overlaps the face."""
  while True:
    side = rng.uniform(0.3, 0.9) * np.sqrt(np.prod(high - low))
    corner = rng.uniform(-0.5, size - 0.5 - side, 2)
    shared = np.minimum(corner + side, high) - np.maximum(corner, low)
    if np.prod(np.maximum(shared, 0)) < 0.2 * side**2:
      return np.array([*corner, side, side])


def main(run: cli.Run) -> int:
  """Writes the file of the confidence.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  del run  # its record is in the file
  f = flags.FLAGS
  cli.output_file(f.output)
  amount = derived_flags.read(CalibrateSettings, f)
  trained_run = restore.open_run(f.checkpoint)
  model = restore.face_model(trained_run, f, _log)
  _, variables, checkpoint = trained_run.load(model, f.weights)
  settings = synthetic_data.SyntheticSettings(
    faces=data_loading.from_flags().synthetic.faces,
    num_train=amount.num_faces,
    data_seed=_SEEDS + f.seed,
  )
  crops = synthetic_data.open_split(
    model,
    trained_run.config.face_model,
    settings,
    'train',
    f.cache_dir,
    _log,
    shape=crop_cache.CropShape(_IMAGE_SIZE, _MARGIN),
  )
  images, landmarks = np.asarray(crops.images), np.asarray(crops.landmarks)
  tries = draw_boxes(landmarks, images.shape[1], amount.boxes_per_face, f.seed)
  fitting = tries.face < (1 - _HELD_OUT) * len(images)
  functions, report, thresholds = {}, {}, {}
  for mirror in (True, False) if coefficient_signs(model) is not None else (False,):
    aligner = make_aligner(trained_run.config, model, mirror)
    for passes in (1, 2):
      signs, error = signs_and_errors(
        aligner, variables, images, landmarks, tries, passes
      )
      found = (error < confidence_lib.FOUND_BELOW) & (tries.kind != _NO_FACE)
      kind = confidence_lib.kind_of(signs)
      functions[kind] = confidence_lib.fit(_of(signs, fitting), found[fitting])
      sure = functions[kind](signs)
      report[kind] = _report(sure[~fitting], found[~fitting])
      print(f'{kind}: {report[kind]}', flush=True)
      in_good_boxes = sure[fitting & found & (tries.kind == _FITS)]
      thresholds[kind] = float(np.clip(np.quantile(in_good_boxes, _RETRIED), *_BOUNDS))
  confidence = confidence_lib.Confidence(functions, thresholds)
  confidence_file.write(f.output, confidence, checkpoint, report)
  print(f'{f.output}: searched again below {cli.json_value(thresholds)}.')
  return cli.EXIT_OK


def _of(signs, rows):
  return {name: value[rows] for name, value in signs.items()}


def signs_and_errors(
  aligner: Aligner,
  variables: dict[str, Any],
  images: np.ndarray,
  landmarks: np.ndarray,
  tries: Tries,
  passes: int,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """What the network says of its results, and how good they are.

  Args:
    aligner: of the network.
    variables: of the network.
    images: (n, S, S, 3) uint8.
    landmarks: (n, 68, 2) true ones.
    tries: the boxes.
    passes: of the aligner.

  Returns:
    The signs, name -> (m,), and (m,) the mean error over the landmarks' box.
  """
  photos = ((images[i], tries.boxes[tries.face == i]) for i in range(len(images)))
  results = list(aligner.align_many(variables, photos, passes=passes))
  points = np.concatenate([r.landmarks['ibug68'] for r in results])
  true = landmarks[tries.face]
  side = np.sqrt(np.prod(np.ptp(true, axis=1), axis=-1))
  error = np.linalg.norm(points - true, axis=-1).mean(axis=1) / side
  names = results[0].signs
  return {n: np.concatenate([r.signs[n] for r in results]) for n in names}, error


def _report(sure, found):
  """Figures of faces that nothing was fitted to."""
  lost = found[sure >= 0.5]
  return {
    'faces': len(found),
    'found': round(float(found.mean()), 3),
    'auc': round(confidence_lib.area_under_curve(sure, found), 4),
    'mean_confidence': round(float(sure.mean()), 3),
    'wrong_above_half': round(float((~lost).mean()), 4) if len(lost) else None,
  }


def make_aligner(config, model, mirror: bool) -> Aligner:
  """The aligner of a training run, as experiments.align makes it by default."""
  return Aligner(
    model,
    config.network,
    mirror=mirror,
    box_scale=config.augment.box_scale,
    upright=True,
  )


def _log(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
