"""Arrays in a file: round trip, sizes, damage."""

import pathlib
import tempfile

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.files import array_files


class ArrayFilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.path = pathlib.Path(folder.name) / 'a.npz'
    self.arrays = {
      'b/c': np.arange(6, dtype=np.float16).reshape(2, 3),
      'a': np.asarray('text'),
      'empty': np.zeros((0, 3)),
    }

  @parameterized.parameters(False, True)
  def test_round_trip(self, compress):
    array_files.write(self.path, self.arrays, compress=compress)
    found = array_files.read(self.path, 'thing')
    self.assertEqual(set(found), set(self.arrays))
    for name, value in self.arrays.items():
      self.assertEqual(found[name].dtype, value.dtype)
      np.testing.assert_array_equal(found[name], value)
    self.assertEqual(
      array_files.content_hash(found), array_files.content_hash(self.arrays)
    )
    some = array_files.read(self.path, 'thing', wanted=lambda name: name == 'a')
    self.assertEqual(list(some), ['a'])

  def test_the_same_arrays_give_the_same_bytes(self):
    array_files.write(self.path, self.arrays)
    first = self.path.read_bytes()
    array_files.write(self.path, dict(reversed(self.arrays.items())))
    self.assertEqual(self.path.read_bytes(), first)

  def test_hash_sees_name_type_shape_and_value(self):
    plain = array_files.content_hash({'a': np.zeros((2, 3), np.float32)})
    for other in (
      {'b': np.zeros((2, 3), np.float32)},
      {'a': np.zeros((2, 3))},
      {'a': np.zeros((3, 2), np.float32)},
      {'a': np.ones((2, 3), np.float32)},
    ):
      self.assertNotEqual(array_files.content_hash(other), plain)
    with self.assertRaisesRegex(ValueError, 'x.npz is damaged: its content hash'):
      array_files.check(
        'x.npz',
        {
          'a': np.zeros(2),
          'schema_version': np.asarray(1),
          'content_sha256': np.asarray(plain),
        },
        required=('a',),
        version=1,
        otherwise='it is nothing',
      )

  def test_other_schemas(self):
    good = {'a': np.zeros(2), 'schema_version': np.asarray(1)}
    digest = array_files.content_hash(good)
    kept = {**good, 'content_sha256': np.asarray(digest)}
    array_files.check('x.npz', kept, required=('a',), version=1, otherwise='no')
    self.assertEqual(set(kept), set(good))
    with self.assertRaisesRegex(ValueError, "has no array 'b', so it is nothing"):
      array_files.check(
        'x.npz', good, required=('b',), version=1, otherwise='it is nothing'
      )
    with self.assertRaisesRegex(ValueError, 'has schema version 1, .* version 2'):
      array_files.check('x.npz', good, required=('a',), version=2, otherwise='no')

  def test_what_cannot_be_read(self):
    with self.assertRaisesRegex(FileNotFoundError, 'No thing at'):
      array_files.read(self.path, 'thing')
    array_files.write(self.path, {'a': np.zeros(10_000)}, compress=True)
    with self.assertRaisesRegex(ValueError, 'the limit is 1000'):
      array_files.read(self.path, 'thing', max_bytes=1000)
    good = self.path.read_bytes()
    self.path.write_bytes(good[:-40])
    with self.assertRaisesRegex(ValueError, 'cannot be read as a .*, an .npz'):
      array_files.read(self.path, 'thing')
    self.path.write_bytes(good[:60] + bytes([good[60] ^ 255]) + good[61:])
    with self.assertRaisesRegex(ValueError, 'damaged|cannot be read'):
      array_files.read(self.path, 'thing')


if __name__ == '__main__':
  absltest.main()
