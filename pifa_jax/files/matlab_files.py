"""Matlab files of version 5 to 7, read without trust.

SciPy's reader is not made for damaged files, as its documentation says: a wrong type
code, or wrong dimensions, end the process with a segmentation fault. This one
knows numbers, text, cells and structures, and checks every size before it is used.
The format: "MAT-File Level 5 File Format", MathWorks.
"""

from collections.abc import Iterable
import math
import os
import pathlib
import struct
from typing import Any
import zlib

import numpy as np

from pifa_jax.files import content

_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_COMPLEX = 0x08  # in the flags of an array
# Codes of elements; text as the bytes that it is stored in.
_STORED = {
  1: 'i1',
  2: 'u1',
  3: 'i2',
  4: 'u2',
  5: 'i4',
  6: 'u4',
  7: 'f4',
  9: 'f8',
  12: 'i8',
  13: 'u8',
  16: 'u1',
  17: 'u2',
  18: 'u4',
}
_NUMBERS = {
  6: 'f8',
  7: 'f4',
  8: 'i1',
  9: 'u1',
  10: 'i2',
  11: 'u2',
  12: 'i4',
  13: 'u4',
  14: 'i8',
  15: 'u8',
}
_DEEPEST = 16
_MAX_BYTES = 4 << 30


def read_mat(
  path: str | os.PathLike[str],
  names: Iterable[str] | None = None,
  *,
  max_bytes: int = _MAX_BYTES,
) -> dict[str, Any]:
  """Reads variables of a .mat file.

  Args:
    path: of a file as Matlab's `save -v6` or `save -v7` write it, or SciPy.
    names: of the variables that are wanted; None = all.
    max_bytes: the file may not unpack to more.

  Returns:
    Those that are there: numbers (logical ones too) as arrays of at least two
    dimensions, text as str (its rows one after the other), cells as object
    arrays, structures as object arrays of dicts.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not a sound Matlab file, or a wanted variable is of
      another kind.
  """
  path = pathlib.Path(path)
  data = path.read_bytes()
  wanted = None if names is None else set(names)
  try:
    return dict(_variables(data, wanted, max_bytes))
  except (ValueError, zlib.error, UnicodeDecodeError) as error:
    raise ValueError(
      f'{path} is not a Matlab file that can be read: {error}; get it again.'
    ) from error


def read_numbers(
  path: str | os.PathLike[str], names: Iterable[str]
) -> dict[str, np.ndarray]:
  """Reads variables that must all be there and be tables of real numbers.

  Args:
    path: see `read_mat`.
    names: of the variables.

  Returns:
    float64 arrays.

  Raises:
    FileNotFoundError, ValueError: see `read_mat`; also if a variable is missing
      or not of real numbers.
  """
  names = list(names)
  content = read_mat(path, names)
  for name in names:
    if name not in content:
      raise ValueError(
        f'{path} has no variable {name!r}; it is not the file that its name says.'
      )
    if (
      not isinstance(content[name], np.ndarray) or content[name].dtype.kind not in 'fiu'
    ):
      raise ValueError(
        f'{path}: {name!r} is not a table of real numbers; it is '
        'not the file that its name says.'
      )
  return {name: content[name].astype(np.float64) for name in names}


def _variables(data, wanted, budget):
  """Yields (name, value) of the wanted variables."""
  if data[:8] == b'\x89HDF\r\n\x1a\n' or b'matlab 7.3' in data[:116].lower():
    raise ValueError('it is of version 7.3; save it with "-v7" in Matlab')
  foreign = content.foreign_content(data[:4096])
  if foreign and foreign != 'a Matlab file':
    raise ValueError(f"it is {foreign} saved under the file's name")
  order = {b'IM': '<', b'MI': '>'}.get(data[126:128])
  if order is None or struct.unpack(order + 'H', data[124:126])[0] != 0x0100:
    raise ValueError('it does not begin as one of version 5 to 7')
  for code, body in _elements(memoryview(data)[128:], order):
    if code == _COMPRESSED:
      unpacker = zlib.decompressobj()
      body = unpacker.decompress(body, budget + 1)
      budget -= len(body)
      if budget < 0:
        raise ValueError('it unpacks to more bytes than are allowed')
      if not unpacker.eof:
        raise ValueError('it is cut off')
      inside = list(_elements(memoryview(body), order))
      if len(inside) != 1:
        raise ValueError('a compressed variable is not one array')
      code, body = inside[0]
    if code != _MATRIX:
      raise ValueError(f'it has an element of type {code} where a variable belongs')
    parts = list(_elements(body, order))
    if len(parts) < 3:
      raise ValueError('a variable has no header')
    name = bytes(parts[2][1]).decode('ascii')
    # Nameless: what Matlab keeps for objects.
    if name and (wanted is None or name in wanted):
      yield name, _array(parts, order, 0)


