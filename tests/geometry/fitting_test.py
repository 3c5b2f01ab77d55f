"""Tests of fitting.py: round trips, noise, hostile input, the dual solver."""

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import fitting, projection
from pifa_jax.types import FaceParams
from tests.toy_model import make_toy_model

MODEL = make_toy_model()


def make_faces(count, seed=0, model=MODEL):
  """Faces up to +-60 degrees of yaw, one standard deviation of shape."""
  rng = np.random.default_rng(seed)
  cameras = []
  for _ in range(count):
    yaw, pitch, roll = np.deg2rad(rng.uniform(-1, 1, 3) * [60, 25, 30])
    cameras.append(
      np.asarray(
        projection.camera_from_pose(
          projection.rotation_from_euler(yaw, pitch, roll),
          rng.uniform(0.3, 3.0),
          rng.uniform(-200, 900, 2),
        )
      )
    )
  return FaceParams(
    camera=jnp.array(cameras),
    identity=jnp.array(rng.normal(size=(count, model.num_identity)), jnp.float32)
    * model.identity_stddev,
    expression=jnp.array(rng.normal(size=(count, model.num_expression)), jnp.float32)
    * model.expression_stddev,
  )


@jax.jit
def landmarks_of(faces):
  return jax.vmap(lambda f: projection.landmarks(MODEL, f, 'ibug68'))(faces)


@jax.jit
def _fit_64(points, visible):
  return jax.vmap(lambda p, v: fitting.fit_landmarks(MODEL, p, v, scheme='ibug68'))(
    points, visible
  )


def fit(points, visible):
  # One shape, one compilation for the whole file.
  count = len(points)
  fill = lambda a: np.concatenate([a, np.zeros((64 - count,) + a.shape[1:], a.dtype)])
  return jax.tree.map(
    lambda a: a[:count], _fit_64(fill(np.float32(points)), fill(visible))
  )


def sizes(points):
  extent = np.ptp(points, axis=1)
  return np.sqrt(extent[:, 0] * extent[:, 1])


