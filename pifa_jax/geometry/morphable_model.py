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
  return _linear(*_terms(model, face_params))


def shape_along(
  model: MorphableModel, face_params: FaceParams, directions: Array
) -> jax.Array:
  """The coordinates of the 3D face along some directions: `along` of `shape`.

  Eq. (1). For visualizations that need no gradient: a large batch is computed tile
  by tile on a CPU, and its vertices are never written (BUILD_NOTES.md D-72). Carries no
  gradient.

  Args:
    model: the 3DMM.
    face_params: P of one face; the camera is not used.
    directions: (R, 3).

  Returns:
    (R, Q).

  Raises:
    ValueError: as `shape`.
  """
  return _coordinates(
    *jax.lax.stop_gradient((jnp.asarray(directions), *_terms(model, face_params)))
  )


def along(directions: Array, points: Array) -> jax.Array:
  """The coordinates of points along some directions: directions points^T.

  As sums of three terms, which fuse: a matrix product of depth three stands alone in
  the compiled program, and all vertices take nine times longer on a CPU
  (BUILD_NOTES.md D-41).

  Args:
    directions: (R, 3).
    points: (Q, 3).

  Returns:
    (R, Q).
  """
  return jnp.stack(
    [
      points[:, 0] * d[0] + points[:, 1] * d[1] + points[:, 2] * d[2]
      for d in directions
    ]
  )


def _terms(model, face_params):
  """What Eq. (1) is made of, as arrays: coefficients, mean, bases, tiles or None."""
  _check_coefficients('identity', face_params.identity, model.num_identity)
  _check_coefficients('expression', face_params.expression, model.num_expression)
  tiles = None if model.tiles is None else jnp.asarray(model.tiles)
  return (
    *map(
      jnp.asarray,
      (
        face_params.identity,
        face_params.expression,
        model.mean_shape,
        model.identity_basis,
        model.expression_basis,
      ),
    ),
    tiles,
  )


def tile(model: MorphableModel) -> MorphableModel:
  """Adds a copy of the bases in which the shapes of a batch are computed faster.

  Tile by tile of vertices, mean shape and bases side by side, each tile in one piece of
  memory: a CPU reads it straight into the product (BUILD_NOTES.md D-40). It takes
  the memory of the bases once more. For models that stay as they are: `replace`
  drops the copy, but nothing sees a basis that is changed leaf by leaf.

  Args:
    model: the 3DMM. If it has too few vertices for two tiles it comes back as it is.

  Returns:
    The model with `tiles`, NumPy (T, 1 + N_I + N_E, 3 * vertices of a tile).
  """
  if model.num_vertices < 2 * _TILE:
    return model
  arrays = [
    np.asarray(model.mean_shape)[None],
    np.asarray(model.identity_basis),
    np.asarray(model.expression_basis),
  ]
  starts = [
    int(_tile_start(i, model.num_vertices))
    for i in range(_num_tiles(model.num_vertices))
  ]
  return model.replace(
    tiles=np.stack(
      [
        np.concatenate(
          [a[:, start : start + _TILE].reshape(len(a), -1) for a in arrays]
        )
        for start in starts
      ]
    )
  )


@jax.custom_vjp
def _linear(identity, expression, mean_shape, identity_basis, expression_basis, tiles):
  """Eq. (1) on arrays."""
  return _sums(
    identity, expression, mean_shape, identity_basis, expression_basis, tiles
  )


def _linear_fwd(*inputs):
  values = [None if x is None else x.value for x in inputs]
  # The gradient of a basis is as large as the basis: only if somebody asks.
  coeffs = [
    x.value if basis.perturbed else None
    for x, basis in zip(inputs[:2], inputs[3:5], strict=True)
  ]
  return _sums(*values), (coeffs, values[3:5], values[5])


def _linear_bwd(saved, cotangent):
  """The adjoint.

  The basis stands first in the products: JAX's own transpose puts it second,
  which a CPU runs up to ten times slower (BUILD_NOTES.md D-40). The barrier keeps
  XLA from swapping the two again to save the transpose of a small matrix.
  """
  coeffs, bases, tiles = saved
  products = [
    jax.lax.optimization_barrier(
      basis.reshape(basis.shape[0], -1) @ cotangent.reshape(-1)
    )
    for basis in bases
  ]
  return (
    *products,
    cotangent,
    *(None if c is None else c[:, None, None] * cotangent for c in coeffs),
    # A copy: what depends on it is already in the gradient of the bases.
    None if tiles is None else jnp.zeros_like(tiles),
  )


_linear.defvjp(_linear_fwd, _linear_bwd, symbolic_zeros=True)


