"""Runs a graph in onnxruntime, for tests."""

from collections.abc import Callable, Mapping
import importlib.util

import numpy as np

from experiments.export.onnx_graph import Graph, Value

INSTALLED = all(importlib.util.find_spec(name) for name in ('onnx', 'onnxruntime'))


def run(
  build: Callable[[Graph, dict[str, Value]], dict[str, Value]],
  like: Mapping[str, np.ndarray],
  **inputs: np.ndarray,
) -> dict[str, np.ndarray]:
  """The results of a graph.

  Args:
    build: adds operations to a graph with these inputs; returns results by name.
    like: arrays of the types and shapes that the results have, by name.
    **inputs: arrays by name. The first axis of inputs and results is free.

  Returns:
    The results by name.
  """
  import onnxruntime

  graph = Graph()
  free = lambda x: (x.dtype, ('B', *x.shape[1:]))
  values = {name: graph.input(name, *free(x)) for name, x in inputs.items()}
  for name, value in build(graph, values).items():
    graph.output(name, value, *free(np.asarray(like[name])))
  content = graph.model('test').SerializeToString()
  found = onnxruntime.InferenceSession(content).run(list(like), inputs)
  return dict(zip(like, found, strict=True))
