"""Weights as model hubs expect them: model.safetensors, config.json, README.md."""

import json
import os
import pathlib
from typing import Any

import flax.traverse_util
import numpy as np

from experiments.lib import cli
from pifa_jax import settings
from pifa_jax.files.formats import write_atomically
from pifa_jax.learning.network import NetworkConfig
from pifa_jax.learning.weights import TrainedWeights

WEIGHTS, CONFIG, CARD = 'model.safetensors', 'config.json', 'README.md'
_FORMAT = 'pifa_jax'
_CARD = """---
library_name: pifa_jax
license: apache-2.0
pipeline_tag: keypoint-detection
tags:
- face-alignment
- 3dmm
- jax
- flax
---

# Face alignment with one network: weights

A network that fits a 3D Morphable Model to a face in a crop: dense 3D shape, landmarks,
their visibility and the head's pose, at any yaw. It follows A. Jourabloo et al.,
"Pose-Invariant Face Alignment with a Single CNN", ICCV 2017.

| | |
|---|---|
| Input | crop of {crop_size} x {crop_size} pixels, RGB |
| Blocks | {num_blocks} |
| Weights | {num_weights:.1f} M, float32 |
| Face model | {face_model} (hash `{face_model_hash:.16}`) |
| Trained on | {datasets} |
| Steps | {step} |
| Checkpoint | `{checkpoint}` |
{note}
## Use

```python
from experiments.export import hub_format
weights = hub_format.read('FOLDER')  # .network, .variables, .card
```

`{weights_file}` holds the arrays under the names of the Flax modules, with dots between
them; `{config_file}` the shape of the network ("network") and the settings of the
training run ("training").

## Limits

The face must be found first: the crop is the box of its landmarks, or of a detector.
Errors grow with yaw and under occlusion; children and faces unlike those in training
are less accurate. Do not use it to identify people, or to decide about them.
"""


def write(folder: str | os.PathLike[str], content: TrainedWeights) -> list[str]:
  """Writes the three files.

  Args:
    folder: where; it exists.
    content: the weights.

  Returns:
    The names of the files.

  Raises:
    UserError: if the package safetensors is not installed.
  """
  folder = pathlib.Path(folder)
  numpy_format = _safetensors()
  arrays = {
    name: np.ascontiguousarray(value)
    for name, value in sorted(
      flax.traverse_util.flatten_dict(content.variables, sep='.').items()
    )
  }
  numpy_format.save_file(
    arrays, folder / WEIGHTS, metadata={'format': 'flax', 'producer': _FORMAT}
  )
  config = {
    'model_type': _FORMAT,
    'network': settings.to_json(content.network),
    'training': content.card['config'],
    'content_hash': content.content_hash,
    **{name: content.card[name] for name in sorted(content.card) if name != 'config'},
  }
  text = json.dumps(config, indent=2, sort_keys=True) + '\n'
  write_atomically(folder / CONFIG, text.encode())
  write_atomically(folder / CARD, _card(content, arrays).encode())
  return [WEIGHTS, CONFIG, CARD]


def read(folder: str | os.PathLike[str]) -> TrainedWeights:
  """Reads what `write` wrote.

  Args:
    folder: with the files.

  Returns:
    The weights: the same bits.

  Raises:
    UserError: if the package safetensors is not installed.
    ValueError: if the files are not of this format.
    OSError: if one cannot be read.
  """
  folder = pathlib.Path(folder)
  config = json.loads((folder / CONFIG).read_text(encoding='utf-8'))
  if not isinstance(config, dict) or config.get('model_type') != _FORMAT:
    raise ValueError(
      f'{folder / CONFIG} is not of this program ("model_type" is not "{_FORMAT}"); '
      'make the folder with python -m experiments.export --format=safetensors.'
    )
  flat = _safetensors().load_file(folder / WEIGHTS)
  card = {
    name: value
    for name, value in config.items()
    if name not in ('model_type', 'network', 'training', 'content_hash')
  }
  return TrainedWeights(
    settings.from_json(NetworkConfig, config['network']),
    flax.traverse_util.unflatten_dict(flat, sep='.'),
    {**card, 'config': config['training']},
    config['content_hash'],
  )


def _safetensors() -> Any:
  try:
    import safetensors.numpy
  except ImportError as error:
    raise cli.UserError(
      '--format=safetensors needs the package safetensors; install it with '
      'pip install pifa_jax[safetensors].'
    ) from error
  return safetensors.numpy


def _card(content, arrays):
  """The model card, from what the weights know of their training."""
  config = content.card['config']
  data = [*config.get('earlier_datasets', []), config.get('dataset', 'unknown')]
  note = content.card.get('note')
  return _CARD.format(
    crop_size=content.network.crop_size,
    num_blocks=content.network.num_blocks,
    num_weights=sum(array.size for array in arrays.values()) / 1e6,
    face_model=config.get('face_model', 'unknown'),
    face_model_hash=config.get('face_model_hash', 'unknown'),
    datasets=', '.join(dict.fromkeys(data)),
    step=content.card.get('step', 'unknown'),
    checkpoint=content.card.get('checkpoint', 'unknown'),
    note=f'\n{note}\n' if note else '',
    weights_file=WEIGHTS,
    config_file=CONFIG,
  )
