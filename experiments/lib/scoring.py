"""Runs a network over a crop cache, and words what was measured."""

import copy
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import figures
from experiments.lib.config import RunConfig
from experiments.lib.data_loading import TestData
from pifa_jax.datasets import sampler
from pifa_jax.datasets.crop_cache import CropCache
from pifa_jax.evaluation import metrics, protocols
from pifa_jax.learning import batching, training
from pifa_jax.learning.batching import AugmentConfig
from pifa_jax.learning.network import NetworkGeometry, PifaNetwork
from pifa_jax.results import photo_maps
from pifa_jax.types import MorphableModel

_BATCH = 32
# Evaluations that jitter boxes use a fixed seed: every checkpoint sees the same boxes.
_JITTER_SEED = 20170


class Evaluator:
  """One compiled program that scores batches of a fixed size."""

  def __init__(
    self,
    network: PifaNetwork,
    geometry: NetworkGeometry,
    landmark_model: MorphableModel,
    *,
    box_noise: float | None = None,
  ):
    """Makes an evaluator.

    Args:
      network: its axis name is dropped.
      geometry: of `network_geometry`.
      landmark_model: of the evaluation scheme.
      box_noise: perturb the boxes by this share of their size, location and side;
        None = take them as they are.
    """
    network = network.clone(axis_name=None)
    self._geometry = geometry
    self._landmark_model = landmark_model

    self._box_noise = box_noise

    # The strength is an argument: one program for all of them.
    def score(variables, rows, ids, geometry, landmark_model, noise):
      if noise is None:
        return training.evaluate_rows(
          variables, rows, geometry, landmark_model, network=network
        )
      keys = batching.sample_keys(_JITTER_SEED, jnp.zeros((), jnp.int32), ids)
      return training.evaluate_rows(
        variables,
        rows,
        geometry,
        landmark_model,
        network=network,
        keys=keys,
        augment=AugmentConfig(shift_jitter=noise, scale_jitter=noise),
      )

    self._score = jax.jit(score)

  def with_box_noise(self, box_noise: float) -> 'Evaluator':
    """The same evaluator, and the same compiled program, for other box noise.

    Args:
      box_noise: share of the size of the boxes by which location and side are
        perturbed.

    Returns:
      Another evaluator.
    """
    other = copy.copy(self)
    other._box_noise = box_noise
    return other

  def predict(
    self,
    variables: dict[str, Any],
    crops: CropCache,
    ids: np.ndarray,
    *,
    only_errors: bool = False,
  ) -> dict[str, Any]:
    """Everything `training.evaluate_rows` gives, for the chosen samples.

    Args:
      variables: {'params', 'batch_stats'}.
      crops: a crop cache.
      ids: (n,) samples.
      only_errors: leave out what `image_errors` does not need.

    Returns:
      NumPy arrays over the n samples; 'landmarks' is (1 + N_v, n, N, 2); and
      'pixel_size' (n,): of the photo, crop pixels.
    """
    parts = []
    for places, weight in sampler.padded_batches(len(ids), _BATCH):
      chosen = np.asarray(ids)[places]
      out = self._score(
        variables,
        sampler.rows(crops, chosen, weight),
        chosen.astype(np.int32),
        self._geometry,
        self._landmark_model,
        self._box_noise,
      )
      out = jax.device_get(
        {name: out[name] for name in (_OF_ERRORS if only_errors else out)}
      )
      out['pixel_size'] = out['scale'] * crops.pixel_sizes[chosen]
      real = int(weight.sum())
      parts.append(
        {
          name: jax.tree.map(
            lambda a, name=name, real=real: np.take(a, np.arange(real), _axis(name)),
            value,
          )
          for name, value in out.items()
        }
      )
    return {
      name: jax.tree.map(
        lambda *arrays, name=name: np.concatenate(arrays, axis=_axis(name)),
        *[part[name] for part in parts],
      )
      for name in parts[0]
    }

  def errors(
    self, variables: dict[str, Any], crops: CropCache, ids: np.ndarray
  ) -> tuple[np.ndarray, int]:
    """Mean NME after every block by protocol 'box'.

    Visible landmarks, over the provided box.

    Args:
      variables: {'params', 'batch_stats'}.
      crops: a crop cache.
      ids: (n,) samples.

    Returns:
      (1 + N_v,) means, P^0 first, fractions; and how many of the samples have no
      visible landmark and are left out.
    """
    out = self.predict(variables, crops, ids, only_errors=True)
    return metrics.block_means(image_errors(protocols.PROTOCOLS['box'], out))


