"""metrics.jsonl of a training run, and TensorBoard beside it."""

import contextlib
import json
import math
import os
from typing import Any

from experiments.lib import cli


class MetricsFile:
  """One JSON line for every event, none of them twice.

  Attributes:
    path: of metrics.jsonl.
    lines: its lines as dicts, oldest first.
  """

  def __init__(self, workdir: str, step: int, tensorboard: bool):
    """Opens the file of a run that begins or goes on.

    Args:
      workdir: of the run.
      step: that the run goes on from.
      tensorboard: write TensorBoard events, too, if tensorboardX is installed.
    """
    self.path = os.path.join(workdir, 'metrics.jsonl')
    # A run that was killed had gone on past its last checkpoint. Those steps will be
    # taken and written again, and the test comes after the very last step.
    self.lines = [
      line
      for line in _read(self.path)
      if line['step'] <= step and line.get('split') != 'test'
    ]
    with open(self.path + '.tmp', 'w') as file:
      file.writelines(json.dumps(cli.json_value(line)) + '\n' for line in self.lines)
    os.replace(self.path + '.tmp', self.path)
    self._file = open(self.path, 'a')  # noqa: SIM115 until `close`
    self._events = None
    if tensorboard:
      try:
        from tensorboardX import SummaryWriter
      except ImportError:
        return
      self._events = SummaryWriter(
        os.path.join(workdir, 'tensorboard'), purge_step=step + 1
      )

  def last(self, split: str) -> dict[str, Any] | None:
    """The newest line of a split.

    Args:
      split: such as 'validation'.

    Returns:
      The line; None if the split has none.
    """
    lines = (line for line in reversed(self.lines) if line.get('split') == split)
    return next(lines, None)

  def write(self, line: dict[str, Any], **not_reproducible: float) -> None:
    """Appends a line.

    Args:
      line: with 'step', and 'split' if it is not about training.
      **not_reproducible: what depends on the clock; it goes to TensorBoard alone.
    """
    self.lines.append(line)
    self._file.write(json.dumps(cli.json_value(line)) + '\n')
    self._file.flush()
    if self._events is None:
      return
    prefix = line.get('split', 'train')
    for name, value in {**line, **not_reproducible}.items():
      if name in ('step', 'split'):
        continue
      tags = {name: value}
      if isinstance(value, list):
        tags = {f'{name}/block{block + 1}': item for block, item in enumerate(value)}
      for tag, item in tags.items():
        # No speed is known at the first step; a diverged loss makes no point either.
        if math.isfinite(item):
          self._events.add_scalar(f'{prefix}/{tag}', item, line['step'])

  def close(self) -> None:
    """Closes the file and the events."""
    self._file.close()
    if self._events is not None:
      self._events.close()


def _read(path):
  if not os.path.exists(path):
    return []
  lines = []
  with open(path) as file:
    for line in file:
      # The last line of a killed run may be cut.
      with contextlib.suppress(json.JSONDecodeError):
        lines.append(json.loads(line))
  return lines
