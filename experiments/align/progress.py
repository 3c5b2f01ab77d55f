"""How far a run is: a bar on a terminal, a line every few seconds elsewhere."""

from collections.abc import Callable
import sys
import time
from typing import Any, TextIO

from experiments.lib import output_files

_SECONDS = 5.0  # between two lines


class Progress:
  """Counts photos; says how many a second."""

  def __init__(
    self,
    total: int,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Starts to count.

    Args:
      total: photos.
      stream: where to; None = stderr. A bar is drawn if it is a terminal and tqdm is
        installed.
      clock: seconds.
    """
    self._total, self._clock = total, clock
    self._stream = sys.stderr if stream is None else stream
    self._done = 0
    self._said = clock()
    self._first: tuple[float, int] | None = None
    self._bar: Any = _bar(total, self._stream) if self._stream.isatty() else None

  def step(self) -> None:
    """Another photo is done."""
    self._done += 1
    if self._bar is not None:
      self._bar.update()
      return
    now = self._clock()
    if self._first is None:
      # Until here the network was compiled.
      self._first = (now, self._done)
    since, done = now - self._first[0], self._done - self._first[1]
    if now - self._said < _SECONDS or since < 1:  # a batch ends at once
      return
    self._said = now
    rate = done / since
    left = (self._total - self._done) / rate
    total = output_files.count_of(self._total, 'photo')
    print(
      f'{self._done} of {total}, {rate:.{1 if rate >= 1 else 2}f} img/s, '
      f'{_time(left)} left',
      file=self._stream,
      flush=True,
    )

  def close(self) -> None:
    """Ends the bar."""
    if self._bar is not None:
      self._bar.close()


def _bar(total, stream):
  try:
    from tqdm import tqdm
  except ImportError:
    return None
  return tqdm(total=total, unit='img', file=stream, dynamic_ncols=True)


def _time(seconds):
  return f'{seconds:.0f} s' if seconds < 90 else f'{seconds / 60:.0f} min'
