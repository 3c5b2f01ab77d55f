"""The last lines of a run."""

import contextlib
import io
import pathlib
import tempfile

from absl.testing import absltest

from experiments.align import report
from experiments.lib import cli


class ReportTest(absltest.TestCase):
  def test_advice_for_detected_faces_alone(self):
    failures = report.Failures()
    failures.add('a.jpg', report.NO_FACE)
    for are_detected in (True, False):
      said = []
      with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()) as out,
      ):
        code = report.report(
          pathlib.Path(folder),
          report.Counts(opened=1),
          1,
          failures,
          '',
          said.append,
          are_detected=are_detected,
        )
      self.assertEqual(code, cli.EXIT_SOME_FAILED)
      self.assertIn('0 faces in 0 of 1 photo, 1 failure', out.getvalue())
      self.assertEqual('try a lower --min_score' in ' '.join(said), are_detected)


if __name__ == '__main__':
  absltest.main()
