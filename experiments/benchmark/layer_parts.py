"""The parts projection, layer and linearity: Eqs. (1)-(3) and (8)-(10) alone.

Every part is a generator of groups of cases; the cases of a group take turns. Each
takes the settings and the batch sizes, in faces over all devices.
"""

from collections.abc import Callable, Iterator, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmark import counts, inputs, peer_cases
from experiments.benchmark.settings import Settings
from experiments.benchmark.timing import Case, compiled_over_faces
from pifa_jax.geometry import morphable_model, projection, visualization


def projection_cases(
  settings: Settings, batch_sizes: Sequence[int]
) -> Iterator[list[Case]]:
  """Builds the part projection: Eqs. (1)-(3) for all vertices, in three forms.

  They are the shape alone, the shape and its projection, and positions and depth as
  the layer takes them, where the vertices themselves are not written.

  Args:
    settings: of the run.
    batch_sizes: one group each.

  Yields:
    Three cases.
  """
  model, _ = inputs.layer_model(settings, settings.num_vertices)
  forms = (
    ('shape', morphable_model.shape, counts.shape),
    (
      'shape and projection',
      lambda model, face: projection.project(
        face.camera, morphable_model.shape(model, face)
      ),
      counts.shape_and_projection,
    ),
    (
      'u, v and depth, vertices not written',
      lambda model, face: morphable_model.shape_along(
        model, face, projection.axes(face.camera)
      ),
      counts.shape_along_axes,
    ),
  )
  for batch in batch_sizes:
    faces = inputs.posed_faces(model, batch, settings.image_size, settings.seed)
    yield [
      compiled_over_faces(
        'projection',
        name,
        batch,
        function,
        model,
        faces,
        devices=settings.devices,
        counts=count(model, batch),
      )
      for name, function, count in forms
    ]


def layer_cases(settings: Settings, batch_sizes: Sequence[int]) -> Iterator[list[Case]]:
  """Builds the part layer: the visualization layer after projection, and whole.

  Args:
    settings: of the run; with `peers`, other implementations follow ours.
    batch_sizes: one group each; with `peers` two, and one more in the end.

  Yields:
    Cases.
  """
  model, mask = inputs.layer_model(settings, settings.num_vertices)
  case = functools.partial(compiled_over_faces, 'layer', devices=settings.devices)
  visualize, weigh = _layer_functions(settings, settings.image_size)
  splat = functools.partial(
    visualization.splat, image_size=settings.image_size, radius=settings.radius
  )
  for batch in batch_sizes:
    faces = inputs.posed_faces(model, batch, settings.image_size, settings.seed)
    projected = jax.jit(jax.vmap(inputs.splat_inputs, in_axes=(None, None, 0)))(
      model, mask, faces
    )
    count = functools.partial(
      counts.layer, model, batch, settings.image_size, settings.radius
    )
    splat_case = case(
      'after projection',
      batch,
      lambda _, face: splat(*face),
      0,
      projected,
      counts=count(products=0),
    )
    forward = case(
      'forward', batch, visualize, (model, mask), faces, counts=count(products=1)
    )
    gradient = case(
      'forward and gradient',
      batch,
      jax.value_and_grad(weigh, argnums=1),
      (model, mask),
      faces,
      counts=count(products=2),
    )
    if not settings.peers:
      yield [splat_case, forward, gradient]
      continue
    yield [splat_case, *peer_cases.splats(settings, batch, projected, splat_case)]
    yield [
      forward,
      gradient,
      *peer_cases.layers(settings, batch, model, mask, faces, forward),
    ]
  if settings.peers:
    yield peer_cases.dense(settings)


def _layer_functions(
  settings: Settings, size: int
) -> tuple[Callable[[Any, Any], jax.Array], Callable[[Any, Any], jax.Array]]:
  """((model, mask), face) -> V, and -> the scalar that is differentiated."""
  cotangent = inputs.cotangent(size, settings.seed, settings.dtype)

  def visualize(shared, face):
    model, mask = shared
    return visualization.visualize(
      model, face, image_size=size, mask=mask, radius=settings.radius
    )

  return visualize, lambda shared, face: jnp.sum(cotangent * visualize(shared, face))


def linearity_cases(
  settings: Settings, batch_sizes: Sequence[int]
) -> Iterator[list[Case]]:
  """Builds the part linearity: Q, the batch and the pixels doubled, one at a time.

  Args:
    settings: of the run; num_vertices=0 counts as 10,000.
    batch_sizes: the last one is doubled.

  Yields:
    One group of forward and gradient: as it is, then with each of the three doubled.
  """
  vertices = settings.num_vertices or 10000
  batch, size = batch_sizes[-1], settings.image_size
  cases = []
  for grows, num_vertices, faces_a_call, side in (
    ('nothing', vertices, batch, size),
    ('vertices', 2 * vertices, batch, size),
    ('batch', vertices, 2 * batch, size),
    ('pixels', vertices, batch, round(size * 2**0.5)),
  ):
    model, mask = inputs.layer_model(settings, num_vertices)
    _, weigh = _layer_functions(settings, side)
    case = compiled_over_faces(
      'linearity',
      f'{num_vertices} vertices, {side} px',
      faces_a_call,
      jax.value_and_grad(weigh, argnums=1),
      (model, mask),
      inputs.posed_faces(model, faces_a_call, side, settings.seed),
      devices=settings.devices,
    )
    case.facts = {'grows': grows}
    cases.append(case)
  yield cases
