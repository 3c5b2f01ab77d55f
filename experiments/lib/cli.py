"""What every program shares: flag files, run.json, exit codes, user errors.

A program defines its flags, writes `main(run)` and ends with `cli.start(main)`.
"""

from collections.abc import Callable
import datetime
import errno
import importlib.metadata
import io
import json
import math
import os
import platform
import subprocess
import sys
import traceback
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

from experiments.lib import path_flags, terminal
from pifa_jax.files import compiled_programs
from pifa_jax.learning.checkpoints import CheckpointError

_EXPERIMENTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

EXIT_OK = 0
EXIT_USER_ERROR = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_NON_FINITE = 4
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130

path_flags.define_path(
  'workdir',
  None,
  'Folder for everything the run writes; made if missing. '
  'Default: runs/<program>, or what the flag file says.',
)
# Here for all programs: two modules that define one flag cannot be imported together.
flags.DEFINE_integer(
  'seed', 0, 'Seed of everything random that a program does.', lower_bound=0
)
flags.DEFINE_boolean(
  'compilation_cache',
  True,
  'Keep compiled programs in the folder "compiled" of --cache_dir, for the next start.',
)


class UserError(Exception):
  """An error that the user can mend; shown as one sentence, without a traceback."""


def start(main: Callable[['Run'], int]) -> None:
  """Parses flags, runs `main`, and turns what it raises into an exit code.

  Args:
    main: takes the Run, returns the exit code.
  """
  # --help shows the key flags of the main module; those of experiments.lib belong
  # to it.
  for module, found in flags.FLAGS.flags_by_module_dict().items():
    for flag in found if module.startswith('experiments') else ():
      flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
  # Hides the log lines of XLA about its thread pools.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  # A name that the terminal cannot show must not end a run; stderr escapes by itself.
  if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors='backslashreplace')
  try:
    app.run(lambda argv: sys.exit(_guarded(main, argv)), flags_parser=_parse_flags)
  except BrokenPipeError:  # while --help was printed
    if not _drop_unread_output('\n'):
      raise
    sys.exit(EXIT_USER_ERROR)
  finally:
    _drop_unread_output()


def _guarded(main, argv):
  if len(argv) > 1:
    print(
      f'Argument {argv[1]!r} is not a flag; flags begin with "--" (a line of '
      'a flag file, too).',
      file=sys.stderr,
    )
    return EXIT_USAGE
  # At INFO libraries log about themselves; users want the log of the program.
  absl_logging.set_verbosity(absl_logging.WARNING)
  name = _program_name(argv[0])
  run = Run(name)
  reason, code = 'error', EXIT_USER_ERROR
  if flags.FLAGS.compilation_cache and 'cache_dir' in flags.FLAGS:
    _keep_compiled(os.path.join(flags.FLAGS.cache_dir, 'compiled'))
  try:
    code = main(run)
    reason = {
      EXIT_OK: 'finished',
      EXIT_STOPPED: 'stopped and saved',
      EXIT_INTERRUPTED: 'interrupted and saved',
      EXIT_NON_FINITE: 'non-finite loss',
    }.get(code, 'some inputs failed')
    return code
  except BrokenPipeError as error:
    reason = 'the output was closed by its reader'
    if not _drop_unread_output('\n'):  # it was another pipe
      reason = _sentence(error)
      print(f'{name}: {reason}', file=sys.stderr)
    return EXIT_USER_ERROR
  # What the library raises on bad input is already one sentence.
  except (UserError, CheckpointError, ValueError, OSError) as error:
    reason = _sentence(error)
    print(terminal.printable(f'{name}: {reason}', keep='\n'), file=sys.stderr)
    if os.environ.get('PIFA_JAX_TRACEBACK'):
      traceback.print_exc()
    else:
      print('(PIFA_JAX_TRACEBACK=1 shows where.)', file=sys.stderr)
    return EXIT_USER_ERROR
  finally:
    run.finish(reason, code)


def _drop_unread_output(last=''):
  """Whether what reads stdout, such as `head`, has gone; the rest is then dropped.

  Python flushes stdout at its end, and would print a traceback. A write that failed has
  left nothing to flush: `last` is what is tried once more.
  """
  try:
    sys.stdout.write(last)
    sys.stdout.flush()
  except BrokenPipeError:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return True
  return False


