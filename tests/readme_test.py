"""The README's commands are the ones that run."""

import pathlib
import re

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parent.parent


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
    exec(compile(code, 'README.md', 'exec'), names)  # pylint: disable=exec-used
    # The fit comes back to the landmarks that it was given.
    self.assertLess(float(names['residual']), 0.005)
    self.assertEqual(names['mesh'].shape, (17655, 3))

  def test_flag_files_exist(self):
    for name in re.findall(r'--flagfile=(\S+?\.flags)', self.readme):
      self.assertTrue((_ROOT / 'experiments' / name).is_file(), name)

  def test_links_lead_somewhere(self):
    for target in re.findall(r'\]\(([^)#]+)\)', self.readme):
      self.assertTrue((_ROOT / target).exists(), target)


if __name__ == '__main__':
  absltest.main()
