"""Measures the layer, the network and the training step; beside other libraries.

  python -m experiments.benchmark
  python -m experiments.benchmark --parts=layer --peers --batch_sizes=1,8
  python -m experiments.benchmark --flagfile=benchmark_gpu.flags

Writes <workdir>/benchmark.json and prints the same as a table. Every case is compiled
apart, called once to warm up, and then timed until its result is there; the cases of a
part take turns, with a large matrix product and a large copy among them, so that the
shares of these two ceilings hold whatever else the machine does. FLOPs and bytes are
counted by the formulas in this file, not read from a profile.
"""

import dataclasses
import functools
import json
import os
import resource
import sys
import time
import types
from typing import Any, Callable

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark import peers
from experiments.lib import (
  cli,
  data_loading,  # noqa: F401 its flags
  figures,
)
from experiments.lib import config as config_lib
from pifa_jax.datasets import crop_cache, sampler
from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import boxes, masks, morphable_model, projection, visualization
from pifa_jax.learning import batching, network, parallel, training
from pifa_jax.learning import optimizer as optimizer_lib
from pifa_jax.types import FaceParams, MorphableModel, flatten_params

PARTS = ('projection', 'layer', 'linearity', 'network', 'train', 'data', 'align')

flags.DEFINE_list('parts', list(PARTS), f'What to measure, of {", ".join(PARTS)}.')
flags.DEFINE_list(
  'batch_sizes',
  ['1', '8', '32'],
  'Faces at once, over all devices, of every part but train.',
)
flags.DEFINE_list('train_batch_sizes', ['32'], 'Faces a training step.')
flags.DEFINE_integer(
  'num_vertices',
  53215,
  'Q of the parts projection, layer and linearity: builtin-2 '
  'made denser or thinned; 0 = what --face_model draws, as it is.',
  lower_bound=0,
)
flags.DEFINE_integer('image_size', 114, 'Side of the drawing, pixels.', lower_bound=1)
flags.DEFINE_integer('radius', 2, 'Of the window D(u, v), cells.', lower_bound=0)
flags.DEFINE_enum(
  'dtype',
  'float32',
  ['float32', 'float64'],
  'Of the face model and the ceilings; the network is float32.',
)
flags.DEFINE_integer('repeats', 20, 'Timed calls of every case.', lower_bound=1)
flags.DEFINE_boolean(
  'peers',
  False,
  'Beside it, the same layer in NumPy, and in '
  'PyTorch and numba if they are installed, and the dense twin.',
)
flags.DEFINE_integer(
  'dense_vertices',
  1000,
  'Q of the dense twin (--peers), whose memory is O(Q^2).',
  lower_bound=1,
)

# The paper's schedule: 33 epochs of 3,901 faces with 20 boxes each (Sec. 4).
_SCHEDULE_SAMPLES = 33 * 78020
_CROPS = 256  # cached faces that the parts data and train draw from


