"""README and the other pages: their commands, flags and links are ones that exist."""

import pathlib
import re

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PAGES = (
  'README.md',
  'CONTRIBUTING.md',
  'docs/conventions.md',
  'docs/data.md',
  'docs/equations.md',
)
_MAX_README = 6 * 1024  # bytes: a front door, not the house


class ReadmeTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.readme = (_ROOT / 'README.md').read_text()

  def test_ci_runs_the_test_command(self):
    script = (_ROOT / '.ci' / 'run').read_text()
    blocks = re.findall(r'```bash\n(.*?)\n```', self.readme, re.DOTALL)
    command = next(b for b in blocks if b.endswith('python -m pytest'))
    # In a virtual environment of its own; the rest is the same to the letter.
    steps = command.split(' && ')[2:]
    self.assertLen(steps, 2)
    self.assertIn('\n' + ' && '.join(steps) + '\n', script)

  def test_the_library_example_runs(self):
    code = re.search(r'```python\n(.*?)\n```', self.readme, re.DOTALL).group(1)
    names = {}
    exec(compile(code, 'README.md', 'exec'), names)
    # The fit comes back to the landmarks that it was given.
    self.assertLess(float(names['residual']), 0.005)
    self.assertEqual(names['mesh'].shape, (17655, 3))

  def test_readme_stays_short(self):
    self.assertLessEqual(len(self.readme.encode()), _MAX_README)

  def test_flag_files_exist(self):
    for page in _PAGES:
      for name in re.findall(r'--flagfile=(\w+\.flags)', (_ROOT / page).read_text()):
        self.assertTrue((_ROOT / 'experiments' / name).is_file(), f'{page}: {name}')

  def test_programs_and_their_flags_exist(self):
    sections = (_ROOT / 'docs' / 'programs.md').read_text().split('\n## ')
    known = {
      section.partition('\n')[0]: set(re.findall(r'\| `--(?:\[no\])?(\w+)`', section))
      for section in sections
    }
    shared = set().union(*(v for k, v in known.items() if k.startswith('Flags of ')))
    checked = 0
    for page in _PAGES:
      text = (_ROOT / page).read_text().replace('\\\n', ' ')
      # A command ends with its line, or with the code that it stands in.
      for name, rest in re.findall(r'python -m experiments\.(\w+)([^\n`&]*)', text):
        self.assertIn(name, known, page)
        for flag in re.findall(r' --(\w+)', rest.partition('#')[0]):
          with self.subTest(page=page, program=name, flag=flag):
            names = {flag, flag.removeprefix('no')} - {''}
            self.assertTrue(names & (known[name] | shared | {'flagfile', 'help'}))
            checked += 1
    self.assertGreater(checked, 40)

  def test_files_in_commands_exist(self):
    found = re.findall(r'=(docs/[\w./]+)', self.readme)
    self.assertLen(found, 1)
    for name in found:
      self.assertTrue((_ROOT / name).is_file(), name)

  def test_links_of_readme_lead_somewhere(self):
    for target in re.findall(r'\]\(([^)#]+)', self.readme):
      self.assertTrue((_ROOT / target).exists(), target)


if __name__ == '__main__':
  absltest.main()
