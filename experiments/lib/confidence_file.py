"""The file of a confidence, between experiments.calibrate and those that use it."""

from collections.abc import Collection
import json
import pathlib
from typing import Any

from experiments.lib import cli, output_files
from pifa_jax.inference import Confidence


def write(
  path: str, confidence: Confidence, checkpoint: str, held_out: dict[str, Any]
) -> None:
  """Writes the file.

  Args:
    path: of the file.
    confidence: that was fitted.
    checkpoint: hash of the weights that it was fitted with.
    held_out: figures of faces that nothing was fitted to.
  """
  content = {**confidence.to_json(), 'checkpoint': checkpoint, 'held_out': held_out}
  output_files.write_json(path, content)


def read(path: str, checkpoints: Collection[str]) -> Confidence:
  """Reads the file.

  Args:
    path: of the file.
    checkpoints: hashes by which the weights in use are known.

  Returns:
    The confidence.

  Raises:
    OSError: if it cannot be read.
    UserError: if it is no such file, or was fitted with other weights.
  """
  try:
    content = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
    found = Confidence.from_json(content)
  except ValueError as error:
    raise cli.UserError(
      f'--confidence={path} does not hold a confidence ({error}); make it with '
      'python -m experiments.calibrate.'
    ) from None
  fitted = content.get('checkpoint')
  if fitted not in checkpoints:
    raise cli.UserError(
      f'--confidence={path} was fitted with the weights {fitted}, not with '
      f'{" or ".join(sorted(checkpoints))}; run python -m experiments.calibrate with '
      'these.'
    )
  return found
