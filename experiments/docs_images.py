"""The images of docs/: the conventions, and the example that README aligns.

  python -m experiments.docs_images --workdir=docs

writes, with the built-in face:
  angles.png       the head at positive and negative yaw, pitch and roll
  landmarks68.jpg  the 68 landmarks by number, eyes and mouth enlarged
  landmarks34.jpg  the two schemes of 34 landmarks by number
  visibility.jpg   visible and hidden landmarks by angle, and the visualization V
  masks.jpg        V with mask 1, mask 2 and without a mask (Figs. 4 and 8)
  example.jpg, example_boxes.json  four synthetic faces of the full renderer
  example_aligned.jpg              what the built-in weights find in them
"""

import json
import os

from absl import flags
import numpy as np
from PIL import Image, ImageDraw

from experiments.lib import cli, figures, mesh_images
import pifa_jax
from pifa_jax.datasets import synthetic
from pifa_jax.face_models import load_expression_units
from pifa_jax.geometry import masks, projection
from pifa_jax.types import FaceParams, MorphableModel

ANGLES = (
  ('yaw +40', (40, 0, 0)),
  ('pitch +25', (0, 25, 0)),
  ('roll +25', (0, 0, 25)),
  ('yaw -40', (-40, 0, 0)),
  ('pitch -25', (0, -25, 0)),
  ('roll -25', (0, 0, -25)),
)
_YAWS = (0, 30, 60, 90)
_TILE = 224
# Faces of the example, chosen for their different angles.
_EXAMPLE_SEED = 2026
_EXAMPLE_FACES = (1, 13, 19, 39)
_EXAMPLE = synthetic.SyntheticConfig(image_size=288, margin=1.7)


