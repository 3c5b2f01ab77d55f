"""The parts network, train, data and align: the paper's network end to end.

Every part is a generator of groups of cases; each takes the settings and the batch
sizes, in faces over all devices.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark import counts, inputs, peer_networks
from experiments.benchmark.settings import Settings
from experiments.benchmark.timing import Case, compiled
from pifa_jax.datasets import sampler
from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import projection
from pifa_jax.learning import batching, network, parallel, training
from pifa_jax.learning.network import NetworkGeometry, PifaNetwork
from pifa_jax.learning.optimizer import make_optimizer
from pifa_jax.types import MorphableModel


class _Network(NamedTuple):
  """A network with random weights, and what it needs to know of faces."""

  net: PifaNetwork
  geometry: NetworkGeometry
  landmark_model: MorphableModel
  variables: Any


def _make_network(settings, axis_name=None):
  model = load_face_model(settings.face_model)
  geometry = jax.device_put(network.network_geometry(model, settings.network))
  net = PifaNetwork(settings.network, model.num_params, axis_name=axis_name)
  return _Network(
    net,
    geometry,
    jax.device_put(projection.landmark_model(model, 'ibug68')),
    network.init_variables(net, geometry, settings.seed),
  )


def _ids(batch):
  """Numbers of the cached crops in a batch."""
  return np.arange(batch) % inputs.NUM_CROPS


def _num_bytes(tree):
  return sum(x.nbytes for x in jax.tree.leaves(tree))


def network_cases(
  settings: Settings, batch_sizes: Sequence[int]
) -> Iterator[list[Case]]:
  """Builds the part network: P from images.

  Args:
    settings: of the run.
    batch_sizes: one group each.

  Yields:
    One case, one for every block after which it stops early, and with one face those
    of other networks.
  """
  # First: a file that cannot be read is said before anything is compiled.
  peers = peer_networks.cases(settings.peer_networks)
  net, geometry, _, variables = _make_network(settings)
  for batch in batch_sizes:
    cases = [
      _forward_case(settings, net, variables, geometry, batch, name)
      for net, name in (
        (net, f'forward, {settings.preset}'),
        *(
          (net.clone(config=net.config.with_num_blocks(count)), f'until block {count}')
          for count in settings.exits
        ),
      )
    ]
    yield cases + (peers if batch == 1 else [])


def _forward_case(settings, net, variables, geometry, batch, name):
  size = net.config.crop_size
  # Of a network that stops early, its own blocks.
  shapes = jax.eval_shape(
    net.init, jax.random.key(0), jnp.zeros((1, size, size, 3)), geometry
  )
  variables = {
    kind: {block: variables[kind][block] for block in blocks}
    for kind, blocks in shapes.items()
  }
  return compiled(
    'network',
    name,
    batch,
    lambda variables, image, geometry: net.apply(variables, image, geometry)['params'],
    variables,
    jnp.zeros((batch, size, size, 3)),
    geometry,
    counts=counts.network(net.config, geometry.rendered, batch, _num_bytes(variables)),
  )


def train_cases(settings: Settings, batch_sizes: Sequence[int]) -> Iterator[list[Case]]:
  """Builds the part train: one training step, whose state is donated.

  Args:
    settings: of the run.
    batch_sizes: one group each.

  Yields:
    One case.
  """
  made = _make_network(settings, parallel.AXIS)
  data = inputs.cached_faces(made.landmark_model, settings.seed)
  for batch in batch_sizes:
    case, held = _train_case(settings, made, data, batch)
    yield [case]
    held.clear()  # frees the state before the next one is made


def _train_case(settings, made, data, batch):
  """The case, and the list that holds the training state."""
  optimizer = make_optimizer(settings.optimizer, settings.num_steps)
  devices = list(settings.devices)
  step = parallel.parallel(
    functools.partial(
      training.train_step,
      network=made.net,
      optimizer=optimizer,
      loss=settings.loss,
      augment=settings.augment,
      seed=settings.seed,
    ),
    devices,
  )
  ids = _ids(batch)
  rows = parallel.distribute(
    parallel.split_over((sampler.rows(data, ids), ids.astype(np.int32)), len(devices)),
    devices,
  )
  # A copy: the state is donated, the variables serve the next batch size.
  variables = jax.tree.map(jnp.copy, made.variables)
  state, *shared = parallel.replicate(
    (training.init_state(variables, optimizer), made.geometry, made.landmark_model),
    devices,
  )
  held = [state]

  def call():
    held[0], result = step(held[0], *rows, *shared)
    return result

  # pmap compiles at the first call.
  start = time.perf_counter()
  jax.block_until_ready(call())
  seconds = time.perf_counter() - start
  case = Case(
    'train',
    f'step, {settings.preset}',
    batch,
    call,
    counts.train_step(
      made.net.config,
      made.geometry.rendered,
      batch,
      _num_bytes(made.variables['params']),
    ),
    compile_seconds=seconds,
  )
  return case, held


def data_cases(settings: Settings, batch_sizes: Sequence[int]) -> Iterator[list[Case]]:
  """Builds the part data: cached crops to a batch on the device, boxes jittered.

  Args:
    settings: of the run.
    batch_sizes: one group each.

  Yields:
    One case.
  """
  model = load_face_model(settings.face_model)
  landmark_model = projection.landmark_model(model, 'ibug68')
  size = settings.network.crop_size
  data = inputs.cached_faces(landmark_model, settings.seed)
  make = jax.jit(
    lambda rows, keys: batching.make_batch(
      rows, size, landmark_model.num_identity, keys=keys, augment=settings.augment
    )
  )

  def to_batch(ids, keys):
    return make(sampler.rows(data, ids), keys)

  for batch in batch_sizes:
    ids = _ids(batch)
    keys = batching.sample_keys(settings.seed, jnp.asarray(0), ids)
    yield [
      Case(
        'data',
        'cached crops to batch',
        batch,
        functools.partial(to_batch, ids, keys),
        counts.make_batch(size, batch),
      )
    ]


def align_cases(settings: Settings, batch_sizes: Sequence[int]) -> Iterator[list[Case]]:
  """Builds the part align: cached crops to landmarks, visibility and P on the host.

  Args:
    settings: of the run.
    batch_sizes: one group each.

  Yields:
    One case.
  """
  net, geometry, landmark_model, variables = _make_network(settings)
  data = inputs.cached_faces(landmark_model, settings.seed)

  def evaluate(variables, rows, geometry, landmark_model):
    out = training.evaluate_rows(variables, rows, geometry, landmark_model, network=net)
    return out['landmarks'][-1], out['visible'], out['params']

  for batch in batch_sizes:
    case = compiled(
      'align',
      f'crop to landmarks, {settings.preset}',
      batch,
      evaluate,
      variables,
      sampler.rows(data, _ids(batch)),
      geometry,
      landmark_model,
    )
    yield [dataclasses.replace(case, call=functools.partial(_on_host, case.call))]


def _on_host(call):
  return jax.device_get(call())
