"""From scores to colours: normalisations, and overlays on the photo.

  grayscale:  clip((m - min m) / (P99(m) - min m), 0, 1),  m = sum_c |s_c|
  diverging:  clip(d / P99(|d|), -1, 1),                   d = sum_c s_c

References:
  Saliency library of Google's PAIR group: `VisualizeImageGrayscale` and
  `VisualizeImageDiverging`. https://github.com/PAIR-code/saliency
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Float
import numpy as np

try:
  import matplotlib
except ImportError as e:
  raise ImportError(
    "figures need matplotlib: pip install 'saliency-jax[viz]'"
  ) from e

from saliency_jax.core import checks

Scores = Float[Array, 'h w c'] | Float[np.ndarray, 'h w c']
Photo = Float[Array, 'H W d'] | Float[np.ndarray, 'H W d']
Values = Float[np.ndarray, 'h w']

# Rec. 601 luma, as Pillow's conversion to grey.
_LUMA = (0.299, 0.587, 0.114)


def grayscale(scores: Scores, *, percentile: float | int = 99) -> Values:
  """Maps the size of scores to [0, 1], clipped at a percentile, as PAIR does.

  Args:
    scores: `[h, w, c]`; their absolute values are summed over the channels.
    percentile: of these sums, drawn as 1; in (0, 100].

  Returns:
    Values in [0, 1]; a constant map gives 0.

  Raises:
    ValueError: scores that are no image or not finite, a bad percentile.
  """
  size = np.sum(np.abs(_checked(scores)), axis=-1)
  return _clip(size - size.min(), percentile)


def diverging(scores: Scores, *, percentile: float | int = 99) -> Values:
  """Maps signed scores to [-1, 1], with 0 at 0, clipped at a percentile.

  PAIR takes the percentile of the signed sums, and has no scale where nearly
  all are negative; here it is taken of their absolute values, and the result is
  `2 v - 1` of PAIR's `v`.

  Args:
    scores: `[h, w, c]`; they are summed over the channels.
    percentile: of the absolute sums, drawn as -1 or 1; in (0, 100].

  Raises:
    ValueError: scores that are no image or not finite, a bad percentile.

  Examples:
    >>> import numpy as np
    >>> from saliency_jax import viz
    >>> scores = np.array([[[-2.0], [0.0]], [[1.0], [4.0]]])
    >>> print(viz.diverging(scores, percentile=100))
    [[-0.5   0.  ]
     [ 0.25  1.  ]]
  """
  total = np.sum(_checked(scores), axis=-1)
  return np.sign(total) * _clip(np.abs(total), percentile)


def unit(scores: Scores, *, percentile: float | int = 100) -> Values:
  """Maps signed scores to [0, 1] from the lowest to a percentile.

  The zero of the scores is lost: for maps whose order is all that counts.

  Raises:
    ValueError: scores that are no image or not finite, a bad percentile.
  """
  total = np.sum(_checked(scores), axis=-1)
  return _clip(total - total.min(), percentile)


class Drawing(NamedTuple):
  """How maps of one kind are drawn.

  Attributes:
    label: what the colours mean, beside the colour bar.
    normalise: maps scores `[h, w, c]` to values `[h, w]`.
    colors: name of a matplotlib colour map for values from `low` to 1.
    low: the least value, -1 or 0.
    ends: what the least and the greatest value are called.
    opacity: of the colours over the grey photo; 1 hides the photo.
  """

  label: str
  normalise: Callable[[Scores], Values]
  colors: str
  low: float | int
  ends: tuple[str, str]
  opacity: float | int = 1.0


MAGNITUDE = Drawing(
  'size of the score', grayscale, 'gray', 0, ('0', '99th percentile')
)
SIGNED = Drawing(
  'signed score', diverging, 'RdBu_r', -1, ('against', 'for the class')
)
HEAT = Drawing(
  'importance of the region', unit, 'turbo', 0, ('lowest', 'highest'), 0.55
)


def paint(
  drawing: Drawing, scores: Scores, image: Photo | None = None
) -> Float[np.ndarray, 'H W 3']:
  """Colours a map, over the photo where the drawing lets it show through.

  Raises:
    ValueError: bad scores or image: see `grayscale` and `overlay`.
  """
  values = drawing.normalise(scores)
  if drawing.opacity < 1 and image is not None:
    return overlay(
      image,
      values,
      colors=drawing.colors,
      low=drawing.low,
      opacity=drawing.opacity,
    )
  return _colored(values, drawing.colors, drawing.low)


def overlay(
  image: Photo,
  values: Values,
  *,
  colors: str = 'turbo',
  low: float | int = 0,
  opacity: float | int = 0.55,
  blur: float | int = 1.0,
) -> Float[np.ndarray, 'H W 3']:
  """Lays a normalised map in colours over a grey, slightly blurred photo.

  Args:
    image: `[H, W, 3]` or `[H, W, 1]`, in [0, 1].
    values: `[H, W]`, from `low` to 1.
    colors: name of a matplotlib colour map.
    low: value of the first colour.
    opacity: of the colours, in [0, 1].
    blur: standard deviation of the photo's blur, in pixels; 0 for none.

  Raises:
    ValueError: shapes that differ, a pixel or a setting out of range.
  """
  pixels = _checked(image)
  if pixels.shape[:2] != values.shape:
    raise ValueError(
      f'the map is {values.shape}, the image {pixels.shape[:2]}: expected the '
      'same height and width'
    )
  if pixels.min() < 0 or pixels.max() > 1:
    raise ValueError(
      f'image spans [{pixels.min()}, {pixels.max()}], expected [0, 1]'
    )
  if not 0 <= opacity <= 1 or not blur >= 0:
    raise ValueError(
      f'got opacity {opacity} and blur {blur}, expected opacity in [0, 1] and '
      'blur >= 0'
    )
  grey = pixels @ np.array(_LUMA) if pixels.shape[-1] == 3 else pixels[..., 0]
  for axis in (0, 1):
    grey = _blurred(grey, axis, blur)
  # Light enough for the colours, with its contrast kept.
  backdrop = np.repeat((0.15 + 0.85 * grey)[..., None], 3, axis=-1)
  return (1 - opacity) * backdrop + opacity * _colored(values, colors, low)


def _checked(a) -> np.ndarray:
  a = np.asarray(a, np.float64)
  checks.image(a)
  if 0 in a.shape:
    raise ValueError(f'expected an image [h, w, c], got the shape {a.shape}')
  bad = np.count_nonzero(~np.isfinite(a))
  if bad:
    raise ValueError(f'{bad} of {a.size} values are NaN or infinite')
  return a


def _clip(size: np.ndarray, percentile: float | int) -> np.ndarray:
  """Scales values that are at least 0 by their percentile."""
  if not 0 < percentile <= 100:
    raise ValueError(f'percentile is {percentile}, expected one in (0, 100]')
  span = np.percentile(size, percentile)
  if span == 0:  # A map of a few points: the greatest gives the scale.
    span = size.max() or 1.0
  return np.clip(size / span, 0, 1)


def _colored(values: np.ndarray, colors: str, low: float | int) -> np.ndarray:
  return matplotlib.colormaps[colors]((values - low) / (1 - low))[..., :3]


def _blurred(a: np.ndarray, axis: int, sigma: float | int) -> np.ndarray:
  if sigma == 0:
    return a
  steps = np.arange(a.shape[axis])
  weights = np.exp(-0.5 * ((steps[:, None] - steps[None]) / sigma) ** 2)
  weights /= weights.sum(axis=1, keepdims=True)  # Nothing leaks at the border.
  return np.moveaxis(np.tensordot(weights, a, (1, axis)), 0, axis)
