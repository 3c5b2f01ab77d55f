"""Files of landmarks and meshes: round trips, habits of every kind, hostile ones."""

import json
import pathlib
import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import scipy.io

from pifa_jax.files import formats


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

  def test_a_mesh_lies_on_its_photo_and_keeps_its_sense(self):
    rng = np.random.default_rng(1)
    axis, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axis *= np.sign(np.linalg.det(axis))
    camera = np.concatenate([0.8 * axis[:2] * [[1], [-1]], [[50], [60]]], axis=1)
    vertices = rng.normal(scale=30, size=(20, 3))
    placed = formats.image_vertices(camera, vertices)
    np.testing.assert_allclose(placed[:, :2], vertices @ camera[:, :3].T + camera[:, 3])
    # A rotation with a scale: no mirror, distances times 0.8.
    linear = np.linalg.lstsq(vertices - vertices[0], placed - placed[0], rcond=None)[0]
    self.assertAlmostEqual(np.linalg.det(linear), 0.8**3, places=9)
    # Nearer to the viewer is smaller: the third row of the rotation points at him.
    self.assertLess(np.corrcoef(placed[:, 2], vertices @ axis[2])[0, 1], -0.99)


class RefusalTest(FormatsTestCase):
  @parameterized.parameters(
    ('a.pts', b'n_points: 1000000000\n{\n1 2\n}', 'n_points'),
    ('a.pts', b'{\n1 2\n1e999 3\n}', 'finite'),
    ('a.pts', b'{\n1 2 3\n}', '"x y"'),
    ('a.pts', b'{\n1 2\n', 'part of one'),
    ('a.pts', b'\xff\xfe\0', 'text file'),
    ('a.pts', b'<html>', 'is not a .pts'),
    ('a.json', b'[' * 100_000, 'is not JSON'),
    ('a.json', b'[1]', 'JSON object'),
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


if __name__ == '__main__':
  absltest.main()
