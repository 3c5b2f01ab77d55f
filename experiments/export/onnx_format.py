"""The function of `face_function` as an ONNX file, operation by operation."""

from collections.abc import Callable
import dataclasses
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.export import (
  face_function,
  onnx_blocks,
  onnx_geometry,
  onnx_graph,
  onnx_layer,
)
from experiments.lib import cli
from pifa_jax.files.formats import write_atomically
from pifa_jax.geometry import projection, visualization
from pifa_jax.learning import network
from pifa_jax.types import MorphableModel, flatten_params

# Pixels. Sums are rounded in another order; where a vertex lies on the edge of a cell
# it may fall in another one, which few faces in a hundred show.
_USUAL, _WORST = 1e-3, 1.0


def write(
  path: str | os.PathLike[str],
  net: network.PifaNetwork,
  variables: dict[str, Any],
  geometry: network.NetworkGeometry,
  model: MorphableModel,
  scheme: str,
  batch_size: int = 0,
) -> None:
  """Writes an ONNX file that computes `face_function`, in float32.

  Args:
    path: the file.
    net: the network.
    variables: its {'params', 'batch_stats'}.
    geometry: of `network.network_geometry`, for its config.
    model: the 3DMM that it was trained with.
    scheme: a landmark scheme of the model.
    batch_size: B; 0 = any.

  Raises:
    UserError: if onnx or onnxruntime is not installed, or the file does not run in
      onnxruntime to the landmarks of JAX.
    ValueError: if the model has no such scheme.
  """
  _onnxruntime()
  net = net.clone(config=dataclasses.replace(net.config, precision='float32'))
  content = build(net.config, variables, geometry, model, scheme, batch_size)
  write_atomically(path, content.SerializeToString())
  function = face_function.face_function(net, variables, geometry, model, scheme)
  check(path, function, net.config.crop_size, batch_size or 8)


def build(
  config: network.NetworkConfig,
  variables: dict[str, Any],
  geometry: network.NetworkGeometry,
  model: MorphableModel,
  scheme: str,
  batch_size: int = 0,
) -> Any:
  """The graph: crops in, the results of `face_function.OUTPUTS` out, in their order.

  Args:
    config: the network's.
    variables: its {'params', 'batch_stats'}.
    geometry: of `network.network_geometry`, for the config.
    model: the 3DMM that it was trained with.
    scheme: a landmark scheme of the model.
    batch_size: B; 0 = any.

  Returns:
    An onnx.ModelProto.

  Raises:
    UserError: if onnx is not installed.
    ValueError: if the model has no such scheme.
  """
  graph = onnx_graph.Graph()
  size, b = config.crop_size, batch_size or 'B'
  crops = graph.input('crops', np.uint8, (b, size, size, 3))
  batch = graph.node('Shape', crops, start=0, end=1)
  image = graph.node('Transpose', graph.node('Cast', crops, to=1), perm=[0, 3, 1, 2])
  vector = _fitted(graph, config, variables, geometry, image / 127.5 - 1.0, batch)

  part = projection.landmark_model(model, scheme)
  view = onnx_geometry.view(graph, part, vector)
  planes = [graph.node('Unsqueeze', x, np.array([2])) for x in (view.u, view.v)]
  results = {
    'landmarks': graph.concat(planes, axis=2),
    'visible': view.towards > 0,
    'frontability': graph.node('Relu', view.towards),
    'params': vector,
  }
  angles = onnx_geometry.pose_degrees(graph, vector, model.num_params)
  for name, angle in zip(('yaw', 'pitch', 'roll'), angles, strict=True):
    results[f'{name}_degrees'] = angle
  n = part.num_vertices
  shapes = {
    'landmarks': (b, n, 2),
    'visible': (b, n),
    'frontability': (b, n),
    'params': (b, model.num_params),
  }
  for name in face_function.OUTPUTS:
    dtype = np.bool_ if name == 'visible' else np.float32
    graph.output(name, results[name], dtype, shapes.get(name, (b,)))
  return graph.model('pifa_jax')


def _fitted(graph, config, variables, geometry, image, batch):
  """`PifaNetwork`: P after the last block."""
  pool = [config.stem_pool] * 2
  small_image = graph.node('AveragePool', image, kernel_shape=pool, strides=pool)
  vector = graph.constant(np.asarray(flatten_params(geometry.initial))[None])
  features = None
  for index in range(config.num_blocks):
    seen = image
    if index:
      seen = small_image if 'I' in config.inputs else None
      features = features if 'F' in config.inputs else None
    v = None
    if config.visualization:
      v = (
        _later_visualization(graph, config, geometry, vector, batch)
        if index
        else _first_visualization(graph, config, geometry, batch)
      )
    features, update = onnx_blocks.block(
      graph, config, variables, index, seen, features, v
    )
    vector = vector + update * np.asarray(geometry.scales)[None]
  return vector


def _first_visualization(graph, config, geometry, batch):
  """V of P^0, which is the same for every crop: a constant."""
  v = jax.jit(
    lambda face: visualization.visualize(
      geometry.rendered,
      face,
      image_size=config.crop_size,
      mask=jnp.asarray(geometry.mask),
      sigma=config.splat_sigma,
      radius=config.splat_radius,
    )
  )(geometry.initial)
  ones = graph.constant(np.array([1, 1, 1]))
  shape = graph.concat([batch, ones], axis=0)
  return graph.node('Expand', np.asarray(v)[None, None], shape)


def _later_visualization(graph, config, geometry, vector, batch):
  """V of P at the size of the features."""
  model, mask = geometry.small_rendered, geometry.small_mask
  if model is None:
    model, mask = geometry.rendered, geometry.mask
  return onnx_layer.visualize(
    graph,
    model,
    mask,
    vector,
    batch,
    image_size=config.feature_size,
    factor=config.feature_size / config.crop_size,
    sigma=config.splat_sigma,
    radius=config.splat_radius,
  )


def _onnxruntime():
  try:
    import onnxruntime
  except ImportError as error:
    raise cli.UserError(
      '--format=onnx needs the packages onnx and onnxruntime; install them with '
      'pip install pifa_jax[onnx].'
    ) from error
  return onnxruntime


def check(
  path: str | os.PathLike[str],
  function: Callable[[jax.Array], dict[str, jax.Array]],
  crop_size: int,
  batch_size: int,
) -> None:
  """Refuses a file that onnxruntime does not run, or to other landmarks than JAX.

  Args:
    path: the file.
    function: of `face_function`.
    crop_size: S, pixels.
    batch_size: B.

  Raises:
    UserError: if it is refused, or onnxruntime is not installed.
  """
  onnxruntime = _onnxruntime()
  size = (batch_size, crop_size, crop_size, 3)
  crops = np.random.default_rng(0).integers(0, 256, size, np.uint8)
  with jax.default_matmul_precision('highest'):  # accelerators round to less
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
  if found.shape == wanted.shape:
    faces = np.abs(found - wanted).max(axis=(1, 2))
    if np.median(faces) <= _USUAL and faces.max() <= _WORST:
      return
  raise cli.UserError(
    f'{path} was written but gives other landmarks than JAX; {advice}'
  )