def _in_tiles(whole, tiled):
  """`whole`, which on a CPU takes a large batch of faces as `tiled`.

  Both take what belongs to a face, coefficients last, and then a model's mean
  shape, two bases and tiles or None.
  """
  function = jax.custom_batching.custom_vmap(whole)

  @function.def_vmap
  def _(axis_size, in_batched, *args):
    model, model_batched = args[-4:], in_batched[-4:]
    # Without tiles its flag is None.
    every = jax.vmap(whole, in_axes=[0 if b is True else None for b in in_batched])
    if any(model_batched) or not all(in_batched[:-4]):
      return every(*args), True
    # A batch of any size (jax.export) takes the tiles, which are right for all.
    few = isinstance(axis_size, int) and axis_size < _TILED_FROM
    if few or model[0].shape[0] < 2 * _TILE:
      return every(*args), True
    return jax.lax.platform_dependent(*args, cpu=tiled, default=every), True

  return function


def _whole_sums(
  identity, expression, mean_shape, identity_basis, expression_basis, unused_tiles
):
  product = lambda coeffs, basis: coeffs @ basis.reshape(basis.shape[0], -1)
  flat = (
    mean_shape.reshape(-1)
    + product(identity, identity_basis)
    + product(expression, expression_basis)
  )
  return flat.reshape(-1, 3)


def _tiled_sums(identity, expression, *model):
  """Eq. (1) for a batch, a tile of vertices after the other."""

  def put(out, part, start):
    return jax.lax.dynamic_update_slice_in_dim(out, part, start, axis=1)

  return _over_tiles(
    identity,
    expression,
    model,
    put,
    jnp.zeros((identity.shape[0], model[0].shape[0], 3), identity.dtype),
  )


def _whole_coordinates(directions, *args):
  return along(directions, _whole_sums(*args))


def _tiled_coordinates(directions, identity, expression, *model):
  """The same for a batch: of a tile's vertices only the coordinates are kept."""

  def put(planes, part, start):
    found = jax.vmap(along)(directions, part)
    return [
      jax.lax.dynamic_update_slice_in_dim(plane, found[:, i], start, axis=1)
      for i, plane in enumerate(planes)
    ]

  # A plane a direction: in one array a tile's part would be written in pieces.
  empty = jnp.zeros((identity.shape[0], model[0].shape[0]), identity.dtype)
  return jnp.stack(
    _over_tiles(identity, expression, model, put, [empty] * directions.shape[1]), axis=1
  )


_sums = _in_tiles(_whole_sums, _tiled_sums)
_coordinates = _in_tiles(_whole_coordinates, _tiled_coordinates)


def _over_tiles(identity, expression, model, put, out):
  """out = put(out, (B, _TILE, 3) vertices, first vertex), a tile after the other.

  One product a tile, whose operands and result lie in the CPU's cache: the
  identity and the expression sum are never written apart.
  """
  mean_shape, identity_basis, expression_basis, tiles = model
  batch, num_vertices = identity.shape[0], mean_shape.shape[0]
  # The mean is a row like the others: what adds it to the product is no pass of its
  # own then, which XLA would repeat for every use of the vertices.
  coeffs = jnp.concatenate(
    [jnp.ones((batch, 1), identity.dtype), identity, expression], axis=1
  )

  def tile_at(index, start):
    if tiles is not None:
      return tiles[index]
    cut = lambda array: jax.lax.dynamic_slice_in_dim(array, start, _TILE, axis=1)
    return jnp.concatenate(
      [
        cut(array).reshape(array.shape[0], -1)
        for array in (mean_shape[None], identity_basis, expression_basis)
      ]
    )

  def step(index, out):
    start = _tile_start(index, num_vertices)
    part = (coeffs @ tile_at(index, start)).reshape(batch, _TILE, 3)
    return put(out, part, start)

  return jax.lax.fori_loop(0, _num_tiles(num_vertices), step, out)


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
      'faces.'
    )


def restrict(model: MorphableModel, vertex_ids: Array) -> MorphableModel:
  """The same model on a subset of its vertices.

  What needs only some vertices (the landmarks of Eq. 3, the rendered part of
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
  schemes = {name: new_id[np.asarray(b)] for name, b in model.landmark_schemes.items()}
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
    symmetry=None,
  )


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
  face_normals = jnp.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
  summed = jnp.zeros_like(vertices)
  for corner in range(3):
    summed = summed.at[triangles[:, corner]].add(face_normals)
  squared = jnp.sum(summed**2, axis=-1, keepdims=True)
  # Guarded before the division, so that gradients stay finite.
  length = jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
  return jnp.where(squared > 0, summed / length, 0.0)
