"""Boxes as people's detectors write them."""

import os
import pathlib
import tempfile
import unicodedata

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.files import box_files


class ParseTest(parameterized.TestCase):
  @parameterized.parameters(
    ([10, 20, 30, 40], [[10, 20, 30, 40]]),
    ([[10, 20, 30, 40.5]], [[10, 20, 30, 40.5]]),
    ([[1, 2, 3, 4]] * 4, [[1, 2, 3, 4]] * 4),
    ([], np.zeros((0, 4))),
  )
  def test_one_box_or_rows_of_boxes(self, value, wanted):
    found = box_files.parse_boxes(value)
    np.testing.assert_array_equal(found.boxes, wanted)
    self.assertIsNone(found.scores)
    self.assertEmpty(found.problems)

  def test_a_fifth_column_from_0_to_1_is_the_score(self):
    # Four faces of five numbers are not five of four.
    value = [[10 * i, 5, 20, 25, 0.9 - 0.2 * i] for i in range(4)]
    found = box_files.parse_boxes(value)
    np.testing.assert_array_equal(found.boxes, [row[:4] for row in value])
    np.testing.assert_array_equal(found.scores, [row[4] for row in value])
    found = box_files.parse_boxes([10, 5, 30, 30, 1], 'xyxy')
    np.testing.assert_array_equal(found.boxes, [[10, 5, 20, 25]])
    np.testing.assert_array_equal(found.scores, [1])

  @parameterized.parameters(
    ([[1, 2, 3, 4, 0.5], [1, 2, 3, 4, 7]], r'row 1 .*\[1, 2, 3, 4, 7\].*no score'),
    ([[1, 2, 3]] * 4, r'4 rows of 3 numbers \(row 0 is \[1, 2, 3\]\)'),
    ([[1] * 6] * 4, '4 rows of 6 numbers'),
    ('10,20,30,40', 'boxes are 10,20,30,40; wanted'),
    (None, 'boxes are None'),
    ({'box': [1, 2, 3, 4]}, 'boxes are {'),
  )
  def test_what_is_no_table_of_boxes_is_refused(self, value, words):
    with self.assertRaisesRegex(ValueError, words):
      box_files.parse_boxes(value)

  def test_one_bad_row_leaves_the_others(self):
    value = [
      [1, 2, 3, 4],
      [1, 2, 3],
      [5, 6, 7, 8, 0.5],
      [1, 2, None, 4],
      ['1', '2', '3', '4'],
      [True, 2, 3, 4],
      [9, 9, 9, 9],
      7,
      [10**400, 0, 1, 1],
    ]
    found = box_files.parse_boxes(value)
    np.testing.assert_array_equal(found.rows, [0, 6])
    np.testing.assert_array_equal(found.boxes, [[1, 2, 3, 4], [9, 9, 9, 9]])
    self.assertCountEqual(found.problems, [1, 2, 3, 4, 5, 7, 8])
    self.assertIn('row 1 of its boxes is [1, 2, 3]; wanted', found.problems[1])

  def test_eight_numbers_are_not_two_boxes(self):
    found = box_files.parse_boxes([1, 2, 3, 4, 5, 6, 7, 8])
    self.assertEmpty(found.boxes)
    self.assertIn('row 0', found.problems[0])


class ReadTest(absltest.TestCase):
  def read(self, text, **more):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'boxes.json'
      path.write_text(text)
      return box_files.read_boxes(path, **more)

  def test_one_bad_photo_leaves_the_others(self):
    found, failures = self.read(
      '{"a.jpg": [[1, 2, 3, 4]], "b.jpg": 7, "c.jpg": [1, NaN, 3, Infinity]}'
    )
    self.assertCountEqual(found, ['a.jpg', 'c.jpg'])
    self.assertCountEqual(failures, ['b.jpg'])
    np.testing.assert_array_equal(found['c.jpg'].boxes, [[1, np.nan, 3, np.inf]])

  def test_a_photo_that_stands_twice_is_refused(self):
    found, failures = self.read('{"a.jpg": [1, 2, 3, 4], "a.jpg": [5, 6, 7, 8]}')
    self.assertEmpty(found)
    self.assertIn('more than once', failures['a.jpg'])

  def test_no_json(self):
    for text, words in (
      ('[[1, 2, 3, 4]]', 'list; wanted boxes by name'),
      ('{"a": ', 'not JSON'),
      ('3', 'not a JSON object'),
      ('{"images": [], "annotations": []}', 'COCO annotations; wanted boxes by name'),
    ):
      with self.assertRaisesRegex(ValueError, f'boxes.json.*{words}'):
        self.read(text)


class SimilarNameTest(parameterized.TestCase):
  @parameterized.parameters(
    ('A.JPG', 'a.jpg'),
    ('c.png', 'sub/c.png'),
    ('x/b.jpg', None),  # two have this name
    ('a.png', 'a.jpg'),
    ('a', 'a.jpg'),
    ('d.jpg', None),
  )
  def test_near_names(self, name, wanted):
    photos = ['a.jpg', 'sub/b.jpg', 'sub/c.png', 'other/b.jpg']
    self.assertEqual(box_files.similar_name(name, photos), wanted)


