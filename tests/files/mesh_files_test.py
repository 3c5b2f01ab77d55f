""".obj and .ply as other programs read them."""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from pifa_jax.files import mesh_files

_VERTICES = np.array([[0.0, 1, 2], [3.5, -4, 5], [6, 7, -8.25], [1, 1, 1]])
_TRIANGLES = np.array([[0, 1, 2], [3, 2, 1]])
_COLORS = np.array([[0, 127, 255], [255, 0, 0], [1, 2, 3], [9, 8, 7]], np.uint8)


class MeshWritersTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def test_obj(self):
    for colors in (None, _COLORS):
      mesh_files.write_obj(self.root / 'a.obj', _VERTICES, _TRIANGLES, colors)
      lines = [line.split() for line in (self.root / 'a.obj').read_text().splitlines()]
      rows = np.array(
        [[float(x) for x in line[1:]] for line in lines if line[0] == 'v']
      )
      np.testing.assert_allclose(rows[:, :3], _VERTICES, atol=1e-4)
      self.assertEqual(rows.shape[1], 3 if colors is None else 6)
      if colors is not None:
        np.testing.assert_array_equal(np.round(255 * rows[:, 3:]), _COLORS)
      faces = [[int(x) for x in line[1:]] for line in lines if line[0] == 'f']
      np.testing.assert_array_equal(faces, _TRIANGLES + 1)

  def test_ply(self):
    for colors in (None, _COLORS):
      mesh_files.write_ply(self.root / 'a.ply', _VERTICES, _TRIANGLES, colors)
      head, _, body = (self.root / 'a.ply').read_bytes().partition(b'end_header\n')
      names = [
        line.split()[-1] for line in head.decode().splitlines() if 'prop' in line
      ]
      kinds = [('xyz', '<f4', 3)] + ([] if colors is None else [('rgb', 'u1', 3)])
      self.assertEqual(
        names[:-1],
        ['x', 'y', 'z'] + ([] if colors is None else ['red', 'green', 'blue']),
      )
      rows = np.frombuffer(body, kinds, 4)
      np.testing.assert_array_equal(rows['xyz'], _VERTICES)
      if colors is not None:
        np.testing.assert_array_equal(rows['rgb'], _COLORS)
      faces = np.frombuffer(body[rows.nbytes :], [('n', 'u1'), ('ids', '<i4', 3)])
      np.testing.assert_array_equal(faces['n'], 3)
      np.testing.assert_array_equal(faces['ids'], _TRIANGLES)

  def test_without_colours_the_bytes_are_those_of_coordinates_alone(self):
    mesh_files.write_ply(self.root / 'a.ply', _VERTICES, _TRIANGLES)
    body = (self.root / 'a.ply').read_bytes().partition(b'end_header\n')[2]
    self.assertTrue(body.startswith(_VERTICES.astype('<f4').tobytes()))

  def test_colours_of_other_vertices_are_refused(self):
    for write in (mesh_files.write_obj, mesh_files.write_ply):
      with self.assertRaises(ValueError):
        write(self.root / 'a.mesh', _VERTICES, _TRIANGLES, _COLORS[:3])


if __name__ == '__main__':
  absltest.main()
