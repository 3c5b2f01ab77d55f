"""Opens the data set that the flags name, for training and for evaluation."""

from collections.abc import Callable
import dataclasses
import os
from typing import Any

from absl import flags
import numpy as np

from experiments.lib import derived_flags, synthetic_data, terminal
from pifa_jax.datasets import crop_cache, label_fitting, registry, tfds_records
from pifa_jax.datasets.samples import MissingSplitError, SampleSet
from pifa_jax.face_models import face_model_hash, load_face_model, load_landmark_ids
from pifa_jax.files import formats
from pifa_jax.settings import part, setting
from pifa_jax.types import MorphableModel

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class DataSettings:
  """Which data, which labels and which face model; each field has its own help."""

  dataset: str = setting(
    'synthetic',
    'What to train and evaluate on.',
    choices=(*sorted(registry.DATASETS), 'synthetic'),
  )
  data_dir: str | None = setting(
    None,
    'Folder of the data set, as its authors distribute it; not needed for synthetic.',
    is_path=True,
  )
  tfds_dir: str | None = setting(
    None,
    'Read the data set through TensorFlow Datasets from this folder; the records are '
    'made from --data_dir if they are not there.',
    is_path=True,
  )
  cache_dir: str = setting(
    os.path.join(
      os.environ.get('XDG_CACHE_HOME', os.path.expanduser('~/.cache')), 'pifa_jax'
    ),
    'Where cached crops and compiled programs are kept from run to run; may be deleted '
    'at any time.',
    is_path=True,
  )
  face_model: str = setting(
    'builtin-1', 'builtin, builtin-1, builtin-2 (subdivided), or an .npz.', is_path=True
  )
  landmark_scheme: str = setting(
    'auto',
    'A landmark scheme of the face model, a file of vertex ids (one a line), or auto: '
    'the one that fits the labels best.',
    is_path=True,
  )
  exact_params: bool = setting(
    False,
    '300W-LP: take P from the data set instead of fitting it; --face_model must be the '
    'Basel model.',
  )
  validation: float = setting(
    0.05,
    'Share of the training set that is held out to choose the best checkpoint.',
    low=0.0,
    high=0.5,
  )
  hidden_points: str = setting(
    'auto',
    'How .pts and other plain label files mark hidden points: negative = (-x, -y), and '
    '(-1, -1) without a location (MERL-RAV); minus_one = (-1, -1) alone; none = '
    'negative numbers are points outside the photo; auto = as the files show by '
    'themselves.',
    choices=formats.HIDDEN_POINTS,
  )
  strict: bool = setting(
    False, 'Refuse a data set of which parts are missing, instead of saying so.'
  )
  check_labels: bool = setting(
    True,
    'Leave training photos out whose labels their own fit contradicts, such as '
    'mirrored photos whose left and right points were not exchanged.',
  )
  synthetic: synthetic_data.SyntheticSettings = part()


derived_flags.define(DataSettings)


def from_flags() -> DataSettings:
  """The data that the flags ask for."""
  return derived_flags.read(DataSettings, flags.FLAGS)


@dataclasses.dataclass(frozen=True)
class TrainingData:
  """A data set ready for training.

  Attributes:
    settings: what it was opened by.
    model: the face model, with the data set's landmark scheme in it.
    face_model_hash: of its arrays and that scheme.
    scheme: name of the landmark scheme.
    crops: the training set.
    train_ids: rows to train on.
    validation_ids: rows held out, evenly spread; no photo is in both. With
      --validation=0, all rows are for training, and some of them stand here.
  """

  settings: DataSettings
  model: MorphableModel
  face_model_hash: str
  scheme: str
  crops: crop_cache.CropCache
  train_ids: np.ndarray
  validation_ids: np.ndarray

  def facts(self) -> dict[str, Any]:
    """What a `RunConfig` records of the data, by the names of its fields."""
    synthetic = self.settings.dataset == 'synthetic'
    return {
      'dataset': self.settings.dataset,
      'landmark_scheme': self.scheme,
      'face_model': self.settings.face_model,
      'face_model_hash': self.face_model_hash,
      'data_hash': self.crops.content_hash,
      'validation': self.settings.validation,
      'synthetic': self.settings.synthetic.faces if synthetic else None,
    }


