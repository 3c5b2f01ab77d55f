"""Draws the landmark schemes of the built-in face, numbered, on its mean shape.

  python -m experiments.landmark_images --image_folder=docs

Writes landmarks_<scheme>.png for every scheme that does not come with the face's file
(`pifa_jax.face_models.landmark_tables`): yaw 0, 45 and 90 degrees, then brows and eyes,
and nose and mouth enlarged. Prints how far the landmarks of the finer levels of the
face lie from those of the coarse one.
"""

from collections.abc import Sequence
import os

from absl import app
import numpy as np
from PIL import Image

from experiments.lib import mesh_images, path_flags
from pifa_jax import face_models
from pifa_jax.face_models import landmark_tables
from pifa_jax.types import MorphableModel

# A grey image, and positions of the vertices in it and which are hidden.
View = tuple[np.ndarray, np.ndarray, np.ndarray]

_FOLDER = path_flags.define_path('image_folder', 'docs', 'The folder for the images.')
# Pixels: side of the three views, height of the two enlarged ones.
_SIDE, _ZOOM_HEIGHT = 400, 380
# What the enlarged ones show: height of the middle, half of the width; millimetres.
_ZOOMS = ((33.0, 62.0), (-24.0, 36.0))


def render_views(model: MorphableModel) -> list[View]:
  """Images of the mean shape without landmarks, for `numbered_page`.

  Args:
    model: the 3DMM.

  Returns:
    The results of `mesh_images.render`: yaw 0, 45 and 90 degrees, then brows and
    eyes, and nose and mouth.
  """
  turned = [
    mesh_images.render(
      model,
      np.asarray(model.mean_shape),
      yaw,
      size=_SIDE,
      half_width=100.0,
      centre=(30 * np.sin(np.radians(yaw)), -8),
    )
    for yaw in (0, 45, 90)
  ]
  enlarged = [
    mesh_images.render(
      model,
      np.asarray(model.mean_shape),
      0,
      size=3 * _SIDE // 2,
      half_width=half_width,
      centre=(0, height),
    )
    for height, half_width in _ZOOMS
  ]
  # Grey and paler, so that numbers can be read everywhere; few tones, so that files are
  # small.
  grey = lambda image: 255 - (255 - image.mean(axis=2).astype(np.uint8)) // 2
  return [
    (grey(image) // 6 * 6, positions, hidden)
    for image, positions, hidden in turned + enlarged
  ]


def numbered_page(views: Sequence[View], ids: np.ndarray) -> Image.Image:
  """Draws a landmark scheme, numbered from 0.

  Args:
    views: of `render_views`.
    ids: (N,) vertices.

  Returns:
    The page, grey.
  """
  panels = [
    mesh_images.with_numbers(image, positions, hidden, ids, first=0)
    for image, positions, hidden in views
  ]
  page = Image.new('L', (3 * _SIDE, _SIDE + _ZOOM_HEIGHT))
  for column, panel in enumerate(panels[:3]):
    page.paste(panel, (column * _SIDE, 0))
  for column, panel in enumerate(panels[3:]):
    top = (panel.height - _ZOOM_HEIGHT) // 2
    part = panel.crop((0, top, panel.width, top + _ZOOM_HEIGHT))
    page.paste(part, (column * panel.width, _SIDE))
  return page


def main(argv: list[str]) -> None:
  """Writes one image for every landmark scheme of the tables.

  Args:
    argv: the command line; all that is no flag is refused.
  """
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments {argv[1:]}; flags start with --.')
  levels = [face_models.load_face_model(subdivision=level) for level in range(3)]
  os.makedirs(_FOLDER.value, exist_ok=True)
  views = render_views(levels[1])
  for name, ids in landmark_tables.TABLES.items():
    path = os.path.join(_FOLDER.value, f'landmarks_{name}.png')
    numbered_page(views, np.array(ids)).save(path, optimize=True)
    moved = [
      np.linalg.norm(
        finer.mean_shape[list(ids)] - levels[0].mean_shape[list(ids)], axis=1
      )
      for finer in levels[1:]
    ]
    print(
      f'{path}: {os.path.getsize(path) / 1000:.0f} kB; builtin-1, builtin-2 off by '
      + ', '.join(
        f'{np.median(away):.2f} mm (median), {away.max():.2f} mm (point '
        f'{away.argmax()})'
        for away in moved
      )
    )


if __name__ == '__main__':
  app.run(main)
