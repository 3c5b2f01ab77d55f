"""What other programs read in the files of a face."""

import pathlib
import tempfile

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax import face_models
from pifa_jax.datasets import w300lp
from pifa_jax.files import formats, matlab_files
from pifa_jax.results import face_files
from tests.results.toy_face import HEIGHT, MODEL, make_face

try:
  import trimesh
except ImportError:
  trimesh = None

_IDS = MODEL.landmark_schemes['ibug68']


class FaceFilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.face = make_face(confidence=0.75)

  def test_every_kind_is_written_whole_and_alone(self):
    for kind, suffix in face_files.SUFFIXES.items():
      face_files.save_face(self.root / f'{kind}{suffix}', self.face)
    self.assertLen(list(self.root.iterdir()), len(face_files.SAVERS))

  def test_an_unknown_suffix_is_refused(self):
    with self.assertRaisesRegex(ValueError, r'a\.stl is no file .* \.obj'):
      face_files.save_face(self.root / 'a.stl', self.face)

  def test_pts_round_trips(self):
    face_files.save_face(self.root / 'a.pts', self.face)
    found = formats.read_landmarks(self.root / 'a.pts')
    # Three digits after the point.
    np.testing.assert_allclose(
      found.points[0], self.face.landmarks['ibug68'], atol=6e-4
    )

  def test_npz(self):
    face_files.save_face(self.root / 'a.npz', self.face)
    with np.load(self.root / 'a.npz', allow_pickle=False) as content:
      np.testing.assert_array_equal(content['visible'], self.face.visible['ibug68'])
      self.assertEqual(content['landmarks_ibug34'].shape, (34, 2))
      self.assertEqual(content['vertices'].shape, (MODEL.num_vertices, 3))
      self.assertEqual(float(content['confidence']), 0.75)

  def test_mat_is_300w_lp(self):
    face_files.save_face(self.root / 'a.mat', self.face)
    content = matlab_files.read_mat(self.root / 'a.mat')
    self.assertEqual(content['pt3d_68'].shape, (3, 68))
    self.assertEqual(content['Pose_Para'].shape, (1, 7))
    self.assertEqual(content['Shape_Para'].shape, (8, 1))
    self.assertEqual(content['Exp_Para'].shape, (4, 1))
    camera = w300lp.camera_from_pose_para(content['Pose_Para'].ravel(), HEIGHT)
    np.testing.assert_allclose(camera, self.face.params.camera, atol=1e-4)
    # z grows towards the viewer: the tip of the nose before the ends of the jaw.
    z = content['pt3d_68'][2]
    self.assertGreater(z[30], z[[0, 16]].max())
    found = formats.read_landmarks(self.root / 'a.mat')
    np.testing.assert_allclose(
      found.points[0], self.face.landmarks['ibug68'], atol=1e-4
    )
    x, y, width, height = self.face.box
    np.testing.assert_allclose(
      content['roi'][0],
      [x + 1, y + 1, x + width + 1, y + height + 1],
      # Whole pixels, and the half of a pixel from an edge to a centre.
      atol=1.01,
    )

  @parameterized.parameters('obj', 'ply')
  def test_a_mesh_lies_on_its_photo(self, kind):
    if trimesh is None:
      self.skipTest('trimesh is not installed')
    path = self.root / f'a.{kind}'
    face_files.save_face(path, self.face)
    mesh = trimesh.load(path, process=False, maintain_order=True)
    np.testing.assert_array_equal(mesh.faces, MODEL.triangles)
    off = np.abs(mesh.vertices[_IDS, :2] - self.face.landmarks['ibug68'])
    self.assertLess(off.max(), 0.01)
    # Outside is outside.
    self.assertGreater(mesh.volume, 0)
    # Red is the column and green the row of the photo.
    seen = self.face.visible['ibug68']
    colors = mesh.visual.vertex_colors[_IDS][seen]
    np.testing.assert_allclose(
      colors[:, :2], self.face.landmarks['ibug68'][seen], atol=1.1
    )

  def test_glb_stands_upright_and_leads_back_to_the_photo(self):
    if trimesh is None:
      self.skipTest('trimesh is not installed')
    path = self.root / 'a.glb'
    face_files.save_face(path, self.face)
    scene = trimesh.load(path, process=False, maintain_order=True)
    (mesh,) = scene.geometry.values()
    np.testing.assert_array_equal(mesh.faces, MODEL.triangles)
    x0, y0, _ = mesh.metadata['photo_origin_pixels']
    placed = np.stack([x0 + mesh.vertices[:, 0], y0 - mesh.vertices[:, 1]], axis=1)
    off = np.abs(placed[_IDS] - self.face.landmarks['ibug68'])
    self.assertLess(off.max(), 0.01)
    brow, chin, nose = (mesh.vertices[_IDS[i]] for i in (19, 8, 30))
    self.assertGreater(brow[1], chin[1])
    self.assertGreater(nose[2], 0)
    self.assertGreater(mesh.volume, 0)
    # Metres: the toy head is 180 units of a millimetre high.
    (whole,) = scene.dump()
    self.assertBetween(np.ptp(whole.vertices[:, 1]), 0.12, 0.25)

  def test_glb_keeps_the_colours(self):
    if trimesh is None:
      self.skipTest('trimesh is not installed')
    path = self.root / 'a.glb'
    face_files.save_face(path, self.face)
    (mesh,) = trimesh.load(path, process=False).geometry.values()
    stored = np.asarray(mesh.visual.vertex_attributes['color'])[:, :3] / 65535.0
    srgb = np.where(
      stored <= 0.0031308, 12.92 * stored, 1.055 * stored ** (1 / 2.4) - 0.055
    )
    np.testing.assert_allclose(255 * srgb, self.face.colors, atol=0.6)

  def test_position_map(self):
    face_files.save_face(self.root / 'a.npy', self.face)
    placed = np.load(self.root / 'a.npy')
    self.assertEqual(placed.shape, (256, 256, 3))
    covered = placed.any(axis=2)
    x, y, z = placed[covered].T
    self.assertGreaterEqual(z.min(), 0.0)
    points = self.face.landmarks['ibug68']
    for axis, values in ((0, x), (1, y)):
      self.assertLess(values.min(), points[:, axis].min())
      self.assertGreater(values.max(), points[:, axis].max())

  def test_the_built_in_face_is_shown_with_eyes_and_without_neck(self):
    model = face_models.load_face_model()
    shown = set(np.unique(face_files.shown_triangles(model)).tolist())
    self.assertTrue(set(model.landmark_schemes['ibug68'].tolist()) <= shown)
    self.assertTrue(shown & set(model.regions['iris'].tolist()))
    self.assertFalse(shown & set(model.regions['neck'].tolist()))


if __name__ == '__main__':
  absltest.main()
