"""Tests of the built-in face: what it must be like, its names, hash, id files."""

import os
import tempfile

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax import face_models
from pifa_jax.face_models import landmark_tables
from pifa_jax.geometry import projection

# 1-based mirror of every iBUG number: jaw, brows, nose, eyes, outer and inner lip.
IBUG_MIRROR = (
  list(range(17, 0, -1))
  + list(range(27, 17, -1))
  + [28, 29, 30, 31, 36, 35, 34, 33, 32]
  + [46, 45, 44, 43, 48, 47, 40, 39, 38, 37, 42, 41]
  + [55, 54, 53, 52, 51, 50, 49, 60, 59, 58, 57, 56]
  + [65, 64, 63, 62, 61, 68, 67, 66]
)


class BuiltinFaceTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = face_models.load_face_model()
    cls.ibug = cls.model.landmark_schemes['ibug68']

  def at(self, *numbers):
    """Mean positions of iBUG numbers (1-based)."""
    return self.model.mean_shape[self.ibug[np.array(numbers) - 1]]

  def test_sizes_and_types(self):
    model = self.model
    self.assertEqual((model.num_identity, model.num_expression), (199, 29))
    self.assertEqual(model.num_params, 236)
    self.assertBetween(model.num_vertices, 4000, 4600)
    for array in (
      model.mean_shape,
      model.identity_basis,
      model.expression_basis,
      model.mean_normals,
      model.identity_stddev,
    ):
      self.assertEqual(array.dtype, np.float32)
    self.assertEqual(model.triangles.dtype, np.int32)

  def test_millimetres_and_origin(self):
    between = np.linalg.norm(self.at(37)[0] - self.at(46)[0])
    self.assertBetween(between, 80, 100)  # Outer eye corners of adults.
    centre = self.model.mean_shape[self.model.regions['rendered']].mean(axis=0)
    np.testing.assert_allclose(centre, 0, atol=1e-3)  # float32 mean of 100 mm.

  def test_normals_point_outwards(self):
    model = self.model
    camera = np.array([[1, 0, 0, 0], [0, -1, 0, 0]], np.float32)
    frontability = np.asarray(projection.frontability(camera, model.mean_normals))
    self.assertGreater(frontability[int(model.nose_tip)], 0.9)
    self.assertEqual(int(model.nose_tip), self.ibug[30])
    # The nose tip is the front of the face, and the ears look sideways.
    drawn = model.regions['rendered']
    self.assertGreater(
      model.mean_shape[model.nose_tip, 2] + 1.0, model.mean_shape[drawn, 2].max()
    )
    self.assertGreater(model.mean_normals[self.ibug[16], 0], 0.5)
    self.assertLess(model.mean_normals[self.ibug[0], 0], -0.5)
    volume = np.linalg.det(model.mean_shape[model.triangles].astype(np.float64))
    self.assertGreater(volume.sum() / 6, 2e6)  # A head: litres, and positive.

  def test_all_68_points_are_drawn_and_face_a_frontal_camera(self):
    self.assertLen(set(self.ibug.tolist()), 68)
    for name, ids in landmark_tables.own_schemes(self.model).items():
      self.assertTrue(np.isin(ids, self.model.regions['rendered']).all(), name)
      self.assertGreater(self.model.mean_normals[ids, 2].min(), 0.05, name)
    self.assertLen(self.model.landmark_schemes['ibug34'], 34)
    self.assertLen(self.model.landmark_schemes['aflw34'], 34)
    self.assertLen(set(self.model.landmark_schemes['aflw34'].tolist()), 34)

  def test_mirror_of_the_landmarks_is_the_mirrored_numbering(self):
    np.testing.assert_array_equal(
      self.model.symmetry[self.ibug], self.ibug[np.array(IBUG_MIRROR) - 1]
    )

  def test_landmarks_by_meaning(self):
    x, y, z = self.at(*range(1, 69)).T
    point = lambda number: number - 1
    # The jaw runs from the image's left round the chin to its right.
    self.assertTrue((np.diff(x[:17])[3:13] > 0).all())
    self.assertTrue((np.diff(y[:9]) < 0.5).all())  # Down; the chin rises a little.
    steps = np.linalg.norm(np.diff(self.at(*range(1, 18)), axis=0), axis=1)
    self.assertLess(steps.max() / steps.min(), 2.0)  # About equally spaced.
    self.assertBetween(y[0] - y[point(37)], -6, 6)  # Starts at eye height.
    self.assertLess(y[:17].min(), y[17:].min() - 15)  # The chin is the bottom.
    # Brows above eyes above nose above mouth.
    self.assertGreater(y[17:27].min(), y[36:48].max() + 5)
    self.assertGreater(y[36:48].min(), y[31:36].max() + 20)
    self.assertGreater(y[31:36].min(), y[48:68].max() + 5)
    self.assertTrue((np.diff(x[17:27]) > 0).all())
    # Bridge: downwards and forwards, in even steps, from the eyes to the tip.
    self.assertBetween(y[27] - y[point(40)], -5, 8)
    bridge = np.linalg.norm(np.diff(self.at(28, 29, 30, 31), axis=0), axis=1)
    self.assertLess(bridge.max() / bridge.min(), 1.25)
    self.assertTrue((np.diff(y[27:31]) < 0).all())
    self.assertTrue((np.diff(z[27:31]) > 0).all())
    self.assertTrue((np.diff(x[31:36]) > 0).all())
    # Eyes: corners outermost, lids between, upper above lower.
    for corner, upper, lower in (
      ((37, 40), (38, 39), (42, 41)),
      ((43, 46), (44, 45), (48, 47)),
    ):
      row = x[[point(i) for i in (corner[0], *upper, corner[1])]]
      self.assertTrue((np.diff(row) > 0).all())
      for above, below in zip(upper, lower, strict=True):
        self.assertBetween(y[point(above)] - y[point(below)], 5, 14)
    # Lips: 49 and 55 are the corners; the rows run as iBUG numbers them.
    self.assertTrue((np.diff(x[48:55]) > 0).all())
    self.assertTrue((np.diff(x[[54, 55, 56, 57, 58, 59, 48]]) < 0).all())
    self.assertTrue((np.diff(x[60:65]) > 0).all())
    self.assertTrue((np.diff(x[[64, 65, 66, 67, 60]]) < 0).all())
    self.assertBetween(y[point(63)] - y[point(67)], 0, 3)  # S_0's mouth is closed.
    self.assertTrue(np.isin(self.ibug[48:68], self.model.regions['lips']).all())

  def test_landmarks_lie_where_the_basel_model_has_them(self):
    # x and y of `pt3d_68` of two AFLW2000-3D faces without their pose, both sides
    # taken together; unit: outer eye corners, origin: between the eyes.
    basel = {
      17: (0.83, -0.09),
      16: (0.80, -0.32),
      15: (0.76, -0.52),
      14: (0.71, -0.70),
      13: (0.65, -0.90),
      12: (0.54, -1.06),
      11: (0.41, -1.15),
      10: (0.24, -1.22),
      23: (0.21, 0.19),
      24: (0.31, 0.22),
      25: (0.43, 0.23),
      26: (0.55, 0.20),
      27: (0.65, 0.15),
      35: (0.08, -0.48),
      36: (0.14, -0.46),
    }
    eyes = (
      self.at(*range(37, 43)).mean(axis=0) + self.at(*range(43, 49)).mean(axis=0)
    ) / 2
    ours = (self.at(*basel)[:, :2] - eyes[:2]) / np.linalg.norm(
      self.at(37)[0] - self.at(46)[0]
    )
    # A tenth is 8 mm; before they were moved there 13 and 27 were 0.14 and 0.09 away.
    self.assertLess(np.linalg.norm(ours - list(basel.values()), axis=1).max(), 0.105)
    self.assertLess(np.linalg.norm(ours - list(basel.values()), axis=1).mean(), 0.06)

  def test_derived_schemes_pick_from_the_68(self):
    # fmt: off
    numbers = [
      18, 20, 22, 23, 25, 27, 37, 38, 40, 41, 43, 44, 46, 47, 28, 31, 32,
      34, 36, 49, 52, 55, 58, 63, 67, 1, 3, 5, 7, 9, 11, 13, 15, 17]
    # fmt: on
    np.testing.assert_array_equal(
      self.model.landmark_schemes['ibug34'], self.ibug[np.array(numbers) - 1]
    )
    aflw = self.model.landmark_schemes['aflw34']
    positions = self.model.mean_shape[aflw[:21]]
    # AFLW 13 and 17 are ear lobes, 15 the nose tip, 21 the chin.
    self.assertTrue(np.isin(aflw[[12, 16]], self.model.regions['ears']).all())
    self.assertEqual(aflw[14], self.model.nose_tip)
    self.assertEqual(aflw[20], self.ibug[8])
    np.testing.assert_array_less(positions[[0, 6, 12, 13, 17], 0], 0)
    np.testing.assert_array_less(0, positions[[5, 11, 15, 16, 19], 0])

  def test_mask_five(self):
    eye_left, eye_right, nose, lip_left, lip_right = self.model.regions['mask_five']
    self.assertEqual(nose, self.model.nose_tip)
    np.testing.assert_array_equal([lip_left, lip_right], self.ibug[[48, 54]])
    self.assertEqual(self.model.symmetry[eye_left], eye_right)
    for eye, corners in ((eye_left, (37, 40)), (eye_right, (43, 46))):
      middle = self.at(*corners).mean(axis=0)
      away = np.linalg.norm(self.model.mean_shape[eye] - middle)
      self.assertLess(away, 10)
    self.assertTrue(
      np.isin(self.model.regions['mask_five'], self.model.regions['rendered']).all()
    )

  def test_drawn_is_the_outside_of_the_face(self):
    regions = self.model.regions
    for inner in (
      'mouth_inside',
      'eye_sockets',
      'nostrils',
      'eyeball_left',
      'eyeball_right',
    ):
      self.assertNotEmpty(regions[inner], inner)
      self.assertEmpty(np.intersect1d(regions['rendered'], regions[inner]), inner)
    self.assertEmpty(np.setdiff1d(regions['rendered'], regions['skin']))
    self.assertEmpty(np.setdiff1d(regions['ears'], regions['rendered']))
    # Not the back of the head.
    back = self.model.mean_shape[:, 2].min()
    self.assertGreater(self.model.mean_shape[regions['rendered'], 2].min(), back + 40)
    for name in (
      'skin',
      'brows',
      'lips',
      'eyelids',
      'ears',
      'neck',
      'scalp',
      'eye_white',
      'iris',
      'iris_left',
      'iris_right',
    ):
      self.assertNotEmpty(regions[name], name)
    for ball in ('left', 'right'):
      self.assertTrue(
        np.isin(regions[f'iris_{ball}'], regions[f'eyeball_{ball}']).all()
      )
      side = {'left': -1, 'right': 1}[ball]
      self.assertTrue(
        (self.model.mean_shape[regions[f'eyeball_{ball}'], 0] * side > 0).all()
      )

  def test_the_neck_rim_is_one_clean_ring(self):
    edges = np.sort(
      np.concatenate(
        [self.model.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]
      ),
      axis=1,
    )
    unique, count = np.unique(edges, axis=0, return_counts=True)
    self.assertEqual(count.max(), 2)  # A manifold ...
    rim = unique[count == 1]
    after = {}
    for a, b in rim.tolist():
      after.setdefault(a, []).append(b)
      after.setdefault(b, []).append(a)
    self.assertEqual({len(n) for n in after.values()}, {2})
    start = rim[0, 0]
    before, here, length = start, after[start][0], 1
    while here != start:
      before, here = here, next(n for n in after[here] if n != before)
      length += 1
    self.assertLen(rim, length)  # ... with one boundary: the rim of the neck.
    self.assertLess(self.model.mean_shape[rim, 1].max(), self.at(9)[0, 1])

  def test_symmetry(self):
    symmetry, flip = self.model.symmetry, np.array([-1, 1, 1], np.float32)
    np.testing.assert_array_equal(symmetry[symmetry], np.arange(len(symmetry)))
    np.testing.assert_array_equal(
      self.model.mean_shape[symmetry], self.model.mean_shape * flip
    )
    # Every mode is exactly symmetric or exactly antisymmetric.
    for basis in (self.model.identity_basis, self.model.expression_basis):
      mirrored = basis[:, symmetry] * flip
      same = (mirrored == basis).all(axis=(1, 2))
      opposite = (mirrored == -basis).all(axis=(1, 2))
      self.assertTrue((same | opposite).all())
      self.assertTrue(same.any() and opposite.any())
    triangles = {frozenset(t) for t in self.model.triangles.tolist()}
    self.assertEqual(
      {frozenset(symmetry[list(t)].tolist()) for t in triangles}, triangles
    )

  def test_modes_are_ordered_and_natural(self):
    drawn = self.model.regions['rendered']
    for basis, low, high in (
      (self.model.identity_basis, 3.0, 6.0),
      (self.model.expression_basis, 1.5, 4.0),
    ):
      power = (basis[:, drawn].astype(np.float64) ** 2).sum(axis=2).mean(axis=1)
      self.assertTrue((np.diff(power) < 1e-3 * power[:-1]).all())
      # Root mean square displacement of a drawn vertex, millimetres.
      self.assertBetween(np.sqrt(power.sum()), low, high)

  def test_identity_has_no_rigid_motion_or_scale(self):
    regions = self.model.regions
    face = np.setdiff1d(
      regions['rendered'], np.concatenate([regions['neck'], regions['ears']])
    )
    centred = self.model.mean_shape[face].astype(np.float64)
    centred -= centred.mean(axis=0)
    motions = np.stack(
      [np.broadcast_to(axis, centred.shape) for axis in np.eye(3)]
      + [np.cross(axis, centred) for axis in np.eye(3)]
      + [centred]
    )
    motions = motions.reshape(7, -1)
    modes = self.model.identity_basis[:, face].astype(np.float64).reshape(199, -1)
    amounts = np.linalg.lstsq(motions.T, modes.T, rcond=None)[0]
    explained = (motions.T @ amounts).T
    # Nothing but the rounding to float16 (2^-12 of values of up to 10 mm, averaged
    # over a thousand vertices) is left.
    self.assertLess(np.sqrt((explained**2).mean(axis=1)).max(), 1e-3)

  def test_expression_units(self):
    units = face_models.load_expression_units()
    self.assertIn('eyeBlinkLeft', units)
    moved = lambda unit, number: np.tensordot(
      units[unit], self.model.expression_basis[:, self.ibug[number - 1]], axes=1
    )
    # The jaw opens by centimetres; 29 modes keep each of these within a fifth.
    self.assertLess(moved('jawOpen', 67)[1], -25)
    self.assertLess(np.abs(moved('jawOpen', 28)).max(), 2)
    # Left is the subject's left, the image's right.
    self.assertLess(moved('eyeBlinkLeft', 45)[1], -5)
    self.assertGreater(moved('eyeBlinkLeft', 39)[1], -2)
    self.assertGreater(moved('mouthSmileLeft', 55)[0], 5)
    self.assertLess(moved('mouthSmileRight', 49)[0], -5)
    # A finer level has the same ones; a file may have none.
    finer = face_models.load_expression_units('builtin-2')
    np.testing.assert_array_equal(finer['jawOpen'], units['jawOpen'])
    path = os.path.join(tempfile.mkdtemp(), 'a.npz')
    face_models.save_npz(path, self.model, units='mm')
    self.assertEqual(face_models.load_expression_units(path), {})
    with self.assertRaisesRegex(FileNotFoundError, "No face model 'nobody'"):
      face_models.load_expression_units('nobody')
    face_models.save_npz(
      path,
      self.model,
      units='mm',
      extras={
        'expression_unit_names': np.array(['jawOpen', 'smile']),
        'expression_unit_coeffs': np.zeros((1, 29)),
      },
    )
    with self.assertRaisesRegex(ValueError, r'names 2 expression units.*\(1, 29\)'):
      face_models.load_expression_units(path)

  def test_finer_levels_agree_about_landmarks(self):
    model = face_models.load_face_model('builtin-1')
    self.assertBetween(model.num_vertices, 17_000, 18_500)
    for name, ids in landmark_tables.own_schemes(self.model).items():
      np.testing.assert_array_equal(model.landmark_schemes[name], ids)
      for field in ('mean_shape', 'identity_basis', 'expression_basis'):
        np.testing.assert_array_equal(
          getattr(model, field)[..., ids, :], getattr(self.model, field)[..., ids, :]
        )
    self.assertGreater(model.mean_normals[model.nose_tip, 2], 0.9)
    flip = model.mean_shape[model.symmetry] * np.array([-1, 1, 1], np.float32)
    # Loop's sums of float32 coordinates up to 200 mm, in another order on either side.
    np.testing.assert_allclose(flip, model.mean_shape, atol=1e-4)
    self.assertEmpty(
      np.intersect1d(model.regions['rendered'], model.regions['mouth_inside'])
    )

  def test_level_two_size(self):
    model = face_models.load_face_model('builtin', subdivision=2)
    self.assertGreater(model.num_vertices, 67_000)
    self.assertGreater(len(model.regions['rendered']), 40_000)
    self.assertEqual(model.identity_basis.shape, (199, model.num_vertices, 3))

  def test_names_and_errors(self):
    with self.assertRaisesRegex(FileNotFoundError, "'builtin', 'builtin-1'"):
      face_models.load_face_model('bfm')
    with self.assertRaisesRegex(ValueError, 'subdivision=3'):
      face_models.load_face_model(subdivision=3)
    with self.assertRaisesRegex(ValueError, 'contradicts'):
      face_models.load_face_model('builtin-1', subdivision=2)

  def test_hash(self):
    again = face_models.load_face_model()
    self.assertEqual(
      face_models.face_model_hash(again), face_models.face_model_hash(self.model)
    )
    for change in (
      {'mean_shape': np.nextafter(self.model.mean_shape, np.float32(1))},
      {'nose_tip': np.int32(5)},
      {'symmetry': None},
      {'landmark_schemes': {'ibug68': self.ibug}},
      {'landmark_schemes': {**self.model.landmark_schemes, 'ibug68': self.ibug[::-1]}},
    ):
      self.assertNotEqual(
        face_models.face_model_hash(self.model.replace(**change)),
        face_models.face_model_hash(self.model),
        list(change),
      )

  def test_a_path_loads_what_was_saved(self):
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'mine.npz')
      face_models.save_npz(path, self.model, units='mm', basis_dtype=np.float16)
      self.assertEqual(
        face_models.face_model_hash(face_models.load_face_model(path)),
        face_models.face_model_hash(self.model),
      )


