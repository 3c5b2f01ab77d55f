"""The page of all results: docs/results.md, written by the program alone."""

from collections.abc import Mapping, Sequence
import os
import pathlib
import shutil

from experiments.lib import output_files
from experiments.reproduce import report, tables, variants
from experiments.reproduce.catalogue import TABLES

_HEAD = """# Results

Written by

```bash
{commands}
```

at revision {commit}; nothing here is edited by hand.
Numbers of the paper are on its own data and stand in a column of their own, as do those
on photographs and those on synthetic faces. A number is the mean over the seeds and,
behind ±, their sample deviation: the spread. A claim *holds within the spread* if the
mean of the difference that it states is above zero by more than the spread of this
difference, it *does not hold* if it is below zero by more, and in between, with one
seed, or where the networks have not learned their task, it *cannot be said*.

## The claims
"""


def write(
  page: str | os.PathLike[str],
  folder: str | os.PathLike[str],
  *,
  command: str,
  commit: str,
  pictures: Mapping[int, Sequence[pathlib.Path]],
) -> list[str]:
  """Writes the page out of everything that the work folder has.

  Args:
    page: the file; its pictures go into a folder beside it, of its name.
    folder: the work folder.
    command: that writes it, once the tables are made.
    commit: the revision of the code.
    pictures: number of a figure of the paper -> what was drawn of it.

  Returns:
    The keys of the tables on the page.
  """
  page = pathlib.Path(page)
  beside = page.with_suffix('')
  beside.mkdir(parents=True, exist_ok=True)
  found = {key: report.load_columns(folder, table) for key, table in TABLES.items()}
  found = {key: columns for key, columns in found.items() if columns}
  commands = '\n'.join([*_commands(found), command])
  parts = [_HEAD.format(commands=commands, commit=commit), _claims(found)]
  for key, columns in found.items():
    path = beside / f'table_{key}.png'
    drawn = report.draw(path, TABLES[key], columns)
    picture = f'{beside.name}/{path.name}' if drawn else ''
    parts.append(report.markdown(TABLES[key], columns, picture=picture, level=2))
  for number, paths in sorted(pictures.items()):
    parts.append(f'## Figure {number}\n')
    for path in paths:
      if path.resolve().parent != beside.resolve():  # the work folder may be the page's
        shutil.copyfile(path, beside / path.name)
      parts.append(f'![Figure {number}]({beside.name}/{path.name})\n')
  with output_files.new_table(str(page)) as file:
    file.write('\n'.join(parts))
  return list(found)


def _commands(found):
  """What makes these tables: one command for each data, scale and set of flags."""
  tables_of: dict[str, list[str]] = {}
  for key, columns in found.items():
    for column in columns:
      scale = variants.SCALES[column.scale]
      variant = variants.VARIANTS[TABLES[key].variant]
      usual = variants.flags_of(variant, scale, column.data, {})
      flags = [f'--data={column.data}'] if column.data != 'synthetic' else []
      flags += [f'--scale={scale.name}', f'--seeds={len(column.seeds)}']
      flags += [f'--seed={column.seeds[0]}'] if column.seeds[0] else []
      flags += [
        f'--{name}={text}'
        for name, text in sorted(column.settings.items())
        if usual.get(name) != text
      ]
      tables_of.setdefault(' '.join(flags), []).append(key)
  program = 'python -m experiments.reproduce'
  return [
    f'{program} --table={",".join(keys)} {flags}' for flags, keys in tables_of.items()
  ]


def _claims(found):
  """One line a claim and column: the verdict, and where its evidence stands."""
  lines = ['| claim | faces | verdict | evidence |', '|---|---|---|---|']
  lines += [
    f'| {verdict.claim} | {column.kind} | {verdict.verdict} | '
    f'[{key}](#{_anchor(TABLES[key].title)}) |'
    for key, columns in found.items()
    for column in columns
    for verdict in tables.verdicts(TABLES[key], column.cells)
  ]
  return '\n'.join(lines) + '\n'


def _anchor(title):
  """The anchor that a forge gives a heading."""
  kept = ''.join(c for c in title.strip().lower() if c.isalnum() or c in '-_ ')
  return kept.replace(' ', '-')
