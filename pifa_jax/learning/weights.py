"""Trained weights in one file: `load_weights` reads it, `Aligner` takes its content.

schema_version           () int32, 1
card                     () str, JSON: 'config' (the run's whole configuration),
                         'checkpoint', 'step', and further facts
params/<module>/<name>   float16 or float32
batch_stats/<module>/... float32
content_sha256           () str, the hash of all of the above
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import flax.traverse_util
import numpy as np

from pifa_jax import settings
from pifa_jax.files import array_files
from pifa_jax.learning.network_config import NetworkConfig

SCHEMA_VERSION = 1
_ASSETS = pathlib.Path(__file__).parent / 'assets'
_BUILTIN = 'builtin'


@dataclasses.dataclass(frozen=True)
class TrainedWeights:
  """A trained network and the record of its training.

  Attributes:
    network: its shape.
    variables: {'params', 'batch_stats'} of `PifaNetwork`, float32 NumPy arrays.
    card: a JSON object; card['config'] holds 'face_model', the name or path of the
      3DMM, 'face_model_hash', 'dataset', 'seed' and the rest of the run's settings.
    content_hash: of the file, hex SHA-256.
  """

  network: NetworkConfig
  variables: dict[str, Any]
  card: dict[str, Any]
  content_hash: str

  @property
  def box_scale(self) -> float:
    """Mean side of the training boxes over that of the provided boxes."""
    return self.card['config'].get('augment', {}).get('box_scale', 1.0)


def save_weights(
  path: str | os.PathLike[str],
  variables: dict[str, Any],
  card: dict[str, Any],
  *,
  dtype: Any = np.float16,
) -> str:
  """Writes weights.

  Args:
    path: the file; an existing one is replaced in one step.
    variables: {'params', 'batch_stats'}.
    card: a JSON object with 'config'.
    dtype: float16 or float32, of the kernels; everything else is float32.

  Returns:
    The content hash, hex SHA-256.

  Raises:
    ValueError: if a weight is not finite, or too large for the type.
  """
  arrays = {
    'schema_version': np.asarray(SCHEMA_VERSION, np.int32),
    'card': np.asarray(json.dumps(card, sort_keys=True)),
  }
  for name, value in flax.traverse_util.flatten_dict(variables, sep='/').items():
    # A bias is a thousandth of its kernel, a running variance may exceed float16.
    with np.errstate(over='ignore'):  # the check below reports it
      value = np.asarray(value).astype(
        dtype if name.endswith('/kernel') else np.float32
      )
    if not np.isfinite(value).all():
      raise ValueError(
        f'The weights {name} are not finite as {value.dtype}; write '
        'them as float32, or train again.'
      )
    arrays[name] = value
  digest = array_files.content_hash(arrays)
  array_files.write(
    path, {**arrays, 'content_sha256': np.asarray(digest)}, compress=True
  )
  return digest


def load_weights(name_or_path: str | os.PathLike[str] = _BUILTIN) -> TrainedWeights:
  """Reads weights.

  Args:
    name_or_path: 'builtin' for the weights that come with the package, which were
      trained on synthetic faces alone; or the path of a file of `save_weights`.

  Returns:
    The network's shape, its variables and its card.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it does not hold weights, or is damaged.
  """
  path = (
    _ASSETS / 'builtin_weights.npz'
    if os.fspath(name_or_path) == _BUILTIN
    else pathlib.Path(name_or_path)
  )
  arrays = array_files.read(path, 'file of weights')
  digest = str(arrays.get('content_sha256'))
  array_files.check(
    path,
    arrays,
    required=('schema_version', 'card', 'content_sha256'),
    version=SCHEMA_VERSION,
    otherwise='it does not hold weights; make one with '
    'python -m experiments.export_weights',
  )
  del arrays['schema_version']
  card = json.loads(str(arrays.pop('card')))
  variables = flax.traverse_util.unflatten_dict(
    {name: value.astype(np.float32) for name, value in arrays.items()}, sep='/'
  )
  config = settings.from_json(NetworkConfig, card['config']['network'])
  return TrainedWeights(config, variables, card, digest)
