"""The parts of the benchmark by name, in the order in which they are measured."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from experiments.benchmark import layer_parts, network_parts
from experiments.benchmark.settings import Settings
from experiments.benchmark.timing import Case

Part = Callable[[Settings, Sequence[int]], Iterator[list[Case]]]

PARTS: Mapping[str, Part] = {
  'projection': layer_parts.projection_cases,
  'layer': layer_parts.layer_cases,
  'linearity': layer_parts.linearity_cases,
  'network': network_parts.network_cases,
  'train': network_parts.train_cases,
  'data': network_parts.data_cases,
  'align': network_parts.align_cases,
}
