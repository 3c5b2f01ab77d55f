"""The training step: losses, devices, skipped steps, one compilation."""

import dataclasses
import functools

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax.geometry import boxes, mirror, projection
from pifa_jax.learning import (
  batching,
  checkpoints,
  losses,
  network,
  network_config,
  optimizer,
  parallel,
  training,
)
from pifa_jax.types import flatten_params, unflatten_params
from tests.toy_model import make_toy_model

_MODEL = make_toy_model()
_CONFIG = network_config.NetworkConfig(
  crop_size=16,
  channels=(4, 4, 4, 4),
  kernels=(3,) * 4,
  hidden_size=16,
  dropout=0.3,
  batch_norm_momentum=0.9,
)
_AUGMENT = batching.AugmentConfig(
  brightness=0.1, contrast=0.2, color=0.1, occlusion=0.5
)
_SIDE = 28
# As the step compiles it: in one program.
_make_batch = jax.jit(
  batching.make_batch, static_argnums=(1, 2), static_argnames='augment'
)


def make_rows(count, seed=0):
  """Toy cached crops: noise images with consistent labels."""
  rng = np.random.default_rng(seed)
  box = np.array([3.5, 3.5, 20, 20], np.float32)
  start = boxes.uncrop_params(boxes.initial_params(_MODEL, 16), box, 16)
  spread = np.array([0.02, 0.02, 0.02, 1.5] * 2 + [0.5] * 12)
  vectors = (
    np.asarray(flatten_params(start)) + spread * rng.normal(size=(count, 20))
  ).astype(np.float32)
  points = training.predict_landmarks(
    projection.landmark_model(_MODEL, 'ibug68'), jnp.asarray(vectors)
  )
  return batching.CropRows(
    image=rng.integers(0, 255, (count, _SIDE, _SIDE, 3), dtype=np.uint8),
    landmarks=np.asarray(points),
    visible=rng.random((count, 68)) < 0.9,
    params=vectors,
    box=np.tile(box, (count, 1)),
    weight=np.ones(count, np.float32),
  )


@functools.cache
def make_step(axis_name=None, learning_rate=1e-4, precision='float32'):
  """A step function, its first state, and what else it takes."""
  config = dataclasses.replace(_CONFIG, precision=precision)
  net = network.PifaNetwork(config, _MODEL.num_params, axis_name=axis_name)
  geometry = network.network_geometry(_MODEL, config)
  landmark_model = projection.landmark_model(_MODEL, 'ibug68')
  sgd = optimizer.make_optimizer(
    optimizer.OptimizerConfig(
      learning_rate=learning_rate, clip_norm=50.0, weight_decay=1e-3
    ),
    100,
  )
  state = training.init_state(network.init_variables(net, geometry, 0), sgd)
  step = functools.partial(
    training.train_step,
    network=net,
    optimizer=sgd,
    loss=training.LossConfig(),
    augment=_AUGMENT,
    seed=5,
  )
  # Compiled once for all tests; not donated, so that states can be used again.
  compiled = jax.jit(step) if axis_name is None else step
  return compiled, state, geometry, landmark_model


def _counted(step):
  """The step, and a list that grows whenever it is traced."""
  traces = []

  def counted(*args):
    traces.append(None)
    return step(*args)

  return counted, traces


