"""White pages of captioned pictures, as a paper prints them, with Pillow alone."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

INK = (25, 25, 25)
_GAP, _CAPTION, _FONT = 12, 26, 15


def page(
  rows: Sequence[Sequence[Image.Image]], captions: Sequence[Sequence[str]]
) -> Image.Image:
  """Puts pictures in rows, each with its caption beneath.

  Args:
    rows: at least one row of at least one picture, of any sizes.
    captions: one text a picture; a row without any text takes no room for it.

  Returns:
    The page, RGB.

  Raises:
    ValueError: if there is not one caption a picture.
  """
  if [len(row) for row in rows] != [len(row) for row in captions]:
    raise ValueError(
      f'page(): {[len(row) for row in rows]} pictures in the rows but '
      f'{[len(row) for row in captions]} captions; give one for each picture.'
    )
  heights = [
    max(image.height for image in row) + (_CAPTION if any(texts) else 0)
    for row, texts in zip(rows, captions, strict=True)
  ]
  widths = [sum(image.width + _GAP for image in row) for row in rows]
  sheet = Image.new(
    'RGB', (max(widths) + _GAP, sum(heights) + _GAP * (len(rows) + 1)), 'white'
  )
  pen = ImageDraw.Draw(sheet)
  top = _GAP
  for row, texts, height in zip(rows, captions, heights, strict=True):
    left = _GAP
    tallest = max(image.height for image in row)
    for image, text in zip(row, texts, strict=True):
      sheet.paste(image, (left, top + (tallest - image.height) // 2))
      write(pen, (left + image.width / 2, top + tallest + 5), text, anchor='ma')
      left += image.width + _GAP
    top += height + _GAP
  return sheet


def write(
  pen: ImageDraw.ImageDraw,
  place: tuple[float, float],
  text: str,
  *,
  anchor: str = 'la',
  fill: tuple[int, int, int] = INK,
  size: int = _FONT,
) -> None:
  """Writes a line of text.

  Args:
    pen: of the picture.
    place: (x, y) pixels.
    text: the line.
    anchor: what of the text lies there, as Pillow names it: 'la' the upper left.
    fill: its colour.
    size: of the letters, pixels.
  """
  pen.text(place, text, fill=fill, font_size=size, anchor=anchor)
