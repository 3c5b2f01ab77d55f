"""What the rows of the fault suite count, and the table of them."""

from collections.abc import Callable
import dataclasses
import pathlib
import time

# What a hostile file may cost before it is refused.
MAX_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Scale:
  """How much is tried.

  Attributes:
    folder: an empty one for the row's files.
    full: the counts of the specification, else a few seconds' worth.
  """

  folder: pathlib.Path
  full: bool = False

  def count(self, short: int, full: int) -> int:
    """`full` repetitions at full scale, else `short`."""
    return full if self.full else short


@dataclasses.dataclass
class Tally:
  """Counts of one row.

  Attributes:
    tried: faults that were put in.
    identical: of them, those after which everything is as without the fault.
    clean: those that ended with a documented error of one sentence.
    silent: those that went on with wrong data, or let something in.
    other: those that ended otherwise: a traceback, a hang, too slow.
    notes: what each silent or other one was.
  """

  tried: int = 0
  identical: int = 0
  clean: int = 0
  silent: int = 0
  other: int = 0
  notes: list[str] = dataclasses.field(default_factory=list)

  @property
  def passed(self) -> bool:
    """Whether something was tried and all of it ended well."""
    return bool(self.tried) and not self.silent and not self.other

  def add(self, outcome: str, note: str = '') -> None:
    """Counts one fault.

    Args:
      outcome: 'identical', 'clean', 'silent' or 'other'.
      note: which fault it was, for the last two.
    """
    self.tried += 1
    setattr(self, outcome, getattr(self, outcome) + 1)
    if outcome in ('silent', 'other'):
      self.notes.append(f'{outcome}: {note}')

  def join(self, other: 'Tally') -> None:
    """Adds the counts of another tally."""
    for name in ('tried', 'identical', 'clean', 'silent', 'other'):
      setattr(self, name, getattr(self, name) + getattr(other, name))
    self.notes += other.notes

  def refused(
    self,
    name: str,
    call: Callable[[], object],
    errors: type[Exception] | tuple[type[Exception], ...] = ValueError,
    *,
    seconds: float = MAX_SECONDS,
    says: str = '',
  ) -> None:
    """Counts a call that must end with a documented error of one sentence.

    Args:
      name: of the fault.
      call: what meets it.
      errors: the documented ones.
      seconds: that it may take.
      says: what the sentence must hold.
    """
    began = time.monotonic()
    try:
      call()
    except errors as error:
      took = time.monotonic() - began
      if took > seconds:
        self.add('other', f'{name}: refused after {took:.1f} s')
      elif not str(error).strip() or '\n' in str(error).strip():
        self.add('other', f'{name}: not one sentence: {str(error)[:80]!r}')
      elif says not in str(error):
        self.add('other', f'{name}: it does not say {says!r}: {str(error)[:80]}')
      else:
        self.add('clean')
    except Exception as error:
      self.add('other', f'{name}: {type(error).__name__}: {str(error)[:80]}')
    else:
      self.add('silent', f'{name}: accepted')


@dataclasses.dataclass(frozen=True)
class Row:
  """One row of the table.

  Attributes:
    fault: in a few words.
    run: tries it; None = not built.
    left: what of the specification the row does not try.
  """

  fault: str
  run: Callable[[Scale], Tally] | None = None
  left: str = ''


def line(name: str, row: Row, tally: Tally | None) -> str:
  """A row as text.

  Args:
    name: such as 'R1'.
    row: the row.
    tally: its counts; None if it was not tried.

  Returns:
    The line; `heading` names its columns.
  """
  start = f'{name:<4}{row.fault[:46]:<48}'
  if row.run is None:
    return start + 'not built' + (f': {row.left}' if row.left else '')
  if tally is None:
    return start + 'not tried'
  counts = (tally.tried, tally.identical, tally.clean, tally.silent, tally.other)
  verdict = 'ok' if tally.passed else 'FAILED'
  left = f' (not built: {row.left})' if row.left else ''
  return start + ''.join(f'{count:>8}' for count in counts) + f'  {verdict}{left}'


def heading() -> str:
  """The names of the columns."""
  columns = ('tried', 'ident.', 'clean', 'silent', 'other')
  return f'{"":<4}{"fault":<48}' + ''.join(f'{column:>8}' for column in columns)
