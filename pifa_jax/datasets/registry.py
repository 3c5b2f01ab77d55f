"""The labelled data sets by name: how each is read, and what is known of it."""

import dataclasses
import pathlib
from typing import Callable

from pifa_jax.datasets import aflw, afw, folder, ibug, w300lp
from pifa_jax.datasets.samples import SampleSet
from pifa_jax.types import MorphableModel


@dataclasses.dataclass(frozen=True)
class DataSet:
  """A data set as its authors distribute it.

  Attributes:
    title: for people.
    read: (data_dir, split) -> SampleSet; with `model=` where `exact_params`.
    files: (data_dir, split) -> the files that decide what `read` gives.
    splits: there are.
    counts: faces of the splits where they are published; several = any of them.
    source: of the counts.
    box_rule: where the boxes come from, for result lines.
    points: number of landmarks, None if it depends on the files.
    scheme: landmark scheme of the face models, None if it must be found.
    hidden_is_labelled: whether landmarks that are not visible are told apart from
      ones without a label, so that visibility can be scored.
    exact_params: whether the samples can carry their exact P.
  """

  title: str
  read: Callable[..., SampleSet]
  files: Callable[..., list[pathlib.Path]]
  splits: tuple[str, ...]
  counts: dict[str, tuple[int, ...]]
  source: str
  box_rule: str
  points: int | None
  scheme: str | None
  hidden_is_labelled: bool = False
  exact_params: bool = False


_OF_LANDMARKS = 'boxes of the landmarks'
DATASETS = {
  'aflw': DataSet(
    'AFLW, the subset of pose-invariant face alignment',
    aflw.read_aflw,
    aflw.files_aflw,
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
    afw.files_afw,
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
    ibug.files_300w,
    tuple(ibug.SPLITS),
    {'train': (3148,), 'test': (689,), 'common': (554,), 'challenging': (135,)},
    'the paper, Sec. 4.1',
    _OF_LANDMARKS,
    68,
    'ibug68',
  ),
  '300wlp': DataSet(
    '300W-LP',
    w300lp.read_300wlp,
    w300lp.files_300wlp,
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
    w300lp.files_aflw2000,
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
    folder.files_folder,
    ('train', 'test'),
    {},
    '',
    'boxes as provided, else of the landmarks',
    None,
    None,
  ),
}


def read(
  name: str,
  data_dir: str | pathlib.Path | None,
  split: str,
  *,
  model: MorphableModel | None = None,
) -> SampleSet:
  """Reads one split of a data set.

  Args:
    name: a key of `DATASETS`.
    data_dir: the folder, as it is distributed.
    split: one of the set's.
    model: for sets with `exact_params`: the Basel model; samples carry their P.

  Returns:
    The split.

  Raises:
    FileNotFoundError: if something is missing, with the way to get it.
    ValueError: if something is damaged, or the set has no exact P.
  """
  data = DATASETS[name]
  if model is None:
    return data.read(data_dir, split)
  if not data.exact_params:
    raise ValueError(f'{data.title} has no exact P; leave --exact_params off.')
  return data.read(data_dir, split, model=model)


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