@dataclasses.dataclass(frozen=True)
class TestData:
  """A data set ready for evaluation.

  Attributes:
    name: value of --dataset, for synthetic faces `synthetic_data.set_name`.
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


_TEST_NOISE = 0.1  # of the boxes of synthetic test faces


def open_training(
  settings: DataSettings,
  log: Log,
  *,
  shape: crop_cache.CropShape = crop_cache.USUAL_SHAPE,
) -> TrainingData:
  """Opens a training set, cropping it first if need be.

  Args:
    settings: which.
    log: prints a sentence for the user.
    shape: of the cached crops.

  Returns:
    The data set.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  model = load_face_model(settings.face_model)
  if settings.dataset == 'synthetic':
    scheme = 'ibug68'
    found = _open_synthetic(model, settings, 'train', log, shape)
  else:
    data = registry.DATASETS[settings.dataset]
    if 'train' not in data.splits:
      raise ValueError(
        f'{data.title} is for evaluation alone; train on another --dataset.'
      )
    model, scheme = scheme_of(model, settings, 'train', log)
    found = open_real(model, scheme, settings, 'train', log, shape=shape)
  held_out = _held_out(found.groups, settings.validation)
  watched = held_out
  if not settings.validation:
    watched = _held_out(found.groups, _WATCHED)
    log(
      '--validation=0: no photo is held out; the validation error is of '
      f'{watched.sum()} training faces.'
    )
  elif held_out.all():
    raise ValueError(
      'The training set has one photo alone, and '
      f'--validation={settings.validation:g} holds it out: nothing is left to train '
      'on. Add photos, or say --validation=0 to train on all of them.'
    )
  return TrainingData(
    settings=settings,
    model=model,
    face_model_hash=face_model_hash(model, scheme),
    scheme=scheme,
    crops=found,
    train_ids=np.where(~held_out)[0],
    validation_ids=np.where(watched)[0],
  )


def open_test(
  model: MorphableModel,
  scheme: str | None,
  settings: DataSettings,
  log: Log,
  *,
  split: str = 'test',
  crop_scale: float = 1.0,
  noise: float | None = None,
) -> TestData:
  """Opens a test set, cropping it first if need be.

  Args:
    model: the face model.
    scheme: of the labels, for the pose that P shows; None = the set's labels are
      not vertices of the model.
    settings: which data set.
    log: prints a sentence for the user.
    split: of the data set.
    crop_scale: of the network (`NetworkConfig`), whose crops the cached ones hold.
    noise: of the boxes that they hold, too; None = that of the data set's test.

  Returns:
    The data set.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  if noise is None:
    noise = _TEST_NOISE if settings.dataset == 'synthetic' else 0.0
  margin = crop_cache.crop_shape(noise, noise, crop_scale=crop_scale).margin
  # As many pixels a face as without a wider crop: photos are sharp.
  shape = crop_cache.CropShape(
    round(crop_cache.IMAGE_SIZE * margin / crop_cache.MARGIN), margin
  )
  if settings.dataset == 'synthetic':
    faces = settings.synthetic.faces
    return TestData(
      name=synthetic_data.set_name(faces),
      kind='synthetic',
      title=f'synthetic faces of {faces.render_face_model or settings.face_model} '
      f'({faces.renderer} renderer, seed {settings.synthetic.data_seed}), test',
      crops=_open_synthetic(model, settings, 'test', log, shape),
      box_noise=_TEST_NOISE,
      box_rule=f'box jitter +-{100 * _TEST_NOISE:.0f} %',
      hidden_is_labelled=True,
      hidden_is_placed=True,
    )
  data = registry.DATASETS[settings.dataset]
  if split not in data.splits:
    raise ValueError(f'--split={split}: {data.title} has {", ".join(data.splits)}.')
  where = settings.data_dir or settings.tfds_dir or ''
  crops = open_real(model, scheme, settings, split, log, shape=shape)
  return TestData(
    name=settings.dataset,
    title=f'{data.title} ({os.path.basename(os.path.normpath(where))}), {split}'
    + _incomplete(crops),
    kind='real',
    crops=crops,
    box_noise=None,
    box_rule=data.box_rule,
    hidden_is_labelled=data.hidden_is_labelled,
  )


def _open_synthetic(model, settings, split, log, shape):
  return synthetic_data.open_split(
    model,
    settings.face_model,
    settings.synthetic,
    split,
    settings.cache_dir,
    log,
    shape=shape,
  )


def _incomplete(crops):
  """What a result line says of a data set that lacks something; '' if it is whole."""
  gaps = crops.meta.get('gaps')
  return f', incomplete: {", ".join(gaps)}' if gaps else ''


def test_or_validation(
  data: TrainingData, log: Log, *, crop_scale: float = 1.0
) -> TestData:
  """The test set that belongs to a training set, for a final score.

  Args:
    data: the training set.
    log: prints a sentence for the user.
    crop_scale: of the network.

  Returns:
    The split test if it is there, else the held-out rows, called so.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  name = data.settings.dataset
  if name == 'synthetic' or 'test' in registry.DATASETS[name].splits:
    try:
      return open_test(
        data.model, data.scheme, data.settings, log, crop_scale=crop_scale
      )
    except MissingSplitError as error:
      log(f'The final score is of the validation faces: {error}')
  return validation_as_test(data)


