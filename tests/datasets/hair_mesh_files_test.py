"""Hair files: what is read of them, and one sentence for every fault."""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from pifa_jax.datasets import hair_mesh_files
from tests.datasets import hair_files

_ROWS = ['7', '3 4 5 0.2 0.3 0.5 0.1 -0.2 0.3', '8', '9']


class ReadTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tempfile.mkdtemp())

  def test_what_is_read(self):
    hair, _ = hair_mesh_files.read(hair_files.write(self.folder, 'a', _ROWS))
    self.assertEqual(hair.name, 'a')
    np.testing.assert_array_equal(hair.ids, [[7] * 3, [3, 4, 5], [8] * 3, [9] * 3])
    np.testing.assert_allclose(hair.weights[:2], [[1, 0, 0], [0.2, 0.3, 0.5]])
    np.testing.assert_allclose(hair.offsets[:2], [[0, 0, 0], [0.1, -0.2, 0.3]])
    np.testing.assert_array_equal(hair.size_ids[2], [962, 5320])
    np.testing.assert_allclose(hair.sizes, [1.5, 2.0, 2.5])
    # The quad 1 2 4 3, cut from its first corner.
    np.testing.assert_array_equal(hair.triangles, [[0, 1, 3], [0, 3, 2]])
    np.testing.assert_allclose(hair.uv[0], [[0, 0], [1, 0], [1, 1]])

  def test_lashes_are_left_out_and_every_byte_counts(self):
    paths = [
      hair_files.write(self.folder, 'a', _ROWS),
      hair_files.write(self.folder, 'lashes', [str(14742 + i) for i in range(4)]),
    ]
    self.assertEqual(hair_mesh_files.list_hair(self.folder), paths)
    found, before = hair_mesh_files.read_all(paths)
    self.assertEqual([hair.name for hair in found], ['a'])
    self.assertEqual(hair_mesh_files.read_all(paths)[1], before)
    for name in ('a.mhclo', 'a.obj'):
      text = (self.folder / name).read_text()
      (self.folder / name).write_text(text + '# another\n')
      self.assertNotEqual(hair_mesh_files.read_all(paths)[1], before)
      (self.folder / name).write_text(text)
    with self.assertRaisesRegex(ValueError, 'has eyelashes only'):
      hair_mesh_files.read_all(paths[1:])

  def test_faults(self):
    for old, new, said in (
      ('basemesh hm08', 'basemesh hm07', "base mesh 'hm07', wanted 'hm08'"),
      ('y_scale 791 881 2.0', '', 'has no y_scale;'),
      ('obj_file a.obj', '', 'has no obj_file;'),
      ('verts 0', 'delete_verts', 'has no verts;'),
      ('1.5', 'nan', "line 6: '5399 11998 nan' is not 3 numbers"),
      ('2.5', '-1', 'line 8: .*distance above 0'),
      ('0.2 0.3 0.5', '0.2 x 0.5', 'line 12: .* is not 9 numbers'),
      ('3 4 5 0.2', '3 4.5 5 0.2', "line 12: '3 4.5 5' are not three vertices"),
      ('\n9\n', '\n', 'binds 3 vertices but a.obj has 4'),
    ):
      path = hair_files.write(self.folder, 'a', _ROWS)
      text = path.read_text()
      self.assertEqual(text.count(old), 1, old)
      path.write_text(text.replace(old, new))
      with self.assertRaisesRegex(ValueError, f'^a.mhclo.*{said}'):
        hair_mesh_files.read(path)
    for quads, said in (
      ('f 1/1 2/2 5/4', 'names vertex 5, the file has 1 to 4'),
      ('f 1/1 2/2 4/9', 'names texture vertex 9'),
      ('f 0/1 2/2 4/4', 'names vertex 0'),
      ('f 1/1 2/2', 'line 9: a face of 2 corners'),
      ('f 1 2 4', "line 9: '1' is not 2 numbers"),
      ('v 1 2', "line 9: '1 2' is not 3 numbers"),
      ('', 'has no face'),
    ):
      path = hair_files.write(self.folder, 'a', _ROWS, quads=quads)
      with self.assertRaisesRegex(ValueError, f'^a.obj.*{said}'):
        hair_mesh_files.read(path)

  def test_missing_or_binary_files(self):
    path = hair_files.write(self.folder, 'a', _ROWS)
    (self.folder / 'a.obj').unlink()
    with self.assertRaisesRegex(FileNotFoundError, 'a.mhclo names a.obj, which is not'):
      hair_mesh_files.read(path)
    path.write_bytes(b'\xff\xfe\x00')
    with self.assertRaisesRegex(ValueError, 'a.mhclo is not text'):
      hair_mesh_files.read(path)
    with self.assertRaisesRegex(FileNotFoundError, 'There is no folder'):
      hair_mesh_files.list_hair(self.folder / 'nowhere')
    with self.assertRaisesRegex(FileNotFoundError, 'There is no .mhclo in'):
      hair_mesh_files.list_hair(tempfile.mkdtemp())


if __name__ == '__main__':
  absltest.main()
