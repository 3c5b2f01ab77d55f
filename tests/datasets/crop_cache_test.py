"""Crop caches: cutting, fitting, writing, staleness."""

import json
import pathlib
import tempfile

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.datasets import crop_cache, label_fitting
from pifa_jax.datasets.samples import Sample
from pifa_jax.geometry import boxes, cropping, projection
from pifa_jax.types import unflatten_params
from tests.miniatures import encode, gradient
from tests.toy_model import make_toy_model

_MODEL = make_toy_model()


def _sample(name='a', box=(12.0, 8.0, 30.0, 24.0)):
  """A image whose landmarks are the toy face's, near the box."""
  face = boxes.uncrop_params(
    boxes.initial_params(_MODEL, 28), jnp.array([12.0, 8.0, 28.0, 28.0]), 28
  )
  points = np.asarray(projection.landmarks(_MODEL, face, 'ibug34'))
  return Sample(
    name, encode(gradient()), points, np.ones(34, bool), np.array(box, np.float32)
  )


class MarginTest(absltest.TestCase):
  def test_it_holds_every_jittered_box(self):
    self.assertEqual(crop_cache.crop_shape(0.1, 0.1), crop_cache.USUAL_SHAPE)
    box = jnp.array([0.0, 0.0, 1.0, 1.0])
    keys = jax.random.split(jax.random.key(0), 4096)
    for shift, scale, box_scale in (
      (0.1, 0.2, 1.1),
      (0.15, 0.25, 1.15),
      (0.0, 0.4, 1.0),
    ):
      moved = np.asarray(
        jax.vmap(
          lambda key, s=shift, c=scale, z=box_scale: boxes.jitter_box(
            key, box, shift=s, scale=c, box_scale=z
          )
        )(keys)
      )
      margin = crop_cache.crop_shape(shift, scale, box_scale=box_scale).margin
      edge = (margin - 1) / 2
      self.assertGreaterEqual(moved[:, :2].min(), -edge)
      self.assertLessEqual((moved[:, :2] + moved[:, 2:]).max(), 1 + edge)
      # And is little more than needed.
      self.assertGreater((moved[:, :2] + moved[:, 2:]).max(), 1 + edge - 0.1)


class CutTest(absltest.TestCase):
  def test_the_same_as_on_the_device(self):
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    for box in ([5.2, 3.1, 40, 40], [-20, -10, 90, 90], [30, 30, 9, 9]):
      found = cropping.crop(image, np.array(box, np.float32), 32)
      wanted = (
        cropping.resample_crop(
          jnp.asarray(image, jnp.float32) - 127.5, jnp.array(box, jnp.float32), 32
        )
        + 127.5
      )
      # Rounded to whole grey values.
      np.testing.assert_allclose(found, wanted, atol=0.51)

  def test_turned_against_the_image_at_the_turned_places(self):
    # Waves that neither shrinking nor enlarging changes much, as a function.
    wave = lambda u, v: 127 + 60 * np.sin(u / 9) + 50 * np.cos(v / 11 + u / 30)
    v, u = np.mgrid[:120, :150]
    image = np.uint8(np.round(wave(u, v)))[..., None].repeat(3, axis=2)
    for angle in (0.4, -1.9, 3.0):
      for side, size in ((40.0, 24), (40.0, 60)):
        box = np.array([52.25, 37.5, side, side], np.float32)
        found = cropping.crop_rotated(image, box, size, angle)
        grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1)
        places = boxes.rotate_points(
          boxes.uncrop_points(grid.reshape(-1, 2), box, size),
          box[:2] + box[2:] / 2,
          angle,
        ).reshape(size, size, 2)
        wanted = wave(places[..., 0], places[..., 1])
        self.assertLess(np.abs(found[..., 1] - wanted).max(), 3.5)
        self.assertLess(np.abs(found[..., 1] - wanted).mean(), 1.0)

  def test_not_turned_it_is_the_same_cut(self):
    rng = np.random.default_rng(5)
    rough = rng.integers(0, 255, (12, 15, 3)).astype(np.uint8)
    image = rough.repeat(8, axis=0).repeat(8, axis=1)
    for box in ([20.5, 9.25, 50, 50], [-20, 50, 45, 45], [300, 300, 9, 9]):
      box = np.array(box, np.float32)
      straight = cropping.crop(image, box, 32).astype(int)
      found = cropping.crop_rotated(image, box, 32, 0.0)
      # The triangle and what it is composed of here differ at the edges of the squares.
      self.assertLess(np.abs(found - straight).mean(), 2.0)
      # Full turns, to rounding, and outside is the same grey.
      again = cropping.crop_rotated(image, box, 32, 2 * np.pi)
      self.assertLess(np.abs(found.astype(int) - again).mean(), 0.5)
    self.assertEqual(set(np.unique(found)), {128})


class CropCacheTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def _build(self):
    bad = Sample(
      'bad', b'<html>', *(_sample().landmarks, np.ones(34, bool), _sample().box)
    )
    return crop_cache.crop_samples(
      [_sample('a'), bad, _sample('b')], _MODEL, scheme='ibug34'
    )

  def test_labels_and_p_lie_in_the_crop(self):
    arrays, rejects, _ = self._build()
    self.assertEqual([r.name for r in rejects], ['bad'])
    self.assertEqual(arrays['names'], ['a', 'b'])
    # The provided box is concentric with the crop, which is 1.4 times as large.
    box = arrays['boxes'][0]
    np.testing.assert_allclose(box[:2] + box[2:] / 2, 79.5, atol=1e-3)
    np.testing.assert_allclose(np.sqrt(box[2] * box[3]), 160 / 1.4, rtol=1e-5)
    again = projection.landmarks(
      _MODEL, unflatten_params(arrays['params'][0], 8), 'ibug34'
    )
    error = np.linalg.norm(again - arrays['landmarks'][0], axis=1).mean()
    self.assertLess(error, 1.0)  # pixels of 114; the toy model's few modes
    self.assertLess(arrays['residuals'][0], 0.01)

  def test_round_trip_and_staleness(self):
    calls = []

    def build():
      calls.append(1)
      return self._build()[:2]

    first = crop_cache.open_or_build(self.root, {'model': 'x'}, build)
    again = crop_cache.open_or_build(self.root, {'model': 'x'}, build)
    self.assertLen(calls, 1)
    np.testing.assert_array_equal(first.images, again.images)
    self.assertEqual(first.content_hash, again.content_hash)
    self.assertLen(again.rejects, 1)
    # Another face model is another folder.
    crop_cache.open_or_build(self.root, {'model': 'y'}, build)
    self.assertLen(calls, 2)
    folder = next(
      path
      for path in self.root.iterdir()
      if json.loads((path / 'dataset.json').read_text())['meta']['model'] == 'x'
    )
    self.assertIn('bad', (folder / 'rejects.csv').read_text())
    # Half deleted by hand: made again.
    (folder / 'params.npy').unlink()
    crop_cache.open_or_build(self.root, {'model': 'x'}, build)
    self.assertLen(calls, 3)

  def test_no_usable_sample(self):
    with self.assertRaisesRegex(ValueError, 'None of the 1 samples'):
      crop_cache.crop_samples(
        [Sample('x', b'', *(_sample().landmarks, np.ones(34, bool), _sample().box))],
        _MODEL,
        scheme='ibug34',
      )

  def test_scheme_by_fit(self):
    points = np.stack([_sample().landmarks] * 3)
    swapped = _MODEL.landmark_schemes['ibug34'][::-1]
    model = _MODEL.replace(
      landmark_schemes={**_MODEL.landmark_schemes, 'other34': swapped}
    )
    name, residuals = label_fitting.choose_scheme(model, points, np.ones((3, 34), bool))
    self.assertEqual(name, 'ibug34')
    self.assertLess(residuals['ibug34'], residuals['other34'])
    with self.assertRaisesRegex(ValueError, 'file of 10 vertex ids'):
      label_fitting.choose_scheme(model, points[:, :10], np.ones((3, 10), bool))


if __name__ == '__main__':
  absltest.main()