class FitLandmarksTest(parameterized.TestCase):
  def test_round_trip(self):
    faces = make_faces(64)
    points = np.asarray(landmarks_of(faces))
    fitted, residual = fit(points, np.ones((64, 68), bool))
    error = np.linalg.norm(landmarks_of(fitted) - points, axis=-1).mean(axis=1)
    relative = error / sizes(points)
    # The residual that comes back is the error of the P that comes back.
    np.testing.assert_allclose(residual, relative, rtol=0.02, atol=1e-5)
    # Here four rounds of the alternation have not quite converged (0.48 %, less
    # with more): this model's few modes move all of the face, as the pose does.
    self.assertLess(relative.mean(), 0.007)
    # It is the pose, too, and not another face that looks alike. Shape and pose
    # trade off in one view: the worst of these 64 is 8.8 degrees off (float32,
    # CPU), the middle one 3.2.
    angles = []
    for got, wanted in zip(fitted.camera, faces.camera, strict=True):
      rows, _ = projection.nearest_scaled_rotation(got)
      truth, _ = projection.nearest_scaled_rotation(wanted)
      cosine = np.einsum('ij,ij', rows, truth) / 2
      angles.append(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
    self.assertLess(np.median(angles), 4)
    self.assertLess(max(angles), 10)

  @parameterized.parameters('ibug68', 'ibug34')
  def test_built_in_face_within_half_a_percent(self, scheme):
    # What is asked of Sec. 3.1's fit on exact labels, with its default settings.
    # Measured: 0.39 % with 68 points, 0.45 % with 34.
    model = projection.landmark_model(load_face_model('builtin'), scheme)
    faces = make_faces(32, model=model)
    points = jax.vmap(lambda f: projection.landmarks(model, f, scheme))(faces)
    visible = jnp.ones(points.shape[:2], bool)
    fitted, _ = jax.jit(
      jax.vmap(lambda p, v: fitting.fit_landmarks(model, p, v, scheme=scheme))
    )(points, visible)
    error = jnp.linalg.norm(
      jax.vmap(lambda f: projection.landmarks(model, f, scheme))(fitted) - points,
      axis=-1,
    )
    self.assertLess(np.mean(error.mean(axis=1) / sizes(points)), 0.005)

  def test_camera_is_weak_perspective(self):
    fitted, _ = fit(np.asarray(landmarks_of(make_faces(8))), np.ones((8, 68), bool))
    rows = np.asarray(fitted.camera[:, :, :3])
    norm = np.linalg.norm(rows, axis=-1)
    # A closed form in float32, several roundings deep (`nearest_scaled_rotation`).
    np.testing.assert_allclose(norm[:, 0], norm[:, 1], rtol=1e-4)
    cosine = np.einsum('bi,bi->b', rows[:, 0], rows[:, 1]) / norm[:, 0] ** 2
    np.testing.assert_allclose(cosine, np.zeros(8), atol=1e-4)

  def test_noise_does_not_blow_up_the_coefficients(self):
    faces = make_faces(32, seed=1)
    points = np.asarray(landmarks_of(faces))
    rng = np.random.default_rng(2)
    noisy = points + rng.normal(size=points.shape) * 0.01 * sizes(points)[:, None, None]
    fitted, _ = fit(noisy, np.ones((32, 68), bool))
    of_stddev = np.concatenate(
      [
        fitted.identity / MODEL.identity_stddev,
        fitted.expression / MODEL.expression_stddev,
      ],
      1,
    )
    # Truth is drawn with unit deviation; a free fit on 136 noisy numbers is not.
    self.assertLess(np.sqrt(np.mean(of_stddev**2)), 1.5)
    error = np.linalg.norm(landmarks_of(fitted) - points, axis=-1).mean(axis=1)
    noise = np.linalg.norm(noisy - points, axis=-1).mean(axis=1)
    # The model averages the noise away: nearer to the truth than the labels are.
    self.assertLess(error.mean(), 0.7 * noise.mean())

  def test_hidden_points_do_not_matter(self):
    points = np.asarray(landmarks_of(make_faces(4)))
    visible = np.ones((4, 68), bool)
    visible[:, 5:20] = False
    wild = points.copy()
    wild[:, 5:20] = np.nan
    wild[0, 5:20] = 1e9
    one, two = fit(points, visible), fit(wild, visible)
    jax.tree.map(np.testing.assert_array_equal, one, two)
    self.assertLess(float(np.max(two[1])), 0.01)

  def test_moved_and_scaled_image_gives_the_same_face(self):
    points = np.asarray(landmarks_of(make_faces(4)))
    visible = np.ones((4, 68), bool)
    one, _ = fit(points, visible)
    two, _ = fit(points * 3 + [40, -70], visible)
    # float32, and conjugate gradients that stop at a thousandth.
    np.testing.assert_allclose(one.identity, two.identity, atol=0.02)
    np.testing.assert_allclose(
      one.camera[:, :, :3] * 3, two.camera[:, :, :3], rtol=0.01, atol=0.01
    )

  @parameterized.named_parameters(
    ('three_points', lambda p, v: (p, np.arange(68) < 3)),
    ('none', lambda p, v: (p, ~v)),
    ('one_place', lambda p, v: (np.full_like(p, 7.0), v)),
    ('a_line', lambda p, v: (p * [1, 0], v)),
    ('nan', lambda p, v: (np.where(np.arange(68)[:, None] == 9, np.nan, p), v)),
    ('inf', lambda p, v: (np.where(np.arange(68)[:, None] == 9, np.inf, p), v)),
  )
  def test_what_cannot_be_fitted_is_flagged(self, change):
    good = np.asarray(landmarks_of(make_faces(1)))[0]
    points, visible = change(good, np.ones(68, bool))
    fitted, residual = fit(
      np.stack([good, points]), np.stack([np.ones(68, bool), visible])
    )
    self.assertTrue(all(np.all(np.isfinite(x)) for x in jax.tree.leaves(fitted)))
    self.assertEqual(float(residual[1]), np.inf)
    np.testing.assert_array_equal(fitted.identity[1], np.zeros(8))
    # Its neighbour in the batch is not touched.
    self.assertLess(float(residual[0]), 0.01)

  @parameterized.parameters(*range(6))
  def test_random_hostile_points_stay_finite(self, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(50, 68, 2)) * 10.0 ** rng.uniform(-4, 6, (50, 1, 1))
    points[rng.random(points.shape) < 0.02] = rng.choice([np.nan, np.inf, 1e30])
    fitted, residual = fit(points.astype(np.float32), rng.random((50, 68)) < 0.9)
    self.assertTrue(all(np.all(np.isfinite(x)) for x in jax.tree.leaves(fitted)))
    self.assertFalse(np.any(np.isnan(residual)))

  def test_scheme_must_match(self):
    with self.assertRaisesRegex(ValueError, "'ibug34' has 34 points"):
      fitting.fit_landmarks(
        MODEL, np.zeros((68, 2)), np.ones(68, bool), scheme='ibug34'
      )

  def test_batch_is_one_after_the_other(self):
    points = np.asarray(landmarks_of(make_faces(3)))
    visible = np.ones((3, 68), bool)
    batch, _ = fit(points, visible)
    alone, _ = fitting.fit_landmarks(MODEL, points[1], visible[1], scheme='ibug68')
    # Same arithmetic in another order: float32 and the solver's tolerance.
    np.testing.assert_allclose(batch.identity[1], alone.identity, atol=0.02)


class FitFacesTest(absltest.TestCase):
  def test_is_fit_landmarks_for_every_face(self):
    points = np.asarray(landmarks_of(make_faces(5)))
    visible = np.ones((5, 68), bool)
    visible[2] = False
    params, residuals = fitting.fit_faces(MODEL, points, visible, scheme='ibug68')
    alone, residual = fit(points, visible)
    np.testing.assert_allclose(
      params[:, 8:16], alone.identity, atol=0.02
    )  # the solver's tolerance
    np.testing.assert_allclose(residuals, residual, rtol=0.01)
    self.assertEqual(residuals[2], np.inf)


class RidgeTest(absltest.TestCase):
  def test_dual_form_is_ridge_regression(self):
    # Against the textbook primal form, in float64 NumPy.
    rng = np.random.default_rng(4)
    count, size, noise = 12, 40, 0.05
    basis = rng.normal(size=(size, count, 3)) * 0.1
    rest, target = rng.normal(size=(count, 3)), rng.normal(size=(count, 2))
    camera = rng.normal(size=(2, 4))
    weight = (rng.random(count) < 0.8).astype(float)
    design = np.einsum('ci,kni->nck', camera[:, :3], basis).reshape(-1, size)
    right = (target - rest @ camera[:, :3].T - camera[:, 3]).reshape(-1)
    w = np.repeat(weight, 2)[:, None]
    primal = np.linalg.solve(
      (w * design).T @ design + noise**2 * np.eye(size), (w * design).T @ right
    )
    f = lambda a: jnp.asarray(a, jnp.float32)
    got, _ = fitting._ridge(
      f(camera),
      f(basis),
      fitting._kernel(f(basis)),
      f(rest),
      f(target),
      f(weight),
      noise,
      jnp.zeros(2 * count),
    )
    # The solver stops at a thousandth of the right-hand side.
    error = np.linalg.norm(got - primal) / np.linalg.norm(primal)
    self.assertLess(error, 0.01)


if __name__ == '__main__':
  absltest.main()