def _sentence(error):
  """What the user is told of an error; the system's own get their flag and a remedy."""
  if not (isinstance(error, OSError) and error.strerror):
    return str(error)
  if error.errno == errno.ENOSPC:
    return 'The disk is full; make room, and start again.'
  if not isinstance(error.filename, (str, bytes)):
    return f'The system says: {error.strerror}.'
  place = os.path.abspath(os.fsdecode(error.filename))
  for flag in (flags.FLAGS[name] for name in flags.FLAGS):
    if isinstance(flag.parser, path_flags.PathParser) and flag.value:
      given = os.path.abspath(flag.value)
      if place == given or place.startswith(given.rstrip(os.sep) + os.sep):
        return (
          f'--{flag.name}={flag.value} cannot be used ({place}: {error.strerror}); use '
          'another.'
        )
  return f'{place} cannot be used: {error.strerror}.'


def output_file(path: str | None, flag: str = 'output') -> str:
  """Checks, before any work, that a file can be written, and makes its folder.

  Args:
    path: value of the flag.
    flag: its name.

  Returns:
    The path.

  Raises:
    UserError: if none was given, it is a folder, or its folder cannot be made.
  """
  if not path:
    raise UserError(f'--{flag} is missing; name the file to write.')
  if os.path.isdir(path):
    raise UserError(f'--{flag}={path} is a folder; name a file, which is made.')
  try:
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  except OSError as error:
    raise UserError(
      f'The folder of --{flag}={path} cannot be made ({error.strerror}); use another.'
    ) from error
  return path


def _keep_compiled(folder):
  """Switches JAX's compilation cache on; without it a start is only slower."""
  try:
    compiled_programs.keep_compiled(folder)
  except OSError as error:
    print(
      f'Warning: compiled programs cannot be kept in {os.path.abspath(folder)} '
      f'({error.strerror}); every start compiles anew: choose another '
      '--cache_dir, or --nocompilation_cache.',
      file=sys.stderr,
    )


def _program_name(path):
  """align for .../experiments/align.py and for .../experiments/align/__main__.py."""
  folder, file = os.path.split(path)
  return (
    os.path.basename(folder) if file == '__main__.py' else os.path.splitext(file)[0]
  )


def _parse_flags(argv):
  argv = [_resolved_flagfile(arg) for arg in argv]
  # `--flagfile name` in two words.
  for index, arg in enumerate(argv[:-1]):
    if arg in ('--flagfile', '-flagfile'):
      argv[index + 1] = _resolved_flagfile('--flagfile=' + argv[index + 1])[11:]
  try:
    argv = _without_marks(flags.FLAGS.read_flags_from_files(argv))
    rest = flags.FLAGS(argv)
    _refuse_nan()
    return rest
  except (flags.Error, UnicodeDecodeError) as error:
    reason = str(error)
    if isinstance(error, UnicodeDecodeError):
      reason = 'a flag file is not text in UTF-8; save it so.'
    name = _program_name(argv[0])
    print(f'{name}: {reason}', file=sys.stderr)
    print(f'Flags: python -m experiments.{name} --help', file=sys.stderr)
    sys.exit(EXIT_USAGE)


def _without_marks(argv):
  """Arguments without the byte order mark that editors put before a flag file."""
  marked = [arg for arg in argv if arg.startswith('\ufeff')]
  comments = [arg for arg in marked if arg[1:].startswith(('#', '//')) or not arg[1:]]
  return [arg.removeprefix('\ufeff') for arg in argv if arg not in comments]


def _refuse_nan():
  """Refuses flags that are NaN, which is neither below nor above any bound."""
  for name in flags.FLAGS:
    value = flags.FLAGS[name].value
    if isinstance(value, float) and math.isnan(value):
      raise flags.IllegalFlagValueError(f'flag --{name}={value}: it is not a number')


def _resolved_flagfile(arg):
  """A bare flag-file name is looked up here, then beside the programs."""
  prefix = '--flagfile='
  if not arg.startswith(prefix):
    return arg
  name = os.path.expanduser(arg[len(prefix) :])
  beside = os.path.join(_EXPERIMENTS, name)
  if os.path.isfile(name):
    return prefix + name
  if os.path.basename(name) == name and os.path.isfile(beside):
    return prefix + beside
  ours = sorted(f for f in os.listdir(_EXPERIMENTS) if f.endswith('.flags'))
  print(
    f'There is no flag file {name!r} here or in experiments/, which has '
    f'{", ".join(ours)}.',
    file=sys.stderr,
  )
  sys.exit(EXIT_USAGE)


