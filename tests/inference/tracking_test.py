"""The tracker on scenes of made-up faces, with an aligner that sees them exactly."""

import dataclasses

from absl.testing import absltest, parameterized
import numpy as np

from pifa_jax.detection.detections import Detections
from pifa_jax.inference import face_rows, tracking
from pifa_jax.inference.aligner import AlignedFaces
from pifa_jax.inference.tracking import Tracker, TrackingSettings
from pifa_jax.types import FaceParams

_RATE = 25.0
_IMAGE = np.zeros((200, 400, 3), np.uint8)
# 68 points of a square of side 1 about 0.
_SHAPE = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 17), [-0.5, -0.2, 0.2, 0.5]), -1)
_SHAPE = _SHAPE.reshape(68, 2)


@dataclasses.dataclass
class _Person:
  """A face of the scene: where it is, how large, and who sees it."""

  centre: tuple[float, float]
  size: float = 40.0
  roll: float = 0.0
  yaw: float = 0.0
  detected: bool = True

  def box(self, factor=1.0):
    x, y = self.centre
    side = factor * self.size
    return np.array([x - side / 2, y - side / 2, side, side])


class _Scene:
  """Aligner and detector of a scene that a test moves."""

  given_scale = 1.1

  def __init__(self, *people, has_confidence=True):
    self.people, self.has_confidence = list(people), has_confidence
    self.looks, self.calls = 0, []

  def detect(self, image):
    self.looks += 1
    boxes = [p.box(1.1) for p in self.people if p.detected]
    return Detections(np.array(boxes).reshape(-1, 4), np.ones(len(boxes)))

  def align(self, variables, image, boxes, *, passes=1):
    self.calls.append((np.array(boxes), passes))
    return face_rows.join([self._face(box) for box in boxes] or [self._no_face()])

  def _face(self, box):
    """The person in the box; without one a face that fills it, as networks do."""
    centre = box[:2] + box[2:] / 2
    inside = [
      p for p in self.people if np.abs(centre - p.centre).max() < 0.5 * max(box[2:])
    ]
    if inside:
      person = min(inside, key=lambda p: np.linalg.norm(centre - p.centre))
      return self._made(person.centre, person.size, person.roll, person.yaw, 0.9, box)
    return self._made(centre, box[2] / 1.1, 0.0, 0.0, 0.05, box)

  def _made(self, centre, size, roll, yaw, confidence, box):
    points = (_SHAPE * size + centre)[None]
    c, s = np.cos(roll), np.sin(roll)
    camera = np.array([[c, s, 0, 0], [s, -c, 0, 0]])[None] * size
    angle = lambda x: np.array([x])
    return AlignedFaces(
      boxes=np.array(box)[None],
      angles=np.zeros(1, np.float32),
      landmarks={'ibug68': points},
      frontability={'ibug68': np.ones((1, 68))},
      visible={'ibug68': np.ones((1, 68), bool)},
      params=FaceParams(camera, np.zeros((1, 2)), np.zeros((1, 1))),
      pose={'yaw': angle(yaw), 'pitch': angle(0.0), 'roll': angle(roll)},
      confidence=angle(confidence) if self.has_confidence else None,
      signs={'size': angle(0.0)},
    )

  def _no_face(self):
    return face_rows.take(self._made((0, 0), 1, 0, 0, 0, np.zeros(4)), [])


