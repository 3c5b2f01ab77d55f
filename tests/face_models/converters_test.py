"""Other formats of face models: written from a known model, read back exactly."""

import json
import os
import pathlib
import tempfile
import unittest

from absl.testing import absltest, parameterized
import h5py
import jax.numpy as jnp
import numpy as np
import scipy.io

import pifa_jax
from pifa_jax import face_models
from pifa_jax.face_models import basel, conversion, ict_facekit, npz_format
from tests import program_runs

_ICT = os.environ.get('PIFA_JAX_ICT_DIR')
# Float32 stores what float64 files give: 1e-7 of 200 mm.
_ATOL = 3e-5


def small_model():
  """The built-in face with 7 + 3 bases."""
  model = pifa_jax.load_face_model('builtin')
  return model.replace(
    identity_basis=model.identity_basis[:7],
    # Uneven, so that deviations and variances cannot be taken for each other.
    identity_stddev=np.linspace(0.5, 2.0, 7, dtype=np.float32),
    expression_basis=model.expression_basis[:3],
    expression_stddev=np.array([0.5, 1.5, 3.0], np.float32),
  )


def columns(basis):
  """(K, Q, 3) -> (3 Q, K), x1 y1 z1 x2 ..."""
  return np.asarray(basis, np.float64).reshape(len(basis), -1).T


class ConverterTestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.model = small_model()
    self.ids = np.asarray(self.model.landmark_schemes['ibug68'])

  def write_3ddfa(self, **changes):
    """Micrometres, split mean, 1-based, clockwise triangles as columns."""
    m = self.model
    mean = 1000.0 * np.asarray(m.mean_shape, np.float64).reshape(-1, 1)
    mu_exp = np.linspace(-50, 50, len(mean))[:, None]
    scipy.io.savemat(
      self.root / 'Model_Shape.mat',
      {
        'mu_shape': mean - mu_exp,
        'w': 1000 * columns(m.identity_basis),
        'sigma': m.identity_stddev[:, None].astype(np.float64),
        'tri': np.asarray(m.triangles)[:, ::-1].T + 1.0,
        'keypoints': self.ids[None] + 1.0,
        **changes,
      },
    )
    scipy.io.savemat(
      self.root / 'Model_Expression.mat',
      {
        'mu_exp': mu_exp,
        'w_exp': 1000 * columns(m.expression_basis),
        'sigma_exp': m.expression_stddev[:, None].astype(np.float64),
      },
    )

  def assert_same(self, got, *, expression_stddev=None):
    want = self.model
    for name in ('mean_shape', 'identity_basis', 'expression_basis'):
      np.testing.assert_allclose(getattr(got, name), getattr(want, name), atol=_ATOL)
    np.testing.assert_allclose(got.identity_stddev, want.identity_stddev, rtol=1e-6)
    np.testing.assert_allclose(
      got.expression_stddev,
      want.expression_stddev if expression_stddev is None else expression_stddev,
      rtol=1e-6,
    )
    # The same triangles the same way round, whichever corner comes first.
    turn = lambda t: [
      tuple(np.roll(row, -int(np.argmin(row)))) for row in np.asarray(t)
    ]
    self.assertEqual(set(turn(got.triangles)), set(turn(want.triangles)))
    np.testing.assert_array_equal(got.landmark_schemes['ibug68'], self.ids)
    np.testing.assert_array_equal(
      got.landmark_schemes['ibug34'], want.landmark_schemes['ibug34']
    )
    self.assertEqual(int(got.nose_tip), self.ids[30])


