"""Finds the vertices of landmarks of unknown definition, from labelled faces.

  python -m experiments.find_landmarks --dataset=aflw --data_dir=DIR \
      --known=1:18,2:20,7:37,10:40,11:43,14:46,15:31,16:32,19:36,20:49,22:55

--known pairs a point of the data set with its number among iBUG's 68, both from 1.
Writes vertex_ids.txt, which --landmark_scheme takes, and a numbered image.
"""

import os
import sys

from absl import flags
import numpy as np

from experiments.lib import cli, data_loading, mesh_images
from pifa_jax import face_models
from pifa_jax.datasets import registry
from pifa_jax.geometry import fitting, landmark_search

flags.DEFINE_list(
  'known',
  None,
  'Landmarks whose definition is known: pairs "point:iBUG number", both from 1; six '
  'at least.',
)
flags.DEFINE_integer(
  'max_faces',
  1000,
  'How many faces to use, spread evenly over the training set.',
  lower_bound=10,
)
flags.DEFINE_integer(
  'rounds',
  3,
  'How often to fit all faces: first to the known points, then to all points.',
  lower_bound=1,
)


def main(run: cli.Run) -> int:
  """Searches the vertices of the landmarks.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  points, visible = _read_faces(f)
  model = face_models.load_face_model(f.face_model)
  known = _known(f.known, points.shape[1])
  workdir = run.make_folder(f.workdir)
  run.open(workdir)
  ids, errors = _search(model, points, visible, known, f.rounds)
  for column, (vertex, error) in enumerate(zip(ids, errors, strict=True)):
    what = f'iBUG {known[column] + 1}, given' if column in known else 'found'
    print(
      f'point {column + 1:3d}: vertex {vertex:6d}  '
      f'error {100 * error:.2f} % of the face  ({what})'
    )
  path = os.path.join(workdir, 'vertex_ids.txt')
  with open(path, 'w', encoding='utf-8') as file:
    file.write(
      f'# {len(ids)} landmarks on the face model {f.face_model}, found from '
      f'{len(points)} faces\n'
    )
    file.writelines(f'{vertex}\n' for vertex in ids)
  mesh_images.save_numbered(model, ids, os.path.join(workdir, 'vertex_ids.png'))
  print(f'Wrote {path} and vertex_ids.png; use it with --landmark_scheme={path}')
  return cli.EXIT_OK


def _read_faces(f):
  """Landmarks (n, N, 2) and their visibility (n, N) of the chosen training faces."""
  if f.dataset == 'synthetic':
    raise cli.UserError(
      '--dataset=synthetic has known landmarks; name the data set whose landmarks are '
      'not known.'
    )
  samples = data_loading.read(
    data_loading.from_flags(), registry.DATASETS[f.dataset].splits[0]
  ).samples
  if not len(samples):
    raise cli.UserError(
      f'No face in {f.data_dir} can be used; give --data_dir the folder of the data '
      f'set {f.dataset}, as its authors distribute it.'
    )
  chosen = np.unique(
    np.linspace(0, len(samples) - 1, min(f.max_faces, len(samples))).astype(int)
  )
  faces = [samples[i] for i in chosen]
  return np.stack([s.landmarks for s in faces]), np.stack([s.visible for s in faces])


def _search(model, points, visible, known, rounds):
  """(N,) vertices of all points, and their mean errors as shares of the face."""
  columns = np.array(sorted(known))
  ids = np.full(points.shape[1], -1)
  ids[columns] = np.asarray(model.landmark_schemes['ibug68'])[
    [known[column] for column in columns]
  ]
  fixed = ids >= 0
  errors = np.zeros(len(ids))
  for number in range(rounds):
    used = np.where(ids >= 0)[0]
    scheme = model.replace(landmark_schemes={'so far': ids[used]})
    params, residuals = fitting.fit_faces(
      scheme, points[:, used], visible[:, used], scheme='so far'
    )
    good = np.isfinite(residuals)
    if not good.any():
      raise cli.UserError('No face fits the known points; check the pairs of --known.')
    found, errors = landmark_search.find_vertices(
      model, params[good], points[good], visible[good]
    )
    ids = np.where(fixed, ids, found)
    print(
      f'fit {number + 1}: mean residual of {len(used)} points '
      f'{100 * residuals[good].mean():.2f} % of the face',
      file=sys.stderr,
    )
  return ids, errors


def _known(pairs, count):
  """The pairs of --known: {point from 0: iBUG number from 0}."""
  try:
    given = [
      (int(a) - 1, int(b) - 1) for a, b in (pair.split(':') for pair in pairs or [])
    ]
  except ValueError as error:
    raise cli.UserError(
      f'--known={",".join(pairs)} is not a list of pairs; write pairs such as '
      '1:18,2:20.'
    ) from error
  known = dict(given)
  if len(known) < len(given) or len(set(known.values())) < len(known):
    raise cli.UserError(
      f'--known={",".join(pairs)} has a point or an iBUG number twice; give each point '
      'one number of its own.'
    )
  if len(known) < 6 or not all(
    0 <= a < count and 0 <= b < 68 for a, b in known.items()
  ):
    raise cli.UserError(
      f'--known needs six pairs at least, of a point from 1 to {count} and an iBUG '
      'number from 1 to 68.'
    )
  return known


if __name__ == '__main__':
  cli.start(main)
