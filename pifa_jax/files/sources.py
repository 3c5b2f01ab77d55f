"""What a reader has looked at: the files and folders that its result depends on."""

from collections.abc import Iterable, Sequence
import hashlib
import os
import pathlib
import unicodedata

from pifa_jax.files import folders, images


class Sources:
  """Records every path that a reader opens, lists or asks for.

  A reader reaches the disk through this object alone. So the record is complete: no
  list of files is kept beside the reader that could forget one. Paths that are asked
  for and not there are recorded, too: that they appear later is a change.
  """

  def __init__(self, root: str | os.PathLike[str]):
    """Starts an empty record.

    Args:
      root: folder of the data set; paths are named relative to it.
    """
    self.root = pathlib.Path(root)
    self._paths: dict[pathlib.Path, None] = {}
    self._beside: dict[pathlib.Path, dict[tuple[str, str], pathlib.Path]] = {}

  @property
  def paths(self) -> list[pathlib.Path]:
    """What was looked at, sorted."""
    return sorted(self._paths)

  def use(self, path: pathlib.Path) -> pathlib.Path:
    """Records a path that is about to be opened or listed.

    Args:
      path: a file or folder.

    Returns:
      The path.
    """
    self._paths[path] = None
    return path

  def is_file(self, path: pathlib.Path) -> bool:
    """Whether a file is there; recorded either way.

    Args:
      path: of the file.

    Returns:
      True if it is a file.
    """
    return self.use(path).is_file()

  def is_dir(self, path: pathlib.Path) -> bool:
    """Whether a folder is there; recorded either way.

    Args:
      path: of the folder.

    Returns:
      True if it is a folder.
    """
    return self.use(path).is_dir()

  def find_images(
    self, folder: pathlib.Path, *, deep: bool = False
  ) -> images.ImageListing:
    """`images.find_images`; the folders that it looks into are recorded.

    Args:
      folder: the folder.
      deep: look into the folders inside, too.

    Returns:
      What was found and what was left out.
    """
    listing = images.find_images(self.use(folder), deep=deep)
    for inside in listing.folders:
      self.use(inside)
    return listing

  def find_files(self, folder: pathlib.Path, suffix: str) -> list[pathlib.Path]:
    """The files below a folder that end in `suffix`; the folders are recorded."""
    found, visited = folders.find_files(self.use(folder), (suffix,))
    for inside in visited:
      self.use(inside)
    return found

  def find_beside(
    self, path: pathlib.Path, suffixes: Sequence[str]
  ) -> pathlib.Path | None:
    """The file of the same stem beside an image.

    The case of the suffix does not matter, nor how letters with accents are stored
    (see `images.image_key`).

    Args:
      path: of the image.
      suffixes: in the order in which they are tried.

    Returns:
      The file; None if there is none. The folder is recorded, so that one that
      appears later is noticed.
    """
    folder = path.parent
    if folder not in self._beside:
      self.use(folder)
      # In this order "a.pts" comes after "a.PTS", and wins.
      self._beside[folder] = {
        (_stem(other), other.suffix.lower()): other
        for other in sorted(folder.iterdir())
        if not other.name.startswith('.')
      }
    for suffix in suffixes:
      found = self._beside[folder].get((_stem(path), suffix))
      if found is not None and found.is_file():
        return self.use(found)
    return None

  def fingerprint(self) -> str:
    """Identifies the state of all that was looked at: see `fingerprint`."""
    return fingerprint(self._paths, self.root)


def _stem(path):
  return unicodedata.normalize('NFC', path.stem)


def fingerprint(
  paths: Iterable[pathlib.Path], root: str | os.PathLike[str] | None = None
) -> str:
  """Identifies files by name, size and time of change, folders by their entries.

  Nothing is read, so that a set of 100,000 files costs seconds.

  Args:
    paths: files and folders; missing ones count as such.
    root: names are taken relative to it, so that a data set may be moved; None =
      the last part of the path is its name.

  Returns:
    16 hex digits.
  """
  digest = hashlib.sha256()
  facts = sorted(_facts(pathlib.Path(path), root) for path in paths)
  for fact in facts:
    digest.update(fact.encode(errors='surrogateescape') + b'\n')
  return digest.hexdigest()[:16]


def _facts(path, root):
  name = path.name if root is None else os.path.relpath(path, root)
  try:
    stat = path.stat()
    if path.is_dir():
      entries = '\0'.join(sorted(os.listdir(path))).encode(errors='surrogateescape')
      return f'{name} folder {hashlib.sha256(entries).hexdigest()}'
    return f'{name} {stat.st_size} {stat.st_mtime_ns}'
  except OSError:
    return f'{name} missing'
