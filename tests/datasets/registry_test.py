"""Every data set's reader on a miniature in its layout, whole and broken."""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

from absl.testing import absltest, parameterized
import jax
import numpy as np
import scipy.io

from pifa_jax import face_models
from pifa_jax.datasets import ibug, registry, samples, tfds_records, w300lp
from pifa_jax.files import formats
from pifa_jax.geometry import projection
from tests import miniatures

_REAL = os.environ.get('PIFA_JAX_300WLP_SAMPLES')
# COCO's miniature has no file for testing, WFLW's no face with the last attributes.
_NOT_THERE = {('coco', 'test')} | {
  ('wflw', name) for name in ('makeup', 'occlusion', 'blur')
}
_SPLITS = [
  (name, split)
  for name, data in registry.DATASETS.items()
  for split in data.splits
  if (name, split) not in _NOT_THERE
]


class DataSetTestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name) / 'data set'


class EveryDataSetTest(DataSetTestCase):
  @parameterized.parameters(_SPLITS)
  def test_samples_are_sound(self, name, split):
    miniatures.WRITERS[name](self.root)
    found = registry.read(name, self.root, split)
    self.assertEmpty(found.rejects)
    self.assertNotEmpty(found.samples)
    for sample in found.samples:
      self.assertStartsWith(sample.image_bytes[:4], (b'\xff\xd8', b'\x89PNG'))
      self.assertEqual(sample.landmarks.dtype, np.float32)
      self.assertEqual(sample.box.dtype, np.float32)
      self.assertEqual(sample.visible.dtype, bool)
      marks = sample.landmarks[sample.visible]
      # Boxes hold their landmarks; one pixel for the edges of AFW's.
      self.assertTrue(np.all(marks >= sample.box[:2] - 1))
      self.assertTrue(np.all(marks <= sample.box[:2] + sample.box[2:] + 1))
    self.assertEqual(found.missing, ())

  @parameterized.parameters(sorted(registry.DATASETS))
  def test_records_give_the_samples_of_the_folder(self, name):
    miniatures.WRITERS[name](self.root)
    for split in registry.DATASETS[name].splits:
      if split not in ('train', 'test') or (name, split) in _NOT_THERE:
        continue
      raw = registry.read(name, self.root, split)
      records = tfds_records.read(name, self.root.parent / 'tfds', self.root, split)
      self.assertLen(records.samples, len(raw.samples))
      self.assertEqual((records.notes, records.rejects), (raw.notes, raw.rejects))
      for a, b in zip(raw.samples, records.samples, strict=True):
        self.assertEqual(
          (a.name, a.group, a.image_bytes), (b.name, b.group, b.image_bytes)
        )
        for field in ('landmarks', 'visible', 'box', 'pose'):
          np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
      self.assertNotEmpty(tfds_records.files(name, self.root.parent / 'tfds'))

  @parameterized.parameters(sorted(registry.DATASETS))
  def test_nothing_there(self, name):
    split = registry.DATASETS[name].splits[0]
    for data_dir in (None, self.root / 'nowhere'):
      with self.assertRaisesRegex(FileNotFoundError, 'must hold'):
        registry.read(name, data_dir, split)
      with self.assertRaisesRegex(FileNotFoundError, 'must hold'):
        tfds_records.read(
          name,
          self.root.parent / 'tfds',
          data_dir,
          'test' if name in ('afw', 'aflw2000') else 'train',
        )
    with self.assertRaisesRegex(ValueError, "split='dev'"):
      registry.read(name, self.root, 'dev')

  @parameterized.parameters('w300', '300wlp', 'aflw2000', 'folder')
  def test_broken_labels_cost_only_their_own_image(self, name):
    miniatures.WRITERS[name](self.root)
    split = registry.DATASETS[name].splits[0]
    whole = registry.read(name, self.root, split).samples
    images = [self.root / s.name for s in whole]
    suffix = '.mat' if name in ('300wlp', 'aflw2000') else '.pts'
    images = [p for p in images if p.with_suffix(suffix).exists()]
    good = images[0].with_suffix(suffix).read_bytes()
    for bad, words in (
      (None, 'beside it'),
      (b'', 'is not|has no'),
      (good[:-30], 'cut off|part of one'),
      (b'<!DOCTYPE html><html>not found</html>', 'web page|is not a .pts'),
      (b'\xff\xfe' * 40, 'is not'),
    ):
      label = images[0].with_suffix(suffix)
      label.unlink()
      if bad is not None:
        label.write_bytes(bad)
      found = registry.read(name, self.root, split)
      self.assertLen(found.samples, len(whole) - 1)
      self.assertLen(found.rejects, 1)
      self.assertRegex(found.rejects[0].reason, words)
      self.assertEqual(self.root / found.rejects[0].name, images[0])
      label.write_bytes(good)
    # Capital suffixes, and what macOS leaves beside files.
    images[0].rename(images[0].with_suffix('.JPG'))
    label.rename(label.with_suffix(suffix.upper()))
    label.with_name('._' + label.name).write_bytes(b'mac')
    images[0].with_name('._' + images[0].name).write_bytes(b'mac')
    found = registry.read(name, self.root, split)
    self.assertLen(found.samples, len(whole))
    self.assertEmpty(found.rejects)


