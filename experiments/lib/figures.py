"""Images of results, with Pillow alone: faces, visualizations, contact sheets."""

import io
import os
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pifa_jax.files.formats import write_atomically
from pifa_jax.results import overlays

GREEN, RED, WHITE = (40, 220, 60), (235, 50, 45), (255, 255, 255)


def to_uint8(image: np.ndarray) -> np.ndarray:
  """An input of the network as pixels.

  Args:
    image: (H, W, 3) in [-1, 1]; values beyond are clipped.

  Returns:
    (H, W, 3) uint8.
  """
  return np.clip((np.asarray(image) + 1) * 127.5, 0, 255).astype(np.uint8)


def face(
  image: np.ndarray,
  points: np.ndarray,
  visible: np.ndarray,
  *,
  size: int = 224,
  target: np.ndarray | None = None,
  caption: str = '',
) -> Image.Image:
  """One crop with its landmarks: green visible, red hidden (Fig. 9).

  Args:
    image: (S, S, 3) uint8.
    points: (N, 2) pixels of the crop.
    visible: (N,) bool.
    size: side of the image.
    target: (N, 2) true landmarks, drawn as small white dots beneath.
    caption: written in a corner.

  Returns:
    The image.
  """
  figure = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
  pen = ImageDraw.Draw(figure)
  scale = size / image.shape[0]
  # An integer coordinate is a pixel centre, in both grids.
  place = lambda p: (np.asarray(p, float) + 0.5) * scale - 0.5
  radius = max(1.5, size / 110)
  dots = [] if target is None else [(p, WHITE, radius * 0.6) for p in place(target)]
  dots += [
    (p, GREEN if v else RED, radius)
    for p, v in zip(place(points), visible, strict=True)
  ]
  for place_of, color, r in dots:
    _dot(pen, place_of, r, color)
  if caption:
    pen.text((3, 2), caption, fill=WHITE, stroke_width=1, stroke_fill=(0, 0, 0))
  return figure


def _dot(pen, place, radius, color):
  x, y = place
  if np.isfinite(x) and np.isfinite(y):
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def photo(image: np.ndarray, points: np.ndarray, visible: np.ndarray) -> Image.Image:
  """A whole photo with the landmarks of all its faces (Fig. 9).

  Args:
    image: (H, W, 3) uint8.
    points: (n, N, 2) pixels.
    visible: (n, N) bool.

  Returns:
    The image, enlarged if it is small, so that landmarks do not cover the faces.
  """
  return overlays.draw_landmarks(image, list(points), list(visible))


def visualization(plane: np.ndarray, *, size: int = 224) -> Image.Image:
  """One visualization V as a grey image, zero in the middle (Fig. 10).

  Args:
    plane: (h, w) V; 2.55 above or below zero is white or black.
    size: side of the image, pixels.

  Returns:
    The image, (size, size) RGB.
  """
  plane = np.asarray(plane, np.float32)
  grey = np.uint8(np.clip(127.5 + 50.0 * plane, 0, 255))
  return (
    Image.fromarray(grey).resize((size, size), Image.Resampling.NEAREST).convert('RGB')
  )


