"""The log of decisions is complete, and no document leads nowhere."""

import pathlib
import re

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_FOLDERS = ('.ci', '.github', 'docs', 'examples', 'experiments', 'pifa_jax', 'tests')
_TEXT = {'', '.cfg', '.flags', '.ipynb', '.md', '.py', '.toml', '.txt', '.yaml', '.yml'}

_NUMBER = re.compile(r'\bD-\d{2,3}\b')
_HEADING = re.compile(r'^### (D-\d{2,3}) (.+)$', re.MULTILINE)
_ROW = re.compile(r'^\| \[(D-\d{2,3})\]\(#(\S+)\) \|.*\| ([^|]+) \|$', re.MULTILINE)
_SUPERSEDED = re.compile(r'superseded by \[(D-\d{2,3})\]\(#(\S+)\)')
_HOLES = re.compile(r'^(D-.*) do not exist: .*$', re.MULTILINE)
_LINK = re.compile(r'\]\(([^()\s]+)\)')


def _files():
  """Every text file of the repository, without what a run or an installation adds."""
  yield from (path for path in _ROOT.iterdir() if path.is_file())
  for folder in _FOLDERS:
    yield from (path for path in (_ROOT / folder).rglob('*') if path.is_file())


def _texts():
  for path in sorted(_files()):
    if path.suffix in _TEXT and not path.name.startswith('.git'):
      yield path, path.read_text()


def _documents():
  return [(path, text) for path, text in _texts() if path.suffix == '.md']


def _anchor(title):
  """The anchor that a forge gives a heading."""
  return re.sub(r'[^\w\- ]', '', title.strip().lower()).replace(' ', '-')


def _without_code(text):
  text = re.sub(r'^ *```.*?^ *```$', '', text, flags=re.DOTALL | re.MULTILINE)
  text = re.sub(r'(?<=\n\n)( {4}.*\n)+', '', text)
  return re.sub(r'`[^`\n]*`', '', text)


def _anchors(text):
  """Anchors of all headings; equal titles get -1, -2, ... as on a forge."""
  found = []
  for title in re.findall(r'^#+ (.+)$', text, re.MULTILINE):
    anchor = _anchor(title)
    times = sum(re.sub(r'-\d+$', '', a) == anchor or a == anchor for a in found)
    found.append(f'{anchor}-{times}' if anchor in found else anchor)
  return found


def _dead_links(path, text):
  """Relative links of a document whose file or anchor is not there."""
  for target in _LINK.findall(_without_code(text)):
    if re.match(r'[a-z]+:', target):
      continue
    name, _, anchor = target.partition('#')
    file = path.parent / name if name else path
    if not file.exists() or (
      anchor and anchor not in _anchors(file.read_text() if name else text)
    ):
      yield target


def _holes(notes):
  """Numbers that the line on holes names, ranges written out."""
  line = _HOLES.search(notes).group(1)
  numbers = set()
  for first, last in re.findall(r'D-(\d\d)(?: to D-(\d\d))?', line):
    numbers |= set(range(int(first), int(last or first) + 1))
  return {f'D-{number:02d}' for number in numbers}


class DecisionsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.notes = (_ROOT / 'BUILD_NOTES.md').read_text()
    self.headings = dict(_HEADING.findall(self.notes))

  def test_numbers_rise_and_the_holes_are_those_that_are_explained(self):
    numbers = [number for number, _ in _HEADING.findall(self.notes)]
    self.assertEqual(numbers, sorted(set(numbers), key=lambda text: int(text[2:])))
    up_to_last = {f'D-{n:02d}' for n in range(1, int(numbers[-1][2:]) + 1)}
    self.assertEqual(up_to_last - set(numbers), _holes(self.notes))

  def test_every_number_that_is_cited_exists(self):
    cited = 0
    for path, text in _texts():
      for number in _NUMBER.findall(_HOLES.sub('', text)):
        self.assertIn(number, self.headings, f'{path} cites {number}')
        cited += 1
    self.assertGreater(cited, len(self.headings))

  def test_the_index_lists_the_decisions_and_links_to_them(self):
    rows = _ROW.findall(self.notes)
    self.assertEqual([number for number, *_ in rows], list(self.headings))
    for number, link, _ in rows:
      self.assertEqual(link, _anchor(f'{number} {self.headings[number]}'))

  def test_every_decision_holds_or_a_later_one_supersedes_it(self):
    superseded = 0
    for number, _, status in _ROW.findall(self.notes):
      if status == 'holds':
        continue
      match = _SUPERSEDED.fullmatch(status)
      self.assertIsNotNone(match, f'{number}: {status}')
      self.assertGreater(int(match.group(1)[2:]), int(number[2:]))
      self.assertIn(match.group(1), self.headings)
      superseded += 1
    self.assertGreater(superseded, 0)

  def test_sections_that_are_named_by_their_title_exist(self):
    titles = set(re.findall(r'^#+ (.+)$', self.notes, re.MULTILINE))
    for path, text in _texts():
      # A message in a program may go on in the next string literal.
      for title in re.findall(r'BUILD_NOTES\.md,[\s\']*"([^"]+)"', text):
        self.assertIn(title, titles, path)


class LinksTest(absltest.TestCase):
  def test_no_document_has_a_dead_link(self):
    documents = _documents()
    self.assertGreater(len(documents), 3)
    for path, text in documents:
      self.assertEqual(list(_dead_links(path, text)), [], path)

  def test_dead_links_are_found(self):
    text = (
      '# A title\n[x](gone.md) [y](#gone) [z](#a-title) [w](README.md#gone)\n'
      '`[code](gone.md)` [web](https://example.org/gone)\n'
    )
    self.assertEqual(
      list(_dead_links(_ROOT / 'BUILD_NOTES.md', text)),
      ['gone.md', '#gone', 'README.md#gone'],
    )


if __name__ == '__main__':
  absltest.main()
