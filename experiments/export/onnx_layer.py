"""The visualization layer in operations that ONNX has.

It computes what `pifa_jax.geometry.visualization` does, forward only. That one decides
the nearest vertex by integers made of the bits of a float, loops over faces on a CPU
and scatters under `vmap`: ONNX has none of these. Here two scatters of floats and of
indices decide, for all faces at once.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import boxes, morphable_model, projection, visualization
from pifa_jax.learning import network
from pifa_jax.types import Array, FaceParams, MorphableModel, unflatten_params


class OnnxNetwork(network.PifaNetwork):
  """`PifaNetwork` with the layer of this module; it takes the same variables.

  Attributes:
    first_visualization: a function that returns V of P^0, (crop_size, crop_size). It is
      the same for every crop, so it is a constant of the file.
  """

  first_visualization: Callable[[], np.ndarray] = lambda: np.zeros(())

  def _visualize(self, vector, geometry, small):
    if not small:
      return jnp.asarray(self.first_visualization())[None]
    cfg = self.config
    few = geometry.small_rendered is not None
    model, mask = (
      (geometry.small_rendered, geometry.small_mask)
      if few
      else (geometry.rendered, geometry.mask)
    )
    faces = unflatten_params(vector, model.num_identity)
    factor = cfg.feature_size / cfg.crop_size
    return visualize_faces(
      model,
      faces.replace(camera=boxes.scale_camera(faces.camera, factor)),
      image_size=cfg.feature_size,
      mask=mask,
      sigma=cfg.splat_sigma,
      radius=cfg.splat_radius,
    )


def onnx_network(
  net: network.PifaNetwork, geometry: network.NetworkGeometry
) -> OnnxNetwork:
  """The network in operations that ONNX has.

  Args:
    net: the network.
    geometry: for its config.

  Returns:
    A network that takes the variables and the geometry of `net`.
  """
  cfg = net.config
  first = jax.jit(
    lambda face: visualization.visualize(
      geometry.rendered,
      face,
      image_size=cfg.crop_size,
      mask=geometry.mask,
      sigma=cfg.splat_sigma,
      radius=cfg.splat_radius,
    )
  )(geometry.initial)
  return OnnxNetwork(cfg, net.num_params, first_visualization=lambda: np.asarray(first))


def visualize_faces(
  model: MorphableModel,
  faces: FaceParams,
  *,
  image_size: int,
  mask: Array,
  sigma: float,
  radius: int,
) -> jax.Array:
  """`visualization.visualize` for a batch.

  Eqs. (8)-(10), Fig. 5. All vertices of the model are rendered: pass a model that is
  restricted to those that shall be.

  Args:
    model: the 3DMM.
    faces: P with a leading B, in pixels of V.
    image_size: H = W of V, pixels.
    mask: (Q,) a of Eq. (11).
    sigma: of Eq. (10), pixels.
    radius: of the window, cells.

  Returns:
    (B, image_size, image_size) V, indexed [v, u].
  """
  u, v, depth = _planes(model, faces)
  sight = jax.vmap(projection.viewing_direction)(faces.camera)
  # Eq. (8); summed as the layer does it, so that the sign is the same.
  towards = -jax.vmap(morphable_model.along, (0, None))(
    sight[:, None], jnp.asarray(model.mean_normals)
  )[:, 0]
  cell = jax.vmap(lambda at, valid: visualization.cells(at, valid, image_size))(
    jnp.stack([u, v], axis=-1), projection.is_visible(towards)
  )
  winner = nearest(cell, depth, image_size * image_size)
  of_winner = lambda plane: jnp.take_along_axis(plane, jnp.maximum(winner, 0), axis=1)
  average = jax.vmap(
    lambda x, y, value, winner: visualization.window_average(
      x, y, value, winner, image_size, sigma, radius
    )
  )
  value = jax.nn.relu(towards) * jnp.asarray(mask)
  return average(of_winner(u), of_winner(v), of_winner(value), winner)


def _planes(model, faces):
  """u, v and depth of every vertex, (B, Q) each: Eqs. (1) and (3)."""
  product = lambda coeffs, basis: coeffs @ jnp.reshape(basis, (basis.shape[0], -1))
  vertices = (
    jnp.reshape(model.mean_shape, (-1,))
    + product(faces.identity, model.identity_basis)
    + product(faces.expression, model.expression_basis)
  ).reshape(-1, model.num_vertices, 3)
  axes = jax.vmap(projection.axes)(faces.camera)
  u, v, depth = jnp.moveaxis(jax.vmap(morphable_model.along)(axes, vertices), 1, 0)
  return u + faces.camera[:, 0, 3:], v + faces.camera[:, 1, 3:], depth


def nearest(cell: Array, depth: Array, num_cells: int) -> jax.Array:
  """`visualization.winners` for a batch: the nearest vertex of every cell.

  Fig. 5. First the smallest depth of a cell, then the lowest index of the vertices
  that have it. Both are exact: a minimum does not round.

  Args:
    cell: (B, Q) int32 of `visualization.cells`.
    depth: (B, Q) smaller is nearer.
    num_cells: C.

  Returns:
    (B, C) int32 vertex ids, -1 where the cell is empty.
  """
  batch, count = depth.shape
  depth = jnp.where(jnp.isnan(depth), jnp.inf, depth)
  row = jnp.broadcast_to(jnp.arange(batch, dtype=jnp.int32)[:, None], cell.shape)

  def minimum(start, values):
    # Cell C takes what is removed. One scatter for all faces, not one under `vmap`.
    empty = jnp.full((batch, num_cells + 1), start, values.dtype)
    return empty.at[row, cell].min(values, mode='promise_in_bounds')

  least = jnp.take_along_axis(minimum(jnp.inf, depth), cell, axis=1)
  index = jnp.where(depth == least, jnp.arange(count, dtype=jnp.int32), count)
  winner = minimum(count, index)[:, :num_cells]
  return jnp.where(winner < count, winner, -1)
