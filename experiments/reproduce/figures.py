"""The figures of the paper that are drawn here, and what each of them needs."""

from collections.abc import Callable, Mapping
import dataclasses
import pathlib
import sys

from experiments.lib import cli
from experiments.reproduce import (
  gallery,
  gallery_faces,
  mask_figures,
  restored,
  visibility_figure,
  weight_figure,
)
from experiments.reproduce.restored import Restored
from pifa_jax.results import photo_maps
from pifa_jax.types import MorphableModel

Runs = Mapping[str, Restored]
Draw = Callable[[Runs, MorphableModel, pathlib.Path], list[pathlib.Path]]
# Variants of `experiments.reproduce.variants`.
BASE = 'base'
_ARCHITECTURES = {'IFV': BASE, 'FV': 'inputs_fv', 'IV': 'inputs_iv'}
# Rendered faces, by number, chosen for their different angles and expressions. Of Fig.
# 9 those with start and mesh come first; of Fig. 10 the first one has an expression and
# the last one the largest angle.
_OVERVIEW_FACE = 42
_ALIGNED_FACES = (
  *(14, 33, 31, 9, 46, 4, 27, 32),
  *(1, 2, 7, 12, 20, 24, 25, 26),
  *(34, 10, 8, 43, 19, 3, 37, 47),
)
_VISUALIZED_FACES = (9, 14, 32)


@dataclasses.dataclass(frozen=True)
class Figure:
  """One figure of the paper.

  Attributes:
    number: in the paper.
    title: what it shows.
    needs: names of the variants whose networks it shows; () = the face model alone.
    draw: writes the picture, figure_N.png, into a folder and returns its files. It
      takes the networks by variant, of which one may be missing, and the face model.
  """

  number: int
  title: str
  needs: tuple[str, ...]
  draw: Draw


def draw(
  number: int, runs: Runs, model: MorphableModel, folder: pathlib.Path
) -> list[pathlib.Path]:
  """Draws a figure.

  Args:
    number: in the paper.
    runs: variant -> its network.
    model: the face model, for figures that need no network.
    folder: exists; the files go there.

  Returns:
    The files.

  Raises:
    UserError: if there is no such figure here, or no network that it shows.
  """
  if number not in FIGURES:
    raise cli.UserError(
      f'--figure={number} is not drawn here; use one of '
      f'{", ".join(map(str, sorted(FIGURES)))}.'
    )
  figure = FIGURES[number]
  if figure.needs and not set(figure.needs) & set(runs):
    raise cli.UserError(
      f'Fig. {number} shows a trained network, and none of {", ".join(figure.needs)} '
      'is there; train one of them first.'
    )
  return figure.draw(runs, model, folder)


def draw_without_training(
  folder: pathlib.Path, checkpoint: str | None = None
) -> list[pathlib.Path]:
  """Draws all figures with one network that is there already.

  Fig. 7 then has one panel: that of the network's architecture.

  Args:
    folder: exists; the files go there.
    checkpoint: as `restored.open_restored` takes it; None = the built-in weights.

  Returns:
    The files.

  Raises:
    UserError: as `restored.open_restored`.
  """
  network = restored.open_restored(checkpoint)
  runs = {BASE: network}
  return [
    path for number in FIGURES for path in draw(number, runs, network.model, folder)
  ]


def _saved(image, folder, number) -> list[pathlib.Path]:
  path = folder / f'figure_{number}.png'
  photo_maps.write_image(path, image, optimize=True)
  return [path]


def _draw_overview(runs, model, folder):
  del runs
  face = gallery_faces.rendered_faces([_OVERVIEW_FACE], model)[0]
  return _saved(gallery.draw_overview(model, face), folder, 1)


def _draw_mask(runs, model, folder):
  del runs
  return _saved(mask_figures.draw_mask(model, 'nose'), folder, 4)


def _draw_visibility(runs, model, folder):
  del runs
  return _saved(visibility_figure.draw_visibility(model), folder, 5)


def _draw_weights(runs, model, folder):
  del model
  networks = {
    # By what the network is, not by the variant's name.
    runs[name].config.network.inputs: (
      runs[name].config.network,
      runs[name].variables['params'],
    )
    for name in _ARCHITECTURES.values()
    if name in runs
  }
  return weight_figure.draw_weights(networks, folder)


def _draw_second_mask(runs, model, folder):
  del runs
  return _saved(mask_figures.draw_mask(model, 'five'), folder, 8)


def _draw_alignment(runs, model, folder):
  del model
  faces = gallery_faces.flag_faces(_log)
  faces = faces or _faces_like(runs[BASE], _ALIGNED_FACES)
  return _saved(gallery.draw_alignment(gallery.fit(runs[BASE], faces)), folder, 9)


def _draw_visualizations(runs, model, folder):
  del model
  count = len(_VISUALIZED_FACES)
  faces = gallery_faces.flag_faces(_log)[:count]
  faces = faces or _faces_like(runs[BASE], _VISUALIZED_FACES)
  return _saved(gallery.draw_visualizations(gallery.fit(runs[BASE], faces)), folder, 10)


def _faces_like(network, numbers):
  """New faces that look like those that the network was trained on."""
  faces = network.config.synthetic
  plain = faces is not None and faces.renderer == 'plain'
  return gallery_faces.rendered_faces(numbers, plain=plain)


def _log(text):
  print(text, file=sys.stderr, flush=True)


FIGURES = {
  figure.number: figure
  for figure in (
    Figure(1, 'a face, its 3D shape and its visualization', (), _draw_overview),
    Figure(4, 'mask 1', (), _draw_mask),
    Figure(5, 'four vertices in one pixel', (), _draw_visibility),
    Figure(
      7,
      'mean first-layer weights by input, block and architecture',
      tuple(_ARCHITECTURES.values()),
      _draw_weights,
    ),
    Figure(8, 'mask 2', (), _draw_second_mask),
    Figure(9, 'faces with start, mesh and landmarks', (BASE,), _draw_alignment),
    Figure(10, 'V of every block', (BASE,), _draw_visualizations),
  )
}
