"""Tables as Markdown, CSV, JSON and a picture."""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import json
import os
import pathlib
import textwrap
from typing import Any

from experiments.lib import cli, figures, output_files
from experiments.reproduce import tables, variants
from experiments.reproduce.claims import Cell, Verdict
from experiments.reproduce.tables import Row, Table


@dataclasses.dataclass(frozen=True)
class Column:
  """Our numbers on the data of one kind.

  Attributes:
    data: what was trained on, one of `variants.DATA`.
    on_photos: whether the numbers are of photos.
    title: of the test faces.
    cells: row -> numbers.
    scale: name of the scale.
    settings: flags of the table's variant that change what it computes, name -> text.
    seeds: of the runs.
    statement: what was measured how, of the base with the first seed; '' if there is
      none.
    device: that trained.
  """

  data: str
  on_photos: bool
  title: str
  cells: Mapping[str, Cell]
  scale: str
  settings: Mapping[str, str]
  seeds: tuple[int, ...]
  statement: str
  device: str

  @property
  def kind(self) -> str:
    """'real' or 'synthetic', never both in one column."""
    return 'real' if self.on_photos else 'synthetic'

  @property
  def has_numbers(self) -> bool:
    """Whether a cell has a number."""
    return any(not cell.hole for cell in self.cells.values())

  def head(self) -> str:
    """The head of the column: kind, name, number of faces and of seeds."""
    counts = {cell.num_faces for cell in self.cells.values() if cell.num_faces}
    facts = [self.title] if self.on_photos and self.title else []
    if len(counts) == 1:
      facts.append(f'N={counts.pop()}')
    facts.append(f'{len(self.seeds)} seed{"" if len(self.seeds) == 1 else "s"}')
    return f'{self.kind} ({", ".join(facts)})'

  def to_json(self) -> dict[str, Any]:
    """A JSON object; `from_json` is its inverse."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, data: Mapping[str, Any]) -> 'Column':
    """The inverse of `to_json`.

    Args:
      data: the JSON object.

    Returns:
      The column.
    """
    by_seed = lambda numbers: {int(seed): value for seed, value in numbers.items()}
    cells = {
      row: Cell(by_seed(cell['values']), by_seed(cell['holes']), cell['num_faces'])
      for row, cell in data['cells'].items()
    }
    return cls(**{**data, 'cells': cells, 'seeds': tuple(data['seeds'])})


def save_column(folder: str | os.PathLike[str], table: Table, column: Column) -> None:
  """Keeps the numbers of a table on one kind of data, beside those on others.

  Args:
    folder: the work folder.
    table: the table.
    column: its numbers.
  """
  path = _numbers(folder, table.key, column.data)
  path.parent.mkdir(parents=True, exist_ok=True)
  with output_files.new_table(str(path)) as file:
    json.dump(cli.json_value(column.to_json()), file, indent=2)


def load_columns(folder: str | os.PathLike[str], table: Table) -> list[Column]:
  """All that was kept of a table.

  Args:
    folder: the work folder.
    table: the table.

  Returns:
    Photos first; none if nothing was measured.
  """
  found = []
  for data in variants.DATA:
    path = _numbers(folder, table.key, data)
    if path.exists():
      found.append(Column.from_json(json.loads(path.read_text(encoding='utf-8'))))
  # What lacks every number only matters where there is nothing else.
  found = [column for column in found if column.has_numbers] or found
  return sorted(found, key=lambda column: not column.on_photos)


def _numbers(folder, key, data):
  return pathlib.Path(folder) / 'numbers' / f'{key}-{data}.json'


def number(cell: Cell, row: Row, *, faces: bool = False) -> str:
  """A number as a table shows it.

  Args:
    cell: with or without a number.
    row: its row.
    faces: also say how many faces are behind it.

  Returns:
    Mean and deviation; '' for a hole.
  """
  if cell.hole:
    return ''
  text = f'{cell.mean:.{row.digits}f}'
  if cell.spread is not None:
    text += f' ± {cell.spread:.{row.digits}f}'
  return text + (f' (N={cell.num_faces})' if faces and cell.num_faces else '')


def markdown(
  table: Table, columns: Sequence[Column], *, picture: str = '', level: int = 1
) -> str:
  """A table with its rivals, holes, verdicts and statements.

  Args:
    table: the table.
    columns: of `load_columns`.
    picture: link to its picture; '' = none.
    level: of its heading.

  Returns:
    Markdown.
  """
  holes: list[str] = []
  heads = ['', 'paper', *(column.head() for column in _shown(columns))]
  rows = [
    [
      row.name + (f' ({row.unit})' if row.unit and row.unit not in row.name else ''),
      '' if row.paper is None else f'{row.paper:.2f}',
      *(_cell(column, row, holes) for column in _shown(columns)),
    ]
    for row in table.rows
  ]
  parts = [f'{"#" * level} {table.title}', f'{table.unit}.', _grid([heads, *rows])]
  if holes:
    numbered = (f'- [{index + 1}] {reason}.' for index, reason in enumerate(holes))
    parts.append('No number, because:\n\n' + '\n'.join(numbered))
  for column in columns:
    said = tables.verdicts(table, column.cells)
    if said:
      lines = '\n'.join(f'- {verdict.sentence}' for verdict in said)
      parts.append(f'The claims on {column.kind} faces ({_short(column)}):\n\n{lines}')
  if table.rivals:
    parts.append(_grid(table.rivals))
  if table.notes:
    parts.append('\n'.join(f'- {note}' for note in table.notes))
  if picture:
    parts.append(f'![{table.title}]({picture})')
  parts += [f'`{column.kind}`: {_how(table, column)}' for column in columns]
  return '\n\n'.join(parts) + '\n'


class _Empty:
  """A column where nothing was run."""

  def __init__(self, kind):
    self.kind, self.cells = kind, {}

  def head(self):
    return f'{self.kind} (nothing was run)'


def _shown(columns):
  """The columns in their order, with an empty one for a kind that was not run."""
  found: list[Any] = []
  for kind in ('real', 'synthetic'):
    of_kind = [column for column in columns if column.kind == kind]
    found += of_kind or [_Empty(kind)]
  return found


def _cell(column, row, holes):
  cell = column.cells.get(row.name)
  if cell is None:
    return ''
  counts = {other.num_faces for other in column.cells.values() if other.num_faces}
  text = number(cell, row, faces=len(counts) > 1)
  marks = []
  for reason in dict.fromkeys(cell.holes.values()):
    if reason not in holes:
      holes.append(reason)
    marks.append(f'[{holes.index(reason) + 1}]')
  return ' '.join(filter(None, [text, *marks]))


def _short(column):
  trained = {'synthetic': 'synthetic', 'aflw': 'AFLW', '300w': '300W'}[column.data]
  return f'trained on {trained}, scale {column.scale}'


_WHO = {variants.BASE: 'the base is', variants.FINE_TUNED: 'the shipped weights are'}


def _how(table, column):
  """Where the numbers of a column come from."""
  flags = ' '.join(f'--{name}={text}' for name, text in sorted(column.settings.items()))
  seeds = ', '.join(map(str, column.seeds))
  statement = f'{column.statement}. ' if column.statement else ''
  return (
    f'{statement}Scale {column.scale}, seeds {seeds}, {column.device}; '
    f'{_WHO[table.variant]} trained with `{flags}`.'
  )


def _grid(rows):
  escape = lambda text: str(text).replace('|', '\\|')
  lines = ['| ' + ' | '.join(map(escape, row)) + ' |' for row in rows]
  lines.insert(1, '|' + '---|' * len(rows[0]))
  return '\n'.join(lines)


def write(
  folder: str | os.PathLike[str], table: Table, columns: Sequence[Column]
) -> list[pathlib.Path]:
  """Writes table_N.md, .csv, .json and, with matplotlib, .png.

  Args:
    folder: the work folder.
    table: the table.
    columns: of `load_columns`.

  Returns:
    Their paths.
  """
  stem = pathlib.Path(folder) / f'table_{table.key}'
  paths = [stem.with_suffix(suffix) for suffix in ('.md', '.csv', '.json', '.png')]
  drawn = draw(paths[3], table, columns)
  with output_files.new_table(str(paths[0])) as file:
    file.write(markdown(table, columns, picture=paths[3].name if drawn else ''))
  with output_files.new_table(str(paths[1])) as file:
    _write_csv(file, table, columns)
  with output_files.new_table(str(paths[2])) as file:
    json.dump(cli.json_value(content(table, columns)), file, indent=2)
    file.write('\n')
  return paths if drawn else paths[:3]


def content(table: Table, columns: Sequence[Column]) -> dict[str, Any]:
  """A table as a JSON object.

  Args:
    table: the table.
    columns: of `load_columns`.

  Returns:
    Rows, what the paper says, our numbers by column, and the verdicts.
  """
  return {
    'table': table.key,
    'title': table.title,
    'unit': table.unit,
    'rows': [{'name': row.name, 'paper': row.paper} for row in table.rows],
    'published': [list(row) for row in table.rivals],
    'notes': list(table.notes),
    'columns': [
      {
        **column.to_json(),
        'head': column.head(),
        'kind': column.kind,
        'numbers': {
          row.name: _mean_and_spread(column.cells.get(row.name, Cell()))
          for row in table.rows
        },
        'claims': [_as_json(v) for v in tables.verdicts(table, column.cells)],
      }
      for column in columns
    ],
  }


def _mean_and_spread(cell):
  if cell.hole:
    return {'mean': None, 'spread': None, 'hole': cell.hole}
  return {'mean': cell.mean, 'spread': cell.spread, 'hole': ''}


def _as_json(verdict: Verdict):
  return dataclasses.asdict(verdict)


def _write_csv(file, table, columns):
  writer = csv.writer(file)
  writer.writerow(
    'row unit column data scale mean spread seeds faces no_number_because'.split()
  )
  for row in table.rows:
    unit = row.unit or table.unit
    if row.paper is not None:
      writer.writerow([row.name, unit, 'paper', '', '', row.paper, '', '', '', ''])
    for column in columns:
      cell = column.cells.get(row.name, Cell())
      found = _mean_and_spread(cell)
      writer.writerow(
        [row.name, unit, column.kind, column.data, column.scale]
        + ['' if found[name] is None else found[name] for name in ('mean', 'spread')]
        + [len(cell.values), cell.num_faces or '', found['hole']]
      )


def draw(path: pathlib.Path, table: Table, columns: Sequence[Column]) -> bool:
  """A table as bars: one panel for each unit, deviations as lines.

  Args:
    path: of the PNG.
    table: the table.
    columns: of `load_columns`.

  Returns:
    False, with no picture made, if matplotlib is not installed.
  """
  units = list(dict.fromkeys(row.unit or table.unit for row in table.rows))
  panels = [[row for row in table.rows if (row.unit or table.unit) == u] for u in units]
  groups = 1 + len(columns)
  heights = [0.6 + len(rows) * (0.16 + 0.17 * groups) for rows in panels]
  canvas = figures.figure(8, 0.6 + sum(heights))
  if canvas is None:
    return False
  axes = canvas.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
  for axis, rows, unit in zip(axes, panels, units, strict=True):
    _panel(axis, rows, columns)
    axis.set_xlabel(unit)
  # Beside the bars, which fill the panel.
  axes[0].legend(fontsize=8, loc='upper left', bbox_to_anchor=(1.01, 1.0))
  axes[0].set_title(table.title, fontsize=10)
  figures.save(canvas, path, tight=True)
  return True


_COLORS = {'paper': '#9aa0a6', 'real': '#1b6e3c', 'synthetic': '#2456a6'}


def _panel(axis, rows, columns):
  height = 0.8 / (1 + len(columns))
  bars = [('paper', _COLORS['paper'], {row.name: (row.paper, None) for row in rows})]
  for column in columns:
    found = {
      row.name: (None, None)
      if (cell := column.cells.get(row.name, Cell())).hole
      else (cell.mean, cell.spread)
      for row in rows
    }
    bars.append((column.head(), _COLORS[column.kind], found))
  for index, (label, color, found) in enumerate(bars):
    shown = [(i, *found[row.name]) for i, row in enumerate(rows)]
    shown = [item for item in shown if item[1] is not None]
    axis.barh(
      [i + (index - len(columns) / 2) * height for i, *_ in shown],
      [mean for _, mean, _ in shown],
      height,
      xerr=[spread or 0.0 for *_, spread in shown],
      label='\n'.join(textwrap.wrap(label, 34)),
      color=color,
    )
  axis.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
  axis.set_ylim(len(rows) - 0.5, -0.5)
  axis.grid(alpha=0.3, axis='x')
