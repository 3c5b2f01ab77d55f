"""Landmark schemes of common data sets, as vertices of the built-in face.

The file of the built-in face holds 'ibug68' and the two schemes of 34 points. The
schemes here are added when that face is loaded. They are not part of what the face
model is: its shape, its bases and its hash do not depend on them.

  wflw98          WFLW (Wu et al., CVPR 2018)
  jd106           JD-landmark (Liu et al., ICMEW 2019) and LaPa (Liu et al., AAAI 2020)
  insightface106  the same 106 points in the order of InsightFace's 2d106det: sorted by
                  the names that Face++ gave them
  cofw29          COFW and LFPW (Burgos-Artizzu et al., ICCV 2013)
  aflw19          AFLW's 21 points without the ear lobes (Zhu et al., CVPR 2016)
  mtcnn5          eyes, nose tip, mouth corners (MTCNN, RetinaFace, CelebA)

"left" and "right" are those of the image of a frontal face. Numbers of points count
from 0, as those data sets do. Points that a scheme shares with the 68 of iBUG are the
same vertices. The others were placed on the edge loops of the mesh (lids, lips, wings
of the nose) and compared with the mean shapes of the data sets;
docs/landmark_schemes.md shows them.

A landmark is one vertex, but the middle of a pupil has none: it is a flat ring of eight
vertices with a radius of 2.9 mm. 'Pupil' and 'eye centre' are the two lowest vertices
of that ring, which are nearest to the middle of the open eye. (The eye centres of
'aflw34' are on the upper lid, since only vertices of the skin were wanted there.)
"""

import numpy as np

from pifa_jax.types import MorphableModel

# The 34 points of the paper's layout as iBUG numbers from 1; BUILD_NOTES.md D-28.
# fmt: off
IBUG34 = (
  18, 20, 22, 23, 25, 27, 37, 38, 40, 41, 43, 44, 46, 47, 28, 31, 32,
  34, 36, 49, 52, 55, 58, 63, 67, 1, 3, 5, 7, 9, 11, 13, 15, 17)
# fmt: on

# Upper and lower edges of what opens, numbers in ibug68 from 0. Sides are the person's
# own.
IBUG68_OPENINGS: dict[str, tuple[tuple[int, int], ...]] = {
  'left eye': ((43, 47), (44, 46)),
  'right eye': ((37, 41), (38, 40)),
  'mouth': ((61, 67), (62, 66), (63, 65)),
}

# From in front of the left ear, at eye height, round the chin to the right ear. Every
# second one is a jaw point of the 68.
_CONTOUR = (
  *(1801, 1810, 841, 2149, 1496, 851, 1641, 1640),
  *(1639, 737, 874, 1342, 899, 898, 1692, 1620),
  1624,
  *(3719, 3787, 3016, 3017, 3450, 2992, 2871, 3737),
  *(3738, 3739, 2972, 3600, 4235, 2962, 3898, 3889),
)
# The upper edge is the brow of the 68. Upper and lower edge of both, left to right.
_BROW_LEFT = (261, 225, 222, 223, 208)
_BROW_RIGHT = (2397, 2411, 2410, 2413, 2444)
_BROW_LEFT_LOWER = (178, 176, 177, 181)
_BROW_RIGHT_LOWER = (2371, 2367, 2366, 2368)
# The bridge down to the tip, and the lower edge of the nose left to right.
_BRIDGE = (132, 131, 201, 297)
_NOSE_BASE = (334, 330, 317, 2506, 2510)
# From beside the bridge, at the eyes, down to the widest place of the wing.
_NOSE_LEFT = (111, 1492, 337)
_NOSE_RIGHT = (2309, 3596, 2513)
# Clockwise in the image, from the left corner: corner, upper lid at 1/4, 1/2 and 3/4 of
# its width, corner, lower lid at 3/4, 1/2 and 1/4. (The lid points of the 68 are at 1/3
# and 2/3.)
_EYE_LEFT = (21, 6, 1, 57, 66, 50, 44, 36)
_EYE_RIGHT = (2264, 2255, 2199, 2204, 2219, 2234, 2242, 2248)
_PUPILS = (4410, 4338)
_EYE_CENTRES = (4401, 4329)
# Clockwise from the left corner, as points 49-60 and 61-68 of iBUG.
_LIPS = (
  *(422, 410, 456, 455, 2629, 2584, 2596, 2580, 2655, 492, 486, 406),
  *(432, 470, 474, 2640, 2606, 2650, 493, 481),
)
_MOUTH_LEFT, _MOUTH_RIGHT, _CHIN = 422, 2596, 1624