_OF_ERRORS = ('landmarks', 'target', 'target_visible', 'box_size', 'scale')


def _axis(name):
  """Of the samples."""
  return 1 if name == 'landmarks' else 0


def image_errors(
  protocol: protocols.Protocol,
  out: dict,
  *,
  hidden_is_placed: bool = False,
  first: int = 0,
) -> np.ndarray:
  """Errors of every face after every block: `protocols.image_errors`.

  Args:
    protocol: the definitions.
    out: of `Evaluator.predict`.
    hidden_is_placed: see `TestData`; then protocols that count all landmarks do.
    first: landmark to begin with.

  Returns:
    (1 + N_v, n) fractions or pixels, NaN for a face without a landmark that counts.
  """
  counted = out['target_visible']
  if hidden_is_placed and protocol.counted == 'all':
    counted = np.ones_like(counted)
  return protocols.image_errors(
    protocol,
    out['landmarks'],
    out['target'],
    counted,
    out['box_size'],
    out['pixel_size'],
    first=first,
  )


def statement(
  config: RunConfig,
  data: TestData,
  protocol: protocols.Protocol,
  step: int,
  *,
  labels: str,
  checkpoint: str = '',
) -> str:
  """What a result line must say to be comparable.

  Args:
    config: of the run that made the weights.
    data: what was scored.
    protocol: the definitions.
    step: of the weights.
    labels: the landmark scheme of the predictions.
    checkpoint: hash of the checkpoint, if one was read.

  Returns:
    One line.
  """
  device = jax.local_devices()[0]
  return (
    f'{data.title}, N={len(data.crops)}, {data.num_rejected} rejected; '
    f'{labels}: {protocol.statement()}; {data.box_rule}; trained on '
    f'{_in_turn(config.datasets)}, step {step}, '
    + (f'checkpoint {checkpoint}, ' if checkpoint else '')
    + f'config {config.hash()}, data {data.crops.content_hash}, seed '
    f'{config.seed}, {device.device_kind}'
  )


def _in_turn(datasets):
  """What weights were trained on: 'synthetic (5 times), then aflw'."""
  counted = [(name, len(list(same))) for name, same in itertools.groupby(datasets)]
  return ', then '.join(
    name if count == 1 else f'{name} ({count} times)' for name, count in counted
  )


def table(values: list[float], protocol: protocols.Protocol, line: str) -> str:
  """Table 3's row: the error before the first and after every block.

  Args:
    values: 1 + N_v, percent or pixels.
    protocol: the definitions.
    line: of `statement`.

  Returns:
    Text of several lines.
  """
  name = 'MAPE (px)' if protocol.in_pixels else 'NME (%)'
  head = f'{name:<9} start ' + ' '.join(f'block {i:<2}' for i in range(1, len(values)))
  row = f'       {values[0]:8.2f} ' + ' '.join(f'{x:8.2f}' for x in values[1:])
  return f'{head}\n{row}\n{line}' + (f'\n({protocol.paper})' if protocol.paper else '')


def face_tiles(out: dict, errors: np.ndarray, chosen: np.ndarray) -> list:
  """Images of the chosen test faces, captioned with their errors.

  Args:
    out: of `Evaluator.predict`.
    errors: (n,) in the unit to be printed: percent or pixels.
    chosen: indices.

  Returns:
    Pillow images.
  """
  return [
    figures.face(
      figures.to_uint8(out['image'][i]),
      out['landmarks'][-1, i],
      out['visible'][i],
      caption=f'{errors[i]:.1f}',
    )
    for i in chosen
  ]


def save_faces(path: str, out: dict, errors: np.ndarray, count: int) -> None:
  """Draws test faces, evenly spread over the set, with their landmarks.

  Args:
    path: of the PNG.
    out: of `Evaluator.predict`.
    errors: see `face_tiles`.
    count: faces at most.
  """
  total = len(out['image'])
  chosen = np.linspace(0, total - 1, min(count, total)).astype(int)
  photo_maps.write_image(path, figures.sheet(face_tiles(out, errors, chosen), 6))
