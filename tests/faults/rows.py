"""The list of faults: what is tried by which function, and what is not built."""

from tests.faults import (
  bad_labels,
  bad_numbers,
  checkpoint_faults,
  cut_runs,
  dying_workers,
  full_disk,
  hostile_files,
  hostile_folders,
  hostile_poses,
  parsers,
)
from tests.faults.tally import Row

ROWS = {
  'R1': Row('same seed twice', cut_runs.twice, 'accelerators'),
  'R2': Row('stopped at step k, gone on', cut_runs.stopped),
  'R3': Row('kill -9 at a random time', cut_runs.killed),
  'R4': Row('SIGTERM, SIGINT, once and twice', cut_runs.told_to_stop),
  'R5': Row('file deleted, emptied, cut', checkpoint_faults.missing_and_cut),
  'R6': Row('bit flip, zeroed page', checkpoint_faults.flipped_and_zeroed),
  'R7': Row('all checkpoints bad', checkpoint_faults.all_bad),
  'R8': Row('disk full: checkpoint, metrics, figure', full_disk.full_disk),
  'R9': Row('output folder that cannot be used', hostile_folders.outputs),
  'R10': Row(
    'NaN, Inf in labels, bases, gradient leaves',
    bad_numbers.non_finite,
    'exit 4 after K in a row; photos are bytes, and there is no loss scale',
  ),
  'R11': Row('bad photos, boxes, labels among good ones', bad_labels.samples),
  'R12': Row('checkpoint of another network', checkpoint_faults.foreign),
  'R13': Row('two trainers, one folder', checkpoint_faults.two_trainers),
  'R14': Row(
    'a thread that reads or writes photos ends',
    dying_workers.workers,
    'the trainer has no workers',
  ),
  'R15': Row('0, 1, 10,000 faces', hostile_poses.numbers_of_faces),
  'R16': Row('gradients at hostile P', hostile_poses.gradients),
  'S1': Row('pickles under ten names', hostile_files.pickles),
  'S2': Row('zip bombs, names that lead elsewhere', hostile_files.archives),
  'S3': Row('image, npy and HDF5 bombs', hostile_files.memory_bombs),
  'S4': Row('hostile text', hostile_files.hostile_text),
  'S5': Row(f'mutants for {len(parsers.PARSERS)} parsers', parsers.all_parsers),
  'S6': Row('hostile file names', hostile_folders.names),
}