class StepTest(parameterized.TestCase):
  def test_loss_falls_on_a_fixed_batch(self):
    step, state, *rest = make_step(learning_rate=1e-3)
    rows, ids = make_rows(8), np.arange(8, dtype=np.int32)
    losses = []
    for _ in range(60):
      state, result = step(state, rows, ids, *rest)
      losses.append(float(result['loss']))
    self.assertLess(np.mean(losses[-10:]), 0.8 * np.mean(losses[:10]))

  def test_one_trace(self):
    step, state, *rest = make_step()
    rows, ids = make_rows(8), np.arange(8, dtype=np.int32)
    for _ in range(3):
      state, _ = step(state, rows, ids, *rest)
    # All tests of this file call it with the same shapes and types.
    self.assertEqual(step._cache_size(), 1)

  def test_one_and_four_devices_agree(self):
    self.assertGreaterEqual(jax.local_device_count(), 4)
    everything = jax.tree.map(
      lambda *parts: np.concatenate(parts), *[make_rows(8, seed=i) for i in range(4)]
    )
    results, hashes = {}, {}
    for count, on_device in ((1, False), (4, False), (4, True)):
      devices = jax.local_devices()[:count]
      if not on_device:
        step, start, *rest = make_step(parallel.AXIS)
        step, traces = _counted(step)
        step = parallel.parallel(step, devices)
      rest = parallel.replicate(rest, devices)
      # A copy, whose buffers will be donated.
      state = parallel.replicate(jax.tree.map(np.array, start), devices)
      gather = parallel.make_gather(everything, devices)
      first = None
      for i in range(4):
        ids = parallel.split_over(np.arange(8, dtype=np.int32) + 8 * i, count)
        rows = (
          gather(ids)
          if on_device
          else parallel.distribute(
            jax.tree.map(lambda column, ids=ids: column[ids], everything), devices
          )
        )
        old = state
        state, result = step(state, rows, ids, *rest)
        result = jax.device_get(result)
        first = first or result
        self.assertTrue(jax.tree.leaves(old.params)[-1].is_deleted())
      # Four steps, and wherever the rows come from: one trace, one program.
      self.assertLen(traces, 1)
      results[count] = first, result, jax.device_get(state)
      hashes[on_device] = checkpoints.tree_hash(state)
    # Gathered on the devices or sent there: the same bits.
    self.assertEqual(hashes[True], hashes[False])
    # One step: the same numbers in another order of summation.
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4),
      results[1][0],
      results[4][0],
    )
    # Four steps: rounding moves a vertex across a cell's edge now and then, so
    # the bound is that of one pixel's rendering, not of rounding.
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-2),
      results[1][1],
      results[4][1],
    )
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3),
      results[1][2].batch_stats,
      results[4][2].batch_stats,
    )

  def test_without_synchronised_statistics_devices_disagree(self):
    # What the test above would show if BN were per device.
    step, state, geometry, landmark_model = make_step(parallel.AXIS)
    net = step.keywords['network']
    rows = make_rows(8)
    batch = _make_batch(rows, 16, 8)
    apply = jax.jit(
      lambda image: net.clone(axis_name=None).apply(
        {'params': state.params, 'batch_stats': state.batch_stats},
        image,
        geometry,
        train=True,
        dropout_keys=jax.random.split(jax.random.key(0), image.shape[0]),
        mutable=['batch_stats'],
      )[1]
    )
    del landmark_model
    whole = jax.tree.leaves(apply(batch.image))
    half = jax.tree.leaves(apply(batch.image[:4]))
    self.assertGreater(
      max(float(jnp.max(jnp.abs(a - b))) for a, b in zip(whole, half, strict=True)),
      1e-3,
    )

  def test_padding_changes_nothing(self):
    step, state, *rest = make_step()
    rows, ids = make_rows(8), np.arange(8, dtype=np.int32)
    _, base = step(state, rows, ids, *rest)
    rows = dataclasses.replace(
      rows, weight=np.array([1, 1, 0, 0, 1, 1, 1, 1], np.float32)
    )
    moved = np.array(rows.landmarks)
    moved[2:4] += 1e3
    damaged = dataclasses.replace(rows, landmarks=moved)
    _, a = step(state, rows, ids, *rest)
    _, b = step(state, damaged, ids, *rest)
    np.testing.assert_allclose(a['loss'], b['loss'])
    self.assertNotAlmostEqual(float(a['loss']), float(base['loss']))

  @parameterized.parameters('landmarks', 'params')
  def test_a_step_that_is_not_finite_is_skipped_whole(self, field):
    step, state, *rest = make_step()
    rows, ids = make_rows(8), np.arange(8, dtype=np.int32)
    state, _ = step(state, rows, ids, *rest)
    bad = np.array(getattr(rows, field))
    bad[1] = np.nan
    rows = dataclasses.replace(rows, visible=np.ones((8, 68), bool), **{field: bad})
    after, result = step(state, rows, ids, *rest)
    self.assertFalse(bool(result['finite']))
    for part in ('params', 'batch_stats', 'opt_state'):
      self.assertEqual(
        checkpoints.tree_hash(getattr(after, part)),
        checkpoints.tree_hash(getattr(state, part)),
      )
    self.assertEqual(
      (int(after.step), int(after.skipped), int(after.skipped_in_row)), (2, 1, 1)
    )
    after, _ = step(after, make_rows(8), ids, *rest)
    self.assertEqual((int(after.skipped), int(after.skipped_in_row)), (1, 0))

  def test_a_flipped_sample_is_the_sample_of_the_flipped_photo(self):
    # A map for the toy model, whose labels need not be faces for this.
    signs = np.where(np.arange(12) % 3, 1.0, -1.0).astype(np.float32)
    twins = mirror.MirrorMap(signs, np.arange(67, -1, -1))
    rows = make_rows(4)
    keys = batching.sample_keys(0, 0, np.arange(4))
    make = lambda rows, flip: _make_batch(
      rows,
      16,
      8,
      keys=keys,
      mirror_map=twins,
      augment=batching.AugmentConfig(shift_jitter=0.0, flip=flip),
    )
    faces = [
      mirror.mirror_params(unflatten_params(p, 8), signs, _SIDE) for p in rows.params
    ]
    flipped = dataclasses.replace(
      rows,
      image=rows.image[:, :, ::-1],
      landmarks=([_SIDE - 1, 0] + [-1, 1] * rows.landmarks[:, ::-1]).astype(np.float32),
      visible=rows.visible[:, ::-1],
      params=np.stack([flatten_params(face) for face in faces]),
      box=rows.box * [-1, 1, 1, 1] + [_SIDE - 1 - 20, 0, 0, 0],
    )
    # float32 of some tens of pixels, counted from the other side.
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3),
      make(rows, 1.0),
      make(flipped, 0.0),
    )
    with self.assertRaisesRegex(ValueError, 'without a mirror_map'):
      _make_batch(rows, 16, 8, keys=keys, augment=batching.AugmentConfig(flip=0.5))

  def test_hidden_labels_may_be_anything(self):
    step, state, *rest = make_step()
    rows, ids = make_rows(8), np.arange(8, dtype=np.int32)
    hidden = np.where(rows.visible[..., None], rows.landmarks, np.nan)
    _, a = step(state, rows, ids, *rest)
    _, b = step(state, dataclasses.replace(rows, landmarks=hidden), ids, *rest)
    np.testing.assert_array_equal(a['loss'], b['loss'])

  def test_hidden_landmarks_are_where_the_target_params_put_them(self):
    # The labels of these rows are exact.
    rows = make_rows(8)
    self.assertFalse(rows.visible.all())
    hidden = np.where(rows.visible[..., None], rows.landmarks, np.nan)
    landmark_model = projection.landmark_model(_MODEL, 'ibug68')
    wanted = _make_batch(rows, 16, 8)
    found = training.place_hidden(
      _make_batch(dataclasses.replace(rows, landmarks=hidden), 16, 8), landmark_model
    )
    # float32 of coordinates up to 100, in sums of another order.
    np.testing.assert_allclose(found.landmarks, wanted.landmarks, atol=1e-3)
    np.testing.assert_array_equal(found.visible, rows.visible)

  def test_faces_without_labels_are_left_out_of_the_error_and_counted(self):
    step, state, *rest = make_step()
    rows, ids = make_rows(8), np.arange(8, dtype=np.int32)
    _, base = step(state, rows, ids, *rest)
    self.assertEqual(int(base['num_without_labels']), 0)
    # Labelled or not, face 3 is in the batch's statistics, so the others' errors stay.
    without = np.array(rows.visible)
    without[3] = False
    padding = np.ones(8, np.float32)
    padding[3] = 0.0
    _, a = step(state, dataclasses.replace(rows, visible=without), ids, *rest)
    _, b = step(state, dataclasses.replace(rows, weight=padding), ids, *rest)
    # Sums of the same seven numbers, divided by 8 and times 8 / 7, or by 7.
    np.testing.assert_allclose(a['nme'], b['nme'], rtol=1e-6)
    self.assertGreater(np.abs(a['nme'] / base['nme'] - 1).min(), 1e-4)
    self.assertEqual((int(a['num_without_labels']), bool(a['finite'])), (1, True))
    # Padding is no face, whether it has labels or not.
    _, c = step(
      state, dataclasses.replace(rows, visible=without, weight=padding), ids, *rest
    )
    np.testing.assert_allclose(c['nme'], b['nme'], rtol=1e-6)
    self.assertEqual(int(c['num_without_labels']), 0)
    _, d = step(
      state, dataclasses.replace(rows, visible=np.zeros_like(without)), ids, *rest
    )
    self.assertTrue(np.isnan(d['nme']).all())
    self.assertEqual((int(d['num_without_labels']), bool(d['finite'])), (8, True))


class EvaluateRowsTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    step, state, cls.geometry, cls.landmark_model = make_step()
    del step
    net = network.PifaNetwork(_CONFIG, _MODEL.num_params)
    # Blocks that add nothing: every prediction is P^0.
    silent = jax.tree_util.tree_map_with_path(
      lambda path, x: 0 * x if path[-2].key == 'fc2' else x, state.params
    )
    cls.variables = {'params': silent, 'batch_stats': state.batch_stats}
    cls.rows = make_rows(3)
    cls.evaluate = staticmethod(
      jax.jit(
        functools.partial(training.evaluate_rows, network=net),
        static_argnames='augment',
      )
    )

  def test_boxes_as_given(self):
    out = self.evaluate(self.variables, self.rows, self.geometry, self.landmark_model)
    start = boxes.initial_params(_MODEL, 16)
    points = projection.landmarks(_MODEL, start, 'ibug68')
    # Two blocks, and before the first: float32 of some tens of pixels.
    self.assertEqual(out['landmarks'].shape, (3, 3, 68, 2))
    np.testing.assert_allclose(
      out['landmarks'], np.broadcast_to(points, (3, 3, 68, 2)), atol=1e-4
    )
    np.testing.assert_array_equal(out['params'], np.tile(flatten_params(start), (3, 1)))
    np.testing.assert_array_equal(
      out['visible'],
      np.tile(projection.landmark_visibility(_MODEL, start, 'ibug68'), (3, 1)),
    )
    # The box is 20 cached pixels wide, from 3.5; the crop has 16.
    np.testing.assert_allclose(
      out['target'], (self.rows.landmarks - 3.5) * 0.8 - 0.5, atol=1e-4
    )
    np.testing.assert_array_equal(out['target_visible'], self.rows.visible)
    np.testing.assert_allclose(out['box_size'], 16.0, rtol=1e-6)
    np.testing.assert_allclose(out['scale'], 0.8, rtol=1e-6)
    self.assertEqual([v.shape for v in out['visualization']], [(3, 16, 16), (3, 8, 8)])

  def test_jittered_boxes(self):
    out = self.evaluate(
      self.variables,
      self.rows,
      self.geometry,
      self.landmark_model,
      keys=batching.sample_keys(0, jnp.int32(0), jnp.arange(3)),
      augment=batching.AugmentConfig(shift_jitter=0.0, scale_jitter=0.2),
    )
    # Another size about the same centre, (13.5, 13.5) in the cache and 7.5 in the crop.
    scale = np.asarray(out['scale'])
    self.assertGreater(np.ptp(scale), 0.01)
    np.testing.assert_allclose(out['box_size'], 20 * scale, rtol=1e-6)
    # float32 of some tens of pixels.
    np.testing.assert_allclose(
      out['target'],
      (self.rows.landmarks - 13.5) * scale[:, None, None] + 7.5,
      atol=1e-4,
    )

  def test_a_network_for_several_devices_is_refused(self):
    net = network.PifaNetwork(_CONFIG, _MODEL.num_params, axis_name=parallel.AXIS)
    with self.assertRaisesRegex(ValueError, "axis_name='batch'"):
      training.evaluate_rows(
        self.variables, self.rows, self.geometry, self.landmark_model, network=net
      )


