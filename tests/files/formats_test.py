"""Files of landmarks and meshes: round trips, habits of every kind, hostile ones."""

import json
import pathlib
import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import scipy.io

from pifa_jax.files import formats, mesh_files


class FormatsTestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    rng = np.random.default_rng(0)
    self.points = rng.uniform(-5, 300, (68, 2)).round(3)
    self.visible = rng.uniform(size=68) < 0.7


class RoundTripTest(FormatsTestCase):
  def test_pts_counts_from_one(self):
    path = self.root / 'a.pts'
    formats.write_pts(path, self.points)
    first = path.read_text().splitlines()[3].split()
    # Three decimals are written, and float32 is read.
    np.testing.assert_allclose([float(x) for x in first], self.points[0] + 1, atol=6e-4)
    found = formats.read_landmarks(path)
    np.testing.assert_allclose(found.points[0], self.points, atol=6e-4)
    self.assertTrue(found.visible.all())

  def test_json_in_cocos_way(self):
    path = self.root / 'a.json'
    points = self.points.copy()
    points[3] = np.nan
    formats.write_json(path, points, self.visible, [1.0, 2, 30, 40], image='a.jpg')
    content = json.loads(path.read_text())
    self.assertLen(content['keypoints'], 3 * 68)
    self.assertEqual(content['num_keypoints'], 67)
    self.assertEqual(content['image'], 'a.jpg')
    found = formats.read_landmarks(path)
    labelled = np.arange(68) != 3
    np.testing.assert_array_equal(found.visible[0], self.visible & labelled)
    # Three decimals are written, and float32 is read.
    np.testing.assert_allclose(
      found.points[0][labelled], self.points[labelled], atol=6e-4
    )
    np.testing.assert_array_equal(found.boxes, [[1, 2, 30, 40]])

  def test_json_of_plain_lists(self):
    path = self.root / 'a.json'
    path.write_text(
      json.dumps(
        {
          'landmarks': self.points.tolist(),
          'visible': [bool(v) for v in self.visible],
          'box': [0, 0, 5, 5],
        }
      )
    )
    found = formats.read_landmarks(path)
    np.testing.assert_allclose(found.points[0], self.points, rtol=1e-6)
    np.testing.assert_array_equal(found.visible[0], self.visible)

  def test_npy_of_one_and_of_many(self):
    path = self.root / 'a.npy'
    for points in (self.points, np.stack([self.points, self.points + 1])):
      np.save(path, points)
      found = formats.read_landmarks(path)
      np.testing.assert_allclose(found.points, points.reshape(-1, 68, 2), rtol=1e-6)

  def test_mat_counts_from_one_and_marks_what_is_missing(self):
    path = self.root / 'a.mat'
    points = self.points + 1
    points[5] = -1
    scipy.io.savemat(path, {'pt2d': points.T})
    found = formats.read_landmarks(path)
    np.testing.assert_array_equal(np.where(~found.visible[0])[0], [5])
    np.testing.assert_allclose(found.points[0, 0], self.points[0], rtol=1e-6)
    # The projected 3D points come before the 2D ones.
    scipy.io.savemat(path, {'pt2d': points.T, 'pt3d_68': np.ones((3, 68))})
    self.assertEqual(formats.read_landmarks(path).points.max(), 0.0)
    scipy.io.savemat(path, {'landmarks': np.ones((3, 5, 2))})
    self.assertEqual(formats.read_landmarks(path).points.shape, (3, 5, 2))

  def test_npz_is_the_same_bytes_every_time(self):
    paths = [self.root / name for name in 'ab']
    for path in paths:
      formats.write_npz(path, x=self.points, y=np.array('text'))
    self.assertEqual(paths[0].read_bytes(), paths[1].read_bytes())
    with np.load(paths[0], allow_pickle=False) as content:
      np.testing.assert_array_equal(content['x'], self.points)

  def test_meshes_hold_vertices_and_triangles(self):
    vertices = np.array([[0, 0, 1.5], [2, 0, -3], [0, 4, 0]])
    mesh_files.write_obj(self.root / 'a.obj', vertices, [[0, 1, 2]])
    self.assertEqual(
      (self.root / 'a.obj').read_text(),
      'v 0.0000 0.0000 1.5000\nv 2.0000 0.0000 -3.0000\nv 0.0000 4.0000 0.0000\n'
      'f 1 2 3\n',
    )
    mesh_files.write_ply(self.root / 'a.ply', vertices, [[0, 1, 2]])
    head, _, body = (self.root / 'a.ply').read_bytes().partition(b'end_header\n')
    self.assertIn(b'element vertex 3\n', head)
    self.assertIn(b'element face 1\n', head)
    np.testing.assert_array_equal(
      np.frombuffer(body[:36], '<f4').reshape(3, 3), vertices
    )
    self.assertEqual(body[36:37], b'\x03')
    np.testing.assert_array_equal(np.frombuffer(body[37:], '<i4'), [0, 1, 2])


