"""Where the rendered mesh puts vertices, and which of them it takes for hidden."""

from absl.testing import absltest
import numpy as np

from experiments.lib import mesh_images
from pifa_jax import face_models


class RenderTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = face_models.load_face_model('builtin')
    cls.mean = np.asarray(cls.model.mean_shape)

  def render(self, yaw):
    return mesh_images.render(
      self.model, self.mean, yaw, size=120, half_width=120.0, centre=(0, 0)
    )

  def test_positions_are_millimetres_from_the_centre(self):
    # Two millimetres a pixel, y downwards, the centre between four pixels.
    _, positions, _ = self.render(0)
    wanted = 60 + self.mean[:, :2] * [0.5, -0.5]
    np.testing.assert_allclose(positions, wanted, atol=1e-4)  # float32 vertices

  def test_positive_yaw_turns_the_nose_to_the_left_of_the_image(self):
    nose = int(self.model.nose_tip)
    _, positions, _ = self.render(90)
    self.assertAlmostEqual(positions[nose, 0], 60 - self.mean[nose, 2] / 2, delta=1e-3)

  def test_hidden_is_what_lies_behind(self):
    outer_eyes = np.asarray(self.model.landmark_schemes['ibug68'])[[36, 45]]
    right, left = outer_eyes  # of the image: x < 0, then x > 0
    self.assertLess(self.mean[right, 0], self.mean[left, 0])
    _, _, hidden = self.render(0)
    self.assertFalse(hidden[outer_eyes].any())
    self.assertTrue(hidden[np.argmin(self.mean[:, 2])])
    # The nose points left: the image shows the side of x > 0.
    _, _, hidden = self.render(90)
    self.assertTrue(hidden[right])
    self.assertFalse(hidden[left])

  def test_the_image_shows_the_face_on_white(self):
    image, positions, _ = self.render(0)
    np.testing.assert_array_equal(image[0, 0], (255, 255, 255))
    column, row = positions[int(self.model.nose_tip)].astype(int)
    red, green, blue = image[row, column].astype(int)
    self.assertGreater(red, green)
    self.assertGreater(green, blue)

  def test_a_number_stands_at_its_vertex(self):
    nose = int(self.model.nose_tip)
    panel = mesh_images.numbered(
      self.model, np.array([nose]), 0, size=120, half_width=120.0, centre=(0, 0)
    )
    column, row = (60 + self.mean[nose, :2] * [0.5, -0.5]).astype(int)
    red, _, blue = np.asarray(panel)[row, column].astype(int)
    # The dot is blue, the face is not.
    self.assertGreater(blue, red + 100)


if __name__ == '__main__':
  absltest.main()