class MemoryTest(absltest.TestCase):
  def test_weights_momentum_and_gradient_are_all_that_is_kept_of_the_network(self):
    # The FC layers hold nearly all weights, as in the paper's network.
    config = dataclasses.replace(_CONFIG, hidden_size=8192)
    net = network.PifaNetwork(config, _MODEL.num_params)
    geometry = network.network_geometry(_MODEL, config)
    sgd = optimizer.make_optimizer(optimizer.PRESETS['tuned'], 100)
    state = jax.eval_shape(
      lambda: training.init_state(network.init_variables(net, geometry, 0), sgd)
    )
    step = functools.partial(
      training.train_step,
      network=net,
      optimizer=sgd,
      loss=training.LossConfig(),
      augment=_AUGMENT,
      seed=5,
    )
    compiled = (
      jax.jit(step, donate_argnums=(0,))
      .lower(
        state,
        make_rows(8),
        np.zeros(8, np.int32),
        geometry,
        projection.landmark_model(_MODEL, 'ibug68'),
      )
      .compile()
    )
    memory = compiled.memory_analysis()
    size = 4 * sum(x.size for x in jax.tree.leaves(state.params))
    self.assertGreater(size, 15e6)
    # Weights and momentum are written where they lie ...
    self.assertGreaterEqual(memory.alias_size_in_bytes, 2 * size)
    # ... and beside them there is room for the gradient and activations alone
    # (1.03): a second copy of the largest leaf would add 0.46.
    self.assertLess(memory.temp_size_in_bytes, 1.2 * size)


