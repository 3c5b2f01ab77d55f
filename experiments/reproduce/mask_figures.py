"""Figs. 4 and 8: the masks of Eq. (11) on the mean face, from front and side."""

import numpy as np
from PIL import Image, ImageDraw

from experiments.reproduce import pages
from pifa_jax.geometry import host_rasterizer, masks, projection
from pifa_jax.types import Array, MorphableModel

VIEWS = (('frontal view', 0.0), ('side view', 90.0))  # yaw, degrees
_SIZE, _SUPERSAMPLE = 420, 2
_FRAME = 1.12  # side of a picture over that of the rendered vertices
_NEGATIVE, _ZERO, _POSITIVE = (
  np.array(c) for c in ((33, 84, 172), (247,) * 3, (178, 24, 43))
)
_BARE = np.array((190, 190, 190))  # of what the layer does not render
_BAR_WIDTH, _BAR_ROOM = 18, 56


def draw_mask(model: MorphableModel, kind: str) -> Image.Image:
  """A mask from the front and from the side, beside the scale of its colours.

  Red is positive, blue negative, and a black line is where the mask is zero; grey parts
  of the head are not rendered by the visualization layer.

  Args:
    model: the 3DMM, with triangles.
    kind: 'nose', mask 1 of Fig. 4, or 'five', mask 2 of Fig. 8.

  Returns:
    The picture, RGB.

  Raises:
    ValueError: for a mask that the model does not have.
  """
  mask = np.asarray(masks.vertex_mask(model, kind))
  rendered = np.asarray(masks.rendered_vertices(model))
  low, high = mask[rendered].min(), mask[rendered].max()
  panels = [view(model, mask, yaw, limit=high) for _, yaw in VIEWS]
  return pages.page(
    [[*panels, color_bar(low, high, limit=high)]],
    [[*(caption for caption, _ in VIEWS), 'a']],
  )


def view(
  model: MorphableModel, values: Array, yaw: float, *, limit: float
) -> Image.Image:
  """The mean face with a value a vertex in colours, at some yaw.

  Args:
    model: the 3DMM, with triangles.
    values: (Q,).
    yaw: degrees; positive turns the nose to the image's left.
    limit: value of full colour, as in `colors`.

  Returns:
    The picture, RGB.
  """
  numbers, shade, drawn = value_image(model, values, yaw, _SIZE * _SUPERSAMPLE)
  known = np.isfinite(numbers)
  pixels = np.full((*numbers.shape, 3), 255.0)
  pixels[drawn] = _BARE
  pixels[known] = colors(numbers[known], limit)
  pixels[drawn] *= shade[drawn, None]
  pixels[_zero_line(numbers)] = pages.INK
  image = Image.fromarray(np.uint8(np.clip(np.round(pixels), 0, 255)))
  return image.resize((_SIZE, _SIZE), Image.Resampling.BOX)


def value_image(
  model: MorphableModel, values: Array, yaw: float, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """A value a vertex, interpolated over the mean face at some yaw.

  Args:
    model: the 3DMM, with triangles.
    values: (Q,).
    yaw: degrees; positive turns the nose to the image's left.
    size: side of the image, pixels.

  Returns:
    (size, size) each: the value, NaN where nothing is seen that the visualization layer
    renders; how bright the surface is, in [0, 1]; and whether there is any surface.
  """
  rotation = projection.rotation_from_euler(*np.deg2rad((yaw, 0.0, 0.0)), xp=np)
  vertices = np.asarray(model.mean_shape, np.float64) @ rotation.T
  ids = np.asarray(masks.rendered_vertices(model))
  low, high = vertices[ids].min(axis=0), vertices[ids].max(axis=0)
  scale = size / (_FRAME * (high - low)[:2].max())
  middle = (low + high)[:2] / 2
  places = (vertices[:, :2] - middle) * scale * [1, -1] + (size - 1) / 2
  triangles = np.asarray(model.triangles)
  seen, weights, _ = host_rasterizer.rasterize(
    places, -vertices[:, 2], triangles, height=size, width=size
  )
  is_rendered = np.zeros(model.num_vertices)
  is_rendered[ids] = 1
  facing = np.asarray(model.mean_normals, np.float64) @ rotation.T
  found = host_rasterizer.interpolate(
    seen,
    weights,
    triangles,
    np.stack([np.asarray(values, np.float64), is_rendered, facing[:, 2]], axis=1),
  )
  number = np.where((seen >= 0) & (found[..., 1] > 0.5), found[..., 0], np.nan)
  return number, 0.7 + 0.3 * np.clip(found[..., 2], 0, 1), seen >= 0


def colors(values: np.ndarray, limit: float) -> np.ndarray:
  """Blue for negative values, white for zero, red for positive ones.

  Args:
    values: (...).
    limit: the value, and its negative, of full colour.

  Returns:
    (..., 3) in [0, 255].
  """
  share = np.clip(np.asarray(values, np.float64) / limit, -1, 1)[..., None]
  return _ZERO + np.where(
    share > 0, share * (_POSITIVE - _ZERO), -share * (_NEGATIVE - _ZERO)
  )


def color_bar(low: float, high: float, *, limit: float) -> Image.Image:
  """The scale of `colors`.

  Args:
    low: value at the bottom.
    high: value at the top.
    limit: as in `colors`.

  Returns:
    The picture, RGB.
  """
  height = _SIZE * 3 // 4
  values = np.linspace(high, low, height)
  bar = np.tile(colors(values, limit)[:, None], (1, _BAR_WIDTH, 1))
  image = Image.new('RGB', (_BAR_WIDTH + _BAR_ROOM, height + 20), 'white')
  image.paste(Image.fromarray(np.uint8(np.round(bar))), (0, 10))
  pen = ImageDraw.Draw(image)
  for value in (high, 0.0, low):
    y = 10 + (high - value) / (high - low) * (height - 1)
    pen.line((_BAR_WIDTH, y, _BAR_WIDTH + 5, y), fill=pages.INK)
    pages.write(pen, (_BAR_WIDTH + 9, y), f'{value:.1f}', anchor='lm')
  return image


def _zero_line(values):
  """Pixels at which the sign changes, (H, W) bool; NaN has no sign."""
  line = np.zeros(values.shape, bool)
  for axis in (0, 1):
    ahead = np.roll(values, -1, axis=axis)
    line |= (values > 0) & (ahead < 0) | (values < 0) & (ahead > 0)
  return line
