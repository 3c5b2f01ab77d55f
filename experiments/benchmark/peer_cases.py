"""The cases of --peers: other implementations of the layer, checked against ours."""

import functools

import jax
import numpy as np

from experiments.benchmark import inputs, peers
from experiments.benchmark.settings import Settings
from experiments.benchmark.timing import Case, compiled_over_faces
from pifa_jax.geometry import visualization
from pifa_jax.types import Array, FaceParams, MorphableModel

# The dense implementation needs memory for every pair of vertices, and of pixel and
# vertex.
_DENSE_IMAGE_SIZE = 57


def splats(
  settings: Settings, batch: int, projected: tuple[jax.Array, ...], ours: Case
) -> list[Case]:
  """Makes the cases after projection in all installed libraries.

  Args:
    settings: of the run.
    batch: B faces a call.
    projected: `inputs.splat_inputs` with a leading B.
    ours: the case that they are compared with.

  Returns:
    One case a library, with the largest difference to ours.
  """
  arrays = [np.array(x, bool if x.dtype == bool else np.float32) for x in projected]
  expected = np.asarray(ours.call())
  return [
    Case(
      'layer',
      f'after projection, {name}',
      batch,
      functools.partial(splat, *arrays),
      facts={'largest_difference': float(np.abs(splat(*arrays) - expected).max())},
    )
    for name, splat in peers.splats(
      settings.image_size, visualization.DEFAULT_SIGMA, settings.radius
    ).items()
  ]


def layers(
  settings: Settings,
  batch: int,
  model: MorphableModel,
  mask: Array,
  faces: FaceParams,
  ours: Case,
) -> list[Case]:
  """Makes the cases of the whole layer and its gradient in all installed libraries.

  Args:
    settings: of the run.
    batch: B faces a call.
    model: the 3DMM.
    mask: (Q,) a of Eq. (11).
    faces: P with a leading B.
    ours: the case of the forward layer that they are compared with.

  Returns:
    Two cases a library; the first has the median difference to ours.
  """
  cases = []
  cameras = np.array(faces.camera, np.float32)
  coefficients = np.concatenate([faces.identity, faces.expression], axis=1)
  coefficients = coefficients.astype(np.float32)
  expected = np.asarray(ours.call())
  for name, (forward, gradient) in peers.layers(
    model,
    np.asarray(mask),
    inputs.cotangent(settings.image_size, settings.seed, settings.dtype),
    settings.image_size,
    visualization.DEFAULT_SIGMA,
    settings.radius,
  ).items():
    difference = np.abs(forward(cameras, coefficients) - expected)
    cases += [
      Case(
        'layer',
        f'forward, {name}',
        batch,
        functools.partial(forward, cameras, coefficients),
        # The median: a vertex on a cell's edge may fall on either side of it.
        facts={'median_difference': float(np.median(difference))},
      ),
      Case(
        'layer',
        f'forward and gradient, {name}',
        batch,
        functools.partial(gradient, cameras, coefficients),
      ),
    ]
  return cases


def dense(settings: Settings) -> list[Case]:
  """Makes the cases of the dense reference implementation, at a size memory allows.

  Every pixel looks at every vertex there: memory is O(Q^2 + Q H^2).

  Args:
    settings: of the run.

  Returns:
    Our layer and the reference implementation, one face a device.
  """
  size = min(settings.image_size, _DENSE_IMAGE_SIZE)
  model, mask = inputs.layer_model(settings, settings.dense_vertices)
  batch = len(settings.devices)
  faces = inputs.posed_faces(model, batch, size, settings.seed)
  # Bound here: a closure would see the last function of the loop alone.
  of_face = lambda function: (
    lambda shared, face: function(
      shared[0], face, image_size=size, mask=shared[1], radius=settings.radius
    )
  )
  return [
    compiled_over_faces(
      'layer',
      f'{name}, {model.num_vertices} vertices, {size} px',
      batch,
      of_face(function),
      (model, mask),
      faces,
      devices=settings.devices,
    )
    for name, function in (
      ('forward', visualization.visualize),
      ('forward, dense', visualization.visualize_dense),
    )
  ]
