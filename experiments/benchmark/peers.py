"""The visualization layer as a user without this library would write it.

The same work in NumPy, PyTorch and numba, for `experiments.benchmark --peers`. PyTorch
and numba are no dependencies: what is not installed is left out.
"""

from collections.abc import Callable
import importlib.util

import numpy as np

from pifa_jax.types import MorphableModel

_NO_VERTEX = np.uint64(2**64 - 1)  # the key of a cell where no vertex falls

# (positions (B, Q, 2), depth (B, Q), values (B, Q), valid (B, Q)) -> (B, H, H)
Splat = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


Forward = Callable[[np.ndarray, np.ndarray], np.ndarray]
Gradient = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]


def splats(image_size: int, sigma: float, radius: int) -> dict[str, Splat]:
  """Makes Eqs. (9)-(10) after projection, in every library that is installed.

  Args:
    image_size: H = W, pixels.
    sigma: of Eq. (10), pixels.
    radius: of the window D(u, v), cells.

  Returns:
    name -> function of float32 and bool NumPy arrays with a leading batch: positions
    in pixels, depth (smaller is nearer), values, and whether a vertex is used.
  """
  found: dict[str, Splat] = {'NumPy': _numpy_splat(image_size, sigma, radius)}
  if importlib.util.find_spec('torch'):
    found['PyTorch'] = _torch_splat(image_size, sigma, radius)
  if importlib.util.find_spec('numba'):
    found['numba'] = _numba_splat(image_size, sigma, radius)
  return found


def layers(
  model: MorphableModel,
  mask: np.ndarray,
  cotangent: np.ndarray,
  image_size: int,
  sigma: float,
  radius: int,
) -> dict[str, tuple[Forward, Gradient]]:
  """Makes the whole layer and its gradient, shape included: Eqs. (1)-(3), (8)-(11).

  Args:
    model: the 3DMM; all vertices are rendered.
    mask: (Q,) a of Eq. (11).
    cotangent: (H, H) weights of the sum over V that is differentiated.
    image_size: H = W, pixels.
    sigma: of Eq. (10), pixels.
    radius: of the window D(u, v), cells.

  Returns:
    name -> (forward, gradient), functions of cameras (B, 2, 4) and coefficients
    (B, K): V (B, H, H), and the gradients of [cameras, coefficients].
  """
  if not importlib.util.find_spec('torch'):
    return {}
  return {'PyTorch': _torch_layer(model, mask, cotangent, image_size, sigma, radius)}


def _numpy_splat(size, sigma, radius):
  def splat(positions, depth, values, valid):
    winner, occupied = _numpy_winners(positions, depth, valid, size)
    face = np.arange(len(depth))[:, None, None]
    grid = np.arange(size, dtype=np.float32)
    take = lambda array: array[face, winner]
    return _numpy_average(
      take(positions[..., 0]) - grid,
      take(positions[..., 1]) - grid[:, None],
      take(values),
      occupied,
      sigma,
      radius,
    )

  return splat


def _numpy_average(dx, dy, value, occupied, sigma, radius):
  """Eq. (9) over the window of every pixel, from the winners of its cells."""
  size = occupied.shape[1]
  frame = ((0, 0), (radius, radius), (radius, radius))
  pad = lambda plane: np.pad(np.where(occupied, plane, 0), frame)
  dx, dy, value, there = pad(dx), pad(dy), pad(value), np.pad(occupied, frame)
  top = np.zeros(occupied.shape, np.float32)
  bottom = np.zeros_like(top)
  for row in range(2 * radius + 1):
    for column in range(2 * radius + 1):
      window = np.s_[:, row : row + size, column : column + size]
      squared = (dx[window] + (column - radius)) ** 2 + (
        dy[window] + (row - radius)
      ) ** 2
      weight = there[window] * np.exp(squared * np.float32(-0.5 / sigma**2))
      top += weight * value[window]
      bottom += weight
  return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), 0)


def _numpy_winners(positions, depth, valid, size):
  """The nearest vertex of every cell (B, H, H), and whether there is one."""
  batch, num_vertices = depth.shape
  pixel = np.floor(positions + 0.5).astype(np.int64)
  inside = valid & ((pixel >= 0) & (pixel < size)).all(axis=-1)
  face = np.broadcast_to(np.arange(batch)[:, None], depth.shape)
  cell = (face * size + pixel[..., 1]) * size + pixel[..., 0]
  # Bits that sort as the depths do, then the vertex: one key decides both.
  bits = depth.view(np.uint32)
  bits = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
  keys = (bits.astype(np.uint64) << np.uint64(32)) | np.arange(
    num_vertices, dtype=np.uint64
  )
  nearest = np.full(batch * size * size, _NO_VERTEX)
  np.minimum.at(nearest, cell[inside], keys[inside])
  nearest = nearest.reshape(batch, size, size)
  occupied = nearest != _NO_VERTEX
  winner = np.where(occupied, nearest & np.uint64(2**32 - 1), 0).astype(np.int64)
  return winner, occupied


def _torch_winners(positions, depth, valid, size):
  """Two scatter_reduce passes: the smallest depth, then the lowest index of it."""
  import torch

  batch, num_vertices = depth.shape
  pixel = torch.floor(positions + 0.5).long()
  inside = valid & ((pixel >= 0) & (pixel < size)).all(dim=-1)
  outside = size * size
  cell = torch.where(inside, pixel[..., 1] * size + pixel[..., 0], outside)
  nearest = torch.full((batch, outside + 1), torch.inf).scatter_reduce(
    1, cell, depth, 'amin'
  )
  index = torch.arange(num_vertices).expand(batch, -1)
  first = depth <= nearest.gather(1, cell)
  return torch.full((batch, outside + 1), num_vertices).scatter_reduce(
    1, torch.where(first, cell, outside), index, 'amin'
  )[:, :outside]


