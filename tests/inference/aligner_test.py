"""Tests of Aligner: boxes, batches and pixels of the photo."""

import dataclasses
import functools

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.face_models import load_face_model
from pifa_jax.geometry import boxes as box_lib
from pifa_jax.geometry import cropping, mirror, projection
from pifa_jax.inference import Aligner
from pifa_jax.inference import confidence as confidence_lib
from pifa_jax.learning import network
from tests.toy_model import TOY_CONFIG, make_toy_model


def _photo(height=60, width=80):
  rng = np.random.default_rng(0)
  return rng.integers(0, 255, (height, width, 3), np.uint8)


@functools.cache
def _with_mirror():
  """The built-in face model, an aligner that fits mirrored crops, fresh weights."""
  model = load_face_model('builtin')
  net = network.PifaNetwork(TOY_CONFIG, model.num_params)
  geometry = network.network_geometry(model, TOY_CONFIG)
  return (
    model,
    Aligner(model, TOY_CONFIG, mirror=True),
    network.init_variables(net, geometry, seed=0),
  )


class AlignerTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = make_toy_model()
    cls.aligner = Aligner(cls.model, TOY_CONFIG)
    net = network.PifaNetwork(TOY_CONFIG, cls.model.num_params)
    variables = network.init_variables(
      net, network.network_geometry(cls.model, TOY_CONFIG), seed=0
    )
    # Updates that are large enough to be seen.
    scaled = lambda path, x: 50 * x if 'fc2' in jax.tree_util.keystr(path) else x
    cls.variables = jax.tree_util.tree_map_with_path(scaled, variables)
    silent = lambda path, x: 0 * x if 'fc2' in jax.tree_util.keystr(path) else x
    cls.silent = jax.tree_util.tree_map_with_path(silent, variables)

  def test_without_updates_the_mean_face_fills_the_box(self):
    # Not square, partly outside, of a fraction of a pixel.
    boxes = np.array([[10.25, 5, 30, 40], [-8, 20, 25, 25.5], [60, 40, 40, 10]])
    found = self.aligner.align(self.silent, _photo(), boxes)
    self.assertLen(found, 3)
    points = found.landmarks['ibug68']
    low, high = points.min(axis=1), points.max(axis=1)
    # Centre and area are the box's: in pixels, where integers are centres.
    np.testing.assert_allclose(
      (low + high) / 2, boxes[:, :2] + boxes[:, 2:] / 2, atol=1e-3
    )
    # A product of two float32 differences of some tens of pixels.
    np.testing.assert_allclose(
      np.prod(high - low, axis=1), np.prod(boxes[:, 2:], axis=1), rtol=1e-4
    )
    np.testing.assert_allclose(
      found.pose['rotation'], np.tile(np.eye(3), (3, 1, 1)), atol=1e-5
    )

  def test_without_updates_a_wider_crop_changes_nothing(self):
    wide = dataclasses.replace(TOY_CONFIG, crop_scale=1.4)
    boxes = np.array([[10.25, 5, 30, 40], [40, 12, 20, 20]])
    found, expected = (
      aligner.align(self.silent, _photo(), boxes).landmarks['ibug68']
      for aligner in (Aligner(self.model, wide), self.aligner)
    )
    np.testing.assert_allclose(found, expected, atol=2e-4)

  def test_params_give_the_landmarks_and_their_visibility(self):
    found = self.aligner.align(self.variables, _photo(), [[10, 5, 30, 40]])
    one = jax.tree.map(lambda a: jnp.asarray(a[0]), found.params)
    # float32 of some tens of pixels, in another program.
    np.testing.assert_allclose(
      found.landmarks['ibug68'][0],
      projection.landmarks(self.model, one, 'ibug68'),
      atol=1e-3,
    )
    np.testing.assert_array_equal(
      found.visible['ibug68'][0],
      projection.landmark_visibility(self.model, one, 'ibug68'),
    )
    np.testing.assert_array_equal(
      found.frontability['ibug68'] > 0, found.visible['ibug68']
    )
    yaw = projection.pose_from_camera(one.camera)['yaw']
    self.assertAlmostEqual(float(found.pose['yaw'][0]), float(yaw), places=5)

  def test_with_the_mirror_left_and_right_are_the_same(self):
    model, aligner, variables = _with_mirror()
    photo, box = _photo(), [20.0, 10, 30, 32]
    here = aligner.align(variables, photo, [box])
    flipped = aligner.align(
      variables, photo[:, ::-1], [[79 - box[0] - box[2], *box[1:]]]
    )
    # Convolutions of mirrored images sum in another order.
    self.assertAlmostEqual(here.pose['yaw'][0], -flipped.pose['yaw'][0], places=3)
    self.assertAlmostEqual(here.pose['pitch'][0], flipped.pose['pitch'][0], places=3)
    np.testing.assert_allclose(  # the bridge and the tip of the nose
      flipped.landmarks['ibug68'][0, 27:31],
      [79, 0] + [-1, 1] * here.landmarks['ibug68'][0, 27:31],
      atol=1e-2,
    )
    # Without it the two differ, by what the mean takes away.
    once = Aligner(model, TOY_CONFIG).align(variables, photo, [box])
    self.assertGreater(
      np.abs(once.landmarks['ibug68'] - here.landmarks['ibug68']).max(), 1e-3
    )
    with self.assertRaisesRegex(ValueError, 'no symmetry'):
      Aligner(self.model.replace(symmetry=None), TOY_CONFIG, mirror=True)

  def test_a_moved_photo_moves_the_faces(self):
    photo = _photo()
    box = np.array([[20.0, 10, 30, 30]])
    here = self.aligner.align(self.variables, photo, box)
    moved = self.aligner.align(
      self.variables, np.roll(photo, (3, 7), (0, 1)), box + [7, 3, 0, 0]
    )
    # Positions in float32, some tens of pixels.
    np.testing.assert_allclose(
      moved.landmarks['ibug68'], here.landmarks['ibug68'] + [7, 3], atol=1e-3
    )
    # The network looked: the face is not where no photo is.
    blank = self.aligner.align(self.variables, np.zeros_like(photo), box)
    self.assertGreater(
      np.abs(blank.landmarks['ibug68'] - here.landmarks['ibug68']).max(), 0.05
    )

  def test_faces_do_not_depend_on_their_neighbours(self):
    rng = np.random.default_rng(1)
    boxes = np.concatenate(
      [rng.uniform(0, 40, (37, 2)), rng.uniform(15, 30, (37, 2))], axis=1
    )
    together = self.aligner.align(self.variables, _photo(), boxes)
    self.assertLen(together, 37)
    for i in (0, 31, 32, 36):
      alone = self.aligner.align(self.variables, _photo(), boxes[i : i + 1])
      # Convolutions of another batch size sum in another order.
      np.testing.assert_allclose(
        alone.landmarks['ibug68'][0], together.landmarks['ibug68'][i], atol=1e-3
      )

  def test_the_second_pass_looks_into_the_box_of_the_first(self):
    photo, box = _photo(), np.array([[20.0, 10, 30, 30]])
    first = self.aligner.align(self.variables, photo, box)
    second = self.aligner.align(self.variables, photo, box, passes=2)
    found = np.asarray(
      box_lib.points_box(jnp.asarray(first.landmarks['ibug68'][0]), jnp.ones(68, bool))
    )
    # float32 of some tens of pixels, from here on.
    np.testing.assert_allclose(second.boxes[0], found, atol=1e-3)
    direct = self.aligner.align(self.variables, photo, second.boxes)
    np.testing.assert_allclose(
      second.landmarks['ibug68'], direct.landmarks['ibug68'], atol=1e-3
    )
    # Or into a larger one about it.
    wide = Aligner(self.model, TOY_CONFIG, box_scale=1.2, first_scale=1.0).align(
      self.variables, photo, box, passes=2
    )
    np.testing.assert_allclose(wide.boxes[0, 2:], 1.2 * found[2:], atol=1e-3)
    np.testing.assert_allclose(
      wide.boxes[0, :2] + wide.boxes[0, 2:] / 2, found[:2] + found[2:] / 2, atol=1e-3
    )

  def test_wide_crops_of_training_widen_the_first_box(self):
    for box_scale, first_scale, wanted in (
      (1.15, None, 1.0),
      (1.0, None, 1.0),
      (1.38, None, 1.2),
      (1.38, 1.5, 1.5),
    ):
      aligner = Aligner(
        self.model, TOY_CONFIG, box_scale=box_scale, first_scale=first_scale
      )
      self.assertAlmostEqual(aligner._plan.first_scale, wanted)

  def test_further_passes_turn_the_box_with_the_head(self):
    aligner = Aligner(self.model, TOY_CONFIG, box_scale=1.1, upright=True)
    photo, box = _photo(), np.array([[20.0, 10, 30, 30], [3, 5, 24, 20]])
    # Updates that turn the heads.
    strong = jax.tree_util.tree_map_with_path(
      lambda path, x: 20 * x if 'fc2' in jax.tree_util.keystr(path) else x,
      self.variables,
    )
    first = aligner.align(strong, photo, box)
    np.testing.assert_array_equal(first.angles, 0)
    second = aligner.align(strong, photo, box, passes=2)
    for i in range(2):
      # Where the head's y axis of the first pass points, from the photo's up.
      axis = first.params.camera[i, :, 1]
      angle = np.arctan2(axis[0], -axis[1])
      self.assertGreater(abs(angle), np.deg2rad(15))
      # float32, from here on, of boxes of some tens of pixels.
      self.assertAlmostEqual(second.angles[i], angle, places=5)
      # The box of the first landmarks in a photo that is turned back ...
      middle = jnp.mean(first.landmarks['ibug68'][i], axis=0)
      upright = box_lib.rotate_points(first.landmarks['ibug68'][i], middle, -angle)
      low, high = upright.min(axis=0), upright.max(axis=0)
      np.testing.assert_allclose(second.boxes[i, 2:], 1.1 * (high - low), rtol=1e-4)
      np.testing.assert_allclose(
        second.boxes[i, :2] + second.boxes[i, 2:] / 2,
        box_lib.rotate_points((low + high) / 2, middle, angle),
        atol=1e-3,
      )
      # ... whose crop, as a photo of its own, holds the same face.
      square = np.asarray(box_lib.square_box(jnp.asarray(second.boxes[i])))
      crop = cropping.crop_rotated(photo, square, TOY_CONFIG.crop_size, angle)
      whole = [-0.5, -0.5, TOY_CONFIG.crop_size, TOY_CONFIG.crop_size]
      alone = aligner.align(strong, crop, [whole])
      points = box_lib.uncrop_points(
        alone.landmarks['ibug68'][0], square, TOY_CONFIG.crop_size
      )
      # The updates are 1,000 times those of fresh weights, and so is their rounding.
      np.testing.assert_allclose(
        second.landmarks['ibug68'][i],
        box_lib.rotate_points(points, square[:2] + square[2:] / 2, angle),
        atol=2e-2,
      )
    # Heads that are nearly upright are left so, and all of them if nobody asks.
    for who, variables in ((aligner, self.variables), (self.aligner, strong)):
      plain = who.align(variables, photo, box, passes=2)
      np.testing.assert_array_equal(plain.angles, 0)

  def test_photos_share_batches(self):
    rng = np.random.default_rng(2)
    # Of several sizes, without a box, with more boxes than a batch holds.
    photos = []
    for count in (1, 0, 3, 40, 2, 1):
      height, width = rng.integers(50, 90, 2)
      boxes = np.concatenate(
        [rng.uniform(0, 30, (count, 2)), rng.uniform(15, 30, (count, 2))], axis=1
      )
      photos.append((rng.integers(0, 255, (height, width, 3), np.uint8), boxes))
    calls = self.aligner._fit._cache_size()
    together = list(self.aligner.align_many(self.variables, iter(photos), passes=2))
    # Three batch sizes at most, however many faces a photo has.
    self.assertLessEqual(self.aligner._fit._cache_size() - calls, 3)
    self.assertEqual([len(faces) for faces in together], [1, 0, 3, 40, 2, 1])
    for (image, boxes), faces in zip(photos, together, strict=True):
      alone = self.aligner.align(self.variables, image, boxes, passes=2)
      # Convolutions of another batch size sum in another order.
      np.testing.assert_allclose(
        alone.landmarks['ibug68'], faces.landmarks['ibug68'], atol=1e-2
      )
      self.assertIsNone(faces.confidence)

  def test_signs_of_the_mirror_and_of_the_passes(self):
    model, aligner, variables = _with_mirror()
    strong = jax.tree_util.tree_map_with_path(
      lambda path, x: 300 * x if 'fc2' in jax.tree_util.keystr(path) else x, variables
    )
    photo, box = _photo(), np.array([20.0, 10, 30, 32])
    found = aligner.align(strong, photo, [box])
    # By hand: the distance of what photo and mirrored photo give.
    plain = Aligner(model, TOY_CONFIG)
    here = plain.align(strong, photo, [box]).landmarks['ibug68'][0]
    flipped = plain.align(strong, photo[:, ::-1], [[79 - box[0] - box[2], *box[1:]]])
    back = flipped.landmarks['ibug68'][0]
    back = back[mirror.mirror_map(model, 'ibug68').landmarks] * [-1, 1] + [79, 0]
    distance = np.linalg.norm(here - back, axis=1).mean()
    side = np.sqrt(np.prod(np.ptp(found.landmarks['ibug68'][0], axis=0)))
    self.assertGreater(distance / side, 0.02)
    # Convolutions of mirrored images sum in another order.
    self.assertAlmostEqual(
      found.signs['mirror'][0], np.log(distance / side + 1e-3), places=2
    )
    self.assertNotIn('moved', found.signs)
    self.assertIn('moved', aligner.align(strong, photo, [box], passes=2).signs)
    # The mean face, hardly changed by fresh weights, fills its box.
    fresh = aligner.align(variables, photo, [box])
    np.testing.assert_allclose(fresh.signs['size'], 0, atol=0.02)
    np.testing.assert_allclose(fresh.signs['given_size'], 0, atol=0.02)

  def test_confidences(self):
    names = confidence_lib._names('plain_further')
    # Whoever moves by less than e^-3 of the face is sure.
    sure = confidence_lib.Logistic(
      -30.0, {name: -10.0 * (name == 'moved') for name in names}
    )
    confidence = confidence_lib.Confidence({'plain_further': sure})
    aligner = Aligner(self.model, TOY_CONFIG, confidence=confidence)
    found = aligner.align(self.variables, _photo(), [[10, 5, 30, 40]], passes=2)
    self.assertEqual(found.confidence.shape, (1,))
    wanted = 1 / (1 + np.exp(np.clip(30 + 10 * found.signs['moved'][0], -6, 6)))
    self.assertAlmostEqual(found.confidence[0], wanted, places=5)
    self.assertEqual(
      aligner.align(self.variables, _photo(), [], passes=2).confidence.shape, (0,)
    )
    # A confidence without the function of this kind of search is refused at once.
    with self.assertRaisesRegex(ValueError, 'plain_first.*calibrate'):
      aligner.align(self.variables, _photo(), [[10, 5, 30, 40]])

  def test_crops_of_large_photos_are_read_from_a_part(self):
    rng = np.random.default_rng(3)
    photo = rng.integers(0, 255, (300, 400, 3), np.uint8)
    for box in (
      [150, 100, 40, 40],  # the middle
      [-30, 280, 50, 50],  # corners and edges
      [380, -15, 60, 60],
      [395, 295, 90, 90],
      [-100, -80, 600, 600],  # the whole
      [5.3, 7.7, 6, 6],  # a few pixels
      [600, 600, 30, 30],  # outside
    ):
      box = np.array(box, np.float32)
      for angle in (0.0, 0.6, -2.0):
        crop = self.aligner._crop(photo, box, angle)
        whole = (
          cropping.crop_rotated(photo, box, TOY_CONFIG.crop_size, angle)
          if angle
          else cropping.crop(photo, box, TOY_CONFIG.crop_size)
        )
        # Rounding to whole grey values.
        np.testing.assert_allclose(crop.astype(int), whole, atol=1)

  def test_the_first_blocks_alone(self):
    box = np.array([[10.0, 10, 30, 30]])
    config = TOY_CONFIG.with_num_blocks(2)
    net = network.PifaNetwork(config, self.model.num_params)
    variables = jax.tree_util.tree_map_with_path(
      lambda path, x: 50 * x if 'fc2' in jax.tree_util.keystr(path) else x,
      network.init_variables(net, network.network_geometry(self.model, config), seed=0),
    )
    # The second block does nothing, so that both are one result.
    quiet = lambda path, x: 0 * x if 'block2' in jax.tree_util.keystr(path) else x
    first = jax.tree_util.tree_map_with_path(quiet, variables)
    whole = Aligner(self.model, config, keep_visualizations=True)
    part = Aligner(self.model, config, num_blocks=1, keep_visualizations=True)
    wanted = whole.align(first, _photo(), box)
    # The weights of all blocks, of which the second ones are not looked at.
    found = part.align(variables, _photo(), box)
    np.testing.assert_allclose(
      found.landmarks['ibug68'], wanted.landmarks['ibug68'], atol=1e-4
    )
    full = whole.align(variables, _photo(), box)
    moved = np.abs(full.landmarks['ibug68'] - found.landmarks['ibug68']).max()
    self.assertGreater(moved, 0.1)
    # The sign of the last block's step is the first one's here.
    self.assertGreater(found.signs['blocks'][0], wanted.signs['blocks'][0])
    self.assertLen(found.visualizations, 1)
    self.assertEqual([v.shape for v in full.visualizations], [(1, 24, 24), (1, 12, 12)])
    np.testing.assert_array_equal(full.visualizations[0], found.visualizations[0])
    self.assertEmpty(self.aligner.align(self.variables, _photo(), box).visualizations)
    for number in (0, 3):
      with self.assertRaisesRegex(ValueError, 'the network has 2 blocks'):
        Aligner(self.model, config, num_blocks=number)
    sure = confidence_lib.Confidence({}, {})
    with self.assertRaisesRegex(ValueError, 'num_blocks=1 has no confidence'):
      Aligner(self.model, config, num_blocks=1, confidence=sure)

  def test_no_box(self):
    found = self.aligner.align(self.variables, _photo(), [])
    self.assertEmpty(found)
    self.assertEqual(found.landmarks['ibug68'].shape, (0, 68, 2))
    self.assertEqual(found.pose['rotation'].shape, (0, 3, 3))

  def test_a_box_at_the_border_may_reach_out(self):
    found = self.aligner.align(
      self.variables, _photo(), [[79.4, 0, 9, 9], [3, -20.4, 9, 20]]
    )
    self.assertLen(found, 2)

  def test_sentences(self):
    align = lambda image, boxes, **more: self.aligner.align(
      self.variables, image, boxes, **more
    )
    for image, boxes, words in (
      (_photo()[..., 0], [[0, 0, 5, 5]], r'shape \(60, 80\)'),
      (_photo() / 255.0, [[0, 0, 5, 5]], 'float64'),
      (_photo(), [[0, 0, 5]], r'\(1, 3\)'),
      # Numbers are never regrouped into boxes.
      (_photo(), [0, 0, 5, 5], r'\(4,\)'),
      (_photo(), [[0, 0, 5, 5, 0.9]] * 4, r'\(4, 5\)'),
      (_photo(), np.zeros((0, 5)), r'\(0, 5\)'),
      (_photo(), [[0, 0, 5, 5], [0, 0, 0, 5]], 'row 1 .* no area'),
      (_photo(), [[0, 0, np.nan, 5]], 'row 0 .* finite'),
      # The photo is 80 x 60 pixels; its edges are at -0.5, 79.5 and 59.5.
      (_photo(), [[0, 0, 5, 5], [79.5, 0, 9, 9]], 'row 1 .* outside .* 80 x 60 pixels'),
      (_photo(), [[3, -20.5, 9, 20]], 'row 0 .* outside'),
    ):
      with self.assertRaisesRegex(ValueError, words):
        align(image, boxes)
    with self.assertRaisesRegex(ValueError, 'passes=0'):
      align(_photo(), [[0, 0, 5, 5]], passes=0)
    with self.assertRaisesRegex(ValueError, 'nowhere'):
      Aligner(self.model, TOY_CONFIG, schemes=('nowhere',))
    with self.assertRaisesRegex(ValueError, 'box_scale=0;'):
      Aligner(self.model, TOY_CONFIG, box_scale=0)
    with self.assertRaisesRegex(ValueError, 'first_scale=0;'):
      Aligner(self.model, TOY_CONFIG, first_scale=0)


if __name__ == '__main__':
  absltest.main()
