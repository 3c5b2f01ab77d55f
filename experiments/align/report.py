"""What was done and what failed: failures.jsonl and the last lines of a run."""

from collections.abc import Callable
import dataclasses
import json
import pathlib
from typing import Any

from experiments.lib import cli, output_files, terminal
from pifa_jax.files.formats import write_atomically

_MOST_SHOWN = 20  # failures on the terminal
NO_FACE = 'no face was found in it'


@dataclasses.dataclass
class Failures:
  """What could not be done; the rest goes on.

  Attributes:
    lines: of failures.jsonl: the photo, the row of its box if one face failed, and why.
    lost: those of them that are faces or photos without result, not files of a result.
  """

  lines: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  lost: list[dict[str, Any]] = dataclasses.field(default_factory=list)

  def add(self, name: str, reason: str, face: int | None = None) -> None:
    """Notes a photo, or one face of it, with the reason."""
    self.add_file(name, reason, face)
    self.lost.append(self.lines[-1])

  def add_file(self, name: str, reason: str, face: int | None = None) -> None:
    """Notes a file of a photo or of a face that could not be written."""
    place = {} if face is None else {'face': face}
    self.lines.append({'image': name, **place, 'reason': reason})

  def write(self, path: pathlib.Path) -> None:
    """Writes failures.jsonl."""
    text = ''.join(json.dumps(line) + '\n' for line in self.lines)
    write_atomically(path, text.encode())

  def __len__(self) -> int:
    return len(self.lines)


@dataclasses.dataclass
class Counts:
  """What was done, for the last line.

  Attributes:
    faces: that were aligned.
    photos: with at least one aligned face.
    opened: photos that were decoded.
    doubtful: faces of low confidence.
    dropped: faces below --min_confidence.
  """

  faces: int = 0
  photos: int = 0
  opened: int = 0
  doubtful: int = 0
  dropped: int = 0


def report(
  workdir: pathlib.Path,
  counts: Counts,
  num_photos: int,
  failures: Failures,
  written: str,
  log: Callable[[str], None],
  *,
  are_detected: bool = True,
) -> int:
  """Writes failures.jsonl and says what was done.

  Args:
    workdir: of the run.
    counts: what was done.
    num_photos: of --input.
    failures: what was not.
    written: files beside results.jsonl and failures.jsonl, in words.
    log: prints a sentence for the user.
    are_detected: the faces were looked for, not given as boxes.

  Returns:
    The exit code.
  """
  failures.write(workdir / 'failures.jsonl')
  for line in failures.lines[:_MOST_SHOWN]:
    face = f', face {line["face"]}' if 'face' in line else ''
    log(terminal.printable(f'failed: {line["image"]}{face}: {line["reason"]}'))
  if len(failures) > _MOST_SHOWN:
    log(f'failed: {len(failures) - _MOST_SHOWN} more, see failures.jsonl.')
  number = output_files.count_of
  if counts.dropped:
    log(f'{number(counts.dropped, "face")} below --min_confidence left out.')
  if are_detected and counts.opened and not counts.faces and not counts.dropped:
    log(
      f'No face was aligned in any of {number(num_photos, "photo")}; if there are '
      'faces, try a lower --min_score or --min_size, or give their --boxes.'
    )
  doubtful = f' ({counts.doubtful} doubtful)' if counts.doubtful else ''
  print(
    f'{number(counts.faces, "face")}{doubtful} in {counts.photos} of '
    f'{number(num_photos, "photo")}, {number(len(failures), "failure")}; wrote '
    f'results.jsonl, failures.jsonl{", " if written else ""}{written} to {workdir}.'
  )
  page = workdir / 'index.html'
  if 'index.html' in written:
    print(f'Open {page} in a browser.')
  return cli.EXIT_SOME_FAILED if failures.lines else cli.EXIT_OK