def is_typed(name: str) -> bool:
  """Whether a flag stands on the command line itself, not only in a flag file.

  Args:
    name: of the flag.

  Returns:
    Whether it does.
  """
  # What stands after "--" is no flag.
  words = sys.argv[1:]
  words = words[: words.index('--')] if '--' in words else words
  return any(
    word.startswith('-') and word.lstrip('-').partition('=')[0] == name
    for word in words
  )


def json_value(value: Any) -> Any:
  """A value without NaN and infinity, which JSON does not have: null in their place.

  Args:
    value: dicts, lists, numbers, text; nested.

  Returns:
    The same, fit for `json.dump`.
  """
  if isinstance(value, dict):
    return {key: json_value(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [json_value(item) for item in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


class Run:
  """The record of one run: run.json and a flag file that repeats it.

  Attributes:
    program: its name.
    workdir: absolute path of the run's folder, once `open` was called.
  """

  def __init__(self, program: str):
    """Begins an empty record; nothing is written before `open`.

    Args:
      program: its name.
    """
    self.program = program
    self.workdir: str | None = None
    self._record: dict[str, Any] = {}

  def folder(self, workdir: str | None) -> str:
    """The absolute path of the run's folder; `make_folder` makes it.

    Args:
      workdir: the folder; None = runs/<program>.

    Returns:
      The absolute path.
    """
    return os.path.abspath(workdir or os.path.join('runs', self.program))

  def make_folder(self, workdir: str | None) -> str:
    """Makes the run's folder and writes nothing yet: a lock may come first.

    Args:
      workdir: the folder; None = runs/<program>.

    Returns:
      The absolute path.

    Raises:
      UserError: if the folder cannot be made.
    """
    workdir = self.folder(workdir)
    try:
      os.makedirs(workdir, exist_ok=True)
    except OSError as error:
      raise UserError(
        f'The folder --workdir={workdir} cannot be made '
        f'({error.strerror}); choose another.'
      ) from error
    return workdir

  def open(self, folder: str, **facts) -> None:
    """Begins the record: writes run.json and <program>.flags.

    Args:
      folder: of `make_folder`.
      **facts: what else to record (seed, device, ...); JSON values.
    """
    self.workdir = folder
    explicit = flags.FLAGS.flags_by_module_dict()
    ours = [
      flag
      for module, of_module in explicit.items()
      if module.startswith('experiments') or module == sys.argv[0]
      for flag in of_module
    ]
    self._record = {
      'program': self.program,
      'arguments': sys.argv[1:],
      'flags': {flag.name: flag.value for flag in ours},
      'versions': _versions(),
      'commit': _commit(),
      'start': _now(),
      **facts,
    }
    self._write()
    with open(os.path.join(folder, f'{self.program}.flags'), 'w') as file:
      for flag in ours:
        if flag.value is not None:
          line = flag.serialize()
          if line:
            file.write(line + '\n')

  def note(self, **facts) -> None:
    """Adds facts to run.json, once it is open.

    Args:
      **facts: JSON values by name.

    Raises:
      UserError: if the file cannot be written.
    """
    self._record.update(facts)
    if self.workdir is not None:
      self._write()

  def finish(self, reason: str, code: int) -> None:
    """Records the end of the run, if it opened its folder.

    Args:
      reason: how it ended, in words.
      code: the exit code.
    """
    if self.workdir is not None:
      self.note(end=_now(), exit_reason=reason, exit_code=code)

  def _write(self):
    path = os.path.join(self.workdir or '', 'run.json')
    try:
      with open(path + '.tmp', 'w') as file:
        json.dump(json_value(self._record), file, indent=2, default=str)
        file.write('\n')
      os.replace(path + '.tmp', path)
    except OSError as error:
      raise UserError(f'{path} cannot be written ({error.strerror}).') from error


def _now():
  return datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')


def _versions():
  # Of the installed packages' records: importing optax for it would take a while.
  names = ('jax', 'jaxlib', 'flax', 'optax', 'numpy')
  return {
    'python': platform.python_version(),
    **{name: importlib.metadata.version(name) for name in names},
  }


def _commit():
  root = os.path.dirname(_EXPERIMENTS)
  try:
    done = subprocess.run(
      ['git', '-C', root, 'describe', '--always', '--dirty'],
      capture_output=True,
      text=True,
      timeout=5,
      check=False,
    )
  except (OSError, subprocess.TimeoutExpired):
    return None
  return done.stdout.strip() or None