class PrecisionTest(absltest.TestCase):
  def test_bfloat16_stays_inside_the_network(self):
    rows, ids = make_rows(8), np.arange(8, dtype=np.int32)
    step, state, *rest = make_step()
    _, exact = step(state, rows, ids, *rest)
    half, _, _, _ = make_step(precision='bfloat16')
    lowered = half.lower(state, rows, ids, *rest)
    self.assertIn('bf16', lowered.as_text())
    self.assertNotIn('bf16', step.lower(state, rows, ids, *rest).as_text())
    state, result = lowered.compile()(state, rows, ids, *rest)
    # Master weights, momentum, statistics and every number that is reported.
    for leaf in jax.tree.leaves(
      (state.params, state.batch_stats, state.opt_state, result)
    ):
      self.assertIn(leaf.dtype, (jnp.float32, jnp.int32, jnp.bool_))
    self.assertTrue(bool(result['finite']))
    self.assertNotEqual(float(result['loss']), float(exact['loss']))
    # bfloat16 has 8 bits: 0.4 % a rounding, a hundred of them average out; the
    # worst block was 0.2 % off, the gradient's norm 1 %.
    np.testing.assert_allclose(result['block_loss'], exact['block_loss'], rtol=2e-2)
    np.testing.assert_allclose(result['nme'], exact['nme'], rtol=2e-2)
    np.testing.assert_allclose(result['grad_norm'], exact['grad_norm'], rtol=0.1)


class MakeBatchTest(absltest.TestCase):
  def test_targets_follow_the_crop(self):
    rows = make_rows(5)
    keys = batching.sample_keys(3, jnp.int32(7), jnp.arange(5))
    batch = _make_batch(rows, 16, 8, keys=keys, augment=_AUGMENT)
    model = projection.landmark_model(_MODEL, 'ibug68')
    again = training.predict_landmarks(
      model, jax.vmap(flatten_params)(batch.face_params)
    )
    # The labels were made from P; P and labels move together.
    np.testing.assert_allclose(again, batch.landmarks, atol=1e-3)
    self.assertGreater(float(jnp.std(batch.box_size)), 0)

  def test_random_numbers_depend_on_seed_step_and_sample_alone(self):
    rows = make_rows(6)
    make = lambda seed, step, pick: (
      _make_batch(
        jax.tree.map(lambda x: x[pick], rows),
        16,
        8,
        augment=_AUGMENT,
        keys=batching.sample_keys(seed, jnp.int32(step), jnp.asarray(pick)),
      ).image
    )
    forward, backward = make(0, 1, [0, 1, 2]), make(0, 1, [2, 1, 0])
    np.testing.assert_array_equal(forward, backward[::-1])
    self.assertGreater(float(jnp.abs(forward - make(0, 2, [0, 1, 2])).max()), 0)
    self.assertGreater(float(jnp.abs(forward - make(1, 1, [0, 1, 2])).max()), 0)

  def test_boxes_as_given_without_keys(self):
    rows = make_rows(2)
    batch = _make_batch(rows, 20, 8)
    # The box is 20 px wide: the crop is the image's middle, pixel for pixel.
    np.testing.assert_allclose(
      batch.image, rows.image[:, 4:24, 4:24] / 127.5 - 1, atol=1e-5
    )
    np.testing.assert_allclose(batch.box_size, 20, rtol=1e-6)


