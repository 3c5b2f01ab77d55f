"""Tests of light_map_file.py and experiments/lib/environment_maps.py."""

from absl.testing import absltest
import jax.numpy as jnp
import numpy as np

from experiments.lib import environment_maps
from pifa_jax.datasets import light_map_file
from pifa_jax.synthesis import lighting


class LightMapFileTest(absltest.TestCase):
  def test_the_file_has_the_light_of_many_places(self):
    maps = light_map_file.load()
    self.assertGreaterEqual(len(maps.harmonics), 10)
    self.assertLess(light_map_file.PATH.stat().st_size, 400_000)
    np.testing.assert_allclose(np.linalg.norm(maps.directions, axis=-1), 1, rtol=1e-5)
    self.assertTrue((maps.colors >= 0).all())
    # The light of the panorama is that of harmonics and lamps.
    toward, angle = environment_maps.directions(*maps.panorama.shape[1:3])
    normals = np.eye(3).repeat(2, 0) * np.array([1.0, -1] * 3)[:, None]
    cosine = np.maximum(np.einsum('hwk,nk->nhw', toward, normals), 0) * angle / np.pi
    for i, panorama in enumerate(maps.panorama.astype(np.float64)):
      light = lighting.Light(
        maps.harmonics[i], maps.directions[i], maps.colors[i], maps.width[i]
      )
      wanted = np.einsum('nhw,hwc->nc', cosine, panorama)
      found = lighting.open_irradiance(light, jnp.asarray(normals, jnp.float32))
      self.assertLess(np.abs(found - wanted).mean() / wanted.mean(), 0.25)

  def test_packing(self):
    rng = np.random.default_rng(0)
    radiance = np.exp(rng.normal(0, 2, (2, 5, 7, 3)))
    packed = light_map_file.encode(radiance)
    self.assertEqual((packed.shape, packed.dtype), ((4, 2, 5, 7), np.uint8))
    apart = np.abs(light_map_file.decode(packed) - radiance)
    self.assertLess((apart / radiance.max(axis=-1, keepdims=True)).max(), 1 / 200)

  def test_lamp_and_sky_are_measured(self):
    toward, _ = environment_maps.directions(128, 256)
    towards_sun = np.array([0.6, 0.64, 0.48])
    sun = (toward @ towards_sun > np.cos(np.deg2rad(4)))[..., None]
    sky = np.where(toward[..., 1:2] > 0, [0.5, 0.7, 1.0], 0.2)
    found = environment_maps.measure(sky + 300 * sun)
    self.assertGreater(float(found['directions'][0] @ towards_sun), 0.999)
    self.assertGreater(found['colors'][0].mean(), 5 * found['colors'][1].mean())
    self.assertGreater(found['harmonics'][2].min(), 0)  # light comes from above
    self.assertGreater(found['harmonics'][0, 2], found['harmonics'][0, 0])


if __name__ == '__main__':
  absltest.main()
