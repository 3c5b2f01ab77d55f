"""The flags that name a data set, and what they open."""

import dataclasses
import os
import pathlib
from typing import Callable

from absl import flags
import numpy as np

from pifa_jax.datasets import aflw, ibug, packed, synthetic
from pifa_jax.face_models import builtin_expression_units, face_model_hash
from pifa_jax.face_models import load_face_model, load_landmark_ids
from pifa_jax.types import MorphableModel

flags.DEFINE_enum('dataset', 'synthetic', ['aflw', 'synthetic', 'w300'],
                  'What to train and evaluate on.')
flags.DEFINE_string('data_dir', None, 'Folder of the data set, as it was '
                    'released; not needed for synthetic.')
flags.DEFINE_string(
    'cache_dir', os.path.join(
        os.environ.get('XDG_CACHE_HOME', os.path.expanduser('~/.cache')),
        'pifa_jax'),
    'Where packed crops are kept from run to run; may be deleted at any time.')
flags.DEFINE_string('face_model', 'builtin-1',
                    'builtin, builtin-1, builtin-2 (subdivided), or an .npz.')
flags.DEFINE_string(
    'landmark_scheme', 'auto', 'A landmark scheme of the face model, a file of '
    'vertex ids (one a line), or auto: the one that fits the labels best.')
flags.DEFINE_integer('num_train', 8000, 'Synthetic training faces.',
                     lower_bound=2)
flags.DEFINE_integer('num_test', 512, 'Synthetic test faces.', lower_bound=1)
flags.DEFINE_integer('data_seed', 0, 'Of the synthetic faces.', lower_bound=0)
flags.DEFINE_float('validation', 0.05, 'Share of the training set that is held '
                   'out to choose the best checkpoint.', lower_bound=0.0,
                   upper_bound=0.5)


@dataclasses.dataclass(frozen=True)
class OpenData:
  """A data set ready for training and evaluation.

  Attributes:
    name: for result lines.
    model: the face model, with the data set's landmark scheme in it.
    face_model_hash: of its arrays.
    scheme: name of the landmark scheme.
    train: the packed training set.
    train_ids: rows to train on.
    validation_ids: rows held out, evenly spread.
    test: the packed test set.
    jitter_boxes: whether evaluation perturbs the boxes.
    counted: which landmarks count, for result lines.
    box_rule: likewise.
  """

  name: str
  model: MorphableModel
  face_model_hash: str
  scheme: str
  train: packed.PackedCrops
  train_ids: np.ndarray
  validation_ids: np.ndarray
  test: packed.PackedCrops
  jitter_boxes: bool
  counted: str
  box_rule: str

  @property
  def num_rejected(self) -> int:
    """Test samples that could not be used."""
    return self.test.meta.get('num_rejected', 0)


def open_data(say: Callable[[str], None]) -> OpenData:
  """Opens what the flags name, packing it first if that was not done yet.

  Args:
    say: prints a sentence for the user.

  Returns:
    The data set.

  Raises:
    FileNotFoundError, ValueError: with one sentence for the user.
  """
  f = flags.FLAGS
  model = load_face_model(f.face_model)
  if f.dataset == 'synthetic':
    scheme = 'ibug68'
    train, test = (_synthetic(model, f, split, say) for split in ('train', 'test'))
    facts = {'name': f'built-in faces (synthetic, seed {f.data_seed})',
             'jitter_boxes': True, 'counted': 'visible in the z-buffer',
             'box_rule': 'box jitter +-10 %'}
  elif f.dataset == 'w300':
    scheme = 'ibug68'
    train, test = (_300w(model, f, split, say) for split in ('train', 'test'))
    facts = {'name': '300W', 'jitter_boxes': False, 'counted': 'all 68',
             'box_rule': 'boxes of the landmarks'}
  else:
    model, scheme = _scheme(model, f, say)
    train, test = (_aflw(model, f, scheme, split, say)
                   for split in ('train', 'test'))
    facts = {'name': f'AFLW format ({os.path.basename(os.path.normpath(f.data_dir))})',
             'jitter_boxes': False, 'counted': 'visible',
             'box_rule': 'boxes as provided'}
  held_out = _held_out(len(train), f.validation)
  return OpenData(
      model=model, face_model_hash=face_model_hash(model), scheme=scheme,
      train=train, train_ids=np.where(~held_out)[0],
      validation_ids=np.where(held_out)[0], test=test, **facts)


