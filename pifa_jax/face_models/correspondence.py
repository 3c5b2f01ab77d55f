"""Which vertices of another face model are lips, ears, eyes: carried over by place."""

from collections.abc import Mapping

import numpy as np

from pifa_jax.types import MorphableModel

# A choice of what to draw, not parts of a face.
_NOT_PARTS = ('rendered', 'mask_five')
# A vertex farther than this from all of the warped face, in outer-eye-corner
# distances, has no counterpart: 10 mm on the built-in face.
_FARTHEST = 0.12


def carry_regions(
  model: MorphableModel, source: MorphableModel, known: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Finds the parts of a face model by those of another one.

  The source's mean shape is bent onto the model's by the smoothest map that takes
  its 68 landmarks there (biharmonic splines; Duchon, 1977); every vertex then has the
  parts of the nearest of the source's vertices.

  Args:
    model: a 3DMM with 'ibug68', whose parts are wanted.
    source: a 3DMM with 'ibug68' and regions, in the same frame, any unit.
    known: name -> vertex ids of parts of `model` that need not be found; these
      vertices are given no other part.

  Returns:
    `known`, and name -> (K,) int32 sorted vertex ids of `model` for the source's other
    regions but 'rendered' and 'mask_five'; a part that no vertex is near is left out.
  """
  # Here, because only converting needs them.
  import scipy.interpolate
  import scipy.spatial

  at, to = (
    np.asarray(m.mean_shape, np.float64)[np.asarray(m.landmark_schemes['ibug68'])]
    for m in (source, model)
  )
  units = [np.linalg.norm(points[36] - points[45]) for points in (at, to)]
  bend = scipy.interpolate.RBFInterpolator(
    at / units[0], to / units[1], kernel='linear', degree=1
  )
  gap, nearest = scipy.spatial.cKDTree(bend(source.mean_shape / units[0])).query(
    model.mean_shape / units[1]
  )
  free = gap < _FARTHEST
  for ids in known.values():
    free[ids] = False
  found = {name: np.asarray(ids, np.int32) for name, ids in known.items()}
  for name in set(source.regions) - set(known) - set(_NOT_PARTS):
    here = np.flatnonzero(np.isin(nearest, source.regions[name]) & free)
    if len(here):
      found[name] = here.astype(np.int32)
  return dict(sorted(found.items()))
