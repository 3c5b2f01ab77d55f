"""What the trainer prints, in a file, and how long its steps take by the clock."""

import io
import json
import os
import re
import time

_STEP = re.compile(r'step (\d+)/\d+ ')


class TimedLog(io.TextIOBase):
  """A text file that takes the time of every reported step.

  Between two reports the trainer takes steps and nothing else, unless it validates or
  saves between them, which happens less often: the median is of steps alone.
  """

  def __init__(self, path: str | os.PathLike[str]):
    """Opens the file.

    Args:
      path: what is written is added to its end.
    """
    super().__init__()
    self._file = open(path, 'a', encoding='utf-8', errors='backslashreplace')  # noqa: SIM115 until `close`
    self._line = ''
    self._reports: list[tuple[int, float, float]] = []

  def writable(self) -> bool:
    """Whether it can be written to."""
    return True

  def write(self, text: str) -> int:
    """Adds text, and takes the time when a line of it reports a step.

    Args:
      text: of any number of lines.

    Returns:
      Its length.
    """
    self._file.write(text)
    *whole, self._line = (self._line + text).split('\n')
    for line in whole:
      found = _STEP.match(line)
      if found:
        report = int(found[1]), time.monotonic(), time.process_time()
        self._reports.append(report)
    return len(text)

  def flush(self) -> None:
    """Writes what is buffered."""
    if not self._file.closed:
      self._file.flush()

  def close(self) -> None:
    """Closes the file."""
    self._file.close()
    super().close()

  def intervals(self) -> list[dict[str, float]]:
    """The time of a step between any two reports in a row.

    The first report comes after the first step, which compiles: it only begins.

    Returns:
      'step' at the end, 'seconds' by the clock and 'cpu_seconds' of the processor.
    """
    found = []
    for before, after in zip(self._reports, self._reports[1:], strict=False):
      steps = after[0] - before[0]
      if steps > 0:
        found.append(
          {
            'step': after[0],
            'seconds': (after[1] - before[1]) / steps,
            'cpu_seconds': (after[2] - before[2]) / steps,
          }
        )
    return found

  def save(self, path: str | os.PathLike[str]) -> None:
    """Adds the intervals to a file, a JSON object a line.

    Args:
      path: the file; a run that was stopped adds to it once more.
    """
    with open(path, 'a', encoding='utf-8') as file:
      file.writelines(json.dumps(line) + '\n' for line in self.intervals())
