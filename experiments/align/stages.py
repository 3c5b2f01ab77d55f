"""Where the time of a run goes: reading, detecting, fitting, writing."""

from collections.abc import Iterable, Iterator
import contextlib
import threading
import time
from typing import TypeVar

_Item = TypeVar('_Item')

# What one thread does in turn, and what others do beside it.
IN_TURN = ('fitting', 'waiting for photos', 'noting')
BESIDE = ('reading', 'detecting', 'writing')


class Stages:
  """Adds up the seconds of each stage; stages of different threads overlap."""

  def __init__(self):
    """Starts with nothing."""
    self._seconds = dict.fromkeys((*IN_TURN, *BESIDE), 0.0)
    self._lock = threading.Lock()
    self._total = 0.0

  @contextlib.contextmanager
  def during(self, name: str, *, inside: str | None = None) -> Iterator[None]:
    """Counts the time of the block for a stage, as a clock on the wall has it.

    Args:
      name: one of `IN_TURN` or `BESIDE`.
      inside: a stage that is going on, whose time it is not.
    """
    started = time.monotonic()
    try:
      yield
    finally:
      seconds = time.monotonic() - started
      with self._lock:
        self._seconds[name] += seconds
        if inside is not None:
          self._seconds[inside] -= seconds

  def timed(
    self, items: Iterable[_Item], name: str, *, inside: str | None = None
  ) -> Iterator[_Item]:
    """Counts, for a stage, the time that the items take to come.

    Args:
      items: in their order.
      name: one of `IN_TURN` or `BESIDE`.
      inside: the stage that asks for them, whose time it is not.

    Yields:
      The items.
    """
    source, end = iter(items), object()
    while True:
      with self.during(name, inside=inside):
        item = next(source, end)
      if item is end:
        return
      yield item  # type: ignore[misc]

  @contextlib.contextmanager
  def whole(self) -> Iterator[None]:
    """Counts the time of the block as that of the run."""
    started = time.monotonic()
    try:
      yield
    finally:
      self._total += time.monotonic() - started

  def facts(self) -> dict[str, float]:
    """Seconds by stage, and 'all', for run.json."""
    return {
      name: round(seconds, 3)
      for name, seconds in {'all': self._total, **self._seconds}.items()
    }

  def sentence(self) -> str:
    """Shares of the whole time, for the terminal; '' before anything was done."""
    if not self._total > 0:
      return ''
    share = lambda name: f'{name} {100 * self._seconds[name] / self._total:.0f} %'
    in_turn = ', '.join(share(name) for name in IN_TURN[:2])
    beside = ', '.join(share(name) for name in BESIDE)
    return f'Of {self._total:.1f} s: {in_turn}; at the same time {beside}.'