def validation_as_test(data: TrainingData) -> TestData:
  """The held-out rows, for a final score where there is no test set.

  Args:
    data: the training set, with its held-out rows.

  Returns:
    The held-out rows as a test set, with the same landmark scheme and face model.
  """
  ids = data.validation_ids
  rows = data.crops
  held_out = dataclasses.replace(
    rows,
    **{
      field.name: getattr(rows, field.name)[ids]
      for field in dataclasses.fields(rows)
      if isinstance(getattr(rows, field.name), np.ndarray)
    },
    names=[rows.names[i] for i in ids],
    groups=[rows.groups[i] for i in ids],
  )
  dataset = registry.DATASETS[data.settings.dataset]
  return TestData(
    name=data.settings.dataset,
    title=f'{dataset.title}, '
    + ('training faces' if np.isin(ids, data.train_ids).all() else 'validation')
    + _incomplete(rows),
    kind='real',
    crops=held_out,
    box_noise=None,
    box_rule=dataset.box_rule,
    hidden_is_labelled=False,
  )


# Share of the training photos that --validation=0 watches in place of others.
_WATCHED = 0.05


def _held_out(groups, share):
  """Which rows are for validation: evenly spread groups, one at least."""
  names = list(dict.fromkeys(groups))
  if not share:
    return np.zeros(len(groups), bool)
  wanted = max(1, round(share * len(names)))
  chosen = {names[i] for i in np.linspace(0, len(names) - 1, wanted).astype(int)}
  return np.array([group in chosen for group in groups])


def scheme_of(
  model: MorphableModel, settings: DataSettings, split: str, log: Log
) -> tuple[MorphableModel, str]:
  """The landmark scheme of the labels of a data set.

  Args:
    model: the face model.
    settings: which data set, and --landmark_scheme.
    split: to look at, if the scheme has to be found.
    log: prints a sentence for the user.

  Returns:
    The model, with the scheme in it, and the scheme's name.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  given = settings.landmark_scheme
  # A name means itself, also where a file is called so: ./auto is the file.
  if given not in ('auto', *model.landmark_schemes) and os.path.isfile(given):
    return scheme_of_file(model, given, log)
  name: str | None = given
  if name == 'auto':
    name = registry.DATASETS[settings.dataset].scheme
  if name is None:
    return model, _scheme_that_fits(model, settings, split, log)
  if name not in model.landmark_schemes and settings.landmark_scheme == 'auto':
    data = registry.DATASETS[settings.dataset]
    raise ValueError(
      f'The face model {settings.face_model} has no landmark scheme {name} for the '
      f'{data.points} points of {data.title}; give --landmark_scheme a file of their '
      'vertex ids, as experiments.find_landmarks writes it.'
    )
  if name not in model.landmark_schemes:
    raise ValueError(
      f'--landmark_scheme={name} is neither a file nor a scheme of the face model, '
      f'which has {", ".join(model.landmark_schemes)}.'
    )
  return model, name


def scheme_of_file(
  model: MorphableModel, path: str, log: Log
) -> tuple[MorphableModel, str]:
  """The landmark scheme of a file of vertex ids.

  Args:
    model: the face model.
    path: the file, one 0-based vertex id a line.
    log: prints a sentence for the user.

  Returns:
    The model, with the scheme in it, and the scheme's name: that of the file.

  Raises:
    ValueError: if the file holds no vertex ids, or other ones than the model under
      the name ibug68.
  """
  ids = load_landmark_ids(path, num_vertices=model.num_vertices)
  name = os.path.splitext(os.path.basename(path))[0]
  own = model.landmark_schemes.get(name)
  if own is not None and not np.array_equal(own, ids):
    if name == 'ibug68':
      raise ValueError(
        f'--landmark_scheme={path} has the name ibug68 but other vertices than the '
        'face model, which places the mean face in a box by them; rename the file.'
      )
    log(f'Note: {path} is used in place of the scheme {name} of the face model.')
  first: dict[int, int] = {}
  for point, vertex in enumerate(ids.tolist(), start=1):
    if vertex in first:
      log(f'Note: {path}: points {first[vertex]} and {point} are one vertex, {vertex}.')
    first.setdefault(vertex, point)
  return model.replace(landmark_schemes={**model.landmark_schemes, name: ids}), name


def _scheme_that_fits(model, settings, split, log):
  """The scheme that fits up to 128 faces of the set best."""
  found = read(settings, split)
  samples = found.samples
  if not samples:
    raise ValueError(_no_face(settings, split, found.rejects))
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
  return name


def _no_face(settings, split, rejects):
  sentence = (
    f'{settings.tfds_dir or settings.data_dir} holds no face of the split {split} that '
    'can be used'
  )
  if not rejects:
    return f'{sentence}.'
  first = f'{rejects[0].name}: {rejects[0].reason}'
  return f'{sentence}; {len(rejects)} cannot, the first: {first}.'


def read(
  settings: DataSettings, split: str, *, model: MorphableModel | None = None
) -> SampleSet:
  """Reads a split of a data set of photos.

  Args:
    settings: which data set.
    split: of the data set.
    model: the Basel model, for samples with their exact P; None = without.

  Returns:
    The split.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  hidden_points = settings.hidden_points
  if settings.tfds_dir:
    if hidden_points != 'auto':
      raise ValueError(
        f'--hidden_points={hidden_points} is for label files; leave --tfds_dir off.'
      )
    return tfds_records.read(
      settings.dataset, settings.tfds_dir, settings.data_dir, split, model=model
    )
  return registry.read(
    settings.dataset, settings.data_dir, split, model=model, hidden_points=hidden_points
  )


