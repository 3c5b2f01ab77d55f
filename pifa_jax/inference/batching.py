"""Many searches, each of a few calls of the network, in batches of few sizes.

A search is a generator: it yields lists of requests, gets the list of their outcomes
for each, and returns its result. Searches of different photos share batches.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
import dataclasses
from typing import Any

Search = Generator[list[Any], list[Any], Any]
# Waits for a batch and gives its outcomes.
Pending = Callable[[], list[Any]]

# Batches that are computed or wait for it: one is prepared while another is computed.
_IN_FLIGHT = 2


@dataclasses.dataclass(frozen=True)
class Group:
  """The searches of one photo.

  Attributes:
    searches: one a face.
    num_bytes: that are held until all of them have ended.
  """

  searches: Sequence[Search]
  num_bytes: int = 0


class _Open:
  """A group whose searches have not all ended."""

  def __init__(self, group: Group):
    self.num_bytes = group.num_bytes
    self.results: list[Any] = [None] * len(group.searches)
    self.waiting = len(group.searches)


class _Round:
  """The requests that one search has made, until the last outcome has come."""

  def __init__(self, owner: _Open, row: int, search: Search):
    self.owner, self.row, self.search = owner, row, search
    self.outcomes: list[Any] = []
    self.missing = 0

  def advance(self, outcomes: list[Any] | None) -> list[tuple['_Round', int, Any]]:
    """Goes on with the search; returns (self, place, request) of what it wants."""
    wanted: list[Any] = []
    while not wanted:
      try:
        wanted = next(self.search) if outcomes is None else self.search.send(outcomes)
      except StopIteration as end:
        self.owner.results[self.row] = end.value
        self.owner.waiting -= 1
        return []
      outcomes = []
    self.outcomes, self.missing = [None] * len(wanted), len(wanted)
    return [(self, place, request) for place, request in enumerate(wanted)]


def run(
  groups: Iterable[Group],
  submit: Callable[[list[Any]], Pending],
  *,
  batch_size: int,
  max_bytes: int,
) -> Iterator[list[Any]]:
  """Runs all searches, with requests of several groups in one batch.

  Args:
    groups: read only as far ahead as a batch needs.
    submit: begins to compute at most `batch_size` requests.
    batch_size: of a full batch.
    max_bytes: no further group is read while the open ones hold as much.

  Yields:
    The results of each group's searches, in the order of the groups.
  """
  source, at_end = iter(groups), False
  opened: deque[_Open] = deque()
  requests: deque[tuple[_Round, int, Any]] = deque()
  flying: deque[tuple[list[tuple[_Round, int, Any]], Pending]] = deque()
  while True:
    while (
      not at_end
      and len(requests) < batch_size
      and (not opened or sum(group.num_bytes for group in opened) < max_bytes)
    ):
      group = next(source, None)
      if group is None:
        at_end = True
        break
      owner = _Open(group)
      opened.append(owner)
      for row, search in enumerate(group.searches):
        requests.extend(_Round(owner, row, search).advance(None))
    if len(requests) >= batch_size and len(flying) < _IN_FLIGHT:
      batch = [requests.popleft() for _ in range(batch_size)]
      flying.append((batch, submit([request for _, _, request in batch])))
    elif flying:
      batch, pending = flying.popleft()
      for (round_, place, _), outcome in zip(batch, pending(), strict=True):
        round_.outcomes[place] = outcome
        round_.missing -= 1
        if not round_.missing:
          requests.extend(round_.advance(round_.outcomes))
    elif requests:
      batch = list(requests)
      requests.clear()
      flying.append((batch, submit([request for _, _, request in batch])))
    while opened and not opened[0].waiting:
      yield opened.popleft().results
    if at_end and not opened:
      return


def split(count: int, sizes: Sequence[int]) -> list[int]:
  """Sizes of the batches that hold some requests, so that few sizes are compiled.

  Args:
    count: of requests.
    sizes: that may be compiled, from the largest to 1.

  Returns:
    Batch sizes, largest first. A batch is padded if more than half of it is filled.
  """
  found = []
  for size in sizes:
    while count >= size or 2 * count > size:
      found.append(size)
      count -= min(size, count)
  return found
