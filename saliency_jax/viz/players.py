"""What the figures of players share: their numbers, colours and intervals.

A player is what a masker hides: a token, a time, a column, a region. Each has
one value, a name and perhaps a margin: half of its 95% interval, as methods
say it by `info.margin`.
"""

from collections.abc import Callable, Sequence
import math
from typing import NamedTuple

from jaxtyping import Array, Float
import numpy as np

from saliency_jax.viz import drawings
from saliency_jax.viz.drawings import matplotlib

Values = Float[Array, '...'] | Float[np.ndarray, '...']

# What the ends of the colours are called.
ENDS = ('lowers the score', 'raises the score')
# Beside an axis on which 0 is in the middle.
DIRECTIONS = f'← {ENDS[0]} | {ENDS[1]} →'
# The share of the colour scale whose colours dark text can be read on.
LIGHT = 0.45
GREY = (0.6, 0.6, 0.6)
# Under figures that draw intervals.
INTERVALS = '95% intervals'
# The colour of a bar: one for each sign, strong and not yet dark.
_STRONG = 0.7
# And of what is no player's own: a sum of several, a rest.
_PALE = 0.3


class Players(NamedTuple):
  """Values that can be drawn.

  Attributes:
    values: one number a player.
    names: what the players are called.
    half: half the width of each interval; 0 where there is none.
    scale: the value of the deepest colour.
    number: a value to its text; all texts have the same decimals.
  """

  values: Float[np.ndarray, 'p']
  names: tuple[str, ...]
  half: Float[np.ndarray, 'p']
  scale: float
  number: Callable[[float], str]

  def signs(self) -> np.ndarray:
    """Returns 1 and -1 where the interval leaves 0 out, by its side, else 0.

    Without an interval a value has no sign here: nothing says how sure it is.
    """
    sure = (self.half > 0) & (np.abs(self.values) > self.half)
    return np.where(sure, np.sign(self.values), 0)

  def interval(self, i: int) -> str:
    """Returns the interval of a player in words, empty where there is none."""
    if self.half[i] == 0:
      return ''
    value, half = self.values[i], self.half[i]
    low, high = self.number(value - half), self.number(value + half)
    return f'95% interval {low} to {high}'


def of(
  values: Values,
  names: Sequence[str] | None,
  *,
  margin: Values | None = None,
  limit: float | int | None = None,
) -> Players:
  """Checks values, and whatever goes with them.

  Args:
    values: of any shape, one a player.
    names: one a player, in the order of the flat values; `None` counts them.
    margin: half of the 95% intervals, of the shape of the values.
    limit: the value of the deepest colour, for figures that share a scale;
      `None` takes the largest size.

  Raises:
    ValueError: no values, ones that are not finite, other numbers of names or
      margins than of values, a negative margin, a bad limit.
  """
  values = finite('values', values)
  flat = values.ravel()
  if not flat.size:
    raise ValueError(
      f'got values {values.shape}, expected at least one: pass info.values'
    )
  if names is None:
    names = [str(i) for i in range(flat.size)]
  if len(names) != flat.size:
    raise ValueError(
      f'got {len(names)} names and {flat.size} values, expected one name a '
      'value'
    )
  half = np.zeros(flat.shape)
  if margin is not None:
    half = _margins(margin, values.shape).ravel()
  scale = float(np.max(np.abs(flat))) or 1.0
  if limit is not None:
    if not 0 < limit < math.inf:
      raise ValueError(
        f'limit is {limit}, expected one above 0: the value of the deepest '
        'colour, or None'
      )
    scale = float(limit)
  names = tuple(str(name) for name in names)
  return Players(flat, names, half, scale, formatter(flat))


def finite(name: str, values: Values) -> np.ndarray:
  """Returns values in float64, or raises where they are not finite."""
  values = np.asarray(values, np.float64)
  bad = np.count_nonzero(~np.isfinite(values))
  if bad:
    raise ValueError(
      f'{bad} of {values.size} {name} are NaN or infinite: draw only finite '
      'ones, and see where the score is not finite'
    )
  return values


def colors(
  values: np.ndarray, scale: float, *, depth: float | int = 1.0
) -> Float[np.ndarray, '... 3']:
  """Returns colours of signed values: those of `drawings.SIGNED`, 0 white.

  Args:
    values: of any shape.
    scale: the value of the deepest colour; larger ones have it too.
    depth: share of the colour scale that is used; `LIGHT` leaves dark text
      readable.
  """
  unit = np.clip(np.asarray(values) / scale, -1, 1) * depth
  return matplotlib.colormaps[drawings.SIGNED.colors]((unit + 1) / 2)[..., :3]


def strong(values: np.ndarray) -> Float[np.ndarray, '... 3']:
  """Returns one colour for values above 0, one for those below."""
  return colors(np.sign(values), 1.0, depth=_STRONG)


def pale(values: np.ndarray) -> Float[np.ndarray, '... 3']:
  """Returns the colours of `strong`, paler: of sums and rests."""
  return colors(np.sign(values), 1.0, depth=_PALE)


def noted(caption: str, half: np.ndarray) -> str:
  """Returns a caption that says what the intervals are, if there are any."""
  notes = (caption, INTERVALS if half.any() else '')
  return '; '.join(filter(None, notes))


def formatter(values: np.ndarray) -> Callable[[float], str]:
  """Returns how to write signed numbers, the largest with three figures."""
  size = np.max(np.abs(values))
  place = 2 - math.floor(math.log10(size)) if size else 0
  decimals = f'+.{max(place, 0)}f' if -4 <= place <= 6 else '+.2e'
  return lambda value: f'{value:{decimals}}' if value else '0'


def _margins(margin, shape):
  """Returns margins, or raises."""
  if np.any(np.isposinf(margin)):
    raise ValueError(
      'margin is infinite, since the draws are too few for an interval: take '
      'more of them, or leave margin out'
    )
  margin = finite('margins', margin)
  if margin.shape != shape:
    raise ValueError(
      f'margin is {margin.shape}, the values {shape}: expected one a value, as '
      'info.margin of info.values'
    )
  if margin.min() < 0:
    raise ValueError(
      f'margin has an entry {margin.min():.3g}, expected half the width of '
      'intervals, at least 0, not their ends'
    )
  return margin
