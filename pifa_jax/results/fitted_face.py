"""One fitted face with its mesh over the photo: what files and pictures are made of."""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any, Protocol

import numpy as np

from pifa_jax.face_models import subdivision
from pifa_jax.geometry import image_maps, photo_mesh, projection
from pifa_jax.types import FaceParams, MorphableModel

# The part of a head that is drawn into maps and over photos: what the network sees,
# with the eyes, but without the neck, of which no landmark says how it is turned.
_SHOWN, _NOT_SHOWN = ('rendered', 'eye_white', 'iris'), 'neck'


class _Aligned(Protocol):
  """The arrays of `inference.AlignedFaces`, n faces of a photo."""

  @property
  def boxes(self) -> np.ndarray: ...
  @property
  def landmarks(self) -> dict[str, np.ndarray]: ...
  @property
  def frontability(self) -> dict[str, np.ndarray]: ...
  @property
  def visible(self) -> dict[str, np.ndarray]: ...
  @property
  def params(self) -> FaceParams: ...
  @property
  def pose(self) -> dict[str, np.ndarray]: ...
  @property
  def confidence(self) -> np.ndarray | None: ...
  @property
  def visualizations(self) -> tuple[np.ndarray, ...]: ...


# Faces of less confidence than this are marked.
DOUBTFUL_BELOW = 0.5


@dataclasses.dataclass(frozen=True)
class FittedFace:
  """A face in 0-based pixels of its photo.

  Attributes:
    model: the 3DMM, NumPy arrays.
    params: P of this face.
    landmarks: scheme -> (N, 2).
    visible: scheme -> (N,) bool: they face the camera.
    angles: yaw, pitch, roll in degrees.
    box: (4,) that the network saw, outer edges.
    photo: (H, W, 3) uint8 RGB; None if there is none, which leaves meshes without
      colours.
    confidence: from 0 to 1; None if it was not estimated.
    visualizations: V of every block, (h, w) each; may be empty.
    given_box: (4,) in which the face was looked for; None if it is not known.
    score: of the detector that gave the box, from 0 to 1; None if it has none.
    frontability: scheme -> (N,) g of Eq. (8); may be empty.
    rotation: (3, 3) of `projection.pose_from_camera`; None if it was not kept.
  """

  model: MorphableModel
  params: FaceParams
  landmarks: Mapping[str, np.ndarray]
  visible: Mapping[str, np.ndarray]
  angles: tuple[float, float, float]
  box: np.ndarray
  photo: np.ndarray | None = None
  confidence: float | None = None
  visualizations: tuple[np.ndarray, ...] = ()
  given_box: np.ndarray | None = None
  score: float | None = None
  frontability: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  rotation: np.ndarray | None = None

  @property
  def doubtful(self) -> bool | None:
    """Whether the confidence is low, or no number; None if there is none."""
    if self.confidence is None:
      return None
    return not self.confidence >= DOUBTFUL_BELOW

  @functools.cached_property
  def model_vertices(self) -> np.ndarray:
    """(Q, 3) float64 S_p of Eq. (1) in model units."""
    p, model = self.params, self.model
    return (
      np.asarray(model.mean_shape, np.float64)
      + np.tensordot(np.asarray(p.identity), np.asarray(model.identity_basis), 1)
      + np.tensordot(np.asarray(p.expression), np.asarray(model.expression_basis), 1)
    )

  @functools.cached_property
  def vertices(self) -> np.ndarray:
    """(Q, 3) float64 over the photo, as `projection.image_vertices` gives them."""
    return projection.image_vertices(
      np.asarray(self.params.camera), self.model_vertices
    )

  @functools.cached_property
  def viewer_normals(self) -> np.ndarray:
    """(Q, 3) unit, outward: x right, y up, z towards the viewer."""
    normals = subdivision.vertex_normals(
      self.vertices, np.asarray(self.model.triangles)
    )
    return normals * [1.0, -1.0, -1.0]

  @functools.cached_property
  def facing(self) -> np.ndarray:
    """(Q,) bool: vertices with g > 0 (Sec. 3.3)."""
    direction = projection.viewing_direction(
      np.asarray(self.params.camera, np.float64), xp=np
    )
    return np.asarray(self.model.mean_normals, np.float64) @ direction < 0

  @functools.cached_property
  def colors(self) -> np.ndarray | None:
    """(Q, 3) uint8 RGB of the vertices, from the photo; None without one."""
    if self.photo is None:
      return None
    symmetry = self.model.symmetry
    return photo_mesh.vertex_colors(
      self.photo,
      self.vertices,
      np.asarray(self.model.triangles),
      self.facing,
      None if symmetry is None else np.asarray(symmetry),
    )

  @property
  def pixels_per_unit(self) -> float:
    """The scale of the camera: pixels of the photo a model unit."""
    return float(np.linalg.norm(np.asarray(self.params.camera, np.float64)[:, :3])) / (
      np.sqrt(2.0)
    )


def fitted_face(
  model: MorphableModel,
  faces: _Aligned,
  row: int,
  *,
  photo: np.ndarray | None = None,
  **more: Any,
) -> FittedFace:
  """Takes one face out of the faces of a photo.

  Args:
    model: the 3DMM that they were fitted with.
    faces: `inference.AlignedFaces`.
    row: which of them.
    photo: (H, W, 3) uint8 RGB.
    **more: further fields of `FittedFace`.

  Returns:
    The face.
  """
  pose = {name: float(faces.pose[name][row]) for name in ('yaw', 'pitch', 'roll')}
  return FittedFace(
    model=model,
    params=FaceParams(
      camera=np.asarray(faces.params.camera)[row],
      identity=np.asarray(faces.params.identity)[row],
      expression=np.asarray(faces.params.expression)[row],
    ),
    landmarks={name: np.asarray(x)[row] for name, x in faces.landmarks.items()},
    visible={name: np.asarray(x)[row] for name, x in faces.visible.items()},
    angles=(
      float(np.rad2deg(pose['yaw'])),
      float(np.rad2deg(pose['pitch'])),
      float(np.rad2deg(pose['roll'])),
    ),
    box=np.asarray(faces.boxes)[row],
    photo=photo,
    confidence=None if faces.confidence is None else float(faces.confidence[row]),
    visualizations=tuple(np.asarray(v)[row] for v in faces.visualizations),
    frontability={name: np.asarray(x)[row] for name, x in faces.frontability.items()},
    rotation=np.asarray(faces.pose['rotation'])[row],
    **more,
  )


def shown_triangles(model: MorphableModel) -> np.ndarray:
  """The triangles of a model that are drawn into maps and over photos.

  Args:
    model: the 3DMM.

  Returns:
    (F, 3): face, ears and eyes without neck and scalp, as far as the model names its
    regions; all triangles if it names none.
  """
  if 'rendered' not in model.regions:
    return np.asarray(model.triangles)
  ids = np.unique(
    np.concatenate([np.asarray(model.regions.get(name, ())) for name in _SHOWN])
  )
  ids = np.setdiff1d(ids, np.asarray(model.regions.get(_NOT_SHOWN, ())))
  return image_maps.part_triangles(np.asarray(model.triangles), ids)
