"""Eqs. (1)-(2): the 3D shape from its coefficients, and vertex normals."""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.types import Array, FaceParams, MorphableModel

# Vertices a tile of the shape product on a CPU, and the smallest batch for which
# tiles are faster than one product (BUILD_NOTES.md D-40).
_TILE = 768
_TILED_FROM = 4


def shape(model: MorphableModel, face_params: FaceParams) -> jax.Array:
  """The 3D face of a set of coefficients.

  Eq. (1): S_p = S_0 + sum_k p^I_k S^I_k + sum_k p^E_k S^E_k. The sums are matrix
  products of the coefficients with the bases laid out (K, 3Q), forward and
  backward, and `vmap` turns them into one product for the whole batch
  (BUILD_NOTES.md D-40). First derivatives in reverse mode only: others raise.

  Args:
    model: the 3DMM.
    face_params: P of one face; the camera is not used.

  Returns:
    (Q, 3) vertices in model units (x right, y up, z towards the viewer).

  Raises:
    ValueError: while tracing, if the number of coefficients is not the model's.
  """
  _check_coefficients('identity', face_params.identity, model.num_identity)
  _check_coefficients('expression', face_params.expression,
                      model.num_expression)
  tiles = None if model.tiles is None else jnp.asarray(model.tiles)
  return _linear(*map(jnp.asarray, (
      face_params.identity, face_params.expression, model.mean_shape,
      model.identity_basis, model.expression_basis)), tiles)


def tile(model: MorphableModel) -> MorphableModel:
  """Adds a copy of the bases in which the shapes of a batch are computed faster.

  Tile by tile of vertices, both bases side by side, each tile in one piece of
  memory: a CPU reads it straight into the product (BUILD_NOTES.md D-40). It takes
  the memory of the bases once more. For models that stay as they are: `replace`
  drops the copy, but nothing sees a basis that is changed leaf by leaf.

  Args:
    model: the 3DMM. If it has too few vertices for two tiles it comes back as it is.

  Returns:
    The model with `tiles`, NumPy (T, N_I + N_E, 3 * vertices of a tile).
  """
  if model.num_vertices < 2 * _TILE:
    return model
  bases = [np.asarray(model.identity_basis), np.asarray(model.expression_basis)]
  starts = [int(_tile_start(i, model.num_vertices))
            for i in range(_num_tiles(model.num_vertices))]
  return model.replace(tiles=np.stack([
      np.concatenate([b[:, start:start + _TILE].reshape(len(b), -1) for b in bases])
      for start in starts]))


@jax.custom_vjp
def _linear(identity, expression, mean_shape, identity_basis, expression_basis,
            tiles):
  """Eq. (1) on arrays."""
  return _sums(identity, expression, mean_shape, identity_basis,
               expression_basis, tiles)


def _linear_fwd(*inputs):
  values = [None if x is None else x.value for x in inputs]
  # The gradient of a basis is as large as the basis: only if somebody asks.
  coeffs = [x.value if basis.perturbed else None
            for x, basis in zip(inputs[:2], inputs[3:5])]
  return _sums(*values), (coeffs, values[3:5], values[5])


def _linear_bwd(saved, bar):
  """The adjoint.

  The basis stands first in the products: JAX's own transpose puts it second,
  which a CPU runs up to ten times slower (BUILD_NOTES.md D-40). The barrier keeps
  XLA from swapping the two again to save the transpose of a small matrix.
  """
  coeffs, bases, tiles = saved
  products = [jax.lax.optimization_barrier(
      basis.reshape(basis.shape[0], -1) @ bar.reshape(-1)) for basis in bases]
  return (*products, bar,
          *(None if c is None else c[:, None, None] * bar for c in coeffs),
          # A copy: what depends on it is already in the gradient of the bases.
          None if tiles is None else jnp.zeros_like(tiles))


_linear.defvjp(_linear_fwd, _linear_bwd, symbolic_zeros=True)


@jax.custom_batching.custom_vmap
def _sums(identity, expression, mean_shape, identity_basis, expression_basis,
          unused_tiles):
  product = lambda coeffs, basis: coeffs @ basis.reshape(basis.shape[0], -1)
  flat = (mean_shape.reshape(-1) + product(identity, identity_basis)
          + product(expression, expression_basis))
  return flat.reshape(-1, 3)


@_sums.def_vmap
def _sums_of_a_batch(axis_size, in_batched, identity, expression, *model):
  del axis_size
  whole = lambda *inputs: jax.vmap(
      _sums.fun, in_axes=[0 if b is True else None for b in in_batched])(*inputs)
  # Without tiles its flag is None.
  if any(in_batched[2:]) or not all(in_batched[:2]):
    return whole(identity, expression, *model), True
  if identity.shape[0] < _TILED_FROM or model[0].shape[0] < 2 * _TILE:
    return whole(identity, expression, *model), True
  return jax.lax.platform_dependent(
      identity, expression, *model, cpu=_tiled_sums, default=whole), True


