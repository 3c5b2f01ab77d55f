"""The paper's claims as predicates over measured numbers, and their verdicts in words.

A claim says that some number is above zero, such as how much worse the variant without
a part is. Over the seeds it has a mean and a deviation, the spread. The claim holds if
the mean is above zero by more than the spread. It does not hold if the mean is below
zero by more. In between, or with fewer than two seeds, nothing can be said.
"""

from collections.abc import Callable, Mapping
import dataclasses
import statistics

HOLDS = 'holds within the spread'
FAILS = 'does not hold'
UNSAID = 'cannot be said'

# A network whose error is still above this share of the start has not learned its task.
_LEARNED = 0.5


@dataclasses.dataclass(frozen=True)
class Cell:
  """A number of a table.

  Attributes:
    values: seed -> number.
    holes: seed -> why there is none.
    num_faces: faces behind it; 0 = it is no error of faces.
  """

  values: Mapping[int, float] = dataclasses.field(default_factory=dict)
  holes: Mapping[int, str] = dataclasses.field(default_factory=dict)
  num_faces: int = 0

  @property
  def mean(self) -> float:
    """Over the seeds; there must be one."""
    return statistics.fmean(self.values.values())

  @property
  def spread(self) -> float | None:
    """The sample deviation over the seeds; None if there is one alone."""
    return deviation(self.values.values())

  @property
  def hole(self) -> str:
    """Why there is no number at all; '' if there is one."""
    if self.values:
      return ''
    return next(iter(self.holes.values()), 'it was not measured')


Cells = Mapping[str, Cell]


def deviation(values) -> float | None:
  """The sample deviation.

  Args:
    values: numbers.

  Returns:
    It; None for fewer than two.
  """
  values = list(values)
  return statistics.stdev(values) if len(values) > 1 else None


@dataclasses.dataclass(frozen=True)
class Claim:
  """One claim.

  Attributes:
    text: the claim, a clause.
    margin: the numbers of one seed by row -> what must be above zero.
    rows: the rows that it reads.
    unit: of the margin, for people.
    paper: the same margin from the paper's numbers; None = it gives none.
    only_if_not_contradicted: the claim is that there is no difference worth the
      trouble, such as "mask 2 is no better": it holds unless the margin is below zero
      by more than the spread.
  """

  text: str
  rows: tuple[str, ...]
  margin: Callable[[Mapping[str, float]], float]
  unit: str = 'points of NME'
  paper: float | None = None
  only_if_not_contradicted: bool = False


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What the numbers say of a claim.

  Attributes:
    claim: its text.
    verdict: `HOLDS`, `FAILS` or `UNSAID`.
    sentence: claim, verdict and evidence.
    margins: seed -> margin.
  """

  claim: str
  verdict: str
  sentence: str
  margins: Mapping[int, float]


def judge(claim: Claim, cells: Cells, *, learned: str = '') -> Verdict:
  """The verdict of a claim.

  Args:
    claim: the claim.
    cells: row -> numbers.
    learned: why the networks behind them are no evidence, of `not_learned`; '' if they
      are.

  Returns:
    The verdict.
  """
  missing = [row for row in claim.rows if row not in cells or cells[row].hole]
  if missing:
    row = missing[0]
    reason = cells[row].hole if row in cells else 'it was not measured'
    return _verdict(claim, UNSAID, f'there is no number for "{row}": {reason}', {})
  seeds = set.intersection(*(set(cells[row].values) for row in claim.rows))
  margins = {
    seed: claim.margin({row: cells[row].values[seed] for row in claim.rows})
    for seed in sorted(seeds)
  }
  if not margins:
    return _verdict(claim, UNSAID, 'no seed has all of its numbers', {})
  found = _words(claim, margins)
  if learned:
    return _verdict(claim, UNSAID, f'{learned}; {found}', margins)
  spread = deviation(margins.values())
  if spread is None:
    return _verdict(claim, UNSAID, f'one seed shows no spread; {found}', margins)
  mean = statistics.fmean(margins.values())
  if mean < -spread:
    return _verdict(claim, FAILS, found, margins)
  if claim.only_if_not_contradicted or mean > spread:
    return _verdict(claim, HOLDS, found, margins)
  return _verdict(claim, UNSAID, f'it lies within the spread: {found}', margins)


def not_learned(start: Cell | None, final: Cell | None) -> str:
  """Why a trained base is no evidence.

  Args:
    start: its error before the first block.
    final: its error after the last one.

  Returns:
    A phrase; '' if it has learned its task.
  """
  if start is None or final is None or start.hole or final.hole:
    return ''
  if final.mean <= _LEARNED * start.mean:
    return ''
  return (
    f'the networks have not learned their task: {final.mean:.2f} from '
    f'{start.mean:.2f} at the start'
  )


def _words(claim, margins):
  spread = deviation(margins.values())
  mean = statistics.fmean(margins.values())
  text = f'{mean:+.2f}' + ('' if spread is None else f' ± {spread:.2f}')
  text += f' {claim.unit} over {len(margins)} seed{"" if len(margins) == 1 else "s"}'
  return text if claim.paper is None else f'{text}, {claim.paper:+.2f} in the paper'


def _verdict(claim, verdict, evidence, margins):
  return Verdict(claim.text, verdict, f'{claim.text}: {verdict} ({evidence}).', margins)
