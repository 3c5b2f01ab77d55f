"""Maps of photos: what a pixel says of the face beneath it."""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image

from pifa_jax.results import photo_maps
from tests.results.toy_face import MODEL, make_face, make_photo


class PhotoMapsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.photo, self.face = make_photo(), make_face()
    # Vertices of the front that no other part hides: the toy head is convex but for
    # the nose.
    front = -self.face.vertices[:, 2] > np.quantile(-self.face.vertices[:, 2], 0.85)
    self.ids = np.flatnonzero(front & self.face.facing)
    x, y = np.round(self.face.vertices[self.ids, :2]).astype(int).T
    self.pixels = (y, x)

  def test_depth(self):
    canvas, steps = photo_maps.depth_map(self.photo, [self.face])
    self.assertEqual((canvas.dtype, canvas.shape), (np.uint16, self.photo.shape[:2]))
    self.assertEqual(steps, 16.0)
    found = (canvas[self.pixels].astype(float) - 32768) / steps
    # A vertex lies up to 0.7 pixels from the centre of its pixel.
    np.testing.assert_allclose(found, self.face.vertices[self.ids, 2], atol=1.5)
    self.assertEqual(canvas[0, 0], 0)

  def test_deep_faces_take_larger_steps(self):
    far = make_face(scale=900.0, middle=(0.0, 0.0))
    canvas, steps = photo_maps.depth_map(self.photo, [far])
    self.assertLess(steps, 16.0)
    self.assertGreater(canvas.max(), 0)

  def test_normals(self):
    canvas = photo_maps.normal_map(self.photo, [self.face])
    found = canvas[self.pixels] / 127.5 - 1.0
    wanted = self.face.viewer_normals[self.ids]
    self.assertGreater(np.einsum('ij,ij->i', found, wanted).min(), 0.9)
    covered = canvas.any(axis=2)
    # What is seen faces the viewer, but for what is interpolated to the other side of
    # the outline; the upper part of the head looks up.
    self.assertGreater(canvas[covered][:, 2].min(), 95)
    self.assertGreater(canvas[covered][0, 1], canvas[covered][-1, 1])

  def test_pncc(self):
    canvas = photo_maps.pncc(self.photo, [self.face])
    shape = np.asarray(MODEL.mean_shape)
    drawn = shape[MODEL.regions['rendered']]
    code = (shape - drawn.min(axis=0)) / np.ptp(drawn, axis=0)
    np.testing.assert_allclose(canvas[self.pixels] / 255, code[self.ids], atol=0.03)

  def test_the_larger_face_is_in_front(self):
    small, large = make_face(scale=0.3), make_face(0.0, scale=0.8)
    alone = photo_maps.pncc(self.photo, [large])
    for faces in ([small, large], [large, small]):
      np.testing.assert_array_equal(photo_maps.pncc(self.photo, faces), alone)

  def test_files_say_how_they_are_read(self):
    with tempfile.TemporaryDirectory() as folder:
      for kind in photo_maps.MAPS:
        path = pathlib.Path(folder) / f'{kind}.png'
        outside = make_face(middle=(-900.0, 20.0))
        photo_maps.save_map(path, kind, self.photo, [self.face, outside])
        with Image.open(path) as image:
          self.assertTrue(image.info)
          if kind == 'depth':
            np.testing.assert_array_equal(
              np.asarray(image), photo_maps.depth_map(self.photo, [self.face])[0]
            )


if __name__ == '__main__':
  absltest.main()
