"""Which vertices do unknown landmarks stand for? Found from labelled faces.

Releases label points whose definition is not public (such as the 13 that the paper
added to AFLW's 21). Where P is known from other points of the same faces, every
vertex can be tried: the right one projects near the labels in all poses.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import morphable_model, projection
from pifa_jax.types import Array, MorphableModel, unflatten_params

# A label that is off by more counts as if it were off by this much (of the face's
# size): wrong labels must not move the answer.
_LIMIT = 0.1


def find_vertices(
  model: MorphableModel,
  params: Array,
  points: Array,
  visible: Array,
  *,
  candidates: Array | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """The vertex that each landmark is nearest to, over many faces.

  Exhaustive; memory O(Q K) whatever the number of faces.

  Args:
    model: the 3DMM.
    params: (n, 8 + N_I + N_E) flat P of the faces, pixels.
    points: (n, K, 2) the unknown landmarks, pixels.
    visible: (n, K) bool.
    candidates: (C,) vertex ids to try; default: the rendered ones.

  Returns:
    (K,) vertex ids, and (K,) their mean error, truncated at 10 %, as a fraction of
    the faces' sizes (root of the area of the projected candidates' box).

  Raises:
    ValueError: if a landmark is never visible, or shapes do not agree.
  """
  params, points = np.asarray(params), np.asarray(points, np.float32)
  visible = np.asarray(visible, bool)
  if points.shape[:2] != visible.shape or len(points) != len(params):
    raise ValueError(
      f'find_vertices(): {len(params)} faces, points of shape {points.shape} and '
      f'visible of shape {visible.shape} do not belong together.'
    )
  never = np.where(~visible.any(axis=0))[0]
  if len(never):
    raise ValueError(
      f'Landmark {never[0] + 1} is visible in none of the '
      f'{len(params)} faces; nothing can be found for it.'
    )
  if candidates is None:
    candidates = model.regions.get('rendered', np.arange(model.num_vertices))
  candidates = np.asarray(candidates)
  part = morphable_model.restrict(model, candidates)
  total = np.asarray(
    _total_errors(part, params, np.where(visible[..., None], points, 0.0), visible)
  )
  mean = total / visible.sum(axis=0)
  best = np.argmin(mean, axis=0)
  return candidates[best], mean[best, np.arange(points.shape[1])]


@jax.jit
def _total_errors(part, params, points, visible):
  """(C, K) sums of truncated errors over the faces."""

  def add(total, face):
    vector, target, seen = face
    p = unflatten_params(vector, part.num_identity)
    found = projection.project(p.camera, morphable_model.shape(part, p))
    size = jnp.sqrt(jnp.prod(found.max(axis=0) - found.min(axis=0)))
    error = jnp.linalg.norm(found[:, None] - target, axis=-1) / size
    return total + jnp.where(seen, jnp.minimum(error, _LIMIT), 0.0), None

  shape = (part.num_vertices, points.shape[1])
  return jax.lax.scan(add, jnp.zeros(shape), (params, points, visible))[0]
