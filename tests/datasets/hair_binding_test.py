"""Hair bound to the built-in face: where it hangs, and what is measured on it."""

import dataclasses
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from pifa_jax.datasets import hair_binding, hair_mesh_files
from pifa_jax.face_models import hair_helper
from pifa_jax.synthesis import hair_meshes
from tests.datasets import hair_files
from tests.synthesis import faces


class BindTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = faces.model()
    cls.mean = np.asarray(cls.model.mean_shape)
    cls.base = hair_helper.load_base_vertices('builtin')
    # Three vertices of the scalp beside each other, above the right ear.
    scalp = np.asarray(cls.model.regions['scalp'])
    at = cls.mean[scalp] - [70, 60, -50]
    cls.roots = scalp[np.argsort(np.linalg.norm(at, axis=1))[:3]]
    folder = pathlib.Path(tempfile.mkdtemp())
    rows, quads = hair_files.ribbon(cls.base.ids[cls.roots])
    helper = [f'{i}' for i in cls.base.helper_ids[:4]]
    cls.paths = [
      hair_files.write(folder, 'ribbon', rows, quads=quads),
      hair_files.write(folder, 'sheet', helper),
    ]
    cls.hair = cls.bind(cls.paths)

  @classmethod
  def bind(cls, paths):
    files, _ = hair_mesh_files.read_all(paths)
    return hair_binding.bind(files, cls.model, cls.base)

  def place(self, which, vertices):
    # Without the padding of the smaller mesh.
    return np.asarray(hair_meshes.place(self.hair, which, vertices))[: (10, 4)[which]]

  def test_a_vertex_hangs_where_the_file_says(self):
    # The heads of the files are 1.5, 2 and 2.5 decimetres large.
    ids = {int(base): i for i, base in enumerate(self.base.ids)}
    at = lambda base: self.mean[ids[base]]
    size = [
      abs(at(5399) - at(11998))[0] / 1.5,
      abs(at(791) - at(881))[1] / 2.0,
      abs(at(962) - at(5320))[2] / 2.5,
    ]
    root = [0.5, 0.3, 0.2] @ self.mean[self.roots]
    found = self.place(0, self.mean)
    np.testing.assert_allclose(
      found[0], root + [0, 0, 0.05] * np.array(size), atol=0.01
    )
    wanted = root + [0.3, -0.6, 0.05] * np.array(size)
    np.testing.assert_allclose(found[7], wanted, atol=0.01)
    np.testing.assert_allclose(self.place(1, self.mean), self.base.helper[:4])

  def test_hair_follows_the_head(self):
    for which in (0, 1):
      usual = self.place(which, self.mean)
      moved = self.place(which, self.mean + np.float32([3, -5, 7]))
      np.testing.assert_allclose(moved, usual + [3, -5, 7], atol=0.01)
    # A head of another size: the helper's smoothing takes a little of it away.
    large = 1.2 * self.mean
    np.testing.assert_allclose(
      self.place(0, large), 1.2 * self.place(0, self.mean), atol=0.05
    )
    helper = self.place(1, large) - 1.2 * self.base.helper[:4]
    self.assertLess(np.abs(helper).max(), 0.1 * np.abs(self.base.helper[:4]).max())
    # What no expression moves: the mouth pulls at no hair.
    mouth = self.mean.copy()
    mouth[np.asarray(self.model.regions['lips'])] += [0, -20, 0]
    np.testing.assert_array_equal(self.place(1, mouth), self.place(1, self.mean))

  def test_strands_run_down_and_end_at_the_tip(self):
    strands = self.hair.strands[0, :8]
    # v grows downwards here, a row a 5th of the ribbon; all is of one sheet.
    across, along, edge, _ = np.moveaxis(strands, -1, 0)
    size = np.linalg.norm(np.ptp(self.place(0, self.mean), axis=0)[[1]])
    self.assertAlmostEqual(np.ptp(along), size, delta=0.02 * size)
    self.assertGreater(np.ptp(across), 10)
    self.assertEqual(edge[along == along.max()].max(), 0)
    self.assertGreater(edge[along == along.min()].min(), 1)
    down = self.hair.tangents[0, :10]
    self.assertGreater((down @ [0, -1, 0]).min(), 0.95)

  def test_what_is_measured(self):
    self.assertGreater(self.hair.normals[0, :10, 0].min(), 0.2)  # outwards is +x
    for name in ('openness', 'shade', 'cover'):
      value = getattr(self.hair, name)
      self.assertTrue(((value >= 0) & (value <= 1)).all(), name)
    root = self.roots[0]
    far = int(self.model.landmark_schemes['ibug68'][30])
    self.assertLess(self.hair.shade[0, root], self.hair.shade[0, far])
    self.assertEqual(self.hair.shade[0, far], 1)
    self.assertEqual(self.hair.cover[0, far], 0)

  def test_hair_over_hair_is_dark(self):
    inner, outer = np.zeros((2, 3)), np.array([0.0, 0, 6])
    square = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0]])
    corners = np.stack([square + inner[0], square + outer])
    cloud = hair_binding._cloud(corners, np.full(2, 40.5))
    normal = np.array([[0.0, 0, 1]] * 2)
    places = np.array([[3.0, 3, 0], [3, 3, 6]])
    inside, outside = hair_binding._openness(cloud, places, normal)
    self.assertEqual(outside, 1)
    self.assertLess(inside, 0.9)

  def test_foreign_vertices(self):
    rows = [str(5000), *(f'{i}' for i in self.base.helper_ids[:3])]
    self.assertNotIn(5000, self.base.ids)  # of the body below the neck
    path = hair_files.write(self.paths[0].parent, 'beard', rows)
    with self.assertRaisesRegex(ValueError, 'beard.mhclo is bound to vertex 5000'):
      self.bind([path])

  def test_all_arrays_are_as_the_class_says(self):
    shapes = {
      field.name: getattr(self.hair, field.name).shape
      for field in dataclasses.fields(self.hair)
    }
    count = len(self.mean)
    self.assertEqual(shapes['ids'], (2, 10, 3))
    self.assertEqual(shapes['strands'], (2, 8, 3, 4))
    self.assertEqual((shapes['shade'], shapes['cover']), ((2, count), (2, count)))


if __name__ == '__main__':
  absltest.main()
