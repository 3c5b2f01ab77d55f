"""Where results go, and that they are never read as inputs."""

import json
import pathlib
import tempfile

from absl.testing import absltest

from experiments.lib import cli, output_files, terminal


class OutputFilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def files(self, *names):
    paths = [self.root / name for name in names]
    for path in paths:
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(b'')
    return paths

  def test_different_names_have_different_files(self):
    names = ['a/same.jpg', 'a__same.jpg', 'a/same.png', 'same.jpg']
    paths = {output_files.output_path(self.root, name, '.png') for name in names}
    self.assertLen(paths, 4)
    for path in paths:
      self.assertTrue(path.parent.is_dir())

  def test_a_name_does_not_lead_out(self):
    for name in ('../a.jpg', 'a/../../b.jpg', '/tmp/a.jpg'):
      with self.assertRaisesRegex(ValueError, 'leads out'):
        output_files.output_path(self.root, name, '.png')

  def test_the_work_folder_is_skipped_and_said(self):
    found = self.files('in/a.jpg', 'in/out/a.jpg_overlay.png', 'in/out/b/c.png')
    inputs, said = output_files.inputs_only(
      found, self.root / 'in', str(self.root / 'in' / 'out')
    )
    self.assertEqual(inputs, found[:1])
    self.assertEqual(len(said), 1)
    self.assertIn('Skipped 2 files', said[0])

  def test_work_folders_of_other_runs_are_skipped(self):
    found = self.files('in/a.jpg', 'in/runs/fit/a_overlay.png', 'in/other/b.jpg')
    record = {'program': 'fit_3dmm', 'arguments': [], 'flags': {}}
    (self.root / 'in/runs/fit/run.json').write_text(json.dumps(record))
    # A run.json of somebody else's is none of ours.
    (self.root / 'in/other/run.json').write_text('{"speed": 12}')
    inputs, said = output_files.inputs_only(
      found, self.root / 'in', str(self.root / 'elsewhere')
    )
    self.assertEqual(inputs, [found[0], found[2]])
    self.assertLen(said, 1)

  def test_results_among_the_inputs_are_refused(self):
    found = self.files('in/a.jpg', 'in/in/b.jpg')
    with self.assertRaisesRegex(cli.UserError, 'is the folder of --input'):
      output_files.inputs_only(found, self.root / 'in', str(self.root / 'in'))
    # The tree of the results would grow into that of the inputs: in/b.jpg, and so on.
    with self.assertRaisesRegex(cli.UserError, 'in/in/b.jpg would lie in the folder'):
      output_files.inputs_only(found, self.root / 'in', str(self.root))
    inputs, said = output_files.inputs_only(found[:1], self.root / 'in', str(self.root))
    self.assertEqual((inputs, said), (found[:1], []))

  def test_names_that_are_no_text(self):
    for name, wanted in (
      ('a\udcff.jpg', 'a\\udcff.jpg'),
      ('new\nline.jpg', 'new\\nline.jpg'),
      ('Zo\u00eb \u9854 \U0001f600.jpg', 'Zo\u00eb \u9854 \U0001f600.jpg'),
    ):
      self.assertEqual(terminal.printable(name), wanted)
    with output_files.open_table(self.root / 'a.csv') as file:
      file.write('a\udcff.jpg')
    self.assertEqual((self.root / 'a.csv').read_bytes(), b'a\\udcff.jpg')
    self.assertEqual(output_files.count_of(1, 'face'), '1 face')
    self.assertEqual(output_files.count_of(0, 'face'), '0 faces')


if __name__ == '__main__':
  absltest.main()
