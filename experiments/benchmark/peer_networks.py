"""Networks of other projects, from their files, for `experiments.benchmark`.

What they say about a face is not looked at: the time of a call is all that is measured.
"""

from collections.abc import Callable
import functools
import os
from typing import Any

import numpy as np

from experiments.benchmark.timing import Case
from experiments.lib import cli


def cases(paths: tuple[str, ...]) -> list[Case]:
  """Makes one case of every file: a call with one face, of zeros.

  Both programs use as many threads as there are cores to run on.

  Args:
    paths: of .onnx files, for onnxruntime, and .tflite files, for LiteRT.

  Returns:
    The cases, of batch 1.

  Raises:
    UserError: if a file is of another kind, cannot be read, or its program is not
      installed.
  """
  return [
    Case('network', os.path.basename(path), 1, _network(path), facts={'file': path})
    for path in paths
  ]


def _network(path: str) -> Callable[[], Any]:
  kind = os.path.splitext(path)[1]
  loaders = {'.onnx': _onnx_network, '.tflite': _tflite_network}
  if kind not in loaders:
    raise cli.UserError(
      f'--peer_networks={path} ends in {kind!r}; use files that end in .onnx or '
      '.tflite.'
    )
  if not os.path.isfile(path):
    raise cli.UserError(f'--peer_networks={path}: there is no such file.')
  try:
    return loaders[kind](path)
  except ImportError as error:
    package = {'.onnx': 'onnxruntime', '.tflite': 'ai-edge-litert'}[kind]
    raise cli.UserError(
      f'--peer_networks={path} needs the package {package}: "pip install {package}".'
    ) from error
  except Exception as error:  # each program has errors of its own
    raise cli.UserError(
      f'--peer_networks={path} is not a network that can be read: '
      f'{str(error).splitlines()[0]}'
    ) from error


def _onnx_network(path):
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = _cores()
  session = onnxruntime.InferenceSession(path, options)
  feed = {
    value.name: np.zeros(
      # A size that has a name is the batch.
      [size if isinstance(size, int) else 1 for size in value.shape],
      {'tensor(float)': np.float32, 'tensor(uint8)': np.uint8}[value.type],
    )
    for value in session.get_inputs()
  }
  return functools.partial(session.run, None, feed)


def _tflite_network(path):
  from ai_edge_litert.interpreter import Interpreter

  network = Interpreter(path, num_threads=_cores())
  network.allocate_tensors()
  for value in network.get_input_details():
    network.set_tensor(value['index'], np.zeros(value['shape'], value['dtype']))

  def call():
    network.invoke()
    return [network.get_tensor(x['index']) for x in network.get_output_details()]

  return call


def _cores():
  affinity = getattr(os, 'sched_getaffinity', None)  # Linux alone has it
  return len(affinity(0)) if affinity else os.cpu_count() or 1
