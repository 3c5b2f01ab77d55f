"""Lines of progress where there is no terminal."""

import io

from absl.testing import absltest

from experiments.align.progress import Progress


class _Terminal(io.StringIO):
  def isatty(self):
    return True


class ProgressTest(absltest.TestCase):
  def test_lines_every_few_seconds(self):
    stream, now = io.StringIO(), [0.0]
    progress = Progress(1000, stream, lambda: now[0])
    now[0] = 30.0  # compiling is not counted
    for _ in range(100):
      progress.step()
      now[0] += 0.1
    progress.close()
    lines = stream.getvalue().splitlines()
    self.assertLen(lines, 2)
    self.assertRegex(lines[0], r'^\d+ of 1000 photos, 10\.0 img/s, 9\d s|2 min left$')

  def test_a_bar_on_a_terminal(self):
    try:
      import tqdm  # noqa: F401 it is optional
    except ImportError:
      self.skipTest('tqdm is not installed')
    stream = _Terminal()
    progress = Progress(3, stream)
    for _ in range(3):
      progress.step()
    progress.close()
    self.assertIn('3/3', stream.getvalue())
    self.assertIn('img', stream.getvalue())


if __name__ == '__main__':
  absltest.main()