class SourcesTest(DataSetTestCase):
  """Issue: crops of a data set whose labels were exchanged were used again."""

  @parameterized.parameters(sorted(registry.DATASETS))
  def test_every_file_that_a_reader_opens_is_recorded(self, name):
    miniatures.WRITERS[name](self.root)
    if name == 'afw':
      (self.root / 'testimages' / 'other.jpg').write_bytes(b'x')
    for split in registry.DATASETS[name].splits:
      if (name, split) in _NOT_THERE:
        continue
      with _opened_below(self.root) as opened:
        found = registry.read(name, self.root, split)
        for sample in found.samples:
          self.assertNotEmpty(sample.image_bytes)
      self.assertNotEmpty(opened)
      self.assertContainsSubset(opened, found.sources.paths)

  @parameterized.parameters('w300', 'folder')
  def test_exchanged_labels_of_another_suffix(self, name):
    miniatures.WRITERS[name](self.root)
    for path in list(self.root.rglob('*.pts')):
      path.rename(path.with_suffix('.PTS'))
    found = registry.read(name, self.root, 'train')
    before = found.sources.fingerprint()
    self.assertEqual(found.sources.fingerprint(), before)
    label = next(p for p in found.sources.paths if p.suffix == '.PTS')
    formats.write_pts(label, formats.read_pts(label) + 2)
    self.assertNotEqual(found.sources.fingerprint(), before)

  def test_better_labels_that_are_unpacked_later(self):
    miniatures.write_300wlp(self.root)
    landmarks = self.root / 'landmarks'
    landmarks.rename(self.root.parent / 'aside')
    poorer = registry.read('300wlp', self.root, 'train')
    self.assertIn('16 of 16 photos have no file in landmarks/', poorer.notes[0])
    self.assertEqual(
      registry.gaps('300wlp', 'train', poorer)[1:],
      ('without the pts_3d of 16 photos in landmarks/',),
    )
    state = poorer.sources.fingerprint()
    self.assertEqual(poorer.sources.fingerprint(), state)
    (self.root.parent / 'aside').rename(landmarks)
    self.assertNotEqual(poorer.sources.fingerprint(), state)
    better = registry.read('300wlp', self.root, 'train')
    self.assertEqual((better.notes, better.missing), ([], ()))


@contextlib.contextmanager
def _opened_below(root):
  """Collects the files that are opened and the folders that are listed below `root`."""
  opened = set()
  _WATCHERS.append((str(root), opened))
  try:
    yield opened
  finally:
    _WATCHERS.clear()


_WATCHERS = []


def _watch(event, details):
  if _WATCHERS and event in ('open', 'os.listdir', 'os.scandir'):
    root, opened = _WATCHERS[0]
    if isinstance(details[0], (str, bytes, os.PathLike)):
      path = os.fsdecode(details[0])
      if path.startswith(root):
        opened.add(pathlib.Path(path))


