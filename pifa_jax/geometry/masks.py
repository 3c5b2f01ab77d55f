"""Eq. (11): the per-vertex mask that weighs the visualization."""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.types import Array, MorphableModel

KINDS = ('nose', 'five', 'none')

# sigma_n of Eq. (11) in outer inter-ocular distances; BUILD_NOTES.md D-05.
NOSE_SIGMA_RATIO = 0.58
# Mask 2's blobs are smaller: five of them share the face; BUILD_NOTES.md D-05.
FIVE_SIGMA_RATIO = 0.16


def interocular_distance(model: MorphableModel) -> jax.Array:
  """Distance of the outer eye corners of the mean face, in model units.

  Args:
    model: a 3DMM with the 'ibug68' scheme (points 37 and 46, 1-based).

  Returns:
    () model units.

  Raises:
    ValueError: if the model has no 'ibug68' scheme.
  """
  if 'ibug68' not in model.landmark_schemes:
    raise ValueError(
      "The face model has no 'ibug68' landmark scheme, which gives the scale "
      'of the masks; add the 68 vertex ids to its landmark_schemes.'
    )
  return _eye_distance(model.mean_shape, model.landmark_schemes['ibug68'])


@jax.jit
def _eye_distance(vertices, ibug68):
  eyes = vertices[ibug68[jnp.array([36, 45])]]
  return jnp.linalg.norm(eyes[0] - eyes[1])


def vertex_mask(
  model: MorphableModel, kind: str = 'nose', *, sigma_ratio: float | None = None
) -> jax.Array:
  """The mask a, one value a vertex.

  Eq. (11) about the nose tip of the mean face ('nose', Fig. 4), the same
  Gaussian about five centres ('five', Fig. 8: both eyes, nose tip, both lip
  corners), or all ones ('none', Table 7). The first two are normalised to zero
  mean and unit standard deviation over the rendered vertices.

  Args:
    model: the 3DMM. 'five' needs the region 'mask_five' with five vertex ids.
    kind: 'nose', 'five' or 'none'.
    sigma_ratio: sigma_n in outer inter-ocular distances; None takes the
      documented default of the kind.

  Returns:
    (Q,) mask values.

  Raises:
    ValueError: for an unknown kind, or a model without the five centres.
  """
  if kind == 'none':
    return jnp.ones(model.num_vertices)
  if kind == 'nose':
    centres = jnp.asarray(model.nose_tip)[None]
    ratio = NOSE_SIGMA_RATIO if sigma_ratio is None else sigma_ratio
  elif kind == 'five':
    if len(model.regions.get('mask_five', ())) != 5:
      raise ValueError(
        "mask 'five' needs a face model whose region 'mask_five' names five "
        f'vertices, this one has {len(model.regions.get("mask_five", ()))}.'
      )
    centres = jnp.asarray(model.regions['mask_five'])
    ratio = FIVE_SIGMA_RATIO if sigma_ratio is None else sigma_ratio
  else:
    raise ValueError(f'mask={kind!r} is not a mask; use one of {", ".join(KINDS)}.')
  return _normalised(
    model.mean_shape,
    centres,
    rendered_vertices(model),
    ratio * interocular_distance(model),
  )


# One compiled program; without it every command compiles thirty small ones first.
@jax.jit
def _normalised(vertices, centres, rendered, sigma):
  """The largest of the Gaussians about the centres, zero mean and unit deviation."""
  squared = jnp.sum((vertices[:, None] - vertices[centres][None]) ** 2, axis=-1)
  raw = jnp.max(jnp.exp(-squared / (2 * sigma**2)), axis=1)
  rendered = raw[rendered]
  return (raw - jnp.mean(rendered)) / jnp.std(rendered)


def rendered_vertices(model: MorphableModel) -> jax.Array:
  """Ids of the vertices that the visualization layer renders.

  Args:
    model: the 3DMM.

  Returns:
    (K,) the model's region 'rendered'; every vertex if it has none.
  """
  rendered = model.regions.get('rendered')
  return jnp.arange(model.num_vertices) if rendered is None else jnp.asarray(rendered)


def subsample_vertices(
  model: MorphableModel, vertex_ids: Array, side: float | np.floating
) -> np.ndarray:
  """Fewer vertices, evenly spread over the mean face: one of every cube.

  A visualization of few pixels does not need more vertices than its cells can show.

  Args:
    model: the 3DMM.
    vertex_ids: (K,) vertices to choose from, such as the rendered ones.
    side: of the cubes, model units; 0 keeps all.

  Returns:
    Those of vertex_ids, in their order, that come first in their cube.
  """
  ids = np.asarray(vertex_ids)
  if not side:
    return ids
  cubes = np.floor(np.asarray(model.mean_shape)[ids] / side).astype(np.int64)
  _, first = np.unique(cubes, axis=0, return_index=True)
  return ids[np.sort(first)]
