"""Results of an evaluation as text and as one self-contained HTML page."""

import base64
import html
import math
import os

from experiments.lib import scoring
from pifa_jax.evaluation.protocols import Protocol

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; color: #222; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; margin: .5rem 0 }
td, th { border-bottom: 1px solid #ccc; padding: .25rem .9rem; text-align: right }
td:first-child, th:first-child { text-align: left }
img { max-width: 100%; height: auto } .wide { overflow-x: auto }
p.note { color: #555; overflow-wrap: anywhere }
"""


def text(result: dict, protocol: Protocol) -> str:
  """What the program prints: Table 3's row, and the other numbers.

  Args:
    result: of `experiments.evaluate`, as in eval.json.
    protocol: the definitions.

  Returns:
    Text of several lines.
  """
  return '\n'.join(
    [
      scoring.table(
        [result['initial_nme'], *result['nme']], protocol, result['statement']
      )
    ]
    + [f'{what}: {value}' for what, value in _facts(result)]
  )


def _facts(result):
  """(what, value) of all that is not the row of blocks."""
  unit = '%' if result['unit'] == 'percent' else 'px'
  facts = [('mean over images', f'{result["mean"]:.2f} {unit}')]
  if result.get('num_without_labels'):
    facts.append(
      ('faces without a landmark that counts, left out', result['num_without_labels'])
    )
  if result['yaw_bins']:
    facts.append(
      (
        'yaw bins',
        ', '.join(
          f'{name}: ' + ('no faces' if math.isnan(value) else f'{value:.2f}')
          for name, value in result['yaw_bins'].items()
        ),
      )
    )
  for points, rate in result['failure_rate_above_8_percent'].items():
    facts.append((f'failures above 8 %, {points} points', f'{rate:.2f} %'))
  facts.append(
    (f'AUC up to {result["auc"]["limit"]:g} {unit}', f'{result["auc"]["value"]:.2f} %')
  )
  if result['visibility']:
    facts.append(
      (
        'visibility',
        ', '.join(
          f'{name} {value:.3f}' for name, value in result['visibility'].items()
        ),
      )
    )
  pose = result['pose_mae_degrees']
  if pose['num_images']:
    facts.append(
      (
        'pose, mean absolute error in degrees',
        ', '.join(
          f'{name} {pose[name]:.2f}' for name in ('yaw', 'pitch', 'roll', 'mean')
        )
        + f' ({pose["num_images"]} faces, {pose["num_dropped"]} beyond 99 '
        'degrees left out)',
      )
    )
  if result.get('box_noise'):
    facts.append(
      (
        'error by box noise',
        ', '.join(
          f'{noise} %: {value:.2f}' for noise, value in result['box_noise'].items()
        ),
      )
    )
  return facts


def page(
  result: dict, protocol: Protocol, folder: str, worst: list[tuple[str, float]]
) -> str:
  """The report as one HTML page, with the images of `folder` inside.

  Args:
    result: as in eval.json.
    protocol: the definitions.
    folder: holds ced.png, faces.png, ...; missing ones are left out.
    worst: (name, error) of the worst faces, worst first.

  Returns:
    The page.
  """
  escape = lambda value: html.escape(str(value))
  column = f'{result["kind"]} ({result["title"]}, N={result["num_faces"]})'
  rows = ''.join(
    f'<tr><td>{name}</td><td>{value:.2f}</td></tr>'
    for name, value in [('start (mean face in the box)', result['initial_nme'])]
    + [(f'after block {i + 1}', x) for i, x in enumerate(result['nme'])]
  )
  facts = ''.join(
    f'<tr><td>{escape(what)}</td><td>{escape(value)}</td></tr>'
    for what, value in _facts(result)
  )
  names = ', '.join(f'{escape(name)} ({error:.1f})' for name, error in worst)
  paper = f'<p class="note">{escape(protocol.paper)}</p>' if protocol.paper else ''
  return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(result['title'])}: {result['nme'][-1]:.2f}</title>
<style>{_STYLE}</style></head><body>
<h1>{escape(protocol.title)}: {result['nme'][-1]:.2f}
{'%' if result['unit'] == 'percent' else 'pixels'}</h1>
<p class="note">{escape(result['statement'])}</p>
<h2>Error after every block, {result['unit']}</h2>
<div class="wide"><table><tr><th></th><th>{escape(column)}</th></tr>{rows}</table></div>
{paper}
<h2>Other numbers</h2><div class="wide"><table>{facts}</table></div>
{_image(folder, 'ced.png', 'Cumulative distribution of the errors')}
{_image(folder, 'box_noise.png', 'Error by box noise')}
{_image(folder, 'worst.png', 'The 24 worst faces: green visible, red hidden')}
<p class="note">{names}</p>
{_image(folder, 'faces.png', 'Faces evenly spread over the set')}
</body></html>
"""


def _image(folder, name, title):
  path = os.path.join(folder, name)
  if not os.path.exists(path):
    return ''
  with open(path, 'rb') as file:
    data = base64.b64encode(file.read()).decode()
  return (
    f'<h2>{html.escape(title)}</h2><img alt="{html.escape(title)}" '
    f'src="data:image/png;base64,{data}">'
  )
