"""Batches out of cached crops: labels that follow a rotated crop, and random keys."""

import dataclasses

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.datasets import crop_cache
from pifa_jax.geometry import boxes, cropping, projection
from pifa_jax.learning import batching
from pifa_jax.types import flatten_params, unflatten_params
from tests.toy_model import make_toy_model

_MODEL = make_toy_model()
_SIDE, _CROP = 64, 32
_EVERYTHING = batching.AugmentConfig(
  box_scale=1.3,
  rotation=40.0,
  color=0.3,
  gamma=0.5,
  grey=0.5,
  random_conv=0.5,
  blur=0.5,
  noise=0.1,
  jpeg=0.5,
  erase=0.5,
  edge_cut=0.5,
)
_make_batch = jax.jit(
  batching.make_batch, static_argnums=(1, 2), static_argnames='augment'
)


def _waves(u, v):
  """(..., 3) colours of a place that neither resampling nor smoothing changes much."""
  return np.stack([np.sin(u / 8), np.cos(v / 9), np.sin((u - v) / 11)], axis=-1)


def _rows(count):
  """Crops of waves, the faces of which are the toy model's in different places."""
  box = np.array([20.0, 18.0, 22.0, 26.0], np.float32)
  start = boxes.uncrop_params(boxes.initial_params(_MODEL, _CROP), box, _CROP)
  spread = np.array([0.05, 0.05, 0.05, 1.5] * 2 + [0.5] * 12)
  noise = np.random.default_rng(1).normal(size=(count, 20))
  params = np.asarray(flatten_params(start) + spread * noise, np.float32)
  points = np.stack([_landmarks(vector) for vector in params])
  v, u = np.mgrid[:_SIDE, :_SIDE]
  image = np.uint8(np.round(127.5 + 127 * _waves(u, v)))
  return batching.CropRows(
    image=np.stack([image] * count),
    landmarks=points,
    visible=np.ones((count, 68), bool),
    params=params,
    box=np.stack([box] * count),
    weight=np.ones(count, np.float32),
  )


def _landmarks(vector):
  face = unflatten_params(jnp.asarray(vector), 8)
  return np.asarray(projection.landmarks(_MODEL, face, 'ibug68'))


