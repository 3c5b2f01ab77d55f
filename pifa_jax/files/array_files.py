"""Named arrays in one file: a zip of plain .npy members, with a hash of its content.

Never pickled objects. Uncompressed files have the same bytes on every machine.
"""

from collections.abc import Callable, Iterable, Mapping
import hashlib
import io
import math
import os
import pathlib
import stat
import zipfile
import zlib

import numpy as np

# 4 GiB holds a face model of 60,000 vertices with 228 float32 bases twenty times over;
# a file that would inflate to more than this is damaged or hostile.
DEFAULT_MAX_BYTES = 4 * 2**30

_DATE = (1980, 1, 1, 0, 0, 0)


def write(
  path: str | os.PathLike[str],
  arrays: Mapping[str, np.ndarray],
  *,
  compress: bool = False,
) -> None:
  """Writes arrays under their names; an existing file is replaced in one step.

  Args:
    path: the file.
    arrays: name -> array.
    compress: deflate the members; the bytes then depend on the version of zlib.
  """
  path = pathlib.Path(path)
  temporary = path.with_name(path.name + '.partial')
  method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
  with zipfile.ZipFile(temporary, 'w') as archive:
    for name in sorted(arrays):
      buffer = io.BytesIO()
      np.lib.format.write_array(
        buffer,
        np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape),
        version=(1, 0),
        allow_pickle=False,
      )
      info = zipfile.ZipInfo(name + '.npy', _DATE)
      info.compress_type = method
      # Fixed too: both depend on the machine otherwise.
      info.create_system = 3
      info.external_attr = 0o644 << 16
      archive.writestr(info, buffer.getvalue())
  os.replace(temporary, path)


def read(
  path: str | os.PathLike[str],
  kind: str,
  *,
  max_bytes: int = DEFAULT_MAX_BYTES,
  wanted: Callable[[str], bool] = lambda name: True,
) -> dict[str, np.ndarray]:
  """Reads arrays, after checking their size and the zip's checksums.

  Args:
    path: the file.
    kind: what it should be, for error messages: 'face model'.
    max_bytes: refuse a file whose arrays would take more than this, before
      inflating anything.
    wanted: which names to read.

  Returns:
    name -> array.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it cannot be read.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(
      f"No {kind} at {path}; give the path of an .npz, or 'builtin'."
    )
  try:
    with zipfile.ZipFile(path) as archive:
      members = archive.infolist()
      size = sum(info.file_size for info in members)
      if size > max_bytes:
        raise ValueError(
          f'{path} would take {size} bytes of memory, the limit is '
          f'{max_bytes}; pass max_bytes={size} if you trust the file.'
        )
      for info in members:
        _check_name(path, info)
      damaged = archive.testzip()
      if damaged is not None:
        raise ValueError(f'{path} is damaged in {damaged}; get it again.')
      return {
        info.filename.removesuffix('.npy'): _read_array(path, archive, info)
        for info in members
        if wanted(info.filename.removesuffix('.npy'))
      }
  # zipfile raises the last two on damaged headers: unknown compression, password.
  except (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
  ) as error:
    raise ValueError(
      f'{path} cannot be read as a {kind}, an .npz ({error}); name another file, '
      'or get this one again if it is damaged.'
    ) from error


def _check_name(path, info):
  """Refuses members that are no arrays, or whose names lead to other places."""
  name = info.filename
  if (
    not name.endswith('.npy')
    or name.startswith('/')
    or '..' in name.replace('\\', '/').split('/')
    or stat.S_ISLNK(info.external_attr >> 16)
  ):
    raise ValueError(
      f'{path} has the member {name[:80]!r}, which is no named array as NumPy writes '
      'them to an .npz; name another file.'
    )


def _read_array(path, archive, info):
  """A member's array, once its header agrees with the bytes that are there.

  NumPy takes memory for what the header says, which may be terabytes.
  """
  try:
    with archive.open(info) as member:
      version = np.lib.format.read_magic(member)
      reader = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
      )
      shape, _, dtype = reader(member)
      if dtype.hasobject:
        raise ValueError('it holds Python objects, which are never loaded')
      if math.prod(shape) * dtype.itemsize != info.file_size - member.tell():
        raise ValueError(f'its header says {dtype}{shape}, its size another')
    with archive.open(info) as member:
      return np.lib.format.read_array(member, allow_pickle=False)
  # A hostile header is parsed as Python text, with whatever that may raise.
  except Exception as error:
    reason = str(error).split('\n')[0].rstrip('.') or type(error).__name__
    raise ValueError(
      f'{path} has an array {info.filename[:80]!r} that cannot be read ({reason}); get '
      'the file again.'
    ) from error


def content_hash(arrays: Mapping[str, np.ndarray]) -> str:
  """SHA-256 over names, types, shapes and values, in the order of the names.

  Args:
    arrays: name -> array.

  Returns:
    64 hex digits, the same for big and little endian.
  """
  digest = hashlib.sha256()
  for name in sorted(arrays):
    array = np.asarray(arrays[name])
    # Little-endian always, so that the hash is a property of the values.
    array = np.ascontiguousarray(array, array.dtype.newbyteorder('<')).reshape(
      array.shape
    )
    digest.update(f'{name}|{array.dtype.str}|{array.shape}|'.encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def check(
  path: str | os.PathLike[str],
  arrays: dict[str, np.ndarray],
  *,
  required: Iterable[str],
  version: int,
  otherwise: str,
) -> None:
  """Refuses what is not whole, of another schema, or changed; drops the hash.

  Args:
    path: the file, for the message.
    arrays: of `read`, with 'schema_version' and 'content_sha256' among the names
      required; the hash is removed.
    required: names that must be there.
    version: of the schema that the caller reads.
    otherwise: what a file without a name is, and what to do: 'it is not ...; ...'.

  Raises:
    ValueError: with one sentence for the user.
  """
  for name in required:
    if name not in arrays:
      raise ValueError(f'{path} has no array {name!r}, so {otherwise}.')
  found = int(arrays['schema_version'])
  if found != version:
    raise ValueError(
      f'{path} has schema version {found}, this pifa_jax reads version '
      f'{version}; write the file again with the same release.'
    )
  stored = str(arrays.pop('content_sha256'))
  digest = content_hash(arrays)
  if stored != digest:
    raise ValueError(
      f'{path} is damaged: its content hash is {digest[:12]}..., the file says '
      f'{stored[:12]}...; get it or build it again.'
    )
