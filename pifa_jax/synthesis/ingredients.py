"""How strong and how frequent every ingredient of a synthetic face is."""

from collections.abc import Sequence
import dataclasses

from pifa_jax.settings import setting


@dataclasses.dataclass(frozen=True)
class Ingredients:
  """Strengths and probabilities; 0 leaves an ingredient out."""

  supersample: int = setting(
    2, "Sides of a pixel's grid of samples (1 = no anti-aliasing)."
  )
  skin_tone: float = setting(
    1.0, 'Width of the range of tones, 1 = the human range in ITA degrees.'
  )
  skin_detail: float = setting(
    1.0, 'Strength of freckles, blotches, redness, bags and folds.'
  )
  pores: float = setting(1.0, 'Strength of the grain of skin, mostly in highlights.')
  make_up: float = setting(0.2, 'Probability of lipstick, eye shadow and liner, each.')
  gaze: float = setting(9.0, 'Deviation of the direction of the eyes, degrees.')
  beard: float = setting(0.35, 'Probability of stubble, beard or moustache.')
  hair: float = setting(0.8, 'Probability of hair that stands off the head.')
  long_hair: float = setting(0.45, 'Share of hair that falls beside the face.')
  hair_meshes: float = setting(
    0.5, 'Share of hair without headwear that is of a mesh, where some are given.'
  )
  headwear: float = setting(0.15, 'Probability of a hat, cap, hood or scarf.')
  glasses: float = setting(0.2, 'Probability of glasses.')
  dark_glasses: float = setting(0.2, 'Share of glasses that one cannot look through.')
  clothes: float = setting(0.95, 'Probability of shoulders; else the neck ends.')
  scrambled: float = setting(
    0.15, 'Probability of wrong colours of hair, of ears, of the neck and of clothes.'
  )
  occluder: float = setting(
    0.25, 'Probability of a hand, microphone, scarf or other object before the face.'
  )
  environment: float = setting(1.0, 'Strength of coloured, uneven surrounding light.')
  key_light: float = setting(1.0, 'Strength of lamps and sun.')
  light_maps: float = setting(
    0.6, 'Probability of the light of a real place, an environment map.'
  )
  scenery: float = setting(
    0.45, 'Share of the faces lit by a map that have it as background as well.'
  )
  shadow: float = setting(1.0, 'Strength of self-shadow and ambient occlusion.')
  specular: float = setting(1.0, 'Strength of highlights.')
  background: float = setting(1.0, '1 = all kinds, 0 = plain grey.')
  photos: float = setting(
    0.5, 'Share of backgrounds that are parts of photos, where some are given.'
  )
  perspective: float = setting(0.5, 'Share of samples with true perspective.')
  exposure: float = setting(0.35, 'Deviation of the exposure, in factors of e.')
  white_balance: float = setting(
    0.08, "Deviation of the channels' gains, in factors of e."
  )
  contrast: float = setting(
    0.15, "Deviation of the tone curve's gamma, in factors of e."
  )
  defocus: float = setting(
    2.0, 'Greatest deviation of the blur, pixels of the cached crop.'
  )
  motion: float = setting(0.15, 'Probability of motion blur.')
  vignette: float = setting(0.3, 'Greatest loss of light in the corners.')
  noise: float = setting(
    1.0, "Scale of the sensor's noise; 1 = up to a poor night image."
  )
  resample: float = setting(0.35, 'Probability that the image was once smaller.')
  jpeg: float = setting(0.6, 'Probability of JPEG compression.')
  grey: float = setting(0.08, 'Probability of an image without colour.')

  def ablate(self, ingredients: Sequence[str]) -> 'Ingredients':
    """The same faces with some ingredients left out, for ablations.

    Args:
      ingredients: names of attributes. Each becomes 0; `supersample` becomes 1.

    Returns:
      The other ingredients unchanged.

    Raises:
      ValueError: if a name is not an attribute.
    """
    known = [field.name for field in dataclasses.fields(self)]
    for name in ingredients:
      if name not in known:
        raise ValueError(
          f'{name!r} is not an ingredient of a synthetic face; choose of '
          f'{", ".join(known)}.'
        )
    return dataclasses.replace(
      self, **{name: 1 if name == 'supersample' else 0 for name in ingredients}
    )
