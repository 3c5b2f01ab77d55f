"""Eqs. (3)-(5): the weak-perspective camera, landmarks, visibility and pose."""

import types

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import morphable_model
from pifa_jax.types import Array, FaceParams, MorphableModel, camera_of

# Guards |m1||m2| before a division. Cameras map millimetres (or micrometres) to
# pixels, so real values of |m|^2 are above 1e-9; below this it is degenerate.
_TINY = 1e-24


def project(camera: Array, points: Array) -> Array:
  """Projects 3D points to the image with a weak-perspective camera.

  Eq. (3): U = M [S; 1].

  Args:
    camera: (2, 4) M. Columns 0-2: pixels per model unit; column 3: pixels.
    points: (..., 3) in model units; x right, y up, z towards the viewer.

  Returns:
    (..., 2) positions in pixels: u right, v down.

  Raises:
    ValueError: while tracing, if a shape is not as above.
  """
  chex.assert_shape(
    camera,
    (2, 4),
    exception_type=ValueError,
    custom_message='project(): camera must be (2, 4).',
  )
  if points.shape[-1] != 3:
    raise ValueError(
      'project(): points must have three coordinates last, got '
      f'shape {tuple(points.shape)}.'
    )
  camera = jnp.asarray(camera)
  # Three terms a coordinate, not a matrix product: it fuses (BUILD_NOTES.md D-41).
  return sum(points[..., i : i + 1] * camera[:, i] for i in range(3)) + camera[:, 3]


def viewing_direction(camera: Array, *, xp: types.ModuleType = jnp) -> Array:
  """The unit direction of sight, (m1 x m2) / (|m1||m2|), in model coordinates.

  Of Eq. (8). With v down, m1 x m2 points INTO the scene: depth is measured along
  it, and smaller is nearer, as in Fig. 5. It is a unit vector when m1 and m2 are
  orthogonal; zero when either is zero.

  Args:
    camera: (2, 4) M.
    xp: jax.numpy, or numpy for float64 on the host.

  Returns:
    (3,) direction.
  """
  m1, m2 = camera[0, :3], camera[1, :3]
  squared = xp.sum(m1**2) * xp.sum(m2**2)
  good = squared > _TINY
  # Two `where`s: the guarded value keeps the gradient finite.
  length = xp.sqrt(xp.where(good, squared, 1.0))
  return xp.where(good, xp.cross(m1, m2) / length, 0.0)


def depth(camera: Array, points: Array) -> Array:
  """Depth along the line of sight, in pixels; smaller is nearer.

  (m1 x m2).S / sqrt(|m1||m2|): the third row of a scaled rotation, so that depth
  has the scale of the two image coordinates.

  Args:
    camera: (2, 4) M.
    points: (..., 3) in model units.

  Returns:
    (...) depth in pixels.
  """
  return points @ depth_axis(camera)


def depth_axis(camera: Array, *, xp: types.ModuleType = jnp) -> Array:
  """The direction that `depth` measures along, (m1 x m2) / sqrt(|m1||m2|).

  Whatever needs the depth of a weak-perspective camera takes it from here.

  Args:
    camera: (2, 4) M.
    xp: jax.numpy, or numpy for float64 on the host.

  Returns:
    (3,) pixels per model unit.
  """
  m1, m2 = camera[0, :3], camera[1, :3]
  squared = xp.sum(m1**2) * xp.sum(m2**2)
  scale = xp.where(
    squared > _TINY, xp.where(squared > _TINY, squared, 1.0) ** 0.25, 0.0
  )
  return viewing_direction(camera, xp=xp) * scale


def axes(camera: Array, *, xp: types.ModuleType = jnp) -> Array:
  """The directions along which u, v (without the translation) and depth lie.

  The rows m1 and m2 of Eq. (3) and `depth_axis`.

  Args:
    camera: (2, 4) M.
    xp: jax.numpy, or numpy for float64 on the host.

  Returns:
    (3, 3) pixels per model unit.
  """
  return xp.concatenate([camera[:, :3], depth_axis(camera, xp=xp)[None]])


