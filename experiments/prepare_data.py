"""Checks a data set as its authors distribute it, and crops it for training.

  python -m experiments.prepare_data --dataset=aflw2000 --src=~/AFLW2000 --verify
  python -m experiments.prepare_data --dataset=300wlp --src=~/300W_LP

Training and evaluation make their crop caches themselves; this does it beforehand,
says what is wrong or missing, and leaves a record: dataset.json and rejects.csv in
--workdir.
"""

import csv
import hashlib
import os
import pathlib
import sys
import zipfile

from absl import flags

from experiments.lib import cli, data_loading, output_files, path_flags, terminal
from pifa_jax import face_models
from pifa_jax.datasets import registry
from pifa_jax.datasets.samples import Reject
from pifa_jax.files.images import decode_image

path_flags.define_path('src', None, 'Folder of the data set; the same as --data_dir.')
flags.DEFINE_boolean(
  'verify',
  False,
  'Only check: counts against the published '
  'ones, labels, every image decoded, hashes; crop nothing.',
)

# Archives whose hash is known, by what TFDS recorded of them.
_ARCHIVES = {
  '300wlp': (
    '300W-LP.zip',
    '250c366c417ad48f72522b629ff83dbb2b2a57945803ad4a530a696bb6b13ee7',
  )
}


def main(run: cli.Run) -> int:
  """Checks a data set and crops it.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  data_dir = f.src or f.data_dir
  f.data_dir = data_dir
  if f.dataset == 'synthetic':
    raise cli.UserError(
      '--dataset=synthetic needs no preparation; name one of '
      f'{", ".join(registry.DATASETS)}.'
    )
  data = registry.DATASETS[f.dataset]
  if data_dir and os.path.isfile(data_dir):
    raise cli.UserError(_archive(pathlib.Path(data_dir), f.dataset))
  found, problems = registry.read_splits(
    f.dataset, data_dir, hidden_points=f.hidden_points
  )
  workdir = run.make_folder(f.workdir or f'runs/prepare_{f.dataset}')
  run.open(workdir)
  rejects, facts = [], {}
  for split, samples in found.items():
    total = len(samples.samples) + len(samples.rejects)
    problem = registry.count_problem(f.dataset, split, total)
    problems += [problem] if problem else []
    gaps = registry.gaps(f.dataset, split, samples)
    problems += [f'{data.title}, {split}: {gap}.' for gap in gaps[bool(problem) :]]
    for note in samples.notes:
      print(note)
    bad = list(samples.rejects)
    if f.verify:
      bad += _undecodable(samples.samples)
    rejects += [(split, r.name, r.reason) for r in bad]
    facts[split] = {
      'num_faces': total,
      'num_rejected': len(bad),
      'published': list(data.counts.get(split, ())),
      'missing': list(gaps),
      'sha256_of_files': _hash(samples.sources),
    }
    print(
      f'{data.title}, {split}: {total} faces, {len(bad)} rejected, files '
      f'{facts[split]["sha256_of_files"][:16]}.'
    )
  if not f.verify:
    for split in found:
      result = _crop(f, split)
      facts[split]['crops'] = result.content_hash
      facts[split]['num_cropped'] = len(result)
      # Those of the reader are among them.
      rejects = [row for row in rejects if row[0] != split] + [
        (split, r.name, r.reason) for r in result.rejects
      ]
      facts[split]['num_rejected'] = len(result.rejects)
  output_files.write_json(
    os.path.join(workdir, 'dataset.json'),
    {'dataset': f.dataset, 'source': data.source, 'splits': facts},
  )
  with output_files.new_table(os.path.join(workdir, 'rejects.csv')) as file:
    csv.writer(file).writerows([('split', 'name', 'reason'), *rejects])
  for split, name, reason in rejects[:20]:
    text = terminal.printable(f'{split}, {name}: {reason}')
    print(f'rejected: {text}', file=sys.stderr)
  if f.strict and problems:
    raise cli.UserError(
      f'--strict: {problems[0]} Add what is missing, or leave --strict off.'
    )
  for problem in problems:
    print(f'Note: {problem}', file=sys.stderr)
  print(f'Wrote dataset.json and rejects.csv to {workdir}.')
  return cli.EXIT_SOME_FAILED if rejects or problems else cli.EXIT_OK


def _crop(f, split):
  log = lambda text: print(text, file=sys.stderr)
  model = face_models.load_face_model(f.face_model)
  scheme = None
  if f.dataset != 'afw':  # whose six points are not vertices
    model, scheme = data_loading.scheme_of(model, data_loading.from_flags(), split, log)
  return data_loading.open_real(model, scheme, data_loading.from_flags(), split, log)


def _undecodable(samples):
  for sample in samples:
    try:
      decode_image(sample.image_bytes, sample.name)
    except (OSError, ValueError) as error:
      yield Reject(sample.name, str(error))


def _hash(sources):
  """SHA-256 of names and bytes of all files that a reader used, in their order."""
  digest = hashlib.sha256()
  for path in sources.paths:
    if path.is_dir():
      continue
    digest.update(os.fsencode(path.name) + b'\0')
    try:
      with open(path, 'rb') as file:
        digest.update(hashlib.file_digest(file, 'sha256').digest())
    except OSError:
      digest.update(b'missing')
  return digest.hexdigest()


def _archive(path, dataset):
  """What to do about an archive that was given instead of a folder."""
  with open(path, 'rb') as file:
    head = file.read(200).lstrip().lower()
  if head.startswith((b'<!doctype', b'<html')):
    return (
      f"{path} is a web page saved under an archive's name; get the archive "
      'again, with a browser.'
    )
  name, wanted = _ARCHIVES.get(dataset, ('', ''))
  if name == path.name:
    with open(path, 'rb') as file:
      got = hashlib.file_digest(file, 'sha256').hexdigest()
    if got != wanted:
      return (
        f'{path} has the SHA-256 {got[:16]}..., the published archive '
        f'{wanted[:16]}...; get it again.'
      )
  if head.startswith(b'pk') and not zipfile.is_zipfile(path):
    return f'{path} is only a part of a zip archive; get it again.'
  return f'{path} is an archive; unpack it and give the folder: --src=FOLDER.'


if __name__ == '__main__':
  cli.start(main)
