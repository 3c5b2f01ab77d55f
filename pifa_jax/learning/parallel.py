"""Several devices: the one place of the project that calls `jax.pmap`.

With several processes `jax.pmap` spans the devices of all of them, and every argument
and result is what lies on this process's own: `replicate`, `distribute`, `make_gather`
and the programs that use their results need no word about it.

JAX maintains `jax.pmap` but develops `jax.shard_map` instead. Only this file would
change with it:

  mesh, whole, share = Mesh(devices, (AXIS,)), PartitionSpec(), PartitionSpec(AXIS)
  jax.jit(
    jax.shard_map(
      step,
      mesh=mesh,
      in_specs=(whole, share, share, whole, whole),
      out_specs=(whole, whole),
      check_vma=False,
    ),
    donate_argnums=0,
  )

- Rows and sample ids keep their shape (B, ...), of which every device sees (B / D,
  ...): `split_over` and the device axis of `distribute` and `make_gather` go.
- The step stays: collectives over AXIS mean the same, batch normalisation included.
- `check_vma=False`, because the step sums gradients itself (`sum_over_devices`). With
  the check on, the gradient of a replicated input is summed by JAX already.

tests/learning/parallel_test.py holds that both give the same step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

from pifa_jax.learning.batching import CropRows
from pifa_jax.types import Array

AXIS = 'batch'


def parallel(
  step: Callable[..., Any], devices: list[jax.Device] | None = None
) -> Callable[..., Any]:
  """Runs a training step on several devices.

  One logical state goes in and comes out (no replicas). It is donated. Rows and
  sample ids have a leading device axis, see `split_over`. What has none must lie on
  the devices as `replicate` puts it. Anything else is copied at every call, and a
  state that lies elsewhere before a step than after it compiles the step twice.

  Args:
    step: (state, rows, samples, geometry, landmark_model) -> (state, metrics),
      made with axis_name=AXIS.
    devices: None = all. With several processes those of all of them, see
      `of_all_processes`; the leading axis of the arguments counts the own ones.

  Returns:
    The mapped function, with the arguments of `step`.
  """
  return jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=(None, 0, 0, None, None),
    out_axes=(None, None),
    donate_argnums=(0,),
    devices=devices,
  )


def of_all_processes(devices: list[jax.Device]) -> list[jax.Device]:
  """The devices of all processes that train together, of each as many as here.

  Args:
    devices: the first ones of this process.

  Returns:
    Process by process; `devices` itself if there is one process.
  """
  if jax.process_count() == 1:
    return devices
  return [
    device
    for index in range(jax.process_count())
    for device in jax.local_devices(index)[: len(devices)]
  ]


def count_devices(devices: list[jax.Device]) -> int:
  """Adds ones over devices, which connects those of several processes.

  Args:
    devices: of `of_all_processes`.

  Returns:
    How many took part.
  """
  here = sum(device.process_index == jax.process_index() for device in devices)
  count = jax.pmap(lambda one: jax.lax.psum(one, AXIS), AXIS, devices=devices)
  return int(count(np.ones(here, np.int32))[0])


def replicate(tree: Any, devices: list[jax.Device]) -> Any:
  """Puts one logical copy of a tree on several devices, whole on each.

  Args:
    tree: leaves of any shape. Leaves that lie on the only device already are not
      copied, so donating the result deletes them.
    devices: those of `parallel`.

  Returns:
    The same tree, of JAX arrays.
  """
  return jax.device_put(tree, NamedSharding(Mesh(devices, (AXIS,)), PartitionSpec()))


def distribute(tree: Any, devices: list[jax.Device]) -> Any:
  """Puts every device's share of a batch on that device, without waiting for it.

  Args:
    tree: leaves (D, B / D, ...) of `split_over`.
    devices: those of `parallel`.

  Returns:
    The same tree, of JAX arrays.
  """
  return jax.device_put(tree, _by_device(devices))


def _by_device(devices):
  return NamedSharding(Mesh(devices, (AXIS,)), PartitionSpec(AXIS))


def make_gather(
  dataset: CropRows, devices: list[jax.Device]
) -> Callable[[Array], CropRows]:
  """Keeps a whole data set on every device, and takes batches out of it there.

  It is a program of its own and not a part of the step. So the step computes the same
  bits as with rows that come from the host.

  Args:
    dataset: all M rows.
    devices: those of `parallel`.

  Returns:
    (D, B / D) sample ids -> rows with leading axes (D, B / D), each device's share
    on that device.
  """
  dataset = replicate(dataset, devices)
  take = jax.jit(
    lambda dataset, ids: jax.tree.map(lambda column: column[ids], dataset),
    out_shardings=_by_device(devices),
  )
  return lambda ids: take(dataset, ids)


def split_over(tree: Any, num_devices: int) -> Any:
  """Gives every leaf a leading device axis.

  Args:
    tree: leaves (B, ...).
    num_devices: D.

  Returns:
    Leaves (D, B / D, ...).

  Raises:
    ValueError: if B does not split evenly.
  """
  batch = jax.tree.leaves(tree)[0].shape[0]
  if batch % num_devices:
    raise ValueError(
      f'batch_size={batch} does not split over {num_devices} devices; use a '
      f'multiple of {num_devices}.'
    )
  return jax.tree.map(
    lambda x: x.reshape((num_devices, batch // num_devices) + x.shape[1:]), tree
  )


def place_share(values: Array, axis_name: str | None) -> Array:
  """Puts a device's share where it lies in the whole batch; zeros stand elsewhere.

  The sum over the devices is the whole, as `split_over` parted it. So what is summed
  anyway can bring it along, without a collective of its own.

  Args:
    values: (B / D, ...) numbers.
    axis_name: see `sum_over_devices`.

  Returns:
    (B, ...).
  """
  if axis_name is None:
    return values
  num_devices = jax.lax.axis_size(axis_name)
  whole = jnp.zeros((num_devices, *values.shape), values.dtype)
  whole = whole.at[jax.lax.axis_index(axis_name)].set(values)
  return whole.reshape(-1, *values.shape[1:])


def share_of_process(
  tree: Any, num_devices: int, num_processes: int = 1, index: int = 0
) -> Any:
  """What the devices of one process take of a batch.

  Args:
    tree: leaves (B, ...), the same in every process.
    num_devices: D of each process.
    num_processes: P; the devices are those of `of_all_processes`.
    index: of the process.

  Returns:
    Leaves (D, B / (P D), ...).

  Raises:
    ValueError: if B does not split evenly.
  """
  shares = split_over(tree, num_processes * num_devices)
  mine = slice(index * num_devices, (index + 1) * num_devices)
  return jax.tree.map(lambda x: x[mine], shares)


def sum_over_devices(tree: Any, axis_name: str | None) -> Any:
  """Sums every leaf over the devices.

  Args:
    tree: leaves of any shape, a share a device.
    axis_name: `AXIS` inside `parallel`; None = one device, nothing to sum.

  Returns:
    The same tree.
  """
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)
