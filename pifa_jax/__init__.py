"""Large-pose face alignment by fitting a 3D face with one network, in JAX.

The public names, one page; their modules say more.
"""

from pifa_jax.boxes import crop_params
from pifa_jax.boxes import initial_params
from pifa_jax.boxes import uncrop_params
from pifa_jax.face_models import load_face_model
from pifa_jax.fitting import fit_faces
from pifa_jax.fitting import fit_landmarks
from pifa_jax.inference import AlignedFaces
from pifa_jax.inference import Aligner
from pifa_jax.masks import vertex_mask
from pifa_jax.morphable_model import shape
from pifa_jax.network import PifaNetwork
from pifa_jax.projection import frontability
from pifa_jax.projection import landmark_visibility
from pifa_jax.projection import landmarks
from pifa_jax.projection import pose_from_camera
from pifa_jax.projection import project
from pifa_jax.types import Batch
from pifa_jax.types import FaceParams
from pifa_jax.types import flatten_params
from pifa_jax.types import MorphableModel
from pifa_jax.types import unflatten_params
from pifa_jax.visualization import visualize
from pifa_jax.visualization import visualize_dense
from pifa_jax.weights import load_weights
from pifa_jax.weights import TrainedWeights

__all__ = [
    'AlignedFaces', 'Aligner', 'Batch', 'FaceParams', 'MorphableModel', 'PifaNetwork',
    'TrainedWeights', 'crop_params', 'fit_faces', 'fit_landmarks', 'flatten_params',
    'frontability', 'initial_params', 'landmark_visibility', 'landmarks',
    'load_face_model', 'load_weights', 'pose_from_camera', 'project', 'shape',
    'uncrop_params', 'unflatten_params', 'vertex_mask', 'visualize', 'visualize_dense',
]
