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
  return _linear(*map(jnp.asarray, (
      face_params.identity, face_params.expression, model.mean_shape,
      model.identity_basis, model.expression_basis)))


@jax.custom_vjp
def _linear(identity, expression, mean_shape, identity_basis, expression_basis):
  """Eq. (1) on arrays."""
  return _sums(identity, expression, mean_shape, identity_basis,
               expression_basis)


def _linear_fwd(*inputs):
  values = [x.value for x in inputs]
  # The gradient of a basis is as large as the basis: only if somebody asks.
  coeffs = [x.value if basis.perturbed else None
            for x, basis in zip(inputs[:2], inputs[3:])]
  return _sums(*values), (coeffs, values[3:])


def _linear_bwd(saved, bar):
  """The adjoint.

  The basis stands first in the products: JAX's own transpose puts it second,
  which a CPU runs up to ten times slower (BUILD_NOTES.md D-40). The barrier keeps
  XLA from swapping the two again to save the transpose of a small matrix.
  """
  coeffs, bases = saved
  products = [jax.lax.optimization_barrier(
      basis.reshape(basis.shape[0], -1) @ bar.reshape(-1)) for basis in bases]
  return (*products, bar,
          *(None if c is None else c[:, None, None] * bar for c in coeffs))


_linear.defvjp(_linear_fwd, _linear_bwd, symbolic_zeros=True)


@jax.custom_batching.custom_vmap
def _sums(identity, expression, mean_shape, identity_basis, expression_basis):
  product = lambda coeffs, basis: coeffs @ basis.reshape(basis.shape[0], -1)
  flat = (mean_shape.reshape(-1) + product(identity, identity_basis)
          + product(expression, expression_basis))
  return flat.reshape(-1, 3)


@_sums.def_vmap
def _sums_of_a_batch(axis_size, in_batched, identity, expression, *model):
  del axis_size
  if any(in_batched[2:]) or not all(in_batched[:2]):
    plain = jax.vmap(_sums.fun, in_axes=[0 if b else None for b in in_batched])
    return plain(identity, expression, *model), True
  whole = jax.vmap(_sums.fun, in_axes=(0, 0, None, None, None))
  if identity.shape[0] < _TILED_FROM or model[0].shape[0] < 2 * _TILE:
    return whole(identity, expression, *model), True
  return jax.lax.platform_dependent(
      identity, expression, *model, cpu=_tiled_sums, default=whole), True


def _tiled_sums(identity, expression, mean_shape, identity_basis,
                expression_basis):
  """Eq. (1) for a batch, a tile of vertices after the other.

  One product a tile, whose operands and result lie in the CPU's cache: the
  identity and the expression sum are never written apart, and the result once.
  """
  batch, num_vertices = identity.shape[0], mean_shape.shape[0]
  coeffs = jnp.concatenate([identity, expression], axis=1)

  def add_tile(index, out):
    # The last tile is moved back to end with the vertices; it computes some twice.
    start = jnp.minimum(index * _TILE, num_vertices - _TILE)
    cut = lambda basis: jax.lax.dynamic_slice_in_dim(
        basis, start, _TILE, axis=1).reshape(basis.shape[0], -1)
    basis = jnp.concatenate([cut(identity_basis), cut(expression_basis)])
    mean = jax.lax.dynamic_slice_in_dim(mean_shape, start, _TILE).reshape(-1)
    return jax.lax.dynamic_update_slice_in_dim(
        out, (mean + coeffs @ basis).reshape(batch, _TILE, 3), start, axis=1)

  return jax.lax.fori_loop(0, -(-num_vertices // _TILE), add_tile,
                           jnp.zeros((batch, num_vertices, 3), coeffs.dtype))


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