def open_real(
  model: MorphableModel,
  scheme: str | None,
  settings: DataSettings,
  split: str,
  log: Log,
  *,
  shape: crop_cache.CropShape = crop_cache.USUAL_SHAPE,
) -> crop_cache.CropCache:
  """Crops and fits a split of photos, unless that was done, and logs the outcome.

  Args:
    model: the face model.
    scheme: of the labels; None = P is not fitted.
    settings: which data set.
    split: of the data set.
    log: prints a sentence for the user.
    shape: of the cached crops.

  Returns:
    The cropped split.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  of_params = model if settings.exact_params else None
  source = {
    'data': settings.dataset,
    'split': split,
    'folder': os.path.abspath(settings.tfds_dir or settings.data_dir or ''),
    'tfds': bool(settings.tfds_dir),
    'hidden_points': settings.hidden_points,
  }
  found = None
  state = crop_cache.known_fingerprint(settings.cache_dir, source)
  if state is None:
    found = read(settings, split, model=of_params)
    state = crop_cache.remember_sources(settings.cache_dir, source, found.sources)
  keep_doubtful = split != 'train' or not settings.check_labels
  key = {
    'data': settings.dataset,
    'split': split,
    'margin': shape.margin,
    'face_model': face_model_hash(model),
    'exact': settings.exact_params,
    'image_size': shape.image_size,
    'scheme': (
      None if scheme is None else [int(i) for i in model.landmark_schemes[scheme]]
    ),
    'files': state,
    'hidden_points': settings.hidden_points,
    'keep_doubtful': keep_doubtful,
  }

  def build():
    samples = found or read(settings, split, model=of_params)
    if not samples.samples:
      raise ValueError(_no_face(settings, split, samples.rejects))
    gaps = registry.gaps(settings.dataset, split, samples)
    _refuse_gaps(settings, split, gaps)
    log(f'Cropping {len(samples.samples)} {split} faces ...')
    crops = crop_cache.crop_samples(
      samples.samples,
      model,
      scheme=scheme,
      exact=settings.exact_params,
      keep_doubtful=keep_doubtful,
      shape=shape,
    )
    arrays, rejects = crops.arrays, samples.rejects + crops.rejects
    _log_crops(split, arrays, rejects, scheme, log)
    arrays['facts'] = {
      'notes': samples.notes,
      'gaps': list(gaps),
      'doubts': [[r.name, r.reason] for r in crops.doubts],
    }
    return arrays, rejects

  crops = crop_cache.open_or_build(settings.cache_dir, key, build)
  _refuse_gaps(settings, split, crops.meta['gaps'])
  _log_facts(split, crops.meta, keep_doubtful, log)
  return crops


def _refuse_gaps(settings, split, gaps):
  if gaps and settings.strict:
    raise ValueError(
      f'--strict: {settings.dataset}, {split} is incomplete: {", ".join(gaps)}; add '
      'what is missing, or leave --strict off to use what is there.'
    )


def _log_crops(split, arrays, rejects, scheme, log):
  fit = ''
  if scheme is not None:
    residual = 100 * arrays['residuals'].mean()
    fit = f'mean residual of P {residual:.2f} % of the face, '
  log(
    f'{split}: {len(arrays["names"])} faces, {fit}{len(rejects)} rejected'
    + ''.join(
      '\n  ' + terminal.printable(f'{r.name}: {r.reason}') for r in rejects[:10]
    )
  )


def _log_facts(split, facts, keep_doubtful, log):
  """What is said of a split at every run, not only when its crops are made."""
  for note in facts['notes']:
    log(note)
  if facts['gaps']:
    log(f'Note: {split} is incomplete: {", ".join(facts["gaps"])}.')
  doubts = facts['doubts']
  if doubts:
    log(
      f'{split}: the labels of {len(doubts)} faces are contradicted by their fit; they '
      + ('are kept' if keep_doubtful else 'are left out (--nocheck_labels keeps them)')
      + ''.join(f'\n  {name}: {reason}' for name, reason in doubts[:10])
    )
