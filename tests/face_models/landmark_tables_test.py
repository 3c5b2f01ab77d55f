"""The landmark schemes of common data sets on the built-in face."""

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from pifa_jax import face_models
from pifa_jax.datasets import label_fitting
from pifa_jax.face_models import landmark_tables
from pifa_jax.geometry import contour, fitting, mirror, projection
from pifa_jax.types import FaceParams, unflatten_params

_SCHEMES = tuple(landmark_tables.TABLES)
_EYES = ('eyeball_left', 'eyeball_right')


def _swapped(count, pairs):
  """The numbering of a mirrored face: pairs change places, the others stay."""
  order = np.arange(count)
  for a, b in pairs:
    order[[a, b]] = b, a
  return order


def _runs(*runs):
  """Pairs (first, last), (first + 1, last - 1), ... of runs that mirror themselves."""
  return [(a + i, b - i) for a, b in runs for i in range((b - a + 1) // 2)]


# Which points change places when a photo is flipped, as those who train on the data
# sets swap them.
_MIRRORED = {
  'wflw98': _swapped(
    98,
    _runs((0, 32), (55, 59), (76, 82), (83, 87), (88, 92), (93, 95), (96, 97))
    + [(33 + i, 46 - i) for i in range(5)]
    + [(38 + i, 50 - i) for i in range(4)]
    + [(60 + i, 72 - i) for i in range(5)]
    + [(65 + i, 75 - i) for i in range(3)],
  ),
  'jd106': _swapped(
    106,
    _runs((0, 32), (55, 65), (84, 90), (91, 95), (96, 100), (101, 103), (104, 105))
    + [(33 + i, 46 - i) for i in range(5)]
    + [(38 + i, 50 - i) for i in range(4)]
    + [(66 + i, 79 - i) for i in range(5)]
    + [(71 + i, 82 - i) for i in range(3)]
    + [(74, 83)],
  ),
  'cofw29': _swapped(
    29,
    [(0, 1), (2, 3), (4, 6), (5, 7), (8, 9), (10, 11), (12, 14), (13, 15), (16, 17)]
    + [(18, 19), (22, 23)],
  ),
  'aflw19': _swapped(19, _runs((0, 5), (6, 11), (12, 14), (15, 17))),
  'mtcnn5': _swapped(5, [(0, 1), (3, 4)]),
}

# scheme -> (its points, the iBUG points that they are, from 0). The inner eye points of
# the 68 lie at a third of the lids' width, those of 98 and 106 at a quarter.
_SAME = {
  'wflw98': (
    [*range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60)]
    + [60, 64, 68, 72, *range(76, 96)],
    [*range(17), *range(17, 22), *range(22, 27), *range(27, 36)]
    + [36, 39, 42, 45, *range(48, 68)],
  ),
  'jd106': (
    [*range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 55), *range(58, 63)]
    + [66, 70, 75, 79, *range(84, 104)],
    [*range(17), *range(17, 22), *range(22, 27), *range(27, 36)]
    + [36, 39, 42, 45, *range(48, 68)],
  ),
  'cofw29': (
    [0, 1, 2, 3, 4, 6, 8, 9, 10, 11, 20, 21, 22, 23, 24, 25, 26, 27, 28],
    [17, 26, 21, 22, 19, 24, 36, 45, 39, 42, 30, 33, 48, 54, 51, 62, 66, 57, 8],
  ),
  'aflw19': (
    [0, 1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18],
    [17, 19, 21, 22, 24, 26, 36, 39, 42, 45, 31, 30, 35, 48, 62, 54, 8],
  ),
  'mtcnn5': ([2, 3, 4], [30, 48, 54]),
}

# The usual way from 98 or 106 points to the 68: no point of it is far from ours.
_TO_68 = {
  'wflw98': [
    *(*range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60)),
    *(60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75, *range(76, 96)),
  ],
  'jd106': [
    *(*range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 55), *range(58, 63)),
    *(66, 67, 69, 70, 71, 73, 75, 76, 78, 79, 80, 82, *range(84, 104)),
  ],
}


