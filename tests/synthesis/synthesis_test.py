"""Parts of synthetic faces: colours, skin, light, camera faults, shells."""

import dataclasses

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.face_models import load_expression_units, load_face_model
from pifa_jax.synthesis import anatomy as anatomy_lib
from pifa_jax.synthesis import (
  backgrounds,
  colors,
  face_distribution,
  full_renderer,
  hair,
  imaging,
  lighting,
  meshes,
  skin,
)
from pifa_jax.synthesis.draws import Draws
from pifa_jax.synthesis.ingredients import Ingredients


def _many(function, count=512, size=16):
  keys = jax.random.split(jax.random.key(0), count)
  return np.asarray(jax.jit(jax.vmap(lambda k: function(Draws(k, size))))(keys))


class DrawsTest(absltest.TestCase):
  def test_moments_and_bounds(self):
    got = _many(lambda d: jnp.stack([d.uniform(2, 5), d.normal(1, 2)]), 4096)
    self.assertTrue(np.all((got[:, 0] >= 2) & (got[:, 0] < 5)))
    # 4,096 numbers: standard errors of 0.014 and 0.03; five of them.
    np.testing.assert_allclose(got.mean(axis=0), [3.5, 1.0], atol=0.16)
    np.testing.assert_allclose(got[:, 1].std(), 2.0, atol=0.12)

  def test_chance_and_choice(self):
    got = _many(
      lambda d: jnp.stack(
        [d.chance(0.0), d.chance(1.0), d.chance(0.25), d.choice((1.0, 0.0, 3.0))]
      ),
      4096,
    )
    self.assertEqual(got[:, 0].max(), 0)
    self.assertEqual(got[:, 1].min(), 1)
    np.testing.assert_allclose(got[:, 2].mean(), 0.25, atol=0.04)
    np.testing.assert_allclose(
      np.bincount(got[:, 3], minlength=3) / 4096, [0.25, 0, 0.75], atol=0.04
    )

  def test_too_many_numbers_are_refused(self):
    with self.assertRaisesRegex(ValueError, 'more than 4 numbers'):
      Draws(jax.random.key(0), 4).uniform(shape=(5,))


class ColorsTest(absltest.TestCase):
  def test_lab_of_known_colours(self):
    # CIE Lab (D65) of sRGB white, mid grey 119 and pure red, from their definition.
    lab = jnp.array([[100.0, 0, 0], [50.0, 0, 0], [53.24, 80.09, 67.2]])
    np.testing.assert_allclose(
      colors.lab_to_linear(lab), [[1, 1, 1], [0.1842] * 3, [1, 0, 0]], atol=5e-3
    )

  def test_skin_covers_the_human_range(self):
    tones = _many(lambda d: colors.skin(d, 1.0))
    light = tones @ colors.LUMINANCE
    self.assertLess(light.min(), 0.08)
    self.assertGreater(light.max(), 0.42)
    self.assertTrue(np.all(tones[:, 0] > tones[:, 2]))  # never blue
    self.assertLess(np.ptp(_many(lambda d: colors.skin(d, 0.0)), axis=0).max(), 1e-6)


