"""Tests of boxes.py: the half-pixel rule, round trips, jitter, P^0."""

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import boxes, cropping, projection
from pifa_jax.types import FaceParams
from tests.toy_model import make_toy_model


def slow_crop(image, box, size):
  """Every crop pixel by its definition: a triangle over its footprint."""
  height, width, channels = image.shape
  crop = np.zeros((size, size, channels))
  reach = [max(side / size, 1.0) for side in box[2:]]
  for v in range(size):
    for u in range(size):
      x = box[0] + (u + 0.5) * box[2] / size
      y = box[1] + (v + 0.5) * box[3] / size
      total = 0.0
      for row in range(int(np.floor(y - reach[1])), int(np.ceil(y + reach[1])) + 1):
        for column in range(
          int(np.floor(x - reach[0])), int(np.ceil(x + reach[0])) + 1
        ):
          weight = max(0, 1 - abs(row - y) / reach[1]) * max(
            0, 1 - abs(column - x) / reach[0]
          )
          total += weight
          if 0 <= row < height and 0 <= column < width:
            crop[v, u] += weight * image[row, column]
      crop[v, u] /= total
  return crop


class BoxesTest(parameterized.TestCase):
  def test_crop_points_golden(self):
    # The whole 4 x 4 image on 8 x 8: its first pixel covers crop pixels 0 and 1.
    whole = jnp.array([-0.5, -0.5, 4.0, 4.0])
    np.testing.assert_allclose(
      boxes.crop_points(jnp.array([[0.0, 0.0], [3.0, 1.0]]), whole, 8),
      [[0.5, 0.5], [6.5, 2.5]],
    )
    # Outer edges go to outer edges; width and height may differ.
    box = jnp.array([10.0, 20.0, 40.0, 80.0])
    np.testing.assert_allclose(
      boxes.crop_points(jnp.array([[10.0, 20.0], [50.0, 100.0]]), box, 100),
      [[-0.5, -0.5], [99.5, 99.5]],
    )

  def test_points_round_trip(self):
    points = jax.random.uniform(jax.random.key(0), (9, 2), maxval=500.0)
    box = jnp.array([31.5, -7.25, 120.0, 90.0])
    back = boxes.uncrop_points(boxes.crop_points(points, box, 114), box, 114)
    # float32 of numbers up to 500: a few units of 3e-5.
    np.testing.assert_allclose(back, points, atol=3e-4)

  def test_params_project_into_the_crop(self):
    model = make_toy_model()
    box = jnp.array([31.5, -7.25, 120.0, 90.0])
    face = FaceParams(
      camera=projection.camera_from_pose(
        projection.rotation_from_euler(0.5, 0.1, -0.2), 0.7, jnp.array([90.0, 40.0])
      ),
      identity=jnp.linspace(-1.0, 1.0, 8),
      expression=jnp.ones(4),
    )
    inside = boxes.crop_params(face, box, 114)
    # float32 of numbers up to 200.
    np.testing.assert_allclose(
      projection.landmarks(model, inside, 'ibug68'),
      boxes.crop_points(projection.landmarks(model, face, 'ibug68'), box, 114),
      atol=2e-4,
    )
    back = boxes.uncrop_params(inside, box, 114)
    # float32 of numbers up to 200.
    np.testing.assert_allclose(back.camera, face.camera, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(back.identity, face.identity)

  def test_scale_camera_is_a_crop_of_another_size(self):
    face = FaceParams(
      camera=jnp.array([[1.0, 0.2, 0.1, 5.0], [0.3, -1, 0, 9.0]]),
      identity=jnp.zeros(1),
      expression=jnp.zeros(1),
    )
    box = jnp.array([3.0, 4.0, 60.0, 60.0])
    at_114 = boxes.crop_params(face, box, 114).camera
    # float32 of products of numbers up to 60.
    np.testing.assert_allclose(
      boxes.scale_camera(at_114, 0.5),
      boxes.crop_params(face, box, 57).camera,
      rtol=1e-5,
    )

  def test_turning_golden(self):
    # A quarter, clockwise as one sees it: what was right is below.
    turned = boxes.rotate_points(
      jnp.array([[5.0, 2.0], [3.0, 1.0]]), jnp.array([3.0, 2.0]), jnp.pi / 2
    )
    # float32: the cosine of pi / 2 is not 0.
    np.testing.assert_allclose(turned, [[3, 4], [4, 2]], atol=1e-5)

  def test_turned_params_project_to_turned_points(self):
    model = make_toy_model()
    rng = np.random.default_rng(4)
    face = FaceParams(
      camera=jnp.asarray(rng.normal(size=(2, 4)), jnp.float32),
      identity=jnp.asarray(rng.normal(size=model.num_identity), jnp.float32),
      expression=jnp.zeros(model.num_expression),
    )
    centre, angle = jnp.array([20.0, -3.0]), 0.7
    turned = boxes.rotate_params(face, centre, angle)
    # float32 of points some hundred pixels away.
    np.testing.assert_allclose(
      projection.landmarks(model, turned, 'ibug68'),
      boxes.rotate_points(projection.landmarks(model, face, 'ibug68'), centre, angle),
      atol=1e-3,
    )
    back = boxes.rotate_params(turned, centre, -angle)
    # float32 of numbers up to 30, rotated twice.
    np.testing.assert_allclose(back.camera, face.camera, atol=1e-5)

  def test_square_box_golden(self):
    np.testing.assert_allclose(
      boxes.square_box(jnp.array([10.0, 20.0, 4.0, 9.0])), [9.0, 21.5, 6.0, 6.0]
    )

  def test_scale_box_golden(self):
    box = jnp.array([10.0, 20, 8, 4])
    np.testing.assert_allclose(boxes.scale_box(box, 1.5), [8, 19, 12, 6])

  def test_points_box_ignores_hidden_points(self):
    points = jnp.array([[1.0, 2.0], [5.0, 3.0], [jnp.nan, 9.0], [2.0, 8.0]])
    visible = jnp.array([True, True, False, True])
    np.testing.assert_array_equal(boxes.points_box(points, visible), [1, 2, 4, 6])

  def test_jitter_stays_in_its_bounds_and_fills_them(self):
    box = jnp.array([10.0, 20.0, 100.0, 50.0])
    out = np.asarray(
      jax.vmap(lambda key: boxes.jitter_box(key, box))(
        jax.random.split(jax.random.key(1), 500)
      )
    )
    move = (out[:, :2] + out[:, 2:] / 2 - [60, 45]) / [100, 50]
    factor = out[:, 2:] / [100, 50]
    for value, middle in ((move, 0.0), (factor, 1.0)):
      # 500 uniform draws come within 2 % of both ends but once in 20,000 times.
      self.assertBetween(value.min(), middle - 0.1001, middle - 0.096)
      self.assertBetween(value.max(), middle + 0.096, middle + 0.1001)
    np.testing.assert_allclose(factor[:, 0], factor[:, 1], rtol=1e-5)
    free = boxes.jitter_box(jax.random.key(1), box, anisotropic=True)
    self.assertGreater(abs(float(free[2] / 100 - free[3] / 50)), 1e-3)
    np.testing.assert_allclose(
      boxes.jitter_box(jax.random.key(1), box, shift=0, scale=0), box, rtol=1e-6
    )
    # Wider by a quarter, about the same centre.
    np.testing.assert_allclose(
      boxes.jitter_box(jax.random.key(1), box, shift=0, scale=0, box_scale=1.25),
      [-2.5, 13.75, 125, 62.5],
      rtol=1e-6,
    )

  def test_crop_of_the_whole_image_is_the_image(self):
    image = jax.random.normal(jax.random.key(2), (7, 7, 3))
    crop = cropping.resample_crop(image, jnp.array([-0.5, -0.5, 7.0, 7.0]), 7)
    np.testing.assert_allclose(crop, image, atol=1e-6)

  @parameterized.named_parameters(
    ('larger', (2.25, 1.5, 5.0, 4.0), 12),
    ('smaller', (-0.5, 0.0, 14.0, 11.0), 4),
    ('across_the_border', (-6.0, 5.0, 13.0, 16.0), 6),
    ('one_axis_each', (1.0, -0.5, 3.0, 20.0), 7),
  )
  def test_crop_against_a_loop(self, box, size):
    image = np.random.default_rng(3).normal(size=(12, 15, 2))
    # float32 sums of at most 40 terms of order 1.
    np.testing.assert_allclose(
      cropping.resample_crop(jnp.float32(image), jnp.array(box), size),
      slow_crop(image, box, size),
      atol=2e-6,
    )

  def test_a_dot_lands_where_crop_points_says(self):
    image = jnp.zeros((40, 40, 1)).at[17, 23].set(1.0)
    box = jnp.array([8.0, 6.0, 24.0, 24.0])
    crop = cropping.resample_crop(image, box, 96)[..., 0]
    rows, columns = jnp.mgrid[:96, :96]
    centre = jnp.stack([jnp.sum(crop * columns), jnp.sum(crop * rows)]) / crop.sum()
    # The mean over a symmetric triangle is its middle.
    np.testing.assert_allclose(
      centre, boxes.crop_points(jnp.array([[23.0, 17.0]]), box, 96)[0], atol=1e-3
    )

  def test_far_outside_is_grey(self):
    crop = cropping.resample_crop(jnp.ones((5, 5, 3)), jnp.array([90.0, 0, 9, 9]), 6)
    np.testing.assert_array_equal(crop, np.zeros((6, 6, 3)))

  def test_initial_params_fill_the_crop(self):
    model = make_toy_model()
    points = projection.landmarks(model, boxes.initial_params(model, 114), 'ibug68')
    box = np.asarray(boxes.points_box(points, jnp.ones(68, bool)))
    # float32 of sums of numbers up to 114.
    self.assertAlmostEqual(float(np.sqrt(box[2] * box[3])), 114.0, places=2)
    np.testing.assert_allclose(box[:2] + box[2:] / 2, [56.5, 56.5], atol=1e-3)
    # Upright: the chin (8) is below the nose tip (33) on the crop.
    self.assertGreater(points[8, 1], points[33, 1] + 20)
    with self.assertRaisesRegex(ValueError, 'ibug68'):
      boxes.initial_params(model.replace(landmark_schemes={}), 114)


if __name__ == '__main__':
  absltest.main()