class ProblemTest(parameterized.TestCase):
  @parameterized.parameters(
    ([10, 10, 0, 20], 'no area'),
    ([10, 10, 20, -1], 'no area'),
    ([10, np.nan, 20, 20], 'finite'),
    ([0, 0, np.inf, 20], 'finite'),
    ([0, 0, 1e9, 20], 'below 1e7'),
    ([79.5, 10, 20, 20], 'outside the photo, which has 80 x 60 pixels'),
    ([10, 59.5, 20, 20], 'outside'),
    ([-20.5, 10, 20, 20], 'outside'),
    ([10, -30, 20, 29], 'outside'),
    ([0.5, 0.5, 0.1, 0.2], 'boxes are in pixels, not in fractions'),
    ([-4000, -4000, 9000, 9000], 'more than 10 times as large as the photo'),
  )
  def test_bad(self, box, words):
    self.assertIn(words, box_files.box_problem(np.array(box), 80, 60))

  @parameterized.parameters(
    ([10, 10, 20, 20],),
    ([-19, -19, 20, 20],),
    ([79, 59, 5, 5],),
    ([-50, -50, 300, 300],),
  )
  def test_good(self, box):
    self.assertIsNone(box_files.box_problem(np.array(box), 80, 60))


class OtherFormatTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.sizes = np.tile([640, 480], (40, 1))
    sides = rng.uniform(40, 200, (40, 1)) * [1, 1.2]
    self.boxes = np.concatenate(
      [rng.uniform(-0.1, 1.05, (40, 2)) * (self.sizes - sides), sides], axis=1
    )
    low = self.boxes[:, :2]
    self.corners = np.concatenate([low, low + self.boxes[:, 2:]], axis=1)
    # x, y, width, height that were read as corners.
    self.differences = np.concatenate([low, self.boxes[:, 2:] - low], axis=1)

  def test_both_ways(self):
    ask = lambda boxes, kind: box_files.other_format(boxes, self.sizes, kind)
    self.assertIsNone(ask(self.boxes, 'xywh'))
    self.assertIsNone(ask(self.boxes, 'xyxy'))
    inside = np.all((self.corners > 0) & (self.corners < [640, 480] * 2), axis=1)
    self.sizes, corners = self.sizes[inside], self.corners[inside]
    self.assertEqual(ask(corners, 'xywh'), 'xyxy')
    self.assertEqual(ask(self.differences[inside], 'xyxy'), 'xywh')

  def test_few_far_boxes_are_no_sign(self):
    boxes = self.boxes.copy()
    boxes[:4, :2] += 2000
    self.assertIsNone(box_files.other_format(boxes, self.sizes, 'xywh'))
    self.assertIsNone(box_files.other_format(boxes[:0], self.sizes[:0], 'xywh'))
    boxes[:] = np.nan
    self.assertIsNone(box_files.other_format(boxes, self.sizes, 'xywh'))

  def test_outside_share(self):
    boxes = np.array(
      [[-0.5, -0.5, 8, 6], [-4.5, -0.5, 8, 6], [20, 20, 5, 5], [1, 1, 0, 5]]
    )
    np.testing.assert_allclose(
      box_files.outside_share(boxes, np.tile([8, 6], (4, 1))), [0, 0.5, 1, 1]
    )


class NamesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def photos(self, *names):
    for name in names:
      (self.root / name).parent.mkdir(parents=True, exist_ok=True)
      (self.root / name).write_bytes(b'')
    return {name: self.root / name for name in names}

  def match(self, names, photos):
    return box_files.match_names(names, photos, self.root)

  def test_spellings_of_one_name(self):
    decomposed = unicodedata.normalize('NFD', 'caf\u00e9/\u00fcber.jpg')
    photos = self.photos('a.jpg', 'b/c.jpg', decomposed)
    names = ['./a.jpg', 'b\\c.jpg', unicodedata.normalize('NFC', decomposed)]
    matched, problems = self.match(names, photos)
    self.assertEqual(matched, dict(zip(names, photos, strict=True)))
    self.assertEmpty(problems)

  def test_links_and_absolute_names(self):
    photos = self.photos('real/a.jpg', 'b.jpg')
    os.symlink('real', self.root / 'link')
    absolute = str(self.root / 'b.jpg')
    matched, _ = self.match(['link/a.jpg', absolute], photos)
    self.assertEqual(matched, {'link/a.jpg': 'real/a.jpg', absolute: 'b.jpg'})

  def test_two_names_of_one_photo_are_said(self):
    photos = self.photos('a.jpg')
    matched, problems = self.match(['./a.jpg', 'a.jpg'], photos)
    self.assertEqual(matched, {'a.jpg': 'a.jpg'})
    self.assertIn("same photo as 'a.jpg'", problems['./a.jpg'])

  def test_one_name_of_two_photos_is_said(self):
    composed = 'caf\u00e9.jpg'
    photos = self.photos(composed, unicodedata.normalize('NFD', composed))
    # Each by its own name ...
    matched, problems = self.match(photos, photos)
    self.assertLen(matched, 2)
    self.assertEmpty(problems)
    # ... but another spelling is not a choice.
    matched, problems = self.match(['./' + composed], photos)
    self.assertEmpty(matched)
    self.assertIn('it may mean', problems['./' + composed])

  def test_unknown_names_are_left(self):
    matched, problems = self.match(['gone.jpg', ''], self.photos('a.jpg'))
    self.assertEmpty(matched)
    self.assertEmpty(problems)


if __name__ == '__main__':
  absltest.main()
