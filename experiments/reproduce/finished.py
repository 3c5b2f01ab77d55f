"""What is known of a training run at its end, and why there may be nothing."""

import dataclasses
import json
import pathlib
import statistics
from typing import Any

from experiments.lib import cli


class Hole(Exception):
  """A number that is not there; its text says why."""


class Stopped(Exception):
  """The user or the system asked the program to stop; the run is saved.

  Attributes:
    code: the exit code.
  """

  def __init__(self, code: int):
    """Keeps the exit code.

    Args:
      code: of the trainer.
    """
    super().__init__(code)
    self.code = code


@dataclasses.dataclass(frozen=True)
class Finished:
  """A training run that went to its end.

  Attributes:
    folder: its work folder, as `experiments.evaluate --checkpoint` takes it.
    errors: NME of the test faces in percent: the start, then after every block.
    curve: (step, NME of the validation faces after the last block) during training.
    num_test: test faces.
    num_train: training faces.
    steps: that were taken.
    seconds: median of the wall-clock time of a step; compiling and validation are not
      in it. None if there were too few steps.
    cpu_seconds: the same of the processor time.
    statement: what was measured how.
  """

  folder: pathlib.Path
  errors: tuple[float, ...]
  curve: tuple[tuple[int, float], ...]
  num_test: int
  num_train: int
  steps: int
  seconds: float | None
  cpu_seconds: float | None
  statement: str

  @classmethod
  def read(cls, folder: pathlib.Path) -> 'Finished':
    """Reads what `summary` gave.

    Args:
      folder: of the run, with its result.json.

    Returns:
      The run.

    Raises:
      Hole: if it ended without a result.
    """
    found = json.loads((folder / 'result.json').read_text(encoding='utf-8'))
    if 'hole' in found:
      raise Hole(found['hole'])
    values: dict[str, Any] = {
      'folder': folder,
      'errors': tuple(found['errors']),
      'curve': tuple((step, nme) for step, nme in found['curve']),
    }
    names = {field.name for field in dataclasses.fields(cls)} - set(values)
    return cls(**values, **{name: found[name] for name in names})

  def words(self) -> str:
    """The errors in a line."""
    start, *rest = self.errors
    blocks = ' '.join(f'{error:.2f}' for error in rest)
    return f'{self.steps} steps: NME {start:.2f} -> {blocks}'


def summary(folder: pathlib.Path) -> dict[str, Any]:
  """What is kept of a run that went to its end, from the files of the trainer.

  Args:
    folder: of the run.

  Returns:
    The content of its result.json.

  Raises:
    Hole: if no error could be measured.
  """
  read = lambda name: (folder / name).read_text(encoding='utf-8')
  record = json.loads(read('run.json'))
  lines = [json.loads(line) for line in read('metrics.jsonl').splitlines()]
  timing = [json.loads(line) for line in read('timing.jsonl').splitlines()]
  median = lambda name: statistics.median(x[name] for x in timing) if timing else None
  if any(error is None for error in record['test_nme']):
    raise Hole('its error on the test faces is not a number')
  return {
    'errors': record['test_nme'],
    'curve': [
      (line['step'], line['nme'][-1])
      for line in lines
      if line.get('split') == 'validation'
    ],
    'num_test': record['num_test'],
    'num_train': record['num_train'],
    'steps': record['last_step'],
    'seconds': median('seconds'),
    'cpu_seconds': median('cpu_seconds'),
    'statement': record['statement'],
    'config_hash': record['config_hash'],
  }


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a JSON file whole or not at all.

  Args:
    path: the file.
    value: of JSON; NaN becomes null.
  """
  temporary = path.with_name(path.name + '.tmp')
  text = json.dumps(cli.json_value(value), indent=2)
  temporary.write_text(text + '\n', encoding='utf-8')
  temporary.replace(path)