class BaselTest(ConverterTestCase):
  def test_3ddfa(self):
    self.write_3ddfa()
    got = basel.convert_3ddfa(self.root)
    self.assert_same(got)
    # Its parts are found by place.
    self.assertEqual(set(got.regions), set(self.model.regions) - {'rendered'})
    lips = got.mean_shape[got.regions['lips']]
    self.assertLess(np.abs(lips - got.mean_shape[self.ids[48:]].mean(axis=0)).max(), 35)

  def test_bfm2009_is_trimmed(self):
    self.write_3ddfa()
    m, extra = self.model, 100
    # The untrimmed model: more vertices, before and between ours.
    rng = np.random.default_rng(0)
    total = m.num_vertices + extra
    place = np.sort(rng.choice(total, m.num_vertices, replace=False))

    def spread(table):
      out = np.full((total, 3, table.shape[1]), 7.0)
      out[place] = table.reshape(-1, 3, table.shape[1])
      return out.reshape(3 * total, -1)

    mu_exp = scipy.io.loadmat(self.root / 'Model_Expression.mat')['mu_exp']
    mean = 1000.0 * np.asarray(m.mean_shape, np.float64).reshape(-1, 1) - mu_exp
    gone = np.setdiff1d(np.arange(total), place)
    triangles = np.concatenate([place[m.triangles], [[gone[0], place[0], place[1]]]])
    scipy.io.savemat(
      self.root / '01_MorphableModel.mat',
      {
        'shapeMU': spread(mean),
        'shapePC': spread(1000 * columns(m.identity_basis)),
        'shapeEV': m.identity_stddev[:, None],
        'tl': triangles + 1.0,
      },
    )
    scipy.io.savemat(self.root / 'model_info.mat', {'trimIndex': place[:, None] + 1})
    self.assert_same(
      basel.convert_bfm2009(
        self.root / '01_MorphableModel.mat', self.root, landmarks=self.ids
      )
    )

  def test_face3d(self):
    m = self.model
    mean = 1000.0 * np.asarray(m.mean_shape, np.float64).reshape(-1, 1)
    scipy.io.savemat(
      self.root / 'BFM.mat',
      {
        'model': {
          'shapeMU': mean - 5,
          'shapePC': 1000 * columns(m.identity_basis),
          'shapeEV': m.identity_stddev[:, None],
          'expMU': np.full(mean.shape, 5.0),
          'expPC': 1000 * columns(m.expression_basis),
          'expEV': m.expression_stddev[:, None],
          'tri': np.asarray(m.triangles) + 1.0,
          'tri_mouth': np.ones((2, 3)),
          'kpt_ind': self.ids[None] + 1.0,
        }
      },
    )
    self.assert_same(basel.convert_face3d(self.root / 'BFM.mat'))

  def write_bfm2017(self):
    m, path = self.model, self.root / 'model.h5'
    with h5py.File(path, 'w') as file:
      for kind, mean, basis, stddev in (
        ('shape', m.mean_shape, m.identity_basis, m.identity_stddev),
        (
          'expression',
          np.zeros_like(m.mean_shape),
          m.expression_basis,
          m.expression_stddev,
        ),
      ):
        file[f'{kind}/model/mean'] = np.asarray(mean).ravel()
        file[f'{kind}/model/pcaBasis'] = columns(basis)
        file[f'{kind}/model/pcaVariance'] = stddev.astype(np.float64) ** 2
      file['shape/representer/cells'] = np.asarray(m.triangles).T
    return path

  def test_bfm2017_has_variances(self):
    path = self.write_bfm2017()
    self.assert_same(basel.convert_bfm2017(path, self.ids))
    with self.assertRaisesRegex(ValueError, '68 landmarks'):
      basel.convert_bfm2017(path, None)

  def test_bfm2017_follows_no_links(self):
    path = self.write_bfm2017()
    other = self.root / 'other.h5'
    path.rename(other)
    for link in (h5py.ExternalLink('other.h5', '/shape'), h5py.SoftLink('/x')):
      with h5py.File(path, 'w') as file:
        file['shape'] = link
      with self.assertRaisesRegex(ValueError, 'of its own'):
        basel.convert_bfm2017(path, self.ids)
      path.unlink()

  def test_wrong_files(self):
    self.write_3ddfa()
    good = (self.root / 'Model_Shape.mat').read_bytes()
    for bad, words in (
      (b'<html>', 'web page'),
      (good[:5000], 'cut off'),
      (b'', 'does not begin'),
    ):
      (self.root / 'Model_Shape.mat').write_bytes(bad)
      with self.assertRaisesRegex(ValueError, f'Model_Shape.mat.*{words}'):
        basel.convert_3ddfa(self.root)
    mean = 1000.0 * np.asarray(self.model.mean_shape, np.float64).reshape(-1, 1)
    w = 1000 * columns(self.model.identity_basis)
    swapped = np.arange(68)
    swapped[[36, 45]] = 45, 36
    for changes, words in (
      ({'mu_shape': mean / 1000}, 'mm apart.*unit'),
      ({'mu_shape': mean * [[np.nan]]}, 'not finite'),
      ({'mu_shape': mean[:-3]}, 'not of one model'),
      ({'w': w[:-3]}, 'not of one model'),
      ({'sigma': np.zeros((7, 1))}, 'positive'),
      ({'sigma': np.ones((6, 1))}, 'deviations of shape'),
      ({'tri': np.zeros((3, 9))}, 'count from 1'),
      ({'keypoints': self.ids[None, swapped] + 1.0}, 'mirrored'),
      ({'keypoints': np.ones((1, 68))}, '1 different'),
      ({'keypoints': self.ids[None] + 10.0**6}, 'outside'),
      ({'tri': 'text'}, 'real numbers'),
    ):
      self.write_3ddfa(**changes)
      with self.assertRaisesRegex(ValueError, words):
        basel.convert_3ddfa(self.root)
    self.write_3ddfa()
    os.remove(self.root / 'Model_Expression.mat')
    with self.assertRaisesRegex(FileNotFoundError, 'Model_Expression.mat'):
      basel.convert_3ddfa(self.root)


