"""Hair of meshes: who wears it, its strands, and what it hides."""

import dataclasses
import functools

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.synthesis import hair, hair_meshes, lighting
from pifa_jax.synthesis.ingredients import Ingredients
from tests.synthesis import faces

_SIZE = 40
_PLAIN = Ingredients(scrambled=0, shadow=0, specular=0)


@functools.cache
def _sheets():
  """Two square sheets of 30 mm in the plane z = 0: one whole, one frayed below."""
  square = np.float32([[-15, 15, 0], [15, 15, 0], [-15, -15, 0], [15, -15, 0]])
  triangles = np.int32([[0, 2, 1], [1, 2, 3]])
  corners = square[triangles]
  strands = np.zeros((2, 2, 3, 4), np.float32)
  strands[..., 0] = corners[..., 0]
  strands[..., 1] = 15 - corners[..., 1]
  strands[0, ..., 2] = 1.6
  strands[1, ..., 2] = 1.6 * (15 + corners[..., 1]) / 30
  strands[..., 3] = -50
  both = lambda array: np.stack([array, array])
  return hair_meshes.HairMeshes(
    ids=np.zeros((2, 4, 3), np.int32),
    weights=np.tile(np.float32([1, 0, 0]), (2, 4, 1)),
    offsets=both(square),
    # Vertices 1 and 2 are 1 apart along every axis.
    size_ids=np.tile(np.int32([1, 2]), (2, 3, 1)),
    sizes=np.ones((2, 3), np.float32),
    triangles=both(triangles),
    strands=strands,
    normals=np.tile(np.float32([0, 0, 1]), (2, 4, 1)),
    tangents=np.tile(np.float32([0, -1, 0]), (2, 4, 1)),
    openness=np.ones((2, 4), np.float32),
    shade=np.full((2, 3), 0.5, np.float32),
    cover=np.float32([[0, 0.5, 1], [1, 0, 0]]),
    helper=np.zeros((1, 3), np.float32),
    controls=np.int32([0]),
    controls_mean=np.zeros((1, 3), np.float32),
    follow=np.ones((1, 1), np.float32),
  )


_VERTICES = np.float32([[0, 0, 0], [0, 0, 0], [1, 1, 1]])


@jax.jit
def _draw(key, worn, which, turn, z):
  """The sheet from the front, or from behind, one sample a millimetre."""

  def project(points):
    sign = jnp.array([turn, 1.0])
    middle = (_SIZE - 1) / 2
    return points[:, :2] * sign * jnp.array([1, -1]) + middle, -turn * points[:, 2]

  light = lighting.random_light(
    jax.random.key(0), dataclasses.replace(_PLAIN, environment=0.0, key_light=0.0)
  )
  with faces.one_window():
    return hair_meshes.draw(
      jax.random.key(key),
      _sheets(),
      hair_meshes.Choice(worn=worn, which=which),
      jnp.asarray(_VERTICES),
      jnp.full(3, 0.1),
      light,
      jnp.diag(jnp.array([1.0, 1.0, 1.0])),
      project,
      z,
      _PLAIN,
    )


def _drawn(key=0, *, worn=True, which=0, turn=1.0, behind=50.0):
  z = np.full((_SIZE, _SIZE), behind, np.float32)
  return jax.device_get(_draw(key, worn, which, turn, z))


class DrawTest(absltest.TestCase):
  def test_a_whole_sheet_from_both_sides(self):
    for turn in (1.0, -1.0):
      radiance, z = _drawn(turn=turn)
      shown = np.isfinite(z)
      self.assertBetween(shown.sum(), 29**2, 31**2)
      self.assertLess(np.abs(z[shown]).max(), 12.1)  # the volume of one head
      self.assertTrue(shown[8:32, 8:32].all())
      self.assertTrue(np.isfinite(radiance).all())
      self.assertGreater(radiance[shown].min(), 0.003)

  def test_strands_run_along_the_sheet(self):
    radiance, _ = _drawn()
    inside = radiance[8:32, 8:32, 1]
    self.assertGreater(np.ptp(inside), 0.02)
    self.assertGreater(inside.mean(axis=0).std(), 2 * inside.mean(axis=1).std())
    other, _ = _drawn(1)
    self.assertGreater(np.abs(radiance - other).mean(), 1e-3)
    np.testing.assert_array_equal(_drawn()[0], radiance)

  def test_a_free_edge_is_frayed(self):
    shown = np.isfinite(_drawn(which=1)[1])
    self.assertTrue(shown[6:8, 6:34].all())  # at the roots all is there
    rows = shown.sum(axis=1)
    self.assertLess(rows[32], 0.5 * rows[8])
    # Strands end one by one, not in a line.
    self.assertGreater(len(np.unique(shown.sum(axis=0)[6:34])), 3)

  def test_what_is_nearer_hides_hair(self):
    self.assertFalse(np.isfinite(_drawn(behind=-20.0)[1]).any())
    # A little below the skin hair still lies on it.
    self.assertTrue(np.isfinite(_drawn(behind=-1.0)[1]).any())

  def test_no_mesh(self):
    radiance, z = _drawn(worn=False)
    self.assertFalse(np.isfinite(z).any())
    self.assertFalse(radiance.any())


class ChooseTest(absltest.TestCase):
  def test_shares(self):
    keys = jax.random.split(jax.random.key(1), 2000)
    config = Ingredients(hair=0.8, headwear=0.25, hair_meshes=0.5)

    def choose(key):
      bare = hair.uncovered(key, config)
      return bare, hair_meshes.choose(key, _sheets(), bare, config)

    bare, chosen = jax.device_get(jax.jit(jax.vmap(choose))(keys))
    # Standard errors of 0.011; four of them.
    self.assertAlmostEqual(bare.mean(), 0.6, delta=0.045)
    self.assertAlmostEqual(chosen.worn.mean(), 0.3, delta=0.045)
    self.assertFalse((chosen.worn & ~bare).any())
    self.assertAlmostEqual(chosen.which.mean(), 0.5, delta=0.045)

  def test_the_skin_under_it(self):
    for worn, light in ((True, 0.5), (False, 1.0)):
      choice = hair_meshes.Choice(worn=jnp.bool_(worn), which=jnp.int32(0))
      left, cover = hair_meshes.skin_under(_sheets(), choice)
      np.testing.assert_allclose(left, np.full(3, light))
      np.testing.assert_allclose(cover, [0, 0.5, 1])


if __name__ == '__main__':
  absltest.main()
