"""Face models of other formats -> ours: what every converter has to settle.

Ours: millimetres, x right, y up, z towards the viewer, 0-based vertex ids, bases in
millimetres per coefficient beside each coefficient's standard deviation.
"""

from collections.abc import Mapping

import numpy as np

from pifa_jax.face_models import correspondence, landmark_tables, registry, subdivision
from pifa_jax.types import MorphableModel

# Outer eye corners of adults, with room for what modellers do.
_EYES_MM = (80.0, 100.0)


def assemble(
  *,
  source: str,
  units_per_mm: float,
  mean: np.ndarray,
  identity: np.ndarray,
  identity_stddev: np.ndarray,
  expression: np.ndarray,
  expression_stddev: np.ndarray,
  triangles: np.ndarray,
  landmarks: np.ndarray,
  rendered: np.ndarray | None = None,
  parts: Mapping[str, np.ndarray] | None = None,
) -> MorphableModel:
  """Builds a model and checks that it is a face, upright and in the stated unit.

  Args:
    source: names the file in messages.
    units_per_mm: 1000 for micrometres, 0.1 for centimetres.
    mean: (Q, 3) the neutral mean face in the source's units.
    identity: (N_I, Q, 3) source units per coefficient.
    identity_stddev: (N_I,) standard deviations, not variances.
    expression: (N_E, Q, 3).
    expression_stddev: (N_E,).
    triangles: (T, 3) 0-based; whichever way round, if they agree.
    landmarks: (68,) iBUG vertex ids, 0-based.
    rendered: (K,) ids of the vertices that the visualization layer renders; None =
      all.
    parts: name -> vertex ids of what the source knows to be eyeballs, mouth, ....

  Returns:
    The model, with the schemes 'ibug68' and 'ibug34', the region 'mask_five', and the
    built-in face's regions where `parts` does not say it better.

  Raises:
    ValueError: if arrays do not fit together, or it is not a face as described.
  """
  mean = np.asarray(mean, np.float64) / units_per_mm
  count = len(mean)
  triangles, landmarks = np.asarray(triangles, np.int64), np.asarray(landmarks)
  if mean.shape != (count, 3):
    raise ValueError(f'{source}: the mean shape is {mean.shape}, not (Q, 3).')
  for name, basis, stddev in (
    ('identity', identity, identity_stddev),
    ('expression', expression, expression_stddev),
  ):
    if basis.shape[1:] != (count, 3) or np.shape(stddev) != (len(basis),):
      raise ValueError(
        f'{source}: the {name} basis is {basis.shape} with deviations of shape '
        f'{np.shape(stddev)}, for {count} vertices (K, {count}, 3) and (K,) are '
        'wanted.'
      )
    if not (
      np.isfinite(basis).all()
      and np.isfinite(stddev).all()
      and np.all(np.asarray(stddev) > 0)
    ):
      raise ValueError(
        f'{source}: the {name} basis or its deviations hold numbers '
        'that are not finite, or deviations that are not positive.'
      )
  if not np.isfinite(mean).all():
    raise ValueError(f'{source}: the mean shape holds numbers that are not finite.')
  for name, ids in (('triangles', triangles), ('landmarks', landmarks)):
    if not ids.size or ids.min() < 0 or ids.max() >= count:
      raise ValueError(
        f'{source}: the {name} name vertices outside 0..{count - 1}; are they of '
        'another version of the model, or trimmed?'
      )
  if landmarks.shape != (68,) or len(set(landmarks.tolist())) != 68:
    raise ValueError(
      f'{source}: {landmarks.size} landmarks, '
      f'{len(set(landmarks.tolist()))} different ones; 68 are wanted.'
    )
  points = mean[landmarks]
  eyes = float(np.linalg.norm(points[36] - points[45]))
  if not _EYES_MM[0] <= eyes <= _EYES_MM[1]:
    raise ValueError(
      f'{source}: the outer eye corners are {eyes:.4g} mm apart, a face has '
      f'{_EYES_MM[0]:g} to {_EYES_MM[1]:g}; the unit or the landmarks are not what '
      'this converter expects.'
    )
  if (
    points[36, 0] >= points[45, 0]
    or points[27, 1] <= points[8, 1]
    or (points[30, 2] <= points[[0, 16], 2].mean())
  ):
    raise ValueError(
      f'{source}: landmark 37 is not left of 46, 28 not above 9 or the nose tip not '
      'in front of the ears; the axes are not x right, y up, z forward, or the '
      'landmarks are mirrored.'
    )
  normals = subdivision.vertex_normals(mean, triangles)
  nose = landmarks[30]
  if normals[nose, 2] < 0:
    # Wound clockwise as seen from outside.
    triangles = triangles[:, ::-1]
    normals = -normals
  if normals[nose, 2] <= 0.9:
    raise ValueError(
      f'{source}: the surface at the nose tip faces the viewer with '
      f'{normals[nose, 2]:.2f} of 1, at least 0.9 is wanted; triangles or landmarks '
      'are wrong.'
    )
  regions = {'mask_five': _mask_five(points, landmarks)}
  if rendered is not None:
    regions['rendered'] = np.asarray(rendered, np.int32)
  scale = np.float32(1.0 / units_per_mm)
  model = MorphableModel(
    mean_shape=mean.astype(np.float32),
    identity_basis=np.asarray(identity, np.float32) * scale,
    identity_stddev=np.asarray(identity_stddev, np.float32),
    expression_basis=np.asarray(expression, np.float32) * scale,
    expression_stddev=np.asarray(expression_stddev, np.float32),
    triangles=triangles.astype(np.int32),
    mean_normals=normals.astype(np.float32),
    nose_tip=np.asarray(nose, np.int32),
    landmark_schemes={
      'ibug68': landmarks.astype(np.int32),
      'ibug34': landmarks[np.array(landmark_tables.IBUG34) - 1].astype(np.int32),
    },
    regions=regions,
  )
  found = correspondence.carry_regions(
    model, registry.load_face_model('builtin-1'), parts or {}
  )
  return model.replace(regions={**regions, **found})


def _mask_five(points, landmarks):
  """Both eyes, nose tip, both lip corners (Fig. 8), from the landmarks alone.

  An eye's centre is the landmark of its lids that is nearest to their middle.
  """

  def nearest(first, last):
    part = points[first:last]
    gap = np.linalg.norm(part - part.mean(axis=0), axis=1)
    return landmarks[first + int(np.argmin(gap))]

  return np.array(
    [nearest(36, 42), nearest(42, 48), landmarks[30], landmarks[48], landmarks[54]],
    np.int32,
  )


def interleaved(table: np.ndarray) -> np.ndarray:
  """A basis of columns x1 y1 z1 x2 ... as bases of vertices.

  Args:
    table: (3 Q, K).

  Returns:
    (K, Q, 3), in the table's unit.
  """
  table = np.asarray(table)
  return np.ascontiguousarray(table.T.reshape(table.shape[1], -1, 3))
