"""A graph of ONNX operations that is written like arithmetic."""

import dataclasses
from typing import Any

import numpy as np

from experiments.lib import cli

# The first whose scatters know a minimum. Files of it say so in their own version (IR).
OPSET, _IR_VERSION = 18, 8


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
  """A result of the graph; arithmetic and comparisons with it are nodes.

  The other operand is a value, a NumPy array, or a number, which becomes float32.

  Attributes:
    graph: that computes it.
    name: in the graph.
  """

  graph: 'Graph'
  name: str

  def __add__(self, other: Any) -> 'Value':
    return self.graph.node('Add', self, other)

  def __sub__(self, other: Any) -> 'Value':
    return self.graph.node('Sub', self, other)

  def __rsub__(self, other: Any) -> 'Value':
    return self.graph.node('Sub', other, self)

  def __mul__(self, other: Any) -> 'Value':
    return self.graph.node('Mul', self, other)

  def __truediv__(self, other: Any) -> 'Value':
    return self.graph.node('Div', self, other)

  def __neg__(self) -> 'Value':
    return self.graph.node('Neg', self)

  def __lt__(self, other: Any) -> 'Value':
    return self.graph.node('Less', self, other)

  def __gt__(self, other: Any) -> 'Value':
    return self.graph.node('Greater', self, other)

  def __ge__(self, other: Any) -> 'Value':
    return self.graph.node('GreaterOrEqual', self, other)

  def __and__(self, other: Any) -> 'Value':
    return self.graph.node('And', self, other)

  # A NumPy array on the left leaves the operation to this class.
  __array_ufunc__ = None


class Graph:
  """Operations in the order in which they are added, and their constants."""

  def __init__(self) -> None:
    """Starts an empty graph.

    Raises:
      UserError: if the package onnx is not installed.
    """
    self._onnx = _onnx()
    self._nodes: list[Any] = []
    self._inputs: list[Any] = []
    self._outputs: list[Any] = []
    self._constants: dict[tuple[str, tuple[int, ...], bytes], Any] = {}

  def input(self, name: str, dtype: Any, shape: tuple[int | str, ...]) -> Value:
    """Adds an argument of the function.

    Args:
      name: of the argument.
      dtype: a NumPy type.
      shape: of it; a name stands for any size.

    Returns:
      Its value.
    """
    self._inputs.append(self._described(name, dtype, shape))
    return Value(self, name)

  def output(
    self, name: str, value: Value, dtype: Any, shape: tuple[int | str, ...]
  ) -> None:
    """Adds a result of the function.

    Args:
      name: of the result.
      value: that is returned.
      dtype: its NumPy type.
      shape: of it; a name stands for any size.
    """
    make = self._onnx.helper.make_node
    self._nodes.append(make('Identity', [value.name], [name], f'output/{name}'))
    self._outputs.append(self._described(name, dtype, shape))

  def node(self, operation: str, *operands: Any, **attributes: Any) -> Value:
    """Adds an operation with one result.

    Args:
      operation: of ONNX.
      *operands: values, NumPy arrays, or numbers, which become float32.
      **attributes: of the operation.

    Returns:
      Its result.
    """
    return self.nodes(operation, 1, *operands, **attributes)[0]

  def nodes(
    self, operation: str, count: int, *operands: Any, **attributes: Any
  ) -> list[Value]:
    """Adds an operation with several results; see `node`.

    Args:
      operation: of ONNX.
      count: number of results.
      *operands: as for `node`.
      **attributes: of the operation.

    Returns:
      Its results.
    """
    name = f'{operation}{len(self._nodes)}'
    results = [name if count == 1 else f'{name}/{i}' for i in range(count)]
    operands = tuple(self.constant(x).name for x in operands)
    self._nodes.append(
      self._onnx.helper.make_node(operation, operands, results, name, **attributes)
    )
    return [Value(self, result) for result in results]

  def constant(self, value: Any) -> Value:
    """A constant; equal ones are stored once.

    Args:
      value: a NumPy array, or a number, which becomes float32. A value is returned as
        it is.

    Returns:
      Its value.
    """
    if isinstance(value, Value):
      return value
    if isinstance(value, int | float):
      value = np.float32(value)
    array = np.ascontiguousarray(value).reshape(np.shape(value))
    key = (array.dtype.str, array.shape, array.tobytes())
    if key not in self._constants:
      name = f'constant{len(self._constants)}'
      self._constants[key] = self._onnx.numpy_helper.from_array(array, name)
    return Value(self, self._constants[key].name)

  def where(self, condition: Value, value: Any, other: Any) -> Value:
    """`value` where the condition holds, else `other`.

    Args:
      condition: bool.
      value: a value, an array or a number.
      other: likewise.

    Returns:
      The choice.
    """
    return self.node('Where', condition, value, other)

  def concat(self, values: list[Value], axis: int) -> Value:
    """Joins values along an axis.

    Args:
      values: of one type.
      axis: that exists.

    Returns:
      All of them.
    """
    return values[0] if len(values) == 1 else self.node('Concat', *values, axis=axis)

  def total(self, value: Value, axis: int) -> Value:
    """The sum over an axis, which stays with size 1.

    Args:
      value: to add up.
      axis: over which.

    Returns:
      The sum.
    """
    return self.node('ReduceSum', value, np.array([axis]), keepdims=1)

  def model(self, name: str) -> Any:
    """The whole graph, checked by ONNX.

    Args:
      name: of the graph.

    Returns:
      An onnx.ModelProto.
    """
    helper = self._onnx.helper
    graph = helper.make_graph(
      self._nodes, name, self._inputs, self._outputs, list(self._constants.values())
    )
    model = helper.make_model(
      graph,
      opset_imports=[helper.make_opsetid('', OPSET)],
      ir_version=_IR_VERSION,
      producer_name=name,
    )
    self._onnx.checker.check_model(model, full_check=True)
    return model

  def _described(self, name, dtype, shape):
    helper = self._onnx.helper
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, element, shape)


def _onnx() -> Any:
  try:
    import onnx
    import onnx.numpy_helper
  except ImportError as error:
    raise cli.UserError(
      '--format=onnx needs the packages onnx and onnxruntime; install them with '
      'pip install pifa_jax[onnx].'
    ) from error
  return onnx