def _held_out(count, share):
  """Which rows are for validation: evenly spread, at least one."""
  held = np.zeros(count, bool)
  wanted = max(1, round(share * count))
  held[np.linspace(0, count - 1, wanted).astype(int)] = True
  return held


def _synthetic(model, f, split, say):
  config = synthetic.SyntheticConfig(image_size=packed.IMAGE_SIZE,
                                     margin=packed.MARGIN)
  count = f.num_train if split == 'train' else f.num_test
  # Test faces come from a seed of their own, not from further along the same.
  seed = 2 * f.data_seed + (split == 'test')
  key = {'data': 'synthetic', 'config': dataclasses.asdict(config), 'seed': seed,
         'count': count, 'version': synthetic.VERSION,
         'face_model': face_model_hash(model)}

  def build():
    say(f'Drawing {count} {split} faces ...')
    units = (np.stack(list(builtin_expression_units().values()))
             if f.face_model.startswith('builtin') else None)
    arrays = synthetic.generate(model, config, seed=seed, start=0, count=count,
                                expression_units=units, progress=say)
    return {**arrays, 'residuals': np.zeros(count, np.float32),
            'names': [f'{split}/{i}' for i in range(count)]}, []

  return packed.open_or_build(f.cache_dir, key, build)


def _scheme(model, f, say):
  """The model with the scheme of the AFLW labels, and its name."""
  if os.path.isfile(f.landmark_scheme):
    ids = load_landmark_ids(f.landmark_scheme, num_vertices=model.num_vertices)
    name = os.path.splitext(os.path.basename(f.landmark_scheme))[0]
    schemes = {**model.landmark_schemes, name: ids}
    return model.replace(landmark_schemes=schemes), name
  if f.landmark_scheme != 'auto':
    if f.landmark_scheme not in model.landmark_schemes:
      raise ValueError(
          f'--landmark_scheme={f.landmark_scheme} is neither a file nor a scheme of '
          f'the face model, which has {", ".join(model.landmark_schemes)}.')
    return model, f.landmark_scheme
  boxes, labels, _ = aflw.read_tables(f.data_dir, 'train')
  del boxes
  points, visible, _ = aflw.split_labels(labels)
  name, residuals = packed.choose_scheme(model, points.astype(np.float32), visible)
  say(f'Landmark scheme {name} (median residual of the fit, % of the face: '
      + ', '.join(f'{n} {100 * r:.2f}' for n, r in residuals.items()) + ').')
  return model, name


def _aflw(model, f, scheme, split, say):
  _, _, files = aflw.read_tables(f.data_dir, split)
  root = pathlib.Path(f.data_dir).expanduser()
  key = {'data': 'aflw', 'split': split, 'face_model': face_model_hash(model),
         'scheme': [int(i) for i in model.landmark_schemes[scheme]],
         'files': packed.fingerprint(
             files + [root / 'BoundingBox.mat', root / 'Landmark.mat'])}

  def build():
    return _pack(aflw.read_aflw(f.data_dir, split), model, scheme, split, say)

  return packed.open_or_build(f.cache_dir, key, build)


def _300w(model, f, split, say):
  files = ibug.picture_files(f.data_dir, split)
  key = {'data': '300w', 'split': split, 'face_model': face_model_hash(model),
         'files': packed.fingerprint(
             files + [path.with_suffix('.pts') for path in files])}

  def build():
    return _pack(ibug.read_300w(f.data_dir, split), model, 'ibug68', split, say)

  return packed.open_or_build(f.cache_dir, key, build)


def _pack(found, model, scheme, split, say):
  """Crops and fits; tells the user what came of it."""
  for note in found.notes:
    say(note)
  say(f'Packing {len(found.samples)} {split} photographs ...')
  arrays, more = packed.pack_samples(found.samples, model, scheme=scheme)
  rejects = found.rejects + more
  say(f'{split}: {len(arrays["names"])} faces, mean residual of P '
      f'{100 * arrays["residuals"].mean():.2f} % of the face, {len(rejects)} '
      'rejected' + ''.join(f'\n  {r.name}: {r.reason}' for r in rejects[:10]))
  return arrays, rejects
