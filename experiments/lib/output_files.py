"""Where the results on many files go: a tree like that of the inputs, apart from it."""

from collections.abc import Iterable, Iterator
import contextlib
import io
import json
import os
import pathlib
from typing import Any, TextIO

from experiments.lib import cli
from pifa_jax.files.formats import write_atomically


def output_path(folder: pathlib.Path, name: str, suffix: str) -> pathlib.Path:
  """The file of a result; different names have different files.

  Args:
    folder: the work folder.
    name: of the input, relative to the input folder, with forward slashes.
    suffix: added to the name.

  Returns:
    The path; its folder is made.

  Raises:
    ValueError: if the name leads out of the work folder.
    OSError: if the folder cannot be made.
  """
  path = folder / (name + suffix)
  if (
    pathlib.PurePosixPath(name).is_absolute() or '..' in path.parts[len(folder.parts) :]
  ):
    raise ValueError(f'its name leads out of the work folder {folder}')
  path.parent.mkdir(parents=True, exist_ok=True)
  return path


def inputs_only(
  found: Iterable[pathlib.Path], root: pathlib.Path, workdir: str
) -> tuple[list[pathlib.Path], list[str]]:
  """Leaves out the files in work folders below an input folder.

  The overlays of an earlier run are photos, too; they must not be read as inputs.

  Args:
    found: files below `root`.
    root: the folder of --input.
    workdir: the work folder of this run, absolute.

  Returns:
    The files that are inputs, and a sentence about every work folder that was left out.

  Raises:
    UserError: if the results would lie in the input folder itself.
  """
  found = list(found)
  here, results = os.path.realpath(root), os.path.realpath(workdir)
  if here == results:
    raise cli.UserError(
      f'--workdir={workdir} is the folder of --input: the results would be read as '
      f'inputs next time; choose another, such as --workdir={root / "results"}.'
    )
  inputs: list[pathlib.Path] = []
  counts: dict[pathlib.Path, int] = {}
  known: dict[pathlib.Path, bool] = {}
  for path in found:
    owner = _work_folder(path.parent, root, results, known)
    if owner is None:
      inputs.append(path)
    else:
      counts[owner] = counts.get(owner, 0) + 1
  for path in inputs if here.startswith(results.rstrip(os.sep) + os.sep) else []:
    landing = os.path.join(results, path.relative_to(root).as_posix())
    if landing.startswith(here.rstrip(os.sep) + os.sep):
      raise cli.UserError(
        f'The results on {path} would lie in the folder of --input; choose another '
        f'--workdir than {workdir}.'
      )
  return inputs, [
    f'Skipped {count} file{"" if count == 1 else "s"} in {folder}: it is the work '
    'folder of a program.'
    for folder, count in counts.items()
  ]


def _work_folder(folder, root, results, known):
  """The outermost work folder below the root that holds a folder, or None."""
  inside = folder.relative_to(root).parts
  for depth in range(1, len(inside) + 1):
    candidate = root.joinpath(*inside[:depth])
    if candidate not in known:
      known[candidate] = os.path.realpath(candidate) == results or _has_run(candidate)
    if known[candidate]:
      return candidate
  return None


def _has_run(folder):
  """Whether a program of this project keeps its record here."""
  try:
    with open(folder / 'run.json', encoding='utf-8') as file:
      record = json.load(file)
  except (OSError, ValueError):
    return False
  return isinstance(record, dict) and {'program', 'arguments', 'flags'} <= set(record)


def open_table(path: str | os.PathLike[str]) -> TextIO:
  """Opens a file of text that holds names of files, for writing.

  A name whose bytes are no text must not cost the whole table: they are escaped.

  Args:
    path: the file.

  Returns:
    The open file, UTF-8; newlines are written as they are.
  """
  return open(path, 'w', newline='', encoding='utf-8', errors='backslashreplace')


@contextlib.contextmanager
def new_table(path: str | os.PathLike[str]) -> Iterator[TextIO]:
  """Like `open_table`, but the file is written whole or not at all.

  Args:
    path: the file; what was there is replaced at the end.

  Yields:
    The open file.
  """
  with io.TextIOWrapper(
    io.BytesIO(), newline='', encoding='utf-8', errors='backslashreplace'
  ) as file:
    yield file
    file.flush()
    write_atomically(path, file.buffer.getvalue())


def write_json(path: str | os.PathLike[str], value: Any, indent: int = 2) -> None:
  """Writes a JSON file whole or not at all; NaN and infinity as null.

  Args:
    path: the file; what was there is replaced.
    value: see `cli.json_value`.
    indent: spaces a level.
  """
  text = json.dumps(cli.json_value(value), indent=indent) + '\n'
  write_atomically(path, text.encode())


def count_of(number: int, what: str) -> str:
  """A number with its noun.

  Args:
    number: how many.
    what: the noun, singular; its plural ends in s.

  Returns:
    Such as '1 photo' or '2 photos'.
  """
  return f'{number} {what}{"" if number == 1 else "s"}'
