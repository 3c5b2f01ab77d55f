"""Opens the sets of synthetic faces that the flags name."""

from collections.abc import Callable, Sequence
import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from experiments.lib import terminal
from pifa_jax.datasets import (
  crop_cache,
  hair_binding,
  hair_mesh_files,
  photo_backgrounds,
  synthetic,
)
from pifa_jax.face_models import (
  face_model_hash,
  hair_helper,
  load_expression_units,
  load_face_model,
)
from pifa_jax.geometry import fitting, projection
from pifa_jax.settings import part, same_setting, setting
from pifa_jax.synthesis.hair_meshes import HairMeshes
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import MorphableModel

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class SyntheticFaces:
  """What synthetic training faces show; each field has its own help."""

  renderer: str = same_setting(synthetic.SyntheticConfig, 'renderer')
  ablate: tuple[str, ...] = setting(
    (),
    'Fields of `Ingredients` that synthetic training faces are rendered without, to '
    'see what each is worth, such as hair,background; test faces keep them all.',
  )
  face_distribution: tuple[str, ...] = setting(
    (),
    'Fields of `FaceDistribution` with values other than the usual ones, for synthetic '
    'training faces, such as yaw_max:45,smile:0; test faces keep the usual ones.',
  )
  backgrounds: str | None = setting(
    None,
    'Folder of photos without people: parts of them are behind half of the synthetic '
    'training faces of --renderer=full.',
    is_path=True,
  )
  hair_meshes: str | None = setting(
    None,
    "Folder of MakeHuman's hair, .mhclo and .obj files: a share of the synthetic "
    'training faces of --renderer=full wear one of them. CC0 ones are in '
    'github.com/makehumancommunity/makehuman-assets, base/hair, revision 8cf9645b97.',
    is_path=True,
  )
  render_face_model: str | None = setting(
    None,
    'Face model that synthetic faces show, as --face_model takes it; default: that of '
    '--face_model. With another one, P of --face_model is fitted to their landmarks.',
    is_path=True,
  )


@dataclasses.dataclass(frozen=True)
class SyntheticSettings:
  """The sets of synthetic faces; each field has its own help."""

  faces: SyntheticFaces = part()
  num_train: int = setting(8000, 'Synthetic training faces.', low=2)
  num_test: int = setting(512, 'Synthetic test faces.', low=1)
  data_seed: int = setting(0, 'Seed of the synthetic faces.', low=0)

  def seed(self, split: str) -> int:
    """The seed of a split: test faces are not further along the training faces.

    Args:
      split: 'train' or 'test'.

    Returns:
      The seed of `synthetic.generate`.
    """
    return 2 * self.data_seed + (split == 'test')


def generator_config(
  faces: SyntheticFaces, split: str = 'train', **changes: Any
) -> synthetic.SyntheticConfig:
  """How the faces of a split are rendered.

  Args:
    faces: what training faces show.
    split: train, or test: faces of the usual poses and shapes with all ingredients.
    **changes: other fields of `SyntheticConfig`.

  Returns:
    The configuration of the generator.

  Raises:
    ValueError: if --ablate or --face_distribution name what does not exist.
  """
  train = split == 'train'
  ablate = faces.ablate if train else ()
  distribution = faces.face_distribution if train else ()
  if faces.renderer == 'plain':
    if ablate:
      raise ValueError(
        f'--ablate={",".join(ablate)} leaves out ingredients of --renderer=full; the '
        'plain renderer has none.'
      )
    config = synthetic.plain_config(**changes)
  else:
    try:
      ingredients = Ingredients().ablate(ablate)
    except ValueError as error:
      raise ValueError(f'--ablate={",".join(ablate)}: {error}') from None
    config = synthetic.SyntheticConfig(
      renderer='full', ingredients=ingredients, **changes
    )
  try:
    changed = config.face_distribution.changed(_fields(distribution))
  except ValueError as error:
    raise ValueError(f'--face_distribution={",".join(distribution)}: {error}') from None
  return dataclasses.replace(config, face_distribution=changed)


def _fields(pairs: Sequence[str]) -> dict[str, float]:
  """name:number pairs -> a dict."""
  found = {}
  for pair in pairs:
    name, _, value = pair.partition(':')
    if name.strip() in found:
      raise ValueError(f'{name.strip()} stands there twice; give it one value.')
    try:
      found[name.strip()] = float(value)
    except ValueError:
      raise ValueError(
        f'{pair!r} is not a field and its value, such as yaw_max:45.'
      ) from None
  return found


def set_name(faces: SyntheticFaces) -> str:
  """Names a test set: results of different sets go into different folders.

  Args:
    faces: what the faces of the set show.

  Returns:
    'synthetic', and what differs from the usual renderer and face model.
  """
  name = ['synthetic']
  if faces.renderer != 'full':
    name.append(faces.renderer)
  if faces.render_face_model:
    name.append(os.path.basename(faces.render_face_model).removesuffix('.npz'))
  return '_'.join(name)


