"""The labelled data sets by name: how each is read, and what is known of it."""

from collections.abc import Callable
import dataclasses
import pathlib
from typing import Any

from pifa_jax.datasets import aflw, afw, coco, cofw, folder, ibug, w300lp, wflw
from pifa_jax.datasets.samples import MissingSplitError, SampleSet
from pifa_jax.types import MorphableModel


@dataclasses.dataclass(frozen=True)
class DataSet:
  """A data set as its authors distribute it.

  Attributes:
    title: for people.
    read: (data_dir, split) -> SampleSet; with `model=` where `exact_params`, with
      `hidden_points=` where `marks_hidden`.
    splits: there are.
    counts: faces of the splits where they are published; several = any of them.
    source: of the counts.
    box_rule: where the boxes come from, for result lines.
    points: number of landmarks, None if it depends on the files.
    scheme: landmark scheme of the face models, None if it must be found.
    hidden_is_labelled: whether landmarks that are not visible are told apart from
      ones without a label, so that visibility can be scored.
    exact_params: whether the samples can carry their exact P.
    marks_hidden: whether labels may mark hidden points by negative coordinates, so
      that --hidden_points has a meaning.
  """

  title: str
  read: Callable[..., SampleSet]
  splits: tuple[str, ...]
  counts: dict[str, tuple[int, ...]]
  source: str
  box_rule: str
  points: int | None
  scheme: str | None
  hidden_is_labelled: bool = False
  exact_params: bool = False
  marks_hidden: bool = False


_OF_LANDMARKS = 'boxes of the landmarks'
DATASETS = {
  'aflw': DataSet(
    'AFLW, the subset of pose-invariant face alignment',
    aflw.read_aflw,
    ('train', 'test'),
    {'train': (3901,), 'test': (1299,)},
    'the paper, Sec. 4.1',
    'boxes as provided',
    None,
    None,
    hidden_is_labelled=True,
  ),
  'afw': DataSet(
    'AFW',
    afw.read_afw,
    ('test',),
    {'test': (468,)},
    'the paper, Sec. 4.1',
    'boxes as provided',
    6,
    None,
  ),
  'w300': DataSet(
    '300W',
    ibug.read_300w,
    tuple(ibug.SPLITS),
    {'train': (3148,), 'test': (689,), 'common': (554,), 'challenging': (135,)},
    'the paper, Sec. 4.2',
    _OF_LANDMARKS,
    68,
    'ibug68',
    marks_hidden=True,
  ),
  '300wlp': DataSet(
    '300W-LP',
    w300lp.read_300wlp,
    ('train',),
    {'train': (61225, 122450)},
    "TFDS's catalogue (the300w_lp); twice as many with the mirror images",
    _OF_LANDMARKS,
    68,
    'ibug68',
    exact_params=True,
  ),
  'aflw2000': DataSet(
    'AFLW2000-3D (original labels)',
    w300lp.read_aflw2000,
    ('test',),
    {'test': (2000,)},
    'Zhu et al., CVPR 2016',
    _OF_LANDMARKS,
    68,
    'ibug68',
    exact_params=True,
  ),
  'folder': DataSet(
    'folder of photos',
    folder.read_folder,
    ('train', 'test', 'all'),
    {},
    '',
    'boxes as provided, else of the landmarks',
    None,
    None,
    marks_hidden=True,
  ),
  'coco': DataSet(
    'COCO keypoints',
    coco.read_coco,
    ('train', 'val', 'test', 'all'),
    {},
    '',
    'boxes as provided, else of the landmarks',
    None,
    None,
  ),
  'wflw': DataSet(
    'WFLW',
    wflw.read_wflw,
    wflw.SPLITS,
    {
      'train': (7500,),
      'test': (2500,),
      'pose': (326,),
      'expression': (314,),
      'illumination': (698,),
      'makeup': (206,),
      'occlusion': (736,),
      'blur': (773,),
    },
    'Wu et al., CVPR 2018',
    'boxes as provided',
    98,
    'wflw98',
  ),
  'cofw': DataSet(
    'COFW',
    cofw.read_cofw,
    ('train', 'test'),
    {'train': (1345,), 'test': (507,)},
    'Burgos-Artizzu et al., ICCV 2013',
    'boxes as provided',
    29,
    'cofw29',
  ),
}


def read(
  name: str,
  data_dir: str | pathlib.Path | None,
  split: str,
  *,
  model: MorphableModel | None = None,
  hidden_points: str = 'auto',
) -> SampleSet:
  """Reads one split of a data set.

  Args:
    name: a key of `DATASETS`.
    data_dir: the folder, as it is distributed.
    split: one of the set's.
    model: for sets with `exact_params`: the Basel model; samples carry their P.
    hidden_points: how labels mark hidden points, see `formats.mark_hidden`.

  Returns:
    The split.

  Raises:
    FileNotFoundError: if something is missing, with the way to get it; a
      MissingSplitError if only this split is.
    ValueError: if something is damaged, the set has no exact P, or its labels do not
      mark hidden points by negative coordinates.
  """
  data = DATASETS[name]
  options: dict[str, Any] = {}
  if model is not None:
    if not data.exact_params:
      raise ValueError(f'{data.title} has no exact P; leave --exact_params off.')
    options['model'] = model
  if hidden_points != 'auto':
    if not data.marks_hidden:
      raise ValueError(
        f'--hidden_points={hidden_points}: the labels of {data.title} say which points '
        'are hidden; leave it off.'
      )
    options['hidden_points'] = hidden_points
  return data.read(data_dir, split, **options)


def read_splits(
  name: str, data_dir: str | pathlib.Path | None, **options: Any
) -> tuple[dict[str, SampleSet], list[str]]:
  """Reads the splits train and test, as far as they are there.

  Args:
    name: a key of `DATASETS`.
    data_dir: the folder.
    **options: of `read`.

  Returns:
    Split -> samples, and a sentence for each split that is not there.

  Raises:
    FileNotFoundError: if no split is there.
    ValueError: see `read`.
  """
  found, problems = {}, []
  for split in DATASETS[name].splits:
    if split in ('train', 'test'):
      try:
        found[split] = read(name, data_dir, split, **options)
      except MissingSplitError as error:
        problems.append(str(error))
  if not found:
    raise FileNotFoundError(problems[0])
  return found, problems


def count_problem(name: str, split: str, count: int) -> str | None:
  """What is wrong with a split's number of faces, rejected ones included.

  Args:
    name: a key of `DATASETS`.
    split: of the set.
    count: faces that were found.

  Returns:
    A sentence, or None.
  """
  data = DATASETS[name]
  wanted = data.counts.get(split)
  if wanted is None or count in wanted:
    return None
  return (
    f'{data.title}, {split}: {count} faces were found but '
    f'{" or ".join(f"{n:,}" for n in wanted)} are published ({data.source}); '
    'files are missing or do not belong to it.'
  )


def gaps(name: str, split: str, found: SampleSet) -> tuple[str, ...]:
  """What a split lacks, in short phrases for result lines.

  Args:
    name: a key of `DATASETS`.
    split: of the set.
    found: the split as it was read.

  Returns:
    ('224 of 689 faces', 'without helen/testset/'), or nothing if it is whole.
  """
  count = len(found.samples) + len(found.rejects)
  phrases = []
  if count_problem(name, split, count):
    published = ' or '.join(f'{n:,}' for n in DATASETS[name].counts[split])
    phrases.append(f'{count:,} of {published} faces')
  return (*phrases, *(f'without {part}' for part in found.missing))