@dataclasses.dataclass
class Case:
  """Something to time.

  Attributes:
    part: of PARTS.
    name: of the case.
    batch: faces a call.
    call: without arguments; returns arrays to wait for.
    flops: a call, counted by hand; 0 = not counted.
    bytes: read and written at least once a call, counted by hand; 0 = not counted.
    compile_seconds: to trace and compile.
    temp_bytes: of the compiled program, beside arguments and results.
    facts: more for benchmark.json.
  """

  part: str
  name: str
  batch: int
  call: Callable[[], Any]
  flops: float = 0.0
  bytes: float = 0.0
  compile_seconds: float | None = None
  temp_bytes: int | None = None
  facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def main(run: cli.Run) -> int:
  """Measures; returns the exit code."""
  f = flags.FLAGS
  unknown = [part for part in f.parts if part not in PARTS]
  if unknown:
    raise cli.UserError(
      f'--parts={",".join(unknown)} is not a part; use {", ".join(PARTS)}.'
    )
  config_lib.split_cpu()
  devices = jax.local_devices()
  if f.num_devices > len(devices):
    raise cli.UserError(f'--num_devices={f.num_devices} but there are {len(devices)}.')
  devices = devices[: f.num_devices or None]
  batch_sizes, train_batch_sizes = (
    _batch_sizes(name, len(devices)) for name in ('batch_sizes', 'train_batch_sizes')
  )
  folder = run.make_folder(f.workdir)
  device = f'{len(devices)} x {devices[0].device_kind}'
  run.open(folder, seed=f.seed, device=device)
  with open(os.path.join(folder, 'run.json')) as file:
    record = json.load(file)
  path = os.path.join(folder, 'benchmark.json')
  rows, started = [], time.monotonic()
  with jax.enable_x64(f.dtype == 'float64'):
    bench = _Bench(devices, f)
    for part in PARTS:
      if part in f.parts:
        sizes = train_batch_sizes if part == 'train' else batch_sizes
        for cases in getattr(bench, part)(sizes):
          rows += _measure(cases, bench.ceilings, f.repeats)
          print(
            f'{time.monotonic() - started:6.0f} s  {part}: '
            + ', '.join(
              f'{row["name"]} {row["median_ms"]:.2f} ms' for row in rows[-len(cases) :]
            ),
            file=sys.stderr,
            flush=True,
          )
          result = {
            'device': device,
            'platform': devices[0].platform,
            'num_devices': len(devices),
            'versions': record['versions'],
            'commit': record['commit'],
            'flags': record['flags'],
            'peak_memory': _peak_memory(devices[0]),
            'rows': rows,
          }
          # After every group: what was measured outlives what runs out of memory.
          with open(path, 'w') as file:
            json.dump(result, file, indent=1)
            file.write('\n')
  if 'linearity' in f.parts and not _plot(rows, os.path.join(folder, 'linearity.png')):
    print('matplotlib is not installed: no linearity.png.', file=sys.stderr)
  print(
    f'{device}, jax {record["versions"]["jax"]}, commit {record["commit"]}, '
    f'{f.dtype}, {f.repeats} calls a case, peak memory '
    + ', '.join(
      f'{name} {size / 2**30:.2f} GiB' for name, size in result['peak_memory'].items()
    )
  )
  print(table(rows))
  for row in rows:
    if 'schedule_hours' in row:
      print(
        f"{row['name']}, batch {row['batch']}: the paper's {_SCHEDULE_SAMPLES:,} "
        f'samples would take {row["schedule_hours"]:.2f} hours (from '
        f'{row["repeats"]} steps).'
      )
  print(f'Written: {path}')
  return cli.EXIT_OK


def _batch_sizes(flag, num_devices):
  sizes = []
  for text in flags.FLAGS[flag].value:
    if not text.isdigit() or int(text) < 1 or int(text) % num_devices:
      raise cli.UserError(
        f'--{flag}={text} is not a number of faces for {num_devices} devices; use '
        f'multiples of {num_devices}, such as {num_devices},{8 * num_devices}.'
      )
    sizes.append(int(text))
  return sizes


def _measure(cases, ceilings, repeats):
  """Times the cases in turns, ceilings among them; one record a case."""
  everything = [*ceilings, *cases]
  for case in everything:
    jax.block_until_ready(case.call())
  seconds = np.empty((repeats, len(everything)))
  for turn in seconds:
    for i, case in enumerate(everything):
      start = time.perf_counter()
      jax.block_until_ready(case.call())
      turn[i] = time.perf_counter() - start
  median = np.median(seconds, axis=0)
  product = ceilings[0].flops / median[0]
  copy = ceilings[1].bytes / median[1]
  rows = []
  for i, case in enumerate(cases, len(ceilings)):
    row = {
      'part': case.part,
      'name': case.name,
      'batch': case.batch,
      'repeats': repeats,
      'median_ms': 1e3 * median[i],
      'min_ms': 1e3 * seconds[:, i].min(),
      'max_ms': 1e3 * seconds[:, i].max(),
      'ms_a_face': 1e3 * median[i] / case.batch,
      'faces_a_second': case.batch / median[i],
      'gflop': case.flops / 1e9,
      'gbyte': case.bytes / 1e9,
      'product_gflop_a_second': product / 1e9,
      'copy_gbyte_a_second': copy / 1e9,
      'share_of_product': case.flops / median[i] / product or None,
      'share_of_copy': case.bytes / median[i] / copy or None,
      'compile_seconds': case.compile_seconds,
      'temp_bytes': case.temp_bytes,
      **case.facts,
    }
    if case.part == 'train':
      row['schedule_hours'] = _SCHEDULE_SAMPLES / case.batch * median[i] / 3600
    rows.append(
      {
        key: float(value) if isinstance(value, np.floating) else value
        for key, value in row.items()
      }
    )
  return rows