def write_obj(path, vertices, polygons):
  lines = ['# a comment', 'vt 0 0']
  lines += ['v ' + ' '.join(repr(float(x)) for x in v) for v in vertices]
  lines += ['f ' + ' '.join(f'{i + 1}/1' for i in p) for p in polygons]
  path.write_text('\n'.join(lines) + '\n')


class IctTest(ConverterTestCase):
  def write(self, mean, identity, expression, polygons, landmarks, names):
    for k, mode in enumerate(identity):
      write_obj(self.root / f'identity{k:03d}.obj', mean + mode, polygons)
    for name, mode in zip(names, expression, strict=True):
      write_obj(self.root / f'{name}.obj', mean + mode, polygons)
    write_obj(self.root / 'generic_neutral_mesh.obj', mean, polygons)
    (self.root / 'vertex_indices.json').write_text(
      json.dumps(
        {
          'expressions': list(names),
          'idx_to_landmark_verts': [int(i) for i in landmarks],
        }
      )
    )

  def test_read_back(self):
    m = self.model
    cm = lambda a: np.asarray(a, np.float64) / 10
    self.model = m.replace(identity_stddev=np.ones(7, np.float32))
    self.write(
      cm(m.mean_shape),
      cm(m.identity_basis),
      cm(m.expression_basis),
      m.triangles,
      self.ids,
      ('jawOpen', 'smile_L', 'smile_R'),
    )
    self.assert_same(
      ict_facekit.convert_ict(self.root), expression_stddev=np.full(3, 3**-0.5)
    )
    # The program writes the single actions beside the model.
    path = self.root / 'ict.npz'
    program_runs.run(
      'convert_face_model', '--kind=ict', f'--src={self.root}', f'--output={path}'
    )
    units = face_models.load_expression_units(path)
    self.assertEqual(list(units), ['jawOpen', 'smileLeft', 'smileRight'])
    np.testing.assert_array_equal(units['smileLeft'], [0, 1, 0])

  def test_groups_of_the_released_mesh(self):
    # As many vertices as the release: ours are the head, the rest are in balls.
    rng = np.random.default_rng(0)
    m = self.model
    mean = np.zeros((ict_facekit._ALL, 3))
    mean[: m.num_vertices] = np.asarray(m.mean_shape) / 10
    for side, name in ((1, 'eyeball_right'), (-1, 'eyeball_left')):
      ball = slice(*ict_facekit._GROUPS[name])
      points = rng.normal(size=(ball.stop - ball.start, 3))
      mean[ball] = points / np.linalg.norm(points, axis=1, keepdims=True) * 1.2 + [
        3.1 * side,
        3.0,
        1.0,
      ]
    polygons = np.concatenate(
      [m.triangles, [[21_451, 21_452, 21_453]], [[17_040, 17_041, 17_042]]]
    )  # an eye, a tooth
    mode = np.zeros((1,) + mean.shape)
    self.write(mean, mode, mode, polygons, self.ids, ('jawOpen',))
    got = ict_facekit.convert_ict(self.root)
    self.assertEqual(got.num_vertices, 17_202)
    self.assertLen(got.triangles, len(m.triangles) + 1)
    self.assertEqual(got.triangles.max(), 11_248 + 2_046 + 768 + 2)
    for side, name in ((1, 'right'), (-1, 'left')):
      ball = got.mean_shape[got.regions[f'eyeball_{name}']]
      self.assertLen(ball, 1_570)
      self.assertGreater((side * ball[:, 0]).min(), 15)
      iris = got.mean_shape[got.regions[f'iris_{name}']] - ball.mean(axis=0)
      self.assertBetween(np.hypot(*iris.T[:2]).max(), 4, 6)
      self.assertGreater(iris[:, 2].min(), 9)
      self.assertContainsSubset(
        got.regions[f'pupil_{name}'], got.regions[f'iris_{name}']
      )
    self.assertEmpty(np.intersect1d(got.regions['eye_white'], got.regions['iris']))
    self.assertEmpty(np.intersect1d(got.regions['eye_white'], got.regions['skin']))
    np.testing.assert_array_equal(
      got.regions['mouth_inside'], np.arange(11_248, 13_294)
    )
    self.assertContainsSubset(got.regions['lips'], range(m.num_vertices))

  def test_quads_become_triangles(self):
    vertices, polygons = np.eye(4, 3), [[0, 1, 2, 3]]
    write_obj(self.root / 'q.obj', vertices, polygons)
    got, found = ict_facekit.read_obj(self.root / 'q.obj')
    np.testing.assert_array_equal(got, vertices)
    self.assertEqual(found, polygons)

  def test_damage(self):
    for text, words in (
      ('v 1 2\n', 'line 1'),
      ('v 1 2 nan\nf 1 1 1', 'line 1'),
      ('v 1 2 3\nf 1 2 9\n', 'name others'),
      ('', 'not a mesh'),
      ('<html>', 'not a mesh'),
      ('v 0 0 0\nf 1 x 1', 'line 2'),
    ):
      (self.root / 'a.obj').write_text(text)
      with self.assertRaisesRegex(ValueError, words):
        ict_facekit.read_obj(self.root / 'a.obj')
    with self.assertRaisesRegex(FileNotFoundError, 'FaceXModel'):
      ict_facekit.convert_ict(self.root)

  @unittest.skipUnless(_ICT, 'PIFA_JAX_ICT_DIR names no folder')
  def test_the_real_model_trains_and_aligns(self):
    """100 + 53 bases: the neutral mesh as released, modes from its crop cache."""
    source = pathlib.Path(_ICT)
    crops = np.load(source / 'ict_face_f16.npz', allow_pickle=False)
    mean, polygons = ict_facekit.read_obj(
      source / 'FaceXModel' / 'generic_neutral_mesh.obj'
    )
    index = json.loads((source / 'FaceXModel' / 'vertex_indices.json').read_text())
    names = [str(n) for n in crops['expr_names']]
    rest = len(mean) - crops['mean'].shape[0]
    fill = lambda a: np.pad(a.astype(np.float64), ((0, 0), (0, rest), (0, 0)))
    self.write(
      mean,
      fill(crops['ident']),
      fill(crops['expr'])[[names.index(e) for e in index['expressions']]],
      polygons,
      index['idx_to_landmark_verts'],
      index['expressions'],
    )
    model = ict_facekit.convert_ict(self.root)
    self.assertEqual(
      (model.num_identity, model.num_expression, model.num_vertices), (100, 53, 17_202)
    )
    head = slice(crops['mean'].shape[0])
    # Differences of coordinates of up to 200 mm.
    np.testing.assert_allclose(
      model.identity_basis[:, head], 10 * crops['ident'].astype(np.float32), atol=1e-3
    )
    # The modes that the release itself holds as .obj agree with the packed ones.
    for name, basis in (
      ('identity000', model.identity_basis[0]),
      ('jawOpen', model.expression_basis[index['expressions'].index('jawOpen')]),
    ):
      mesh, _ = ict_facekit.read_obj(source / 'FaceXModel' / f'{name}.obj')
      # float16 of centimetres: half a thousandth, in mm 5e-3.
      np.testing.assert_allclose(10 * (mesh - mean)[head], basis[head], atol=0.02)
    corners = model.mean_shape[model.landmark_schemes['ibug68'][[36, 45]]]
    print(
      f'eye corners {np.linalg.norm(corners[0] - corners[1]):.1f} mm apart, nose '
      f'tip {model.mean_normals[model.nose_tip, 2]:.3f}'
    )
    path = self.root / 'ict.npz'
    npz_format.save_npz(path, model, units='mm', basis_dtype=np.float16)
    done = program_runs.run(
      'train',
      '--dataset=synthetic',
      f'--face_model={path}',
      '--preset=tiny',
      '--num_blocks=2',
      '--num_train=64',
      '--num_test=16',
      '--num_steps=3',
      '--batch_size=8',
      '--visualize_every=0',
      f'--workdir={self.root / "run"}',
      f'--cache_dir={self.root / "cache"}',
    )
    self.assertIn('161 face parameters', done.stderr)
    self.assertIn('NME (%)', done.stdout)


