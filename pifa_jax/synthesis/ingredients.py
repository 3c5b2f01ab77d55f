"""How strong and how frequent every ingredient of a synthetic face is."""

import dataclasses
from typing import Sequence


@dataclasses.dataclass(frozen=True)
class Ingredients:
  """Strengths and probabilities; 0 leaves an ingredient out.

  Attributes:
    supersample: sides of a pixel's grid of samples (1 = no anti-aliasing).
    skin_tone: width of the range of tones, 1 = the human range in ITA degrees.
    skin_detail: strength of freckles, blotches, redness, bags and folds.
    make_up: probability of lipstick, eye shadow and liner, each.
    gaze: deviation of the direction of the eyes, degrees.
    beard: probability of stubble, beard or moustache.
    hair: probability of hair that stands off the head.
    long_hair: share of it that falls beside the face.
    headwear: probability of a hat, cap, hood or scarf.
    glasses: probability of glasses.
    dark_glasses: share of them that one cannot look through.
    clothes: probability of shoulders; else the neck ends.
    occluder: probability of a hand, microphone or other object before the face.
    environment: strength of coloured, uneven surrounding light.
    key_light: strength of lamps and sun.
    shadow: strength of self-shadow and ambient occlusion.
    specular: strength of highlights.
    background: 1 = all kinds, 0 = plain grey.
    photos: share of backgrounds that are parts of photos, where some are
      given.
    perspective: share of samples with true perspective.
    exposure: deviation of the exposure, in factors of e.
    white_balance: deviation of the channels' gains, in factors of e.
    contrast: deviation of the tone curve's gamma, in factors of e.
    defocus: greatest deviation of the blur, pixels of the cached crop.
    motion: probability of motion blur.
    vignette: greatest loss of light in the corners.
    noise: scale of the sensor's noise; 1 = up to a poor night image.
    resample: probability that the image was once smaller.
    jpeg: probability of JPEG compression.
    grey: probability of a image without colour.
  """

  supersample: int = 2
  skin_tone: float = 1.0
  skin_detail: float = 1.0
  make_up: float = 0.2
  gaze: float = 9.0
  beard: float = 0.35
  hair: float = 0.85
  long_hair: float = 0.45
  headwear: float = 0.15
  glasses: float = 0.2
  dark_glasses: float = 0.2
  clothes: float = 0.95
  occluder: float = 0.25
  environment: float = 1.0
  key_light: float = 1.0
  shadow: float = 1.0
  specular: float = 1.0
  background: float = 1.0
  photos: float = 0.5
  perspective: float = 0.5
  exposure: float = 0.35
  white_balance: float = 0.08
  contrast: float = 0.15
  defocus: float = 2.0
  motion: float = 0.15
  vignette: float = 0.3
  noise: float = 1.0
  resample: float = 0.35
  jpeg: float = 0.6
  grey: float = 0.08

  def ablate(self, ingredients: Sequence[str]) -> 'Ingredients':
    """A copy with some ingredients left out, for ablations.

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