def open_split(
  model: MorphableModel,
  face_model: str,
  settings: SyntheticSettings,
  split: str,
  cache_dir: str,
  log: Log,
  *,
  shape: crop_cache.CropShape = crop_cache.USUAL_SHAPE,
) -> crop_cache.CropCache:
  """Opens a set of synthetic faces, rendering it first if need be.

  Args:
    model: the face model of P.
    face_model: its name or path.
    settings: the sets.
    split: train or test.
    cache_dir: folder of the cached crops.
    log: prints a sentence for the user.
    shape: of the cached crops.

  Returns:
    The set.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  faces = settings.faces
  config = generator_config(faces, split, **shape._asdict())
  count = settings.num_train if split == 'train' else settings.num_test
  shown = faces.render_face_model or face_model
  others = shown != face_model
  rendered = load_face_model(shown) if others else model
  units = load_expression_units(shown)
  files = background_files(faces, split)
  hair, hair_hash = read_hair(faces, rendered, shown, log, split)
  config_key = dataclasses.asdict(config)
  key: dict[str, Any] = {
    'data': 'synthetic',
    'config': config_key,
    'seed': settings.seed(split),
    'count': count,
    'version': synthetic.VERSION,
    'face_model': face_model_hash(rendered),
    'expression_units': {name: value.tolist() for name, value in units.items()},
  }
  if others:
    key['fitted'] = face_model_hash(model)
  if files:
    key['backgrounds'] = crop_cache.fingerprint(files)
  if hair is None:
    # Faces without meshes are what they were before there were any.
    config_key['ingredients'].pop('hair_meshes')
  else:
    key['hair_meshes'] = {'files': hair_hash, 'version': hair_binding.VERSION}

  def build():
    photos = read_backgrounds(files, log)
    log(f'Rendering {count} {split} faces ...')
    arrays = synthetic.generate(
      rendered,
      config,
      seed=settings.seed(split),
      start=0,
      count=count,
      expression_units=units,
      photos=photos,
      hair=hair,
      progress=log,
    )
    arrays['residuals'] = np.zeros(count, np.float32)
    if others:
      _fit_params(model, arrays)
    return {**arrays, 'names': [f'{split}/{i}' for i in range(count)]}, []

  return crop_cache.open_or_build(cache_dir, key, build)


def _fit_params(model, arrays):
  """Replaces P of the rendered face model by that of another one."""
  arrays['poses'] = projection.pose_degrees(arrays['params'])
  # Hidden landmarks, too, are where the image has them.
  everywhere = np.ones_like(arrays['visible'])
  arrays['params'], arrays['residuals'] = fitting.fit_faces(
    model, arrays['landmarks'], everywhere, scheme=synthetic.SCHEME
  )


def background_files(faces: SyntheticFaces, split: str = 'train') -> list[pathlib.Path]:
  """The photos that --backgrounds names; none for test faces.

  Args:
    faces: what training faces show.
    split: train or test.

  Returns:
    Their paths.

  Raises:
    FileNotFoundError: if the folder has none.
    ValueError: if the renderer has no use for them.
  """
  if not faces.backgrounds or split != 'train':
    return []
  if faces.renderer == 'plain':
    raise ValueError(
      f'--backgrounds={faces.backgrounds} needs --renderer=full; the plain renderer '
      'has simple backgrounds only.'
    )
  try:
    return photo_backgrounds.list_backgrounds(faces.backgrounds)
  except FileNotFoundError as error:
    raise FileNotFoundError(f'--backgrounds={faces.backgrounds}: {error}') from None


def read_backgrounds(files: list[pathlib.Path], log: Log) -> np.ndarray | None:
  """Squares cut from photos, see `photo_backgrounds`.

  Args:
    files: of `background_files`.
    log: prints a sentence for the user.

  Returns:
    (N, P, P, 3) uint8; None for no files.

  Raises:
    ValueError: if none of the files can be used.
  """
  if not files:
    return None
  squares, rejects = photo_backgrounds.read_backgrounds(files)
  log(
    f'Squares for the backgrounds: {len(squares)}, of photos: '
    f'{len(files) - len(rejects)} of {len(files)}'
    + ''.join(
      '\n  ' + terminal.printable(f'{r.name}: {r.reason}') for r in rejects[:10]
    )
  )
  return squares


def read_hair(
  faces: SyntheticFaces,
  model: MorphableModel,
  face_model: str,
  log: Log,
  split: str = 'train',
) -> tuple[HairMeshes | None, str]:
  """The hair that --hair_meshes names; none for test faces.

  Args:
    faces: what training faces show.
    model: the face model that is rendered.
    face_model: its name or path.
    log: prints a sentence for the user.
    split: train or test.

  Returns:
    The hair, bound to the model, or None; and what identifies the files' contents.

  Raises:
    FileNotFoundError: if the folder has none, or an .obj is missing.
    ValueError: if a file is damaged, the face model is not MakeHuman's, or the renderer
      has no use for hair.
  """
  if not faces.hair_meshes or split != 'train':
    return None, ''
  flag = f'--hair_meshes={faces.hair_meshes}'
  if faces.renderer == 'plain':
    raise ValueError(f'{flag} needs --renderer=full; the plain renderer has no hair.')
  try:
    files, contents = hair_mesh_files.read_all(
      hair_mesh_files.list_hair(faces.hair_meshes)
    )
    base = hair_helper.load_base_vertices(face_model)
    hair = hair_binding.bind(files, model, base)
  except FileNotFoundError as error:
    raise FileNotFoundError(f'{flag}: {error}') from None
  except ValueError as error:
    raise ValueError(f'{flag}: {error}') from None
  log(f'Hair: {", ".join(one.name for one in files)}.')
  return hair, contents