class RefusalTest(FormatsTestCase):
  @parameterized.parameters(
    ('a.pts', b'n_points: 1000000000\n{\n1 2\n}', 'n_points'),
    ('a.pts', b'{\n1 2\n1e999 3\n}', 'finite'),
    ('a.pts', b'{\n1 2 3\n}', '"x y"'),
    ('a.pts', b'{\n1 2\n', 'part of one'),
    ('a.pts', b'\xff\xfe\0', 'text file'),
    ('a.pts', b'<html>', 'is not a .pts'),
    ('a.pts', b'<!doctype html><style>p { 1 2 }</style>', 'but a web page'),
    ('a.pts', b'<div>not found</div> { 1 2 }', 'not a .pts file: it has the line'),
    ('a.pts', b'var x = { 1 2 }', 'not a .pts file: it has the line'),
    ('a.pts', b'version: 1\n{\n1 2 0\n}', '"x y"'),
    ('a.pts', b'version: 1\n{\n}', 'no points'),
    ('a.pts', b'version https://git-lfs.github.com/spec/v1\noid x', 'git lfs pull'),
    ('a.json', b'<html>{"landmarks": [[1, 2]]}</html>', 'web page'),
    ('a.json', b'{"landmarks": [1, 2, 3, 4]}', 'rows of 2'),
    ('a.json', b'{"landmarks": [["1", "2"]]}', 'list of numbers'),
    ('a.json', b'{"landmarks": [[1, 2]], "box": [[0, 0, 1, 1]]}', 'wanted 4 numbers'),
    ('a.json', b'{"landmarks": [[1, 2]], "box": [0, 0, 1, 1, 1]}', 'wanted 4 numbers'),
    ('a.json', b'{"keypoints": [1, 2, 2, 1]}', 'wanted triples'),
    ('a.json', b'{"groups": {"a": {}, "b": {}}}', '2 groups'),
    ('a.csv', b'<html>x_0,y_0</html>', 'web page'),
    ('a.csv', b'name,reason\na,b\n', 'no columns x_0'),
    ('a.csv', b'x_0, y_0\n1\n', 'line 2'),
    ('a.csv', b'x_0, y_0\n', 'no row'),
    ('a.json', b'[' * 100_000, 'is not JSON'),
    ('a.json', b'[1]', 'JSON object'),
    ('a.json', b'{"landmarks": [[1, 2]], "landmarks": [[3, 4]]}', "'landmarks' twice"),
    ('a.json', b'{"groups": {"a": 1, "a": 2}}', "'a' twice"),
    ('a.json', b'{"landmarks": [[1, Infinity]]}', 'holds Infinity'),
    ('a.json', b'{"landmarks": [[1, 1e999]]}', 'not finite'),
    ('a.json', b'{"keypoints": [1, 1e999, 1]}', 'not finite'),
    ('a.json', b'{"landmarks": [[1, 2, 3]]}', 'rows of'),
    ('a.json', b'{"landmarks": [["a", 1]]}', 'list of numbers'),
    ('a.json', b'{"landmarks": [[1, 2]], "visible": [1, 1]}', '2 entries'),
    ('a.json', b'{"keypoints": [1, 2, 7]}', 'not 0, 1 or 2'),
    ('a.json', b'{"keypoints": [1, 2, 2], "bbox": [0, 0, 0, 5]}', 'the box'),
    ('a.json', b'{"x": 1}', 'neither'),
    ('a.json', b'', 'is not JSON'),
    ('a.npy', b'\x93NUMPY\x01\x00', 'not a .npy'),
    ('a.npy', b'', 'not a .npy'),
    ('a.mat', b'<html>', 'web page'),
    ('a.doc', b'', 'no file of landmarks'),
  )
  def test_sentences(self, name, content, words):
    (self.root / name).write_bytes(content)
    with self.assertRaisesRegex(ValueError, words):
      formats.read_landmarks(self.root / name)

  @parameterized.parameters(
    ('a.csv', b'name,reason\na,b\n'), ('a.json', b'{"a.jpg": [1, 2, 3, 4]}')
  )
  def test_sound_files_of_other_things(self, name, content):
    (self.root / name).write_bytes(content)
    with self.assertRaises(formats.NoLandmarksError):
      formats.read_landmarks(self.root / name)

  def test_text_of_other_editors(self):
    formats.write_pts(self.root / 'a.pts', self.points)
    text = (self.root / 'a.pts').read_bytes()
    for changed in (
      b'\xef\xbb\xbf' + text,
      text.replace(b'\n', b'\r\n'),
      text.replace(b'\n', b'\r'),
      text.replace(b'version: 1', b'version: 2'),
    ):
      (self.root / 'b.pts').write_bytes(changed)
      found = formats.read_landmarks(self.root / 'b.pts')
      # Three decimals are written.
      np.testing.assert_allclose(found.points[0], self.points, atol=6e-4)
    (self.root / 'b.pts').write_bytes(text.replace(b'.', b','))
    with self.assertRaisesRegex(ValueError, 'decimal points'):
      formats.read_landmarks(self.root / 'b.pts')

  def test_npy_headers_that_promise_too_much_or_hold_objects(self):
    path = self.root / 'a.npy'
    np.save(path, np.array([{'a': 1}], object), allow_pickle=True)
    with self.assertRaisesRegex(ValueError, 'not numbers'):
      formats.read_landmarks(path)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
    path.write_bytes(
      b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header + bytes(64)
    )
    with self.assertRaisesRegex(ValueError, 'cut off'):
      formats.read_landmarks(path)
    np.save(path, np.ones((3, 4)))
    with self.assertRaisesRegex(ValueError, r'3, 4\)'):
      formats.read_landmarks(path)


