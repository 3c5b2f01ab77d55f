"""Tests of our .npz: round trip, same bytes, and refusal of damaged files."""

import os
import tempfile
import zipfile

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.face_models import npz_format
from pifa_jax.types import MorphableModel


def make_model(q=7, num_identity=3, num_expression=2):
  rng = np.random.default_rng(0)
  return MorphableModel(
    mean_shape=rng.normal(size=(q, 3)).astype(np.float32),
    identity_basis=rng.normal(size=(num_identity, q, 3)).astype(np.float32),
    identity_stddev=rng.uniform(1, 2, num_identity).astype(np.float32),
    expression_basis=rng.normal(size=(num_expression, q, 3)).astype(np.float32),
    expression_stddev=rng.uniform(1, 2, num_expression).astype(np.float32),
    triangles=np.array([[0, 1, 2], [2, 1, 3]], np.int32),
    mean_normals=rng.normal(size=(q, 3)).astype(np.float32),
    nose_tip=np.int32(4),
    landmark_schemes={'two': np.array([5, 1], np.int32)},
    regions={'rendered': np.array([0, 1, 2], np.int32)},
    symmetry=np.arange(q, dtype=np.int32)[::-1].copy(),
  )


def arrays_of(path):
  with np.load(path, allow_pickle=False) as archive:
    return {name: archive[name] for name in archive.files}


class NpzFormatTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.path = os.path.join(folder.name, 'face.npz')

  @parameterized.parameters((7, 3, 2), (1, 1, 1), (40, 5, 0))
  def test_round_trip_of_any_size(self, q, num_identity, num_expression):
    model = make_model(max(q, 6), num_identity, num_expression)
    npz_format.save_npz(self.path, model, units='um')
    loaded = npz_format.load_npz(self.path)
    for name in (
      'mean_shape',
      'identity_basis',
      'identity_stddev',
      'expression_basis',
      'expression_stddev',
      'triangles',
      'mean_normals',
      'nose_tip',
      'symmetry',
    ):
      np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))
    np.testing.assert_array_equal(loaded.landmark_schemes['two'], [5, 1])
    np.testing.assert_array_equal(loaded.regions['rendered'], [0, 1, 2])
    self.assertEqual(str(npz_format.load_extras(self.path)['units']), 'um')

  def test_half_precision_bases_come_back_as_float32(self):
    model = make_model()
    npz_format.save_npz(self.path, model, units='mm', basis_dtype=np.float16)
    loaded = npz_format.load_npz(self.path)
    self.assertEqual(loaded.identity_basis.dtype, np.float32)
    # float16 keeps 11 bits: half a unit in the last place is 2^-11 of the value.
    np.testing.assert_allclose(loaded.identity_basis, model.identity_basis, rtol=2**-11)

  def test_the_same_model_gives_the_same_bytes(self):
    other = self.path + '2'
    npz_format.save_npz(self.path, make_model(), units='mm')
    model = make_model()
    # Another order of the dictionaries is the same model.
    npz_format.save_npz(
      other, model.replace(regions=dict(reversed(model.regions.items()))), units='mm'
    )
    with open(self.path, 'rb') as a, open(other, 'rb') as b:
      self.assertEqual(a.read(), b.read())

  def test_no_symmetry_stays_none(self):
    npz_format.save_npz(self.path, make_model().replace(symmetry=None), units='mm')
    self.assertIsNone(npz_format.load_npz(self.path).symmetry)

  def test_extras_are_kept_and_do_not_disturb(self):
    npz_format.save_npz(
      self.path, make_model(), units='mm', extras={'names': np.array(['a', 'bc'])}
    )
    npz_format.load_npz(self.path)
    self.assertEqual(npz_format.load_extras(self.path)['names'].tolist(), ['a', 'bc'])

  @parameterized.parameters(0.1, 0.5, 0.9)
  def test_a_flipped_bit_is_noticed(self, where):
    npz_format.save_npz(self.path, make_model(q=200), units='mm')
    with open(self.path, 'r+b') as file:
      position = int(os.path.getsize(self.path) * where)
      file.seek(position)
      byte = file.read(1)[0]
      file.seek(position)
      file.write(bytes([byte ^ 0x10]))
    with self.assertRaises(ValueError):
      npz_format.load_npz(self.path)

  def test_a_changed_array_is_noticed_by_the_hash(self):
    npz_format.save_npz(self.path, make_model(), units='mm')
    arrays = arrays_of(self.path)
    arrays['mean_shape'][0, 0] += 1
    np.savez(self.path, **arrays)
    with self.assertRaisesRegex(ValueError, 'content hash'):
      npz_format.load_npz(self.path)

  def test_size_is_refused_before_inflating(self):
    npz_format.save_npz(self.path, make_model(), units='mm')
    with self.assertRaisesRegex(ValueError, 'limit is 100'):
      npz_format.load_npz(self.path, max_bytes=100)
    # A small zip that claims a gigabyte of zeros.
    with zipfile.ZipFile(self.path, 'w', zipfile.ZIP_DEFLATED) as archive:
      archive.writestr('mean_shape.npy', bytes(10**7))
    self.assertLess(os.path.getsize(self.path), 10**5)
    with self.assertRaisesRegex(ValueError, 'limit is 1000000'):
      npz_format.load_npz(self.path, max_bytes=10**6)

  def test_pickled_objects_are_refused(self):
    np.savez(self.path, mean_shape=np.array([{'a': 1}], dtype=object))
    with self.assertRaises(ValueError):
      npz_format.load_npz(self.path)

  def test_missing_array_version_and_file(self):
    with self.assertRaisesRegex(FileNotFoundError, 'No face model'):
      npz_format.load_npz(self.path)
    npz_format.save_npz(self.path, make_model(), units='mm')
    arrays = arrays_of(self.path)
    np.savez(self.path, **{k: v for k, v in arrays.items() if k != 'triangles'})
    with self.assertRaisesRegex(ValueError, 'triangles'):
      npz_format.load_npz(self.path)
    np.savez(self.path, **(arrays | {'schema_version': np.int32(9)}))
    with self.assertRaisesRegex(ValueError, 'schema version 9'):
      npz_format.load_npz(self.path)
    with open(self.path, 'w') as file:
      file.write('not a zip')
    with self.assertRaisesRegex(ValueError, 'cannot be read'):
      npz_format.load_npz(self.path)

  @parameterized.parameters(
    ({'mean_shape': np.zeros((7, 2))}, 'mean_shape'),
    ({'identity_basis': np.zeros((3, 6, 3))}, 'identity_basis'),
    ({'identity_stddev': np.ones(4)}, 'identity_stddev'),
    ({'expression_stddev': np.array([1.0, 0.0])}, 'not positive'),
    ({'expression_basis': np.full((2, 7, 3), np.nan)}, 'not finite'),
    ({'mean_normals': np.zeros((6, 3))}, 'mean_normals'),
    ({'triangles': np.array([[0, 1, 7]])}, '0 to 7 in triangles'),
    ({'triangles': np.array([0, 1, 2])}, 'wanted .T, 3.'),
    ({'nose_tip': np.array([1, 2])}, 'nose_tip'),
    ({'nose_tip': np.int32(-1)}, 'nose_tip'),
    ({'symmetry': np.zeros(3, int)}, 'symmetry'),
    ({'landmark_schemes': {'x': np.array([9])}}, 'landmarks/x'),
    ({'regions': {'y': np.array([[1]])}}, 'regions/y'),
  )
  def test_models_that_do_not_fit_together(self, change, message):
    with self.assertRaisesRegex(ValueError, message):
      npz_format.save_npz(self.path, make_model().replace(**change), units='mm')
    self.assertFalse(os.path.exists(self.path))


if __name__ == '__main__':
  absltest.main()