def image_vertices(camera: np.ndarray, vertices: np.ndarray) -> np.ndarray:
  """A mesh in the coordinates of its photo, for a file.

  x and y are Eq. (3), y down; z is `depth`, in the same unit and growing away from
  the viewer. So x, y, z is right-handed, and triangles stay counter-clockwise as
  seen from outside.

  Args:
    camera: (2, 4) M in pixels of the photo.
    vertices: (Q, 3) S_p in model units.

  Returns:
    (Q, 3) float64, 0-based pixels of the photo.
  """
  camera = np.asarray(camera, np.float64)
  linear = axes(camera, xp=np)
  return np.asarray(vertices, np.float64) @ linear.T + [*camera[:, 3], 0.0]


def frontability(camera: Array, normals: Array) -> jax.Array:
  """How much every vertex faces the camera.

  Eq. (8): g = max(0, (m1 x m2) N_0 / (|m1||m2|)). Our normals point outwards and
  m1 x m2 points into the scene, hence one minus sign, here alone.

  Args:
    camera: (2, 4) M.
    normals: (Q, 3) N_0, unit length, outward.

  Returns:
    (Q,) in [0, 1] for a camera with orthogonal rows. The gradient at exactly
    zero is zero (`jax.nn.relu`).
  """
  return jax.nn.relu(-(normals @ viewing_direction(camera)))


def is_visible(front: Array) -> Array:
  """Which vertices count as visible: those that face the camera, g > 0 (Sec. 3.3).

  Args:
    front: (...) g of `frontability`.

  Returns:
    (...) bool; False where g is NaN.
  """
  return front > 0


def landmarks(model: MorphableModel, face_params: FaceParams, scheme: str) -> Array:
  """The 2D landmarks of a face.

  Eqs. (3) and (5): U = M [S_p(:, b); 1]; only these N vertices are computed.

  Args:
    model: the 3DMM.
    face_params: P of one face.
    scheme: the name of a landmark scheme of the model ('ibug68', ...).

  Returns:
    (N, 2) positions in pixels.

  Raises:
    ValueError: if the model has no such scheme.
  """
  part = landmark_model(model, scheme)
  return project(face_params.camera, morphable_model.shape(part, face_params))


def landmark_model(model: MorphableModel, scheme: str) -> MorphableModel:
  """The 3DMM on the vertices b of one landmark scheme, in the scheme's order.

  Args:
    model: the 3DMM.
    scheme: the name of a landmark scheme of the model.

  Returns:
    A model of N vertices without triangles; its schemes hold this one alone.

  Raises:
    ValueError: if the model has no such scheme.
  """
  if scheme not in model.landmark_schemes:
    raise ValueError(
      f'The face model has no landmark scheme {scheme!r}; it has '
      f'{", ".join(sorted(model.landmark_schemes)) or "none"}.'
    )
  b = model.landmark_schemes[scheme]
  # Not morphable_model.restrict: b may be traced, and may repeat a vertex.
  return model.replace(
    mean_shape=model.mean_shape[b],
    identity_basis=model.identity_basis[:, b],
    expression_basis=model.expression_basis[:, b],
    triangles=np.zeros((0, 3), np.int32),
    mean_normals=model.mean_normals[b],
    landmark_schemes={scheme: np.arange(b.shape[0], dtype=np.int32)},
    regions={},
    symmetry=None,
  )


def landmark_visibility(
  model: MorphableModel, face_params: FaceParams, scheme: str
) -> Array:
  """Which landmarks face the camera: g(b) > 0 (Sec. 3.3).

  Args:
    model: the 3DMM.
    face_params: P of one face.
    scheme: the name of a landmark scheme of the model.

  Returns:
    (N,) bool.

  Raises:
    ValueError: if the model has no such scheme.
  """
  part = landmark_model(model, scheme)
  return is_visible(frontability(face_params.camera, part.mean_normals))