class HiddenPointsTest(FormatsTestCase):
  """Issue: MERL-RAV's negative pairs were taken for points."""

  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(1)
    # A face of 200 pixels, as whole numbers from 1.
    self.face = rng.uniform([300, 200], [500, 420], (68, 2)).round()

  def _pts(self, numbers, name='a.pts'):
    path = self.root / name
    rows = '\n'.join(f'{x} {y}' for x, y in numbers)
    path.write_text(f'version: 1\nn_points: {len(numbers)}\n{{\n{rows}\n}}\n')
    return path

  def _read(self, numbers, **options):
    return formats.read_landmarks(self._pts(numbers), **options)

  def test_merl_rav(self):
    numbers = self.face.copy()
    numbers[:9] *= -1  # behind a hand
    numbers[50:] = -1  # on the far side of the head
    for rule in ('auto', 'negative'):
      found = self._read(numbers, hidden_points=rule)
      self.assertTrue(found.marks_hidden)
      np.testing.assert_array_equal(np.flatnonzero(found.visible[0]), np.arange(9, 50))
      # Hidden points with a location keep it.
      np.testing.assert_array_equal(found.points[0, :50], self.face[:50] - 1)
      self.assertTrue(np.isnan(found.points[0, 50:]).all())

  def test_the_same_in_other_files(self):
    numbers = self.face.copy()
    numbers[:9] *= -1
    numbers[50:] = -1
    np.save(self.root / 'a.npy', numbers)
    (self.root / 'a.json').write_text(json.dumps({'landmarks': numbers.tolist()}))
    scipy.io.savemat(self.root / 'a.mat', {'landmarks': numbers})
    for name, base in (('a.npy', 0), ('a.json', 0), ('a.mat', 1)):
      found = formats.read_landmarks(self.root / name)
      np.testing.assert_array_equal(np.flatnonzero(found.visible[0]), np.arange(9, 50))
      np.testing.assert_array_equal(found.points[0, :50], self.face[:50] - base)

  def test_zeros_have_no_location(self):
    numbers = self.face.copy()
    numbers[[3, 7]] = 0
    found = self._read(numbers)
    np.testing.assert_array_equal(np.flatnonzero(~found.visible[0]), [3, 7])

  def test_a_face_at_the_corner_has_negative_points(self):
    numbers = self.face - [330, 230]
    numbers[0] = [-12, -9]
    found = self._read(numbers)
    self.assertTrue(found.visible.all())
    self.assertTrue(found.is_ambiguous)
    self.assertFalse(found.marks_hidden)
    np.testing.assert_array_equal(found.points[0], numbers - 1)
    # Unless the user says what they are.
    hidden = self._read(numbers, hidden_points='negative')
    np.testing.assert_array_equal(hidden.visible[0], ~(numbers < 0).all(axis=1))
    self.assertTrue(self._read(numbers, hidden_points='minus_one').visible.all())

  def test_rules_that_are_asked_for(self):
    numbers = self.face.copy()
    numbers[0], numbers[1] = -1, [-310, -220]
    found = self._read(numbers, hidden_points='none')
    self.assertTrue(found.visible.all())
    np.testing.assert_array_equal(found.points[0, 1], [-311, -221])
    with self.assertRaisesRegex(ValueError, 'point 2 .*--hidden_points'):
      numbers[1] *= 100
      self._read(numbers, hidden_points='minus_one')
    with self.assertRaisesRegex(ValueError, "'no' is not one of auto"):
      self._read(numbers, hidden_points='no')

  def test_impossible_points_are_named(self):
    numbers = self.face.copy()
    numbers[11] = [-8500, 30]
    with self.assertRaisesRegex(ValueError, r'point 12 at \(-8501, 29\) cannot'):
      self._read(numbers)


