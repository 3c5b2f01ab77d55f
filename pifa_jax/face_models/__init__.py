"""Face models (3DMMs): the built-in one, our file format, subdivision."""

from pifa_jax.face_models.actions import expression_actions
from pifa_jax.face_models.npz_format import load_npz, save_npz
from pifa_jax.face_models.registry import (
  face_model_hash,
  load_expression_units,
  load_face_model,
  load_landmark_ids,
)
from pifa_jax.face_models.subdivision import subdivide

__all__ = [
  'expression_actions',
  'face_model_hash',
  'load_expression_units',
  'load_face_model',
  'load_landmark_ids',
  'load_npz',
  'save_npz',
  'subdivide',
]
