"""The AFLW subset as a TensorFlow Datasets builder; TensorFlow is not needed.

The records are ArrayRecord files that hold the photographs as they were released
(encoded), so that reading them back gives exactly the samples of `aflw.read_aflw`.
"""

import collections.abc
import functools
import pathlib

import numpy as np

from pifa_jax.datasets import aflw
from pifa_jax.datasets.samples import Reject, Sample, SampleSet


@functools.cache
def builder_class() -> type:
  """The `tfds.core.GeneratorBasedBuilder` of the release format.

  A function, so that TFDS is imported by those who use it only; importing it
  takes seconds, and the rest of the library runs without it.

  Returns:
    The class. Its `download_and_prepare` wants a `manual_dir` that is the release
    folder (see `aflw.read_aflw`). Features: 'name', 'image' (the encoded file),
    'landmarks' (N, 2) float32 0-based pixels, 'visible' (N,) bool, 'box' (4,)
    float32 outer edges. Rejected rows and notes are in the metadata.
  """
  import tensorflow_datasets as tfds

  class PifaAflw(tfds.core.GeneratorBasedBuilder):
    """The AFLW subset of pose-invariant face alignment."""

    name = 'pifa_aflw'
    VERSION = tfds.core.Version('1.0.0')
    MANUAL_DOWNLOAD_INSTRUCTIONS = aflw.HOW_TO_GET

    def _info(self):
      return tfds.core.DatasetInfo(
          builder=self, metadata=tfds.core.MetadataDict(),
          # Row n of the records is the n-th usable row of the release.
          disable_shuffling=True,
          features=tfds.features.FeaturesDict({
              'name': tfds.features.Text(),
              # Not features.Image: it would want TensorFlow, or encode anew.
              'image': tfds.features.Tensor(shape=(), dtype=np.object_),
              'landmarks': tfds.features.Tensor(shape=(None, 2),
                                                dtype=np.float32),
              'visible': tfds.features.Tensor(shape=(None,), dtype=np.bool_),
              'box': tfds.features.Tensor(shape=(4,), dtype=np.float32),
          }))

    def _split_generators(self, dl_manager):
      splits = {split: aflw.read_aflw(dl_manager.manual_dir, split)
                for split in ('train', 'test')}
      for split, found in splits.items():
        self.info.metadata[split] = {
            'notes': found.notes,
            'rejects': [[r.name, r.reason] for r in found.rejects]}
      return {split: self._generate_examples(found.samples)
              for split, found in splits.items()}

    def _generate_examples(self, samples):
      for row, sample in enumerate(samples):
        yield row, {'name': sample.name, 'image': sample.image_bytes,
                    'landmarks': sample.landmarks, 'visible': sample.visible,
                    'box': sample.box}

  return PifaAflw


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
    return Sample(record['name'].decode(), bytes(record['image']),
                  np.asarray(record['landmarks'], np.float32),
                  np.asarray(record['visible'], bool),
                  np.asarray(record['box'], np.float32))


def read_aflw_tfds(tfds_dir: str | pathlib.Path,
                   manual_dir: str | pathlib.Path | None,
                   split: str) -> SampleSet:
  """Reads one split from TFDS records, which are made if they are not there.

  Args:
    tfds_dir: TFDS's data folder.
    manual_dir: the release folder; needed only to make the records.
    split: 'train' or 'test'.

  Returns:
    The same samples, rejects and notes as `aflw.read_aflw(manual_dir, split)`.

  Raises:
    FileNotFoundError: if the records have to be made and the release is missing.
    ValueError: if the release is damaged, TFDS is not installed, or there is no
      such split.
  """
  if split not in ('train', 'test'):
    raise ValueError(f'split={split!r}; AFLW has train and test.')
  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise ValueError('tensorflow-datasets cannot be imported '
                     f'({error}); install it, or read the release folder itself '
                     'with aflw.read_aflw().') from error
  builder = builder_class()(data_dir=str(tfds_dir), file_format='array_record')
  if not builder.is_prepared():
    # TFDS would make folders before it finds that something is missing.
    for each in ('train', 'test'):
      aflw.read_tables(manual_dir, each)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=str(pathlib.Path(manual_dir).expanduser())))
  facts = builder.info.metadata[split]
  return SampleSet(
      _TfdsSamples(builder.as_data_source(split)),
      [Reject(name, reason) for name, reason in facts['rejects']],
      list(facts['notes']))