class LandmarkIdsTest(parameterized.TestCase):
  def write(self, text):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    path = os.path.join(folder.name, 'ids.txt')
    with open(path, 'w', encoding='utf-8') as file:
      file.write(text)
    return path

  def test_reads_ids_and_comments(self):
    path = self.write("# the paper's 34\n12\n\n 7  # chin\n7\n")
    ids = face_models.load_landmark_ids(path, num_vertices=13)
    np.testing.assert_array_equal(ids, [12, 7, 7])
    self.assertEqual(ids.dtype, np.int32)

  @parameterized.parameters(
    ('1\nx\n', 'line 2'),
    ('-3\n', '-3'),
    ('1.5\n', '1.5'),
    ('1 2\n', '1 2'),
    ('# none\n', 'no vertex id'),
    ('3\n40\n', 'line 2: vertex 40'),
    ('٣\n', 'line 1'),
  )
  def test_bad_files(self, text, message):
    with self.assertRaisesRegex(ValueError, message):
      face_models.load_landmark_ids(self.write(text), num_vertices=40)

  def test_missing_file(self):
    with self.assertRaisesRegex(FileNotFoundError, 'No landmark file'):
      face_models.load_landmark_ids('/nowhere/ids.txt')


if __name__ == '__main__':
  absltest.main()
