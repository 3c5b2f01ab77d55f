"""Photos of a run with a detector that is made up."""

import functools
import io
import json
import pathlib
import tempfile

from absl.testing import absltest
import jax
import numpy as np

from experiments.align import faces, report
from experiments.align.progress import Progress
from experiments.align.session import Session
from experiments.align_outputs.writer import Writer
from experiments.lib import cli
from pifa_jax.detection import Detections
from pifa_jax.inference import Aligner
from pifa_jax.inference import confidence as confidence_lib
from pifa_jax.learning import network
from tests import miniatures
from tests.toy_model import TOY_CONFIG, make_toy_model


class _Detector:
  """Finds as many faces as the photo's name says, the second a third as large."""

  def detect(self, image):
    count = int(image[0, 0, 0]) // 50
    boxes = np.array([[20.0, 20, 60, 60], [10.0, 10, 20, 20]])[:count]
    return Detections(boxes, np.array([0.9, 0.7])[:count])


@functools.cache
def _aligner():
  """The toy model, and an aligner whose faces have different confidences."""
  model = make_toy_model()
  net = network.PifaNetwork(TOY_CONFIG, model.num_params)
  geometry = network.network_geometry(model, TOY_CONFIG)
  # Updates that are large enough to tell two faces apart.
  variables = jax.tree_util.tree_map_with_path(
    lambda path, x: 50 * x if 'fc2' in jax.tree_util.keystr(path) else x,
    network.init_variables(net, geometry, seed=0),
  )
  weights = dict.fromkeys(confidence_lib._names('plain_first'), 0.0)
  weights['given_offset'] = 1.0
  sure = confidence_lib.Confidence({'plain_first': confidence_lib.Logistic(0, weights)})
  return model, Aligner(model, TOY_CONFIG, confidence=sure), variables


class SessionTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def photo(self, name, count):
    pixels = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    pixels[0, 0] = 50 * count + 10
    (self.root / name).write_bytes(miniatures.encode(pixels))
    return {name: self.root / name}

  def align(self, photos, *, kinds=(), min_confidence=0.0, boxes=None):
    model, aligner, variables = _aligner()
    results, self.failures, self.counts = io.StringIO(), report.Failures(), None
    self.counts = report.Counts()
    writer = Writer(self.root, kinds)
    session = Session(
      aligner=aligner,
      variables=variables,
      model=model,
      find_boxes=boxes or faces.of_detector(_Detector()),
      are_detected=boxes is None,
      passes=1,
      min_confidence=min_confidence,
      results=results,
      writer=writer,
      failures=self.failures,
      counts=self.counts,
    )
    session.align(photos, Progress(len(photos), io.StringIO()))
    self.assertEqual(writer.close(), [])
    self.seconds = session.stages.facts()
    return [json.loads(line) for line in results.getvalue().splitlines()]

  def test_detected_faces_and_photos_without(self):
    photos = {}
    for name, count in {'two.png': 2, 'none.png': 0, 'one.png': 1}.items():
      photos |= self.photo(name, count)
    (self.root / 'text.jpg').write_text('no photo')
    photos['text.jpg'] = self.root / 'text.jpg'
    photos['gone.jpg'] = self.root / 'gone.jpg'
    lines = self.align(photos, kinds=('overlay', 'pts'))
    self.assertEqual(
      [(line['image'], line['face'], line['score']) for line in lines],
      [('two.png', 0, 0.9), ('two.png', 1, 0.7), ('one.png', 0, 0.9)],
    )
    self.assertEqual(lines[1]['box'], [10, 10, 20, 20])
    reasons = {line['image']: line['reason'] for line in self.failures.lost}
    self.assertEqual(reasons['none.png'], 'no face was found in it')
    self.assertIn('it cannot be decoded', reasons['text.jpg'])
    self.assertEqual(
      reasons['gone.jpg'], 'it cannot be read: No such file or directory'
    )
    self.assertLen(reasons, 3)
    # Time went into everything, and no more of it than there was.
    self.assertGreater(min(self.seconds['fitting'], self.seconds['writing']), 0)
    waited = self.seconds['waiting for photos']
    self.assertLessEqual(self.seconds['fitting'] + waited, self.seconds['all'] + 0.01)
    self.assertEqual((self.counts.faces, self.counts.photos), (3, 2))
    self.assertTrue((self.root / 'two.png_1.pts').is_file())
    self.assertFalse((self.root / 'none.png_overlay.png').exists())

  def test_doubtful_faces(self):
    photos = self.photo('two.png', 2)
    lines = self.align(photos)
    found = [line['confidence'] for line in lines]
    self.assertEqual([line['doubtful'] for line in lines], [c < 0.5 for c in found])
    self.assertEqual(self.counts.doubtful, sum(c < 0.5 for c in found))
    # One is left out; its number stays with it.
    between = float(np.mean(found))
    (line,) = self.align(photos, min_confidence=between)
    self.assertEqual(line['face'], int(np.argmax(found)))
    self.assertEqual((self.counts.faces, self.counts.dropped), (1, 1))
    self.assertEmpty(self.failures.lines)
    # All are: the photo has no face.
    self.assertEmpty(self.align(photos, min_confidence=1.0))
    (failed,) = self.failures.lost
    self.assertRegex(failed['reason'], 'no face was found in it: the best confidence')
    # Of boxes that the user gave, every one is answered.
    boxes = faces.of_detector(_Detector())
    self.assertEmpty(self.align(photos, min_confidence=1.0, boxes=boxes))
    self.assertEqual([line['face'] for line in self.failures.lost], [0, 1])
    self.assertIn('is below --min_confidence=1', self.failures.lost[0]['reason'])

  def test_files_that_cannot_be_written(self):
    photos = self.photo('one.png', 1)
    (self.root / 'one.png_overlay.png').mkdir()
    self.assertLen(self.align(photos, kinds=('overlay',)), 1)
    (failed,) = self.failures.lines
    self.assertIn('no overlay was written', failed['reason'])
    # The face is there.
    self.assertEmpty(self.failures.lost)


class ReportTest(absltest.TestCase):
  def test_last_lines(self):
    said = []
    with tempfile.TemporaryDirectory() as folder:
      root = pathlib.Path(folder)
      failures = report.Failures()
      for number in range(25):
        failures.add(f'{number}.jpg', report.NO_FACE)
      counts = report.Counts(opened=25)
      code = report.report(root, counts, 25, failures, '', said.append)
      lines = (root / 'failures.jsonl').read_text().splitlines()
    self.assertEqual(code, cli.EXIT_SOME_FAILED)
    self.assertLen(lines, 25)
    self.assertEqual(said[-2], 'failed: 5 more, see failures.jsonl.')
    self.assertStartsWith(said[-1], 'No face was aligned in any of 25 photos; if there')


if __name__ == '__main__':
  absltest.main()
