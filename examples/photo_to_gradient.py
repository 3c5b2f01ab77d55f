"""From a photo to P, to the mesh, through the visualization layer and back.

  python examples/photo_to_gradient.py --output=example.png

1. The built-in weights find P, the parameters of the face in the photo.
2. P gives the dense mesh (Eq. 1), which is written as an .obj file.
3. The layer renders P as the visualization V (Eqs. 8-10).
4. The face is turned away by some degrees. Gradient descent through the layer turns it
   back until its V is that of the photo's face again: all that it sees is V.
5. The figure shows the photo with the landmarks, V of P, and V of the turned face
   before and after.
"""

import argparse
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

import pifa_jax
from pifa_jax.files import mesh_files
from pifa_jax.geometry import boxes, projection

_DOCS = pathlib.Path(__file__).resolve().parent.parent / 'docs'
_SIZE = 56  # of V, pixels
_TILE = 280  # of a panel of the figure, pixels
_TURNED = (20.0, -10.0, 10.0)  # degrees of yaw, pitch, roll
_STEPS = 150
_RATE = 0.01  # radians a step at most


def main() -> None:
  """Runs the five steps."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--photo', default=_DOCS / 'example.jpg', type=pathlib.Path)
  parser.add_argument(
    '--boxes', default=_DOCS / 'example_boxes.json', type=pathlib.Path
  )
  parser.add_argument('--output', default='example.png', type=pathlib.Path)
  args = parser.parse_args()
  photo = np.asarray(Image.open(args.photo).convert('RGB'))
  box = np.asarray(json.loads(args.boxes.read_text())[args.photo.name][0])

  # 1. Photo -> P, in pixels of the photo.
  weights = pifa_jax.load_weights()
  model = pifa_jax.load_face_model(weights.card['config']['face_model'])
  aligner = pifa_jax.Aligner(model, weights.network)
  faces = aligner.align(weights.variables, photo, box[None])
  face = jax.tree.map(lambda x: jnp.asarray(x[0]), faces.params)
  angles = np.array([faces.pose[name][0] for name in ('yaw', 'pitch', 'roll')])
  print('yaw, pitch, roll: {:.1f} {:.1f} {:.1f} degrees'.format(*np.rad2deg(angles)))

  # 2. P -> mesh.
  mesh_path = args.output.with_suffix('.obj')
  mesh = np.asarray(pifa_jax.shape(model, face))
  mesh_files.write_obj(mesh_path, mesh, np.asarray(model.triangles))

  # 3. P -> V, in pixels of a crop a little larger than the box.
  square = boxes.square_box(np.asarray(box, np.float32))
  crop = jnp.concatenate([square[:2] - 0.15 * square[2:], 1.3 * square[2:]])
  cropped = pifa_jax.crop_params(face, crop, _SIZE)
  # The model is an argument: as a constant, the compiler would work on its arrays.
  render = jax.jit(functools.partial(pifa_jax.visualize, image_size=_SIZE))
  target = render(model, cropped)

  # 4. The gradient of a loss on V with respect to the three angles.
  pose = pifa_jax.pose_from_camera(cropped.camera)

  def turned(angles):
    rotation = projection.rotation_from_euler(*angles)
    return cropped.replace(
      camera=projection.camera_from_pose(rotation, pose['scale'], pose['translation'])
    )

  def loss_of(angles, model):
    return jnp.mean((render(model, turned(angles)) - target) ** 2)

  loss_and_slope = jax.jit(jax.value_and_grad(loss_of))
  true = jnp.stack([pose[name] for name in ('yaw', 'pitch', 'roll')])
  first = current = true + jnp.deg2rad(jnp.array(_TURNED))
  for step in range(_STEPS):
    loss, slope = loss_and_slope(current, model)
    # Steps of one length, shorter and shorter: the loss of V is steep where it begins.
    length = _RATE * (1 - step / _STEPS)
    current = current - length * slope / jnp.maximum(jnp.linalg.norm(slope), 1e-12)
    if step % 30 == 0:
      print(f'step {step:3d}: loss {loss:.4f}')
  off = np.rad2deg(np.abs(np.asarray(current - true)))
  print(f"turned back to within {off.max():.2f} degrees of the photo's face")

  # 5. The figure.
  panels = [
    _photo_panel(photo, np.asarray(crop), faces),
    *(
      _plane_panel(render(model, f)) for f in (cropped, turned(first), turned(current))
    ),
  ]
  figure = Image.new('RGB', (_TILE * len(panels), _TILE))
  for place, panel in enumerate(panels):
    figure.paste(panel, (_TILE * place, 0))
  figure.save(args.output)
  print(f'wrote {args.output} and {mesh_path}')


def _photo_panel(photo, crop, faces):
  x, y, width, height = crop + np.array([0.5, 0.5, 0, 0])  # Pillow counts from edges
  panel = Image.fromarray(photo).resize(
    (_TILE, _TILE), box=(max(x, 0), max(y, 0), x + width, y + height)
  )
  pen = ImageDraw.Draw(panel)
  points = np.asarray(boxes.crop_points(faces.landmarks['ibug68'][0], crop, _TILE))
  for (u, v), visible in zip(points, faces.visible['ibug68'][0], strict=True):
    pen.ellipse((u - 2, v - 2, u + 2, v + 2), fill='lime' if visible else 'red')
  return panel


def _plane_panel(plane):
  grey = np.uint8(np.clip(127.5 + 50.0 * np.asarray(plane), 0, 255))
  return (
    Image.fromarray(grey)
    .resize((_TILE, _TILE), Image.Resampling.NEAREST)
    .convert('RGB')
  )


if __name__ == '__main__':
  main()
