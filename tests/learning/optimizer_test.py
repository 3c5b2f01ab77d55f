"""SGD in Caffe's order, against a solver written as Caffe's documentation says."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pifa_jax.learning import optimizer

_STEPS = 200
_CONFIG = optimizer.OptimizerConfig(
  learning_rate=0.02,
  learning_rate_drops=((0.4, 0.005), (0.75, 0.001)),
  momentum=0.99,
  weight_decay=0.005,
)


def _problem():
  rng = np.random.default_rng(0)
  matrix = rng.normal(size=(6, 6))
  matrix = matrix @ matrix.T / 6 + np.eye(6)
  start = {'layer': {'kernel': rng.normal(size=6), 'bias': rng.normal(size=6)}}
  gradient = lambda w: {
    'layer': {'kernel': matrix @ w['layer']['kernel'], 'bias': w['layer']['bias'] ** 3}
  }
  return start, gradient


def _caffe(start, gradient):
  """v <- mu v + lr (g + lambda w); w <- w - v, in float64."""
  w = {k: np.array(v) for k, v in start['layer'].items()}
  velocity = {k: np.zeros_like(v) for k, v in w.items()}
  for step in range(_STEPS):
    rate = 0.02 if step < 80 else 0.005 if step < 150 else 0.001
    g = gradient({'layer': w})['layer']
    for name in w:
      decay = 0.005 if name == 'kernel' else 0.0
      velocity[name] = 0.99 * velocity[name] + rate * (g[name] + decay * w[name])
    w = {name: w[name] - velocity[name] for name in w}
  return w


def _optax(start, gradient, sgd):
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), start)
  state = sgd.init(params)

  @jax.jit
  def step(params, state):
    updates, state = sgd.update(gradient(params), state, params)
    return optax.apply_updates(params, updates), state

  for _ in range(_STEPS):
    params, state = step(params, state)
  return params['layer']


class CaffeTest(absltest.TestCase):
  def test_200_steps_with_two_drops(self):
    start, gradient = _problem()
    expected = _caffe(start, gradient)
    found = _optax(start, gradient, optimizer.make_optimizer(_CONFIG, _STEPS))
    for name in expected:
      # float32 against float64 over 200 steps of a stable iteration.
      np.testing.assert_allclose(found[name], expected[name], atol=2e-5)

  def test_the_rate_outside_the_buffer_is_another_solver(self):
    # optax.sgd's order: the test above can tell the two apart.
    start, gradient = _problem()
    schedule = optimizer.learning_rate_schedule(_CONFIG, _STEPS)
    other = optax.chain(
      optax.add_decayed_weights(0.005, optimizer.decay_mask),
      optax.trace(decay=0.99),
      optax.scale_by_learning_rate(schedule),
    )
    found = _optax(start, gradient, other)
    self.assertGreater(
      np.abs(found['kernel'] - _caffe(start, gradient)['kernel']).max(), 1e-2
    )


class ScheduleTest(absltest.TestCase):
  def test_paper_values(self):
    schedule = optimizer.learning_rate_schedule(optimizer.PRESETS['paper'], 3300)
    # The rates are products of float32 ratios.
    np.testing.assert_allclose(
      [schedule(s) for s in (0, 1999, 2000, 2899, 2900, 3299)],
      [1e-6, 1e-6, 5e-7, 5e-7, 1e-7, 1e-7],
      rtol=1e-5,
    )

  def test_cosine_warms_up_and_ends_at_zero(self):
    config = optimizer.OptimizerConfig(0.1, schedule='cosine', warmup=0.1)
    schedule = optimizer.learning_rate_schedule(config, 100)
    rates = np.array([schedule(s) for s in range(101)])
    self.assertEqual(int(rates.argmax()), 10)
    self.assertLess(rates[0], 0.02)
    self.assertLess(rates[100], 1e-6)

  def test_clipping_scales_the_whole_gradient(self):
    config = optimizer.OptimizerConfig(1.0, momentum=0.0, clip_norm=1.0)
    sgd = optimizer.make_optimizer(config, 10)
    params = {'a': {'kernel': jnp.zeros(2)}}
    grads = {'a': {'kernel': jnp.array([3.0, 4.0])}}
    updates, _ = sgd.update(grads, sgd.init(params), params)
    # A norm in float32.
    np.testing.assert_allclose(updates['a']['kernel'], [-0.6, -0.8], rtol=1e-5)

  def test_bad_numbers(self):
    for change, text in (
      ({'learning_rate': 0.0}, 'above 0'),
      ({'momentum': 1.0}, r'in \[0, 1\)'),
      ({'schedule': 'step'}, 'multistep or cosine'),
    ):
      with self.assertRaisesRegex(ValueError, text):
        optimizer.OptimizerConfig(**{'learning_rate': 0.1, **change})


if __name__ == '__main__':
  absltest.main()
