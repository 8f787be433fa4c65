"""Lines below and above an element-wise function on an interval.

    s_low z + b_low <= g(z) <= s_high z + b_high   for all   low <= z <= high

A grid cuts the interval into cells, the function's kinks among their ends. On a
cell of width `h` where `c_low <= g'' <= c_high`, the function is no lower than
the chord less `h^2/8 max(c_high, 0)` and no higher than the chord and
`h^2/8 max(-c_low, 0)`. So a line of any slope is sound once its offset is the
least of what these leave at the ends of the cells. Slopes are chosen so that
the line is best in the middle of the interval: of a ReLU with `low < 0 < high`,
0 or 1 by `high > -low` below, and the chord above, as in CROWN.

What bounds second derivatives is `bending`'s. Values of functions are taken to
be right to 64 units in the last place of what they are made of.

References:
  Zhang, Weng, Chen, Hsieh and Daniel, Efficient neural network robustness
  certification with general activation functions, 2018.
  https://arxiv.org/abs/1811.00866
  Xu et al., Automatic perturbation analysis for scalable certified robustness
  and beyond, 2020. https://arxiv.org/abs/2002.12920
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.core import bending
from saliency_jax.core import rounding

_UNITS = 64
# Curvatures are computed in floating point, too.
_RAISED = 1.001


class Grid(NamedTuple):
  """A function on the cells of an interval.

  Attributes:
    z: ends of the cells, the interval's own first and last.
    g: the function there.
    below: how far it may fall below the chord of each cell.
    above: how far it may rise above it.
    slack: the rounding of the values.
  """

  z: Float[Array, 'p ...']
  g: Float[Array, 'p ...']
  below: Float[Array, 'n ...']
  above: Float[Array, 'n ...']
  slack: Float[Array, '...']


class Lines(NamedTuple):
  """A line below, and one above."""

  low_slope: Float[Array, '...']
  low_offset: Float[Array, '...']
  high_slope: Float[Array, '...']
  high_offset: Float[Array, '...']


def points(
  box: rounding.Interval,
  curve: bending.Curve,
  kinks: Any = None,
  num_cells: int = 16,
) -> Float[Array, 'p ...']:
  """Returns the ends of the cells that an interval is cut into.

  Args:
    box: the interval.
    curve: of the function.
    kinks: arrays in the place of the curve's own.
    num_cells: of a curve that bends, over all.
  """
  low, high = box
  kinks = curve.kinks if kinks is None else kinks
  inner = [jnp.clip(jnp.asarray(k, low.dtype), low, high) for k in kinks]
  if not inner and curve.second is not None:
    inner = [low / 2 + high / 2]
  if curve.second is None:
    return jnp.stack([low, *inner, high])
  if len(inner) == 1:
    # A kink outside leaves one half for the whole interval.
    middle = low / 2 + high / 2
    inside = (low < inner[0]) & (inner[0] < high)
    inner = [jnp.where(inside, inner[0], middle)]
  ends = [low, *inner, high]
  num = max(1, num_cells // (len(ends) - 1))
  cut = []
  for a, b in zip(ends[:-1], ends[1:], strict=True):
    cut += [a, *(a + (b - a) * (i / num) for i in range(1, num))]
  return jnp.stack([*cut, high])


def grid(
  z: Float[Array, 'p ...'], g: Float[Array, 'p ...'], curve: bending.Curve
) -> Grid:
  """Returns what a function is known to be between the ends of cells."""
  size = jnp.max(jnp.abs(g), 0)
  info = jnp.finfo(g.dtype)
  slack = _UNITS * float(info.eps) * size + float(info.tiny)
  if curve.second is None:
    nothing = jnp.zeros_like(g[1:])
    return Grid(z, g, nothing, nothing, slack)
  low, high = jnp.minimum(z[1:], z[:-1]), jnp.maximum(z[1:], z[:-1])
  least, most = curve.second(low, high)
  height = _RAISED * (high - low) ** 2 / 8
  below, above = (height * jnp.maximum(c, 0) for c in (most, -least))
  if curve.monotone:
    # Of infinite curvature it still stays between the ends.
    rise = jnp.abs(g[1:] - g[:-1])
    below, above = jnp.fmin(below, rise), jnp.fmin(above, rise)
  return Grid(z, g, below, above, slack)


def interval(grid: Grid) -> rounding.Interval:
  """Returns bounds of the function."""
  low = jnp.minimum(grid.g[1:], grid.g[:-1]) - grid.below
  high = jnp.maximum(grid.g[1:], grid.g[:-1]) + grid.above
  low, high = jnp.min(low, 0) - grid.slack, jnp.max(high, 0) + grid.slack
  return rounding.rounded(rounding.Interval(low, high), 4)


def lines(grid: Grid, mix: Float[Array, '2 ...'] | None = None) -> Lines:
  """Returns lines below and above a function.

  Args:
    grid: the function.
    mix: slopes, of the line below and of the one above, between the least that
      is of use, at 0, and the largest; `None` chooses them.
  """
  sides = _sides(grid)
  if mix is not None:
    mix = jnp.stack([mix[0], 1 - mix[1]])
  slopes = _slopes(sides, mix)
  offsets = jax.vmap(_offset)(sides, slopes)
  return Lines(slopes[0], offsets[0], -slopes[1], -offsets[1])


def mixed(grid: Grid) -> Float[Array, '2 ...']:
  """Returns the mix that `lines` chooses by itself."""
  sides = _sides(grid)
  left, right = jax.vmap(_extremes)(sides)
  width = right - left
  share = (_slopes(sides) - left) / jnp.where(width > 0, width, 1)
  share = jnp.where(width > 0, jnp.clip(share, 0, 1), 0.5)
  return jnp.stack([share[0], 1 - share[1]])


def finite(lines: Lines, values: rounding.Interval) -> Lines:
  """Returns lines, and where there are none the ends of the values."""
  low, high = (
    jnp.isfinite(a) & jnp.isfinite(b) for a, b in (lines[:2], lines[2:])
  )
  return Lines(
    jnp.where(low, lines.low_slope, 0),
    jnp.where(low, lines.low_offset, values.low),
    jnp.where(high, lines.high_slope, 0),
    jnp.where(high, lines.high_offset, values.high),
  )


def of_larger(box: rounding.Interval, other: Float[Array, '...']) -> Lines:
  """Returns lines of the larger of a number in an interval and another one."""
  z = points(box, bending.BROKEN, [other])
  return lines(grid(z, jnp.maximum(z, other[None]), bending.BROKEN))


def of_exp(box: rounding.Interval) -> Lines:
  """Returns lines of the exponential, flat where the interval is infinite."""
  z = points(box, bending.CURVES['exp'])
  known = grid(z, jnp.exp(z), bending.CURVES['exp'])
  ends = rounding.rounded(rounding.Interval(*map(jnp.exp, box)), _UNITS)
  return finite(lines(known), ends)


def _sides(grid):
  """Returns the function and its negative, below which lines are sought."""
  other = grid._replace(g=-grid.g, below=grid.above)
  return jax.tree.map(lambda *sides: jnp.stack(sides), grid, other)


def _slopes(sides, mix=None):
  """Returns slopes of lines below, of both sides.

  They leave a loop. XLA computes what is cheap once for every reader, and may
  round it in several ways; a slope that is chosen among others, or the quotient
  of all but nothing by all but nothing, would then be one number in a line's
  offset and another in its coefficient. What a loop puts out is one number.
  """
  if mix is None:
    return jax.lax.map(_chosen, sides)

  def between(side):
    left, right = _extremes(side[0])
    return left + side[1] * (right - left)

  return jax.lax.map(between, (sides, mix))


def _chosen(grid):
  """Returns the slope of the line below that is highest in the middle."""
  left, right = _extremes(grid)
  slopes = [right]
  middle = grid.z[0] / 2 + grid.z[-1] / 2
  if grid.z.shape[0] > 3:
    slopes += [_slope_at(grid, middle), jnp.zeros_like(left)]
  # JAX lowers `argmax` outside of `wide.precision()`, and then not in float64.
  slope, offset = left, _offset(grid, left)
  for s in slopes:
    b = _offset(grid, s)
    better = s * middle + b > slope * middle + offset
    slope, offset = jnp.where(better, s, slope), jnp.where(better, b, offset)
  return slope


def _slope_at(grid, z):
  """Returns the slope of the cell that a number is in, or the mean of two."""
  low, high = grid.z[:-1], grid.z[1:]
  slopes = _quotient(grid.g[1:] - grid.g[:-1], high - low, 0)
  around = (low <= z[None]) & (z[None] <= high) & (low < high)
  num = jnp.sum(around.astype(slopes.dtype), 0)
  return jnp.sum(jnp.where(around, slopes, 0), 0) / jnp.maximum(num, 1)


def _extremes(grid):
  """Returns the slopes of the lines below that touch at either end."""
  z, g = grid.z, grid.g
  left = jnp.min(_quotient(g[1:] - g[:1], z[1:] - z[:1], jnp.inf), 0)
  right = jnp.max(_quotient(g[-1:] - g[:-1], z[-1:] - z[:-1], -jnp.inf), 0)
  whole = jnp.isfinite(left) & jnp.isfinite(right)
  return jnp.where(whole, left, 0), jnp.where(whole, right, 0)


def _quotient(rise, width, otherwise):
  return jnp.where(width > 0, rise / jnp.where(width > 0, width, 1), otherwise)


def _offset(grid, slope):
  """Returns the largest offset of a line of that slope, rounded down."""
  left = grid.g - slope[None] * grid.z
  offset = jnp.min(jnp.minimum(left[1:], left[:-1]) - grid.below, 0)
  eps = float(jnp.finfo(slope.dtype).eps)
  size = jnp.abs(slope) * jnp.max(jnp.abs(grid.z), 0) + jnp.abs(offset)
  return offset - grid.slack - 8 * eps * size
