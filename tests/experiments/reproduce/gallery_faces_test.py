"""The faces of the galleries: rendered ones, and photos of --gallery."""

import json
import pathlib
import tempfile

from absl import flags
from absl.testing import absltest, flagsaver
import numpy as np
from PIL import Image

from experiments.lib import cli
from experiments.reproduce import gallery_faces
import pifa_jax


class FlagFacesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    (self.folder / 'in').mkdir()
    for name, grey in (('a.png', 10), ('in/b.png', 20)):
      Image.new('RGB', (60, 40), (grey,) * 3).save(self.folder / name)
    self.lines: list[str] = []

  def _faces(self, boxes=None, gallery=None):
    path = None
    if boxes is not None:
      path = str(self.folder / 'boxes.json')
      pathlib.Path(path).write_text(json.dumps(boxes))
    given = [[str(self.folder)]] if gallery is None else gallery
    with flagsaver.flagsaver(gallery=given, gallery_boxes=path):
      return gallery_faces.flag_faces(self.lines.append)

  def test_boxes_of_a_file(self):
    faces = self._faces(
      {'a.png': [[5, 5, 20, 20], [500, 5, 20, 20]], 'in/b.png': [[1, 2, 30, 30]]}
    )
    self.assertEqual([face.photo[0, 0, 0] for face in faces], [10, 20])
    np.testing.assert_array_equal(faces[0].box, [5, 5, 20, 20])
    np.testing.assert_array_equal(faces[1].box, [1, 2, 30, 30])
    self.assertLen(self.lines, 1)
    self.assertRegex(self.lines[0], 'Face 1 of .*a.png is left out')

  def test_a_photo_that_cannot_be_read_is_left_out(self):
    (self.folder / 'broken.png').write_bytes(b'no image')
    boxes = {name: [[5, 5, 20, 20]] for name in ('a.png', 'broken.png')}
    self.assertLen(self._faces(boxes), 1)
    self.assertLen(self.lines, 2)
    self.assertRegex(self.lines[0], 'broken.png is left out: .+')
    self.assertRegex(self.lines[1], 'b.png is left out: there is no box')

  def test_not_more_faces_than_are_shown(self):
    faces = self._faces({'a.png': [[5, 5, 20, 20]] * 30})
    self.assertLen(faces, 24)

  def test_without_the_flag_there_are_none(self):
    self.assertEqual(self._faces(gallery=[]), [])

  def test_what_cannot_be_used_is_one_sentence(self):
    for boxes, gallery, sentence in (
      ({}, [], '--gallery_boxes has boxes for photos, but'),
      (None, [[str(self.folder / 'nothing')]], 'There is no photo or folder .*nothing'),
      ({'c.png': [[1, 1, 9, 9]]}, None, 'There is no face in --gallery='),
    ):
      with self.assertRaisesRegex(cli.UserError, sentence):
        self._faces(boxes, gallery)
    (self.folder / 'empty').mkdir()
    with self.assertRaisesRegex(cli.UserError, 'There is no photo in --gallery='):
      self._faces(gallery=[[str(self.folder / 'empty')]])
    with flagsaver.flagsaver(gallery=[['x.png']], gallery_boxes=None):
      with self.assertRaisesRegex(cli.UserError, 'no photo or folder x.png'):
        gallery_faces.flag_faces(self.lines.append)
    with flagsaver.flagsaver(
      gallery=[[str(self.folder)]], gallery_boxes=str(self.folder / 'none.json')
    ):
      with self.assertRaisesRegex(cli.UserError, 'There is no file .*none.json'):
        gallery_faces.flag_faces(self.lines.append)


class RenderedFacesTest(absltest.TestCase):
  def test_the_same_face_in_any_list_and_where_its_parameters_say(self):
    # Not the built-in face's regions: the plain renderer, which compiles soon.
    model = pifa_jax.load_face_model('builtin')
    model = model.replace(
      regions={k: v for k, v in model.regions.items() if k != 'scalp'}
    )
    first, other = gallery_faces.rendered_faces([3, 0], model)
    (again,) = gallery_faces.rendered_faces([0], model)
    np.testing.assert_array_equal(again.photo, other.photo)
    self.assertGreater(np.abs(first.photo.astype(int) - other.photo).mean(), 5)
    points = np.asarray(pifa_jax.landmarks(model, other.params, 'ibug68'))
    low, high = points.min(axis=0), points.max(axis=0)
    middle = other.box[:2] + other.box[2:] / 2
    np.testing.assert_allclose((low + high) / 2, middle, atol=0.15 * other.box[2])


if __name__ == '__main__':
  absltest.main()
