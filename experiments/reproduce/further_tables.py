"""Sec. 4.4's cascade, and what the paper names or leaves open but does not measure."""

from experiments.reproduce import courses, measures, published, variants
from experiments.reproduce.claims import Claim
from experiments.reproduce.tables import Row, Table, error_row, worse_by
from experiments.reproduce.variants import BASE

_CASCADES = {'cascade': 'equal steps', 'long_cascade': 'long stages'}
_WHOLE = 'end to end'
_NME = 'NME, %'
_CLOCKS = {'': 'steps', 'seconds': 'seconds', 'cpu_seconds': 'processor seconds'}


def _final_name(name):
  return f'at the end, cascade, {_CASCADES[name]}'


def _final_row(name):
  last = f'{name}_{variants.NUM_BLOCKS}'
  return error_row(_final_name(name), last, unit=_NME)


def _pair(found, seed, name, clock):
  """The courses of both trainings, and when each reaches what both do."""
  whole = courses.course([found.run(BASE, seed)], clock)
  cascade = courses.course(measures.cascade(found, name, seed), clock)
  common = courses.common_error([whole, cascade])
  return common, whole.reaches(common), cascade.reaches(common)


def _total(found, seed, name, clock):
  stages = (
    [found.run(BASE, seed)] if name == BASE else measures.cascade(found, name, seed)
  )
  return courses.course(stages, clock).seconds[-1]


def _to_common_row(name, label, place, clock, unit):
  """Steps (clock '') or seconds of one of both trainings to the common error."""

  def read(found, seed):
    steps, seconds = _pair(found, seed, name, clock or 'seconds')[place]
    return seconds if clock else steps

  return Row(label, read, unit=unit, digits=0)


def _pair_rows(name):
  """Steps and seconds to the error that both reach, for one of the cascades."""
  words = _CASCADES[name]
  yield Row(
    f'{words}: the error that both reach',
    lambda found, seed: _pair(found, seed, name, 'seconds')[0],
    unit='NME of the validation faces, %',
  )
  for clock, unit in _CLOCKS.items():
    for place, who in ((1, _WHOLE), (2, 'cascade')):
      yield _to_common_row(name, f'{words}: {unit} to it, {who}', place, clock, unit)


def _total_row(name, words):
  return Row(
    f'seconds of the whole training, {words}',
    lambda found, seed: _total(found, seed, name, 'seconds'),
    unit='seconds',
    digits=0,
  )


_DAYS = {name: published.TRAINING[name][2] for name in (published.METHOD, 'LPFA')}
_NO_MORE_THAN_HALF = 0.5


def _half_the_time(words):
  """How far the time stays below half of the cascade's, in percent of it."""
  rows = [f'{words}: seconds to it, {who}' for who in (_WHOLE, 'cascade')]
  return Claim(
    'End-to-end training takes less than half of the time of the cascade '
    f'({words}) to the error that both reach',
    tuple(rows),
    lambda row: 100 * (_NO_MORE_THAN_HALF - row[rows[0]] / row[rows[1]]),
    unit="percent of the cascade's time below its half",
    paper=100 * (_NO_MORE_THAN_HALF - _DAYS[published.METHOD] / _DAYS['LPFA']),
  )


