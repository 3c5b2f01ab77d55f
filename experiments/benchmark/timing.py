"""How a case is measured: compiled apart, warmed up, timed in turns with ceilings."""

from collections.abc import Callable, Sequence
import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.counts import SCHEDULE_SAMPLES, Counts


@dataclasses.dataclass
class Case:
  """Something to time.

  Attributes:
    part: of the benchmark, such as 'layer'.
    name: of the case, as the table shows it.
    batch: faces a call.
    call: without arguments; returns arrays to wait for.
    counts: FLOPs and bytes of a call.
    compile_seconds: to trace and compile; None = nothing was compiled apart.
    temp_bytes: of the compiled program, beside arguments and results.
    facts: more keys and values for benchmark.json.
  """

  part: str
  name: str
  batch: int
  call: Callable[[], Any]
  counts: Counts = Counts()
  compile_seconds: float | None = None
  temp_bytes: int | None = None
  facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def compiled(
  part: str,
  name: str,
  batch: int,
  function: Callable[..., Any],
  *args: Any,
  counts: Counts = Counts(),
) -> Case:
  """Makes a case of function(*args), compiled here and not at its first call.

  Args:
    part: of the benchmark.
    name: of the case.
    batch: faces a call.
    function: what `jax.jit` takes.
    *args: its arguments, pytrees of arrays; the case keeps them.
    counts: FLOPs and bytes of a call.

  Returns:
    The case, with its compile time and the size of its temporaries.
  """
  start = time.perf_counter()
  program = jax.jit(function).lower(*args).compile()
  memory = program.memory_analysis()
  return Case(
    part,
    name,
    batch,
    lambda: program(*args),
    counts,
    compile_seconds=time.perf_counter() - start,
    temp_bytes=getattr(memory, 'temp_size_in_bytes', None),
  )


def compiled_over_faces(
  part: str,
  name: str,
  batch: int,
  function: Callable[[Any, Any], Any],
  shared: Any,
  faces: Any,
  *,
  devices: Sequence[jax.Device],
  counts: Counts = Counts(),
) -> Case:
  """Makes a case of a function of one face, mapped over faces and devices.

  Args:
    part: of the benchmark.
    name: of the case.
    batch: B faces a call, a multiple of the number of devices.
    function: (shared, one face) -> arrays.
    shared: a pytree that all faces use.
    faces: a pytree with a leading B.
    devices: those that share the faces.
    counts: FLOPs and bytes of a call.

  Returns:
    The case.
  """
  function = jax.vmap(function, in_axes=(None, 0))
  if len(devices) > 1:
    mesh = jax.sharding.Mesh(np.array(devices), ('faces',))
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
  return compiled(part, name, batch, function, shared, faces, counts=counts)


def ceilings(device: jax.Device, dtype: str) -> tuple[Case, Case]:
  """Makes the two cases that the others are compared with.

  Args:
    device: decides the size: small on a CPU, large on an accelerator.
    dtype: of their arrays.

  Returns:
    A product of two n x n matrices, 2 n^3 FLOPs, and a copy, x + 1 in place.
  """
  small = device.platform == 'cpu'
  n, length = (1024, 2**24) if small else (8192, 2**28)
  matrix = jnp.full((n, n), 1 / n, dtype)
  product = jax.jit(jnp.matmul)
  increment = jax.jit(lambda x: x + 1, donate_argnums=0)
  held = [jnp.zeros(length, dtype)]

  def copy():
    held[0] = increment(held[0])
    return held[0]

  return (
    Case(
      'ceiling', 'product', 1, lambda: product(matrix, matrix), Counts(flops=2 * n**3)
    ),
    Case('ceiling', 'copy', 1, copy, Counts(bytes=2 * held[0].nbytes)),
  )


def take_turns(cases: Sequence[Case], repeats: int) -> np.ndarray:
  """Times the cases in turns, after one call of each to warm up.

  Args:
    cases: what to time.
    repeats: timed calls of every case.

  Returns:
    (repeats, len(cases)) seconds.
  """
  for case in cases:
    jax.block_until_ready(case.call())
  seconds = np.empty((repeats, len(cases)))
  for turn in seconds:
    for i, case in enumerate(cases):
      start = time.perf_counter()
      jax.block_until_ready(case.call())
      turn[i] = time.perf_counter() - start
  return seconds


def measure(
  cases: Sequence[Case], ceilings: tuple[Case, Case], repeats: int
) -> list[dict[str, Any]]:
  """Times the cases in turns with the ceilings, after one call of each to warm up.

  Args:
    cases: what to time.
    ceilings: of `ceilings`.
    repeats: timed calls of every case.

  Returns:
    One row of benchmark.json a case.
  """
  seconds = take_turns([*ceilings, *cases], repeats)
  median = np.median(seconds[:, :2], axis=0)
  product = ceilings[0].counts.flops / median[0]
  copy = ceilings[1].counts.bytes / median[1]
  return [
    _row(case, times, product, copy)
    for case, times in zip(cases, seconds.T[len(ceilings) :], strict=True)
  ]


def _row(case, seconds, product, copy):
  """One row: times of a case, and its shares of product (FLOP/s) and copy (byte/s)."""
  median = np.median(seconds)
  row = {
    'part': case.part,
    'name': case.name,
    'batch': case.batch,
    'repeats': len(seconds),
    'median_ms': 1e3 * median,
    'min_ms': 1e3 * seconds.min(),
    'max_ms': 1e3 * seconds.max(),
    'ms_a_face': 1e3 * median / case.batch,
    'faces_a_second': case.batch / median,
    'gflop': case.counts.flops / 1e9,
    'gbyte': case.counts.bytes / 1e9,
    'product_gflop_a_second': product / 1e9,
    'copy_gbyte_a_second': copy / 1e9,
    'share_of_product': case.counts.flops / median / product or None,
    'share_of_copy': case.counts.bytes / median / copy or None,
    'compile_seconds': case.compile_seconds,
    'temp_bytes': case.temp_bytes,
    **case.facts,
  }
  if case.part == 'train':
    row['schedule_hours'] = SCHEDULE_SAMPLES / case.batch * median / 3600
  return {
    key: float(value) if isinstance(value, np.floating) else value
    for key, value in row.items()
  }
