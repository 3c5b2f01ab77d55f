"""docs/equations.md names what exists, and has a row for everything in the paper."""

import ast
import importlib
import inspect
import pathlib
import re

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_NUMBERS = {'Eq.': range(1, 12), 'Fig.': range(1, 11), 'Table': range(1, 9)}
_SECTIONS = ('3.1', '3.2', '3.3', '4', '4.1', '4.2', '4.3', '4.4')
# A result that nothing makes has no code; the row must say so.
_NOTHING = 'No command makes it yet'


def _rows():
  """What is in the paper ('Eq. (9)') -> (code names, test names, text of the row)."""
  rows = {}
  for line in (_ROOT / 'docs' / 'equations.md').read_text().splitlines():
    cells = [cell.strip() for cell in line.split('|')[1:-1]]
    if len(cells) != 4 or ':' not in cells[0]:
      continue
    key = cells[0].partition(':')[0]
    if key in rows:
      raise AssertionError(f'docs/equations.md has two rows for {key}.')
    names = [re.findall(r'\[`([\w.]+)`\]', cell) for cell in cells[1:3]]
    rows[key] = (*names, line)
  return rows


def _find(dotted):
  """The module, class, function or value of a dotted name."""
  parts = dotted.split('.')
  for end in range(len(parts), 0, -1):
    try:
      found = importlib.import_module('.'.join(parts[:end]))
    except ModuleNotFoundError as error:
      if not '.'.join(parts).startswith(error.name or ''):
        raise
      continue
    for name in parts[end:]:
      found = getattr(found, name)
    return found
  raise AttributeError(dotted)


def _test_exists(dotted):
  """Whether tests.room.module_test[.Class[.test_name]] is there, without importing."""
  module, _, rest = dotted.partition('_test')
  path = _ROOT / (module.replace('.', '/') + '_test.py')
  if not path.is_file():
    return False
  body = ast.parse(path.read_text()).body
  for name in filter(None, rest.split('.')):
    found = [node for node in body if getattr(node, 'name', None) == name]
    if not found:
      return False
    body = getattr(found[0], 'body', [])
  return True


def _named(text, kind):
  """The numbers of equations, figures or tables that a docstring names."""
  found = set()
  for part in re.findall(
    rf'{kind.rstrip(".")}s?\.? ((?:\(?\d+\)?[a-c]?(?:-|, | and )?)+)', text
  ):
    for first, last in re.findall(r'\(?(\d+)\)?(?:-\(?(\d+)\)?)?', part):
      found |= set(range(int(first), int(last or first) + 1))
  return found


class EquationMapTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.rows = _rows()

  def test_everything_has_a_row(self):
    wanted = {
      f'{kind} ({n})' if kind == 'Eq.' else f'{kind} {n}'
      for kind, numbers in _NUMBERS.items()
      for n in numbers
    } | {f'Sec. {section}' for section in _SECTIONS}
    self.assertEqual(set(self.rows), wanted)

  def test_every_row_names_code_and_test(self):
    for key, (code, tests, line) in self.rows.items():
      if _NOTHING not in line or code:
        self.assertTrue(code, f'{key} names no code')
        self.assertTrue(tests, f'{key} names no test')

  def test_code_can_be_imported(self):
    for key, (code, _, _) in self.rows.items():
      for name in code:
        with self.subTest(row=key, name=name):
          _find(name)

  def test_tests_exist(self):
    for key, (_, tests, _) in self.rows.items():
      for name in tests:
        self.assertTrue(
          _test_exists(name), f'{key}: there is no test {name}; mend docs/equations.md'
        )

  def test_links_are_those_of_the_names(self):
    text = (_ROOT / 'docs' / 'equations.md').read_text()
    links = re.findall(r'\[`([\w.]+)`\]\(\.\./([^)]+)\)', text)
    self.assertNotEmpty(links)
    for name, target in links:
      self.assertTrue((_ROOT / target).is_file(), target)
      module = target.removesuffix('.py')
      module = module.removesuffix('/__init__').removesuffix('/__main__')
      module = module.replace('/', '.')
      self.assertTrue(f'{name}.'.startswith(f'{module}.'), f'{name} is not in {target}')

  def test_decisions_exist(self):
    notes = (_ROOT / 'BUILD_NOTES.md').read_text()
    for key, (_, _, line) in self.rows.items():
      for number in re.findall(r'D-\d+', line):
        self.assertRegex(
          notes, rf'(?m)^(\*\*|#+ ){number}\b', f'{key} names {number}, which is not'
        )

  def test_functions_name_their_equation(self):
    for key, (code, _, _) in self.rows.items():
      kind, _, number = key.partition(' ')
      for name in code:
        found = _find(name)
        if kind == 'Sec.' or not (inspect.isfunction(found) or inspect.isclass(found)):
          continue
        with self.subTest(row=key, name=name):
          self.assertIn(
            int(number.strip('()')), _named(inspect.getdoc(found) or '', kind)
          )

  def test_a_wrong_name_would_be_found(self):
    for name in ('pifa_jax.geometry.masks.no_mask', 'pifa_jax.nothing'):
      with self.assertRaises(AttributeError):
        _find(name)
    self.assertFalse(_test_exists('tests.geometry.masks_test.VertexMaskTest.test_no'))
    self.assertFalse(_test_exists('tests.geometry.no_test'))
    self.assertEqual(_named('Eqs. (8)-(10), Fig. 5, Table 1', 'Eq.'), {8, 9, 10})
    self.assertEqual(_named('Eq. (6) and Figs. 2, 3', 'Fig.'), {2, 3})


if __name__ == '__main__':
  absltest.main()
