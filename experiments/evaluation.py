"""Runs a network over a packed data set and states what was measured."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments import pictures
from pifa_jax import training
from pifa_jax.datasets import feed
from pifa_jax.training import AugmentConfig

_BATCH = 32
# Box jitter of evaluations that ask for it: the training jitter of Sec. 4, from
# a fixed key, so that every checkpoint sees the same boxes.
_JITTER = AugmentConfig()
_JITTER_SEED = 20170


class Evaluator:
  """One compiled program that scores batches of a fixed size."""

  def __init__(self, network, geometry, landmark_model, *, jitter: bool):
    """Makes an evaluator.

    Args:
      network: a PifaNetwork; its axis name is dropped.
      geometry: of `network_geometry`.
      landmark_model: of the evaluation scheme.
      jitter: perturb the boxes as in training (built-in faces), or take them as
        they are (photographs).
    """
    network = network.clone(axis_name=None)
    self._geometry = geometry
    self._landmark_model = landmark_model
    self._jitter = jitter

    def score(variables, rows, ids, geometry, landmark_model):
      keys = (training.sample_keys(_JITTER_SEED, jnp.zeros((), jnp.int32), ids)
              if jitter else None)
      return training.evaluate_rows(
          variables, rows, geometry, landmark_model, network=network, keys=keys,
          augment=_JITTER if jitter else None)

    self._score = jax.jit(score)

  def predict(self, variables, packed, ids: np.ndarray) -> dict:
    """Everything `training.evaluate_rows` gives, for the chosen samples.

    Args:
      variables: {'params', 'batch_stats'}.
      packed: a packed data set.
      ids: (n,) samples.

    Returns:
      NumPy arrays over the n samples; 'nme' is (1 + N_v, n).
    """
    return self._run(variables, packed, ids, keep=lambda out: out)

  def errors(self, variables, packed, ids: np.ndarray) -> np.ndarray:
    """Mean NME after every block, P^0 first: (1 + N_v,), a fraction."""
    out = self._run(variables, packed, ids, keep=lambda out: {'nme': out['nme']})
    return out['nme'].mean(axis=1)

  def _run(self, variables, packed, ids, keep):
    parts = []
    for places, weight in feed.padded_batches(len(ids), _BATCH):
      chosen = np.asarray(ids)[places]
      out = jax.device_get(keep(self._score(
          variables, feed.rows(packed, chosen, weight),
          chosen.astype(np.int32), self._geometry, self._landmark_model)))
      real = int(weight.sum())
      parts.append({name: _cut(value, real, name == 'nme')
                    for name, value in out.items()})
    return {name: _join([part[name] for part in parts], name == 'nme')
            for name in parts[0]}


def _cut(value, count, blocks_first):
  if isinstance(value, tuple):
    return tuple(_cut(item, count, False) for item in value)
  return value[:, :count] if blocks_first else value[:count]


def _join(values, blocks_first):
  if isinstance(values[0], tuple):
    return tuple(np.concatenate(items) for items in zip(*values))
  return np.concatenate(values, axis=1 if blocks_first else 0)


def statement(config, data, step: int, *, checkpoint: str = '') -> str:
  """What a result line must say to be comparable.

  Args:
    config: the RunConfig.
    data: the OpenData.
    step: of the weights.
    checkpoint: hash of the checkpoint, if one was read.

  Returns:
    One line.
  """
  device = jax.local_devices()[0]
  return (f'{data.name}, test, N={len(data.test)}, {data.num_rejected} rejected; '
          f'labels {config.landmark_scheme}, {data.counted}; d = sqrt(w h) of '
          f'the provided box; {data.box_rule}; mean over images; step {step}, '
          + (f'checkpoint {checkpoint}, ' if checkpoint else '')
          + f'config {config.hash()}, seed {config.seed}, '
          f'{device.device_kind}')


def table(scores: np.ndarray, line: str) -> str:
  """Table 3's row: the NME in percent before the first and after every block.

  Args:
    scores: (1 + N_v,) fractions.
    line: of `statement`.

  Returns:
    Text of several lines.
  """
  blocks = len(scores) - 1
  head = 'NME (%)   start ' + ' '.join(f'block {i + 1:<2}' for i in range(blocks))
  row = f'       {100 * scores[0]:8.2f} ' + ' '.join(f'{100 * x:8.2f}'
                                                    for x in scores[1:])
  return (f'{head}\n{row}\n{line}\n(The paper, Table 3, on AFLW\'s 1,299 test '
          'images: start 25.8; blocks 9.26, 6.77, 5.51, 4.98, 4.60, 4.45.)')


def face_tiles(out: dict, chosen: np.ndarray) -> list:
  """Pictures of the chosen test faces, captioned with their NME in percent.

  Args:
    out: of `Evaluator.predict`.
    chosen: indices.

  Returns:
    Pillow images.
  """
  return [pictures.face(
      pictures.to_uint8(out['image'][i]), out['landmarks'][i], out['visible'][i],
      caption=f'{100 * out["nme"][-1, i]:.1f}') for i in chosen]


def save_faces(path: str, out: dict, count: int) -> None:
  """Draws test faces, evenly spread over the set, with their landmarks.

  Args:
    path: of the PNG.
    out: of `Evaluator.predict`.
    count: faces at most.
  """
  total = len(out['image'])
  chosen = np.linspace(0, total - 1, min(count, total)).astype(int)
  pictures.sheet(face_tiles(out, chosen), 6).save(path)
