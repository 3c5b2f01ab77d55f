"""What --save writes: every kind, in its place, whole."""

import json
import os
import pathlib
import tempfile

from absl.testing import absltest, parameterized
import numpy as np

from experiments.align_outputs import writer
from experiments.lib import cli
from pifa_jax.files import formats
from tests.results.toy_face import make_face, make_photo

_UNITS = {'jawOpen': np.array([2.0, 0, 0, 0]), 'smile': np.array([0, 0, 1.5, 1])}


class WriterTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.photo = make_photo()
    planes = (np.zeros((8, 8)),) * 6
    self.faces = [
      make_face(yaw, confidence=confidence, visualizations=planes)
      for yaw, confidence in ((20.0, 0.9), (-60.0, 0.2))
    ]

  def names(self):
    return {
      path.relative_to(self.root).as_posix()
      for path in self.root.rglob('*')
      if path.is_file()
    }

  def test_all_kinds(self):
    made = writer.Writer(self.root, writer.parse_kinds(['all']), units=_UNITS)
    self.assertTrue(made.needs_visualizations())
    self.assertEqual(made.photo('b/x.jpg', self.photo, self.faces, [0, 3]), [])
    self.assertEqual(made.photo('y.jpg', self.photo, self.faces[:1], [1]), [])
    made.lost('z.jpg', 'it is not an image')
    self.assertEqual(made.close(), [])
    self.assertEqual(min(made.counts.values()), 1)
    self.assertEqual(set(made.counts), set(writer.KINDS))
    per_face = 'pts npz mat obj ply glb'.split()
    wanted = {'coco.json', 'faces.csv', 'index.html', 'index_files/triangles.js'}
    for stem in ('b/x.jpg_0', 'b/x.jpg_3', 'y.jpg_1'):
      wanted |= {f'{stem}.{kind}' for kind in per_face}
      wanted |= {f'{stem}_uv.npy', f'{stem}_v.png'}
    for name in ('b/x.jpg', 'y.jpg'):
      wanted |= {
        f'{name}_{kind}.png'
        for kind in 'overlay boxes axes wire shaded depth normals pncc'.split()
      }
    wanted |= {f'index_files/{i}.{end}' for i in (1, 2, 3) for end in ('js', 'jpg')}
    # Nothing half-written is left.
    self.assertEqual(self.names(), wanted)
    self.assertIn('3 .glb', made.summary())
    self.assertIn('2 _depth.png', made.summary())
    self.assertIn('index.html', made.summary())

  def test_tables(self):
    made = writer.Writer(self.root, writer.parse_kinds(['csv', 'json']), units=_UNITS)
    made.photo('b/x.jpg', self.photo, self.faces, [0, 3])
    self.assertEqual(self.names(), {'faces.csv.partial'})
    made.close()
    self.assertEqual(self.names(), {'faces.csv', 'coco.json'})
    points = np.stack([face.landmarks['ibug68'] for face in self.faces])
    for name in ('faces.csv', 'coco.json'):
      found = formats.read_landmarks(self.root / name)
      np.testing.assert_allclose(found.points, points, atol=6e-4)
    np.testing.assert_array_equal(
      found.visible, [face.visible['ibug68'] for face in self.faces]
    )
    text = (self.root / 'faces.csv').read_text().splitlines()
    self.assertTrue(text[0].endswith(',jawOpen,smile'))
    self.assertLen({line.count(',') for line in text}, 1)
    faces = json.loads((self.root / 'coco.json').read_text())['annotations']
    self.assertEqual([face['face'] for face in faces], [0, 3])
    self.assertEqual([face['score'] for face in faces], [0.9, 0.2])

  def test_one_file_that_cannot_be_written_leaves_the_others(self):
    (self.root / 'x.jpg_0.obj').mkdir()
    (self.root / 'x.jpg_depth.png').mkdir()
    made = writer.Writer(self.root, writer.parse_kinds('obj,pts,depth,v'.split(',')))
    faces = [make_face(), self.faces[1]]  # the first without visualizations
    problems = made.photo('x.jpg', self.photo, faces, [0, 1])
    self.assertEqual([number for number, _ in problems], [None, 0, 0])
    for (_, reason), kind in zip(problems, ('depth', 'obj', 'v'), strict=True):
      self.assertStartsWith(reason, f'no {kind} was written: ')
    self.assertEqual(made.counts, {'obj': 1, 'pts': 2, 'v': 1, 'depth': 0})

  def test_a_name_that_leads_out_is_refused(self):
    made = writer.Writer(self.root / 'out', writer.parse_kinds(['pts', 'overlay']))
    problems = made.photo('../x.jpg', self.photo, self.faces[:1], [0])
    self.assertLen(problems, 2)
    self.assertEqual(self.names(), set())

  def test_names_whose_bytes_are_no_text(self):
    made = writer.Writer(
      self.root, writer.parse_kinds('csv,json,index,pts,overlay'.split(','))
    )
    name = os.fsdecode(b'a\xff.jpg')
    self.assertEqual(made.photo(name, self.photo, self.faces[:1], [0]), [])
    self.assertEqual(made.close(), [])
    self.assertIn('%FF.jpg_overlay.png', (self.root / 'index.html').read_text())

  def test_kinds(self):
    self.assertEqual(writer.parse_kinds(['pts', ' glb', 'pts', '']), ('pts', 'glb'))
    self.assertEqual(writer.parse_kinds(['none']), ())
    self.assertEqual(writer.parse_kinds(['all', 'obj']), tuple(writer.KINDS))
    with self.assertRaisesRegex(cli.UserError, '--save=stl is not a kind of file; use'):
      writer.parse_kinds(['pts', 'stl'])
    with self.assertRaisesRegex(cli.UserError, 'none'):
      writer.parse_kinds(['none', 'pts'])
    for kind in writer.KINDS:
      self.assertIn(f'{kind} = ', writer.help_text())
    self.assertTrue(set(writer.DEFAULT_KINDS) <= set(writer.KINDS))


if __name__ == '__main__':
  absltest.main()