class AnyModelTest(ConverterTestCase):
  def test_a_converted_model_draws_and_fits(self):
    self.write_3ddfa()
    path = self.root / 'bfm.npz'
    done = program_runs.run(
      'convert_face_model', '--kind=3ddfa', f'--src={self.root}', f'--output={path}'
    )
    self.assertIn('7 + 3 bases; outer eye corners 82.8 mm', done.stdout)
    model = pifa_jax.load_face_model(path)
    face = pifa_jax.initial_params(model, crop_size=64)
    points = pifa_jax.landmarks(model, face, 'ibug68')
    visualization = pifa_jax.visualize(model, face, image_size=64)
    self.assertGreater(float(jnp.std(visualization)), 0.1)
    fitted, residual = pifa_jax.fit_landmarks(
      model, points, jnp.ones(68, bool), scheme='ibug68'
    )
    self.assertLess(float(residual), 0.002)
    self.assertEqual(fitted.identity.shape, (7,))
    five = pifa_jax.visualize(model, face, image_size=64, mask='five')
    self.assertGreater(float(jnp.std(five)), 0.1)

  def test_the_middle_of_an_eye_is_one_of_its_points(self):
    points = np.asarray(self.model.mean_shape)[self.ids]
    five = conversion._mask_five(points, self.ids)
    self.assertIn(five[0], self.ids[36:42])
    self.assertIn(five[1], self.ids[42:48])
    np.testing.assert_array_equal(five[2:], self.ids[[30, 48, 54]])


if __name__ == '__main__':
  absltest.main()