def _torch_average(x, y, value, occupied, size, sigma, radius):
  """Eq. (9) over the window of every pixel, from the winners of its cells."""
  import torch

  grid = torch.arange(size, dtype=torch.float32)
  shape = (-1, size, size)
  there = occupied.reshape(shape)
  pad = lambda plane: torch.nn.functional.pad(
    torch.where(there, plane, 0.0), (radius,) * 4
  )
  dx, dy = pad(x.reshape(shape) - grid), pad(y.reshape(shape) - grid[:, None])
  value, there = pad(value.reshape(shape)), pad(there.float())
  top = bottom = 0.0
  for row in range(2 * radius + 1):
    for column in range(2 * radius + 1):
      window = np.s_[:, row : row + size, column : column + size]
      squared = (dx[window] + (column - radius)) ** 2 + (
        dy[window] + (row - radius)
      ) ** 2
      weight = there[window] * torch.exp(squared * (-0.5 / sigma**2))
      top = top + weight * value[window]
      bottom = bottom + weight
  return torch.where(bottom > 0, top / torch.where(bottom > 0, bottom, 1.0), 0.0)


def _torch_splat(size, sigma, radius):
  import torch

  def splat(positions, depth, values, valid):
    with torch.no_grad():
      positions, depth, values, valid = map(
        torch.from_numpy, (positions, depth, values, valid)
      )
      winner = _torch_winners(positions, depth, valid, size)
      occupied = winner < depth.shape[1]
      at = torch.where(occupied, winner, 0)
      take = lambda array: array.gather(1, at)
      return _torch_average(
        take(positions[..., 0]),
        take(positions[..., 1]),
        take(values),
        occupied,
        size,
        sigma,
        radius,
      ).numpy()

  return splat


def _torch_layer(model, mask, cotangent, size, sigma, radius):
  import torch

  flat = lambda basis: np.asarray(basis).reshape(len(basis), -1)
  basis = torch.from_numpy(
    np.concatenate([flat(model.identity_basis), flat(model.expression_basis)])
  )
  mean, normals, mask, cotangent = (
    torch.from_numpy(np.array(array, np.float32))
    for array in (np.reshape(model.mean_shape, -1), model.mean_normals, mask, cotangent)
  )

  def visualize(cameras, coefficients):
    vertices = torch.addmm(mean, coefficients, basis)
    return _torch_visualization(
      cameras,
      vertices.reshape(len(coefficients), -1, 3),
      normals,
      mask,
      size,
      sigma,
      radius,
    )

  def forward(cameras, coefficients):
    with torch.no_grad():
      return visualize(
        torch.from_numpy(cameras), torch.from_numpy(coefficients)
      ).numpy()

  def gradient(cameras, coefficients):
    inputs = [
      torch.from_numpy(array).requires_grad_() for array in (cameras, coefficients)
    ]
    loss = (visualize(*inputs) * cotangent).sum()
    return [grad.numpy() for grad in torch.autograd.grad(loss, inputs)]

  return forward, gradient


def _torch_visualization(cameras, vertices, normals, mask, size, sigma, radius):
  """V of Eqs. (3) and (8)-(11) from cameras (B, 2, 4) and vertices (B, Q, 3)."""
  import torch

  m1, m2 = cameras[:, 0, :3], cameras[:, 1, :3]
  lengths = (m1.norm(dim=1) * m2.norm(dim=1))[:, None]
  sight = torch.linalg.cross(m1, m2) / lengths
  front = torch.relu(-sight @ normals.T)
  positions = torch.baddbmm(
    cameras[:, None, :, 3], vertices, cameras[:, :, :3].transpose(1, 2)
  )
  with torch.no_grad():
    depth = (vertices @ (sight * lengths.sqrt())[..., None])[..., 0]
    winner = _torch_winners(positions, depth, front > 0, size)
    occupied = winner < depth.shape[1]
    at = torch.where(occupied, winner, 0)
  take = lambda array: array.gather(1, at)
  return _torch_average(
    take(positions[..., 0]),
    take(positions[..., 1]),
    take(front * mask),
    occupied,
    size,
    sigma,
    radius,
  )


def _numba_splat(size, sigma, radius):
  """Loops over vertices, then pixels; one thread."""
  import numba

  @numba.njit(fastmath=True)
  def one_face(positions, depth, values, valid, out):
    winner = np.full((size, size), -1, np.int32)
    for q in range(depth.shape[0]):
      if valid[q]:
        u = int(np.floor(positions[q, 0] + np.float32(0.5)))
        v = int(np.floor(positions[q, 1] + np.float32(0.5)))
        if 0 <= u < size and 0 <= v < size:
          best = winner[v, u]
          if best < 0 or depth[q] < depth[best]:
            winner[v, u] = q
    scale = np.float32(-0.5 / sigma**2)
    for v in range(size):
      for u in range(size):
        top = bottom = np.float32(0)
        for row in range(max(v - radius, 0), min(v + radius + 1, size)):
          for column in range(max(u - radius, 0), min(u + radius + 1, size)):
            q = winner[row, column]
            if q >= 0:
              dx = positions[q, 0] - np.float32(u)
              dy = positions[q, 1] - np.float32(v)
              weight = np.exp(scale * (dx * dx + dy * dy))
              top += weight * values[q]
              bottom += weight
        out[v, u] = top / bottom if bottom > 0 else np.float32(0)

  def splat(positions, depth, values, valid):
    out = np.empty((len(depth), size, size), np.float32)
    for face in range(len(depth)):
      one_face(positions[face], depth[face], values[face], valid[face], out[face])
    return out

  return splat
