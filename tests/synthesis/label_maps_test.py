"""Tests of label_maps.py: parts of triangles, the nearest sample of a pixel."""

import collections

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.face_models import load_face_model
from pifa_jax.synthesis import label_maps


class LabelMapsTest(absltest.TestCase):
  def test_every_triangle_by_its_corners(self):
    model = load_face_model('builtin')
    found = np.asarray(jax.jit(label_maps.triangle_parts)(model))
    name_of = np.full(model.num_vertices, 'skin', object)
    for name in label_maps.PARTS:
      name_of[np.asarray(model.regions[name])] = name
    undecided = 0
    for triangle, part in zip(np.asarray(model.triangles), found, strict=True):
      [(name, votes), *_] = collections.Counter(name_of[triangle]).most_common()
      undecided += votes == 1
      if votes > 1:
        self.assertEqual(label_maps.PARTS[part - 1], name)
      else:
        self.assertIn(label_maps.PARTS[part - 1], name_of[triangle])
    self.assertLess(undecided, 0.02 * len(found))
    self.assertEqual(set(found), set(range(1, len(label_maps.PARTS) + 1)))

  def test_the_nearest_sample_golden(self):
    inf = np.inf
    z = jnp.array(
      [[5, 4, inf, inf], [3, 6, inf, inf], [inf, 2, 1, inf], [inf, inf, inf, -7]],
      jnp.float32,
    )
    ids = jnp.array([[0, 1, -1, -1], [2, 0, -1, -1], [-1, 1, 0, -1], [-1, -1, -1, 2]])
    maps = label_maps.label_maps(z, ids, jnp.array([9, 8, 7], jnp.uint8), 2)
    np.testing.assert_array_equal(maps['depth'], [[3, inf], [2, -7]])
    np.testing.assert_array_equal(maps['regions'], [[7, 0], [8, 7]])
    self.assertEqual(maps['regions'].dtype, np.uint8)


if __name__ == '__main__':
  absltest.main()
