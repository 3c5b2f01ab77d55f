"""The page is complete, and asks nothing of other machines."""

import json
import pathlib
import re
import tempfile

from absl.testing import absltest

from experiments.export import demo_page
from experiments.lib import cli


class DemoPageTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.runtime = pathlib.Path(folder.name, 'dist')
    self.folder = pathlib.Path(folder.name, 'page')
    self.runtime.mkdir()
    self.folder.mkdir()
    for name in demo_page.RUNTIME:
      (self.runtime / name).write_text(name)

  def test_everything_that_it_loads_is_there(self):
    demo_page.check_runtime(self.runtime)
    names = demo_page.write(self.folder, self.runtime, 'face.onnx', 112, 1.0, 1.25)
    self.assertEqual(set(names), {path.name for path in self.folder.iterdir()})
    page = (self.folder / 'index.html').read_text()
    script = (self.folder / 'demo.js').read_text()
    for name in re.findall(r'src="([^"]+)"', page) + re.findall(
      r"(?:from|fetch\()\s*'(?:\./)?([^']+)'", script
    ):
      self.assertIn(name, names)
    facts = json.loads((self.folder / 'demo.json').read_text())
    for name in re.findall(r'facts\.(\w+)', script):
      self.assertIn(name, facts)

  def test_no_other_machine(self):
    for path in pathlib.Path(demo_page.__file__).parent.glob('page/*'):
      self.assertNotIn('http:', path.read_text().replace('http-equiv', ''))
      self.assertNotIn('https:', path.read_text())
    page = pathlib.Path(demo_page.__file__).parent / 'page' / 'index.html'
    self.assertIn("default-src 'none'", page.read_text())

  def test_a_missing_runtime_is_named(self):
    (self.runtime / demo_page.RUNTIME[1]).unlink()
    with self.assertRaisesRegex(
      cli.UserError, f'has no {demo_page.RUNTIME[1]}; run npm install'
    ):
      demo_page.check_runtime(self.runtime)


if __name__ == '__main__':
  absltest.main()
