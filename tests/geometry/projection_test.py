"""Eqs. (3)-(5), depth, frontability, pose."""

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import boxes, morphable_model, projection
from pifa_jax.types import FaceParams
from tests.toy_model import make_toy_model

_MODEL = make_toy_model()


class ProjectTest(parameterized.TestCase):
  def test_by_hand(self):
    camera = jnp.array([[2.0, 0, 0, 10], [0, -3.0, 0.5, 20]])
    points = jnp.array([[1.0, 2, 4], [0, 0, 0]])
    np.testing.assert_allclose(projection.project(camera, points), [[12, 16], [10, 20]])

  @parameterized.parameters(0.0, 90.0)
  def test_gradient_matches_central_differences(self, yaw):
    with jax.enable_x64(True):
      rng = np.random.default_rng(0)
      rotation = projection.rotation_from_euler(np.deg2rad(yaw), 0.1, -0.2)
      camera = projection.camera_from_pose(rotation, 0.8, jnp.array([50.0, 60]))
      points = jnp.asarray(rng.normal(size=(40, 3)) * 50)
      direction = jnp.asarray(rng.normal(size=(2, 4)))
      loss = lambda m: jnp.sum(jnp.sin(projection.project(m, points) / 9))
      _, exact = jax.jvp(loss, (camera,), (direction,))
      h = 1e-6
      numeric = (loss(camera + h * direction) - loss(camera - h * direction)) / (2 * h)
      self.assertGreater(abs(float(exact)), 1e-3)
      # Truncation: |second derivative| h^2 = (60/9)^3 1e-12; rounding 1e-10.
      np.testing.assert_allclose(exact, numeric, rtol=1e-6)

  def test_wrong_shapes_are_named(self):
    with self.assertRaisesRegex(ValueError, r'camera must be \(2, 4\)'):
      projection.project(jnp.zeros((3, 4)), jnp.zeros((5, 3)))
    with self.assertRaisesRegex(ValueError, r'shape \(5, 2\)'):
      projection.project(jnp.zeros((2, 4)), jnp.zeros((5, 2)))


class FrameTest(parameterized.TestCase):
  def test_nose_of_the_built_in_face_points_at_a_frontal_camera(self):
    for level in range(2):
      model = load_face_model(f'builtin-{level}' if level else 'builtin')
      camera = boxes.initial_params(model, 114).camera
      front = projection.frontability(camera, model.mean_normals)
      self.assertGreater(float(front[int(model.nose_tip)]), 0.9)

  def test_smaller_depth_is_nearer(self):
    camera = jnp.array([[0.5, 0, 0, 0], [0, -0.5, 0, 0]])
    near, far = projection.depth(camera, jnp.array([[0, 0, 10.0], [0, 0, -10]]))
    self.assertLess(float(near), float(far))
    # Pixels: 20 units at 0.5 pixels a unit.
    np.testing.assert_allclose(far - near, 10.0, rtol=1e-6)

  def test_axes_are_those_of_project_and_depth(self):
    rng = np.random.default_rng(3)
    camera, points = rng.normal(size=(2, 4)), rng.normal(size=(7, 3))
    found = points @ np.asarray(projection.axes(jnp.asarray(camera))).T
    # float32 against float64, of numbers up to 10.
    np.testing.assert_allclose(
      found[:, :2] + camera[:, 3], projection.project(camera, points), atol=1e-5
    )
    np.testing.assert_allclose(found[:, 2], projection.depth(camera, points), atol=1e-5)

  def test_a_mesh_lies_on_its_photo_and_keeps_its_sense(self):
    rng = np.random.default_rng(1)
    axis, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axis *= np.sign(np.linalg.det(axis))
    camera = np.concatenate([0.8 * axis[:2] * [[1], [-1]], [[50], [60]]], axis=1)
    vertices = rng.normal(scale=30, size=(20, 3))
    placed = projection.image_vertices(camera, vertices)
    np.testing.assert_allclose(placed[:, :2], vertices @ camera[:, :3].T + camera[:, 3])
    # A rotation with a scale: no mirror, distances times 0.8.
    linear = np.linalg.lstsq(vertices - vertices[0], placed - placed[0], rcond=None)[0]
    self.assertAlmostEqual(np.linalg.det(linear), 0.8**3, places=9)
    # Nearer to the viewer is smaller: the third row of the rotation points at him.
    np.testing.assert_allclose(placed[:, 2], -0.8 * vertices @ axis[2], atol=1e-12)
    # On the device in float32, of numbers up to 100.
    np.testing.assert_allclose(
      projection.depth(jnp.float32(camera), jnp.float32(vertices)),
      placed[:, 2],
      atol=1e-4,
    )

  def test_visible_is_facing_the_camera(self):
    front = np.array([-0.1, 0.0, 1e-30, 0.5, np.nan])
    np.testing.assert_array_equal(
      projection.is_visible(front), [False, False, True, True, False]
    )

  def test_frontability_is_the_cosine_to_the_viewer(self):
    camera = jnp.array([[0.5, 0, 0, 0], [0, -0.5, 0, 0]])
    normals = jnp.array([[0, 0, 1.0], [0.6, 0, 0.8], [0, 0, -1], [1, 0, 0]])
    np.testing.assert_allclose(
      projection.frontability(camera, normals), [1, 0.8, 0, 0], atol=1e-7
    )

  def test_gradient_of_a_vertex_seen_edge_on_is_zero(self):
    camera = jnp.array([[0.5, 0, 0, 0], [0, -0.5, 0, 0]])
    grad = jax.grad(lambda m: projection.frontability(m, jnp.array([[1.0, 0, 0]]))[0])(
      camera
    )
    np.testing.assert_array_equal(grad, 0.0)

  def test_a_turned_head_hides_the_far_half(self):
    model = load_face_model()
    start = boxes.initial_params(model, 114)

    def hidden(yaw):
      rotation = projection.rotation_from_euler(jnp.deg2rad(yaw), 0.0, 0.0)
      face = start.replace(
        camera=projection.camera_from_pose(rotation, 0.8, jnp.array([56.0, 56.0]))
      )
      seen = projection.landmark_visibility(model, face, 'ibug68')
      return 68 - int(seen.sum()), np.asarray(seen)

    frontal, _ = hidden(0.0)
    profile, seen = hidden(80.0)
    self.assertEqual(frontal, 0)
    self.assertGreater(profile, 15)
    # One jaw side stays visible as a whole, the other vanishes.
    self.assertLess(min(seen[:8].sum(), seen[9:17].sum()), 2)
    self.assertGreater(max(seen[:8].sum(), seen[9:17].sum()), 6)


