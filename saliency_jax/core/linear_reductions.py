"""Linear bounds of the largest of several numbers, and of softmax.

The largest of several is at least any one of them, and at most the larger of
the one that may be largest and all that the others may be. A softmax is the
exponential of `t_i = x_i - log sum_j exp(x_j)`: the logarithm is above its
tangent plane in the middle, by convexity, and below the tangent of the
logarithm at the chords of the exponentials.

References:
  Wei, Wu, Wu, Chen, Barrett and Farchi, Convex bounds on the softmax function
  with applications to robustness verification, 2023.
  https://arxiv.org/abs/2303.01713
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import linear_rules
from saliency_jax.core import primitives
from saliency_jax.core import relaxations
from saliency_jax.core import rounding
from saliency_jax.core import units

Interval = rounding.Interval
Step = linear_rules.Step


def largest(equation, inputs, outputs, cs, settings):
  """The rule of maxima and minima over axes or windows."""
  del settings
  eqn = equation.eqn
  (box,), (c,), (out,) = inputs, cs, outputs
  index = windows(eqn)
  readers = _readers(index, box.low.size)
  inside = jnp.asarray(index >= 0)
  index = np.maximum(index, 0)
  negative = 'min' in eqn.primitive.name
  if negative:
    # The least of several is minus the largest of their negatives.
    c, box, out = -c, *(Interval(-b.high, -b.low) for b in (box, out))
  low, high = (
    jnp.where(inside, a.ravel()[index], -jnp.inf) for a in (box.low, box.high)
  )
  some = _one_hot(low + high)
  most = _one_hot(high)
  others = jnp.max(jnp.where(most, -jnp.inf, high), -1)
  pick = lambda a: jnp.max(jnp.where(most, a, -jnp.inf), -1)
  own = Interval(pick(low), pick(high))
  lines = relaxations.of_larger(own, others)
  lines = relaxations.finite(lines, out)
  up, down = jnp.maximum(c, 0), jnp.minimum(c, 0)
  weights = jnp.where(some[None], up[..., None], 0)
  weights += jnp.where(
    most[None], (down * lines.high_slope[None])[..., None], 0
  )
  weights = weights.reshape(len(c), -1)
  nothing = jnp.zeros((len(c), 1), c.dtype)
  given = jnp.concatenate([weights, nothing], 1)[:, readers]
  given = jnp.sum(given, -1).reshape(len(c), *box.low.shape)
  offset = linear_rules.dot(down, lines.high_offset)
  size = 2 * jnp.max(
    jnp.where(inside, linear_rules.magnitude(box).ravel()[index], 0), -1
  )
  size += jnp.abs(lines.high_offset)
  return Step([-given if negative else given], offset, [size])


def windows(eqn) -> np.ndarray:
  """Returns `[..., n]`, the entries that each output is the largest of.

  They are indices of the flat operand; -1 is outside of it.
  """
  shape = eqn.invars[0].aval.shape
  index = np.arange(math.prod(shape)).reshape(shape)
  if 'axes' in eqn.params:
    axes = eqn.params['axes']
    kept = [i for i in range(len(shape)) if i not in axes]
    index = index.transpose(*kept, *axes)
    return index.reshape(*(shape[i] for i in kept), -1)
  params = eqn.params
  dilation, pads = params['base_dilation'], params['padding']
  each = functools.partial(zip, strict=True)
  spaced = [(n - 1) * d + 1 for n, d in each(shape, dilation)]
  base = np.full(spaced, -1)
  base[tuple(slice(None, None, d) for d in dilation)] = index
  # What is cut off is padding below zero.
  base = base[
    tuple(
      slice(max(0, -low), n - max(0, -high))
      for n, (low, high) in each(spaced, pads)
    )
  ]
  base = np.pad(
    base,
    [(max(0, low), max(0, high)) for low, high in pads],
    constant_values=-1,
  )
  apart = params['window_dilation']
  sides = [(n - 1) * d + 1 for n, d in each(params['window_dimensions'], apart)]
  views = np.lib.stride_tricks.sliding_window_view(base, sides)
  views = views[tuple(slice(None, None, s) for s in params['window_strides'])]
  views = views[(..., *(slice(None, None, d) for d in apart))]
  return views.reshape(*views.shape[: len(shape)], -1)


def _readers(index, num):
  """Returns `[num, m]`: where each entry stands in windows, or one past them.

  Sums over these are gathers; to scatter takes many times as long.
  """
  flat = index.ravel()
  order = np.argsort(flat, kind='stable')[np.sum(flat < 0) :]
  counts = np.bincount(flat[order], minlength=num)
  starts = np.cumsum(counts) - counts
  rank = np.arange(len(order)) - np.repeat(starts, counts)
  readers = np.full((num, counts.max(initial=1)), flat.size)
  readers[flat[order], rank] = order
  return readers


def _one_hot(values):
  """Returns where the largest is, on the last axis; the first of several."""
  # JAX lowers `argmax` outside of `wide.precision()`, and then not in float64.
  axis = values.ndim - 1
  first = jax.lax.argmax(values.astype(jnp.float32), axis, jnp.int32)
  places = jax.lax.broadcasted_iota(jnp.int32, values.shape, axis)
  return places == first[..., None]


def softmax_interval(equation: primitives.Equation, box: Interval) -> Interval:
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
  other = linear_rules.constant(equation, inputs, outputs, cs, settings)
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
  offset = linear_rules.dot(up, lines.low_offset)
  offset += linear_rules.dot(down, lines.high_offset)
  # Of `sum_i d_i (x_i - shift - log sum_j exp(x_j - shift))`.
  summed = jnp.sum(d, axis + 1, keepdims=True)
  above, below = jnp.maximum(summed, 0), jnp.minimum(summed, 0)
  given = d - above * slope_high[None] - below * slope_low[None]
  offset -= linear_rules.dot(above, top) + linear_rules.dot(below, bottom)
  # The shift is in both.
  rest = jnp.sum(given, axis + 1, keepdims=True)
  offset -= linear_rules.dot(rest, shift)
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
RULES = {
  **dict.fromkeys(
    ['reduce_max', 'reduce_min', 'reduce_window_max', 'reduce_window_min'],
    largest,
  ),
  units.SOFTMAX: softmax,
}
