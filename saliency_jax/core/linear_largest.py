"""The rule of linear bounds of the largest of several numbers.

The largest of several is at least any one of them, and at most the larger of
the one that may be largest and all that the others may be.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import linear_steps
from saliency_jax.core import relaxations
from saliency_jax.core import rounding

Interval = rounding.Interval
Step = linear_steps.Step


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
  offset = linear_steps.dot(down, lines.high_offset)
  size = 2 * jnp.max(
    jnp.where(inside, linear_steps.magnitude(box).ravel()[index], 0), -1
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


# By the names of primitives.
RULES = dict.fromkeys(
  ['reduce_max', 'reduce_min', 'reduce_window_max', 'reduce_window_min'],
  largest,
)