def _faces(model, count, seed=0, yaw=40):
  """Random faces, as an iterator of P."""
  rng = np.random.default_rng(seed)
  for _ in range(count):
    angle = np.radians(rng.uniform(-yaw, yaw))
    rotation = projection.rotation_from_euler(angle, 0.0, 0.0)
    yield FaceParams(
      camera=projection.camera_from_pose(rotation, 1.2, jnp.array([100.0, 110.0])),
      identity=jnp.asarray(rng.normal(size=model.num_identity), jnp.float32)
      * model.identity_stddev,
      expression=jnp.asarray(0.5 * rng.normal(size=model.num_expression), jnp.float32)
      * model.expression_stddev,
    )


class LandmarkTablesTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = face_models.load_face_model()
    cls.ibug = np.asarray(cls.model.landmark_schemes['ibug68'])

  def at(self, scheme, *numbers):
    ids = np.asarray(self.model.landmark_schemes[scheme])
    return self.model.mean_shape[ids[list(numbers)]]

  @parameterized.parameters(*_SCHEMES)
  def test_ids_are_distinct_vertices_of_face_or_eyes(self, scheme):
    ids = self.model.landmark_schemes[scheme]
    self.assertEqual(ids.dtype, np.int32)
    self.assertLen(ids, int(''.join(c for c in scheme if c.isdigit())))
    self.assertLen(set(ids.tolist()), len(ids))
    eyes = np.concatenate([self.model.regions[name] for name in _EYES])
    on_eyes = np.isin(ids, eyes)
    self.assertTrue(np.isin(ids[~on_eyes], self.model.regions['rendered']).all())
    self.assertEqual(
      on_eyes.sum(), 4 if '106' in scheme else 2, 'pupils and eye centres'
    )
    # As the 68, all face a frontal camera.
    self.assertGreater(self.model.mean_normals[ids, 2].min(), 0.05)

  @parameterized.parameters(*_MIRRORED)
  def test_the_mirror_image_is_the_mirrored_numbering(self, scheme):
    ids = self.model.landmark_schemes[scheme]
    np.testing.assert_array_equal(self.model.symmetry[ids], ids[_MIRRORED[scheme]])
    found = mirror.mirror_map(self.model, scheme)
    np.testing.assert_array_equal(found.landmarks, _MIRRORED[scheme])

  @parameterized.parameters(*_SAME)
  def test_points_of_the_68_are_the_same_vertices(self, scheme):
    ours, theirs = _SAME[scheme]
    np.testing.assert_array_equal(
      self.model.landmark_schemes[scheme][ours], self.ibug[theirs]
    )

  @parameterized.parameters(*_TO_68)
  def test_the_usual_reduction_to_68_is_near_the_68(self, scheme):
    away = np.linalg.norm(
      self.at(scheme, *_TO_68[scheme]) - self.model.mean_shape[self.ibug], axis=1
    )
    # A twelfth of the width of an eye (25 mm) lies between a quarter and a third of it;
    # the lids are bent.
    self.assertLess(away.max(), 5.0)
    np.testing.assert_array_equal(
      np.flatnonzero(away), [37, 38, 40, 41, 43, 44, 46, 47]
    )

  @parameterized.parameters('wflw98', 'jd106')
  def test_the_contour_runs_from_ear_to_chin_to_ear(self, scheme):
    x, y, z = self.at(scheme, *range(33)).T
    self.assertTrue((np.diff(y[:17]) < 0.5).all())  # The chin rises a little.
    self.assertTrue((np.diff(x[5:17]) > 0).all())
    # Forwards, below the ear; the corner of the jaw may go back a little.
    self.assertTrue((np.diff(z[6:17]) > -5.0).all())
    # The new points are near the middle of their neighbours, which are 13 to 25 mm
    # apart.
    middle = (self.at(scheme, *range(0, 31, 2)) + self.at(scheme, *range(2, 33, 2))) / 2
    away = np.linalg.norm(self.at(scheme, *range(1, 32, 2)) - middle, axis=1)
    # Vertices are about 10 mm apart there.
    self.assertLess(away.max(), 6.0)

  @parameterized.parameters('wflw98', 'jd106')
  def test_brows_lids_and_lips_run_in_order(self, scheme):
    for upper, lower in (((33, 38), (38, 42)), ((42, 47), (47, 51))):
      above = self.at(scheme, *range(*upper))
      below = self.at(scheme, *range(*lower))
      self.assertTrue((np.diff(above[:, 0]) > 0).all())
      self.assertTrue((np.diff(below[:, 0]) < 0).all())
      # Under the inner four points, or the outer four of the right brow.
      part = above[1:] if upper[0] == 33 else above[:-1]
      thick = part[::-1, 1] - below[:, 1]
      self.assertBetween(thick.min(), 4.0, 10.0)
      self.assertBetween(thick.max(), 4.0, 10.0)
    for first in (60, 68) if scheme == 'wflw98' else (66, 75):
      corner, *upper, inner = self.at(scheme, *range(first, first + 5))
      lower = self.at(scheme, *range(first + 5, first + 8))
      share = lambda p, a=corner, b=inner: (p[0] - a[0]) / (b[0] - a[0])
      # Quarters of the width, within a tenth of it.
      np.testing.assert_allclose([share(p) for p in upper], [0.25, 0.5, 0.75], atol=0.1)
      np.testing.assert_allclose([share(p) for p in lower], [0.75, 0.5, 0.25], atol=0.1)
      self.assertGreater(min(p[1] for p in upper), max(p[1] for p in lower))

  def test_pupils_and_eye_centres(self):
    for side, eye, corners in (('left', 0, (36, 39)), ('right', 1, (42, 45))):
      middle = self.model.mean_shape[self.model.regions[f'pupil_{side}']].mean(axis=0)
      for scheme, point in (
        *(('wflw98', 96 + eye), ('jd106', 104 + eye), ('jd106', (74, 83)[eye])),
        *(('cofw29', 16 + eye), ('aflw19', (7, 10)[eye]), ('mtcnn5', eye)),
      ):
        vertex = self.model.landmark_schemes[scheme][point]
        self.assertIn(vertex, self.model.regions[f'pupil_{side}'])
        # The radius of the pupil.
        self.assertLess(np.linalg.norm(self.model.mean_shape[vertex] - middle), 3.1)
        opening = self.model.mean_shape[self.ibug[list(corners)]].mean(axis=0)
        self.assertLess(
          np.linalg.norm(self.model.mean_shape[vertex][:2] - opening[:2]), 3.0
        )

  def test_the_nose_of_106_goes_round_the_wings(self):
    # Beside the bridge, above the wing, its widest place, and then the lower edge.
    x, y, _ = self.at('jd106', *range(55, 61)).T
    self.assertTrue((np.diff(y) < 0.5).all())  # The lower edge is nearly level.
    self.assertEqual(np.argmin(x), 2)
    nose = self.model.mean_shape[np.abs(self.model.mean_shape[:, 1] - y[2]) < 3.0]
    front = nose[(nose[:, 2] > 38.0) & (np.abs(nose[:, 0]) < 22.0)]
    self.assertLess(x[2], front[:, 0].min() + 2.0)
    self.assertAlmostEqual(y[0], self.at('jd106', 70)[0, 1], delta=3.0)
    np.testing.assert_array_equal(self.at('cofw29', 18, 19), self.at('jd106', 57, 63))

  def test_insightface_sorts_the_106_by_name(self):
    jd, ours = (
      self.model.landmark_schemes[name] for name in ('jd106', 'insightface106')
    )
    self.assertEqual(set(jd.tolist()), set(ours.tolist()))
    # Chin, ends of the contour, mouth corners, outer eye corners, pupils, nose tip,
    # outer ends of the brows.
    np.testing.assert_array_equal(
      ours[[0, 1, 17, 52, 61, 35, 93, 38, 92, 86, 43, 101]],
      jd[[16, 0, 32, 84, 90, 66, 79, 104, 105, 54, 33, 46]],
    )
    found = mirror.mirror_map(self.model, 'insightface106').landmarks
    self.assertTrue((found >= 0).all())
    np.testing.assert_array_equal(found[found], np.arange(106))

  def test_they_are_no_part_of_what_the_model_is(self):
    own = landmark_tables.own_schemes(self.model)
    self.assertEqual(set(own), {'ibug68', 'ibug34', 'aflw34'})
    bare = self.model.replace(landmark_schemes=own)
    identity = face_models.face_model_hash
    self.assertEqual(identity(bare), identity(self.model))
    self.assertEqual(identity(bare, 'aflw34'), identity(bare))
    # But a run that was trained on one of them records it.
    self.assertNotEqual(identity(self.model, 'wflw98'), identity(self.model))
    self.assertNotEqual(identity(self.model, 'wflw98'), identity(self.model, 'jd106'))
    moved = landmark_tables.TABLES['wflw98'][::-1]
    other = self.model.replace(
      landmark_schemes={**self.model.landmark_schemes, 'wflw98': np.array(moved)}
    )
    self.assertIn('wflw98', landmark_tables.own_schemes(other))
    self.assertNotEqual(identity(other), identity(self.model))
    with self.assertRaisesRegex(ValueError, "no landmark scheme 'x'.*aflw19, aflw34"):
      identity(self.model, 'x')

  def test_finer_levels_have_the_same_shape_with_and_without_them(self):
    fine = face_models.load_face_model('builtin-2')
    bare = face_models.subdivide(
      self.model.replace(landmark_schemes=landmark_tables.own_schemes(self.model)),
      levels=2,
    )
    np.testing.assert_array_equal(fine.mean_shape, bare.mean_shape)
    np.testing.assert_array_equal(
      face_models.subdivide(self.model, levels=2).mean_shape, bare.mean_shape
    )
    for name, ids in landmark_tables.TABLES.items():
      np.testing.assert_array_equal(fine.landmark_schemes[name], ids)
      away = np.linalg.norm(
        fine.mean_shape[list(ids)] - self.model.mean_shape[list(ids)], axis=1
      )
      # Loop's rule pulls vertices inwards, most on the edge of the jaw, where the mesh
      # is coarse: of 98 points three on each side by 0.9 to 1.5 mm.
      self.assertLess(away.max(), 1.5, name)
      self.assertLessEqual((away > 0.8).sum(), 6, name)
      self.assertGreater(fine.mean_normals[list(ids), 2].min(), 0.05)

  @parameterized.parameters(
    ('wflw98', 0.006), ('insightface106', 0.006), ('cofw29', 0.018), ('aflw19', 0.022)
  )
  def test_fit_landmarks_finds_the_face_again(self, scheme, largest):
    faces = list(_faces(self.model, 8))
    project = jax.jit(
      lambda face, name: projection.landmarks(self.model, face, name), static_argnums=1
    )
    points = np.stack([project(face, scheme) for face in faces])
    params, residuals = fitting.fit_faces(
      self.model, points, np.ones(points.shape[:2], bool), scheme=scheme
    )
    # The prior of the ridge regression keeps the fit from being exact.
    self.assertLess(residuals.max(), 0.01)
    errors = [
      np.linalg.norm(
        project(unflatten_params(vector, self.model.num_identity), 'ibug68')
        - project(face, 'ibug68'),
        axis=1,
      ).mean()
      for vector, face in zip(params, faces, strict=True)
    ]
    # Pixels at 1.2 a millimetre: the face is about 150 mm wide. Fewer points leave more
    # of the shape to the prior.
    self.assertLess(np.mean(errors) / 180, largest)

  # The five points all look forwards: none turns away before 80 degrees.
  @parameterized.parameters(*_SCHEMES[:-1])
  def test_in_profile_the_far_side_is_hidden(self, scheme):
    rotation = projection.rotation_from_euler(np.radians(80.0), 0.0, 0.0)
    face = FaceParams(
      camera=projection.camera_from_pose(rotation, 1.0, jnp.zeros(2)),
      identity=jnp.zeros(self.model.num_identity),
      expression=jnp.zeros(self.model.num_expression),
    )
    seen = np.asarray(projection.landmark_visibility(self.model, face, scheme))
    x = self.at(scheme, *range(len(seen)))[:, 0]
    # Yaw is positive when the nose turns to the image's left: the left side is hidden.
    self.assertGreater(seen[x > 10].mean(), 0.8)
    self.assertLess(seen[x < -10].mean(), 0.55)
    self.assertFalse(seen.all())


class ChooseTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = face_models.load_face_model()
    cls.faces = list(_faces(cls.model, 6, seed=4, yaw=30))

  def labels(self, scheme):
    points = np.stack(
      [np.asarray(projection.landmarks(self.model, f, scheme)) for f in self.faces]
    )
    return points, np.ones(points.shape[:2], bool)

  @parameterized.parameters('jd106', 'insightface106', 'cofw29', 'mtcnn5')
  def test_labels_are_recognised(self, scheme):
    name, residuals = label_fitting.choose_scheme(self.model, *self.labels(scheme))
    self.assertEqual(name, scheme)
    self.assertLen(residuals, 2 if '106' in scheme else 1)

  def test_five_points_in_another_order_are_refused(self):
    points, visible = self.labels('mtcnn5')
    with self.assertRaisesRegex(ValueError, 'No landmark scheme fits'):
      label_fitting.choose_scheme(self.model, points[:, [2, 0, 1, 3, 4]], visible)
    # Although a face can be bent to them.
    residual = fitting.fit_faces(
      self.model, points[:, [2, 0, 1, 3, 4]], visible, scheme='mtcnn5'
    )[1]
    self.assertLess(np.median(residual), 0.08)


class JawTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = face_models.load_face_model()

  @parameterized.parameters(*contour.JAW_LINES)
  def test_jaw_lines_are_the_contour(self, scheme):
    line = np.asarray(self.model.landmark_schemes[scheme])[
      list(contour.JAW_LINES[scheme])
    ]
    expected = np.asarray(self.model.landmark_schemes['wflw98'])[:33]
    np.testing.assert_array_equal(line, expected[:: 2 if scheme == 'ibug68' else 1])

  def test_marching_fits_labels_on_the_contour_better(self):
    scheme = 'insightface106'
    candidates = contour.contour_candidates(self.model, scheme=scheme)
    self.assertLen(candidates, 32)
    landmarks = np.asarray(self.model.landmark_schemes[scheme])
    points, moved = [], []
    for yaw in (-55, 60):
      rotation = projection.rotation_from_euler(np.radians(yaw), 0.05, 0.1)
      face = FaceParams(
        camera=projection.camera_from_pose(rotation, 0.6, jnp.array([60.0, 60.0])),
        identity=jnp.zeros(self.model.num_identity),
        expression=jnp.zeros(self.model.num_expression),
      )
      ids = np.asarray(
        contour.march(self.model, face, landmarks, candidates, scheme=scheme)
      )
      marched = self.model.replace(landmark_schemes={'marched': ids})
      points.append(np.asarray(projection.landmarks(marched, face, 'marched')))
      moved.append(np.flatnonzero(ids != landmarks))
    # The side that is turned away alone.
    jaw = contour.jaw_points(scheme)
    self.assertTrue(np.isin(moved[0], jaw[16:]).all())
    self.assertTrue(np.isin(moved[1], jaw[:16]).all())
    self.assertGreater(min(map(len, moved)), 4)
    points, visible = np.stack(points), np.ones((2, len(landmarks)), bool)
    residuals = [
      fitting.fit_faces(self.model, points, visible, scheme=scheme, march=march)[
        1
      ].mean()
      for march in (False, True)
    ]
    self.assertLess(residuals[1], 0.7 * residuals[0])

  def test_schemes_with_the_chin_alone_are_refused(self):
    for scheme in ('cofw29', 'aflw19', 'mtcnn5'):
      with self.assertRaisesRegex(ValueError, f"'{scheme}' has no jaw points"):
        contour.jaw_points(scheme)


if __name__ == '__main__':
  absltest.main()
