"""One fitted face as a file that other programs read.

pts  68 landmarks, 1-based, as iBUG writes them
npz  all arrays of the face
json COCO keypoints, with pose, confidence and frontability
mat  300W-LP's variables: pt2d, pt3d_68, Pose_Para, Shape_Para, Exp_Para, roi
obj  mesh over the photo, y down: it lies on its picture
ply  the same, binary
glb  mesh for viewers: y up, metres
uv   position map of PRNet's kind, 256 x 256: .npy
"""

from collections.abc import Callable
import functools
import io
import os
import pathlib
from typing import Any

import numpy as np

from pifa_jax.datasets import w300lp
from pifa_jax.files import formats, mesh_files
from pifa_jax.geometry import photo_mesh, uv_map
from pifa_jax.results.face_json import save_json
from pifa_jax.results.fitted_face import FittedFace, shown_triangles
from pifa_jax.types import MorphableModel

SCHEME = 'ibug68'  # whose landmarks files of one scheme hold
_Path = str | os.PathLike[str]


def save_face(path: _Path, face: FittedFace) -> None:
  """Writes a face in the format that the suffix names.

  Args:
    path: ends in one of `SAVERS`.
    face: the face.

  Raises:
    ValueError: if the suffix is none of them.
    OSError: if the file cannot be written.
  """
  kind = pathlib.Path(path).suffix.lower().removeprefix('.')
  kind = 'uv' if kind == 'npy' else kind
  if kind not in SAVERS:
    raise ValueError(
      f'{pathlib.Path(path).name} is no file that a face is saved as; they end in '
      f'{", ".join(SUFFIXES.values())}.'
    )
  SAVERS[kind](path, face)


def _save_pts(path, face):
  formats.write_pts(path, face.landmarks[SCHEME])


def _save_npz(path, face):
  formats.write_npz(path, **face_arrays(face))


def face_arrays(face: FittedFace) -> dict[str, Any]:
  """What the .npz of a face holds.

  Args:
    face: the face.

  Returns:
    name -> array: P (camera, identity, expression), landmarks and visible of the 68
    points and of every other scheme (landmarks_<scheme>), box, yaw_pitch_roll_degrees,
    vertices over the photo, and confidence if it is known.
  """
  others = [name for name in face.landmarks if name != SCHEME]
  return {
    'camera': face.params.camera,
    'identity': face.params.identity,
    'expression': face.params.expression,
    'landmarks': face.landmarks[SCHEME],
    'visible': face.visible[SCHEME],
    **{f'landmarks_{name}': face.landmarks[name] for name in others},
    **{f'visible_{name}': face.visible[name] for name in others},
    'box': face.box,
    'yaw_pitch_roll_degrees': np.asarray(face.angles),
    'vertices': np.float32(face.vertices),
    **({} if face.confidence is None else {'confidence': face.confidence}),
  }


def _save_mat(path, face):
  import scipy.io

  stream = io.BytesIO()
  scipy.io.savemat(stream, w300lp_variables(face))
  formats.write_atomically(path, stream.getvalue())


def w300lp_variables(face: FittedFace) -> dict[str, np.ndarray]:
  """A face as the .mat files of 300W-LP and AFLW2000-3D hold it.

  Coordinates count from 1. Shape_Para and Exp_Para are those of the face model that was
  fitted: of the Basel model only if it was that one.

  Args:
    face: the face.

  Returns:
    'pt2d' (2, 68); 'pt3d_68' (3, 68) with z towards the viewer, in pixels; 'Pose_Para'
    (1, 7), 'Shape_Para' (N_I, 1), 'Exp_Para' (N_E, 1); 'roi' (1, 4): first and last
    column and row of the box that the network saw, as x1, y1, x2, y2; 'image_height',
    from whose lower edge ty counts (0 without a photo).
  """
  height = 0 if face.photo is None else face.photo.shape[0]
  points = np.asarray(face.landmarks[SCHEME], np.float64)
  ids = np.asarray(face.model.landmark_schemes[SCHEME])
  x, y, width, box_height = np.asarray(face.box, np.float64)
  return {
    'pt2d': points.T + 1.0,
    'pt3d_68': np.concatenate([points + 1.0, -face.vertices[ids, 2:]], axis=1).T,
    'Pose_Para': w300lp.pose_para_from_camera(np.asarray(face.params.camera), height)[
      None
    ],
    'Shape_Para': np.asarray(face.params.identity, np.float64)[:, None],
    'Exp_Para': np.asarray(face.params.expression, np.float64)[:, None],
    # Outer edges: the first pixel, of number 1, has its centre half a pixel inside.
    'roi': np.round([[x + 1.5, y + 1.5, x + width + 0.5, y + box_height + 0.5]]),
    'image_height': np.asarray([[height]]),
  }


def _save_obj(path, face):
  mesh_files.write_obj(path, face.vertices, face.model.triangles, face.colors)


def _save_ply(path, face):
  mesh_files.write_ply(path, face.vertices, face.model.triangles, face.colors)


def _save_glb(path, face):
  vertices = face.vertices
  mesh_files.write_glb(
    path,
    photo_mesh.viewer_vertices(vertices),
    face.model.triangles,
    face.colors,
    normals=face.viewer_normals,
    # Models are in millimetres.
    metres_per_unit=0.001 / face.pixels_per_unit,
    # A vertex (x, y, z) of the file lies at (x0 + x, y0 - y) in the photo.
    extras={'photo_origin_pixels': vertices.mean(axis=0).tolist()},
  )


def _save_uv(path, face):
  stream = io.BytesIO()
  np.save(stream, position_map(face), allow_pickle=False)
  formats.write_atomically(path, stream.getvalue())


def position_map(face: FittedFace) -> np.ndarray:
  """The position map of a face, see `uv_map.position_map`.

  Args:
    face: the face.

  Returns:
    (256, 256, 3) float32.
  """
  return uv_map.position_map(_layout(_Model(face.model)), face.vertices)


class _Model:
  """A model as a key of a cache: models hold arrays, which have no hash."""

  def __init__(self, model: MorphableModel):
    self.model = model

  def __hash__(self) -> int:
    return id(self.model)

  def __eq__(self, other: object) -> bool:
    return isinstance(other, _Model) and self.model is other.model


@functools.lru_cache(maxsize=2)
def _layout(key):
  return uv_map.cylinder_layout(
    np.asarray(key.model.mean_shape), shown_triangles(key.model)
  )


SAVERS: dict[str, Callable[[_Path, FittedFace], None]] = {
  'pts': _save_pts,
  'npz': _save_npz,
  'json': save_json,
  'mat': _save_mat,
  'obj': _save_obj,
  'ply': _save_ply,
  'glb': _save_glb,
  'uv': _save_uv,
}
SUFFIXES = {kind: f'.{kind}' for kind in SAVERS} | {'uv': '.npy'}
