"""Which photos --input names: photos, folders, patterns, lists, standard input."""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import glob
import os
import pathlib
import sys

from experiments.lib import cli, output_files
from pifa_jax.files import images

LIST_SUFFIXES = ('.txt', '.lst')
STANDARD_INPUT = '-'
Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Photos:
  """The photos of a run.

  Attributes:
    files: name -> file, in their order. Every photo has a name of its own, a relative
      path with forward slashes.
    root: the folder that was given, or the one that all photos have in common.
    are_folders: all of them came with their folders, so that nothing else is there.
    missing: item of --input, or path of a list -> why there is no photo.
  """

  files: dict[str, pathlib.Path]
  root: pathlib.Path
  are_folders: bool
  missing: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Part:
  """The photos of one input, and the folder that their names are relative to."""

  root: pathlib.Path
  files: list[pathlib.Path]

  def names(self, root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Name -> file, relative to a folder that holds them."""
    return {_name(path, root): path for path in self.files}


class _NoPhotos(cli.UserError):
  """An item of --input leads to no photo."""

  def __init__(self, sentence: str, reason: str):
    """Says so.

    Args:
      sentence: for a run that ends here.
      reason: for failures.jsonl, beside the item.
    """
    super().__init__(sentence)
    self.reason = reason


def find_photos(given: Sequence[str], workdir: pathlib.Path, log: Log) -> Photos:
  """Finds the photos.

  Names are relative to the folder that was given, or to the one that the photos of a
  list or pattern have in common; if two photos of several inputs had one name, all are
  relative to the folder that all of them have in common.

  Args:
    given: photos, folders, patterns with *, ? or [], lists (.txt or .lst, a path a
      line), or '-' for paths on standard input.
    workdir: of this run; results of earlier runs are not read as photos.
    log: prints a sentence for the user.

  Returns:
    The photos; one that is named twice is there once.

  Raises:
    UserError: if there is no photo.
  """
  missing: dict[str, str] = {}
  parts: list[_Part] = []
  seen: set[str] = set()
  for item in given:
    try:
      part = _part(item, workdir, missing, log)
    except _NoPhotos as error:
      if len(given) == 1:
        raise
      # The others are aligned all the same.
      missing[item] = error.reason
      continue
    files = {os.path.abspath(path): path for path in part.files}
    parts.append(
      _Part(part.root, [path for place, path in files.items() if place not in seen])
    )
    seen.update(files)
  every = [path for part in parts for path in part.files]
  if not every:
    raise cli.UserError(_nothing(given, missing))
  root = parts[0].root if len(parts) == 1 else _common_folder(every)
  names = [part.names(part.root) for part in parts]
  if sum(map(len, names)) > len(set().union(*names)):
    names = [part.names(root) for part in parts]
  files = {name: path for some in names for name, path in some.items()}
  are_folders = all(os.path.isdir(item) for item in given)
  return Photos(files, root, are_folders, missing)


def _part(item, workdir, missing, log) -> _Part:
  """The photos of one item of --input."""
  path = pathlib.Path(item)
  if path.is_dir():
    found = _in_folder(path, workdir, log)
    if not found:
      raise _NoPhotos(
        f'There is no photo in {path}; give --input a folder of .jpg, .png, ...',
        'there is no photo in this folder',
      )
    return _Part(path, found)
  is_list = path.is_file() and path.suffix.lower() in LIST_SUFFIXES
  if path.is_file() and not is_list:
    return _Part(path.parent, [path])
  if item == STANDARD_INPUT:
    found = _named(_listed(sys.stdin, pathlib.Path()), missing, 'standard input')
  elif is_list:
    found = _named(_in_list(path), missing, f'the list {path}')
  elif glob.has_magic(item):
    found = _of_pattern(item, workdir, log)
  elif '://' in item:
    raise _NoPhotos(
      f'--input={item} is an address; download the photo and give its path.',
      'it is an address; download the photo',
    )
  else:
    raise _NoPhotos(
      f'There is no photo or folder {path}; give --input one that exists.',
      'there is no such photo or folder',
    )
  return _Part(_common_folder(found) if found else pathlib.Path(), found)


def _named(listed, missing, what) -> list[pathlib.Path]:
  """The photos of a list; what is none of its lines is noted."""
  found, problems = listed
  if not found and not problems:
    raise _NoPhotos(
      f'There is no path in {what}; write the path of a photo a line.',
      f'there is no path in {what}',
    )
  missing.update(problems)
  return found


def _nothing(given, missing):
  names = ', '.join(given)
  if missing:
    first, reason = next(iter(missing.items()))
    return f'No path in --input={names} is a photo; the first, {first}: {reason}.'
  return f'There is no photo in {names}; give --input a folder of .jpg, .png, ...'


def _in_folder(folder, workdir, log):
  listing = images.find_images(folder, deep=True)
  if listing.skipped:
    log(f'Not read as photos: {listing.skipped_text()}.')
  return _inputs(listing.images, folder, workdir, log)


def _inputs(found, root, workdir, log) -> list[pathlib.Path]:
  """Without the results of programs."""
  inputs, skipped = output_files.inputs_only(found, root, str(workdir))
  for sentence in skipped:
    log(sentence)
  return inputs


def _of_pattern(pattern, workdir, log):
  found = [
    pathlib.Path(name)
    for name in sorted(glob.glob(pattern, recursive=True))
    if pathlib.Path(name).suffix.lower() in images.IMAGE_SUFFIXES
    and os.path.isfile(name)
  ]
  if not found:
    raise _NoPhotos(
      f'No photo matches --input={pattern}; in quotes, ** goes into folders.',
      'no photo matches it',
    )
  # Results among the photos would match again.
  root = _common_folder(found)
  return _inputs([root / _name(path, root) for path in found], root, workdir, log)


def _in_list(path: pathlib.Path) -> tuple[list[pathlib.Path], dict[str, str]]:
  try:
    lines = path.read_text(encoding='utf-8-sig').splitlines()
  except UnicodeDecodeError as error:
    raise cli.UserError(
      f'The list {path} is not text in UTF-8 ({error.reason}); write a path a line.'
    ) from None
  return _listed(lines, path.parent)


def _listed(
  lines: Iterable[str], folder: pathlib.Path
) -> tuple[list[pathlib.Path], dict[str, str]]:
  """The photos of a list, and why a line is none.

  Relative paths are of the working directory or of the folder of the list.
  """
  found, missing = [], {}
  for line in lines:
    name = line.rstrip('\r\n')
    if not name.strip():
      continue
    path = pathlib.Path(os.path.expanduser(name))
    path = path if path.exists() else folder / path
    if path.is_file():
      found.append(path)
    else:
      missing[name] = (
        'it is a folder; a list holds photos'
        if path.is_dir()
        else 'there is no such file'
      )
  return found, missing


def _common_folder(found: Sequence[pathlib.Path]) -> pathlib.Path:
  """The deepest folder that holds all photos."""
  try:
    return pathlib.Path(os.path.commonpath([path.absolute().parent for path in found]))
  except ValueError as error:  # on Windows
    raise cli.UserError(
      f'The photos of --input lie on different drives ({error}); align those of each '
      'drive apart.'
    ) from None


def _name(path: pathlib.Path, root: pathlib.Path) -> str:
  return (
    pathlib.Path(os.path.abspath(path)).relative_to(os.path.abspath(root)).as_posix()
  )
