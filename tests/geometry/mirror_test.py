"""Tests of mirror.py: the mirrored P draws the mirrored face."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import mirror, projection, visualization
from pifa_jax.geometry.boxes import initial_params
from tests.toy_model import make_toy_model

_SIZE = 48


def _random_face(model, rng):
  start = initial_params(model, _SIZE)
  rotation = projection.rotation_from_euler(*rng.normal(0, 0.4, 3).astype(np.float32))
  scale = np.linalg.norm(start.camera[0, :3])
  return start.replace(
    camera=projection.camera_from_pose(
      rotation, scale, start.camera[:, 3] + rng.normal(0, 2, 2)
    ),
    identity=jnp.float32(model.identity_stddev * rng.normal(size=model.num_identity)),
    expression=jnp.float32(
      model.expression_stddev * rng.normal(size=model.num_expression)
    ),
  )


class MirrorTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = load_face_model('builtin')
    cls.signs = mirror.coefficient_signs(cls.model)

  def test_builtin_bases_are_their_own_mirror_images(self):
    self.assertEqual(
      self.signs.shape, (self.model.num_identity + self.model.num_expression,)
    )
    self.assertEqual(set(self.signs.tolist()), {-1.0, 1.0})

  def test_landmarks_and_visualization_are_flipped(self):
    twin, ids = np.asarray(self.model.symmetry), self.model.landmark_schemes['ibug68']
    index = {vertex: i for i, vertex in enumerate(np.asarray(ids).tolist())}
    order = [index[int(twin[vertex])] for vertex in np.asarray(ids)]
    draw = jax.jit(
      lambda face: visualization.visualize(self.model, face, image_size=_SIZE)
    )
    rng = np.random.default_rng(0)
    for _ in range(3):
      face = _random_face(self.model, rng)
      flipped = mirror.mirror_params(face, self.signs, _SIZE)
      points = projection.landmarks(self.model, face, 'ibug68')
      # float32 sums of 228 terms of up to 10 mm, projected.
      np.testing.assert_allclose(
        projection.landmarks(self.model, flipped, 'ibug68')[jnp.array(order)],
        jnp.array([_SIZE - 1, 0]) + jnp.array([-1, 1]) * points,
        atol=2e-3,
      )
      # A vertex on the border of two cells may fall into either.
      gap = np.abs(draw(flipped)[:, ::-1] - draw(face))
      self.assertLess(np.mean(gap > 0.05), 0.02)
      self.assertGreater(np.mean(np.abs(draw(flipped) - draw(face)) > 0.05), 0.1)

  def test_map_of_landmarks(self):
    for scheme in ('ibug68', 'aflw34', 'ibug34'):
      found = mirror.mirror_map(self.model, scheme)
      paired = found.landmarks >= 0
      self.assertGreater(np.mean(paired), 0.8)
      np.testing.assert_array_equal(
        found.landmarks[found.landmarks[paired]], np.arange(len(paired))[paired]
      )
      face = _random_face(self.model, np.random.default_rng(2))
      flipped = mirror.mirror_params(face, found.signs, _SIZE)
      points = projection.landmarks(self.model, face, scheme)[found.landmarks]
      # float32 sums of 228 terms of up to 10 mm, projected.
      np.testing.assert_allclose(
        projection.landmarks(self.model, flipped, scheme)[paired],
        (jnp.array([_SIZE - 1, 0]) + jnp.array([-1, 1]) * points)[paired],
        atol=2e-3,
      )
    one_sided = self.model.replace(
      landmark_schemes={'left': np.asarray(self.model.landmark_schemes['ibug68'])[6:11]}
    )
    np.testing.assert_array_equal(
      mirror.mirror_map(one_sided, 'left').landmarks, [4, 3, 2, 1, 0]
    )
    one_sided = self.model.replace(
      landmark_schemes={'left': np.asarray(self.model.landmark_schemes['ibug68'])[6:10]}
    )
    np.testing.assert_array_equal(
      mirror.mirror_map(one_sided, 'left').landmarks, [-1, 3, 2, 1]
    )

  def test_twice_is_nothing(self):
    face = _random_face(self.model, np.random.default_rng(1))
    again = mirror.mirror_params(
      mirror.mirror_params(face, self.signs, _SIZE), self.signs, _SIZE
    )
    # float32 of translations of some tens of pixels.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), again, face)

  def test_other_models_have_no_signs(self):
    toy = make_toy_model()
    self.assertIsNone(mirror.coefficient_signs(toy.replace(symmetry=None)))
    self.assertIsNone(
      mirror.coefficient_signs(
        self.model.replace(symmetry=np.arange(self.model.num_vertices))
      )
    )
    lopsided = np.array(self.model.identity_basis)
    lopsided[3, :10] += 5.0
    self.assertIsNone(
      mirror.coefficient_signs(self.model.replace(identity_basis=lopsided))
    )


if __name__ == '__main__':
  absltest.main()
