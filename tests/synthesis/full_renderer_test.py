"""Tests of full_renderer.py: each ingredient changes what it should and nothing else.

The strengths are arguments of one compiled program (`faces`). The images here are taken
without a camera, whose exposure would carry any change to all pixels; imaging_test has
the camera's ingredients.
"""

import dataclasses
import functools

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from pifa_jax.geometry import projection
from pifa_jax.synthesis import full_renderer, label_maps, meshes
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import unflatten_params
from tests.golden import make_full_faces
from tests.synthesis import faces, imaging_test

_BROWS_AND_EYES = (*range(17, 28), *range(36, 48))
_NOSE_AND_MOUTH = (*range(30, 36), *range(48, 68))
_MOUTH = tuple(range(48, 68))
_DEFAULT = {name: float(getattr(Ingredients(), name)) for name in faces.NAMES}


@functools.cache
def _render(strengths=(), first=0, camera=False):
  return faces.render(dict(strengths), first=first, camera=camera)


def _grow(mask, pixels):
  """(n, S, S) -> the same with all that is at most so many pixels away."""
  around = np.ones((1, 2 * pixels + 1, 2 * pixels + 1), bool)
  # Beyond the image everything may be.
  return scipy.ndimage.binary_dilation(mask, around, border_value=1)


def _part(labels, *names):
  """(n, S, S): pixels of some parts of the head."""
  return np.isin(labels['regions'], [1 + label_maps.PARTS.index(n) for n in names])


def _near(labels, ids, share):
  """(n, S, S): pixels within a share of the face's size of a visible landmark."""
  v, u = np.indices((faces.SIZE, faces.SIZE))
  ids = list(ids)
  points = np.where(
    labels['visible'][:, ids, None], labels['landmarks'][:, ids], np.inf
  )
  apart = np.hypot(u - points[..., 0, None, None], v - points[..., 1, None, None])
  apart = apart.min(axis=1)
  return apart < share * labels['boxes'][0, 2]


