"""What the benchmark says: a line a group, benchmark.json, the table, linearity.png."""

from collections.abc import Mapping, Sequence
import resource
import sys
from typing import Any

import jax

from experiments.benchmark.counts import SCHEDULE_SAMPLES
from experiments.lib import figures, output_files

Row = dict[str, Any]


def progress(part: str, rows: Sequence[Row], seconds: float) -> str:
  """Formats one group of cases as one line.

  Args:
    part: that it belongs to.
    rows: of the group.
    seconds: since the benchmark began.

  Returns:
    The line.
  """
  medians = (f'{row["name"]} {row["median_ms"]:.2f} ms' for row in rows)
  return f'{seconds:6.0f} s  {part}: {", ".join(medians)}'


def write_json(
  path: str,
  *,
  devices: Sequence[jax.Device],
  record: Mapping[str, Any],
  rows: Sequence[Row],
) -> None:
  """Writes benchmark.json.

  Args:
    path: the file; an existing one is replaced.
    devices: that were measured.
    record: of run.json.
    rows: measured so far.
  """
  result = {
    'device': device_name(devices),
    'platform': devices[0].platform,
    'num_devices': len(devices),
    'versions': record['versions'],
    'commit': record['commit'],
    'flags': record['flags'],
    'peak_memory': peak_memory(devices[0]),
    'rows': rows,
  }
  output_files.write_json(path, result, indent=1)


def device_name(devices: Sequence[jax.Device]) -> str:
  """Names the devices, such as '1 x cpu'.

  Args:
    devices: at least one; all of one kind.

  Returns:
    The number of devices and their kind.
  """
  return f'{len(devices)} x {devices[0].device_kind}'


def peak_memory(device: jax.Device) -> dict[str, int]:
  """Reads the peak memory of this process, and of a device that keeps count.

  Args:
    device: one of those that were measured.

  Returns:
    'process' and perhaps 'device' -> bytes.
  """
  # Linux counts in KiB, macOS in bytes.
  unit = 1 if sys.platform == 'darwin' else 1024
  peak = {'process': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
  stats = device.memory_stats() or {}
  if 'peak_bytes_in_use' in stats:
    peak['device'] = stats['peak_bytes_in_use']
  return peak


def summary(
  rows: Sequence[Row],
  *,
  devices: Sequence[jax.Device],
  record: Mapping[str, Any],
  dtype: str,
  repeats: int,
) -> str:
  """Formats the whole result as text.

  Args:
    rows: of benchmark.json.
    devices: that were measured.
    record: of run.json.
    dtype: of the face model and the ceilings.
    repeats: timed calls of every case.

  Returns:
    A line on the machine, the table, and what the paper's schedule would take.
  """
  memory = ', '.join(
    f'{name} {size / 2**30:.2f} GiB' for name, size in peak_memory(devices[0]).items()
  )
  head = (
    f'{device_name(devices)}, jax {record["versions"]["jax"]}, commit '
    f'{record["commit"]}, {dtype}, {repeats} calls a case, peak memory {memory}'
  )
  schedule = [
    f"{row['name']}, batch {row['batch']}: the paper's {SCHEDULE_SAMPLES:,} "
    f'samples would take {row["schedule_hours"]:.2f} hours (from '
    f'{row["repeats"]} steps).'
    for row in rows
    if 'schedule_hours' in row
  ]
  return '\n'.join([head, table(rows), *schedule])


def table(rows: Sequence[Row]) -> str:
  """Formats the rows of benchmark.json as a table.

  Args:
    rows: of `benchmark.json`.

  Returns:
    One line a row, under a line of headings; '-' where there is no number.
  """
  columns = (
    ('part', lambda r: r['part']),
    ('case', lambda r: r['name']),
    ('batch', lambda r: str(r['batch'])),
    ('median ms', lambda r: f'{r["median_ms"]:.2f}'),
    ('min', lambda r: f'{r["min_ms"]:.2f}'),
    ('max', lambda r: f'{r["max_ms"]:.2f}'),
    ('ms/face', lambda r: f'{r["ms_a_face"]:.3f}'),
    ('faces/s', lambda r: f'{r["faces_a_second"]:.1f}'),
    ('GFLOP', lambda r: f'{r["gflop"]:.2f}' if r['gflop'] else '-'),
    ('GB', lambda r: f'{r["gbyte"]:.3f}' if r['gbyte'] else '-'),
    ('% product', lambda r: _number(r['share_of_product'], 100, 0)),
    ('% copy', lambda r: _number(r['share_of_copy'], 100, 0)),
    ('compile s', lambda r: _number(r['compile_seconds'], 1, 1)),
    ('temp MB', lambda r: _number(r['temp_bytes'], 1e-6, 1)),
  )
  lines = [[name for name, _ in columns]]
  lines += [[text(row) for _, text in columns] for row in rows]
  widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
  # Words to the left, numbers to the right.
  return '\n'.join(
    '  '.join(
      cell.ljust(width) if i < 2 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    for line in lines
  )


def _number(value, factor, digits):
  return '-' if value is None else f'{value * factor:.{digits}f}'


def plot_linearity(rows: Sequence[Row], path: str) -> bool:
  """Plots the part linearity: time against size, both relative.

  Args:
    rows: of benchmark.json; the first with 'grows' is the one the others grew from.
    path: where the PNG goes.

  Returns:
    False, with no figure made, if matplotlib is not installed.
  """
  figure = figures.figure(5, 4)
  if figure is None:
    return False
  axes = figure.subplots()
  base, *grown = [row for row in rows if 'grows' in row]
  for row in grown:
    axes.plot(
      [1, 2], [1, row['median_ms'] / base['median_ms']], 'o-', label=row['grows']
    )
  axes.plot([1, 2], [1, 2], 'k:', label='linear')
  axes.set(xlabel='size, times', ylabel='forward and gradient, times')
  axes.legend()
  figures.save(figure, path, dpi=120)
  return True
