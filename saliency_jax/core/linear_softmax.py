"""The rule of linear bounds of softmax, and its intervals.

A softmax is the exponential of `t_i = x_i - log sum_j exp(x_j)`: the logarithm
is above its tangent plane in the middle, by convexity, and below the tangent of
the logarithm at the chords of the exponentials.

References:
  Wei, Wu, Wu, Chen, Barrett and Farchi, Convex bounds on the softmax function
  with applications to robustness verification, 2023.
  https://arxiv.org/abs/2303.01713
"""

import jax
import jax.numpy as jnp

from saliency_jax.core import linear_steps
from saliency_jax.core import primitives
from saliency_jax.core import relaxations
from saliency_jax.core import rounding
from saliency_jax.core import units

Interval = rounding.Interval
Step = linear_steps.Step


def interval(equation: primitives.Equation, box: Interval) -> Interval:
  """Returns the interval of softmax, from its argument's."""
  box, axis = _bounded(box), _axis(equation)
  top = jnp.max(box.high, axis, keepdims=True)
  low, high = (jnp.exp(a - top) for a in box)
  share = lambda a, b: a / (a + _others(b, axis))
  bounds = Interval(share(low, high), share(high, low))
  # Of what has all weight nothing else is left.
  bounds = Interval(
    *(
      jnp.where(jnp.isnan(b), e, b)
      for b, e in zip(bounds, (0.0, 1.0), strict=True)
    )
  )
  bounds = rounding.rounded(bounds, 4 * box.low.shape[axis] + 64)
  return Interval(jnp.maximum(bounds.low, 0), jnp.minimum(bounds.high, 1))


def _bounded(box):
  """Returns an interval without infinite ends, of logits that are masked."""
  most = float(jnp.finfo(box.low.dtype).max) / 1e8
  return Interval(*(jnp.clip(a, -most, most) for a in box))


def _axis(equation):
  """Returns the axis that a softmax is over."""
  for eqn in equation.eqn.params['jaxpr'].jaxpr.eqns:
    if eqn.primitive.name == 'reduce_sum':
      (axis,) = eqn.params['axes']
      return axis
  raise ValueError('a softmax without a sum')


def _others(a, axis):
  """Returns, of each entry, the sum of the others."""
  before = jnp.cumsum(a, axis)
  after = jnp.flip(jnp.cumsum(jnp.flip(a, axis), axis), axis)
  n = a.shape[axis]
  cut = lambda v, i, j: jax.lax.slice_in_dim(v, i, j, axis=axis)
  nothing = jnp.zeros_like(cut(a, 0, 1))
  before = jnp.concatenate([nothing, cut(before, 0, n - 1)], axis)
  after = jnp.concatenate([cut(after, 1, n), nothing], axis)
  return before + after


def softmax(equation, inputs, outputs, cs, settings):
  """The rule of softmax."""
  other = linear_steps.constant(equation, inputs, outputs, cs, settings)
  if sum(equation.moving) != 1:
    return other
  (out,), (c,) = outputs, cs
  place, axis = equation.moving.index(True), _axis(equation)
  box = _bounded(inputs[place])
  n, eps = box.low.shape[axis], float(jnp.finfo(c.dtype).eps)
  total = lambda a: jnp.sum(a, axis, keepdims=True)
  # Below and above `log sum exp x`, less the shift, about the middle.
  middle, radius = rounding.split(box)
  shift = jnp.max(middle, axis, keepdims=True)
  weights = jnp.exp(middle - shift)
  slope_low = weights / total(weights)
  at_middle = jnp.log(total(weights))
  shifted = Interval(box.low - shift, box.high - shift)
  chords = relaxations.of_exp(rounding.rounded(shifted, 2))
  value = chords.high_slope * (middle - shift) + chords.high_offset
  tangent = total(value)
  slope_high = chords.high_slope / tangent
  top = jnp.log(tangent) - 1 + total(chords.high_offset) / tangent
  bottom = at_middle - total(slope_low * (middle - shift))
  # The lines of the exponential, on the interval of its argument.
  lines = relaxations.of_exp(
    rounding.rounded(Interval(jnp.log(out.low), jnp.log(out.high)), 64)
  )
  lines = relaxations.finite(lines, out)
  up, down = jnp.maximum(c, 0), jnp.minimum(c, 0)
  d = up * lines.low_slope[None] + down * lines.high_slope[None]
  offset = linear_steps.dot(up, lines.low_offset)
  offset += linear_steps.dot(down, lines.high_offset)
  # Of `sum_i d_i (x_i - shift - log sum_j exp(x_j - shift))`.
  summed = jnp.sum(d, axis + 1, keepdims=True)
  above, below = jnp.maximum(summed, 0), jnp.minimum(summed, 0)
  given = d - above * slope_high[None] - below * slope_low[None]
  offset -= linear_steps.dot(above, top) + linear_steps.dot(below, bottom)
  # The shift is in both.
  rest = jnp.sum(given, axis + 1, keepdims=True)
  offset -= linear_steps.dot(rest, shift)
  slope = jnp.maximum(jnp.abs(lines.low_slope), jnp.abs(lines.high_slope))
  reach = jnp.abs(middle) + radius + jnp.abs(shift)
  sums = (
    jnp.abs(top)
    + jnp.abs(bottom)
    + jnp.abs(at_middle)
    + total((jnp.abs(slope_high) + slope_low) * (reach + 1))
    + total(jnp.abs(chords.high_offset)) / tangent
  )
  size = slope * (reach + 64 * sums)
  size += jnp.maximum(jnp.abs(lines.low_offset), jnp.abs(lines.high_offset))
  size += n * float(jnp.finfo(c.dtype).tiny) / eps
  whole = jnp.all(jnp.isfinite(size)) & jnp.all(jnp.isfinite(given))
  step = [None] * len(inputs)
  step[place] = jnp.where(whole, given, 0)
  return Step(
    step,
    jnp.where(whole, offset, other.offset),
    [jnp.where(whole, size, other.sizes[0])],
  )


# By the names of primitives.
RULES = {units.SOFTMAX: softmax}