def table(rows: list[dict[str, Any]]) -> str:
  """The records of benchmark.json as text.

  Args:
    rows: of `benchmark.json`.

  Returns:
    One line a row, under a line of headings; '-' where there is no number.
  """
  columns = (
    ('part', lambda r: r['part']),
    ('case', lambda r: r['name']),
    ('batch', lambda r: str(r['batch'])),
    ('median ms', lambda r: f'{r["median_ms"]:.2f}'),
    ('min', lambda r: f'{r["min_ms"]:.2f}'),
    ('max', lambda r: f'{r["max_ms"]:.2f}'),
    ('ms/face', lambda r: f'{r["ms_a_face"]:.3f}'),
    ('faces/s', lambda r: f'{r["faces_a_second"]:.1f}'),
    ('GFLOP', lambda r: f'{r["gflop"]:.2f}' if r['gflop'] else '-'),
    ('GB', lambda r: f'{r["gbyte"]:.3f}' if r['gbyte'] else '-'),
    ('% product', lambda r: _percent(r['share_of_product'])),
    ('% copy', lambda r: _percent(r['share_of_copy'])),
    (
      'compile s',
      lambda r: '-' if r['compile_seconds'] is None else f'{r["compile_seconds"]:.1f}',
    ),
    (
      'temp MB',
      lambda r: '-' if r['temp_bytes'] is None else f'{r["temp_bytes"] / 1e6:.1f}',
    ),
  )
  lines = [[name for name, _ in columns]]
  lines += [[text(row) for _, text in columns] for row in rows]
  widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
  # Words to the left, numbers to the right.
  return '\n'.join(
    '  '.join(
      cell.ljust(width) if i < 2 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(line, widths))
    )
    for line in lines
  )


def _percent(share):
  return '-' if share is None else f'{100 * share:.0f}'