class PopulationTest(absltest.TestCase):
  def test_pose_distribution(self):
    keys = jax.random.split(jax.random.key(1), 4096)
    config = face_distribution.FaceDistribution(yaw_max=80)
    angles = np.asarray(jax.vmap(lambda k: face_distribution.pose(k, config))(keys))
    self.assertLessEqual(np.abs(angles[:, 0]).max(), 80)
    self.assertGreater((np.abs(angles[:, 0]) > 60).mean(), 0.2)
    np.testing.assert_allclose(angles[:, 1:].mean(axis=0), [6, 2], atol=1.2)
    np.testing.assert_allclose(angles[:, 1:].std(axis=0), [13.3, 16.5], atol=1.2)

  def test_eyes_close_as_often_as_wanted(self):
    names = tuple(load_expression_units())
    groups = face_distribution.unit_groups(names)
    config = face_distribution.FaceDistribution(closed_eyes=0.3, num_units=1)
    keys = jax.random.split(jax.random.key(2), 512)
    found = jax.jit(
      jax.vmap(
        lambda k: face_distribution.expression(
          k, None, config, np.eye(len(names)), groups
        )
      )
    )(keys)
    share = np.mean(np.asarray(found)[:, names.index('eyeBlinkLeft')] > 0.65)
    np.testing.assert_allclose(share, 0.3, atol=0.1)

  def test_changed_fields(self):
    usual = face_distribution.FaceDistribution()
    # Every field has a range, which holds its usual value.
    self.assertEqual(usual.changed(dataclasses.asdict(usual)), usual)
    still = usual.changed(
      {
        'num_units': 0.0,
        'closed_eyes': 0,
        'open_mouth': 0,
        'pursed_mouth': 0,
        'smile': 0,
      }
    )
    names = tuple(load_expression_units())
    found = face_distribution.expression(
      jax.random.key(3),
      None,
      still,
      np.eye(len(names)),
      face_distribution.unit_groups(names),
    )
    self.assertEqual(np.abs(found).max(), 0)
    self.assertEqual(usual.changed({}), usual)
    with self.assertRaisesRegex(
      ValueError, "'yaw' is not a field .*yaw_max, pitch_mean"
    ):
      usual.changed({'yaw': 45})


class HeadTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = load_face_model('builtin')
    cls.anatomy = anatomy_lib.build_anatomy(cls.model)

  def test_hollows_see_less_light(self):
    seen = self.anatomy.visibility.mean(axis=1)
    nose = seen[int(self.model.nose_tip)]
    nostrils = seen[np.asarray(self.model.regions['nostrils'])].mean()
    inside = seen[np.asarray(self.model.regions['mouth_inside'])].mean()
    self.assertGreater(nose, 0.4)
    self.assertLess(nostrils, 0.6 * nose)
    self.assertLess(inside, 0.5 * nose)

  def test_white_surroundings_give_unit_light(self):
    light = lighting.Light(
      harmonics=jnp.zeros((9, 3)).at[0].set(1.0),
      directions=jnp.eye(3)[:2],
      colors=jnp.zeros((2, 3)),
      width=jnp.ones(2),
    )
    normals = jnp.array([[0.0, 0, 1], [0.6, 0, 0.8]])
    args = (jnp.eye(3), self.anatomy.directions)
    # 48 directions sample the half sphere to a few percent.
    np.testing.assert_allclose(
      lighting.irradiance(light, normals, *args, jnp.ones((2, 48))), 1.0, atol=0.05
    )
    np.testing.assert_allclose(
      lighting.irradiance(light, normals, *args, jnp.full((2, 48), 0.5)), 0.5, atol=0.03
    )
    np.testing.assert_allclose(lighting.open_irradiance(light, normals), 1.0, rtol=1e-5)

  def test_the_iris_follows_the_gaze(self):
    person = skin.random_complexion(jax.random.key(0), Ingredients())
    renderer = lambda gaze: skin.eyeball_color(
      jnp.asarray(self.anatomy.eyes[:, :2]) + jnp.array([4.0, 0.0]),
      dataclasses.replace(person, gaze=jnp.array(gaze)),
      self.anatomy,
    )
    # 4 mm beside the middle: the pupil when one looks there, else the iris.
    self.assertLess(float(renderer([4.0, 0.0]).max()), 0.02)
    self.assertGreater(float(renderer([-4.0, 0.0]).min()), 0.05)

  def test_brows_are_where_their_landmarks_are(self):
    person = skin.random_complexion(jax.random.key(0), Ingredients())
    person = dataclasses.replace(
      person,
      brow_color=jnp.zeros(3),
      brow_density=jnp.float32(0.9),
      brow_shape=jnp.array([3.0, 0.0, 0.0, 0.0]),
    )
    paint = lambda place: skin.paint_brows(
      jnp.ones((len(place), 3)), place, person, self.anatomy, jnp.zeros(len(place))
    )[:, 0]
    places = jnp.asarray(self.anatomy.brow[1:4])
    for side in (1, -1):
      self.assertLess(float(paint(places * jnp.array([side, 1.0])).max()), 0.3)
    away = jnp.concatenate(
      [places + jnp.array([0.0, 9.0]), places - jnp.array([0.0, 9.0])]
    )
    np.testing.assert_allclose(paint(away), 1.0)

  def test_hair_surrounds_the_skull(self):
    config = Ingredients(hair=1.0, headwear=0.0)
    vertices = jax.jit(
      lambda key: (
        hair.hair_and_headwear(
          key, self.anatomy, jnp.asarray(self.model.mean_shape), jnp.ones(3), config
        )[0].vertices
      )
    )(jax.random.key(3))
    half = len(vertices) // 2
    shell, hat = np.asarray(vertices[:half]), vertices[half:]
    self.assertTrue(np.all(np.isnan(hat)))
    skull = np.asarray(self.model.mean_shape)
    self.assertGreater(shell[:, 1].max(), skull[:, 1].max())
    self.assertLess(shell[:, 2].min(), skull[:, 2].min())


