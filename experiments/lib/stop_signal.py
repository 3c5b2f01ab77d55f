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
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, self._receive)

  def _receive(self, number, frame):
    del frame
    if self._received is not None:
      os._exit(128 + number)
    self._received = number

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