def main(run: cli.Run) -> int:
  """Writes the images of the documents.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  folder = run.make_folder(flags.FLAGS.workdir)
  path = lambda name: os.path.join(folder, name)
  # No run.json: the folder is part of the repository.
  model = pifa_jax.load_face_model('builtin-1')
  angles_image(model).quantize(128).save(path('angles.png'), optimize=True)
  for name, image in (
    ('landmarks68.jpg', landmarks68_image(model)),
    ('landmarks34.jpg', landmarks34_image(model)),
    ('visibility.jpg', visibility_image(model)),
    ('masks.jpg', masks_image(model)),
  ):
    image.save(path(name), quality=85, optimize=True)
  example, boxes = example_photo(model)
  example.save(path('example.jpg'), quality=90, optimize=True)
  with open(path('example_boxes.json'), 'w', encoding='utf-8') as file:
    json.dump({'example.jpg': boxes}, file)
    file.write('\n')
  # What is aligned is the file, as README's command does.
  with Image.open(path('example.jpg')) as image:
    photo = np.asarray(image.convert('RGB'))
  aligned_image(photo, boxes).save(
    path('example_aligned.jpg'), quality=85, optimize=True
  )
  print(f'Wrote the images to {folder}.')
  return cli.EXIT_OK


def angles_image(model: MorphableModel) -> Image.Image:
  """The mean face at positive (above) and negative (below) angles.

  Args:
    model: the built-in face model.

  Returns:
    A sheet of six renderings with their angles.
  """
  tiles = []
  for caption, angles in ANGLES:
    rotation = projection.rotation_from_euler(*np.deg2rad(angles), xp=np)
    image, _, _ = mesh_images.render(
      model,
      np.asarray(model.mean_shape) @ rotation.T,
      0,
      size=200,
      half_width=135.0,
      centre=(0, -5),
    )
    tiles.append(_captioned(Image.fromarray(image), f'{caption} degrees'))
  return figures.sheet(tiles, 3)


def landmarks68_image(model: MorphableModel) -> Image.Image:
  """The 68 landmarks by number: front, half profile, eyes and mouth enlarged.

  Args:
    model: the built-in face model.

  Returns:
    The image, RGB.
  """
  view = lambda yaw, half_width, centre: mesh_images.numbered(
    model,
    np.asarray(model.landmark_schemes['ibug68']),
    yaw,
    size=520,
    half_width=half_width,
    centre=centre,
  )
  return figures.sheet(
    [
      _captioned(view(0, 90.0, (0, -8)), 'ibug68'),
      _captioned(view(45, 90.0, (-25, -8)), 'ibug68, yaw +45 degrees'),
      _captioned(view(0, 62.0, (0, 12)), 'ibug68, eyes and nose'),
      _captioned(view(0, 31.0, (0, -37)), 'ibug68, mouth'),
    ],
    2,
  )


def landmarks34_image(model: MorphableModel) -> Image.Image:
  """The two schemes of 34 landmarks by number.

  Args:
    model: the built-in face model.

  Returns:
    The image, RGB.
  """
  return figures.sheet(
    [
      _captioned(
        mesh_images.numbered(
          model,
          np.asarray(model.landmark_schemes[name]),
          0,
          size=520,
          half_width=90.0,
          centre=(0, -8),
        ),
        name,
      )
      for name in ('ibug34', 'aflw34')
    ],
    2,
  )


def visibility_image(model: MorphableModel) -> Image.Image:
  """Landmarks by g > 0 (Eq. 8, Sec. 3.3) above, V (Eq. 9, Fig. 1b) below.

  Args:
    model: the built-in face model.

  Returns:
    The image, RGB.
  """
  faces, planes = [], []
  for yaw in _YAWS:
    face, image = _turned(model, yaw)
    faces.append(
      figures.face(
        image,
        np.asarray(pifa_jax.landmarks(model, face, 'ibug68')),
        np.asarray(pifa_jax.landmark_visibility(model, face, 'ibug68')),
        size=_TILE,
        caption=f'yaw +{yaw}' if yaw else 'yaw 0',
      )
    )
    planes.append(figures.visualization(_visualization(model, face, 'nose')))
  return figures.sheet(faces + planes, len(_YAWS))


def masks_image(model: MorphableModel) -> Image.Image:
  """V with mask 1 (Fig. 4), mask 2 (Fig. 8) and without a mask, one row each.

  Args:
    model: the built-in face model.

  Returns:
    The image, RGB.
  """
  captions = {'nose': 'mask 1: nose', 'five': 'mask 2: five', 'none': 'no mask: none'}
  tiles = []
  for kind in masks.KINDS:
    for yaw in _YAWS:
      face, _ = _turned(model, yaw)
      tile = figures.visualization(_visualization(model, face, kind), size=_TILE)
      tiles.append(_captioned(tile, captions[kind] if not yaw else f'yaw +{yaw}'))
  return figures.sheet(tiles, len(_YAWS))


def example_photo(model: MorphableModel) -> tuple[Image.Image, list[list[float]]]:
  """Four synthetic faces of the full renderer side by side, and their boxes.

  Args:
    model: the built-in face model.

  Returns:
    The image, and (x, y, width, height) of every face, outer edges, pixels.
  """
  sampler = synthetic.make_generator(
    model, _EXAMPLE, _EXAMPLE_SEED, load_expression_units('builtin-1')
  )
  out = sampler(np.asarray(_EXAMPLE_FACES, np.int32))
  tiles = [Image.fromarray(np.asarray(image)) for image in out['images']]
  boxes = np.asarray(out['boxes'], np.float64)
  boxes[:, 0] += _EXAMPLE.image_size * np.arange(len(boxes))
  return figures.sheet(tiles, len(tiles), gap=0), np.round(boxes, 1).tolist()


def aligned_image(photo: np.ndarray, boxes: list[list[float]]) -> Image.Image:
  """What `experiments.align` draws upon a photo with the built-in weights.

  Args:
    photo: (H, W, 3) uint8.
    boxes: (x, y, width, height) of every face.

  Returns:
    The photo with 68 landmarks a face: green visible, red hidden (Fig. 9).
  """
  weights = pifa_jax.load_weights()
  aligner = pifa_jax.Aligner(
    pifa_jax.load_face_model(weights.card['config']['face_model']),
    weights.network,
    mirror=True,
    box_scale=weights.box_scale,
    upright=True,
  )
  faces = aligner.align(weights.variables, photo, np.asarray(boxes), passes=2)
  return figures.photo(photo, faces.landmarks['ibug68'], faces.visible['ibug68'])


def _turned(model, yaw) -> tuple[FaceParams, np.ndarray]:
  """The mean face at a yaw of some degrees: P in pixels of its image, the image."""
  half_width, centre = 120.0, (45 * np.sin(np.deg2rad(yaw)), 0.0)
  image, _, _ = mesh_images.render(
    model, model.mean_shape, yaw, size=_TILE, half_width=half_width, centre=centre
  )
  scale = _TILE / (2 * half_width)
  middle = (_TILE - 1) / 2
  camera = projection.camera_from_pose(
    projection.rotation_from_euler(*np.deg2rad((yaw, 0.0, 0.0))),
    np.asarray(scale),
    np.array([middle - scale * centre[0], middle + scale * centre[1]]),
  )
  return FaceParams(
    camera=camera,
    identity=np.zeros(model.num_identity, np.float32),
    expression=np.zeros(model.num_expression, np.float32),
  ), image


def _visualization(model, face, mask):
  """V at half the size, where the vertices of this model leave no holes."""
  half = pifa_jax.crop_params(
    face, np.array([-0.5, -0.5, _TILE, _TILE], np.float32), _TILE // 2
  )
  return np.asarray(pifa_jax.visualize(model, half, image_size=_TILE // 2, mask=mask))


def _captioned(image, caption):
  ImageDraw.Draw(image).text(
    (4, 3), caption, fill='white', stroke_width=2, stroke_fill='black', font_size=13
  )
  return image


if __name__ == '__main__':
  cli.start(main)
