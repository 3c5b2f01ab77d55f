"""Contact sheets of synthetic faces, to see what training sees.

  python -m experiments.synthetic_picture --workdir=FOLDER

It writes faces.png (random training faces), yaw.png (16 steps of yaw with landmarks:
green visible, red hidden) and labels.png (the parts of the same heads and their depth),
and prints how many landmarks are hidden at which yaw.
"""

import os

from absl import flags
import numpy as np

from experiments.lib import cli, data_loading, figures, synthetic_data
from pifa_jax.datasets import synthetic
from pifa_jax.face_models import load_expression_units, load_face_model

_NUM_FACES = flags.DEFINE_integer(
  'num_faces', 64, 'Faces on the first sheet.', lower_bound=1
)
_ENLARGED = flags.DEFINE_integer(
  'box_scale',
  1,
  'Size of a face on the first sheet over its size in training.',
  lower_bound=1,
)
_STEPS = 16
# Enough faces for one near every step of yaw.
_MANY = 256


def main(run: cli.Run) -> int:
  """Writes the sheets of synthetic faces.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  render, config = _generator(data_loading.from_flags())
  faces = render(_NUM_FACES.value)
  run.open(run.make_folder(f.workdir), seed=f.data_seed)
  _write(run, 'faces.png', *_faces_sheet(faces, config.image_size * _ENLARGED.value))
  print(hidden_by_yaw(faces))
  many = faces if len(faces['yaw']) >= _MANY else render(_MANY)
  steps = np.linspace(-0.97, 0.97, _STEPS) * config.face_distribution.yaw_max
  chosen = [int(np.argmin(np.abs(many['yaw'] - step))) for step in steps]
  _write(run, 'yaw.png', _yaw_tiles(many, chosen), 4)
  _write(run, 'labels.png', _label_tiles(many, chosen), 6)
  print(hidden_by_yaw(many))
  return cli.EXIT_OK


def _generator(settings):
  """The first n training faces as a function of n, and their configuration."""
  faces = settings.synthetic.faces
  rendered = faces.render_face_model or settings.face_model
  model, units = load_face_model(rendered), load_expression_units(rendered)
  config = synthetic_data.generator_config(faces)
  files = synthetic_data.background_files(faces)
  photos = synthetic_data.read_backgrounds(files, print)
  hair, _ = synthetic_data.read_hair(faces, model, rendered, print)
  return lambda count: synthetic.generate(
    model,
    config,
    seed=settings.synthetic.seed('train'),
    start=0,
    count=count,
    expression_units=units,
    photos=photos,
    hair=hair,
    labels=synthetic.MAPS,
  ), config


def _write(run, name, tiles, columns):
  path = os.path.join(run.workdir, name)
  figures.sheet(tiles, columns).save(path)
  print(f'Wrote {path}.')


def _faces_sheet(faces, side):
  tiles = [
    figures.Image.fromarray(image).resize(
      (side, side), figures.Image.Resampling.BICUBIC
    )
    for image in faces['images']
  ]
  return tiles, max(1, round(len(tiles) ** 0.5))


def _yaw_tiles(many, chosen):
  return [
    figures.face(
      many['images'][i],
      many['landmarks'][i],
      many['visible'][i],
      size=320,
      caption=f'{many["yaw"][i]:.0f}',
    )
    for i in chosen
  ]


def _label_tiles(many, chosen):
  return [
    figures.Image.fromarray(image).resize((160, 160), figures.Image.Resampling.NEAREST)
    for i in chosen
    for image in (
      many['images'][i],
      parts(many['regions'][i]),
      distance(many['depth'][i]),
    )
  ]


def parts(regions: np.ndarray) -> np.ndarray:
  """Every part of a head in a colour of its own.

  Args:
    regions: (S, S) uint8 of `synthetic.generate`; 0 = no head.

  Returns:
    (S, S, 3) uint8; black = no head.
  """
  colors = np.random.default_rng(3).integers(60, 256, (256, 3), np.uint8)
  colors[0] = 0
  return colors[regions]


def distance(depth: np.ndarray) -> np.ndarray:
  """The depth of a head as grey levels: the nearest point is white.

  Args:
    depth: (S, S) of `synthetic.generate`; infinite = no head.

  Returns:
    (S, S, 3) uint8; black = no head.
  """
  head = np.isfinite(depth)
  if not head.any():
    return np.zeros(depth.shape + (3,), np.uint8)
  low, high = depth[head].min(), depth[head].max()
  grey = 255 - 200 * (depth - low) / max(high - low, 1e-6)
  return np.where(head, grey, 0).astype(np.uint8)[..., None].repeat(3, axis=2)


def hidden_by_yaw(faces: dict[str, np.ndarray]) -> str:
  """States how many landmarks the head itself hides, by yaw.

  Args:
    faces: of `synthetic.generate`.

  Returns:
    A sentence.
  """
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
