"""The function as an ONNX file, through jax2onnx."""

from collections.abc import Callable, Sequence
import logging
import os
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from experiments.export import face_function
from experiments.lib import cli

# The first with ScatterND's minimum was 18; 20 is what browsers' runtimes know well.
_OPSET = 20
# Pixels: sums in float32 in another order.
_TOLERANCE = 1e-3
# Primitives that hold another program, and the parameter that it is in.
_CALLS = {
  'jit': 'jaxpr',
  'custom_jvp_call': 'call_jaxpr',
  'custom_vjp_call': 'call_jaxpr',
}


def write(
  path: str | os.PathLike[str],
  function: Callable[[jax.Array], dict[str, jax.Array]],
  crop_size: int,
  batch_size: int = 0,
) -> None:
  """Writes an ONNX file.

  Args:
    path: the file.
    function: of `face_function`, of an `onnx_layer.OnnxNetwork`.
    crop_size: S, pixels.
    batch_size: B; 0 = any.

  Raises:
    UserError: if jax2onnx is not installed, or the file does not run in onnxruntime to
      the landmarks of JAX.
  """
  jax2onnx = _jax2onnx()
  crops = face_function.crops_of(crop_size, batch_size, 'B')
  in_order = lambda crops: [function(crops)[name] for name in face_function.OUTPUTS]
  traced = jax.make_jaxpr(in_order)(crops)
  jax2onnx.to_onnx(
    lambda crops: evaluate(traced.jaxpr, traced.consts, crops),
    inputs=[crops],
    model_name='pifa_jax',
    opset=_OPSET,
    input_names=['crops'],
    output_names=list(face_function.OUTPUTS),
    return_mode='file',
    output_path=os.fspath(path),
  )
  _check(path, function, crop_size, batch_size or 2)


def _check(path, function, crop_size, batch_size):
  """Refuses a file that onnxruntime does not run, or to other landmarks than JAX."""
  import onnxruntime

  size = (batch_size, crop_size, crop_size, 3)
  crops = np.random.default_rng(0).integers(0, 256, size, np.uint8)
  wanted = np.asarray(jax.jit(function)(crops)['landmarks'])
  advice = 'do not use the file; use --format=stablehlo.'
  try:
    session = onnxruntime.InferenceSession(os.fspath(path))
    found = session.run(['landmarks'], {'crops': crops})[0]
  except Exception as error:  # its errors have no common class
    reason = str(error).splitlines()[0]
    raise cli.UserError(
      f'{path} was written but onnxruntime does not run it ({reason}); {advice}'
    ) from error
  if found.shape != wanted.shape or not np.abs(found - wanted).max() <= _TOLERANCE:
    raise cli.UserError(
      f'{path} was written but gives other landmarks than JAX; {advice}'
    )


def _jax2onnx():
  # It logs a page for every module of its own that it cannot import, such as those for
  # image filters; an operation that it lacks ends the conversion with its name.
  logging.getLogger('jax2onnx').setLevel(logging.CRITICAL)
  try:
    import jax2onnx
  except ImportError as error:
    raise cli.UserError(
      f'--format=onnx needs jax2onnx, which cannot be imported ({error}); install it '
      'with pip install pifa_jax[onnx].'
    ) from error
  return jax2onnx


def evaluate(
  jaxpr: jex.Jaxpr, consts: Sequence[Any], *args: jax.Array
) -> list[jax.Array]:
  """The results of a traced function, in operations that jax2onnx knows.

  It exchanges functions of jax.numpy for its own while it traces, and these do not work
  under `vmap` with every version of JAX. So it gets what was traced before, with calls
  opened and a few operations replaced.

  Args:
    jaxpr: of `jax.make_jaxpr`.
    consts: its constants.
    *args: of the function.

  Returns:
    The results.
  """
  values = dict(zip(jaxpr.constvars, consts, strict=True))
  values.update(zip(jaxpr.invars, args, strict=True))
  for equation in jaxpr.eqns:
    inputs = [
      atom.val if isinstance(atom, jex.Literal) else values[atom]
      for atom in equation.invars
    ]
    found = _apply(equation, inputs)
    values.update(zip(equation.outvars, found, strict=True))
  return [
    atom.val if isinstance(atom, jex.Literal) else values[atom]
    for atom in jaxpr.outvars
  ]


def _apply(equation, inputs):
  """The results of one operation."""
  name, params = equation.primitive.name, equation.params
  if name == 'jit' and params['name'] == 'signbit':
    # In JAX it looks at the bit: -0 is positive here. It decides between half a turn
    # and minus half a turn, which is the same pose.
    return [inputs[0] < 0]
  if name in _CALLS:
    inner = params[_CALLS[name]]
    return evaluate(inner.jaxpr, inner.consts, *inputs)
  if name == 'stack':
    axis = params['axis']
    return [jnp.concatenate([jax.lax.expand_dims(x, [axis]) for x in inputs], axis)]
  if name == 'pad':
    array, value = inputs
    return [_padded(array, value, params['padding_config'])]
  found = equation.primitive.bind(*inputs, **params)
  return found if equation.primitive.multiple_results else [found]


def _padded(array, value, config):
  """`lax.pad` by concatenation: jax2onnx pads batches of a known size only."""
  for axis, (before, after, interior) in enumerate(config):
    if interior or before < 0 or after < 0:
      raise NotImplementedError(f'padding {config} has no conversion to ONNX')
    sides = []
    for width in (before, after):
      shape = (*array.shape[:axis], width, *array.shape[axis + 1 :])
      sides.append(jnp.broadcast_to(value, shape))
    pieces = [x for x in (sides[0], array, sides[1]) if x.shape[axis]]
    array = jnp.concatenate(pieces, axis) if len(pieces) > 1 else array
  return array
