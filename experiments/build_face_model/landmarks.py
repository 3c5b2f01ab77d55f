"""The landmarks on MakeHuman's base mesh, by vertex id, found by looking at it.

In this file "left" is the subject's left, which is the image's right, +x.
"""

import numpy as np

from experiments.build_face_model.base_mesh import BaseMesh
from pifa_jax.face_models.landmark_tables import IBUG34

LEFT_EYE_CENTRE = 11465  # Upper lid, above the middle of the eye.
_LEFT_EAR_LOBE = 12019

# iBUG 68 by meaning: the midline, and the subject's left half (the image's
# right, +x); the other half is its mirror image. 1-based iBUG numbers.
_IBUG_MIDLINE = {
  9: 5225,
  28: 132,
  29: 131,
  30: 201,
  31: 297,
  34: 317,
  52: 455,
  58: 492,
  63: 474,
  67: 493,
}
_IBUG_LEFT = {
  # Jaw, from in front of the ear at eye height down to the chin.
  17: 12001,
  16: 7564,
  15: 11712,
  14: 11851,
  13: 11849,
  12: 7594,
  11: 7619,
  10: 11899,
  # Brow, inner end to outer end.
  23: 6983,
  24: 6997,
  25: 6996,
  26: 6999,
  27: 7030,
  # Nostril base: below the nostril, wing.
  35: 7092,
  36: 7096,
  # Eye: inner corner, upper lid, outer corner, lower lid.
  43: 6850,
  44: 6838,
  45: 6784,
  46: 6805,
  47: 6825,
  48: 6831,
  # Outer lip: upper peak, upper side, corner, lower side, lower.
  53: 7215,
  54: 7170,
  55: 7182,
  56: 7166,
  57: 7241,
  # Inner lip: upper, corner, lower.
  64: 7226,
  65: 7192,
  66: 7236,
}
# The mirror number of every iBUG number of the image's right half.
_IBUG_MIRROR = {
  17: 1,
  16: 2,
  15: 3,
  14: 4,
  13: 5,
  12: 6,
  11: 7,
  10: 8,
  23: 22,
  24: 21,
  25: 20,
  26: 19,
  27: 18,
  35: 33,
  36: 32,
  43: 40,
  44: 39,
  45: 38,
  46: 37,
  47: 42,
  48: 41,
  53: 51,
  54: 50,
  55: 49,
  56: 60,
  57: 59,
  64: 62,
  65: 61,
  66: 68,
}


def landmark_schemes(base: BaseMesh) -> dict[str, np.ndarray]:
  """Makes the landmark schemes ibug68, ibug34 and aflw34, in ids of the base mesh.

  Args:
    base: the base mesh, for the mirror map.

  Returns:
    name -> (N,) vertex ids.
  """
  by_number = dict(_IBUG_MIDLINE)
  for number, vertex in _IBUG_LEFT.items():
    by_number[number] = vertex
    by_number[_IBUG_MIRROR[number]] = int(base.mirror[vertex])
  ibug68 = np.array([by_number[i] for i in range(1, 69)])
  at = lambda *numbers: [by_number[i] for i in numbers]
  ibug34 = at(*IBUG34)
  mirror = lambda vertex: int(base.mirror[vertex])
  # AFLW's 21 in AFLW's order, then 13 of iBUG's: nose bridge, lips and jaw line.
  aflw34 = (
    at(18, 20, 22, 23, 25, 27, 37)
    + [mirror(LEFT_EYE_CENTRE)]
    + at(40, 43)
    + [LEFT_EYE_CENTRE]
    + at(46)
    + [mirror(_LEFT_EAR_LOBE)]
    + at(32, 31, 36)
    + [_LEFT_EAR_LOBE]
    + at(49, 63, 55, 9)
    + at(28, 34, 52, 58, 67, 1, 3, 5, 7, 11, 13, 15, 17)
  )
  return {'ibug68': ibug68, 'ibug34': np.array(ibug34), 'aflw34': np.array(aflw34)}
