"""What a file really holds, where its name says something else."""

_VIDEO = 'a video; experiments.align_video follows the faces of one'
# (first bytes, what they begin).
_BEGINNINGS = (
  (b'version https://git-lfs', 'a Git LFS pointer; fetch the file with "git lfs pull"'),
  (b'%PDF', 'a PDF document'),
  (b'PK\x03\x04', 'a zip archive'),
  (b'\x1f\x8b', 'a gzip archive; unpack it'),
  (b'\x89HDF\r\n\x1a\n', 'an HDF5 file'),
  (b'\x89PNG', 'a PNG image'),
  (b'\xff\xd8\xff', 'a JPEG image'),
  (b'\x93NUMPY', 'a NumPy array'),
  (b'MATLAB 5.0', 'a Matlab file'),
  (b'\x1aE\xdf\xa3', _VIDEO),
)
# (bytes 4 to 12, what they are a sign of).
_FURTHER_IN = (
  (b'ftypavif', 'an AVIF image; convert it to JPEG or PNG'),
  (b'ftyp', _VIDEO),
  (b'JXL \r\n\x87\n', 'a JPEG XL image; convert it to JPEG or PNG'),
)
_TAGS = (b'<!doctype', b'<html', b'<head', b'<body', b'<script', b'<?xml')
_PAGE_HEAD = 4096  # bytes: comments and blank lines may stand before the first tag


def foreign_content(data: bytes) -> str | None:
  """Names content that belongs to another kind of file.

  Servers answer a request for a missing or protected file with a page that is saved
  under the file's name; Git LFS leaves pointers; files are renamed by hand.

  Args:
    data: the file, or its first 4 KiB.

  Returns:
    'a web page', 'a zip archive', ...; None if it is none of the known kinds.
  """
  head = data[:_PAGE_HEAD].removeprefix(b'\xef\xbb\xbf').lstrip()
  for beginning, name in _BEGINNINGS:
    if head.startswith(beginning):
      return name
  for beginning, name in _FURTHER_IN:
    if data[4:12].startswith(beginning):
      return name
  if data[:4] == b'RIFF' and data[8:12] == b'AVI ':
    return _VIDEO
  lower = head.lower()
  if lower.startswith(b'<') and any(tag in lower for tag in _TAGS):
    return 'an XML file' if lower.startswith(b'<?xml') else 'a web page'
  return None
