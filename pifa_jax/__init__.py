"""Large-pose face alignment by fitting a 3D Morphable Model with one network, in JAX.

These are the public names. The modules that they come from say more.
"""

from pifa_jax.face_models import load_face_model
from pifa_jax.files.compiled_programs import keep_compiled
from pifa_jax.geometry.boxes import crop_params, initial_params, uncrop_params
from pifa_jax.geometry.fitting import fit_faces, fit_landmarks
from pifa_jax.geometry.masks import vertex_mask
from pifa_jax.geometry.morphable_model import shape
from pifa_jax.geometry.projection import (
  frontability,
  landmark_visibility,
  landmarks,
  pose_from_camera,
  project,
)
from pifa_jax.geometry.visualization import visualize, visualize_dense
from pifa_jax.inference import AlignedFaces, Aligner, Face, align, draw_faces
from pifa_jax.learning.network import PifaNetwork
from pifa_jax.learning.weights import TrainedWeights, load_weights
from pifa_jax.types import (
  Batch,
  FaceParams,
  MorphableModel,
  flatten_params,
  unflatten_params,
)

# The one place of the version: setup.cfg reads it.
__version__ = '0.1.0'

__all__ = [
  'AlignedFaces',
  'Aligner',
  'Batch',
  'Face',
  'FaceParams',
  'MorphableModel',
  'PifaNetwork',
  'TrainedWeights',
  'align',
  'crop_params',
  'draw_faces',
  'fit_faces',
  'fit_landmarks',
  'flatten_params',
  'frontability',
  'initial_params',
  'keep_compiled',
  'landmark_visibility',
  'landmarks',
  'load_face_model',
  'load_weights',
  'pose_from_camera',
  'project',
  'shape',
  'uncrop_params',
  'unflatten_params',
  'vertex_mask',
  'visualize',
  'visualize_dense',
]
