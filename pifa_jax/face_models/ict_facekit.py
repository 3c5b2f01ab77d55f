"""ICT-FaceKit: a folder of .obj files, one a shape -> our model.

  FaceXModel/generic_neutral_mesh.obj, identity000.obj ..., <expression>.obj ...,
  vertex_indices.json ("expressions", "idx_to_landmark_verts")

Every mode is a whole mesh: the neutral one moved by one standard deviation, or by
the full expression. Centimetres. Of the mesh face, head, neck, the insides of mouth
and eyes, and the eyeballs are kept; gums, teeth, tears and lashes are not.
"""

import os
import pathlib

import numpy as np

from pifa_jax.face_models import conversion, eyes
from pifa_jax.files import formats
from pifa_jax.types import MorphableModel

# Vertex groups in ICT-FaceKit's README. "Left" there is the person's.
_FACE, _HEAD, _ALL = 9_409, 11_248, 26_719
_GROUPS = {
  'mouth_inside': (11_248, 13_294),
  'eye_sockets': (13_294, 14_062),
  'eyeball_right': (21_451, 23_021),
  'eyeball_left': (23_021, 24_591),
}
_PER_MM = 0.1


def convert_ict(folder: str | os.PathLike[str]) -> MorphableModel:
  """Reads the folder FaceXModel of ICT-FaceKit, light or full.

  Args:
    folder: as above.

  Returns:
    The model: as many identities and expressions as there are files; the
    visualization layer draws the face.

  Raises:
    FileNotFoundError: if the neutral mesh or the indices are missing.
    ValueError: if a file is damaged or of another mesh.
  """
  folder, known, landmarks, identities, expressions = _open(folder)
  mean, quads = read_obj(known['generic_neutral_mesh'])

  def modes(stems):
    found = []
    for stem in stems:
      vertices, _ = read_obj(known[stem])
      if len(vertices) != len(mean):
        raise ValueError(
          f'{known[stem]} has {len(vertices)} vertices, the neutral mesh {len(mean)}.'
        )
      found.append((vertices - mean)[kept])
    return np.stack(found)

  kept, parts = _kept(mean)
  new_id = np.full(len(mean), -1)
  new_id[kept] = np.arange(len(kept))
  triangles = new_id[
    np.concatenate(
      [np.asarray(q)[[0, i, i + 1]][None] for q in quads for i in range(1, len(q) - 1)]
    )
  ]
  triangles = triangles[(triangles >= 0).all(axis=1)]
  identity, expression = modes(identities), modes(expressions)
  return conversion.assemble(
    source=str(folder),
    units_per_mm=_PER_MM,
    mean=mean[kept],
    identity=identity,
    identity_stddev=np.ones(len(identity)),
    expression=expression,
    # Coefficients of expressions lie in [0, 1]: as wide as the uniform
    # distribution on it about 0.
    expression_stddev=np.full(len(expression), 3**-0.5),
    triangles=triangles,
    landmarks=np.array(landmarks),
    rendered=np.arange(min(_FACE, len(kept))),
    parts={name: new_id[ids] for name, ids in parts.items()},
  )


def expression_units(folder: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Single facial actions of `convert_ict`'s model: its bases, by their usual names.

  Args:
    folder: FaceXModel.

  Returns:
    name, as Apple's ARKit spells it ('eyeBlinkLeft' for eyeBlink_L) -> (N_E,)
    coefficients, see `load_expression_units`.

  Raises:
    FileNotFoundError, ValueError: see `convert_ict`.
  """
  names = _open(folder)[-1]
  spelt = [
    name[:-2] + {'_L': 'Left', '_R': 'Right'}[name[-2:]]
    if name.endswith(('_L', '_R'))
    else name
    for name in names
  ]
  return dict(zip(spelt, np.eye(len(names), dtype=np.float32), strict=True))


def _open(folder):
  """The folder, its meshes by name, landmarks, names of identities and expressions."""
  folder = pathlib.Path(folder)
  for name in ('generic_neutral_mesh.obj', 'vertex_indices.json'):
    if not (folder / name).is_file():
      raise FileNotFoundError(
        f'There is no {folder / name}; give the folder FaceXModel of ICT-FaceKit.'
      )
  content = formats.parse_json((folder / name).read_bytes(), name)
  landmarks, expressions = (
    content.get('idx_to_landmark_verts'),
    content.get('expressions'),
  )
  if (
    not isinstance(landmarks, list)
    or not isinstance(expressions, list)
    or not all(isinstance(i, int) for i in landmarks)
    or not all(isinstance(e, str) for e in expressions)
  ):
    raise ValueError(
      f'{folder / name} lacks the lists "idx_to_landmark_verts" and "expressions".'
    )
  known = {path.stem: path for path in sorted(folder.glob('*.obj'))}
  identities = [stem for stem in known if stem.startswith('identity')]
  expressions = [stem for stem in expressions if stem in known]
  if not identities or not expressions:
    raise ValueError(
      f'{folder} holds {len(identities)} identity and '
      f'{len(expressions)} expression meshes; at least one of each is '
      'needed.'
    )
  return folder, known, landmarks, identities, expressions


def _kept(mean):
  """Ids of the vertices that are kept, and the parts that groups of them are."""
  if len(mean) != _ALL:  # a mesh cut after the head, without the groups
    return np.arange(min(_HEAD, len(mean))), {}
  parts = {name: np.arange(*span) for name, span in _GROUPS.items()}
  kept = np.concatenate([np.arange(_HEAD), *parts.values()])
  return kept, {
    **parts,
    **eyes.eye_regions(mean, parts['eyeball_left'], parts['eyeball_right']),
  }


def read_obj(path: str | os.PathLike[str]) -> tuple[np.ndarray, list[list[int]]]:
  """Vertices and polygons of a Wavefront .obj.

  Args:
    path: the file; what is neither "v" nor "f" is passed over.

  Returns:
    (Q, 3) float64, and lists of 0-based vertex ids.

  Raises:
    ValueError: if a line cannot be read, or a polygon names no vertex.
  """
  path = pathlib.Path(path)
  vertices, polygons = [], []
  with open(path, encoding='utf-8', errors='replace') as file:
    for number, line in enumerate(file, start=1):
      parts = line.split()
      try:
        if parts[:1] == ['v']:
          vertices.append([float(x) for x in parts[1:4]])
          if len(vertices[-1]) != 3 or not np.all(np.isfinite(vertices[-1])):
            raise ValueError
        elif parts[:1] == ['f']:
          polygons.append([int(p.split('/')[0]) - 1 for p in parts[1:]])
          if len(polygons[-1]) < 3:
            raise ValueError
      except ValueError as error:
        raise ValueError(
          f'{path}, line {number}: {line.strip()[:60]!r} is not a vertex or a polygon.'
        ) from error
  ids = [i for polygon in polygons for i in polygon]
  if not vertices or not ids or min(ids) < 0 or max(ids) >= len(vertices):
    raise ValueError(
      f'{path} is not a mesh: {len(vertices)} vertices, and polygons that name others.'
    )
  return np.array(vertices), polygons
