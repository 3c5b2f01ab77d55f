"""A fitted face of the toy model, over a photo whose colours tell the place."""

import numpy as np

from pifa_jax.geometry import projection
from pifa_jax.results.fitted_face import FittedFace
from pifa_jax.types import FaceParams, MorphableModel
from tests.toy_model import make_toy_model

MODEL = make_toy_model()
HEIGHT, WIDTH = 170, 150


def make_photo() -> np.ndarray:
  """(HEIGHT, WIDTH, 3): red is the column, green the row."""
  rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
  return np.stack([columns, rows, 120 + 0 * rows], axis=-1).astype(np.uint8)


def make_face(
  yaw: float = 25.0,
  *,
  scale: float = 0.7,
  middle: tuple[float, float] = (70.0, 85.0),
  model: MorphableModel = MODEL,
  **fields,
) -> FittedFace:
  """A face of the photo; what `inference` would report of it."""
  rotation = projection.rotation_from_euler(np.deg2rad(yaw), 0.1, -0.15)
  camera = np.asarray(projection.camera_from_pose(rotation, scale, np.array(middle)))
  rng = np.random.default_rng(3)
  params = FaceParams(
    camera,
    rng.normal(size=model.num_identity).astype(np.float32),
    rng.normal(size=model.num_expression).astype(np.float32),
  )
  landmarks, visible = {}, {}
  for scheme in ('ibug68', 'ibug34'):
    landmarks[scheme] = np.asarray(projection.landmarks(model, params, scheme))
    visible[scheme] = np.asarray(projection.landmark_visibility(model, params, scheme))
  low = landmarks['ibug68'].min(axis=0)
  return FittedFace(
    model=model,
    params=params,
    landmarks=landmarks,
    visible=visible,
    angles=(yaw, np.rad2deg(0.1), np.rad2deg(-0.15)),
    box=np.array([*low, *(landmarks['ibug68'].max(axis=0) - low)]),
    photo=make_photo(),
    **fields,
  )