sys.addaudithook(_watch)  # cannot be taken away: it looks only while it is asked to


class MissingPartsTest(DataSetTestCase):
  """Issue: a data set of which parts are missing was refused whole."""

  def test_300w_without_afw_and_ibug(self):
    miniatures.write_300w(self.root)
    for folder in ('afw', 'ibug', 'helen/testset'):
      shutil.rmtree(self.root / folder)
    train = registry.read('w300', self.root, 'train')
    self.assertLen(train.samples, 6)
    self.assertEqual(train.missing, ('afw/',))
    test = registry.read('w300', self.root, 'test')
    self.assertEqual(
      registry.gaps('w300', 'test', test),
      ('3 of 689 faces', 'without helen/testset/', 'without ibug/'),
    )
    with self.assertRaisesRegex(samples.MissingSplitError, 'challenging .*no ibug/'):
      registry.read('w300', self.root, 'challenging')
    with self.assertRaisesRegex(FileNotFoundError, 'must hold lfpw/'):
      registry.read('w300', self.root / 'lfpw', 'train')

  def test_aflw_without_half_of_its_photos(self):
    miniatures.write_aflw(self.root)
    for number in (1, 3, 4):
      (self.root / 'TrainImages' / f'{number}.jpg').unlink()
    found = registry.read('aflw', self.root, 'train')
    self.assertEqual([s.name[12:] for s in found.samples], ['2.jpg', '5.jpg', '6.jpg'])
    self.assertEqual(found.missing, ('3 of 6 photos of TrainImages/',))
    shutil.rmtree(self.root / 'TestImages')
    splits, problems = registry.read_splits('aflw', self.root)
    self.assertEqual(list(splits), ['train'])
    self.assertIn('The split test of AFLW is not there', problems[0])

  def test_300wlp_without_two_of_its_folders(self):
    miniatures.write_300wlp(self.root)
    for folder in ('AFW', 'AFW_Flip', 'IBUG'):
      shutil.rmtree(self.root / folder)
    found = registry.read('300wlp', self.root, 'train')
    self.assertLen(found.samples, 10)
    self.assertEqual(found.missing, ('AFW/', 'IBUG/'))

  def test_photos_that_lists_name(self):
    for name, write in (
      ('wflw', miniatures.write_wflw),
      ('coco', miniatures.write_coco),
    ):
      root = self.root / name
      write(root)
      next(p for p in sorted(root.rglob('*.jpg')) if '0' in p.stem).unlink()
      found = registry.read(name, root, 'train')
      self.assertLen(found.samples, 1)
      self.assertLen(found.rejects, 2)  # two faces of one photo
      self.assertStartsWith(found.missing[0], '1 photos that the')


class CountTest(absltest.TestCase):
  def test_published(self):
    self.assertIsNone(registry.count_problem('aflw', 'train', 3901))
    self.assertIsNone(registry.count_problem('300wlp', 'train', 122450))
    self.assertIsNone(registry.count_problem('folder', 'train', 5))
    self.assertRegex(
      registry.count_problem('w300', 'test', 688),
      '688 faces were found but 689 are published',
    )


class W300Test(DataSetTestCase):
  def test_parts_of_the_test_set(self):
    points = miniatures.write_300w(self.root)
    names = {
      split: [s.name for s in ibug.read_300w(self.root, split).samples]
      for split in ibug.SPLITS
    }
    self.assertEqual(names['test'], names['common'] + names['challenging'])
    self.assertEqual([n.split('/')[0] for n in names['challenging']], ['ibug'] * 3)
    got = np.stack([s.landmarks for s in ibug.read_300w(self.root, 'test').samples])
    # The files hold thousandths of a pixel.
    np.testing.assert_allclose(got, points[9:], atol=6e-4)

  def test_windows_line_ends_and_byte_order_marks(self):
    miniatures.write_300w(self.root)
    for path in self.root.rglob('*.pts'):
      path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes().replace(b'\n', b'\r\n'))
    self.assertEmpty(ibug.read_300w(self.root, 'train').rejects)


