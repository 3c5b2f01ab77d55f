"""What a table is: rows, what the paper says there, and what ours is read from."""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
from typing import Any

from experiments.reproduce import claims, published
from experiments.reproduce.claims import Cell, Claim
from experiments.reproduce.finished import Hole
from experiments.reproduce.measures import Measures
from experiments.reproduce.variants import BASE

Read = Callable[[Measures, int], float]
# 0 = the row is no error of faces.
Count = Callable[[Measures, int], int]


def _no_faces(unused_measures, unused_seed):
  return 0


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of a table.

  Attributes:
    name: what it shows.
    read: (measures, seed) -> our number.
    paper: its number; None = it gives none.
    count: (measures, seed) -> faces behind our number.
    unit: where it is not that of the table.
    digits: after the point.
  """

  name: str
  read: Read
  paper: float | None = None
  count: Count = _no_faces
  unit: str = ''
  digits: int = 2


@dataclasses.dataclass(frozen=True)
class Table:
  """A table.

  Attributes:
    key: value of --table.
    title: for people.
    unit: of its numbers.
    rows: of the method of the paper.
    claims: that its numbers bear on.
    rivals: head and rows of what the paper prints of other methods.
    notes: what a reader must know.
    base_first: whether its networks count as evidence only if the base has learned.
    on_photos: whether its numbers are of photos, whatever the training data.
    statement: (measures, seed) -> what was measured how.
    variant: whose training stands below the table.
  """

  key: str
  title: str
  unit: str
  rows: tuple[Row, ...]
  claims: tuple[Claim, ...] = ()
  rivals: tuple[tuple[str, ...], ...] = ()
  notes: tuple[str, ...] = ()
  base_first: bool = True
  on_photos: bool = False
  statement: Callable[[Measures, int], str] = Measures.statement
  variant: str = BASE


def measure(table: Table, found: Measures, seeds: Iterable[int]) -> dict[str, Cell]:
  """Reads all numbers of a table; trains what is not trained yet.

  Seed after seed, so that a table that is stopped has whole columns.

  Args:
    table: the table.
    found: numbers of one data set.
    seeds: of the runs.

  Returns:
    Row name -> numbers. The base's start and final error stand under `START` and
    `FINAL` where `base_first`.
  """
  rows = table.rows
  if table.base_first:
    rows += (error_row(START, BASE, block=0), error_row(FINAL, BASE))
  values: dict[str, dict[int, float]] = {row.name: {} for row in rows}
  holes: dict[str, dict[int, str]] = {row.name: {} for row in rows}
  counts = dict.fromkeys(values, 0)
  for seed in seeds:
    for row in rows:
      try:
        values[row.name][seed] = row.read(found, seed)
        counts[row.name] = row.count(found, seed)
      except Hole as hole:
        holes[row.name][seed] = str(hole)
  return {name: Cell(values[name], holes[name], counts[name]) for name in values}


def verdicts(table: Table, cells: Mapping[str, Cell]) -> list[claims.Verdict]:
  """The verdicts of a table's claims.

  Args:
    table: the table.
    cells: of `measure`.

  Returns:
    One for each claim.
  """
  learned = claims.not_learned(cells.get(START), cells.get(FINAL))
  return [claims.judge(claim, cells, learned=learned) for claim in table.claims]


START, FINAL = 'base, start', 'base, final'


def error_row(
  name: str, variant: str, paper: float | None = None, block: int = -1, unit: str = ''
) -> Row:
  """A row with the error of a variant on the test faces.

  Args:
    name: of the row.
    variant: its name.
    paper: the number of the paper, percent; None = it gives none.
    block: after which; 0 = the start, -1 = the last one.
    unit: where it is not that of the table.

  Returns:
    The row.
  """
  return Row(
    name,
    lambda found, seed: found.error(variant, seed, block),
    paper,
    lambda found, seed: found.num_faces(variant, seed),
    unit,
  )


def worse_by(
  text: str, better: str, worse: str, paper: float | None = None, **more: Any
) -> Claim:
  """The claim that one row's number is above another's.

  Args:
    text: the claim.
    better: name of the row whose number is lower.
    worse: name of the other row.
    paper: the difference in the paper; None = it gives none.
    **more: further fields of the claim.

  Returns:
    The claim.
  """
  return Claim(
    text, (better, worse), lambda row: row[worse] - row[better], paper=paper, **more
  )


def rivals_of(
  head: tuple[str, ...], numbers: Mapping[str, float | tuple[float, ...]]
) -> tuple[tuple[str, ...], ...]:
  """What the paper prints of other methods.

  Args:
    head: names of the columns.
    numbers: method -> its numbers; that of the paper itself is left out.

  Returns:
    Rows of text, the head first.
  """
  rows = [head]
  for name, values in numbers.items():
    if name != published.METHOD:
      columns = values if isinstance(values, tuple) else (values,)
      rows.append((name, *(f'{value:.2f}' for value in columns)))
  return tuple(rows)
