"""Several devices: the one place of the project that knows `jax.pmap`."""

from typing import Any, Callable

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pifa_jax.learning.batching import CropRows
from pifa_jax.types import Array

AXIS = 'batch'


def parallel(
  step: Callable[..., Any], devices: list[jax.Device] | None = None
) -> Callable[..., Any]:
  """Runs a training step on several devices: the only `pmap` of the project.

  One logical state goes in and comes out (no replicas), donated; rows and sample
  ids carry a leading device axis, see `split_over`. What has none must lie on the
  devices as `replicate` puts it: anything else is copied at every call, and a
  state that comes in otherwise than it goes out compiles the step twice.

  Args:
    step: (state, rows, samples, geometry, landmark_model) -> (state, metrics),
      made with axis_name=AXIS.
    devices: default: all local ones.

  Returns:
    The mapped function.
  """
  return jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=(None, 0, 0, None, None),
    out_axes=(None, None),
    donate_argnums=(0,),
    devices=devices,
  )


def replicate(tree: Any, devices: list[jax.Device]) -> Any:
  """Puts one logical copy of a tree on several devices, whole on each.

  Args:
    tree: leaves of any shape. On one device that they lie on already they are
      not copied: donating the result uses the originals up.
    devices: those of `parallel`.

  Returns:
    The same tree, of JAX arrays.
  """
  return jax.device_put(tree, NamedSharding(Mesh(devices, (AXIS,)), PartitionSpec()))


def distribute(tree: Any, devices: list[jax.Device]) -> Any:
  """Puts every device's share of a batch on that device; returns at once.

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

  A program of its own, not a part of the step: the step is the same, bit for bit,
  as with rows that come from the host.

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


def sum_over_devices(tree: Any, axis_name: str | None) -> Any:
  """Sums every leaf over the devices.

  Args:
    tree: leaves of any shape, a share a device.
    axis_name: `AXIS` inside `parallel`; None = one device, nothing to sum.

  Returns:
    The same tree.
  """
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)