def _tiled_sums(identity, expression, mean_shape, identity_basis,
                expression_basis, tiles):
  """Eq. (1) for a batch, a tile of vertices after the other.

  One product a tile, whose operands and result lie in the CPU's cache: the
  identity and the expression sum are never written apart, and the result once.
  """
  batch, num_vertices = identity.shape[0], mean_shape.shape[0]
  coeffs = jnp.concatenate([identity, expression], axis=1)

  def cut(array, start):
    return jax.lax.dynamic_slice_in_dim(array, start, _TILE, axis=-2)

  def basis_of(index, start):
    if tiles is not None:
      return tiles[index]
    return jnp.concatenate(
        [cut(basis, start).reshape(basis.shape[0], -1)
         for basis in (identity_basis, expression_basis)])

  def add_tile(index, out):
    start = _tile_start(index, num_vertices)
    part = cut(mean_shape, start).reshape(-1) + coeffs @ basis_of(index, start)
    return jax.lax.dynamic_update_slice_in_dim(
        out, part.reshape(batch, _TILE, 3), start, axis=1)

  return jax.lax.fori_loop(0, _num_tiles(num_vertices), add_tile,
                           jnp.zeros((batch, num_vertices, 3), coeffs.dtype))


def _num_tiles(num_vertices):
  return -(-num_vertices // _TILE)


def _tile_start(index, num_vertices):
  # The last tile is moved back to end with the vertices; it computes some twice.
  return jnp.minimum(index * _TILE, num_vertices - _TILE)


def _check_coefficients(name: str, coeffs: Array, wanted: int) -> None:
  if coeffs.shape != (wanted,):
    raise ValueError(
        f'{name} coefficients have shape {tuple(coeffs.shape)} but the face '
        f'model has {wanted}; pass one face, shape ({wanted},), and vmap over '
        'faces.')


def restrict(model: MorphableModel, vertex_ids: Array) -> MorphableModel:
  """The same model on a subset of its vertices.

  What needs only some vertices (the landmarks of Eq. 3, the drawn part of
  Sec. 3.3) then computes only these. Schemes, regions and triangles that refer
  to dropped vertices are dropped with them.

  Args:
    model: the 3DMM.
    vertex_ids: (K,) vertex ids, kept in this order.

  Returns:
    The model with K vertices; `nose_tip` is -1 if the nose tip is not kept.
  """
  ids = np.asarray(vertex_ids)
  new_id = np.full(model.num_vertices, -1, np.int32)
  new_id[ids] = np.arange(len(ids), dtype=np.int32)
  triangles = new_id[np.asarray(model.triangles)]
  schemes = {name: new_id[np.asarray(b)]
             for name, b in model.landmark_schemes.items()}
  regions = {name: new_id[np.asarray(r)] for name, r in model.regions.items()}
  return model.replace(
      mean_shape=model.mean_shape[ids],
      identity_basis=model.identity_basis[:, ids],
      expression_basis=model.expression_basis[:, ids],
      triangles=triangles[(triangles >= 0).all(axis=1)],
      mean_normals=model.mean_normals[ids],
      nose_tip=new_id[int(model.nose_tip)],
      landmark_schemes={n: b for n, b in schemes.items() if (b >= 0).all()},
      regions={n: r[r >= 0] for n, r in regions.items()},
      symmetry=None)


def vertex_normals(vertices: Array, triangles: Array) -> jax.Array:
  """Unit vertex normals: the area-weighted mean of the adjacent triangles'.

  Outward when the triangles are counter-clockwise seen from outside.

  Args:
    vertices: (Q, 3) in model units.
    triangles: (T, 3) vertex ids.

  Returns:
    (Q, 3) unit normals; zero for a vertex that no triangle uses.
  """
  vertices = jnp.asarray(vertices)
  corners = vertices[triangles]
  # The cross product's length is twice the area: summing it weights by area.
  face_normals = jnp.cross(corners[:, 1] - corners[:, 0],
                           corners[:, 2] - corners[:, 0])
  summed = jnp.zeros_like(vertices)
  for corner in range(3):
    summed = summed.at[triangles[:, corner]].add(face_normals)
  squared = jnp.sum(summed**2, axis=-1, keepdims=True)
  # Guarded before the division, so that gradients stay finite.
  length = jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
  return jnp.where(squared > 0, summed / length, 0.0)
