"""Contact sheets of synthetic faces, to be looked at: what training sees.

  python -m experiments.synthetic_picture --workdir=FOLDER

writes faces.png (random training faces), yaw.png (16 steps of yaw with landmarks:
green visible, red hidden), labels.png (the parts of the same heads and their depth) and
says how many landmarks are hidden at which yaw.
"""

import os

from absl import flags
import numpy as np

from experiments.lib import cli, data_loading, figures
from pifa_jax.datasets import synthetic
from pifa_jax.face_models import load_expression_units, load_face_model

_NUM_FACES = flags.DEFINE_integer(
  'num_faces', 64, 'Faces on the first sheet.', lower_bound=1
)
_ZOOM = flags.DEFINE_integer(
  'box_scale',
  1,
  'Size of a face on the first sheet over its size in training.',
  lower_bound=1,
)
_STEPS = 16


def main(run: cli.Run) -> int:
  """Draws the sheets."""
  f = flags.FLAGS
  rendered = f.render_face_model or f.face_model
  model, units = load_face_model(rendered), load_expression_units(rendered)
  config = data_loading.synthetic_config(f)
  photos = data_loading.read_backgrounds(data_loading.background_files(f), print)
  faces = synthetic.generate(
    model,
    config,
    seed=2 * f.data_seed,
    start=0,
    count=_NUM_FACES.value,
    expression_units=units,
    photos=photos,
    labels=synthetic.MAPS,
  )
  side = config.image_size * _ZOOM.value
  tiles = [
    figures.Image.fromarray(image).resize((side, side), figures.Image.BICUBIC)
    for image in faces['images']
  ]
  run.open(run.make_folder(f.workdir), seed=f.data_seed)
  path = os.path.join(run.workdir, 'faces.png')
  figures.sheet(tiles, max(1, round(len(tiles) ** 0.5))).save(path)
  print(f'Wrote {path}.')
  print(hidden_by_yaw(faces))

  # One of many: the faces whose yaw is nearest to the steps'.
  many = (
    faces
    if len(faces['yaw']) >= 256
    else synthetic.generate(
      model,
      config,
      seed=2 * f.data_seed,
      start=0,
      count=256,
      expression_units=units,
      photos=photos,
      labels=synthetic.MAPS,
    )
  )
  steps = np.linspace(-0.97, 0.97, _STEPS) * config.face_distribution.yaw_max
  chosen = [int(np.argmin(np.abs(many['yaw'] - step))) for step in steps]
  tiles = [
    figures.face(
      many['images'][i],
      many['landmarks'][i],
      many['visible'][i],
      size=320,
      caption=f'{many["yaw"][i]:.0f}',
    )
    for i in chosen
  ]
  path = os.path.join(run.workdir, 'yaw.png')
  figures.sheet(tiles, 4).save(path)
  print(f'Wrote {path}.')
  path = os.path.join(run.workdir, 'labels.png')
  figures.sheet(
    [
      figures.Image.fromarray(image).resize((160, 160), figures.Image.NEAREST)
      for i in chosen
      for image in (
        many['images'][i],
        parts(many['regions'][i]),
        distance(many['depth'][i]),
      )
    ],
    6,
  ).save(path)
  print(f'Wrote {path}.')
  print(hidden_by_yaw(many))
  return cli.EXIT_OK


def parts(regions: np.ndarray) -> np.ndarray:
  """(S, S, 3) uint8: every part of a head in a colour of its own, black = none."""
  colors = np.random.default_rng(3).integers(60, 256, (256, 3), np.uint8)
  colors[0] = 0
  return colors[regions]


def distance(depth: np.ndarray) -> np.ndarray:
  """(S, S, 3) uint8: the nearest point white, the farthest grey, black = none."""
  head = np.isfinite(depth)
  if not head.any():
    return np.zeros(depth.shape + (3,), np.uint8)
  low, high = depth[head].min(), depth[head].max()
  grey = 255 - 200 * (depth - low) / max(high - low, 1e-6)
  return np.uint8(np.where(head, grey, 0))[..., None].repeat(3, axis=2)


def hidden_by_yaw(faces: dict[str, np.ndarray]) -> str:
  """A sentence: mean number of landmarks that the head itself hides, by yaw."""
  hidden = (~faces['visible']).sum(axis=1)
  yaw = np.abs(faces['yaw'])
  parts = [
    f'{low}-{high} degrees {hidden[inside].mean():.1f}'
    for low, high in ((0, 15), (15, 30), (30, 60), (60, 75), (75, 90))
    if (inside := (yaw >= low) & (yaw < high)).any()
  ]
  return 'Hidden landmarks of 68 by yaw: ' + ', '.join(parts) + '.'


if __name__ == '__main__':
  cli.start(main)
