"""Flags that name files and folders: `~` means the same in all of them."""

import csv
import io
import os

from absl import flags

# Flags belong to the module that calls `define_path`.
flags.disclaim_key_flags()


class PathParser(flags.ArgumentParser):
  """A path: `~` and `~user` are home folders; other paths stay as they are.

  Relative paths are those of the working directory, in flag files as well. Names that
  stand for a file, such as 'builtin', pass unchanged.
  """

  syntactic_help = 'a path; ~ is the home folder.'

  def parse(self, argument: str) -> str:
    """Expands the home folder.

    Args:
      argument: text of the flag.

    Returns:
      The path.

    Raises:
      ValueError: if there is no user of the name after `~`.
    """
    path = os.path.expanduser(argument)
    if path.startswith('~'):
      raise ValueError(
        f'there is no home folder {path.split("/")[0]}; write ./{path} for a file of '
        'this name'
      )
    return path

  def flag_type(self) -> str:
    """What --help calls the type."""
    return 'path'


class PathListParser(flags.ListParser):
  """Paths with commas between them."""

  def parse(self, argument: str | list[str]) -> list[str]:
    """As `PathParser.parse`, for every item.

    Args:
      argument: text of the flag, or a list.

    Returns:
      The paths.

    Raises:
      ValueError: if the text is no list, or there is no user of the name after `~`.
    """
    return [PathParser().parse(item) for item in super().parse(argument)]


class PathsParser(PathListParser):
  """Paths with commas between them, or one that exists and has commas in its name."""

  def parse(self, argument: str | list[str]) -> list[str]:
    """As `PathListParser.parse`, unless the text as a whole is a file or folder.

    Args:
      argument: text of the flag, or a list.

    Returns:
      The paths.

    Raises:
      ValueError: if the text is no list, or there is no user of the name after `~`.
    """
    if isinstance(argument, str) and os.path.exists(os.path.expanduser(argument)):
      return [PathParser().parse(argument)]
    return super().parse(argument)


class _ListSerializer(flags.ArgumentSerializer):
  """The inverse of `PathListParser`: a path with a comma is quoted."""

  def serialize(self, value):
    stream = io.StringIO()
    csv.writer(stream, lineterminator='').writerow(value)
    return stream.getvalue()


def define_path(
  name: str,
  default: str | None,
  help: str,
  *,
  flag_values: flags.FlagValues = flags.FLAGS,
  required: bool = False,
) -> flags.FlagHolder:
  """Defines a flag that names a file or a folder, or stands for one.

  Args:
    name: of the flag.
    default: its value if it is not given; `~` is expanded in it, too.
    help: one sentence for --help.
    flag_values: where to define it.
    required: whether it must be given.

  Returns:
    The flag's holder, as of `flags.DEFINE_string`.
  """
  return flags.DEFINE(
    PathParser(),
    name,
    default,
    help,
    flag_values=flag_values,
    serializer=flags.ArgumentSerializer(),
    required=required,
  )


def define_path_list(
  name: str,
  default: list[str] | None,
  help: str,
  *,
  flag_values: flags.FlagValues = flags.FLAGS,
) -> flags.FlagHolder:
  """Defines a flag that names several files or folders, separated by commas.

  Args:
    name: of the flag.
    default: its value if it is not given; `~` is expanded in it, too.
    help: one sentence for --help.
    flag_values: where to define it.

  Returns:
    The flag's holder, as of `flags.DEFINE_list`.
  """
  return flags.DEFINE(
    PathListParser(),
    name,
    default,
    help,
    flag_values=flag_values,
    serializer=_ListSerializer(),
  )


def define_paths(
  name: str, help: str, *, flag_values: flags.FlagValues = flags.FLAGS
) -> flags.FlagHolder:
  """Defines a flag of files and folders that may be given more than once.

  Args:
    name: of the flag; its value is a list of lists, one for every time it was given, or
      None.
    help: one sentence for --help.
    flag_values: where to define it.

  Returns:
    The flag's holder, as of `flags.DEFINE_multi`.
  """
  return flags.DEFINE_multi(
    PathsParser(), _ListSerializer(), name, None, help, flag_values=flag_values
  )
