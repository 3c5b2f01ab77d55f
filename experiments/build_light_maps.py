"""Makes the file of environment maps that light synthetic faces.

  npm pack @pmndrs/assets@1.7.0
  tar xzf pmndrs-assets-1.7.0.tgz
  pip install OpenEXR
  python -m experiments.build_light_maps --exr_folder=package/hdri

Maps are equirectangular OpenEXR files, `*.exr`, or such files as JavaScript modules of
base64, `*.exr.js`, as the package has them.
"""

import os
import pathlib

from absl import flags
import numpy as np

from experiments.lib import cli, environment_maps, path_flags
from pifa_jax.datasets import light_map_file
from pifa_jax.files import array_files

path_flags.define_path('exr_folder', None, 'Folder of the maps.')
path_flags.define_path(
  'output', 'pifa_jax/datasets/assets/light_maps.npz', 'The .npz to write.'
)


def main(run: cli.Run) -> int:
  """Measures the maps and writes them.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  del run  # A record of the run would be of no use beside its result.
  f = flags.FLAGS
  if not f.exr_folder:
    raise cli.UserError('--exr_folder is missing; see --help.')
  folder = pathlib.Path(f.exr_folder)
  files = sorted(folder.glob('*.exr')) or sorted(folder.glob('*.exr.js'))
  if not files:
    raise cli.UserError(
      f'--exr_folder={folder} has no *.exr and no *.exr.js; give the folder hdri of '
      'the npm package @pmndrs/assets.'
    )
  cli.output_file(f.output)
  try:
    found = [environment_maps.measure(environment_maps.read(path)) for path in files]
  except (ImportError, ValueError) as error:
    raise cli.UserError(str(error)) from None
  arrays = {name: np.stack([one[name] for one in found]) for name in found[0]}
  arrays['panorama'] = light_map_file.encode(arrays['panorama'])
  names = np.array([path.name.split('.')[0] for path in files])
  array_files.write(f.output, {'names': names, **arrays}, compress=True)
  size = os.path.getsize(f.output) / 1e3
  print(f'Wrote {len(names)} maps to {f.output}, {size:.0f} kB.')
  return cli.EXIT_OK


if __name__ == '__main__':
  cli.start(main)
