"""The shape of the network, and its presets."""

import dataclasses

from pifa_jax import settings
from pifa_jax.geometry import masks
from pifa_jax.geometry.visualization import DEFAULT_RADIUS, DEFAULT_SIGMA
from pifa_jax.settings import setting

INPUTS = ('IFV', 'FV', 'IV')
PRECISIONS = ('float32', 'bfloat16')


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
  """The shape of the network. The defaults are the paper's (Sec. 4, Table 1).

  Architectures a, b and c of Fig. 6 and Table 6 are its `inputs`, the blocks and layers
  of Table 8 its `channels` and `convs_per_block`.

  A field that is made by `setting` carries its own help; the others are:

  Attributes:
    crop_size: side of the input image, pixels.
    stem_pool: pooling after the first convolution (2: 114 -> 57).
    channels: filters of every convolution, block after block.
    kernels: kernel sizes, likewise.
    hidden_size: width of the first fully connected layer.
    batch_norm_momentum: decay of the old running statistics.
  """

  crop_size: int = 114
  stem_pool: int = 2
  channels: tuple[int, ...] = (12, 16, 20, 24, 28, 32, 36, 40, 40, 40, 40, 40)
  kernels: tuple[int, ...] = (5, 5, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3)
  convs_per_block: int = setting(2, 'N_c (Table 8).', low=1)
  inputs: str = setting(
    'IFV',
    'What blocks 2.. see (Fig. 6): image I, features F, visualization V.',
    choices=INPUTS,
  )
  mask: str = setting('nose', 'Mask of Eq. (11) (Table 7).', choices=masks.KINDS)
  visualization: bool = setting(
    True, 'Whether the blocks see the visualization V (Sec. 4.3).'
  )
  fc_pool: int = setting(
    1, 'Average pooling before the first FC layer; 1 = none, as in the paper.', low=1
  )
  hidden_size: int = 800
  dropout: float = setting(
    0.5, 'Rate after the first FC layer: BUILD_NOTES.md D-07.', low=0.0, high=0.95
  )
  batch_norm_momentum: float = 0.99
  splat_sigma: float = setting(
    DEFAULT_SIGMA, 'sigma of Eq. (10), pixels of the visualization.', low=0.05
  )
  splat_radius: int = setting(
    DEFAULT_RADIUS,
    'D(u, v) of Eq. (9): the (2 radius + 1)^2 cells around a pixel.',
    low=0,
  )
  depth_test: bool = setting(
    True,
    'Whether the nearest vertex of a cell hides the others (Fig. 5). Without, V '
    'averages all vertices that face the camera, to see what the test is worth.',
  )
  vertex_spacing: float = setting(
    0.0,
    'Distance between the vertices that blocks 2.. render, in pixels of their '
    'visualization; 0 = all vertices: BUILD_NOTES.md D-55.',
    low=0.0,
  )
  stop_gradient_between_blocks: bool = setting(
    False, 'Cut the gradient between blocks (both blue arrows of Fig. 2): a cascade.'
  )
  frozen_blocks: int = setting(
    0,
    'Number of first blocks that training leaves as they are, weights and batch '
    'statistics. With --initial_weights of a run of just these blocks: the next stage '
    'of a cascade (Sec. 4.4).',
    low=0,
  )
  crop_scale: float = setting(
    1.0,
    'Side of the crop over the side of the face box: above 1 the network sees what is '
    'around the face, and a box that is off cuts nothing away (BUILD_NOTES.md D-92).',
    low=1.0,
    high=2.0,
  )
  units: tuple[int, ...] = setting(
    (),
    'Comma-separated numbers of residual units, one for each block; empty = the plain '
    'convolutions of Table 1 (BUILD_NOTES.md D-93).',
  )
  width: int = setting(96, 'Filters of the residual units.', low=8)
  precision: str = setting(
    'float32',
    'Of activations and matrix products; geometry, statistics, losses and weights '
    'are float32. bfloat16 is for GPU and TPU: BUILD_NOTES.md D-52.',
    choices=PRECISIONS,
  )

  def __post_init__(self):
    settings.check(self)
    if len(self.channels) != len(self.kernels):
      raise ValueError(
        f'{len(self.channels)} channels but {len(self.kernels)} kernel sizes; give '
        'one kernel size for each convolution.'
      )
    if len(self.channels) % self.convs_per_block:
      raise ValueError(
        f'{len(self.channels)} convolutions do not split into blocks of '
        f'convs_per_block={self.convs_per_block}; use a divisor.'
      )
    if self.units and self.crop_size % (2 * self.stem_pool):
      raise ValueError(
        f'crop_size={self.crop_size} is not a multiple of {2 * self.stem_pool}, twice '
        'stem_pool, which residual units need.'
      )
    if self.crop_size % self.stem_pool:
      raise ValueError(
        f'crop_size={self.crop_size} is not a multiple of stem_pool={self.stem_pool}.'
      )

  @property
  def num_blocks(self) -> int:
    """N_v."""
    return len(self.units) or len(self.channels) // self.convs_per_block

  def with_num_blocks(self, num_blocks: int) -> 'NetworkConfig':
    """The same network with another number of blocks (Table 8).

    Args:
      num_blocks: N_v. The lists of convolutions are cut, or continued with their
        last entries.

    Returns:
      The new configuration.
    """
    wanted = num_blocks * self.convs_per_block
    resized = lambda values: (values + values[-1:] * wanted)[:wanted]
    return dataclasses.replace(
      self,
      channels=resized(self.channels),
      kernels=resized(self.kernels),
      units=(self.units + self.units[-1:] * num_blocks)[:num_blocks],
    )

  @property
  def feature_size(self) -> int:
    """Side of F, and of I and V from block 2 on, pixels."""
    return self.crop_size // self.stem_pool


PRESETS = {
  'paper': NetworkConfig(),
  'small': NetworkConfig(
    crop_size=112,
    stem_pool=4,
    fc_pool=2,
    hidden_size=512,
    dropout=0.2,
    batch_norm_momentum=0.95,
  ),
  'residual': NetworkConfig(
    crop_size=112,
    crop_scale=1.1,
    stem_pool=4,
    channels=(48,),
    kernels=(3,),
    convs_per_block=1,
    units=(3, 1, 1, 1, 1, 1),
    hidden_size=192,
    dropout=0.0,
    batch_norm_momentum=0.97,
    vertex_spacing=0.75,
  ),
  'tiny': NetworkConfig(
    crop_size=56,
    stem_pool=2,
    fc_pool=2,
    hidden_size=256,
    channels=(12, 16) + (20,) * 10,
    dropout=0.1,
    batch_norm_momentum=0.95,
  ),
}
