"""A small face-like model for tests: an ellipsoid with a nose, 8 + 4 bases."""

import numpy as np

from pifa_jax.face_models.landmark_tables import IBUG34
from pifa_jax.learning import network_config
from pifa_jax.types import MorphableModel

# A network for it, which compiles in seconds.
TOY_CONFIG = network_config.NetworkConfig(
  crop_size=24,
  stem_pool=2,
  channels=(4, 4),
  kernels=(3, 3),
  fc_pool=4,
  hidden_size=8,
  dropout=0.0,
)


def make_toy_model(rows: int = 22, columns: int = 24) -> MorphableModel:
  """A closed, symmetric mesh of rows * columns + 2 vertices, about 100 units wide.

  Deterministic. Landmarks spread over the front; eye corners are placed so that
  the inter-ocular distance is realistic.
  """
  polar = np.pi * (np.arange(rows) + 0.5) / rows
  around = 2 * np.pi * np.arange(columns) / columns
  polar, around = np.meshgrid(polar, around, indexing='ij')
  grid = np.stack(
    [np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)],
    axis=-1,
  ).reshape(-1, 3)
  unit = np.concatenate([grid, [[0, 1, 0], [0, -1, 0]]])
  vertices = unit * np.array([65.0, 90.0, 70.0])
  nose = np.exp(-((unit[:, 0] / 0.2) ** 2 + (unit[:, 1] / 0.25) ** 2)) * (
    unit[:, 2] > 0
  )
  vertices[:, 2] += 22 * nose
  triangles = []
  for r in range(rows - 1):
    for c in range(columns):
      a, b = r * columns + c, r * columns + (c + 1) % columns
      triangles += [(a, a + columns, b), (b, a + columns, b + columns)]
  north, south = rows * columns, rows * columns + 1
  for c in range(columns):
    d = (c + 1) % columns
    triangles += [
      (north, c, d),
      (south, (rows - 1) * columns + d, (rows - 1) * columns + c),
    ]
  triangles = np.array(triangles, np.int32)
  corners = vertices[triangles]
  face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
  normals = np.zeros_like(vertices)
  for corner in range(3):
    np.add.at(normals, triangles[:, corner], face_normals)
  normals /= np.linalg.norm(normals, axis=1, keepdims=True)

  rng = np.random.default_rng(7)

  def smooth_basis(count):
    # Low-frequency displacements: sines of the unit sphere's coordinates.
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 3))
    direction = rng.normal(size=(count, 3, 3))
    waves = np.sin(1.5 * np.einsum('qi,kij->kqj', unit, direction) + phase)
    return (2.0 * waves).astype(np.float32)

  def nearest(x, y):
    # The front vertex whose direction is (x, y).
    front = np.where(unit[:, 2] > -0.2, 0, 9)
    return int(np.argmin((unit[:, 0] - x) ** 2 + (unit[:, 1] - y) ** 2 + front))

  turn = np.linspace(-1, 1, 17)
  layout = [
    (0.92 * np.sin(t * np.pi / 2), 0.1 - 0.85 * np.cos(t * np.pi / 2)) for t in turn
  ]
  layout += [(x, 0.45) for x in np.linspace(-0.7, -0.15, 5)]
  layout += [(x, 0.45) for x in np.linspace(0.15, 0.7, 5)]
  layout += [(0, y) for y in (0.3, 0.2, 0.1, 0.0)]
  layout += [(x, -0.15) for x in np.linspace(-0.2, 0.2, 5)]
  for s in (-0.45, 0.45):
    layout += [
      (s - 0.23, 0.25),
      (s - 0.1, 0.3),
      (s + 0.1, 0.3),
      (s + 0.23, 0.25),
      (s + 0.1, 0.2),
      (s - 0.1, 0.2),
    ]
  mouth = np.linspace(0, 2 * np.pi, 13)[:12] + np.pi
  layout += [(0.35 * np.cos(a), -0.45 - 0.15 * np.sin(a) * -1) for a in mouth]
  inner = np.linspace(0, 2 * np.pi, 9)[:8] + np.pi
  layout += [(0.22 * np.cos(a), -0.45 + 0.07 * np.sin(a)) for a in inner]
  ibug68 = np.array([nearest(x, y) for x, y in layout], np.int32)
  nose_tip = int(np.argmax(vertices[:, 2]))
  return MorphableModel(
    mean_shape=vertices.astype(np.float32),
    identity_basis=smooth_basis(8),
    identity_stddev=np.linspace(1.5, 0.5, 8, dtype=np.float32),
    expression_basis=smooth_basis(4),
    expression_stddev=np.linspace(1.2, 0.6, 4, dtype=np.float32),
    triangles=triangles,
    mean_normals=normals.astype(np.float32),
    nose_tip=np.int32(nose_tip),
    landmark_schemes={'ibug68': ibug68, 'ibug34': ibug68[np.array(IBUG34) - 1]},
    regions={
      'rendered': np.where(unit[:, 2] > -0.5)[0].astype(np.int32),
      'mask_five': np.array(
        [
          nearest(-0.45, 0.25),
          nearest(0.45, 0.25),
          nose_tip,
          nearest(-0.35, -0.45),
          nearest(0.35, -0.45),
        ],
        np.int32,
      ),
    },
  )
