"""Converts the files of another face model to the .npz that --face_model takes.

  python -m experiments.convert_face_model --kind=3ddfa --src=DIR --output=bfm.npz
  python -m experiments.convert_face_model --kind=bfm2009 \
      --src=01_MorphableModel.mat --expression_dir=DIR --output=bfm.npz
  python -m experiments.convert_face_model --kind=ict --src=FaceXModel \
      --output=ict.npz
"""

from absl import flags
import numpy as np

from experiments.lib import cli, path_flags
from pifa_jax.face_models import basel, ict_facekit, load_landmark_ids, npz_format

KINDS = {
  '3ddfa': 'a folder with Model_Shape.mat and Model_Expression.mat',
  'bfm2009': '01_MorphableModel.mat, with --expression_dir',
  'face3d': 'BFM.mat of face3d',
  'bfm2017': 'the .h5 file, with --landmarks',
  'ict': 'the folder FaceXModel of ICT-FaceKit',
}
flags.DEFINE_enum(
  'kind',
  None,
  sorted(KINDS),
  'What --src is: '
  + '; '.join(f'{kind}: {what}' for kind, what in KINDS.items())
  + '.',
)
path_flags.define_path('src', None, 'The file or folder to convert; see --kind.')
path_flags.define_path(
  'expression_dir',
  None,
  'For --kind=bfm2009: the folder of Model_Expression.mat and model_info.mat.',
)
path_flags.define_path(
  'landmarks',
  None,
  'A file of 68 vertex ids, one a line, counted from 0. Default: the landmarks that '
  'come with the model.',
)
path_flags.define_path('output', None, 'The .npz to write.')


def main(run: cli.Run) -> int:
  """Converts a face model.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  del run  # A record of the run would be larger than its result.
  f = flags.FLAGS
  for name in ('kind', 'src', 'output'):
    if not f[name].value:
      raise cli.UserError(f'--{name} is missing; see --help.')
  cli.output_file(f.output)
  model, extras = _convert(f)
  digest = npz_format.save_npz(f.output, model, units='mm', extras=extras)
  corners = model.mean_shape[model.landmark_schemes['ibug68'][[36, 45]]]
  print(
    f'{f.output}: {model.num_vertices} vertices, {len(model.triangles)} '
    f'triangles, {model.num_identity} + {model.num_expression} bases; outer eye '
    f'corners {np.linalg.norm(corners[0] - corners[1]):.1f} mm apart, nose tip '
    f'faces the viewer with {model.mean_normals[model.nose_tip, 2]:.3f}; content '
    f'{digest[:16]}.\nUse it with --face_model={f.output}'
  )
  return cli.EXIT_OK


def _convert(f):
  """(model, extras): the 3DMM in millimetres, and arrays to keep beside it."""
  ids = None
  if f.landmarks:
    ids = load_landmark_ids(f.landmarks, num_vertices=np.iinfo(np.int32).max)
  if f.kind == '3ddfa':
    return basel.convert_3ddfa(f.src, landmarks=ids), {}
  if f.kind == 'bfm2009':
    if not f.expression_dir:
      raise cli.UserError(
        '--kind=bfm2009 has no expressions of its own; give --expression_dir, the '
        'folder of Model_Expression.mat and model_info.mat.'
      )
    return basel.convert_bfm2009(f.src, f.expression_dir, landmarks=ids), {}
  if f.kind == 'face3d':
    return basel.convert_face3d(f.src, landmarks=ids), {}
  if f.kind == 'bfm2017':
    return basel.convert_bfm2017(f.src, ids), {}
  if ids is not None:
    raise cli.UserError(
      '--kind=ict has its landmarks in vertex_indices.json; leave --landmarks out.'
    )
  units = npz_format.expression_unit_extras(ict_facekit.expression_units(f.src))
  return ict_facekit.convert_ict(f.src), units


if __name__ == '__main__':
  cli.start(main)