def _elements(data, order):
  """Yields the elements that lie one after the other in `data`: (code, body)."""
  place = 0
  while place < len(data):
    if len(data) - place < 8:
      raise ValueError('it is cut off')
    code, size = struct.unpack_from(order + 'II', data, place)
    if code >> 16:  # up to four bytes, inside the tag
      code, size, start = code & 0xFFFF, code >> 16, place + 4
      if size > 4:
        raise ValueError('a small element is too large')
      place += 8
    else:
      start = place + 8
      # Compressed elements are not padded.
      place = start + (size if code == _COMPRESSED else -(-size // 8) * 8)
    if start + size > len(data):
      raise ValueError('it is cut off')
    yield code, data[start : start + size]


def _numbers(part, order):
  code, body = part
  if code not in _STORED:
    raise ValueError(f'it has numbers of the unknown type {code}')
  dtype = np.dtype(order + _STORED[code])
  if len(body) % dtype.itemsize:
    raise ValueError('it ends within a number')
  return np.frombuffer(body, dtype)


def _shaped(values, shape):
  if len(values) != math.prod(shape):
    raise ValueError(f'an array has {len(values)} entries but the dimensions {shape}')
  return values.reshape(shape, order='F')


def _array(parts, order, depth):
  """The value of an array from its elements: flags, dimensions, name, content."""
  if depth > _DEEPEST:
    raise ValueError('its cells lie too deep in each other')
  if len(parts) < 3 or len(parts[0][1]) != 8:
    raise ValueError('an array has no header')
  word = int(_numbers(parts[0], order).view(order + 'u4')[0])
  kind, flags = word & 0xFF, word >> 8 & 0xFF
  shape = tuple(int(n) for n in _numbers(parts[1], order))
  if not 2 <= len(shape) <= 8 or min(shape) < 0:
    raise ValueError(f'an array has the impossible dimensions {shape}')
  body = parts[3:]
  if kind == _CELL:
    return _objects([_inner(part, order, depth) for part in body], shape)
  if kind == _STRUCT:
    return _structure(body, shape, order, depth)
  if kind != _CHAR and kind not in _NUMBERS:
    raise ValueError(f'it has an array of class {kind}, which is not read')
  if len(body) != (2 if flags & _COMPLEX else 1):
    raise ValueError('an array lacks its numbers')
  if kind == _CHAR:
    # UTF-8 is the only one whose units are bytes of several a character.
    letters = (
      bytes(body[0][1]).decode('utf-8')
      if body[0][0] == 16
      else ''.join(map(_letter, _numbers(body[0], order)))
    )
    grid = _shaped(np.array(list(letters), 'U1'), shape)
    return ''.join(grid.reshape(-1, grid.shape[-1]).ravel())
  values = [_shaped(_numbers(part, order), shape) for part in body]
  if flags & _COMPLEX:
    return values[0] + 1j * values[1]
  return values[0].astype(_NUMBERS[kind])


def _letter(code):
  if not 0 <= code < 0x110000:
    raise ValueError('text has a letter that does not exist')
  return chr(int(code))


def _inner(part, order, depth):
  code, body = part
  if code != _MATRIX:
    raise ValueError(f'a cell holds an element of type {code}')
  parts = list(_elements(body, order))
  # An empty cell may be without any header.
  return _array(parts, order, depth + 1) if parts else np.empty((0, 0))


def _objects(values, shape):
  array = np.empty(len(values), object)
  for index, value in enumerate(values):
    array[index] = value
  return _shaped(array, shape)


def _structure(content, shape, order, depth):
  if len(content) < 2 or len(_numbers(content[0], order)) != 1:
    raise ValueError('a structure has no list of its fields')
  width, text = int(_numbers(content[0], order)[0]), bytes(content[1][1])
  if width < 1 or len(text) % width:
    raise ValueError('a structure has no list of its fields')
  fields = [
    text[i : i + width].split(b'\0')[0].decode('ascii')
    for i in range(0, len(text), width)
  ]
  if not fields:
    raise ValueError('a structure has no fields')
  values = [_inner(part, order, depth) for part in content[2:]]
  if len(values) % len(fields):
    raise ValueError('a structure lacks some of its fields')
  return _objects(
    [
      dict(zip(fields, values[i : i + len(fields)], strict=True))
      for i in range(0, len(values), len(fields))
    ],
    shape,
  )
