"""What the tables read off trained runs: errors, noise, early exit, the cascade."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark import timing
from experiments.lib import data_loading, output_files, scoring
from experiments.reproduce import published, variants
from experiments.reproduce.finished import Finished, Hole
from experiments.reproduce.restored import Restored
from experiments.reproduce.runs import Runs, set_flags
from pifa_jax.evaluation import metrics, protocols
from pifa_jax.geometry import projection
from pifa_jax.learning import network

# Readings of "5 % noise": of the weight itself, or of the largest of its layer.
NOISES = ('own', 'largest')
_NOISE_DRAWS = 3
_SPEED_REPEATS = 20


class Measures:
  """Numbers by seed. All methods raise `Hole` where there is none."""

  def __init__(self, runs: Runs, afw_dir: str | None = None):
    """Takes the runs.

    Args:
      runs: of one data set and scale.
      afw_dir: folder of AFW, or None.
    """
    self._runs, self._afw_dir = runs, afw_dir

  @property
  def data(self) -> str:
    """What the runs are trained on, one of `variants.DATA`."""
    return self._runs.data

  def run(self, name: str, seed: int) -> Finished:
    """A finished run.

    Args:
      name: of a variant.
      seed: of the run.

    Returns:
      It.
    """
    return self._runs.finished(name, seed)

  def error(self, name: str, seed: int, block: int = -1) -> float:
    """The NME of the test faces, by the paper's protocol for the data.

    Args:
      name: of a variant.
      seed: of the run.
      block: after which; 0 = the start, -1 = the last one.

    Returns:
      Percent.
    """
    errors = (
      self._w300(name, seed, 'test')['errors']
      if self.data == '300w'
      else self.run(name, seed).errors
    )
    if block >= len(errors):
      raise Hole(f'{name} has {_blocks(len(errors) - 1)}')
    return errors[block]

  def num_faces(self, name: str, seed: int) -> int:
    """The number of test faces behind `error`.

    Args:
      name: of a variant.
      seed: of the run.

    Returns:
      N.
    """
    return self.run(name, seed).num_test

  def statement(self, seed: int) -> str:
    """What `error` is, as result lines state it.

    Args:
      seed: of the base's run.

    Returns:
      One line.
    """
    if self.data != '300w':
      return self.run(variants.BASE, seed).statement
    return self._w300(variants.BASE, seed, 'test')['statement']

  def w300(self, seed: int, subset: str) -> dict[str, Any]:
    """The shipped weights, trained on with 300W, on a part of its test set.

    Args:
      seed: of the run.
      subset: one of `published.W300_SETS`.

    Returns:
      'errors' after every block, 'failures' above 8 % with 68 and 51 points, percent;
      'num_faces'; 'gaps': parts of the set that are not there; 'statement'.
    """
    if self.data != '300w':
      raise Hole('photos of 300W were not given (--data=300w --data_dir=FOLDER)')
    return self._w300(variants.FINE_TUNED, seed, 'test' if subset == 'full' else subset)

  def _w300(self, name, seed, split):
    return self._runs.measured(
      name, seed, f'w300_{split}', lambda run: _scored(run, 'w300_paper', split)
    )

  def afw(self, seed: int) -> dict[str, Any]:
    """The base on AFW.

    Args:
      seed: of the run.

    Returns:
      As `w300`; errors are pixels.
    """
    if self.data == '300w':
      raise Hole('300W contains the photos of AFW: a score would mean nothing')
    if not self._afw_dir:
      raise Hole('photos of AFW were not given (--afw_dir=FOLDER)')

    def measure(run):
      set_flags(dataset='afw', data_dir=self._afw_dir, tfds_dir=None)
      return _scored(run, 'afw', 'test')

    return self._runs.measured(variants.BASE, seed, 'afw', measure)

  def noise(self, seed: int, block: int, kind: str) -> float:
    """The final NME with noise on the FC weights of one block (Sec. 4.3).

    Args:
      seed: of the run; the noise is drawn from it, too.
      block: from 1.
      kind: one of `NOISES`.

    Returns:
      Percent, mean over a few draws of the noise.
    """
    return self._noises(seed, block)[kind][block - 1][-1]

  def noise_left(self, seed: int, block: int, kind: str) -> float:
    """How much of what noise does to a block the later blocks leave (Sec. 4.3).

    Args:
      seed: of the run.
      block: from 1.
      kind: one of `NOISES`.

    Returns:
      What the noise adds to the final NME over what it adds to that of its own block,
      percent. It may be anything where the noise hardly changes its own block.
    """
    found = self._noises(seed, block)
    added = np.subtract(found[kind][block - 1], found['none'])
    if not added[block] > 0:
      raise Hole(f'the noise does not raise the error of block {block}')
    return float(100 * added[-1] / added[block])

  def _noises(self, seed, block):
    found = self._runs.measured(
      variants.BASE,
      seed,
      'noise_by_block',
      lambda run: _noise_errors(run, seed, self.data),
    )
    if block >= len(found['none']):
      raise Hole(f'{variants.BASE} has {_blocks(len(found["none"]) - 1)}')
    return found

  def early_exit(self, seed: int, blocks: int) -> float:
    """The time of one face with the first blocks alone.

    Args:
      seed: of the run.
      blocks: how many.

    Returns:
      Milliseconds a face, one face a call.
    """
    found = self._runs.measured(variants.BASE, seed, 'speed', _speeds)
    if str(blocks) not in found:
      raise Hole(f'{variants.BASE} does not have {_blocks(blocks)}')
    return found[str(blocks)]


def _blocks(number):
  return output_files.count_of(number, 'block')


def _log(unused_text):
  """The sets were opened before, when the run was trained."""


def _test_set(run: Restored, split: str, labels: str | None) -> data_loading.TestData:
  return data_loading.open_test(
    run.model,
    labels,
    data_loading.from_flags(),
    _log,
    split=split,
    crop_scale=run.config.network.crop_scale,
  )


def _evaluator(run, scheme, box_noise):
  net = network.PifaNetwork(run.config.network, run.model.num_params)
  return scoring.Evaluator(
    net,
    network.network_geometry(run.model, run.config.network),
    projection.landmark_model(run.model, scheme),
    box_noise=box_noise,
  )


def _scored(run: Restored, name: str, split: str) -> dict[str, Any]:
  """The numbers of a run on a set of photos that the flags name."""
  protocol = protocols.PROTOCOLS[name]
  # AFW's six points are no vertices; 300W's are the 68.
  data = _test_set(run, split, None if name == 'afw' else 'ibug68')
  out = _evaluator(run, 'ibug68', data.box_noise).predict(
    run.variables, data.crops, np.arange(len(data.crops)), only_errors=True
  )
  errors = scoring.image_errors(protocol, out)
  factor = 1.0 if protocol.in_pixels else 100.0
  means, left_out = metrics.block_means(errors)
  failures = {}
  if not protocol.in_pixels:
    inner = scoring.image_errors(protocol, out, first=17)[-1]
    failures = {
      '68': 100 * metrics.failure_rate(errors[-1]),
      '51': 100 * metrics.failure_rate(inner),
    }
  return {
    'errors': [float(factor * mean) for mean in means],
    'failures': failures,
    'num_faces': len(data.crops) - left_out,
    'gaps': list(data.crops.meta.get('gaps', [])),
    'statement': scoring.statement(
      run.config,
      data,
      protocol,
      run.config.num_steps,
      labels='ibug68',
      checkpoint=run.digest,
    ),
  }


def noisy(
  variables: dict[str, Any], block: int, kind: str, share: float, seed: int
) -> dict[str, Any]:
  """Trained weights with noise on both FC layers of one block (Sec. 4.3).

  Args:
    variables: {'params', 'batch_stats'}.
    block: from 1.
    kind: 'own': every weight w becomes w (1 + share n) with n ~ N(0, 1); 'largest':
      w + share max|w| n, the largest of its array.
    share: such as 0.05.
    seed: of the noise.

  Returns:
    The same tree; only this block's FC layers are others.
  """
  rng = np.random.default_rng([seed, block, NOISES.index(kind)])

  def change(weights):
    weights = np.asarray(weights)
    size = weights if kind == 'own' else np.abs(weights).max()
    drawn = rng.normal(size=weights.shape).astype(weights.dtype)
    return weights + np.asarray(share * size, weights.dtype) * drawn

  name = f'block{block}'
  layers = {
    layer: jax.tree.map(change, part) if layer in ('fc1', 'fc2') else part
    for layer, part in variables['params'][name].items()
  }
  return {**variables, 'params': {**variables['params'], name: layers}}


def _noise_errors(run: Restored, seed: int, data: str) -> dict[str, list]:
  """NMEs at the start and after every block, percent.

  'none': without noise. Each of `NOISES`: for every block, with noise on it.
  """
  scheme = run.config.landmark_scheme
  test = _test_set(run, 'test', scheme)
  protocol = protocols.PROTOCOLS['w300_paper' if data == '300w' else 'box']
  evaluator = _evaluator(run, scheme, test.box_noise)

  def errors(variables):
    out = evaluator.predict(
      variables, test.crops, np.arange(len(test.crops)), only_errors=True
    )
    means, _ = metrics.block_means(scoring.image_errors(protocol, out))
    return 100 * np.asarray(means, np.float64)

  def mean_errors(block, kind):
    seeds = range(seed * _NOISE_DRAWS, (seed + 1) * _NOISE_DRAWS)
    share = published.NOISE_SHARE
    drawn = [errors(noisy(run.variables, block, kind, share, draw)) for draw in seeds]
    return np.mean(drawn, axis=0).tolist()

  blocks = range(1, run.config.network.num_blocks + 1)
  return {
    'none': errors(run.variables).tolist(),
    **{kind: [mean_errors(block, kind) for block in blocks] for kind in NOISES},
  }


def _speeds(run: Restored) -> dict[str, float]:
  """Median milliseconds of one face with the first 3, 4, ... and with all blocks."""
  cases = []
  for blocks in range(3, run.config.network.num_blocks + 1):
    config = run.config.network.with_num_blocks(blocks)
    net = network.PifaNetwork(config, run.model.num_params)
    cases.append(
      timing.compiled(
        'network',
        str(blocks),
        1,
        lambda *arguments, net=net: net.apply(*arguments)['params'][-1],
        run.variables,
        jnp.zeros((1, config.crop_size, config.crop_size, 3)),
        network.network_geometry(run.model, config),
      )
    )
  medians = 1000 * np.median(timing.take_turns(cases, _SPEED_REPEATS), axis=0)
  return {case.name: float(ms) for case, ms in zip(cases, medians, strict=True)}


def cascade(measures: Measures, name: str, seed: int) -> list[Finished]:
  """The stages of a cascade.

  Args:
    measures: of the data.
    name: 'cascade' or 'long_cascade'.
    seed: of the runs.

  Returns:
    The finished stages, first to last.
  """
  return [
    measures.run(f'{name}_{stage}', seed) for stage in range(1, variants.NUM_BLOCKS + 1)
  ]