_CASCADE = Table(
  'cascade',
  'Sec. 4.4: end-to-end training against a cascade',
  'as each row says',
  (
    error_row(
      f'at the end, {_WHOLE}', BASE, published.AFLW_NME[published.METHOD], unit=_NME
    ),
    *(_final_row(name) for name in _CASCADES),
    _total_row(BASE, _WHOLE),
    *(_total_row(name, f'cascade, {words}') for name, words in _CASCADES.items()),
    *(row for name in _CASCADES for row in _pair_rows(name)),
  ),
  claims=(
    *(
      worse_by(
        f'The cascade ({words}) ends with the higher error',
        f'at the end, {_WHOLE}',
        _final_name(name),
      )
      for name, words in _CASCADES.items()
    ),
    *(_half_the_time(words) for words in _CASCADES.values()),
  ),
  rivals=(
    ('published', 'networks x epochs', 'days'),
    *(
      (name, f'{networks} x {epochs}', f'{days:g}')
      for name, (networks, epochs, days) in published.TRAINING.items()
    ),
  ),
  notes=(
    'The cascade is the same network on the same faces, trained block after block: the '
    'gradient is cut between blocks, and the blocks before the one that learns are '
    'frozen, batch statistics and dropout included. Every block has a whole learning '
    'rate schedule of its own, from the second block on at a fifth of the rate, the '
    'best of three for block 2: at the whole rate its hidden units are never active '
    'again after a few steps.',
    'Equal steps: all blocks together take the steps of the end-to-end training. Long '
    'stages: every block takes as many (at scale smoke, the same as in the other).',
    'Seconds are steps times the median time of a step. Compiling and validation are '
    'not in them; running the frozen blocks forward is.',
    'End-to-end training falls to its last error late, as its learning rate does: its '
    'steps to an error are those of this schedule, not the fewest possible.',
  ),
)
_BLOCKS = Table(
  'blocks',
  'Beyond the paper: seven and eight blocks',
  'NME, %',
  (
    error_row('six blocks', BASE, published.AFLW_NME[published.METHOD]),
    error_row('seven blocks', 'blocks_7'),
    error_row('eight blocks', 'blocks_8'),
  ),
  claims=(
    worse_by(
      'More blocks than six lower the error further (eight against six)',
      'eight blocks',
      'six blocks',
    ),
  ),
  notes=('Sec. 4.3 expects it and does not measure it.',),
)
_DEPTH = Table(
  'depth',
  'Beyond the paper: all vertices against the nearest of a pixel (Fig. 5)',
  'NME, %',
  (
    error_row('the nearest vertex of a pixel', BASE),
    error_row('all vertices that face the camera', 'all_vertices'),
  ),
  claims=(
    worse_by(
      'Without the depth test the error is higher',
      'the nearest vertex of a pixel',
      'all vertices that face the camera',
    ),
  ),
)
_SPLAT = Table(
  'splat',
  'Beyond the paper: radius and sigma of the visualization (Eqs. 9, 10)',
  'NME, %',
  (
    error_row('radius 1, sigma 1', BASE),
    error_row('radius 0, sigma 1', 'radius_0'),
    error_row('radius 2, sigma 1', 'radius_2'),
    error_row('radius 1, sigma 0.5', 'sigma_half'),
    error_row('radius 1, sigma 2', 'sigma_two'),
  ),
  claims=(
    worse_by(
      'Averaging over neighbours matters: radius 0 is worse than 1',
      'radius 1, sigma 1',
      'radius 0, sigma 1',
    ),
    worse_by(
      'The larger window of radius 2 is no better than 1',
      'radius 1, sigma 1',
      'radius 2, sigma 1',
      only_if_not_contradicted=True,
    ),
  ),
  notes=(
    'The paper gives neither number: BUILD_NOTES.md D-04. With radius 0 sigma has no '
    'effect.',
  ),
)
_FACES = Table(
  'faces',
  'Beyond the paper: number of training faces',
  'NME, %',
  (
    *(
      error_row(f'1/{part} of the training faces', f'faces_{part}')
      for part in (8, 4, 2)
    ),
    error_row('all training faces', BASE),
  ),
  claims=(
    worse_by(
      'More training faces lower the error (all against an eighth)',
      'all training faces',
      '1/8 of the training faces',
    ),
    worse_by(
      'The last doubling of the faces still lowers it',
      'all training faces',
      '1/2 of the training faces',
    ),
  ),
  notes=('The number of steps is the same in all rows.',),
)
_EXITS = (3, 4, variants.NUM_BLOCKS)
# Sec. 4.1: the last two blocks may be skipped "with a reasonable NME".
_REASONABLE = published.AFLW_BLOCKS[3] / published.AFLW_BLOCKS[-1]


def _exit_name(blocks):
  return f'after {blocks} blocks'


def _time_name(blocks):
  return f'milliseconds a face: {blocks} blocks'


def _time_row(blocks):
  return Row(
    _time_name(blocks),
    lambda found, seed: found.early_exit(seed, blocks),
    unit='milliseconds a face',
  )


_EXIT = Table(
  'exit',
  'Beyond the paper: leaving after blocks 3 and 4',
  'as each row says',
  (
    *(
      error_row(
        _exit_name(blocks),
        BASE,
        published.AFLW_BLOCKS[blocks - 1],
        block=blocks,
        unit=_NME,
      )
      for blocks in _EXITS
    ),
    *(_time_row(blocks) for blocks in _EXITS),
  ),
  claims=(
    Claim(
      'Without the last two blocks the error grows by no more than in the paper, '
      f'{100 * (_REASONABLE - 1):.0f} %',
      (_exit_name(4), _exit_name(variants.NUM_BLOCKS)),
      lambda row: (
        100 * (_REASONABLE - row[_exit_name(4)] / row[_exit_name(variants.NUM_BLOCKS)])
      ),
      unit='percent of the final error',
      only_if_not_contradicted=True,
    ),
    worse_by(
      'Without the last two blocks a face takes less time',
      _time_name(4),
      _time_name(variants.NUM_BLOCKS),
      unit='milliseconds a face',
    ),
  ),
  notes=(
    'The weights are those of the whole network. One face a call, on the device that '
    'the run names; the paper measures 4.3 faces a second on a Titan X.',
  ),
)
FURTHER_TABLES = (_CASCADE, _BLOCKS, _DEPTH, _SPLAT, _FACES, _EXIT)
