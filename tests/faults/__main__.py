"""The fault suite: every fault of the list is put in and counted.

python -m tests.faults --workdir=FOLDER [--rows=R5,S3] [--scale=short|full]

It prints one table. The exit code is 0 if no row failed; a row that is not built is
printed as such. At full scale the runs of the trainer (R1 to R4) take hours.
"""

import argparse
import pathlib
import sys
import time

from tests.faults import rows, tally


def main() -> int:
  """Tries rows and prints the table.

  Returns:
    The exit code: 0 if no row that was tried failed.
  """
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--workdir', required=True, help='a folder that is new or empty')
  parser.add_argument('--rows', default=','.join(rows.ROWS), help='such as R5,S3')
  parser.add_argument('--scale', choices=('short', 'full'), default='short')
  given = parser.parse_args()
  chosen = given.rows.split(',')
  unknown = sorted(set(chosen) - set(rows.ROWS))
  if unknown:
    parser.error(f'there is no row {unknown[0]!r}; there are: {", ".join(rows.ROWS)}')
  folder = pathlib.Path(given.workdir).absolute()
  folder.mkdir(parents=True, exist_ok=True)
  if any(folder.iterdir()):
    parser.error(f'--workdir={folder} is not empty; name a new folder')
  found: dict[str, tally.Tally] = {}
  for name in chosen:
    row = rows.ROWS[name]
    if row.run is None:
      continue
    place = folder / name
    place.mkdir()
    began = time.monotonic()
    found[name] = row.run(tally.Scale(place, given.scale == 'full'))
    print(f'{name}: {time.monotonic() - began:.0f} s', file=sys.stderr, flush=True)
  print(tally.heading())
  for name, row in rows.ROWS.items():
    print(tally.line(name, row, found.get(name)))
  for name, counts in found.items():
    for note in counts.notes:
      print(f'{name} {note}')
  return 0 if all(counts.passed for counts in found.values()) else 1


if __name__ == '__main__':
  sys.exit(main())
