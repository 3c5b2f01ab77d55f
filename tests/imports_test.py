"""Imports go downwards only, and what only some users need stays optional."""

import ast
import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parent.parent

# Lower layers first. A module may import modules of its own layer and below.
_LAYERS = (
    ('types',),
    ('boxes', 'contour', 'depth_keys', 'fitting', 'landmark_search', 'losses',
     'masks', 'metrics', 'mirror', 'morphable_model', 'projection', 'protocols', 'rendering',
     'synthesis', 'visualization'),
    ('network',),
    ('array_files', 'checkpoints', 'datasets', 'face_models', 'formats', 'inference', 'matlab_files',
     'optimizer', 'training', 'weights'),
)
_LEVEL = {name: level for level, names in enumerate(_LAYERS) for name in names}
_GEOMETRY_MAY_IMPORT = {'jax', 'numpy', 'chex', 'collections', 'dataclasses',
                        'functools', 'math', 'typing', 'pifa_jax'}
_OPTIONAL = {'tensorflow_datasets', 'tensorflow', 'grain', 'matplotlib', 'numba', 'torch',
             'tensorboardX'}


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


class ArrowTest(absltest.TestCase):

  def test_every_module_has_a_layer(self):
    self.assertEqual({name for _, name in _library()} - {'__init__'},
                     set(_LEVEL))

  def test_imports_go_downwards(self):
    for path, name in _library():
      if name == '__init__':
        continue
      for imported in _imports(path, everywhere=True):
        parts = imported.split('.')
        if parts[0] == 'pifa_jax' and len(parts) > 1:
          self.assertIn(parts[1], _LEVEL, f'{path} imports {imported}')
          self.assertLessEqual(_LEVEL[parts[1]], _LEVEL[name],
                               f'{path} imports {imported}')

  def test_the_library_has_no_flags_no_figures_no_programs(self):
    for path, _ in _library():
      for imported in _imports(path, everywhere=True):
        self.assertNotIn(imported.split('.')[0], ('experiments', 'matplotlib'),
                         path)
        self.assertFalse(imported.startswith('absl'), f'{path}: {imported}')

  def test_geometry_needs_jax_and_numpy_alone(self):
    for path, name in _library():
      if _LEVEL.get(name, 9) <= 1:
        for imported in _imports(path, everywhere=True):
          self.assertIn(imported.split('.')[0], _GEOMETRY_MAY_IMPORT, path)

  def test_optional_packages_are_imported_where_they_are_used(self):
    programs = ((path, '') for path in (_ROOT / 'experiments').glob('*.py'))
    for path, _ in (*_library(), *programs):
      for imported in _imports(path, everywhere=False):
        self.assertNotIn(imported.split('.')[0], _OPTIONAL, path)


class WithoutOptionalPackagesTest(absltest.TestCase):

  def test_everything_imports(self):
    modules = ['.'.join(path.relative_to(_ROOT).with_suffix('').parts)
               for path, _ in _library() if path.name != '__init__.py']
    modules += ['experiments.train', 'experiments.evaluate', 'experiments.benchmark']
    program = f'''
import importlib, sys
class Blocked:
  def find_spec(self, name, path=None, target=None):
    if name.split('.')[0] in {sorted(_OPTIONAL)!r}:
      raise ImportError('blocked: ' + name)
sys.meta_path.insert(0, Blocked())
for name in {modules!r}:
  importlib.import_module(name)
'''
    done = subprocess.run([sys.executable, '-c', program], cwd=_ROOT, text=True,
                          capture_output=True, env={**os.environ}, timeout=120)
    self.assertEqual(done.returncode, 0, done.stderr)


class InstalledTest(absltest.TestCase):

  def test_a_folder_of_the_same_name_is_not_taken_for_the_package(self):
    # Whoever clones this repository and stays in the folder where they did it has one.
    with tempfile.TemporaryDirectory() as folder:
      os.mkdir(os.path.join(folder, 'pifa_jax'))
      done = subprocess.run(
          [sys.executable, '-c', "import importlib.util as u; "
           "print(u.find_spec('pifa_jax').origin)"], cwd=folder, text=True,
          capture_output=True, timeout=120)
    self.assertEqual(pathlib.Path(done.stdout.strip()).name, '__init__.py',
                     f'{done.stderr}Is it installed, as README says?')


if __name__ == '__main__':
  absltest.main()