class W300LPTest(DataSetTestCase):
  def test_variants_and_twins_share_a_group(self):
    miniatures.write_300wlp(self.root)
    samples = w300lp.read_300wlp(self.root).samples
    self.assertLen(samples, 16)
    self.assertEqual(
      sorted({s.group for s in samples}),
      [f'{f}/{f}_image_7' for f in sorted(w300lp.FOLDERS)],
    )

  def test_without_the_landmarks_folder_and_without_twins(self):
    points = miniatures.write_300wlp(self.root)
    shutil.rmtree(self.root / 'landmarks')
    for folder in w300lp.FOLDERS:
      shutil.rmtree(self.root / f'{folder}_Flip')
    samples = w300lp.read_300wlp(self.root).samples
    self.assertLen(samples, 8)
    np.testing.assert_allclose(samples[0].landmarks, points[0], atol=1e-4)

  @parameterized.parameters(0, 1, 2, 3)
  def test_pose_para_round_trip(self, seed):
    rng = np.random.default_rng(seed)
    pose = np.array(
      [
        *rng.uniform(-1.4, 1.4, 3),
        *rng.uniform(50, 400, 2),
        -80.0,
        rng.uniform(5e-4, 2e-3),
      ]
    )
    camera = w300lp.camera_from_pose_para(pose, 450)
    np.testing.assert_allclose(
      w300lp.pose_para_from_camera(camera, 450, tz=-80.0), pose, rtol=1e-9
    )
    # The formula, point by point: V = f R S + t, 1-based, y up.
    surface = rng.normal(scale=50e3, size=(5, 3))
    pitch, yaw, roll = pose[:3]
    rotation = np.asarray(projection.rotation_from_euler(yaw, pitch, roll), np.float64)
    v = pose[6] * surface @ rotation.T + pose[3:6]
    wanted = np.stack([v[:, 0] - 1, 450 - v[:, 1]], axis=1)
    got = surface / 1000 @ camera[:, :3].T + camera[:, 3]
    # rotation_from_euler is float32: 1e-7 of some hundred pixels.
    np.testing.assert_allclose(got, wanted, atol=2e-4)
    # And the pose that the library reads out of M is the label's.
    angles = jax.jit(projection.pose_from_camera)(np.float32(camera))
    np.testing.assert_allclose(
      [angles[k] for k in ('pitch', 'yaw', 'roll')], pose[:3], atol=1e-4
    )

  def test_exact_params_meet_the_labels_or_are_refused(self):
    points = miniatures.write_300wlp(self.root)
    model = face_models.load_face_model('builtin')
    found = w300lp.read_300wlp(self.root, model=model)
    self.assertIn('within 0.0', found.notes[0])
    sample = found.samples[0]
    self.assertEqual(sample.params.shape, (8 + 199 + 29,))
    np.testing.assert_allclose(sample.landmarks, points[0], atol=1e-4)
    wrong = model.replace(mean_shape=model.mean_shape * 1.2)
    with self.assertRaisesRegex(ValueError, 'More than one pixel'):
      w300lp.read_300wlp(self.root, model=wrong)
    small = model.replace(
      identity_basis=model.identity_basis[:50],
      identity_stddev=model.identity_stddev[:50],
    )
    found = w300lp.read_300wlp(self.root, model=small)
    self.assertLen(found.rejects, 16)
    self.assertIn('the face model 50 + 29', found.rejects[0].reason)

  @unittest.skipUnless(_REAL, 'PIFA_JAX_300WLP_SAMPLES names no folder')
  def test_real_samples(self):
    """Rotation, scale and place of Pose_Para against pt3d_68 of real files."""
    model = face_models.load_face_model('builtin')
    mean = np.asarray(model.mean_shape, np.float64)[
      np.asarray(model.landmark_schemes['ibug68'])
    ]
    samples = w300lp.read_aflw2000(_REAL).samples
    self.assertNotEmpty(samples)
    for sample in samples:
      path = (pathlib.Path(_REAL) / sample.name).with_suffix('.mat')
      content = scipy.io.loadmat(path)
      points = content['pt3d_68'].T.astype(np.float64)
      height = 450
      points[:, 1] = height + 1 - points[:, 1]  # up
      rotation, scale, shift = w300lp.similarity(mean, points)
      pitch, yaw, roll, tx, ty, _tz, f = content['Pose_Para'][0]
      told = w300lp._rotation(pitch, yaw, roll)
      # Another person's mean face: degrees, not their fractions.
      angle = np.degrees(np.arccos((np.trace(told @ rotation.T) - 1) / 2))
      self.assertLess(angle, 8.0)
      self.assertBetween(scale / (f * 1000), 0.85, 1.15)
      # Both models' origins lie inside the head, some centimetres apart.
      print(
        f'{sample.name}: rotation {angle:.1f} degrees, scale '
        f'{scale / (f * 1000):.3f}, origins '
        f'{np.linalg.norm(shift[:2] - [tx, ty]) / scale:.0f} mm apart'
      )
      self.assertLess(np.linalg.norm(shift[:2] - [tx, ty]), 60 * scale)


