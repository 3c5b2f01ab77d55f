"""Matlab files (version 5 to 7), read by SciPy once their structure is sound.

SciPy's reader is not made for damaged files: a wrong type code in a tag ends the
process with a segmentation fault. So every tag is looked at first.
"""

import os
import pathlib
import struct
from typing import Iterable
import zlib

import numpy as np

_MATRIX, _COMPRESSED = 14, 15
# Codes of plain data: integers, floats and UTF text. The gaps have no meaning.
_DATA = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}
# Cells, structures, text and numbers; no objects, sparse or opaque classes.
_CLASSES = {1, 2, 4, *range(6, 16)}
_DEEPEST = 16
_MAX_BYTES = 4 << 30


def read_mat(path: str | os.PathLike[str], names: Iterable[str], *,
             max_bytes: int = _MAX_BYTES) -> dict[str, np.ndarray]:
  """Reads named variables; nothing in the file is executed.

  Args:
    path: of a .mat file as `save -v6` or `save -v7` writes it.
    names: of the variables that are wanted.
    max_bytes: the file may not unpack to more.

  Returns:
    Those of the variables that are there, as `scipy.io.loadmat` gives them.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not a sound Matlab file.
  """
  import scipy.io
  path = pathlib.Path(path)
  data = path.read_bytes()
  names = list(names)
  try:
    _check(data, max_bytes)
    content = scipy.io.loadmat(path, variable_names=names)
  # SciPy raises many kinds on damaged files, none of them documented.
  except Exception as error:  # pylint: disable=broad-except
    raise ValueError(f'{path} is not a Matlab file that can be read: {error}; get '
                     'it again.') from error
  return {name: content[name] for name in names if name in content}


def read_numbers(path: str | os.PathLike[str], names: Iterable[str]
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
      raise ValueError(f'{path} has no variable {name!r}; it is not the file that '
                       'its name says.')
    if (not isinstance(content[name], np.ndarray)
        or content[name].dtype.kind not in 'fiu'):
      raise ValueError(f'{path}: {name!r} is not a table of real numbers; it is '
                       'not the file that its name says.')
  return {name: content[name].astype(np.float64) for name in names}


def _check(data, max_bytes):
  head = data[:116].lstrip().lower()
  if head.startswith((b'<!doctype', b'<html')):
    raise ValueError("it is a web page saved under the file's name")
  if data[:8] == b'\x89HDF\r\n\x1a\n' or b'matlab 7.3' in head:
    raise ValueError('it is of version 7.3; save it with "-v7" in Matlab')
  order = {b'IM': '<', b'MI': '>'}.get(data[126:128])
  if len(data) < 136 or order is None or (
      struct.unpack(order + 'H', data[124:126])[0] != 0x0100):
    raise ValueError('it does not begin as one of version 5 to 7')
  budget = max_bytes
  for code, body in _elements(memoryview(data)[128:], order):
    if code == _COMPRESSED:
      unpacker = zlib.decompressobj()
      body = unpacker.decompress(bytes(body), budget)
      budget -= len(body)
      if budget <= 0:
        raise ValueError(f'it unpacks to more than {max_bytes} bytes')
      if not unpacker.eof:
        raise ValueError('it is cut off')
      (code, body), = _elements(memoryview(body), order)
    _check_element(code, body, order, 0)


def _elements(data, order):
  """The elements that lie one after the other in `data`: (code, body)."""
  found, place = [], 0
  while place < len(data):
    if len(data) - place < 8:
      raise ValueError('it is cut off')
    code, size = struct.unpack_from(order + 'II', data, place)
    if code >> 16:  # up to four bytes, inside the tag
      code, size, start, end = code & 0xffff, code >> 16, place + 4, place + 8
      if size > 4:
        raise ValueError('a small element is too large')
    else:
      start = place + 8
      # Compressed elements are not padded.
      end = start + (size if code == _COMPRESSED else -(-size // 8) * 8)
    if start + size > len(data):
      raise ValueError('it is cut off')
    found.append((code, data[start:start + size]))
    place = end
  return found


def _check_element(code, body, order, depth):
  if code in _DATA:
    return
  if code != _MATRIX:
    raise ValueError(f'it has an element of the unknown type {code}')
  if depth > _DEEPEST:
    raise ValueError('its cells lie too deep in each other')
  parts = _elements(body, order)
  if not parts:
    return  # an empty cell
  if len(parts) < 3 or [len(parts[0][1]), parts[0][0], parts[1][0]] != [8, 6, 5]:
    raise ValueError('an array has no header')
  kind = struct.unpack(order + 'I', parts[0][1][:4])[0] & 0xff
  if kind not in _CLASSES:
    raise ValueError(f'it has an array of class {kind}, which is not read')
  if len(parts[1][1]) % 4 or not 2 <= len(parts[1][1]) // 4 <= 32 or min(
      struct.unpack(f'{order}{len(parts[1][1]) // 4}i', parts[1][1])) < 0:
    raise ValueError('an array has impossible dimensions')
  for part in parts:
    _check_element(*part, order, depth + 1)