def _peak_memory(device):
  """Of this process, and of the device where it keeps count."""
  # Linux counts in KiB, macOS in bytes.
  unit = 1 if sys.platform == 'darwin' else 1024
  peak = {'process': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
  stats = device.memory_stats() or {}
  if 'peak_bytes_in_use' in stats:
    peak['device'] = stats['peak_bytes_in_use']
  return peak


class _Bench:
  """Makes the cases: one method a part, each a generator of groups of cases."""

  def __init__(self, devices, f):
    self._devices, self._f = devices, f
    # What --preset, --num_blocks, --optimizer_preset and the like ask for.
    self._config = config_lib.from_flags(
      dataset='',
      landmark_scheme='ibug68',
      face_model=f.face_model,
      face_model_hash='',
      data_hash='',
      rotation_translation_ratio=1.0,
    )
    self.ceilings = self._make_ceilings()

  def _make_ceilings(self):
    """A product of two n x n matrices, 2 n^3 FLOPs, and x + 1 in place."""
    small = self._devices[0].platform == 'cpu'
    n, length = (1024, 2**24) if small else (8192, 2**28)
    matrix = jnp.full((n, n), 1 / n, self._f.dtype)
    product = jax.jit(jnp.matmul)
    increment = jax.jit(lambda x: x + 1, donate_argnums=0)
    held = [jnp.zeros(length, self._f.dtype)]

    def copy():
      held[0] = increment(held[0])
      return held[0]

    return [
      Case('ceiling', 'product', 1, lambda: product(matrix, matrix), flops=2 * n**3),
      Case('ceiling', 'copy', 1, copy, bytes=2 * held[0].nbytes),
    ]

  def _case(self, part, name, batch, function, shared, faces, **counts):
    """Compiles function(shared, faces) over the devices."""
    function = jax.vmap(function, in_axes=(None, 0))
    if len(self._devices) > 1:
      mesh = jax.sharding.Mesh(np.array(self._devices), ('faces',))
      spec = jax.sharding.PartitionSpec
      function = jax.shard_map(
        function,
        mesh=mesh,
        in_specs=(spec(), spec('faces')),
        out_specs=spec('faces'),
        check_vma=False,
      )
      shared, faces = (
        jax.device_put(tree, jax.sharding.NamedSharding(mesh, axes))
        for tree, axes in ((shared, spec()), (faces, spec('faces')))
      )
    return self._compiled(part, name, batch, function, shared, faces, **counts)

  def _compiled(self, part, name, batch, function, *args, **counts):
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    memory = compiled.memory_analysis()
    return Case(
      part,
      name,
      batch,
      lambda: compiled(*args),
      compile_seconds=time.perf_counter() - start,
      temp_bytes=getattr(memory, 'temp_size_in_bytes', None),
      **counts,
    )

  def _rendered(self, num_vertices):
    """The face model of the layer, and its mask."""
    f = self._f
    model = (
      dense_model(num_vertices)
      if num_vertices
      else rendered_part(load_face_model(f.face_model))
    )
    if jax.default_backend() == 'cpu':  # as the network's geometry
      model = morphable_model.tile(model)
    as_dtype = lambda x: (
      jnp.asarray(x, f.dtype)
      if np.issubdtype(np.asarray(x).dtype, np.floating)
      else jnp.asarray(x)
    )
    model = jax.tree.map(as_dtype, model)
    return model, jnp.asarray(masks.vertex_mask(model, 'nose'), f.dtype)

  def projection(self, batch_sizes):
    """Eqs. (1)-(3) for all vertices; then as a drawing takes them.

    FLOPs: 2 K 3Q a face for the shape, 12 Q for the camera, 18 Q with the depth.
    Bytes: the basis and the mean once a batch, 2 Q or 3 Q numbers a face.
    """
    model, _ = self._rendered(self._f.num_vertices)
    for batch in batch_sizes:
      faces = posed_faces(model, batch, self._f.image_size, self._f.seed)
      size = _shape_size(model)
      yield [
        self._case(
          'projection',
          'shape',
          batch,
          morphable_model.shape,
          model,
          faces,
          flops=batch * size.flops,
          bytes=size.basis_bytes + batch * size.vertex_bytes,
        ),
        self._case(
          'projection',
          'shape and projection',
          batch,
          lambda model, face: projection.project(
            face.camera, morphable_model.shape(model, face)
          ),
          model,
          faces,
          flops=batch * (size.flops + 12 * model.num_vertices),
          bytes=size.basis_bytes + batch * size.vertex_bytes * 2 / 3,
        ),
        self._case(
          'projection',
          'u, v and depth, vertices not written',
          batch,
          lambda model, face: morphable_model.shape_along(
            model, face, projection.axes(face.camera)
          ),
          model,
          faces,
          flops=batch * (size.flops + 18 * model.num_vertices),
          bytes=size.basis_bytes + batch * size.vertex_bytes,
        ),
      ]

  def layer(self, batch_sizes):
    """The visualization layer, after projection and whole.

    FLOPs: 2 K 3Q of the shape product forward and as many backward; of the rest 30 a
    vertex and (14, backward 40) a pixel and cell of the window. Bytes: the basis once
    a product, vertices and their keys written and read once, the drawing written.
    """
    f = self._f
    model, mask = self._rendered(f.num_vertices)
    draw, weigh = self._draw_functions(f.image_size)
    for batch in batch_sizes:
      faces = posed_faces(model, batch, f.image_size, f.seed)
      splat_inputs = jax.jit(jax.vmap(_splat_inputs, in_axes=(None, None, 0)))(
        model, mask, faces
      )
      counts = functools.partial(_layer_counts, model, batch, f.image_size, f.radius)
      splat_case = self._case(
        'layer',
        'after projection',
        batch,
        lambda _, face: visualization.splat(
          *face, image_size=f.image_size, radius=f.radius
        ),
        0,
        splat_inputs,
        **counts(products=0),
      )
      whole = [
        self._case(
          'layer', 'forward', batch, draw, (model, mask), faces, **counts(products=1)
        ),
        self._case(
          'layer',
          'forward and gradient',
          batch,
          jax.value_and_grad(weigh, argnums=1),
          (model, mask),
          faces,
          **counts(products=2),
        ),
      ]
      if not f.peers:
        yield [splat_case, *whole]
        continue
      yield [splat_case, *self._splat_peers(batch, splat_inputs, splat_case)]
      yield [*whole, *self._layer_peers(batch, model, mask, faces, whole[0])]
    if f.peers:
      yield from self._dense_peer()

  def _draw_functions(self, size):
    upstream = self._upstream(size)

    def draw(shared, face):
      model, mask = shared
      return visualization.visualize(
        model, face, image_size=size, mask=mask, radius=self._f.radius
      )

    return draw, lambda shared, face: jnp.sum(upstream * draw(shared, face))

  def _upstream(self, size):
    return (
      np.random.default_rng(self._f.seed)
      .normal(size=(size, size))
      .astype(self._f.dtype)
    )

  def _splat_peers(self, batch, inputs, ours):
    """The same numbers in other libraries, checked against ours."""
    f, cases = self._f, []
    arrays = [np.array(x, bool if x.dtype == bool else np.float32) for x in inputs]
    expected = np.asarray(ours.call())
    for name, splat in peers.splats(
      f.image_size, visualization.DEFAULT_SIGMA, f.radius
    ).items():
      cases.append(
        Case(
          'layer',
          f'after projection, {name}',
          batch,
          functools.partial(splat, *arrays),
          facts={'largest_difference': float(np.abs(splat(*arrays) - expected).max())},
        )
      )
    return cases

  def _layer_peers(self, batch, model, mask, faces, ours):
    f, cases = self._f, []
    cameras = np.array(faces.camera, np.float32)
    coeffs = np.concatenate([faces.identity, faces.expression], axis=1).astype(
      np.float32
    )
    expected = np.asarray(ours.call())
    for name, (forward, gradient) in peers.layers(
      model,
      mask,
      self._upstream(f.image_size),
      f.image_size,
      visualization.DEFAULT_SIGMA,
      f.radius,
    ).items():
      # The median: a vertex on a cell's edge may fall on either side of it.
      facts = {
        'median_difference': float(
          np.median(np.abs(forward(cameras, coeffs) - expected))
        )
      }
      cases += [
        Case(
          'layer',
          f'forward, {name}',
          batch,
          functools.partial(forward, cameras, coeffs),
          facts=facts,
        ),
        Case(
          'layer',
          f'forward and gradient, {name}',
          batch,
          functools.partial(gradient, cameras, coeffs),
        ),
      ]
    return cases

  def _dense_peer(self):
    """Every pixel looks at every vertex, at a size that memory allows."""
    size = min(self._f.image_size, 57)
    model, mask = self._rendered(self._f.dense_vertices)
    faces = posed_faces(model, len(self._devices), size, self._f.seed)
    draw = lambda function: (
      lambda shared, face: function(
        shared[0], face, image_size=size, mask=shared[1], radius=self._f.radius
      )
    )
    yield [
      self._case(
        'layer',
        f'{name}, {model.num_vertices} vertices, {size} px',
        len(self._devices),
        draw(function),
        (model, mask),
        faces,
      )
      for name, function in (
        ('forward', visualization.visualize),
        ('forward, dense', visualization.visualize_dense),
      )
    ]

  def linearity(self, batch_sizes):
    """Forward and gradient with Q, the batch and the pixels doubled, one at a time."""
    f = self._f
    base = (f.num_vertices or 10000, batch_sizes[-1], f.image_size)

    def case(num_vertices, batch, size):
      model, mask = self._rendered(num_vertices)
      _, weigh = self._draw_functions(size)
      return self._case(
        'linearity',
        f'{num_vertices} vertices, {size} px',
        batch,
        jax.value_and_grad(weigh, argnums=1),
        (model, mask),
        posed_faces(model, batch, size, f.seed),
      )

    cases = [case(*base)]
    cases[0].facts = {'grows': 'nothing'}
    for name, size in (
      ('vertices', (2 * base[0], base[1], base[2])),
      ('batch', (base[0], 2 * base[1], base[2])),
      ('pixels', (base[0], base[1], round(base[2] * 2**0.5))),
    ):
      cases.append(case(*size))
      cases[-1].facts = {'grows': name}
    yield cases

  def _network(self, axis_name=None):
    f = self._f
    model = load_face_model(f.face_model)
    config = self._config.network
    geometry = jax.device_put(network.network_geometry(model, config))
    net = network.PifaNetwork(config, model.num_params, axis_name=axis_name)
    landmark_model = jax.device_put(projection.landmark_model(model, 'ibug68'))
    variables = network.init_variables(net, geometry, f.seed)
    return net, geometry, landmark_model, variables

  def network(self, batch_sizes):
    """P from images: `network_flops` a face, the weights read once a batch."""
    net, geometry, _, variables = self._network()
    size = net.config.crop_size
    weights = sum(x.nbytes for x in jax.tree.leaves(variables))
    for batch in batch_sizes:
      image = jnp.zeros((batch, size, size, 3))
      yield [
        self._compiled(
          'network',
          f'forward, {self._f.preset}',
          batch,
          lambda variables, image, geometry: net.apply(variables, image, geometry)[
            'params'
          ],
          variables,
          image,
          geometry,
          flops=batch * network_flops(net.config, geometry.rendered),
          bytes=weights,
        )
      ]

  def train(self, batch_sizes):
    """One training step, donated state: three times the network's FLOPs.

    Bytes: weights read forward and backward, gradients written and read, weights and
    momentum read and written.
    """
    f = self._f
    net, geometry, landmark_model, variables = self._network(parallel.AXIS)
    optimizer = optimizer_lib.make_optimizer(self._config.optimizer, f.num_steps)
    weights = sum(x.nbytes for x in jax.tree.leaves(variables['params']))
    data = cached_faces(landmark_model, f.seed)
    for batch in batch_sizes:
      step = parallel.parallel(
        functools.partial(
          training.train_step,
          network=net,
          optimizer=optimizer,
          loss=self._config.loss,
          augment=self._config.augment,
          seed=f.seed,
        ),
        self._devices,
      )
      ids = np.arange(batch) % _CROPS
      inputs = parallel.distribute(
        parallel.split_over(
          (sampler.rows(data, ids), ids.astype(np.int32)), len(self._devices)
        ),
        self._devices,
      )
      # A copy: the state is donated, the variables serve the next batch size.
      state, *shared = parallel.replicate(
        (
          training.init_state(jax.tree.map(jnp.copy, variables), optimizer),
          geometry,
          landmark_model,
        ),
        self._devices,
      )
      held = [state]

      def call(step=step, held=held, inputs=inputs, shared=shared):
        held[0], result = step(held[0], *inputs, *shared)
        return result

      start = time.perf_counter()
      jax.block_until_ready(call())
      seconds = time.perf_counter() - start
      yield [
        Case(
          'train',
          f'step, {f.preset}',
          batch,
          call,
          flops=3 * batch * network_flops(net.config, geometry.rendered),
          bytes=8 * weights,
          compile_seconds=seconds,
        )
      ]
      held.clear()

  def data(self, batch_sizes):
    """cached crops to a batch on the device, boxes jittered.

    Bytes: the cached crops read and copied, the batch's images written.
    """
    f = self._f
    landmark_model = projection.landmark_model(load_face_model(f.face_model), 'ibug68')
    size = self._config.network.crop_size
    data = cached_faces(landmark_model, f.seed)
    make = jax.jit(
      lambda rows, keys: batching.make_batch(
        rows, size, landmark_model.num_identity, keys=keys, augment=self._config.augment
      )
    )
    for batch in batch_sizes:
      ids = np.arange(batch) % _CROPS
      keys = batching.sample_keys(f.seed, 0, ids)
      yield [
        Case(
          'data',
          'cached crops to batch',
          batch,
          lambda ids=ids, keys=keys: make(sampler.rows(data, ids), keys),
          bytes=batch * (2 * crop_cache.IMAGE_SIZE**2 * 3 + 4 * size**2 * 3),
        )
      ]

  def align(self, batch_sizes):
    """End to end: cached crops to P to landmarks and visibility on the host."""
    f = self._f
    net, geometry, landmark_model, variables = self._network()
    data = cached_faces(landmark_model, f.seed)

    def evaluate(variables, rows, geometry, landmark_model):
      out = training.evaluate_rows(
        variables, rows, geometry, landmark_model, network=net
      )
      return out['landmarks'][-1], out['visible'], out['params']

    for batch in batch_sizes:
      rows = sampler.rows(data, np.arange(batch) % _CROPS)
      case = self._compiled(
        'align',
        f'crop to landmarks, {f.preset}',
        batch,
        evaluate,
        variables,
        rows,
        geometry,
        landmark_model,
      )
      case.call = lambda call=case.call: jax.device_get(call())
      yield [case]


def rendered_part(model: MorphableModel) -> MorphableModel:
  """The vertices of a model that are drawn, as the network keeps them.

  Args:
    model: the 3DMM.

  Returns:
    The model on its region 'rendered', without that region.
  """
  part = morphable_model.restrict(model, np.asarray(masks.rendered_vertices(model)))
  return part.replace(regions={})


@functools.cache
def _finest():
  return rendered_part(load_face_model('builtin-2'))


def dense_model(num_vertices: int) -> MorphableModel:
  """A face model of any number of vertices, all of them drawn.

  builtin-2's drawn vertices, thinned evenly; or with as many points within its
  triangles as are missing, which is where a finer mesh would have them.

  Args:
    num_vertices: Q.

  Returns:
    The model; it has no triangles.
  """
  model = _finest()
  eyes = model.landmark_schemes['ibug68']
  have = model.num_vertices
  if num_vertices <= have:
    # The 68 landmarks stay: masks and P^0 are made from them.
    ids = np.linspace(0, have - 1, max(num_vertices - 68, 1)).astype(int)
    ids = np.unique(np.concatenate([ids, eyes, [model.nose_tip]]))
    return morphable_model.restrict(model, ids).replace(
      triangles=np.zeros((0, 3), np.int32)
    )
  rng = np.random.default_rng(0)
  triangles = np.asarray(model.triangles)
  at = triangles[rng.permutation(np.arange(num_vertices - have) % len(triangles))]
  weights = rng.dirichlet(np.ones(3), len(at)).astype(np.float32)

  def grown(array):
    inner = sum(array[..., at[:, i], :] * weights[:, i : i + 1] for i in range(3))
    return np.concatenate([array, inner], axis=-2)

  normals = grown(np.asarray(model.mean_normals))
  return model.replace(
    mean_shape=grown(np.asarray(model.mean_shape)),
    identity_basis=grown(np.asarray(model.identity_basis)),
    expression_basis=grown(np.asarray(model.expression_basis)),
    mean_normals=normals / np.linalg.norm(normals, axis=1, keepdims=True),
    triangles=np.zeros((0, 3), np.int32),
  )


def posed_faces(
  model: MorphableModel, batch: int, image_size: int, seed: int
) -> FaceParams:
  """Faces from profile to profile that fill the drawing, with random shapes.

  Args:
    model: the 3DMM.
    batch: B.
    image_size: pixels.
    seed: of shapes, pitch and roll.

  Returns:
    FaceParams with a leading B.
  """
  rng = np.random.default_rng(seed)
  start = boxes.initial_params(model, image_size)
  yaw = np.deg2rad(np.linspace(-80, 80, batch) if batch > 1 else np.array([25.0]))
  pitch, roll = np.deg2rad(rng.normal(size=(2, batch)) * 8)
  rotations = jax.vmap(projection.rotation_from_euler)(yaw, pitch, roll)
  cameras = jax.vmap(projection.camera_from_pose, in_axes=(0, None, None))(
    rotations, start.camera[0, 0], start.camera[:, 3]
  )
  dtype = model.mean_shape.dtype
  draw = lambda stddev: jnp.asarray(
    rng.normal(size=(batch, len(stddev))) * 0.6 * np.asarray(stddev), dtype
  )
  return FaceParams(
    camera=cameras.astype(dtype),
    identity=draw(model.identity_stddev),
    expression=draw(model.expression_stddev),
  )


def cached_faces(landmark_model: MorphableModel, seed: int) -> types.SimpleNamespace:
  """What `feed.rows` reads of a crop cache: noise with P^0's landmarks.

  Args:
    landmark_model: `projection.landmark_model` of the scheme.
    seed: of the noise.

  Returns:
    The arrays of `crop_cache.CropCache` that training reads.
  """
  side = crop_cache.IMAGE_SIZE
  face = boxes.initial_params(landmark_model, round(side / crop_cache.MARGIN))
  points = np.asarray(projection.project(face.camera, landmark_model.mean_shape))
  edge = side * (1 - 1 / crop_cache.MARGIN) / 2
  repeat = lambda row: np.repeat(np.asarray(row)[None], _CROPS, axis=0)
  camera = face.camera.at[:, 3].add(edge)
  return types.SimpleNamespace(
    images=np.random.default_rng(seed).integers(
      0, 256, (_CROPS, side, side, 3), np.uint8
    ),
    landmarks=repeat(points + edge).astype(np.float32),
    visible=np.ones((_CROPS, len(points)), bool),
    params=repeat(flatten_params(face.replace(camera=camera))).astype(np.float32),
    boxes=repeat([edge - 0.5, edge - 0.5, side - 2 * edge, side - 2 * edge]).astype(
      np.float32
    ),
  )


def network_flops(config: network.NetworkConfig, rendered: MorphableModel) -> int:
  """FLOPs of one face through the network: two a multiply-add.

  Convolutions 2 h w k^2 c_in c_out, fully connected layers 2 n_in n_out, and one
  shape product 2 K 3Q a drawing.

  Args:
    config: of the network.
    drawn: the face model that it draws.

  Returns:
    FLOPs.
  """
  flops, features = 0, 0
  for block in range(config.num_blocks):
    side = config.crop_size if block == 0 else config.feature_size
    channels = int(config.visualization)
    channels += 3 * ('I' in config.inputs or block == 0)
    channels += features * ('F' in config.inputs and block > 0)
    for conv in range(
      block * config.convs_per_block, (block + 1) * config.convs_per_block
    ):
      features = config.channels[conv]
      flops += 2 * side**2 * config.kernels[conv] ** 2 * channels * features
      channels, side = features, config.feature_size
    flat = (config.feature_size // config.fc_pool) ** 2 * features
    flops += 2 * config.hidden_size * (flat + rendered.num_params)
    flops += _shape_size(rendered).flops * config.visualization
  return flops


@dataclasses.dataclass(frozen=True)
class _Size:
  flops: int
  basis_bytes: int
  vertex_bytes: int


def _shape_size(model):
  """What one face's shape costs: FLOPs of the product, bytes of basis and result."""
  count = model.num_identity + model.num_expression
  item = np.dtype(model.mean_shape.dtype).itemsize
  return _Size(
    flops=6 * count * model.num_vertices,
    basis_bytes=3 * (count + 1) * model.num_vertices * item,
    vertex_bytes=3 * model.num_vertices * item,
  )


def _layer_counts(model, batch, image_size, radius, *, products):
  size = _shape_size(model)
  windows = image_size**2 * (2 * radius + 1) ** 2
  # A 4-byte cell and an 8-byte key of every vertex.
  keys = 2 * 12 * model.num_vertices
  return {
    'flops': batch
    * (
      products * size.flops
      + 30 * model.num_vertices
      + windows * (54 if products == 2 else 14)
    ),
    'bytes': products * size.basis_bytes
    + batch * (2 * size.vertex_bytes * max(products, 1) + keys + 4 * image_size**2),
  }


def _splat_inputs(model, mask, face):
  """What `visualization.splat` takes, of all vertices."""
  vertices = morphable_model.shape(model, face)
  front = projection.frontability(face.camera, model.mean_normals)
  return (
    projection.project(face.camera, vertices),
    projection.depth(face.camera, vertices),
    front * mask,
    front > 0,
  )


def _plot(rows, path):
  """Time against size, both relative; returns whether there was a library to draw."""
  figure = figures.figure(5, 4)
  if figure is None:
    return False
  axes = figure.subplots()
  base, *grown = [row for row in rows if 'grows' in row]
  for row in grown:
    axes.plot(
      [1, 2], [1, row['median_ms'] / base['median_ms']], 'o-', label=row['grows']
    )
  axes.plot([1, 2], [1, 2], 'k:', label='linear')
  axes.set(xlabel='size, times', ylabel='forward and gradient, times')
  axes.legend()
  figure.savefig(path, dpi=120)
  return True


if __name__ == '__main__':
  cli.start(main)
