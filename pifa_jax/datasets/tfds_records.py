"""Any of the data sets as a TensorFlow Datasets builder; TensorFlow is not needed.

The records are ArrayRecord files that hold the photos as they were released
(encoded), so that reading them back gives exactly the samples of the raw reader.
"""

import collections.abc
import functools
import pathlib

import numpy as np

from pifa_jax.datasets import registry, tfds_catalogue
from pifa_jax.datasets.samples import MissingSplitError, Reject, Sample, SampleSet
from pifa_jax.files.sources import Sources
from pifa_jax.types import MorphableModel


@functools.cache
def builder_class(data_set: str) -> type:
  """The `tfds.core.GeneratorBasedBuilder` of a data set.

  A function, so that TFDS is imported by those who use it only; importing it
  takes seconds, and the rest of the library runs without it.

  Args:
    data_set: a key of `registry.DATASETS`.

  Returns:
    The class, with the splits train and test as far as they are there: 300W's common
    and challenging are parts of test. Its `download_and_prepare` wants a `manual_dir`
    that is the folder as distributed. Features: 'name', 'group', 'image' (the encoded
    file), 'landmarks' (N, 2) float32 0-based pixels, 'visible' (N,) bool, 'box' (4,)
    float32 outer edges, 'pose' (3,) or (0,) float32 degrees. Rejects, notes
    and missing parts are in the metadata.
  """
  import tensorflow_datasets as tfds

  data = registry.DATASETS[data_set]

  class PifaRecords(tfds.core.GeneratorBasedBuilder):
    """A data set of faces, as its raw reader gives it."""

    name = f'pifa_{data_set}'
    VERSION = tfds.core.Version('3.0.0')
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
      f'The folder of {data.title} as its authors distribute it.'
    )

    def _info(self):
      vector = functools.partial(tfds.features.Tensor, dtype=np.float32)
      return tfds.core.DatasetInfo(
        builder=self,
        metadata=tfds.core.MetadataDict(),
        # Row n of the records is the n-th usable face of the folder.
        disable_shuffling=True,
        features=tfds.features.FeaturesDict(
          {
            'name': tfds.features.Text(),
            'group': tfds.features.Text(),
            # Not features.Image: it would want TensorFlow, or encode anew.
            'image': tfds.features.Tensor(shape=(), dtype=np.object_),
            'landmarks': vector(shape=(None, 2)),
            'visible': tfds.features.Tensor(shape=(None,), dtype=np.bool_),
            'box': vector(shape=(4,)),
            'pose': vector(shape=(None,)),
          }
        ),
      )

    def _split_generators(self, dl_manager):
      found, _ = registry.read_splits(data_set, dl_manager.manual_dir)
      for split, samples in found.items():
        self.info.metadata[split] = {
          'notes': samples.notes,
          'rejects': [[r.name, r.reason] for r in samples.rejects],
          'missing': list(samples.missing),
        }
      return {
        split: self._generate_examples(samples.samples)
        for split, samples in found.items()
      }

    def _generate_examples(self, samples):
      for row, sample in enumerate(samples):
        yield (
          row,
          {
            'name': sample.name,
            'group': sample.group,
            'image': sample.image_bytes,
            'landmarks': sample.landmarks,
            'visible': sample.visible,
            'box': sample.box,
            'pose': np.zeros(0, np.float32) if sample.pose is None else sample.pose,
          },
        )

  return PifaRecords


class _TfdsSamples(collections.abc.Sequence):
  """Samples of a TFDS data source, read at every access."""

  def __init__(self, source):
    self._source = source

  def __len__(self):
    return len(self._source)

  def __getitem__(self, index):
    if isinstance(index, slice):
      return [self[i] for i in range(*index.indices(len(self)))]
    if not -len(self) <= index < len(self):
      raise IndexError(index)
    record = self._source[index % len(self)]
    pose = np.asarray(record['pose'], np.float32)
    return Sample(
      record['name'].decode(),
      bytes(record['image']),
      np.asarray(record['landmarks'], np.float32),
      np.asarray(record['visible'], bool),
      np.asarray(record['box'], np.float32),
      pose=pose if pose.size else None,
      group=record['group'].decode(),
    )


def read(
  name: str,
  tfds_dir: str | pathlib.Path,
  manual_dir: str | pathlib.Path | None,
  split: str,
  *,
  model: MorphableModel | None = None,
) -> SampleSet:
  """Reads one split from TFDS records, which are made if they are not there.

  If the folder holds no records of ours but TFDS's own of the same data set
  (`tfds_catalogue`), these are read.

  Args:
    name: a key of `registry.DATASETS`.
    tfds_dir: TFDS's data folder.
    manual_dir: the folder as distributed; needed only to make the records.
    split: 'train' or 'test', as the set has them.
    model: see `tfds_catalogue.read`; our records do not keep P.

  Returns:
    The same samples, rejects and notes as `registry.read(name, manual_dir, split)`.

  Raises:
    FileNotFoundError: if the records have to be made and the folder is missing; a
      MissingSplitError if the records have no such split.
    ValueError: if the folder is damaged, TFDS is not installed, or there is no
      such split.
  """
  data = registry.DATASETS[name]
  if split not in data.splits or split not in ('train', 'test'):
    raise ValueError(
      f'split={split!r}; the records of {data.title} have '
      f'{", ".join(s for s in data.splits if s in ("train", "test"))}.'
    )
  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise ValueError(
      f'tensorflow-datasets cannot be imported ({error}); install '
      'it, or leave --tfds_dir out.'
    ) from error
  if _of_catalogue(name, tfds_dir):
    return tfds_catalogue.read(name, tfds_dir, model=model)
  if model is not None:
    raise ValueError('--exact_params reads the unpacked archive; leave --tfds_dir out.')
  builder = builder_class(name)(data_dir=str(tfds_dir), file_format='array_record')
  if not builder.is_prepared():
    # TFDS would make folders before it finds that something is missing.
    registry.read_splits(name, manual_dir)
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(manual_dir=str(manual_dir))
    )
  if split not in builder.info.splits:
    raise MissingSplitError(
      f'The records of {data.title} in {tfds_dir} have no {split} split, since the '
      'folder that they were made from has none.'
    )
  facts = builder.info.metadata[split]
  sources = Sources(tfds_dir)
  for path in files(name, tfds_dir):
    sources.use(path)
  return SampleSet(
    _TfdsSamples(builder.as_data_source(split)),
    [Reject(name, reason) for name, reason in facts['rejects']],
    list(facts['notes']),
    sources,
    tuple(facts['missing']),
  )


def files(name: str, tfds_dir: str | pathlib.Path) -> list[pathlib.Path]:
  """The records of a data set, once they are made.

  Args:
    name: as for `read`.
    tfds_dir: TFDS's data folder.

  Returns:
    Their paths, sorted; empty before they are made.
  """
  if _of_catalogue(name, tfds_dir):
    return tfds_catalogue.files(name, tfds_dir)
  return sorted(
    path
    for path in (pathlib.Path(tfds_dir) / f'pifa_{name}').rglob('*')
    if path.is_file()
  )


def _of_catalogue(name, tfds_dir):
  """Whether a folder has TFDS's own records of a data set, and none of ours."""
  return (
    not (pathlib.Path(tfds_dir) / f'pifa_{name}').exists()
    and tfds_catalogue.folder(name, tfds_dir) is not None
  )
