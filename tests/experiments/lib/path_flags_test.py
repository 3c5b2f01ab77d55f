"""Every flag of every program that names a path takes `~` in the same way."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from absl import flags
from absl.testing import absltest, parameterized

from experiments.lib import path_flags
from tests import program_runs

# Names of flags, or last words of them, that are paths.
_PATH_WORDS = (
  'dir folder file path input output boxes runs checkpoint workdir model src '
  'backgrounds weights scheme landmarks wheel image'
).split()
# Help texts that speak of one.
_PATH_HELP = re.compile(r'\b[Ff]olders?\b|\b[Ff]iles?\b|\.npz|\.png|\.json\b')
# Flags with such a name or such a text that hold no path.
_NO_PATH = {
  'weights': 'latest or best',
  'block_weights': 'numbers',
  'note': 'a sentence',
  'save': 'kinds of files',
  'landmarks': 'a landmark scheme',
  'train_flags': 'flags',
  'calibrate_flags': 'flags',
}
# Prints the flags of each program, one process for all: each is imported in a fork,
# since two programs may define flags of one name.
_LIST = """
import importlib, json, os, sys
import pifa_jax, experiments.lib.cli
from absl import flags
from experiments.lib import path_flags
for module in sys.argv[1:]:
  if not os.fork():
    importlib.import_module(module)
    for owner, defined in flags.FLAGS.flags_by_module_dict().items():
      if owner.startswith('experiments'):
        for flag in defined:
          kind = type(flag.parser)
          print(json.dumps({
            'program': module, 'owner': owner, 'name': flag.name, 'help': flag.help,
            'is_path': issubclass(
              kind, (path_flags.PathParser, path_flags.PathListParser)),
            'is_text': kind in (flags.ArgumentParser, flags.ListParser),
          }), flush=True)
    os._exit(0)
  if os.wait()[1]:
    sys.exit(f'{module} cannot be imported')
"""


def _programs():
  folder = program_runs.ROOT / 'experiments'
  names = [
    path.stem
    for path in folder.glob('*.py')
    if "__name__ == '__main__'" in path.read_text(encoding='utf-8')
  ]
  names += [f'{path.parent.name}.__main__' for path in folder.glob('*/__main__.py')]
  return sorted(f'experiments.{name}' for name in names)


class AllProgramsTest(absltest.TestCase):
  def test_every_flag_that_names_a_path_is_a_path_flag(self):
    done = subprocess.run(
      [sys.executable, '-W', 'ignore', '-c', _LIST, *_programs()],
      cwd=program_runs.ROOT,
      env=program_runs.environment(),
      capture_output=True,
      text=True,
      timeout=300,
      check=False,
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    self.assertGreater(len({flag['program'] for flag in found}), 8)
    self.assertIn('workdir', {flag['name'] for flag in found if flag['is_path']})
    wrong = {
      f'--{flag["name"]} of {flag["owner"]}'
      for flag in found
      if flag['is_text'] and flag['name'] not in _NO_PATH and _looks_like_a_path(flag)
    }
    self.assertEmpty(
      wrong,
      'define them with path_flags.define_path, or list them in _NO_PATH: '
      + ', '.join(sorted(wrong)),
    )


def _looks_like_a_path(flag):
  last = flag['name'].split('_')[-1]
  return last in _PATH_WORDS or _PATH_HELP.search(flag['help'] or '') is not None


class DefinePathTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.values = flags.FlagValues()
    path_flags.define_path('place', '~/.cache/x', 'A place.', flag_values=self.values)
    path_flags.define_path_list('places', None, 'Places.', flag_values=self.values)

  @parameterized.parameters(
    ('~/fit', os.path.expanduser('~/fit')),
    ('~', os.path.expanduser('~')),
    ('runs/fit', 'runs/fit'),
    ('./~', './~'),
    ('../a~', '../a~'),
    ('builtin-1', 'builtin-1'),
    ('', ''),
  )
  def test_values(self, text, wanted):
    self.values(['program', f'--place={text}'])
    self.assertEqual(self.values.place, wanted)

  def test_defaults_lists_and_flag_files(self):
    self.values(['program'])
    self.assertEqual(self.values.place, os.path.expanduser('~/.cache/x'))
    self.assertIsNone(self.values.places)
    self.values(['program', '--places=~/a,runs/b,"~/c,d"'])
    wanted = [os.path.expanduser('~/a'), 'runs/b', os.path.expanduser('~/c,d')]
    self.assertEqual(self.values.places, wanted)
    # What a flag file of a run repeats.
    again = flags.FlagValues()
    path_flags.define_path_list('places', None, 'Places.', flag_values=again)
    again(['program', self.values['places'].serialize()])
    self.assertEqual(again.places, wanted)

  def test_a_user_who_does_not_exist_is_no_folder(self):
    for flag in ('--place=~nobody-of-this-name/x', '--places=a,~nobody-of-this-name/x'):
      with self.assertRaisesRegex(flags.IllegalFlagValueError, 'no home folder'):
        self.values(['program', flag])


class HomeFolderTest(absltest.TestCase):
  def test_as_users_type_it(self):
    with tempfile.TemporaryDirectory() as home:
      home = pathlib.Path(home)
      (home / 'faces').mkdir()
      lines = '--input=~/faces\n--boxes=~/boxes.json\n--workdir=~/aligned\n'
      (home / 'my.flags').write_text(lines)
      done = subprocess.run(
        program_runs.command('align', '--flagfile=~/my.flags'),
        cwd=program_runs.ROOT,
        env=program_runs.environment(HOME=str(home)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
      )
      # The folder was found: what is missing is a photo in it.
      self.assertIn(f'There is no photo in {home / "faces"}', done.stderr)
      self.assertFalse((program_runs.ROOT / '~').exists())


if __name__ == '__main__':
  absltest.main()
