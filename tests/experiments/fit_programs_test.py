"""fit_3dmm and find_landmarks as users type them."""

import csv
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
import scipy.io

from experiments import find_landmarks
from experiments.lib import cli
from pifa_jax import face_models
from pifa_jax.datasets import registry, w300lp
from pifa_jax.files import formats
from tests import miniatures, program_runs


class ProgramTestCase(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def run_program(self, name, *flags, code=0):
    return program_runs.run(
      name, '--face_model=builtin', f'--workdir={self.root / "out"}', *flags, code=code
    )


class FitTest(ProgramTestCase):
  def test_a_folder_of_every_kind(self):
    data = self.root / 'data'
    points = miniatures.write_folder(data)  # .pts and .json
    np.save(data / 'many.npy', points[:2])
    miniatures.write_aflw2000(data / 'deeper', count=1)
    (data / 'broken.pts').write_text('n_points: 1000000000\n{\n1 2\n}\n')
    done = self.run_program(
      'fit_3dmm', f'--input={data}', '--save=npz,mat,obj,ply,overlay', code=3
    )
    self.assertIn('7 faces fitted', done.stdout)
    self.assertIn('failed: broken.pts', done.stderr)
    # What was done, not what might have been.
    self.assertIn(
      'Wrote residuals.csv, 7 .npz, 7 .mat, 7 .obj, 7 .ply, 5 overlays to', done.stdout
    )
    self.assertIn('2 faces without a photo beside the landmarks', done.stderr)
    out = self.root / 'out'
    with open(out / 'residuals.csv') as file:
      rows = {row['name']: row for row in csv.DictReader(file)}
    self.assertLen(rows, 7)
    # Landmarks of the mean face: a perfect fit exists.
    self.assertLess(max(float(r['residual_pixels']) for r in rows.values()), 0.3)
    model = face_models.load_face_model('builtin')
    for name in ('photo 0.pts', 'deeper/image00002.mat', 'many.npy_2'):
      with np.load(out / f'{name}.npz', allow_pickle=False) as result:
        camera, landmarks = result['camera'], result['landmarks']
        p = np.concatenate([camera.ravel(), result['identity'], result['expression']])
      # The mesh, drawn where its file says, meets the landmarks: 0.01 px.
      vertices = np.array(
        [
          [float(x) for x in line.split()[1:4]]
          for line in (out / f'{name}.obj').read_text().splitlines()
          if line.startswith('v ')
        ]
      )
      np.testing.assert_allclose(
        vertices[np.asarray(model.landmark_schemes['ibug68']), :2], landmarks, atol=0.01
      )
      self.assertEqual(p.shape, (236,))
      head, _, body = (out / f'{name}.ply').read_bytes().partition(b'end_header\n')
      self.assertIn(f'element vertex {len(vertices)}'.encode(), head)
      # With a photo beside the landmarks the vertices have its colours.
      color = [('rgb', 'u1', 3)] if b'uchar red' in head else []
      ply = np.frombuffer(body, [('xyz', '<f4', 3), *color], len(vertices))
      np.testing.assert_allclose(ply['xyz'], vertices, atol=1e-3)
      self.assertEqual(bool(color), name != 'many.npy_2')
    self.assertTrue((out / 'photo 0.pts_overlay.png').exists())
    self.assertFalse((out / 'many.npy_2_overlay.png').exists())
    # The .mat holds the same camera in 300W-LP's terms.
    content = scipy.io.loadmat(out / 'photo 0.pts.mat')
    with np.load(out / 'photo 0.pts.npz') as result:
      np.testing.assert_allclose(
        w300lp.camera_from_pose_para(content['Pose_Para'][0], miniatures.SIZE),
        result['camera'],
        atol=1e-3,
      )

  def test_every_data_set(self):
    for name, write in miniatures.WRITERS.items():
      root = self.root / name
      write(root)
      flags = [f'--dataset={name}', f'--data_dir={root}']
      if name == 'afw':  # six points, most of them no vertices
        said = self.run_program('fit_3dmm', *flags, code=1)
        self.assertIn('6 landmarks', said.stderr)
        continue
      scheme = registry.DATASETS[name].scheme
      if scheme not in (None, *face_models.load_face_model('builtin').landmark_schemes):
        said = self.run_program('fit_3dmm', *flags, code=1)
        self.assertIn(f'{registry.DATASETS[name].points} landmarks', said.stderr)
        continue
      self.run_program('fit_3dmm', *flags)
      with open(self.root / 'out' / 'residuals.csv') as file:
        rows = list(csv.DictReader(file))
      # Faces of both splits, each once.
      self.assertLen({row['name'] for row in rows}, len(rows))
      counts = {'aflw': 9, 'w300': 18, '300wlp': 16, 'aflw2000': 4, 'folder': 6}
      self.assertLen(rows, {**counts, 'coco': 3, 'wflw': 6, 'cofw': 6}[name])
      self.assertLess(max(float(row['residual_pixels']) for row in rows), 0.3, name)
      overlay = rows[0]['name'] + '_overlay.png'
      self.assertTrue((self.root / 'out' / overlay).exists())

  def test_one_file_of_another_kind_fails_alone(self):
    data = self.root / 'data'
    points = miniatures.write_folder(data / 'a', count=2)
    # Other faces whose flat names would be the same.
    formats.write_pts(data / 'a__photo 0.pts', points[1])
    formats.write_pts(data / 'seven.pts', points[0][[36, 45, 30, 48, 54, 8, 27]])
    (data / 'a' / 'photo 1.jpg').write_bytes(b'<html>quota exceeded')
    np.save(data / 'fractions.npy', points[0] / miniatures.SIZE)
    # What lies among labels is skipped, unless it lies beside its photo.
    (data / 'table.csv').write_text('name,size\na,1\n')
    (data / 'boxes.json').write_text('{"photo 0.jpg": [1, 2, 3, 4]}')
    (data / 'a' / 'photo 0.csv').write_text('name,size\na,1\n')
    out = data / 'out'
    flags = [f'--input={data}', f'--workdir={out}', '--save=npz,ply,overlay']
    for again in (False, True):
      done = self.run_program('fit_3dmm', *flags, '--mesh_frame=viewer', code=3)
      self.assertIn('3 faces fitted', done.stdout)
      self.assertIn('Wrote residuals.csv, 3 .npz, 3 .ply, 1 overlay to', done.stdout)
      self.assertIn('failed: seven.pts: The data set has 7 landmarks', done.stderr)
      self.assertIn('failed: a/photo 1.json: its photo cannot be decoded', done.stderr)
      self.assertIn('failed: fractions.npy: its landmarks span', done.stderr)
      self.assertIn('failed: a/photo 0.csv: photo 0.csv has no columns', done.stderr)
      self.assertIn(
        'Skipped 2 files without landmarks: boxes.json, table.csv.', done.stderr
      )
      # Its own outputs are not its inputs.
      (out / 'left.json').write_text('{"landmarks": [[1, 2]]}')
      self.assertEqual('Skipped 3 files in' in done.stderr, again, done.stderr)
    with open(out / 'residuals.csv') as file:
      names = {row['name'] for row in csv.DictReader(file)}
    self.assertEqual(names, {'a/photo 0.pts', 'a/photo 1.json', 'a__photo 0.pts'})
    for name, points_of in (('a/photo 0.pts', 0), ('a__photo 0.pts', 1)):
      with np.load(out / f'{name}.npz') as result:
        np.testing.assert_allclose(result['landmarks'], points[points_of], atol=0.5)
    # In the frame of viewers y is up: the chin is below the brows.
    head, _, body = (out / 'a/photo 0.pts.ply').read_bytes().partition(b'end_header\n')
    count = int(head.split(b'element vertex ')[1].split()[0])
    vertices = np.frombuffer(body, [('xyz', '<f4', 3), ('rgb', 'u1', 3)], count)
    ids = np.asarray(face_models.load_face_model('builtin').landmark_schemes['ibug68'])
    self.assertGreater(vertices['xyz'][ids[19], 1], vertices['xyz'][ids[8], 1])
    self.assertGreater(np.ptp(vertices['rgb'].astype(int), axis=0).min(), 0)

  def test_an_outlier_is_named(self):
    points, _ = miniatures.faces(12)
    rng = np.random.default_rng(0)
    for number, face in enumerate(points):
      noise = 6.0 if number == 7 else 0.3
      if number == 5:  # a mirrored photo with the points of the original
        face = face * [-1, 1] + [miniatures.SIZE - 1, 0]
      formats.write_pts(
        self.root / f'{number}.pts', face + rng.normal(scale=noise, size=face.shape)
      )
    done = self.run_program('fit_3dmm', f'--input={self.root}', '--march', '--save=npz')
    self.assertEqual(done.stdout.count('outlier:'), 1)
    self.assertIn('outlier: 7.pts', done.stdout)
    self.assertEqual(done.stdout.count('doubtful:'), 1)
    self.assertIn('doubtful: 5.pts: the fitted face looks away', done.stdout)

  def test_sentences(self):
    empty = self.root / 'empty'
    empty.mkdir()
    (self.root / 'a.pts').write_text('{}')
    for flags, words in (
      ([], 'Neither --input nor --dataset'),
      ([f'--input={empty}'], 'There is no'),
      ([f'--input={self.root / "x"}'], 'no file or folder'),
      (['--input=x', '--save=doc'], '--save=doc is not a kind'),
      ([f'--input={self.root}', f'--workdir={self.root}'], 'is the folder of --input'),
    ):
      self.assertIn(words, self.run_program('fit_3dmm', *flags, code=1).stderr)


class FindLandmarksTest(ProgramTestCase):
  def test_finds_the_points_that_were_not_given(self):
    miniatures.write_aflw(self.root / 'aflw', train=40)
    # The 34 points are iBUG's; a dozen of them are said to be known.
    ibug = [
      18,
      20,
      22,
      23,
      25,
      27,
      37,
      38,
      40,
      41,
      43,
      44,
      46,
      47,
      28,
      31,
      32,
      34,
      36,
      49,
      52,
      55,
      58,
      63,
      67,
      1,
      3,
      5,
      7,
      9,
      11,
      13,
      15,
      17,
    ]
    known = ','.join(
      f'{i + 1}:{ibug[i]}' for i in (0, 2, 3, 5, 6, 8, 10, 12, 16, 18, 19, 21, 29)
    )
    self.run_program(
      'find_landmarks',
      '--dataset=aflw',
      f'--data_dir={self.root / "aflw"}',
      f'--known={known}',
    )
    model = face_models.load_face_model('builtin')
    ids = face_models.load_landmark_ids(
      self.root / 'out' / 'vertex_ids.txt', num_vertices=model.num_vertices
    )
    truth = np.asarray(model.landmark_schemes['ibug68'])[np.array(ibug) - 1]
    mean = np.asarray(model.mean_shape)
    gap = np.linalg.norm(mean[ids] - mean[truth], axis=1)
    # In millimetres; vertices are 3-6 mm apart, jaw points least determined.
    self.assertLess(np.median(gap), 3.0)
    self.assertLess(gap.max(), 15.0)
    self.assertTrue((self.root / 'out' / 'vertex_ids.png').exists())

  def test_too_few_pairs(self):
    miniatures.write_aflw(self.root / 'aflw')
    done = self.run_program(
      'find_landmarks',
      '--dataset=aflw',
      f'--data_dir={self.root / "aflw"}',
      '--known=1:18',
      code=1,
    )
    self.assertIn('six pairs at least', done.stderr)

  def test_a_pair_that_contradicts_another(self):
    for known in ('1:18,1:20', '1:18,2:18'):
      with self.assertRaisesRegex(cli.UserError, 'twice'):
        find_landmarks._known(known.split(','), 34)


if __name__ == '__main__':
  absltest.main()