def rotation_from_euler(
  yaw: Array, pitch: Array, roll: Array, *, xp: types.ModuleType = jnp
) -> Array:
  """Rotation matrix from head pose angles.

  R = Rx(pitch) Ry(yaw) Rz(roll) with the 3DDFA / 300W-LP signs: Rx = [1 0 0; 0 c
  s; 0 -s c], Ry = [c 0 -s; 0 1 0; s 0 c], Rz = [c s 0; -s c 0; 0 0 1].

  Args:
    yaw: () radians.
    pitch: () radians.
    roll: () radians.
    xp: jax.numpy, or numpy for float64 on the host.

  Returns:
    (3, 3) rotation from the model frame to the camera's y-up frame.
  """
  cy, sy = xp.cos(yaw), xp.sin(yaw)
  cp, sp = xp.cos(pitch), xp.sin(pitch)
  cr, sr = xp.cos(roll), xp.sin(roll)
  one, zero = xp.ones_like(cy), xp.zeros_like(cy)
  rx = xp.stack(
    [xp.stack([one, zero, zero]), xp.stack([zero, cp, sp]), xp.stack([zero, -sp, cp])]
  )
  ry = xp.stack(
    [xp.stack([cy, zero, -sy]), xp.stack([zero, one, zero]), xp.stack([sy, zero, cy])]
  )
  rz = xp.stack(
    [xp.stack([cr, sr, zero]), xp.stack([-sr, cr, zero]), xp.stack([zero, zero, one])]
  )
  return rx @ ry @ rz


def euler_from_rotation(
  rotation: Array, *, xp: types.ModuleType = jnp
) -> tuple[Array, Array, Array]:
  """Head pose angles of a rotation matrix: the inverse of `rotation_from_euler`.

  R is the truth: every R has two triples of angles, (yaw, pitch, roll) and
  (180 - yaw, pitch + 180, roll + 180) degrees. The first one has yaw = -asin R[0,2],
  pitch = atan2(R[1,2], R[2,2]), roll = atan2(R[0,1], R[0,0]) and |yaw| <= 90. It is
  returned for every head whose face looks towards the camera, R[2,2] >= 0. For a head
  that looks away, the triple with the smaller |pitch| + |roll| is returned: an upright
  head that turns past its profile keeps its pitch and roll while yaw grows to 180.

  At yaw = +-90 exactly, only a sum or a difference of pitch and roll is determined:
  roll is 0 there. The gradient is finite everywhere.

  Args:
    rotation: (3, 3) R, from the model frame to the camera's y-up frame.
    xp: jax.numpy, or numpy for float64 on the host.

  Returns:
    yaw, pitch and roll in [-pi, pi]; () radians each. |yaw| is above pi/2 only for a
    face that looks away from the camera.
  """
  yaw = _arcsin(-rotation[0, 2], xp)
  pitch = xp.where(
    _are_zero(rotation[1, 2], rotation[2, 2]),
    _arctan2(-rotation[2, 1], rotation[1, 1], xp),
    _arctan2(rotation[1, 2], rotation[2, 2], xp),
  )
  roll = _arctan2(rotation[0, 1], rotation[0, 0], xp)
  away = (rotation[2, 2] < 0) & (xp.abs(pitch) + xp.abs(roll) > xp.pi)
  # Towards zero, so that the results stay within half a turn.
  opposite = lambda angle: angle - xp.copysign(xp.pi, angle)
  return (
    xp.where(away, xp.copysign(xp.pi, yaw) - yaw, yaw),
    xp.where(away, opposite(pitch), pitch),
    xp.where(away, opposite(roll), roll),
  )


def _arcsin(sine, xp):
  """asin of a value that rounding may carry beyond 1; its gradient there is zero."""
  inside = xp.abs(sine) < 1.0
  # Two `where`s: the guarded value keeps the gradient finite.
  angle = xp.arcsin(xp.where(inside, sine, 0.0))
  return xp.where(inside, angle, xp.copysign(xp.pi / 2, sine))


def _arctan2(y, x, xp):
  """atan2, which is 0 with a zero gradient where both arguments vanish."""
  zero = _are_zero(y, x)
  angle = xp.arctan2(xp.where(zero, 0.0, y), xp.where(zero, 1.0, x))
  return xp.where(zero, 0.0, angle)


