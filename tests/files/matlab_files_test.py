"""Matlab files: read as SciPy reads them; damaged ones are refused."""

import pathlib
import struct
import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import scipy.io

from pifa_jax.files import matlab_files


class MatlabFilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.path = pathlib.Path(folder.name) / 'a.mat'

  @parameterized.parameters(False, True)
  def test_round_trip(self, compressed):
    cells = np.empty((1, 3), object)
    cells[0] = [np.arange(4.0), 'name.jpg', np.empty((0, 0))]
    scipy.io.savemat(
      self.path,
      {
        'x': np.arange(6.0).reshape(2, 3),
        'small': np.uint8([[1]]),
        'cells': cells,
        'other': 1,
      },
      do_compression=compressed,
    )
    got = matlab_files.read_mat(self.path, ['x', 'small', 'cells', 'absent'])
    self.assertEqual(set(got), {'x', 'small', 'cells'})
    np.testing.assert_array_equal(got['x'], np.arange(6.0).reshape(2, 3))
    self.assertEqual(got['cells'].shape, (1, 3))
    np.testing.assert_array_equal(got['cells'][0, 0], [[0, 1, 2, 3]])
    self.assertEqual(got['cells'][0, 1], 'name.jpg')
    self.assertEqual(got['cells'][0, 2].shape, (0, 0))
    numbers = matlab_files.read_numbers(self.path, ['small'])['small']
    self.assertEqual((numbers.dtype, numbers[0, 0]), (np.float64, 1.0))

  @parameterized.parameters(*'i1 u1 i2 u2 i4 u4 i8 u8 f4 f8 c16 b1'.split())
  def test_numbers_are_scipys(self, dtype):
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (3, 2), (2, 3, 4), (0, 5)):
      value = rng.normal(scale=50, size=shape).astype(dtype)
      scipy.io.savemat(self.path, {'x': value})
      wanted = scipy.io.loadmat(self.path)['x']
      got = matlab_files.read_mat(self.path)['x']
      np.testing.assert_array_equal(got, wanted)
      self.assertEqual(got.dtype, wanted.dtype)

  def test_text_and_structures(self):
    scipy.io.savemat(
      self.path,
      {
        'text': 'Äpfel',
        'rows': np.array(['ab', 'cd']),
        's': {'a': [1.0, 2.0], 'b': {'c': 'deep'}},
      },
    )
    got = matlab_files.read_mat(self.path)
    self.assertEqual(got['text'], 'Äpfel')
    self.assertEqual(got['rows'], 'abcd')
    self.assertEqual(got['s'].shape, (1, 1))
    np.testing.assert_array_equal(got['s'][0, 0]['a'], [[1, 2]])
    self.assertEqual(got['s'][0, 0]['b'][0, 0]['c'], 'deep')

  def test_big_endian(self):
    # By hand, as no writer here makes one: one array of two numbers.
    inner = (
      struct.pack('>IIII', 6, 8, 6, 0)
      + struct.pack('>IIii', 5, 8, 1, 2)
      + struct.pack('>HHcxxx', 1, 1, b'x')
      + struct.pack('>IIdd', 9, 16, 1.5, -2.0)
    )
    self.path.write_bytes(
      b'MATLAB 5.0'.ljust(124)
      + b'\x01\x00MI'
      + struct.pack('>II', 14, len(inner))
      + inner
    )
    np.testing.assert_array_equal(matlab_files.read_mat(self.path)['x'], [[1.5, -2.0]])

  def test_what_is_not_there_or_no_number(self):
    scipy.io.savemat(self.path, {'x': 1, 'text': 'a', 'z': 1j})
    for name, words in (
      ('y', "no variable 'y'"),
      ('text', 'real numbers'),
      ('z', 'real numbers'),
    ):
      with self.assertRaisesRegex(ValueError, f'a.mat.*{words}'):
        matlab_files.read_numbers(self.path, [name])
    with self.assertRaises(FileNotFoundError):
      matlab_files.read_mat(self.path.with_name('b.mat'), ['x'])

  @parameterized.parameters(
    (b'<!DOCTYPE html><html>', 'web page'),
    (b'', 'does not begin'),
    (b'\x89HDF\r\n\x1a\n' + bytes(600), '7.3'),
    (bytes(600), 'does not begin'),
  )
  def test_other_files(self, content, words):
    self.path.write_bytes(content)
    with self.assertRaisesRegex(ValueError, words):
      matlab_files.read_mat(self.path, ['x'])

  def test_type_codes_that_end_scipy_with_a_segmentation_fault(self):
    scipy.io.savemat(self.path, {'x': np.arange(3.0)})
    good = self.path.read_bytes()
    tag = good.rindex(struct.pack('<II', 9, 24))  # of the three numbers
    for code in (0, 8, 10, 11, 19, 100, 40000):
      self.path.write_bytes(good[:tag] + struct.pack('<I', code) + good[tag + 4 :])
      with self.assertRaisesRegex(ValueError, f'unknown type {code}'):
        matlab_files.read_mat(self.path, ['x'])

  def test_every_cut(self):
    scipy.io.savemat(self.path, {'x': np.arange(3.0)}, do_compression=True)
    good = self.path.read_bytes()
    for length in range(136, len(good)):
      self.path.write_bytes(good[:length])
      with self.assertRaises(ValueError):
        matlab_files.read_mat(self.path, ['x'])

  def test_what_unpacks_to_too_much(self):
    scipy.io.savemat(self.path, {'x': np.zeros(100_000)}, do_compression=True)
    self.assertLess(self.path.stat().st_size, 10_000)
    with self.assertRaisesRegex(ValueError, 'unpacks to more bytes'):
      matlab_files.read_mat(self.path, ['x'], max_bytes=100_000)

  def test_objects_are_refused(self):
    scipy.io.savemat(self.path, {'x': np.arange(3.0)})
    good = bytearray(self.path.read_bytes())
    good[128 + 16] = 17  # opaque
    self.path.write_bytes(good)
    with self.assertRaisesRegex(ValueError, 'class 17'):
      matlab_files.read_mat(self.path, ['x'])


if __name__ == '__main__':
  absltest.main()
