"""Writes full_faces.png: eight faces of the full renderer, side by side.

  python -m tests.golden.make_full_faces

The faces are those of `synthetic.generate` with the default ingredients, but without
photos behind them. Run it after a change that is meant to change the images, and look
at the result.
"""

import pathlib

from absl import app
import numpy as np
from PIL import Image

from pifa_jax.datasets import synthetic
from pifa_jax.face_models import load_face_model
from tests.synthesis import faces

PATH = pathlib.Path(__file__).with_name('full_faces.png')
COUNT = 8


def main(argv):
  del argv
  images = synthetic.generate(
    load_face_model('builtin'),
    synthetic.SyntheticConfig(image_size=faces.SIZE),
    seed=faces.SEED,
    start=0,
    count=COUNT,
  )['images']
  Image.fromarray(np.concatenate(list(images), axis=1)).save(PATH, optimize=True)


def read() -> np.ndarray:
  """(8, S, S, 3) uint8."""
  sheet = np.asarray(Image.open(PATH))
  return np.stack(np.split(sheet, COUNT, axis=1))


if __name__ == '__main__':
  app.run(main)