class ViewTest(absltest.TestCase):
  def test_perspective_enlarges_what_is_near(self):
    view = lambda nearness: full_renderer.View(
      rotation=jnp.eye(3),
      scale=jnp.float32(2.0),
      translation=jnp.zeros(2),
      nearness=jnp.float32(nearness),
      centre=jnp.array([1.0, 0.0, 5.0]),
    )
    points = jnp.array([[3.0, 4, 5], [3.0, 4, 105], [3.0, 4, -95]])
    flat, depth = view(0.0)(points)
    np.testing.assert_allclose(flat, [[6, -8]] * 3, rtol=1e-6)
    np.testing.assert_allclose(depth, [-10, -210, 190], rtol=1e-6)
    # 500 units away: 100 nearer is 500 / 400 as large, 100 farther 500 / 600.
    near, _ = view(1 / 500)(points)
    factor = np.array([1, 5 / 4, 5 / 6])[:, None]
    np.testing.assert_allclose(near, [2, 0] + factor * np.array([4, -8]), rtol=1e-5)


class MeshesTest(absltest.TestCase):
  def test_a_tube_is_closed_around_its_line(self):
    line = jnp.stack([jnp.linspace(0, 9, 4), jnp.zeros(4), jnp.zeros(4)], -1)
    ring = meshes.tube(line, 2.0, jnp.array([0.0, 0, 1])).reshape(4, 4, 3)
    np.testing.assert_allclose(ring.mean(axis=1), line, atol=1e-5)
    np.testing.assert_allclose(np.abs(ring[:, :, 1:]), 1.5, atol=1e-5)
    self.assertEqual(len(meshes.tube_triangles(4)), 2 * 2 * 4 * 3)