class TrackerTest(parameterized.TestCase):
  def start(self, *people, has_confidence=True, **changes):
    self.scene = _Scene(*people, has_confidence=has_confidence)
    self.tracker = Tracker(self.scene, {}, self.scene, TrackingSettings(**changes))
    self.count = 0

  def step(self, frames=1):
    for _ in range(frames):
      frame = self.tracker.next(_IMAGE, self.count / _RATE)
      self.count += 1
    return frame

  def test_a_moving_face_keeps_its_number_and_the_detector_looks_each_second(self):
    person = _Person((60, 100))
    self.start(person)
    looks = []
    for k in range(76):
      person.centre = (60 + 3 * k, 100 + 10 * np.sin(k / 5))
      frame = self.step()
      self.assertEqual(frame.ids.tolist(), [0])
      np.testing.assert_allclose(
        frame.faces.landmarks['ibug68'][0].mean(axis=0), person.centre
      )
      if frame.looked:
        looks.append(k)
    self.assertEqual(looks, [0, 25, 50, 75])
    self.assertEqual(self.scene.looks, 4)
    # Two passes for the new face; then one, in the box of the last landmarks.
    passes = [p for _, p in self.scene.calls]
    self.assertEqual(passes, [2] + 75 * [1])
    box, last = self.scene.calls[-1][0][0], 60 + 3 * 74
    np.testing.assert_allclose(box[2:], 44.0)
    np.testing.assert_allclose(box[0] + box[2] / 2, last)

  def test_numbers_stay_with_their_faces(self):
    left, right = _Person((60, 60)), _Person((340, 140), size=60.0)
    self.start(left, right)
    first = self.step()
    self.assertEqual(first.ids.tolist(), [0, 1])
    for k in range(60):
      left.centre, right.centre = (60 + 4 * k, 60), (340 - 4 * k, 140)
      self.scene.people.reverse()  # the detector's order is not theirs
      frame = self.step()
    self.assertEqual(frame.ids.tolist(), [0, 1])
    centres = frame.faces.landmarks['ibug68'].mean(axis=1)
    np.testing.assert_allclose(centres, [left.centre, right.centre])

  def test_a_face_that_leaves_ends_and_a_new_one_gets_a_new_number(self):
    person = _Person((360, 100))
    self.start(person)
    self.step()
    ended = []
    for k in range(60):
      person.centre = (360 + 3 * k, 100)
      frame = self.step()
      ended += frame.ended
    self.assertEqual(len(frame), 0)
    self.assertEqual(frame.faces.landmarks['ibug68'].shape, (0, 68, 2))
    self.assertEqual(ended, [0])
    person.centre = (60, 100)
    frame = self.step(26)
    self.assertEqual(frame.ids.tolist(), [1])

  @parameterized.parameters((10, [0]), (40, [1]))
  def test_a_lost_face_that_comes_back_soon_keeps_its_number(self, away, ids):
    person = _Person((100, 100))
    self.start(person)
    self.step(3)
    self.scene.people = []
    frame = self.step()
    self.assertTrue(frame.looked)  # at once
    self.assertEqual(len(frame), 0)
    looks = self.scene.looks
    self.step(away - 1)
    # Not in every frame: each takes as long as fitting faces.
    self.assertLess(self.scene.looks - looks, away / 4)
    self.scene.people = [person]
    frame = self.step(26)
    self.assertEqual(frame.ids.tolist(), ids)

  def test_a_lost_profile_is_found_without_the_detector(self):
    person = _Person((100, 100))
    self.start(person)
    self.step(3)
    self.scene.people = []
    self.step(2)
    person.detected = False
    self.scene.people = [person]
    self.assertEqual(self.step(6).ids.tolist(), [0])

  def test_a_cut_to_another_face_is_another_face(self):
    self.start(_Person((100, 100), size=40.0), has_confidence=False)
    self.step(3)
    self.scene.people = [_Person((112, 105), size=120.0)]
    frame = self.step()
    self.assertTrue(frame.looked)
    self.assertEqual(frame.ids.tolist(), [1])

  def test_a_jump_is_no_motion_but_a_late_frame_may_bring_one(self):
    person = _Person((100, 100))
    self.start(person, detect_every=100.0)
    self.step(3)
    person.centre = (117, 100)
    self.assertFalse(self.step().looked)
    self.count += 2  # two frames were broken
    person.centre = (138, 100)
    frame = self.step()
    self.assertEqual(frame.ids.tolist(), [0])
    self.assertFalse(frame.looked)

  def test_without_confidence_looks_that_miss_a_face_end_it(self):
    person = _Person((100, 100))
    self.start(person, has_confidence=False)
    self.step(3)
    self.scene.people = []  # the network goes on to fit the ground
    self.assertEqual(self.step(30).ids.tolist(), [0])
    frame = self.step(25)
    self.assertEqual(len(frame), 0)

  def test_profiles_that_detectors_miss_go_on_longer(self):
    person = _Person((100, 100))
    self.start(person, has_confidence=False)
    self.step(3)
    person.yaw, person.detected = 1.2, False
    self.assertEqual(self.step(70).ids.tolist(), [0])

  def test_two_tracks_on_one_face_become_the_older_one(self):
    one, two = _Person((100, 100)), _Person((130, 100))
    self.start(one, two)
    self.assertEqual(self.step().ids.tolist(), [0, 1])
    # Its face has gone; the box of the second now holds the first.
    self.scene.people = [one]
    one.centre = (115, 100)
    frame = self.step()
    self.assertEqual(frame.ids.tolist(), [0])
    self.assertEqual(frame.ended, (1,))

  def test_rolled_heads_have_a_second_pass(self):
    person = _Person((100, 100), roll=0.5)
    self.start(person)
    self.step(3)
    self.assertEqual([p for _, p in self.scene.calls], [2, 2, 2])

  def test_times_must_grow_and_settings_are_checked(self):
    self.start(_Person((100, 100)))
    self.tracker.next(_IMAGE, 1.0)
    with self.assertRaisesRegex(ValueError, r'time=1\.0 s is not after'):
      self.tracker.next(_IMAGE, 1.0)
    with self.assertRaisesRegex(ValueError, 'min_confidence'):
      TrackingSettings(min_confidence=2.0)


class FaceRowsTest(absltest.TestCase):
  def test_rows_keep_all_their_arrays(self):
    scene = _Scene(_Person((50, 50)), _Person((150, 50), size=30.0))
    faces = scene.align({}, _IMAGE, [p.box() for p in scene.people])
    back = face_rows.join([face_rows.take(faces, [1]), face_rows.take(faces, [0])])
    np.testing.assert_array_equal(back.boxes, faces.boxes[::-1])
    np.testing.assert_array_equal(back.params.camera, faces.params.camera[::-1])
    more = dataclasses.replace(
      face_rows.take(faces, [0]), signs={'size': np.zeros(1), 'moved': np.zeros(1)}
    )
    # A sign that only some have would be that of no face of the others.
    joined = face_rows.join([more, face_rows.take(faces, [1])])
    self.assertEqual(list(joined.signs), ['size'])
    boxes = tracking.landmark_boxes(faces)
    np.testing.assert_allclose(boxes, [p.box() for p in scene.people])


if __name__ == '__main__':
  absltest.main()
