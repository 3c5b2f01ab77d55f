"""The paper's tables and figures, and the verdicts on its claims, by one command.

  python -m experiments.reproduce --list
  python -m experiments.reproduce --all --scale=smoke
  python -m experiments.reproduce --table=6 --seeds=3
  python -m experiments.reproduce --table=5 --data=300w --data_dir=FOLDER
  python -m experiments.reproduce --page=docs/results.md

Trains what a table needs, unless <workdir>/runs has it: an interrupted program goes
on where it was, and tables share their runs. Flags of experiments.train are taken, too,
such as --num_steps or --preset, and apply to all variants. Writes table_N.md, .csv,
.json and .png: the paper, photos and synthetic faces each in a column of their own. A
run that fails leaves a hole in its table, with the reason.
"""

import json
import os
import pathlib
import sys

from absl import flags
import jax

from experiments.lib import cli, path_flags
from experiments.lib import config as config_lib
from experiments.reproduce import report, results_page, runs, tables, variants
from experiments.reproduce.catalogue import TABLES
from experiments.reproduce.figures import FIGURES
from experiments.reproduce.finished import Hole, Stopped
from experiments.reproduce.measures import Measures
from pifa_jax.face_models import load_face_model

flags.DEFINE_list(
  'table', [], f'Comma-separated tables: any of {", ".join(TABLES)}; see --list.'
)
flags.DEFINE_list('figure', [], 'Comma-separated numbers of figures; see --list.')
flags.DEFINE_boolean('all', False, 'All tables and all figures.')
flags.DEFINE_boolean('list', False, 'Say which tables and figures there are, and end.')
flags.DEFINE_enum(
  'data',
  'synthetic',
  variants.DATA,
  'What to train and evaluate on: synthetic faces, or photos in --data_dir.',
)
path_flags.define_path(
  'afw_dir', None, 'Folder of AFW, on whose faces Table 4 is measured.'
)
flags.DEFINE_integer(
  'seeds',
  None,
  'Number of runs of every variant, with the seeds --seed, --seed + 1, ...; default: '
  'that of the scale.',
  lower_bound=1,
)
flags.DEFINE_enum(
  'scale',
  'demo',
  sorted(variants.SCALES),
  'smoke = a few steps, to see that all of it runs; demo = about an hour a table on '
  'two cores; full = the network and the schedule of the paper.',
)
path_flags.define_path(
  'page',
  None,
  'Also write the page of everything that the work folder has, such as '
  'docs/results.md, with its pictures in a folder of its name.',
)
runs.OWN_FLAGS.update('table figure all list data afw_dir seeds scale page'.split())


