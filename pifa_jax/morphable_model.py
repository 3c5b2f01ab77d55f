"""Eqs. (1)-(2): the 3D shape from its coefficients, and vertex normals."""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.types import Array, FaceParams, MorphableModel


def shape(model: MorphableModel, face_params: FaceParams) -> jax.Array:
  """The 3D face of a set of coefficients.

  Eq. (1): S_p = S_0 + sum_k p^I_k S^I_k + sum_k p^E_k S^E_k. Both sums are
  matrix products of the coefficients with the bases laid out (K, 3Q), so that
  `vmap` turns them into one product for the whole batch.

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
  flat = (model.mean_shape.reshape(-1)
          + face_params.identity @ model.identity_basis.reshape(
              model.num_identity, -1)
          + face_params.expression @ model.expression_basis.reshape(
              model.num_expression, -1))
  return flat.reshape(-1, 3)


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