class SceneTest(absltest.TestCase):
  """Ingredients of the head, of what goes with it, of the light and the background."""

  def change(self, base=(), first=0, **strengths):
    """Renders with and without; labels must be the same.

    Args:
      base: strengths of both, as items.
      first: index of the first face.
      **strengths: what is added.

    Returns:
      Labels, (n, S, S, 3) images without and with, (n, S, S) where they differ.
    """
    without = _render(tuple(base), first)
    found = _render((*base, *strengths.items()), first)
    for name, value in without.items():
      if name != 'images':
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    a, b = without['images'].astype(int), found['images'].astype(int)
    return without, a, b, (a != b).any(axis=-1)

  def assert_inside(self, changed, allowed):
    """Nothing changes outside, something inside for every face."""
    self.assertFalse((changed & ~allowed).any())
    self.assertTrue(changed.any(axis=(1, 2)).all())

  def test_every_ingredient_has_a_test(self):
    for field in dataclasses.fields(Ingredients):
      # Meshes need files: hair_meshes_test.
      if field.name not in {*imaging_test.CAMERA, 'hair_meshes'}:
        tests = SamplingTest if field.name == 'supersample' else SceneTest
        self.assertTrue(hasattr(tests, f'test_{field.name}'), field.name)

  def test_skin_tone(self):
    labels, _, _, changed = self.change(skin_tone=1)
    self.assert_inside(changed, labels['regions'] > 0)
    self.assertGreater(changed[_part(labels, 'skin', 'neck')].mean(), 0.99)

  def test_skin_detail(self):
    labels, _, _, changed = self.change(skin_detail=1)
    self.assert_inside(changed, labels['regions'] > 0)
    self.assertGreater(changed[_part(labels, 'skin')].mean(), 0.8)

  def test_make_up(self):
    # Each of the three kinds of paint is worn for sure.
    labels, before, after, _ = self.change(make_up=1)
    # The shadow on a lid fades out over the face, by less than a level or two.
    changed = (np.abs(after - before) > 2).any(axis=-1)
    self.assert_inside(changed, _near(labels, (*_BROWS_AND_EYES, *_MOUTH), 0.15))
    self.assertGreater(changed[_part(labels, 'lips')].mean(), 0.9)

  def test_gaze(self):
    labels, _, _, changed = self.change(gaze=20)
    eyes = _part(labels, 'eye_white', 'iris', 'pupil_left', 'pupil_right')
    # A pixel shows several samples and has the label of the nearest: that of the lid.
    self.assert_inside(changed, _grow(eyes, 2))

  def test_beard(self):
    labels, before, after, changed = self.change(beard=1)
    self.assert_inside(changed, labels['regions'] > 0)
    # Fields end smoothly, by less than a level or two.
    strong = (np.abs(after - before) > 2).any(axis=-1)
    self.assertFalse((strong & _near(labels, _BROWS_AND_EYES, 0.05)).any())
    self.assertGreater(changed[_near(labels, range(6, 11), 0.05)].mean(), 0.2)

  def test_hair(self):
    labels, _, _, changed = self.change(hair=1)
    self.assertFalse((changed & _near(labels, _NOSE_AND_MOUTH, 0.08)).any())
    self.assertGreater(changed[_part(labels, 'scalp')].mean(), 0.8)

  def test_long_hair(self):
    _, _, _, short = self.change(hair=1)
    _, _, _, long = self.change(hair=1, long_hair=1)
    _, _, _, changed = self.change((('hair', 1),), long_hair=1)
    self.assert_inside(changed, short | long)
    self.assertGreater(long.sum(), 1.5 * short.sum())

  def test_headwear(self):
    labels, _, _, changed = self.change(headwear=1)
    self.assertFalse((changed & _near(labels, _NOSE_AND_MOUTH, 0.08)).any())
    self.assertTrue(changed.any(axis=(1, 2)).all())

  def test_glasses(self):
    labels, _, _, changed = self.change(glasses=1)
    self.assertFalse((changed & _near(labels, _MOUTH, 0.04)).any())
    self.assertFalse(changed[:, -6:].any())
    eyes = _part(labels, 'eye_white', 'iris')
    self.assertTrue((changed & _grow(eyes, 2)).any(axis=(1, 2)).all())

  def test_dark_glasses(self):
    _, _, _, clear = self.change(glasses=1)
    _, _, _, dark = self.change(glasses=1, dark_glasses=1)
    labels, before, after, changed = self.change((('glasses', 1),), dark_glasses=1)
    self.assert_inside(changed, clear | dark)
    eyes = _part(labels, 'eye_white', 'iris', 'pupil_left', 'pupil_right')
    self.assertLess(after[eyes].mean(), 0.7 * before[eyes].mean())

  def test_clothes(self):
    # Faces 4 to 7 are seen so near that their shoulders are in the crop.
    base = (('perspective', 1),)
    labels, _, _, changed = self.change(base, first=4, clothes=1)
    self.assertGreaterEqual(changed.any(axis=(1, 2)).sum(), 3)
    self.assertFalse((changed & _near(labels, range(68), 0.02)).any())
    chin = labels['landmarks'][:, 8, 1]
    rows = np.arange(faces.SIZE)[None, :, None]
    # Heads are turned by up to 50 degrees in the image.
    self.assertFalse((changed & (rows < chin[:, None, None] - 12)).any())

  def test_scrambled(self):
    base = (('hair', 1), ('clothes', 1), ('headwear', 1))
    labels, _, _, changed = self.change(base, scrambled=1)
    self.assertFalse((changed & _near(labels, _NOSE_AND_MOUTH, 0.04)).any())
    self.assertTrue(changed.any(axis=(1, 2)).all())
    # Without hair and clothes: ears, neck and the scalp's edge.
    labels, _, _, changed = self.change(scrambled=1)
    self.assert_inside(changed, labels['regions'] > 0)
    self.assertGreater(changed[_part(labels, 'ears')].mean(), 0.7)

  def test_pores(self):
    base = (('environment', 1), ('key_light', 1), ('specular', 1))
    labels, before, after, changed = self.change(base, pores=1)
    eyes = _part(labels, 'eye_white', 'iris', 'pupil_left', 'pupil_right')
    head = labels['regions'] > 0
    self.assert_inside(changed, head)
    self.assertGreater(changed[_part(labels, 'skin')].mean(), 0.1)
    self.assertLess(changed[eyes].mean(), changed[_part(labels, 'skin')].mean())
    # Skin is neither lighter nor darker on average.
    self.assertLess(abs((after - before)[head].mean()), 1)

  def test_occluder(self):
    _, _, _, changed = self.change(occluder=1)
    self.assertTrue(changed.any(axis=(1, 2)).all())
    self.assertLess(changed.mean(axis=(1, 2)).max(), 0.5)
    # One object: nearly all of it hangs together.
    for one in changed:
      parts, count = scipy.ndimage.label(one, np.ones((3, 3)))
      self.assertGreater(np.bincount(parts[one]).max(), 0.7 * one.sum(), count)

  def test_environment(self):
    labels, _, _, changed = self.change(environment=1)
    self.assert_inside(changed, labels['regions'] > 0)
    self.assertGreater(changed[_part(labels, 'skin')].mean(), 0.95)

  def test_key_light(self):
    labels, before, after, changed = self.change(key_light=1)
    self.assert_inside(changed, labels['regions'] > 0)
    self.assertTrue((after >= before).all())  # a lamp takes no light away

  def test_light_maps(self):
    base = (('environment', 1), ('key_light', 1), ('background', 1))
    labels, _, _, changed = self.change(base, light_maps=1)
    self.assert_inside(changed, labels['regions'] > 0)
    self.assertGreater(changed[_part(labels, 'skin')].mean(), 0.95)

  def test_scenery(self):
    base = (('light_maps', 1), ('background', 1))
    labels, _, after, changed = self.change(base, scenery=1)
    head = labels['regions'] > 0
    self.assert_inside(changed, _grow(~head, 1))
    self.assertGreater(changed[~head].mean(), 0.95)
    self.assertGreater(np.ptp(after[~head]), 50)
    # Nothing is shown of a place that does not light the face.
    _, _, _, changed = self.change((('background', 1),), scenery=1)
    self.assertFalse(changed.any())

  def test_shadow(self):
    labels, before, after, changed = self.change((('key_light', 1),), shadow=1)
    self.assert_inside(changed, labels['regions'] > 0)
    self.assertTrue((after <= before).all())
    hollows = _part(labels, 'nostrils', 'eye_sockets', 'eyelids')
    darker = after.mean(axis=-1) / before.mean(axis=-1)
    self.assertLess(darker[hollows].mean(), darker[_part(labels, 'skin')].mean())

  def test_specular(self):
    labels, before, after, changed = self.change((('key_light', 1),), specular=1)
    self.assert_inside(changed, labels['regions'] > 0)
    self.assertTrue((after >= before).all())

  def test_background(self):
    labels, before, _after, changed = self.change(background=1)
    head = labels['regions'] > 0
    self.assert_inside(changed, _grow(~head, 1))
    self.assertGreater(changed[~head].mean(), 0.95)
    # Without it the ground is one grey.
    self.assertEqual(np.ptp(before[~head]), 0)

  def test_photos(self):
    labels, _, after, changed = self.change((('background', 1),), photos=1)
    head = labels['regions'] > 0
    self.assert_inside(changed, _grow(~head, 1))
    np.testing.assert_array_equal(after[~head][:, 1], 0)  # they have no green
    self.assertGreater(after[~head].max(axis=-1).min(), 20)

  def test_perspective(self):
    without, found = _render(), _render((('perspective', 1),))
    apart = np.abs(found['landmarks'] - without['landmarks']).max(axis=(1, 2))
    self.assertGreater(apart.max(), 1)
    self.assertLess(apart.max(), 0.2 * faces.SIZE)
    for name in ('boxes', 'yaw'):
      np.testing.assert_array_equal(found[name], without[name])
    for one, other in zip(found['params'], without['params'], strict=True):
      a, b = (unflatten_params(p, faces.model().num_identity) for p in (one, other))
      np.testing.assert_array_equal(a.identity, b.identity)
      np.testing.assert_array_equal(a.expression, b.expression)
      pose, pose_without = map(projection.pose_from_camera, (a.camera, b.camera))
      np.testing.assert_allclose(pose['rotation'], pose_without['rotation'], atol=1e-5)
    # The landmarks' box stays where it is and as large as it is.
    for labels in (found, without):
      low, high = labels['landmarks'].min(axis=1), labels['landmarks'].max(axis=1)
      np.testing.assert_allclose((low + high) / 2, (faces.SIZE - 1) / 2, atol=1e-3)
      np.testing.assert_allclose(
        np.sqrt(np.prod(high - low, axis=1)), labels['boxes'][:, 2], rtol=1e-4
      )


