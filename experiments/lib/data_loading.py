"""The flags that name a data set, and what they open."""

import dataclasses
import os
import pathlib
from typing import Callable

from absl import flags
import numpy as np

from pifa_jax.datasets import (
  crop_cache,
  label_fitting,
  photo_backgrounds,
  registry,
  synthetic,
  tfds_records,
)
from pifa_jax.datasets.samples import SampleSet
from pifa_jax.face_models import (
  face_model_hash,
  load_expression_units,
  load_face_model,
  load_landmark_ids,
)
from pifa_jax.geometry import fitting, projection
from pifa_jax.synthesis.ingredients import Ingredients
from pifa_jax.types import MorphableModel

Log = Callable[[str], None]

flags.DEFINE_enum(
  'dataset',
  'synthetic',
  sorted(registry.DATASETS) + ['synthetic'],
  'What to train and evaluate on.',
)
flags.DEFINE_string(
  'data_dir',
  None,
  'Folder of the data set, as its authors distribute it; not needed for synthetic.',
)
flags.DEFINE_string(
  'tfds_dir',
  None,
  'Read the data set through TensorFlow '
  'Datasets from this folder; the records are made from --data_dir '
  'if they are not there.',
)
flags.DEFINE_string(
  'cache_dir',
  os.path.join(
    os.environ.get('XDG_CACHE_HOME', os.path.expanduser('~/.cache')), 'pifa_jax'
  ),
  'Where cached crops are kept from run to run; may be deleted at any time.',
)
flags.DEFINE_string(
  'face_model', 'builtin-1', 'builtin, builtin-1, builtin-2 (subdivided), or an .npz.'
)
flags.DEFINE_string(
  'landmark_scheme',
  'auto',
  'A landmark scheme of the face model, a file of '
  'vertex ids (one a line), or auto: the one that fits the labels best.',
)
flags.DEFINE_boolean(
  'exact_params',
  False,
  '300W-LP: take P from the data set '
  'instead of fitting it; --face_model must be the Basel model.',
)
flags.DEFINE_integer('num_train', 8000, 'Synthetic training faces.', lower_bound=2)
flags.DEFINE_integer('num_test', 512, 'Synthetic test faces.', lower_bound=1)
flags.DEFINE_enum(
  'renderer',
  'full',
  synthetic.RENDERERS,
  'Synthetic faces: full = like photos; plain = flat colours, learnt in minutes.',
)
flags.DEFINE_list(
  'ablate',
  [],
  'Ingredients of `Ingredients` that synthetic training '
  'faces are drawn without, to see what each is worth, such as '
  'hair,background; test faces keep them all.',
)
flags.DEFINE_list(
  'face_distribution',
  [],
  'Other poses and shapes of the synthetic training '
  'faces than the usual ones: fields of `FaceDistribution` with their values, '
  'such as yaw_max:45,smile:0; test faces keep the usual ones.',
)
flags.DEFINE_string(
  'backgrounds',
  None,
  'Folder of photos without people: parts '
  'of them are behind half of the synthetic training faces of '
  '--renderer=full.',
)
flags.DEFINE_string(
  'render_face_model',
  None,
  'Whom synthetic faces show: a face model as '
  '--face_model takes it. Default: the people of --face_model. With '
  'others, P of --face_model is fitted to their landmarks.',
)
flags.DEFINE_integer('data_seed', 0, 'Of the synthetic faces.', lower_bound=0)
flags.DEFINE_float(
  'validation',
  0.05,
  'Share of the training set that is held out to choose the best checkpoint.',
  lower_bound=0.0,
  upper_bound=0.5,
)


@dataclasses.dataclass(frozen=True)
class TrainingData:
  """A data set ready for training.

  Attributes:
    name: of the data set, a value of --dataset.
    model: the face model, with the data set's landmark scheme in it.
    face_model_hash: of its arrays and that scheme.
    scheme: name of the landmark scheme.
    crops: the training set.
    train_ids: rows to train on.
    validation_ids: rows held out, evenly spread; no photo is in both.
  """

  name: str
  model: MorphableModel
  face_model_hash: str
  scheme: str
  crops: crop_cache.CropCache
  train_ids: np.ndarray
  validation_ids: np.ndarray


