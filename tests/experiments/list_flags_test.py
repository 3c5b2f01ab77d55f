"""docs/programs.md is what the program prints."""

import pathlib

from absl.testing import absltest

from experiments import list_flags
from tests import program_runs


def _flag(name, **more):
  return {'name': name, 'default': '', 'help': 'A | b.', **more}


class ListFlagsTest(absltest.TestCase):
  def test_the_page_is_up_to_date(self):
    printed = program_runs.run('list_flags').stdout
    kept = pathlib.Path(program_runs.ROOT, 'docs', 'programs.md').read_text()
    # Not assertEqual: its difference of two long pages hides the sentence.
    if printed != kept:
      self.fail(
        'docs/programs.md is not what the programs say; make it again with '
        '`python -m experiments.list_flags > docs/programs.md`.'
      )

  def test_own_and_shared_flags(self):
    own, shared = 'experiments.one', 'experiments.lib.cli'
    page = list_flags.page(
      {
        'one': {
          'doc': 'First line.\n\nThe rest.',
          'flags': {
            own: [_flag('small', default='3', help='<3|4>: A | b.')],
            shared: [_flag('seed')],
          },
          'titles': {own: 'First line.', shared: 'What is shared.'},
        },
        'two': {
          'doc': 'Second.',
          'flags': {shared: [_flag('seed')]},
          'titles': {shared: 'What is shared.'},
        },
      }
    )
    self.assertIn('| `--small` | `3` | A \\| b. One of 3, 4. |', page)
    self.assertIn('```text\nThe rest.\n```', page)
    self.assertEqual(page.count('`--seed`'), 1)
    self.assertEqual(page.count('Shared flags: [cli](#flags-of-cli).'), 2)

  def test_every_program_is_found(self):
    names = list_flags.program_names()
    self.assertContainsSubset({'align', 'train', 'benchmark', 'list_flags'}, names)
    self.assertNotIn('__init__', names)


if __name__ == '__main__':
  absltest.main()