def main(run: cli.Run) -> int:
  """Makes what the flags ask for.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  f = flags.FLAGS
  if f.list:
    _list()
    return cli.EXIT_OK
  wanted = list(TABLES) if f.all else _known('table', TABLES)
  drawn = list(FIGURES) if f.all else [int(n) for n in _known('figure', FIGURES)]
  if not (wanted or drawn or f.page):
    raise cli.UserError('Nothing is asked for; use --table=3, --figure=7 or --all.')
  given = _given()
  if f.page:
    cli.output_file(f.page, 'page')
  config_lib.split_cpu()
  if f.scale == 'smoke':
    # Most of its time would be spent on compiling well what takes a few steps.
    jax.config.update('jax_disable_most_optimizations', True)
  folder = run.make_folder(f.workdir or f'runs/reproduce_{f.scale}')
  run.open(folder, seed=f.seed, device=_device())
  scale = variants.SCALES[f.scale]
  seeds = tuple(range(f.seed, f.seed + (f.seeds or scale.seeds)))
  found = runs.Runs(folder, scale, f.data, given, _log)
  try:
    if wanted or drawn:
      found.prepare()
    for key in wanted:
      _make_table(folder, TABLES[key], found, seeds)
    pictures = {
      number: _draw(FIGURES[number], folder, found, seeds[0]) for number in drawn
    }
  except (Stopped, KeyboardInterrupt) as stop:
    print('stopped; finished runs are kept: the same command goes on.', flush=True)
    return stop.code if isinstance(stop, Stopped) else cli.EXIT_INTERRUPTED
  if f.page:
    _write_page(folder)
  failed = found.failures()
  for reason in failed:
    print(f'Failed: {reason}', file=sys.stderr)
  not_drawn = [number for number, paths in pictures.items() if not paths]
  return cli.EXIT_SOME_FAILED if failed or not_drawn else cli.EXIT_OK


def _list():
  for key, table in TABLES.items():
    print(f'--table={key:<14} {table.title}')
  for number, figure in FIGURES.items():
    print(f'--figure={number:<13} {figure.title}')


def _known(flag, there):
  """The values of a flag, which must be among those that there are."""
  known = {str(key) for key in there}
  values = [str(value).strip() for value in flags.FLAGS[flag].value or ()]
  for value in values:
    if value not in known:
      raise cli.UserError(
        f'--{flag}={value} is none; use {", ".join(sorted(known)) or "--table"}.'
      )
  return values


_OF_PROCESSES = ('distributed', 'coordinator_address', 'num_processes', 'process_id')


def _given() -> dict[str, str]:
  """Flags of the trainer on the command line, which win over those of the scale."""
  f = flags.FLAGS
  for name, instead in {
    'dataset': 'use --data',
    'initial_weights': 'every variant starts from its own',
    'fresh': 'use another --workdir, or remove a folder of <workdir>/runs',
    **dict.fromkeys(_OF_PROCESSES, 'several processes train by experiments.train'),
  }.items():
    if f[name].present:
      raise cli.UserError(f'--{name} has no use here; {instead}.')
  if f.data != 'synthetic' and not (f.data_dir or f.tfds_dir):
    raise cli.UserError(f'--data={f.data} needs its photos; pass --data_dir=FOLDER.')
  # The CPU is split once, for all runs.
  names = [name for name in runs.trainer_flags() if name != 'cpu_devices']
  return {name: _text(f[name].value) for name in names if f[name].present}


def _text(value):
  if isinstance(value, bool):
    return str(value).lower()
  return ','.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _device():
  devices = jax.local_devices()
  return f'{len(devices)} x {devices[0].device_kind}'


def _make_table(folder, table, found, seeds):
  """Measures a table, keeps its numbers, and writes it with all that was kept."""
  f = flags.FLAGS
  _log(f'{table.title}, {f.data}, scale {f.scale}.')
  measured = Measures(found, f.afw_dir)
  cells = tables.measure(table, measured, seeds)
  try:
    statement = table.statement(measured, seeds[0])
  except Hole:
    statement = ''
  column = report.Column(
    data=f.data,
    on_photos=table.on_photos or f.data != 'synthetic',
    title=statement.partition(', N=')[0],
    cells=cells,
    scale=f.scale,
    settings=_settings(found, table.variant),
    seeds=seeds,
    statement=statement,
    device=_device(),
  )
  report.save_column(folder, table, column)
  columns = report.load_columns(folder, table)
  paths = report.write(folder, table, columns)
  print(report.markdown(table, columns))
  print(f'Written: {", ".join(path.name for path in paths)} in {folder}\n', flush=True)


def _settings(found, variant):
  """Flags of a variant as a page shows them, without the folders of this machine."""
  values = variants.flags_of(
    variants.VARIANTS[variant], found.scale, found.data, found.given
  )
  hidden = {*runs.NO_PART} - {'initial_weights'}
  shown = {name: text for name, text in values.items() if name not in hidden}
  return {**shown, **{name: 'FOLDER' for name in shown if name.endswith('_dir')}}


def _draw(figure, folder, found, seed):
  """Draws a figure of the paper; returns no paths if a run that it needs failed."""
  _log(f'Figure {figure.number}: {figure.title}.')
  needed, holes = {}, []
  for name in figure.needs:
    try:
      needed[name] = found.restored(name, seed)
    except Hole as hole:
      holes.append(f'{name}: {hole}')
  try:
    if holes and not needed:
      raise Hole('; '.join(holes))
    with found.flags(variants.BASE, seed):
      model = load_face_model(flags.FLAGS.face_model)
    paths = figure.draw(needed, model, pathlib.Path(folder))
  except (Hole, cli.UserError, ValueError, OSError) as error:
    print(f'Failed: figure {figure.number}: {error}', file=sys.stderr)
    return []
  print(f'Written: {", ".join(path.name for path in paths)} in {folder}', flush=True)
  return paths


def _write_page(folder):
  """The page of all that the work folder has, of earlier starts, too."""
  f = flags.FLAGS
  pictures = {
    number: sorted(pathlib.Path(folder).glob(f'figure_{number}[._]*png'))
    for number in FIGURES
  }
  pictures = {number: paths for number, paths in pictures.items() if paths}
  name = os.path.basename(f.page) if os.path.isabs(f.page) else f.page
  drawn = f' --figure={",".join(map(str, pictures))}' if pictures else ''
  keys = results_page.write(
    f.page,
    folder,
    command=f'python -m experiments.reproduce --scale={f.scale}{drawn} --page={name}',
    commit=_commit(folder),
    pictures=pictures,
  )
  if not keys:
    raise cli.UserError(
      f'{folder} has no table yet, so that {f.page} has none either; use --all.'
    )
  print(f'Written: {f.page}')


def _commit(folder):
  """The revision that the record of this run names."""
  record = json.loads(pathlib.Path(folder, 'run.json').read_text(encoding='utf-8'))
  return record['commit'] or 'unknown'


def _log(text):
  print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
  cli.start(main)