def _are_zero(y, x):
  return y**2 + x**2 < _TINY


def camera_from_pose(
  rotation: Array, scale: float | Array, translation: Array
) -> jax.Array:
  """M from rotation, scale and translation.

  Eq. (4): m1 = f R[0], m2 = -f R[1] (the image's v runs down), (m4, m8) =
  translation.

  Args:
    rotation: (3, 3) R.
    scale: () f in pixels per model unit.
    translation: (2,) image position of the model's origin, pixels.

  Returns:
    (2, 4) M.
  """
  rows = jnp.stack([scale * rotation[0], -scale * rotation[1]])
  return jnp.concatenate([rows, jnp.reshape(translation, (2, 1))], axis=1)


def nearest_scaled_rotation(camera: Array) -> tuple[jax.Array, jax.Array]:
  """The weak-perspective rotation and scale nearest to M's 2x3 part A.

  The nearest pair of orthonormal rows (Frobenius) is the polar factor
  (A A^T)^(-1/2) A. A A^T is 2x2, so its root has a closed form, which is also
  differentiable and needs no LAPACK.

  Args:
    camera: (2, 4) M; columns 0-2 of rank 2.

  Returns:
    (2, 3) orthonormal rows, and () scale, the mean singular value, in pixels per
    model unit. Zeros and 0 for a camera of lower rank.
  """
  a = camera[:, :3]
  gram = a @ a.T
  squared = gram[0, 0] * gram[1, 1] - gram[0, 1] ** 2
  good = squared > _TINY
  root_det = jnp.sqrt(jnp.where(good, squared, 1.0))
  total = jnp.where(good, gram[0, 0] + gram[1, 1], 2.0)
  # Cayley-Hamilton: sqrt(G) = (G + sqrt(det G) I) / (trace of sqrt(G)).
  trace = jnp.sqrt(total + 2 * root_det)
  root = (gram + root_det * jnp.eye(2)) / trace
  adjugate = jnp.array([[root[1, 1], -root[0, 1]], [-root[1, 0], root[0, 0]]])
  rows = adjugate @ a / root_det
  return jnp.where(good, rows, 0.0), jnp.where(good, trace / 2, 0.0)


def pose_from_camera(camera: Array) -> dict[str, Array]:
  """Head pose of M, after projecting it on the nearest scaled rotation.

  The one definition of the pose of a fitted or predicted face; `pose_degrees` is the
  same for many. Poses from elsewhere are labels: those of a data set's files, and
  those that the synthetic faces were posed by. The angles are those of
  `euler_from_rotation`: |yaw| is above pi/2 for a head that is turned beyond its
  profile. R is the rotation into the camera's y-up frame, so its second row is -m2.

  Args:
    camera: (2, 4) M.

  Returns:
    'rotation' (3, 3), 'yaw', 'pitch', 'roll' () in radians with 300W-LP's signs,
    'scale' () in pixels per model unit, 'translation' (2,) in pixels.
  """
  rows, scale = nearest_scaled_rotation(camera)
  r1, r2 = rows[0], -rows[1]
  rotation = jnp.stack([r1, r2, jnp.cross(r1, r2)])
  yaw, pitch, roll = euler_from_rotation(rotation)
  return {
    'rotation': rotation,
    'yaw': yaw,
    'pitch': pitch,
    'roll': roll,
    'scale': scale,
    'translation': camera[:, 3],
  }


@jax.jit
def _poses(cameras):
  pose = jax.vmap(pose_from_camera)(cameras)
  return pose['pitch'], pose['yaw'], pose['roll']


def pose_degrees(vectors: np.ndarray) -> np.ndarray:
  """Pitch, yaw and roll of many faces, as data sets list them.

  Args:
    vectors: (n, 8 + N_I + N_E) flat P.

  Returns:
    (n, 3) float32 degrees.
  """
  return np.rad2deg(np.stack(_poses(camera_of(np.asarray(vectors))), axis=-1)).astype(
    np.float32
  )
