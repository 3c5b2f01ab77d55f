"""Packed crops: cutting, fitting, writing, staleness."""

import json
import pathlib
import tempfile

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax import boxes, projection
from pifa_jax.datasets import packed
from pifa_jax.datasets.samples import Sample
from pifa_jax.types import unflatten_params
from tests.datasets_aflw_test import encode, gradient
from tests.toy_model import make_toy_model

_MODEL = make_toy_model()


def _sample(name='a', box=(12.0, 8.0, 30.0, 24.0)):
  """A picture whose landmarks are the toy face's, near the box."""
  face = boxes.uncrop_params(boxes.initial_params(_MODEL, 28),
                             jnp.array([12.0, 8.0, 28.0, 28.0]), 28)
  points = np.asarray(projection.landmarks(_MODEL, face, 'ibug34'))
  return Sample(name, encode(gradient()), points, np.ones(34, bool),
                np.array(box, np.float32))


class MarginTest(absltest.TestCase):

  def test_it_holds_every_jittered_box(self):
    self.assertEqual(packed.margin_for(0.1, 0.1), packed.MARGIN)
    box = jnp.array([0.0, 0.0, 1.0, 1.0])
    keys = jax.random.split(jax.random.key(0), 4096)
    for shift, scale, zoom in ((0.1, 0.2, 1.1), (0.15, 0.25, 1.15), (0.0, 0.4, 1.0)):
      moved = np.asarray(jax.vmap(lambda key, s=shift, c=scale, z=zoom: boxes.jitter_box(
          key, box, shift=s, scale=c, zoom=z))(keys))
      margin = packed.margin_for(shift, scale, zoom)
      edge = (margin - 1) / 2
      self.assertGreaterEqual(moved[:, :2].min(), -edge)
      self.assertLessEqual((moved[:, :2] + moved[:, 2:]).max(), 1 + edge)
      # And is little more than needed.
      self.assertGreater((moved[:, :2] + moved[:, 2:]).max(), 1 + edge - 0.1)


class CutTest(absltest.TestCase):

  def test_the_same_as_on_the_device(self):
    picture = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    for box in ([5.2, 3.1, 40, 40], [-20, -10, 90, 90], [30, 30, 9, 9]):
      found = packed.cut(picture, np.array(box, np.float32), 32)
      wanted = boxes.resample_crop(
          jnp.asarray(picture, jnp.float32) - 127.5, jnp.array(box, jnp.float32),
          32) + 127.5
      # Rounded to whole grey values.
      np.testing.assert_allclose(found, wanted, atol=0.51)


class PackTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def _build(self):
    bad = Sample('bad', b'<html>', *(_sample().landmarks, np.ones(34, bool),
                                     _sample().box))
    return packed.pack_samples([_sample('a'), bad, _sample('b')], _MODEL,
                               scheme='ibug34')

  def test_labels_and_p_lie_in_the_crop(self):
    arrays, rejects = self._build()
    self.assertEqual([r.name for r in rejects], ['bad'])
    self.assertEqual(arrays['names'], ['a', 'b'])
    # The provided box is concentric with the crop, which is 1.4 times as large.
    box = arrays['boxes'][0]
    np.testing.assert_allclose(box[:2] + box[2:] / 2, 79.5, atol=1e-3)
    np.testing.assert_allclose(np.sqrt(box[2] * box[3]), 160 / 1.4, rtol=1e-5)
    again = projection.landmarks(
        _MODEL, unflatten_params(arrays['params'][0], 8), 'ibug34')
    error = np.linalg.norm(again - arrays['landmarks'][0], axis=1).mean()
    self.assertLess(error, 1.0)  # pixels of 114; the toy model's few modes
    self.assertLess(arrays['residuals'][0], 0.01)

  def test_round_trip_and_staleness(self):
    calls = []
    def build():
      calls.append(1)
      return self._build()
    first = packed.open_or_build(self.root, {'model': 'x'}, build)
    again = packed.open_or_build(self.root, {'model': 'x'}, build)
    self.assertLen(calls, 1)
    np.testing.assert_array_equal(first.images, again.images)
    self.assertEqual(first.content_hash, again.content_hash)
    self.assertLen(again.rejects, 1)
    # Another face model is another folder.
    packed.open_or_build(self.root, {'model': 'y'}, build)
    self.assertLen(calls, 2)
    folder = next(path for path in self.root.iterdir() if json.loads(
        (path / 'dataset.json').read_text())['meta']['model'] == 'x')
    self.assertIn('bad', (folder / 'rejects.csv').read_text())
    # Half deleted by hand: made again.
    (folder / 'params.npy').unlink()
    packed.open_or_build(self.root, {'model': 'x'}, build)
    self.assertLen(calls, 3)

  def test_no_usable_sample(self):
    with self.assertRaisesRegex(ValueError, 'None of the 1 samples'):
      packed.pack_samples([Sample('x', b'', *(_sample().landmarks,
                                              np.ones(34, bool), _sample().box))],
                          _MODEL, scheme='ibug34')

  def test_scheme_by_fit(self):
    points = np.stack([_sample().landmarks] * 3)
    swapped = _MODEL.landmark_schemes['ibug34'][::-1]
    model = _MODEL.replace(landmark_schemes={
        **_MODEL.landmark_schemes, 'other34': swapped})
    name, residuals = packed.choose_scheme(model, points, np.ones((3, 34), bool))
    self.assertEqual(name, 'ibug34')
    self.assertLess(residuals['ibug34'], residuals['other34'])
    with self.assertRaisesRegex(ValueError, 'file of 10 vertex ids'):
      packed.choose_scheme(model, points[:, :10], np.ones((3, 10), bool))


if __name__ == '__main__':
  absltest.main()