# 33 contour, 9 + 9 brows (upper edge to the inner end and back, as seen from the left
# brow), 4 bridge, 5 base of the nose, 8 + 8 eyes, 20 lips, 2 pupils.
_WFLW98 = (
  _CONTOUR
  + _BROW_LEFT
  + _BROW_LEFT_LOWER[::-1]
  + _BROW_RIGHT
  + _BROW_RIGHT_LOWER[::-1]
  + _BRIDGE
  + _NOSE_BASE
  + _EYE_LEFT
  + _EYE_RIGHT
  + _LIPS
  + _PUPILS
)

# As WFLW, but 11 points go round the nose and each eye has its centre.
_JD106 = (
  _CONTOUR
  + _BROW_LEFT
  + _BROW_LEFT_LOWER[::-1]
  + _BROW_RIGHT
  + _BROW_RIGHT_LOWER[::-1]
  + _BRIDGE
  + _NOSE_LEFT
  + _NOSE_BASE
  + _NOSE_RIGHT[::-1]
  + _EYE_LEFT
  + _EYE_CENTRES[:1]
  + _EYE_RIGHT
  + _EYE_CENTRES[1:]
  + _LIPS
  + _PUPILS
)

# Face++'s names of the 106 points, in the order of JD-landmark.
_EYE_NAMES = (
  *('left_corner', 'upper_left_quarter', 'top', 'upper_right_quarter'),
  *('right_corner', 'lower_right_quarter', 'bottom', 'lower_left_quarter', 'center'),
)
_JD106_NAMES = (
  *(f'contour_left{i}' for i in range(1, 17)),
  'contour_chin',
  *(f'contour_right{i}' for i in range(16, 0, -1)),
  *(
    f'left_eyebrow_{place}'
    for place in (
      *('left_corner', 'upper_left_quarter', 'upper_middle', 'upper_right_quarter'),
      *('upper_right_corner', 'lower_right_corner', 'lower_right_quarter'),
      *('lower_middle', 'lower_left_quarter'),
    )
  ),
  *(
    f'right_eyebrow_{place}'
    for place in (
      *('upper_left_corner', 'upper_left_quarter', 'upper_middle'),
      *('upper_right_quarter', 'right_corner', 'lower_right_quarter'),
      *('lower_middle', 'lower_left_quarter', 'lower_left_corner'),
    )
  ),
  *('nose_bridge1', 'nose_bridge2', 'nose_bridge3', 'nose_tip'),
  *(f'nose_left_contour{i}' for i in range(1, 6)),
  'nose_middle_contour',
  *(f'nose_right_contour{i}' for i in range(5, 0, -1)),
  *(f'left_eye_{place}' for place in _EYE_NAMES),
  *(f'right_eye_{place}' for place in _EYE_NAMES),
  'mouth_left_corner',
  *('mouth_upper_lip_left_contour2', 'mouth_upper_lip_left_contour1'),
  'mouth_upper_lip_top',
  *('mouth_upper_lip_right_contour1', 'mouth_upper_lip_right_contour2'),
  'mouth_right_corner',
  *('mouth_lower_lip_right_contour2', 'mouth_lower_lip_right_contour3'),
  'mouth_lower_lip_bottom',
  *('mouth_lower_lip_left_contour3', 'mouth_lower_lip_left_contour2'),
  *('mouth_upper_lip_left_contour3', 'mouth_upper_lip_left_contour4'),
  'mouth_upper_lip_bottom',
  *('mouth_upper_lip_right_contour4', 'mouth_upper_lip_right_contour3'),
  'mouth_lower_lip_right_contour1',
  'mouth_lower_lip_top',
  'mouth_lower_lip_left_contour1',
  *('left_eye_pupil', 'right_eye_pupil'),
)
_BY_NAME = sorted(range(len(_JD106_NAMES)), key=_JD106_NAMES.__getitem__)