class AfwTest(DataSetTestCase):
  def test_faces_boxes_and_hidden_points(self):
    points = miniatures.write_afw(self.root)
    found = registry.read('afw', self.root, 'test')
    self.assertEqual(
      [s.name for s in found.samples], ['1000.jpg#1', '1001.jpg#1', '1001.jpg#2']
    )
    self.assertEqual(
      [s.group for s in found.samples], ['1000.jpg', '1001.jpg', '1001.jpg']
    )
    for sample, face in zip(found.samples, points, strict=True):
      seen = np.isfinite(face).all(axis=1)
      np.testing.assert_array_equal(sample.visible, seen)
      np.testing.assert_allclose(sample.landmarks[seen], face[seen], atol=1e-5)
    self.assertEqual([s.pose[1] for s in found.samples], [0, 15, 30])

  def test_a_box_that_is_nowhere_near_its_landmarks(self):
    miniatures.write_afw(self.root)
    content = scipy.io.loadmat(self.root / 'anno.mat')['anno']
    content[0, 1][0, 0] += 900
    scipy.io.savemat(self.root / 'anno.mat', {'anno': content})
    found = registry.read('afw', self.root, 'test')
    self.assertLen(found.samples, 2)
    self.assertIn('nowhere near the landmarks', found.rejects[0].reason)

  def test_damage(self):
    miniatures.write_afw(self.root)
    (self.root / 'testimages' / '1000.jpg').unlink()
    found = registry.read('afw', self.root, 'test')
    self.assertLen(found.samples, 2)
    self.assertIn('there is no 1000.jpg', found.rejects[0].reason)
    scipy.io.savemat(self.root / 'anno.mat', {'anno': np.eye(4)})
    with self.assertRaisesRegex(ValueError, 'no cell "anno"'):
      registry.read('afw', self.root, 'test')


class FolderTest(DataSetTestCase):
  def test_kinds_of_labels(self):
    points = miniatures.write_folder(self.root)
    found = registry.read('folder', self.root, 'train')
    self.assertLen(found.samples, 4)
    for number, sample in enumerate(found.samples):
      np.testing.assert_allclose(sample.landmarks, points[number], atol=1e-3)
      self.assertEqual(sample.visible.sum(), 68 - number % 2)

  def test_another_number_of_landmarks_is_left_out(self):
    miniatures.write_folder(self.root)
    (self.root / 'photo 0.pts').write_text('n_points: 4\n{\n1 2\n3 4\n5 7\n1 1\n}\n')
    found = registry.read('folder', self.root, 'train')
    self.assertLen(found.samples, 3)
    self.assertEqual(found.rejects[0].reason, 'it has 4 landmarks, most others 68')


if __name__ == '__main__':
  absltest.main()
