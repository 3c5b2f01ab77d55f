"""Prints every program with its purpose and its flags, as Markdown.

  python -m experiments.list_flags > docs/programs.md

The text comes from the docstrings of the programs and from their flags, so it cannot
differ from what they do.
"""

import importlib
import inspect
import json
import os
import pathlib
import re
import sys
import warnings

from absl import flags

from experiments.lib import cli

_FOLDER = pathlib.Path(__file__).resolve().parent
_HEAD = """# Programs and their flags

Printed by `python -m experiments.list_flags > docs/programs.md`. Every program is
started with `python -m experiments.NAME`. Flags may stand in a file:
`--flagfile=demo.flags` takes one of `experiments/*.flags` or a file of your own, and
what stands after it on the command line wins. `--help` shows the same flags.
"""


def main(run: cli.Run) -> int:
  """Prints the page of all programs and flags.

  Args:
    run: the record of this run, of `cli.run`.

  Returns:
    The exit code.
  """
  del run  # it writes no file
  # What most programs import, once for all of the processes below.
  importlib.import_module('pifa_jax')
  print(page({name: _in_own_process(name) for name in program_names()}), end='')
  return cli.EXIT_OK


def program_names() -> list[str]:
  """The names that stand after `python -m experiments.`, sorted."""
  names = [
    path.stem
    for path in _FOLDER.glob('*.py')
    if "__name__ == '__main__'" in path.read_text(encoding='utf-8')
  ]
  return sorted(names + [path.parent.name for path in _FOLDER.glob('*/__main__.py')])


def describe(name: str) -> dict:
  """Imports a program and reads its docstring and its flags.

  Args:
    name: of the program.

  Returns:
    'doc' the module's docstring; 'flags' module -> flags, and 'titles' module ->
    first line of its docstring, for the modules of `experiments`.
  """
  module = importlib.import_module(_module_name(name))
  found = {
    owner: [_flag(flag) for flag in sorted(defined, key=lambda flag: flag.name)]
    for owner, defined in flags.FLAGS.flags_by_module_dict().items()
    if owner.startswith('experiments.') and defined
  }
  return {
    'doc': inspect.getdoc(module) or '',
    'flags': found,
    'titles': {
      owner: (inspect.getdoc(sys.modules[owner]) or owner).splitlines()[0]
      for owner in found
    },
  }


def page(programs: dict[str, dict]) -> str:
  """The whole page.

  Args:
    programs: name -> what `describe` says.

  Returns:
    Markdown.
  """
  shared: dict[str, list] = {}
  titles: dict[str, str] = {}
  for name, facts in programs.items():
    for owner, defined in facts['flags'].items():
      if not _is_own(owner, name):
        shared[owner], titles[owner] = defined, facts['titles'][owner]
  parts = [_HEAD, '| Program | What it does |\n|---|---|']
  parts += [
    f'| [`{name}`](#{name}) | {_cell(facts["doc"].splitlines()[0])} |'
    for name, facts in programs.items()
  ]
  for name, facts in programs.items():
    summary, _, rest = facts['doc'].partition('\n')
    parts += [f'\n## {name}\n', summary]
    if rest.strip():
      parts.append(f'\n```text\n{rest.strip(chr(10))}\n```')
    own = [
      flag
      for owner, defined in facts['flags'].items()
      if _is_own(owner, name)
      for flag in defined
    ]
    if own:
      parts += ['', _table(own)]
    others = sorted(owner for owner in facts['flags'] if not _is_own(owner, name))
    links = ', '.join(
      f'[{_short(owner)}](#flags-of-{_short(owner)})' for owner in others
    )
    parts.append(f'\nShared flags: {links or "none"}.')
  parts.append('\n# Shared flags')
  for owner in sorted(shared):
    parts += [
      f'\n## Flags of {_short(owner)}\n',
      titles[owner],
      '',
      _table(shared[owner]),
    ]
  return '\n'.join(parts) + '\n'


def _in_own_process(name):
  """`describe` in a child: two programs may define flags of the same name."""
  reading, writing = os.pipe()
  with warnings.catch_warnings():
    # JAX and Python warn of threads in a forked process; none was started yet, and the
    # child only imports.
    warnings.simplefilter('ignore')
    child = os.fork()
  if not child:
    code = 1
    try:
      os.close(reading)
      with os.fdopen(writing, 'w', encoding='utf-8') as pipe:
        json.dump(describe(name), pipe)
      code = 0
    finally:
      # Without the parent's buffers and handlers.
      os._exit(code)
  os.close(writing)
  with os.fdopen(reading, encoding='utf-8') as pipe:
    text = pipe.read()
  if os.waitpid(child, 0)[1]:
    raise cli.UserError(
      f'The program {name} cannot be imported; run python -m experiments.{name} --help '
      'to see why.'
    )
  return json.loads(text)


def _module_name(name):
  package = (_FOLDER / name / '__main__.py').is_file()
  return f'experiments.{name}' + ('.__main__' if package else '')


def _is_own(owner, name):
  return f'{owner}.'.startswith(f'experiments.{name}.')


def _short(owner):
  return owner.removeprefix('experiments.').removeprefix('lib.').replace('.', '_')


def _flag(flag):
  return {
    'name': f'[no]{flag.name}' if flag.boolean else flag.name,
    'default': _default(flag),
    'help': flag.help,
  }


def _default(flag):
  text = '' if flag.default is None else (flag.default_as_str or '').strip("'")
  home = os.path.expanduser('~')
  # The page is the same on every machine.
  return '~' + text[len(home) :] if text.startswith(home + os.sep) else text


def _table(defined):
  rows = ['| Flag | Default | Meaning |', '|---|---|---|']
  for flag in defined:
    default = f'`{_cell(flag["default"])}`' if flag['default'] else ''
    # absl puts the values of an enum before its text: <one|other>: Text.
    text = flag['help']
    values = re.match(r'<(.*?)>: ', text, re.DOTALL)
    if values:
      text = f'{text[values.end() :]} One of {values[1].replace("|", ", ")}.'
    rows.append(f'| `--{flag["name"]}` | {default} | {_cell(text)} |')
  return '\n'.join(rows)


def _cell(text):
  return re.sub(r'\s+', ' ', text).strip().replace('|', '\\|')


if __name__ == '__main__':
  # Before any program is imported: a default of theirs depends on it.
  os.environ.pop('XDG_CACHE_HOME', None)
  cli.start(main)
