"""Walks through folders: links are followed, and no folder is visited twice."""

from collections.abc import Callable, Iterator
import os
import pathlib


def walk(
  folder: str | os.PathLike[str],
  *,
  deep: bool = True,
  skip: Callable[[str], None] = lambda reason: None,
) -> Iterator[tuple[pathlib.Path, list[pathlib.Path]]]:
  """Visits a folder and, if wanted, the folders inside.

  Links to folders are followed; a folder that is reached twice is visited once, so
  that links in a circle end. Hidden folders (names that begin with a dot) are left out.

  Args:
    folder: to begin with.
    deep: visit the folders inside, too.
    skip: called with the reason for every folder that is left out.

  Yields:
    A folder, and what is in it without the folders, by name.

  Raises:
    OSError: if the first folder cannot be listed.
  """
  seen: set[tuple[int, int]] = set()

  def visit(directory):
    stat = directory.stat()
    if (stat.st_dev, stat.st_ino) in seen:
      skip('folders that another path leads to')
      return
    seen.add((stat.st_dev, stat.st_ino))
    inside: list[pathlib.Path] = []
    others: list[pathlib.Path] = []
    for path in sorted(directory.iterdir()):
      (inside if _is_dir(path) else others).append(path)
    yield directory, others
    # Links last: a folder inside goes by its own name, not by that of a link to it.
    for path in sorted(inside, key=os.path.islink) if deep else []:
      if path.name.startswith('.'):
        skip('hidden folders (their names begin with a dot)')
        continue
      try:
        yield from visit(path)
      except PermissionError:
        skip('folders without permission to read')

  yield from visit(pathlib.Path(folder))


def _is_dir(path):
  try:
    return path.is_dir()
  except OSError:  # in a folder that may be listed but not entered
    return False


def find_files(
  folder: str | os.PathLike[str], suffixes: tuple[str, ...]
) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
  """The files of some types in a folder and in the folders inside.

  Hidden files, and what is no regular file (pipes, devices), are left out.

  Args:
    folder: to look into.
    suffixes: of the names, in lower case, with their dots; their case in names does
      not matter.

  Returns:
    The files, folder by folder and by name, and the folders that were looked into.

  Raises:
    OSError: if the folder cannot be listed.
  """
  found: list[pathlib.Path] = []
  folders: list[pathlib.Path] = []
  for directory, others in walk(folder):
    folders.append(directory)
    found += [
      path
      for path in others
      if path.name.lower().endswith(suffixes)
      and not path.name.startswith('.')
      and path.is_file()
    ]
  return found, folders