_COFW29 = (
  # Brows: outer ends, inner ends, then middle of the upper and of the lower edge.
  *(_BROW_LEFT[0], _BROW_RIGHT[4], _BROW_LEFT[4], _BROW_RIGHT[0]),
  *(_BROW_LEFT[2], _BROW_LEFT_LOWER[1], _BROW_RIGHT[2], _BROW_RIGHT_LOWER[2]),
  # Eyes: outer corners, inner corners, upper and lower lid of each, pupils.
  *(_EYE_LEFT[0], _EYE_RIGHT[4], _EYE_LEFT[4], _EYE_RIGHT[0]),
  *(_EYE_LEFT[2], _EYE_LEFT[6], _EYE_RIGHT[2], _EYE_RIGHT[6]),
  *_PUPILS,
  # Nose: wings, tip, base.
  *(_NOSE_LEFT[2], _NOSE_RIGHT[2], _BRIDGE[3], _NOSE_BASE[2]),
  # Mouth: corners, then upper and lower edge of the upper and of the lower lip.
  *(_MOUTH_LEFT, _MOUTH_RIGHT, _LIPS[3], _LIPS[14], _LIPS[18], _LIPS[9]),
  _CHIN,
)

_AFLW19 = (
  # Brows and eyes: left, middle, right of each.
  *(_BROW_LEFT[0], _BROW_LEFT[2], _BROW_LEFT[4]),
  *(_BROW_RIGHT[0], _BROW_RIGHT[2], _BROW_RIGHT[4]),
  *(_EYE_LEFT[0], _PUPILS[0], _EYE_LEFT[4]),
  *(_EYE_RIGHT[0], _PUPILS[1], _EYE_RIGHT[4]),
  # Nose and mouth: left, middle, right of each.
  *(_NOSE_BASE[0], _BRIDGE[3], _NOSE_BASE[4], _MOUTH_LEFT, _LIPS[14], _MOUTH_RIGHT),
  _CHIN,
)

_MTCNN5 = (*_PUPILS, _BRIDGE[3], _MOUTH_LEFT, _MOUTH_RIGHT)

TABLES: dict[str, tuple[int, ...]] = {
  'wflw98': _WFLW98,
  'jd106': _JD106,
  'insightface106': tuple(_JD106[i] for i in _BY_NAME),
  'cofw29': _COFW29,
  'aflw19': _AFLW19,
  'mtcnn5': _MTCNN5,
}


def with_tables(model: MorphableModel) -> MorphableModel:
  """The built-in face with the landmark schemes of this file.

  Args:
    model: the built-in face at any level of subdivision: its first vertices are
      always those of the coarse mesh.

  Returns:
    The model with more `landmark_schemes`. Its own scheme of a name is kept.
  """
  added = {name: np.asarray(ids, np.int32) for name, ids in TABLES.items()}
  return model.replace(landmark_schemes={**added, **model.landmark_schemes})


def own_schemes(model: MorphableModel) -> dict[str, np.ndarray]:
  """The landmark schemes that belong to a face model, without those of this file.

  They identify the model (`registry.face_model_hash`), and subdivision keeps their
  vertices in place.

  Args:
    model: any 3DMM.

  Returns:
    name -> (N,) vertex ids; a scheme that has a name of this file but other
    vertices is the model's own.
  """
  return {
    name: np.asarray(ids)
    for name, ids in model.landmark_schemes.items()
    if not np.array_equal(ids, TABLES.get(name, ()))
  }