class RotationTest(parameterized.TestCase):
  @parameterized.parameters(False, True)
  def test_labels_and_pixels_rotate_together(self, anisotropic):
    rows = _rows(12)
    keys = batching.sample_keys(0, 0, np.arange(12))
    augment = batching.AugmentConfig(
      rotation=40.0, box_scale=1.2, anisotropic_jitter=anisotropic
    )
    batch = _make_batch(rows, _CROP, 8, keys=keys, augment=augment)
    straight = dataclasses.replace(augment, rotation=0.0)
    upright = _make_batch(rows, _CROP, 8, keys=keys, augment=straight)
    # The draws of the box are those of a run without, and so is the normaliser.
    np.testing.assert_array_equal(batch.box_size, upright.box_size)
    middle = (_CROP - 1) / 2
    angles = []
    for i in range(12):
      face = jax.tree.map(lambda x, i=i: x[i], batch.face_params)
      points = np.asarray(projection.landmarks(_MODEL, face, 'ibug68'))
      # float32 of some tens of pixels.
      np.testing.assert_allclose(points, batch.landmarks[i], atol=1e-3)
      # Where a landmark is in the crop there is the colour that it has in the cache.
      inside = (points > 1).all(axis=1) & (points < _CROP - 2).all(axis=1)
      self.assertGreater(inside.sum(), 20)
      wanted = _waves(*rows.landmarks[i][inside].T)
      found = _bilinear(np.asarray(batch.image[i]), points[inside])
      # Waves of amplitude 1, smoothed by interpolating twice.
      self.assertLess(np.abs(found - wanted).max(), 0.08)
      if not anisotropic:
        a, b = (np.asarray(x.landmarks[i]) - middle for x in (upright, batch))
        turn = np.arctan2(
          *np.sum([a[:, 1] * b[:, 0] - a[:, 0] * b[:, 1], (a * b).sum(axis=1)], axis=1)
        )
        angles.append(np.degrees(turn))
        # A rigid rotation about the middle of the crop.
        np.testing.assert_allclose(
          np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1), atol=1e-3
        )
    if not anisotropic:
      self.assertLess(np.abs(angles).max(), 40.0)
      self.assertGreater(np.ptp(angles), 30.0)

  def test_not_rotated_it_is_the_same_cut(self):
    rng = np.random.default_rng(5)
    rough = rng.uniform(-1, 1, (20, 20, 3)).astype(np.float32)
    image = jnp.asarray(rough.repeat(8, axis=0).repeat(8, axis=1))
    for box, size in (([30.3, 41.1, 60, 60], 56), ([-20, 90, 120, 120], 56)):
      box = jnp.array(box, jnp.float32)
      straight = cropping.resample_crop(image, box, size)
      found = cropping.resample_rotated(image, box, size, jnp.zeros(()))
      # Two triangles after one another are nearly one of the same variance.
      self.assertLess(np.abs(found - straight).mean(), 0.03)
      again = cropping.resample_rotated(image, box, size, jnp.float32(2 * np.pi))
      self.assertLess(np.abs(found - again).mean(), 1e-3)
    # Far outside it is grey.
    outside = jnp.array([900.0, -900.0, 50, 50])
    found = cropping.resample_rotated(image, outside, 16, jnp.float32(0.5))
    self.assertEqual(np.abs(found).max(), 0.0)

  def test_fine_detail_does_not_alias(self):
    # A pattern of single pixels, in a crop at half the resolution: nearly one grey.
    board = (np.indices((120, 120)).sum(axis=0) % 2 * 2.0 - 1)[..., None]
    box = jnp.array([20.0, 20.0, 80.0, 80.0])
    for angle in (0.0, 0.3, 0.8):
      found = cropping.resample_rotated(
        jnp.asarray(board.repeat(3, axis=2), jnp.float32), box, 40, jnp.float32(angle)
      )
      self.assertLess(np.abs(found).max(), 0.25)

  def test_the_cached_crop_holds_the_rotated_box(self):
    for shift, scale, box_scale, rotation in (
      (0.1, 0.2, 1.1, 20.0),
      (0.15, 0.25, 1.8, 45.0),
      (0.0, 0.1, 1.0, 180.0),
    ):
      margin = crop_cache.crop_shape(
        shift, scale, box_scale=box_scale, rotation=rotation
      ).margin
      side = box_scale * (1 + scale)
      far = 0.0
      for angle in np.radians(np.linspace(-rotation, rotation, 721)):
        corners = side / 2 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
        turned = np.asarray(
          corners @ [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
        far = max(far, shift + np.abs(turned).max())
      self.assertLessEqual(far, margin / 2 + 1e-6)
      self.assertGreater(far, margin / 2 - 0.06)
    self.assertEqual(crop_cache.crop_shape(0.1, 0.1), crop_cache.USUAL_SHAPE)


class KeysTest(absltest.TestCase):
  def test_the_same_bits_in_any_batch(self):
    rows, ids = _rows(8), np.arange(8)
    make = lambda part: _make_batch(
      jax.tree.map(lambda x: x[part], rows),
      _CROP,
      8,
      keys=batching.sample_keys(3, 7, ids[part]),
      augment=_EVERYTHING,
    )
    whole, halves = make(ids), [make(ids[:4]), make(ids[4:])]
    joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *halves)
    jax.tree.map(np.testing.assert_array_equal, whole, joined)
    # Sample by sample they differ, and from step to step.
    self.assertGreater(np.abs(whole.image[0] - whole.image[1]).mean(), 0.01)
    self.assertLessEqual(np.abs(whole.image).max(), 1.0 + 1e-6)

  def test_the_box_is_no_other_for_what_else_is_drawn(self):
    rows, keys = _rows(8), batching.sample_keys(3, 7, np.arange(8))
    plain = batching.AugmentConfig(box_scale=1.3)
    rest = dataclasses.replace(_EVERYTHING, rotation=0.0)
    a, b = (
      _make_batch(rows, _CROP, 8, keys=keys, augment=each) for each in (plain, rest)
    )
    np.testing.assert_array_equal(a.landmarks, b.landmarks)
    np.testing.assert_array_equal(a.box_size, b.box_size)

  def test_the_scale_of_the_crop_is_that_of_the_box(self):
    """Without jitter; labels and pixels, and the normaliser in other pixels."""
    rows = _rows(2)
    wide = batching.make_batch(rows, _CROP, 8, crop_scale=1.5)
    plain = batching.make_batch(rows, _CROP, 8)
    middle = (_CROP - 1) / 2
    np.testing.assert_allclose(
      middle + (plain.landmarks - middle) / 1.5, wide.landmarks, atol=1e-4
    )
    np.testing.assert_allclose(wide.box_size, plain.box_size / 1.5, rtol=1e-5)
    points = [_landmarks(vector) for vector in flatten_params(wide.face_params)]
    np.testing.assert_allclose(points, wide.landmarks, atol=1e-3)

  def test_wider_crops_keep_the_provided_box_as_normaliser(self):
    rows, keys = _rows(8), batching.sample_keys(3, 7, np.arange(8))
    for scale in (1.0, 1.8):
      augment = batching.AugmentConfig(box_scale=scale, shift_jitter=0, scale_jitter=0)
      batch = _make_batch(rows, _CROP, 8, keys=keys, augment=augment)
      np.testing.assert_allclose(batch.box_size, _CROP / scale, rtol=1e-5)


def _bilinear(image, points):
  """(n, 3) colours at (n, 2) places of an image."""
  left, top = np.floor(points).astype(int).T
  right, below = (points - np.floor(points)).T[..., None]
  row = lambda v: image[v, left] * (1 - right) + image[v, left + 1] * right
  return row(top) * (1 - below) + row(top + 1) * below


if __name__ == '__main__':
  absltest.main()