@dataclasses.dataclass(frozen=True)
class TestData:
  """A data set ready for evaluation.

  Attributes:
    name: value of --dataset, and the look if it is not the usual one: results of
      different sets go into different folders.
    title: for result lines: data set and split.
    kind: 'real' or 'synthetic'.
    crops: the set.
    box_noise: share of their size by which evaluation perturbs the boxes; None =
      it takes them as they are.
    box_rule: where the boxes come from, for result lines.
    hidden_is_labelled: whether visibility can be scored.
    hidden_is_placed: whether the labels say where hidden landmarks are.
  """

  name: str
  title: str
  kind: str
  crops: crop_cache.CropCache
  box_noise: float | None
  box_rule: str
  hidden_is_labelled: bool
  hidden_is_placed: bool = False

  @property
  def num_rejected(self) -> int:
    """Samples that could not be used."""
    return len(self.crops.rejects)


def open_training(log: Log, *, margin: float = crop_cache.MARGIN) -> TrainingData:
  """Opens the training set that the flags name, cropping it first if need be.

  Args:
    say: prints a sentence for the user.
    margin: side of the cached crops over side of the boxes.

  Returns:
    The data set.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  f = flags.FLAGS
  model = load_face_model(f.face_model)
  if f.dataset == 'synthetic':
    scheme, found = 'ibug68', _synthetic(model, f, 'train', log, margin)
  else:
    data = registry.DATASETS[f.dataset]
    if 'train' not in data.splits:
      raise ValueError(
        f'{data.title} is for evaluation alone; train on another --dataset.'
      )
    model, scheme = scheme_of(model, f, 'train', log)
    found = open_real(model, scheme, 'train', log, margin=margin)
  held_out = _held_out(found.groups, f.validation)
  return TrainingData(
    name=f.dataset,
    model=model,
    face_model_hash=face_model_hash(model, scheme),
    scheme=scheme,
    crops=found,
    train_ids=np.where(~held_out)[0],
    validation_ids=np.where(held_out)[0],
  )


def open_test(
  model: MorphableModel,
  scheme: str | None,
  log: Log,
  *,
  split: str = 'test',
  margin: float = crop_cache.MARGIN,
) -> TestData:
  """Opens the test set that the flags name, cropping it first if need be.

  Args:
    model: the face model.
    scheme: of the labels, for the pose that P shows; None = the set's labels are
      not vertices of the model.
    say: prints a sentence for the user.
    split: of the data set.
    margin: side of the cached crops over side of the boxes.

  Returns:
    The data set.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  f = flags.FLAGS
  if f.dataset == 'synthetic':
    name = [
      'synthetic',
      *([f.renderer] if f.renderer != 'full' else []),
      *(
        [os.path.basename(f.render_face_model).removesuffix('.npz')]
        if f.render_face_model
        else []
      ),
    ]
    return TestData(
      name='_'.join(name),
      kind='synthetic',
      title=f'synthetic faces of {f.render_face_model or f.face_model} (synthetic, {f.renderer} '
      f'look, seed {f.data_seed}), test',
      crops=_synthetic(model, f, 'test', log, margin),
      box_noise=0.1,
      box_rule='box jitter +-10 %',
      hidden_is_labelled=True,
      hidden_is_placed=True,
    )
  data = registry.DATASETS[f.dataset]
  if split not in data.splits:
    raise ValueError(f'--split={split}: {data.title} has {", ".join(data.splits)}.')
  where = os.path.basename(os.path.normpath(f.data_dir or f.tfds_dir or ''))
  return TestData(
    name=f.dataset,
    title=f'{data.title} ({where}), {split}',
    kind='real',
    crops=open_real(model, scheme, split, log, margin=margin),
    box_noise=None,
    box_rule=data.box_rule,
    hidden_is_labelled=data.hidden_is_labelled,
  )


def validation_as_test(data: TrainingData) -> TestData:
  """The held-out rows, for a final score where there is no test set."""
  ids = data.validation_ids
  rows = data.crops
  part = dataclasses.replace(
    rows,
    **{
      field.name: getattr(rows, field.name)[ids]
      for field in dataclasses.fields(rows)
      if isinstance(getattr(rows, field.name), np.ndarray)
    },
    names=[rows.names[i] for i in ids],
    groups=[rows.groups[i] for i in ids],
  )
  return TestData(
    name=data.name,
    title=f'{registry.DATASETS[data.name].title}, validation',
    kind='real',
    crops=part,
    box_noise=None,
    box_rule=registry.DATASETS[data.name].box_rule,
    hidden_is_labelled=False,
  )


def _held_out(groups, share):
  """Which rows are for validation: evenly spread groups, one at least."""
  names = list(dict.fromkeys(groups))
  wanted = max(1, round(share * len(names)))
  chosen = {names[i] for i in np.linspace(0, len(names) - 1, wanted).astype(int)}
  return np.array([group in chosen for group in groups])