class UnlabelledTest(FormatsTestCase):
  """Issue: null and NaN made a whole face useless, or were called visible."""

  def test_null_and_nan(self):
    rows = self.points.tolist()
    for count, nothing in ((6, None), (4, float('nan'))):
      for i in range(count):
        rows[i] = [nothing, nothing]
      path = self.root / 'a.json'
      for content in (
        {'landmarks': rows},
        {'landmarks': rows, 'visible': [1] * 68},
        {'keypoints': [x for row in rows for x in (*row, 2)]},
      ):
        path.write_text(json.dumps(content))
        found = formats.read_landmarks(path)
        np.testing.assert_array_equal(np.flatnonzero(~found.visible[0]), np.arange(6))
        np.testing.assert_allclose(found.points[0, 6:], self.points[6:], rtol=1e-6)
        self.assertTrue(np.isnan(found.points[0, :6]).all())

  def test_occluded_is_the_opposite_of_visible(self):
    path = self.root / 'a.json'
    flags = [int(v) for v in self.visible]
    path.write_text(json.dumps({'landmarks': self.points.tolist(), 'occluded': flags}))
    found = formats.read_landmarks(path)
    np.testing.assert_array_equal(found.visible[0], ~self.visible)

  def test_nan_in_text(self):
    path = self.root / 'a.pts'
    path.write_text('{\nnan nan\n1 2\n4 3\n5 6\n9 9\n}\n')
    found = formats.read_landmarks(path)
    np.testing.assert_array_equal(found.visible[0], [0, 1, 1, 1, 1])