class PoseTest(parameterized.TestCase):
  @parameterized.parameters((0.0, 0.0, 0.0), (60.0, -20.0, 15.0), (-85.0, 30.0, -40.0))
  def test_round_trip(self, yaw, pitch, roll):
    rotation = projection.rotation_from_euler(
      *(jnp.deg2rad(x) for x in (yaw, pitch, roll))
    )
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-6)
    camera = projection.camera_from_pose(rotation, 1.7, jnp.array([3.0, 4.0]))
    pose = projection.pose_from_camera(camera)
    np.testing.assert_allclose(
      np.rad2deg([pose['yaw'], pose['pitch'], pose['roll']]),
      [yaw, pitch, roll],
      atol=2e-3,
    )  # asin near +-90 degrees, float32
    np.testing.assert_allclose(pose['scale'], 1.7, rtol=1e-5)
    np.testing.assert_allclose(pose['rotation'], rotation, atol=1e-5)

  @parameterized.parameters(120.0, -120.0, 179.0, -91.0, 90.5)
  def test_heads_beyond_profile_keep_their_pitch_and_roll(self, yaw):
    for pitch, roll in ((0.0, 0.0), (10.0, -15.0), (-30.0, 25.0)):
      angles = np.deg2rad([yaw, pitch, roll])
      rotation = projection.rotation_from_euler(*angles, xp=np)
      found = np.array(projection.euler_from_rotation(rotation, xp=np))
      # float64; asin near +-90 degrees loses half of its digits.
      np.testing.assert_allclose(found, angles, atol=1e-7)

  def test_yaw_grows_without_a_jump_through_the_profile(self):
    yaws = np.arange(-179.5, 180.0, 1.0)
    rotations = [
      projection.rotation_from_euler(*np.deg2rad([yaw, 8.0, -5.0]), xp=np)
      for yaw in yaws
    ]
    found = np.rad2deg(jax.vmap(projection.euler_from_rotation)(np.float32(rotations)))
    # float32, and asin next to +-90 degrees.
    np.testing.assert_allclose(found[0], yaws, atol=0.02)
    np.testing.assert_allclose(found[1], 8.0, atol=0.02)
    np.testing.assert_allclose(found[2], -5.0, atol=0.02)

  @parameterized.parameters((20.0, 10.0, 180.0), (-50.0, 40.0, 170.0), (0.0, 5.0, -178))
  def test_a_photo_that_is_upside_down_is_a_roll(self, yaw, pitch, roll):
    angles = np.deg2rad([yaw, pitch, roll])
    rotation = projection.rotation_from_euler(*angles, xp=np)
    found = np.array(projection.euler_from_rotation(rotation, xp=np))
    np.testing.assert_allclose(found[:2], angles[:2], atol=1e-12)
    np.testing.assert_allclose(np.abs(found[2]), np.abs(angles[2]), atol=1e-12)

  def test_angles_of_every_rotation_give_it_back(self):
    rng = np.random.default_rng(0)
    angles = rng.uniform(-np.pi, np.pi, (500, 3))
    # Exact profiles, where pitch and roll are not determined one by one.
    angles[:20, 0] = np.pi / 2 * rng.choice([-1, 1], 20)
    for number, (yaw, pitch, roll) in enumerate(angles):
      rotation = projection.rotation_from_euler(yaw, pitch, roll, xp=np)
      if number < 10:
        rotation[0, :2] = rotation[1:, 2] = 0.0
      found = projection.euler_from_rotation(rotation, xp=np)
      self.assertLessEqual(np.abs(found).max(), np.pi)
      if rotation[2, 2] >= 0:
        self.assertLessEqual(abs(found[0]), np.pi / 2)
      # asin next to +-90 degrees: half of the digits of float64.
      np.testing.assert_allclose(
        projection.rotation_from_euler(*found, xp=np), rotation, atol=1e-7
      )

  def test_the_angles_have_finite_gradients(self):
    for yaw, pitch, roll in ((0, 0, 0), (90, 0, 0), (-90, 0, 0), (120, 10, -20)):
      rotation = projection.rotation_from_euler(*np.deg2rad([yaw, pitch, roll]), xp=np)
      # Without the rounding of cos 90 degrees: the singular case itself.
      rotation = jnp.asarray(
        np.where(np.abs(rotation) < 1e-12, 0, rotation), jnp.float32
      )
      for angle in range(3):
        gradient = jax.grad(lambda r, a=angle: projection.euler_from_rotation(r)[a])
        self.assertTrue(np.isfinite(gradient(rotation)).all(), (yaw, angle))
    gradient = jax.grad(lambda r: sum(projection.euler_from_rotation(r)))
    self.assertTrue(np.isfinite(gradient(jnp.zeros((3, 3)))).all())

  def test_nearest_scaled_rotation_matches_the_singular_value_form(self):
    rng = np.random.default_rng(0)
    for _ in range(20):
      camera = rng.normal(size=(2, 4)).astype(np.float32)
      u, s, vt = np.linalg.svd(camera[:, :3], full_matrices=False)
      rows, scale = projection.nearest_scaled_rotation(jnp.asarray(camera))
      # float32; the closed form divides by the smaller singular value.
      np.testing.assert_allclose(rows, u @ vt, atol=2e-5)
      np.testing.assert_allclose(scale, s.mean(), rtol=1e-5)

  def test_degenerate_cameras_stay_finite(self):
    for camera in (np.zeros((2, 4)), np.ones((2, 4))):
      camera = jnp.asarray(camera, jnp.float32)
      rows, scale = projection.nearest_scaled_rotation(camera)
      self.assertTrue(np.all(np.isfinite(rows)) and np.isfinite(scale))
      grad = jax.grad(lambda m: jnp.sum(projection.depth(m, jnp.ones((3, 3)))))(camera)
      self.assertTrue(np.all(np.isfinite(grad)))


class LandmarksTest(absltest.TestCase):
  def test_equal_to_the_whole_shape_indexed(self):
    rng = np.random.default_rng(0)
    face = FaceParams(
      boxes.initial_params(_MODEL, 100).camera,
      jnp.asarray(rng.normal(size=8), jnp.float32),
      jnp.asarray(rng.normal(size=4), jnp.float32),
    )
    whole = projection.project(face.camera, morphable_model.shape(_MODEL, face))
    for scheme, b in _MODEL.landmark_schemes.items():
      # float32 of points some tens of pixels away, in sums of another order.
      np.testing.assert_allclose(
        projection.landmarks(_MODEL, face, scheme), whole[b], atol=1e-4
      )

  def test_unknown_scheme_lists_the_known(self):
    with self.assertRaisesRegex(ValueError, "'ibug99'; it has ibug34, ibug68"):
      projection.landmarks(_MODEL, boxes.initial_params(_MODEL, 100), 'ibug99')


if __name__ == '__main__':
  absltest.main()