def synthetic_config(
  f: flags.FlagValues, split: str = 'train', **changes
) -> synthetic.SyntheticConfig:
  """The distribution of the built-in faces that the flags name.

  Args:
    f: the flags.
    split: train, or test: faces of the usual poses and shapes, on which nothing is
      left out.
    **changes: other fields of `SyntheticConfig`.

  Raises:
    ValueError: if --ablate names what is not there to be left out, or --face_distribution
      what a population does not have.
  """
  ablate, face_distribution = (
    (f.ablate, f.face_distribution) if split == 'train' else ([], [])
  )
  if f.renderer == 'plain':
    if ablate:
      raise ValueError(
        f'--ablate={",".join(ablate)} leaves something out of '
        '--renderer=full; the plain renderer has none of it.'
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
    return dataclasses.replace(
      config,
      face_distribution=config.face_distribution.changed(_fields(face_distribution)),
    )
  except ValueError as error:
    raise ValueError(
      f'--face_distribution={",".join(face_distribution)}: {error}'
    ) from None


def _fields(pairs):
  """name:number pairs -> a dict."""
  found = {}
  for pair in pairs:
    name, _, value = pair.partition(':')
    try:
      found[name.strip()] = float(value)
    except ValueError:
      raise ValueError(
        f'{pair!r} is not a field and its value, such as yaw_max:45.'
      ) from None
  return found


def _synthetic(model, f, split, log, margin=crop_cache.MARGIN):
  # More margin at the same size of a face.
  size = round(crop_cache.IMAGE_SIZE * margin / crop_cache.MARGIN)
  config = synthetic_config(f, split, image_size=size, margin=margin)
  count = f.num_train if split == 'train' else f.num_test
  # Test faces come from a seed of their own, not from further along the same.
  seed = 2 * f.data_seed + (split == 'test')
  others = f.render_face_model not in (None, f.face_model)
  rendered = load_face_model(f.render_face_model) if others else model
  units = load_expression_units(f.render_face_model if others else f.face_model)
  files = background_files(f, split)
  key = {
    'data': 'synthetic',
    'config': dataclasses.asdict(config),
    'seed': seed,
    'count': count,
    'version': synthetic.VERSION,
    'face_model': face_model_hash(rendered),
    'expression_units': {name: value.tolist() for name, value in units.items()},
  }
  if others:
    key['fitted'] = face_model_hash(model)
  if files:
    key['backgrounds'] = crop_cache.fingerprint(files)

  def build():
    photos = read_backgrounds(files, log)
    log(f'Drawing {count} {split} faces ...')
    arrays = synthetic.generate(
      rendered,
      config,
      seed=seed,
      start=0,
      count=count,
      expression_units=units,
      photos=photos,
      progress=log,
    )
    arrays['residuals'] = np.zeros(count, np.float32)
    if others:
      # Hidden landmarks, too, are where the drawing has them.
      arrays['poses'] = projection.pose_degrees(arrays['params'])
      arrays['params'], arrays['residuals'] = fitting.fit_faces(
        model,
        arrays['landmarks'],
        np.ones_like(arrays['visible']),
        scheme=synthetic.SCHEME,
      )
    return {**arrays, 'names': [f'{split}/{i}' for i in range(count)]}, []

  return crop_cache.open_or_build(f.cache_dir, key, build)


def background_files(f: flags.FlagValues, split: str = 'train') -> list[pathlib.Path]:
  """The photos that --backgrounds names; none for test faces.

  Args:
    f: the flags.
    split: train or test.

  Raises:
    FileNotFoundError: if there are none.
    ValueError: if the look has no use for them.
  """
  if not f.backgrounds or split != 'train':
    return []
  if f.renderer == 'plain':
    raise ValueError(
      f'--backgrounds={f.backgrounds} needs --renderer=full; the plain '
      'look has simple grounds only.'
    )
  try:
    return photo_backgrounds.list_backgrounds(f.backgrounds)
  except FileNotFoundError as error:
    raise FileNotFoundError(f'--backgrounds={f.backgrounds}: {error}') from None


def read_backgrounds(files: list[pathlib.Path], log: Log) -> np.ndarray | None:
  """Squares of the photos, see `photo_backgrounds`; None for no files.

  Args:
    files: of `background_files`.
    say: prints a sentence for the user.

  Raises:
    ValueError: if none of the files can be used.
  """
  if not files:
    return None
  squares, rejects = photo_backgrounds.read_backgrounds(files)
  log(
    f'Squares for the backgrounds: {len(squares)}, of photos: '
    f'{len(files) - len(rejects)} of {len(files)}'
    + ''.join(f'\n  {r.name}: {r.reason}' for r in rejects[:10])
  )
  return squares


def scheme_of(
  model: MorphableModel, f: flags.FlagValues, split: str, log: Log
) -> tuple[MorphableModel, str]:
  """The landmark scheme of the labels of a data set.

  Args:
    model: the face model.
    f: the flags.
    split: to look at, if the scheme has to be found.
    say: prints a sentence for the user.

  Returns:
    The model, with the scheme in it, and the scheme's name.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  if os.path.isfile(f.landmark_scheme):
    ids = load_landmark_ids(f.landmark_scheme, num_vertices=model.num_vertices)
    name = os.path.splitext(os.path.basename(f.landmark_scheme))[0]
    schemes = {**model.landmark_schemes, name: ids}
    return model.replace(landmark_schemes=schemes), name
  name = f.landmark_scheme
  if name == 'auto':
    name = registry.DATASETS[f.dataset].scheme
  if name is not None:
    if name not in model.landmark_schemes:
      raise ValueError(
        f'--landmark_scheme={name} is neither a file nor a scheme of the face '
        f'model, which has {", ".join(model.landmark_schemes)}.'
      )
    return model, name
  samples = read(f, split).samples
  if not samples:
    raise ValueError(f'{f.data_dir} holds no face that can be used.')
  some = [
    samples[i]
    for i in np.unique(
      np.linspace(0, len(samples) - 1, min(128, len(samples))).astype(int)
    )
  ]
  name, residuals = label_fitting.choose_scheme(
    model, np.stack([s.landmarks for s in some]), np.stack([s.visible for s in some])
  )
  log(
    f'Landmark scheme {name} (median residual of the fit, % of the face: '
    + ', '.join(f'{n} {100 * r:.2f}' for n, r in residuals.items())
    + ').'
  )
  return model, name


def read(
  f: flags.FlagValues, split: str, *, model: MorphableModel | None = None
) -> SampleSet:
  """Reads a split of the data set that the flags name.

  Args:
    f: the flags.
    split: of the data set.
    model: the Basel model, for samples with their exact P; None = without.

  Returns:
    The split.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  if f.tfds_dir:
    return tfds_records.read(f.dataset, f.tfds_dir, f.data_dir, split, model=model)
  return registry.read(f.dataset, f.data_dir, split, model=model)


def open_real(
  model: MorphableModel,
  scheme: str | None,
  split: str,
  log: Log,
  *,
  margin: float = crop_cache.MARGIN,
) -> crop_cache.CropCache:
  """Crops and fits what the flags name, unless that was done; says what came of it.

  Args:
    model: the face model.
    scheme: of the labels; None = P is not fitted.
    split: of the data set.
    say: prints a sentence for the user.
    margin: side of the crops over side of the boxes.

  Returns:
    The cropped split.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  f, found = flags.FLAGS, None
  if f.tfds_dir:
    # Makes the records if need be, so that there are files to look at.
    found = read(f, split, model=model if f.exact_params else None)
    files = tfds_records.files(f.dataset, f.tfds_dir)
  else:
    files = registry.DATASETS[f.dataset].files(f.data_dir, split)
  key = {
    'data': f.dataset,
    'split': split,
    'margin': margin,
    'face_model': face_model_hash(model),
    'exact': f.exact_params,
    'image_size': round(crop_cache.IMAGE_SIZE * margin / crop_cache.MARGIN),
    'scheme': (
      None if scheme is None else [int(i) for i in model.landmark_schemes[scheme]]
    ),
    'files': crop_cache.fingerprint(files),
  }

  def build():
    samples = found or read(f, split, model=model if f.exact_params else None)
    for note in samples.notes:
      log(note)
    total = len(samples.samples) + len(samples.rejects)
    problem = registry.count_problem(f.dataset, split, total)
    if problem:
      log(f'Note: {problem}')
    log(f'Cropping {len(samples.samples)} {split} photos ...')
    arrays, more = crop_cache.crop_samples(
      samples.samples,
      model,
      scheme=scheme,
      exact=f.exact_params,
      image_size=key['image_size'],
      margin=margin,
    )
    rejects = samples.rejects + more
    fit = (
      ''
      if scheme is None
      else f'mean residual of P {100 * arrays["residuals"].mean():.2f} % of the face, '
    )
    log(
      f'{split}: {len(arrays["names"])} faces, {fit}{len(rejects)} rejected'
      + ''.join(f'\n  {r.name}: {r.reason}' for r in rejects[:10])
    )
    return arrays, rejects

  return crop_cache.open_or_build(f.cache_dir, key, build)