class BackgroundsTest(absltest.TestCase):
  def draw(self, photos, share):
    keys = jax.random.split(jax.random.key(3), 200)
    return np.asarray(
      jax.jit(
        lambda keys: jax.lax.map(
          lambda key: backgrounds.background(key, 24, 1.0, photos, share), keys
        )
      )(keys)
    )

  def test_as_many_photographs_as_wanted_and_the_rest_as_before(self):
    # Of no colour that anything is drawn with.
    loud = np.zeros((2, 32, 32, 3), np.uint8)
    loud[0, ..., 0], loud[1, ..., 2] = 255, 255
    drawn = self.draw(None, 0.5)
    np.testing.assert_array_equal(self.draw(loud, 0.0), drawn)
    mixed = self.draw(loud, 0.4)
    kept = (mixed == drawn).all(axis=(1, 2, 3))
    np.testing.assert_allclose(kept.mean(), 0.6, atol=0.1)
    new = mixed[~kept]
    self.assertLess(np.ptp(new, axis=(1, 2)).max(), 1e-5)  # parts of one colour
    red, green, blue = new.mean(axis=(1, 2)).T
    self.assertEqual(np.abs(green).max(), 0)
    self.assertTrue(np.all((red > 0) != (blue > 0)))
    np.testing.assert_allclose((red > 0).mean(), 0.5, atol=0.2)

  def test_a_part_is_where_the_photo_has_it(self):
    # Every pixel names its column and row in linear light.
    side = 64
    column, row = np.meshgrid(np.arange(side), np.arange(side))
    linear = np.stack([column, row, np.full_like(row, side)], axis=-1) / side
    photos = np.uint8(np.round(255 * linear ** (1 / 2.2)))[None]
    parts = self.draw(photos, 1.0)
    parts = side * parts / parts[..., 2:]  # no matter how bright
    columns, rows = parts[..., 0], parts[..., 1]
    across = np.diff(columns, axis=2)[:, :, 2:-2]
    down = np.diff(rows, axis=1)[:, 2:-2]
    np.testing.assert_allclose(np.ptp(rows, axis=2).max(), 0, atol=1e-3)
    np.testing.assert_allclose(
      np.abs(across).mean((1, 2)), down.mean((1, 2)), rtol=0.05
    )
    sizes = 24 * down.mean((1, 2)) / side
    self.assertBetween(sizes.min(), 0.36, 0.5)
    self.assertBetween(sizes.max(), 0.9, 1.02)
    np.testing.assert_allclose((across.mean((1, 2)) < 0).mean(), 0.5, atol=0.1)


class PhotographTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    smooth = np.random.default_rng(0).uniform(0.2, 0.8, (6, 6, 3))
    cls.image = jax.image.resize(jnp.float32(smooth), (48, 48, 3), 'cubic')

  def test_jpeg_loses_more_at_lower_quality(self):
    loss = [
      float(jnp.abs(imaging.jpeg(jax.random.key(1), self.image, q) - self.image).mean())
      for q in (95.0, 50.0, 10.0)
    ]
    self.assertLess(loss[0], 0.03)
    self.assertGreater(loss[2], loss[1])
    self.assertGreater(loss[1], loss[0])

  def test_jpeg_keeps_a_plain_image(self):
    plain = jnp.full((20, 20, 3), 0.5)  # 127.5: at most a step of rounding away
    np.testing.assert_allclose(
      imaging.jpeg(jax.random.key(0), plain, 90.0), plain, atol=0.01
    )

  def test_resampling_keeps_means_and_loses_detail(self):
    checker = jnp.float32(np.indices((32, 32)).sum(0) % 2)[..., None] * jnp.ones(3)
    small = imaging.resample(checker, 0.25)
    np.testing.assert_allclose(small, 0.5, atol=1e-5)
    np.testing.assert_allclose(imaging.resample(checker, 1.0), checker, atol=1e-5)

  def test_faults_of_strength_zero_leave_grey_alone(self):
    off = Ingredients(
      exposure=0,
      white_balance=0,
      contrast=0,
      defocus=0,
      motion=0,
      vignette=0,
      noise=0,
      resample=0,
      jpeg=0,
      grey=0,
    )
    take = lambda config: jax.jit(
      lambda image: imaging.photo(jax.random.key(0), image, jnp.ones((48, 48)), config)
    )
    out = take(off)(jnp.full((48, 48, 3), 0.5))
    self.assertLess(float(jnp.ptp(out)), 1e-3)
    grey = take(dataclasses.replace(off, grey=1.0))(self.image)
    self.assertLess(float(jnp.ptp(grey, axis=-1).max()), 1e-4)


if __name__ == '__main__':
  absltest.main()