def sheet(images: list[Image.Image], columns: int, *, gap: int = 2) -> Image.Image:
  """Puts images of one size in rows.

  Args:
    images: at least one.
    columns: images a row.
    gap: pixels between them.

  Returns:
    The sheet.
  """
  width, height = images[0].size
  rows = -(-len(images) // columns)
  page = Image.new(
    'RGB', (columns * (width + gap) - gap, rows * (height + gap) - gap), (24, 24, 24)
  )
  for number, image in enumerate(images):
    row, column = divmod(number, columns)
    page.paste(image, (column * (width + gap), row * (height + gap)))
  return page


def curves(metrics: list[dict], path: str) -> bool:
  """Loss and NME over the steps of a run, as a figure.

  Args:
    metrics: the lines of metrics.jsonl.
    path: where the PNG goes.

  Returns:
    False, with no figure made, if matplotlib is not installed.
  """
  canvas = figure(11, 4)
  if canvas is None:
    return False
  train = [line for line in metrics if 'loss' in line]
  held = [
    line for line in metrics if 'nme' in line and line.get('split') == 'validation'
  ]
  left, right = canvas.subplots(1, 2)
  # The loss of a skipped step is null in the file: a gap in the curve.
  left.semilogy(
    [m['step'] for m in train], np.array([m['loss'] for m in train], float), lw=0.8
  )
  left.set(xlabel='step', ylabel='training loss')
  for block in range(len(held[0]['nme']) if held else 0):
    right.plot(
      [m['step'] for m in held],
      [m['nme'][block] for m in held],
      label=f'block {block + 1}',
      lw=1,
    )
  right.set(xlabel='step', ylabel='validation NME, %', yscale='log')
  right.yaxis.set_major_formatter('{x:g}')  # not powers of ten: there is one of them
  right.yaxis.set_minor_formatter('{x:g}')
  if held:
    right.legend(fontsize=8)
  for axis in (left, right):
    axis.grid(alpha=0.3, which='both')
  save(canvas, path)
  return True


def cumulative(errors: np.ndarray, limit: float, unit: str, path: str) -> bool:
  """The cumulative error distribution of P^0 and of every block, as a figure.

  Args:
    errors: (1 + N_v, n), as they shall be shown.
    limit: right end of the axis.
    unit: of the errors.
    path: where the PNG goes.

  Returns:
    False, with no figure made, if matplotlib is not installed.
  """
  canvas = figure(7, 4.5)
  if canvas is None:
    return False
  axis = canvas.subplots()
  # From zero at the left edge to the last face or the right edge, so that a set
  # with few faces below the limit is seen too.
  share = np.arange(errors.shape[1] + 1) / errors.shape[1]
  for block, values in enumerate(errors):
    axis.step(
      np.append(0, np.sort(values)),
      share,
      where='post',
      lw=1.2,
      label=f'block {block}' if block else 'start',
    )
  axis.set(
    xlim=(0, limit), ylim=(0, 1), xlabel=f'error, {unit}', ylabel='share of faces'
  )
  axis.legend(fontsize=8)
  axis.grid(alpha=0.3)
  save(canvas, path)
  return True


def line(points: dict[str, float], xlabel: str, ylabel: str, path: str) -> bool:
  """One curve as a figure.

  Args:
    points: x (as text) -> y.
    xlabel: of the axis.
    ylabel: likewise.
    path: where the PNG goes.

  Returns:
    False, with no figure made, if matplotlib is not installed.
  """
  canvas = figure(7, 4)
  if canvas is None:
    return False
  axis = canvas.subplots()
  axis.plot([float(x) for x in points], list(points.values()), marker='o')
  axis.set(xlabel=xlabel, ylabel=ylabel)
  axis.set_ylim(bottom=0)
  axis.grid(alpha=0.3)
  save(canvas, path)
  return True


def save(
  canvas: Any, path: str | os.PathLike[str], *, dpi: int = 110, tight: bool = False
) -> None:
  """Writes a figure as a PNG whole or not at all.

  Args:
    canvas: of `figure`.
    path: the file.
    dpi: pixels an inch.
    tight: make the picture as large as what is drawn, also beside the figure.
  """
  stream = io.BytesIO()
  box = 'tight' if tight else None
  canvas.savefig(stream, format='png', dpi=dpi, bbox_inches=box)
  write_atomically(path, stream.getvalue())


def figure(width: float, height: float) -> Any:
  """An empty figure of matplotlib's.

  Args:
    width: inches.
    height: inches.

  Returns:
    A matplotlib.figure.Figure; None if matplotlib is not installed.
  """
  try:
    # Not pyplot: no windows are wanted, and it takes as long again to import.
    from matplotlib.figure import Figure
  except ImportError:
    return None
  return Figure(figsize=(width, height), layout='tight')