class LossLayoutTest(absltest.TestCase):
  def test_later_blocks_weigh_more(self):
    # Sec. 4: block i of N_v weighs i.
    step, state, *rest = make_step()
    _, result = step(state, make_rows(8), np.arange(8, dtype=np.int32), *rest)
    first, second = np.float64(result['block_loss'])
    self.assertGreater(min(first, second), 1e-2)
    np.testing.assert_allclose(result['loss'], first + 2 * second, rtol=1e-6)

  def test_eq_6_first_then_eq_7(self):
    rows = make_rows(3)
    batch = _make_batch(rows, 16, 8)
    geometry = network.network_geometry(_MODEL, _CONFIG)
    model = projection.landmark_model(_MODEL, 'ibug68')
    target = jax.vmap(flatten_params)(batch.face_params)
    zero = jnp.zeros_like(target)
    start = jnp.broadcast_to(flatten_params(geometry.initial), target.shape)
    # Block 1 predicts P exactly, block 2 adds nothing.
    update = (target - start) / geometry.scales
    outputs = {
      'params': jnp.stack([target, target]),
      'inputs': jnp.stack([start, target]),
      'updates': jnp.stack([update, zero]),
    }
    loss = lambda **kw: training.block_losses(
      outputs,
      training.block_landmarks(outputs, model),
      batch,
      geometry,
      training.LossConfig(**kw),
    )
    # Squares of what rounding leaves of some tens of pixels.
    np.testing.assert_allclose(loss(), 0, atol=1e-4)
    outputs['updates'] = jnp.stack([zero, zero])
    missing = np.square(np.asarray(target) - np.asarray(start))
    for mode, weights in (
      ('whitened', 1 / np.square(np.asarray(geometry.scales))),
      ('landmarks', np.asarray(geometry.displacements)),
    ):
      # float32 sums of 20 squares.
      np.testing.assert_allclose(
        loss(eq6_mode=mode)[0], missing @ weights / 2, rtol=1e-4
      )
    outputs['params'] = jnp.stack([start, start])
    # The offsets of pairs are added to Eq. (7), and to nothing else.
    pairs = jax.vmap(losses.pair_loss)(
      training.block_landmarks(outputs, model)[2], batch.landmarks, batch.visible
    )
    self.assertGreater(float(pairs.min()), 0)
    np.testing.assert_allclose(
      loss(pair_weight=10.0) - loss(), [np.zeros(3), 10 * pairs], rtol=1e-3
    )
    points = np.asarray(training.predict_landmarks(model, start))
    seen = np.asarray(batch.visible)[..., None]
    expected = (
      np.sum((seen * (points - np.asarray(batch.landmarks))) ** 2, axis=(1, 2)) / 2
    )
    # float32 sums of 136 squares of differences of some tens of pixels.
    np.testing.assert_allclose(loss()[1], expected, rtol=1e-4)
    np.testing.assert_allclose(loss(num_param_blocks=0)[0], expected, rtol=1e-4)
    # Pixels: the rms error of the 68 landmarks, above half a pixel.
    np.testing.assert_allclose(
      loss(root=True)[1], np.sqrt(2 * expected / 68 + 0.25), rtol=1e-4
    )


if __name__ == '__main__':
  absltest.main()