class OtherProgramsTest(FormatsTestCase):
  def test_npy_with_a_third_column(self):
    path = self.root / 'a.npy'
    depth = np.concatenate([self.points, self.points[:, :1] / 3], axis=1)
    np.save(path, depth)
    found = formats.read_landmarks(path)
    np.testing.assert_allclose(found.points[0], self.points, rtol=1e-6)
    self.assertTrue(found.visible.all())
    self.assertIn('depth', found.notes[0])
    depth[:, 2] = np.where(self.visible, 2, 1)
    depth[0, 2] = 0
    np.save(path, depth[None])
    found = formats.read_landmarks(path)
    np.testing.assert_array_equal(found.visible[0, 1:], self.visible[1:])
    self.assertFalse(found.visible[0, 0])
    self.assertIn('visibility', found.notes[0])
    depth[:, 2] = 0
    np.save(path, depth)
    self.assertTrue(formats.read_landmarks(path).visible.all())

  def _csv(self, rows, names='face_id, confidence, success'):
    columns = [f'x_{i}' for i in range(68)] + [f'y_{i}' for i in range(68)]
    head = names + ', ' + ', '.join(columns) + ', X_0, p_0'
    lines = [', '.join(map(str, [*row, *p[:, 0], *p[:, 1], 0, 0])) for row, p in rows]
    path = self.root / 'a.csv'
    path.write_text('\n'.join([head, *lines, '']))
    return path

  def test_openface(self):
    other = self.points + 10
    path = self._csv(
      [((0, 0.9, 1), self.points), ((1, 0, 0), other), ((2, 1, 1), other)]
    )
    found = formats.read_landmarks(path)
    # The row without success is no face.
    np.testing.assert_allclose(found.points, np.stack([self.points, other]), rtol=1e-6)
    self.assertFalse(found.is_video)
    path = self._csv(
      [((1, 0.9, 1), self.points), ((2, 1, 1), other)], 'frame, confidence, success'
    )
    self.assertTrue(formats.read_landmarks(path).is_video)

  def test_menpo(self):
    turned = self.points[:, ::-1].tolist()
    turned[4] = [None, None]
    path = self.root / 'a.ljson'
    parts = [
      {'label': 'jaw', 'landmarks': [{'point': row} for row in turned[:17]]},
      {'label': 'rest', 'landmarks': [{'point': row} for row in turned[17:]]},
    ]
    body = {'landmarks': {'points': turned, 'connectivity': []}, 'labels': []}
    for content in (
      {'version': 1, 'groups': parts},
      {'version': 2, **body},
      {'version': 3, 'groups': {'LJSON': body}},
    ):
      path.write_text(json.dumps(content))
      found = formats.read_landmarks(path)
      np.testing.assert_array_equal(np.flatnonzero(~found.visible[0]), [4])
      np.testing.assert_allclose(
        np.delete(found.points[0], 4, 0), np.delete(self.points, 4, 0), rtol=1e-6
      )

  def test_landmarks_of_300w_lp(self):
    path = self.root / 'a_pts.mat'
    scipy.io.savemat(path, {'pts_2d': self.points, 'pts_3d': self.points + 5})
    found = formats.read_landmarks(path)
    np.testing.assert_allclose(found.points[0], self.points + 4, rtol=1e-6)

  def test_a_coco_file_of_one_photo(self):
    faces = [
      {
        'image_id': 3,
        'keypoints': np.column_stack([self.points + i, np.full(68, 2)])
        .ravel()
        .tolist(),
        **({'bbox': [1, 2, 30, 40]} if i else {}),
      }
      for i in range(2)
    ]
    path = self.root / 'a.json'
    path.write_text(json.dumps({'annotations': faces}))
    found = formats.read_landmarks(path)
    self.assertEqual(found.points.shape, (2, 68, 2))
    self.assertTrue(np.isnan(found.boxes[0]).all())
    np.testing.assert_array_equal(found.boxes[1], [1, 2, 30, 40])
    faces[1]['image_id'] = 4
    path.write_text(json.dumps({'annotations': faces}))
    with self.assertRaisesRegex(ValueError, '--dataset=coco'):
      formats.read_landmarks(path)


if __name__ == '__main__':
  absltest.main()
