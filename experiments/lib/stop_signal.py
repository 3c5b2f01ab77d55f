"""Lets a loop end well when its process is told to stop."""

import os
import signal
import threading

from experiments.lib import cli


class StopSignal:
  """Remembers the first SIGTERM or SIGINT; the second one ends the process at once."""

  def __init__(self):
    """Takes over the two signals, in the main thread only."""
    self._received = None
    if threading.current_thread() is not threading.main_thread():
      return
    # Python calls handlers between its own instructions alone: while XLA compiles, or
    # devices wait for each other, no handler sees the second signal. A thread does.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, self._receive)
    threading.Thread(target=_end_at_the_second, args=(reader,), daemon=True).start()

  def _receive(self, number, frame):
    del frame
    self._received = self._received or number

  def exit_code(self, step: int | None = None) -> int:
    """The exit code that the signal asks for; EXIT_OK if none has come.

    Args:
      step: for `processes.StopOfAll`, which takes the place of this one.

    Returns:
      The exit code.
    """
    del step
    if self._received is None:
      return cli.EXIT_OK
    return (
      cli.EXIT_STOPPED if self._received == signal.SIGTERM else cli.EXIT_INTERRUPTED
    )


def _end_at_the_second(reader):
  """Reads the numbers of signals as they come; ends the process at the second."""
  count = 0
  while True:
    number = os.read(reader, 1)[0]
    count += number in (signal.SIGTERM, signal.SIGINT)
    if count > 1:
      os._exit(128 + number)