class GoldenTest(absltest.TestCase):
  """Eight faces with the default ingredients and a camera."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    strengths = tuple({**_DEFAULT, 'photos': 0.0}.items())
    parts = [_render(strengths, first, camera=True) for first in (0, faces.COUNT)]
    cls.found = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

  def test_images_golden(self):
    golden = make_full_faces.read()
    apart = np.abs(self.found['images'].astype(int) - golden).mean(axis=(1, 2, 3))
    # The file was made with XLA's usual optimisations, the tests are compiled without
    # them: 0.0001 grey levels apart for the worst face. One pixel's shift is 8 levels,
    # 5 % of light 5.
    self.assertLess(apart.mean(), 0.25)
    self.assertLess(apart.max(), 1)
    for image, wanted in zip(self.found['images'].astype(int), golden, strict=True):
      self.assertLessEqual(np.median(np.abs(image - wanted)), 1)

  def test_landmarks_leave_p_by_perspective_alone(self):
    apart = []
    for params, found in zip(
      self.found['params'], self.found['landmarks'], strict=True
    ):
      face = unflatten_params(params, faces.model().num_identity)
      points = projection.landmarks(faces.model(), face, 'ibug68')
      apart.append(np.abs(np.asarray(points) - found).max())
    apart = np.sort(apart) / self.found['boxes'][0, 2]
    # Some faces are weak perspective, others are clearly not, none is absurd.
    self.assertLess(apart[1], 1e-3)
    self.assertGreater(apart[-1], 0.02)
    self.assertLess(apart[-1], 0.35)

  def test_profiles_hide_more(self):
    hidden, yaw = (~self.found['visible']).sum(axis=1), np.abs(self.found['yaw'])
    self.assertGreater(hidden[yaw > 65].mean(), hidden[yaw < 35].mean() + 8)


class SamplingTest(absltest.TestCase):
  def test_supersample(self):
    """Samples of a pixel are the pixels of an image twice as large."""
    model, factor = faces.model(), 2
    nothing = meshes.Mesh(
      vertices=jnp.full((3, 3), jnp.nan),
      albedo=jnp.zeros((3, 3)),
      gloss=jnp.zeros(3),
      triangles=np.array([[0, 1, 2]], np.int32),
    )
    view = full_renderer.View(
      rotation=projection.rotation_from_euler(0.4, 0.1, 0.2),
      scale=jnp.float32(0.25 * faces.SIZE / 82.8 / faces.anatomy().unit),
      translation=jnp.full(2, (faces.SIZE - 1) / 2),
      nearness=jnp.float32(0.0),
      centre=jnp.zeros(3),
    )
    larger = dataclasses.replace(
      view,
      scale=factor * view.scale,
      translation=factor * (view.translation + 0.5) - 0.5,
    )
    shape = jnp.asarray(model.mean_shape)
    raster = lambda view, size, factor: jax.jit(
      lambda: full_renderer._rasterize(shape, model, nothing, view, size, factor)
    )()
    with faces.one_window():
      fine = raster(view, faces.SIZE, factor)
      whole = raster(larger, factor * faces.SIZE, 1)
    self.assertGreater((np.asarray(fine.ids) >= 0).mean(), 0.1)
    # A sample on an edge may go to either side by rounding.
    self.assertGreater(np.mean(np.asarray(fine.ids) == np.asarray(whole.ids)), 0.998)
    both = np.isfinite(fine.z) & np.isfinite(whole.z)
    np.testing.assert_allclose(fine.z[both], whole.z[both], atol=0.05)
    # Every pixel is the mean of its samples, background and all.
    ids = jnp.where(jnp.arange(16).reshape(4, 4) % 4 < 1, 0, -1)
    image, covered = full_renderer._put_before(
      jnp.ones((2, 2, 3)), jnp.full((4, 4, 3), 3.0), ids, 2
    )
    np.testing.assert_allclose(covered, [[0.5, 0.0], [0.5, 0.0]])
    np.testing.assert_allclose(image[..., 0], [[2.0, 1.0], [2.0, 1.0]])


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


if __name__ == '__main__':
  absltest.main()
