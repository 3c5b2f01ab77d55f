""".obj, .ply and .glb as other programs read them."""

import json
import pathlib
import struct
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
    for write in (mesh_files.write_obj, mesh_files.write_ply, mesh_files.write_glb):
      with self.assertRaises(ValueError):
        write(self.root / 'a.mesh', _VERTICES, _TRIANGLES, _COLORS[:3])

  def test_glb_is_well_formed(self):
    normals = np.tile([0.0, 0, 1], (4, 1))
    path = self.root / 'a.glb'
    mesh_files.write_glb(
      path,
      _VERTICES,
      _TRIANGLES,
      _COLORS,
      normals=normals,
      metres_per_unit=0.5,
      extras={'a': [1.5]},
    )
    data = path.read_bytes()
    magic, version, length, json_length, kind = struct.unpack_from('<4sIII4s', data)
    self.assertEqual((magic, version, length, kind), (b'glTF', 2, len(data), b'JSON'))
    content = json.loads(data[20 : 20 + json_length])
    body_length, kind = struct.unpack_from('<I4s', data, 20 + json_length)
    self.assertEqual(kind, b'BIN\0')
    body = data[28 + json_length :]
    self.assertEqual(len(body), body_length)
    self.assertEqual(content['buffers'][0]['byteLength'], body_length)
    self.assertEqual(content['nodes'][0]['scale'], [0.5] * 3)
    self.assertEqual(content['meshes'][0]['extras'], {'a': [1.5]})
    for view in content['bufferViews']:
      self.assertEqual(view['byteOffset'] % 4, 0)
      self.assertLessEqual(view['byteOffset'] + view['byteLength'], body_length)
    primitive = content['meshes'][0]['primitives'][0]

    def read(accessor, dtype, columns):
      accessor = content['accessors'][accessor]
      view = content['bufferViews'][accessor['bufferView']]
      part = body[view['byteOffset'] : view['byteOffset'] + view['byteLength']]
      return np.frombuffer(part, dtype).reshape(accessor['count'], columns)

    places = content['accessors'][primitive['attributes']['POSITION']]
    self.assertEqual(places['min'], _VERTICES.min(axis=0).tolist())
    self.assertEqual(places['max'], _VERTICES.max(axis=0).tolist())
    np.testing.assert_array_equal(
      read(primitive['attributes']['POSITION'], '<f4', 3), _VERTICES
    )
    np.testing.assert_array_equal(
      read(primitive['attributes']['NORMAL'], '<f4', 3), normals
    )
    np.testing.assert_array_equal(
      read(primitive['indices'], '<u4', 1).ravel(), _TRIANGLES.ravel()
    )
    colors = read(primitive['attributes']['COLOR_0'], '<u2', 4)
    # Linear: the middle of sRGB is 0.2122 of the light of white.
    np.testing.assert_allclose(colors[0] / 65535, [0.0, 0.2122, 1.0, 1.0], atol=1e-4)

  def test_glb_refuses_what_viewers_would_not_show(self):
    path = self.root / 'a.glb'
    for bad, wanted in (
      ({'vertices': _VERTICES * np.nan}, 'not finite'),
      ({'vertices': _VERTICES[:0]}, r'\(0, 3\)'),
      ({'metres_per_unit': 0.0}, 'not above 0'),
      ({'normals': _VERTICES[:2]}, 'normals have shape'),
    ):
      arguments = {'vertices': _VERTICES, 'triangles': _TRIANGLES} | bad
      with self.assertRaisesRegex(ValueError, wanted):
        mesh_files.write_glb(path, **arguments)
    self.assertFalse(path.exists())


if __name__ == '__main__':
  absltest.main()
