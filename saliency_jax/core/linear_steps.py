"""A step of a linear bound: from an equation's outputs to its inputs.

A rule takes an equation with what moves in it, the intervals of its inputs
and outputs, and rows of coefficients `c [k, ...]` of its outputs; it returns
coefficients of its inputs and offsets with

    <c, outputs> >= sum_i <given_i, inputs_i> + offset

for all inputs in their intervals. This holds of the coefficients and offsets as
they are computed, up to `n eps <|c|, size>` where `n` counts the terms of sums
(see `linear_bounds`): `size` is at least the terms that make an output, all by
their absolute values, at the largest inputs.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.core import bending
from saliency_jax.core import interval_sums
from saliency_jax.core import primitives
from saliency_jax.core import relaxations
from saliency_jax.core import rounding

Interval = rounding.Interval


class Step(NamedTuple):
  """What a rule returns.

  Attributes:
    given: coefficients of each input, `None` of what gets none.
    offset: `[k]`.
    sizes: of each output.
  """

  given: list[Any]
  offset: Float[Array, 'k']
  sizes: list[Array]


class Settings(NamedTuple):
  """What rules know beside the equation.

  Attributes:
    curves: of activations that are one equation, by their outputs.
    mixes: slopes, by outputs, see `relaxations.lines`; others are chosen.
  """

  curves: Mapping[Any, bending.Curve]
  mixes: Mapping[Any, Array]


def magnitude(value: Any) -> Array:
  """Returns the largest absolute value of an interval, or of an array."""
  if isinstance(value, Interval):
    return jnp.maximum(jnp.abs(value.low), jnp.abs(value.high))
  return jnp.abs(value)


def dot(c: Float[Array, 'k ...'], values: Array) -> Float[Array, 'k']:
  """Returns `<c, values>` of each row; nothing comes of no coefficient."""
  terms = jnp.where(c == 0, 0, c * values[None])
  return jnp.sum(terms, tuple(range(1, c.ndim)))


def ends(c: Float[Array, 'k ...'], box: Interval) -> Float[Array, 'k']:
  """Returns the least of `<c, v>` over an interval, entry by entry."""
  return dot(jnp.maximum(c, 0), box.low) + dot(jnp.minimum(c, 0), box.high)


def fitted(given: Float[Array, 'k ...'], box: Any) -> Array:
  """Sums coefficients over what an input is repeated along.

  It is a number, or has axes of size one.
  """
  shape = getattr(box, 'low', box).shape
  if len(shape) < given.ndim - 1:
    return jnp.sum(given, tuple(range(1, given.ndim)))
  axes = [i + 1 for i, n in enumerate(shape) if n != given.shape[i + 1]]
  return jnp.sum(given, tuple(axes), keepdims=True) if axes else given


def repeated(box: Interval, v: Any) -> Interval:
  """Returns an interval as often as an output repeats it."""
  return Interval(*(jnp.broadcast_to(a, v.aval.shape) for a in box))


def constant(equation, inputs, outputs, cs, settings):
  """The rule of what is not followed: outputs by their intervals."""
  del settings
  offset, sizes = 0, []
  for c, v, value in zip(cs, equation.eqn.outvars, outputs, strict=True):
    if primitives.is_float(v):
      offset = offset + ends(c, value)
      sizes.append(magnitude(value))
  return Step([None] * len(inputs), offset, sizes)


def affine(equation, inputs, outputs, cs, settings):
  """The rule of what is affine: its transpose, and its value at zero."""
  if not primitives.is_affine(equation):
    return constant(equation, inputs, outputs, cs, settings)
  eqn, moving = equation
  places = [i for i, m in enumerate(moving) if m]

  def fn(*moved):
    args = list(inputs)
    for i, a in zip(places, moved, strict=True):
      args[i] = a
    return interval_sums.precise(eqn, *args)

  zeros = [jnp.zeros_like(inputs[i].low) for i in places]
  values, pullback = jax.vjp(fn, *zeros)
  given = [None] * len(inputs)
  for i, g in zip(places, jax.vmap(pullback)(list(cs)), strict=True):
    given[i] = g
  offset = sum(dot(c, v) for c, v in zip(cs, values, strict=True))
  sizes = [magnitude(a) if i in places else a for i, a in enumerate(inputs)]
  return Step(given, offset, interval_sums.sizes(eqn, *sizes))


def through(
  c: Float[Array, 'k ...'], lines: relaxations.Lines, box: Interval
) -> tuple[Float[Array, 'k ...'], Float[Array, 'k'], Array]:
  """Puts lines in the place of values: coefficients, offset and size."""
  up, down = jnp.maximum(c, 0), jnp.minimum(c, 0)
  given = up * lines.low_slope[None] + down * lines.high_slope[None]
  offset = dot(up, lines.low_offset) + dot(down, lines.high_offset)
  slope = jnp.maximum(jnp.abs(lines.low_slope), jnp.abs(lines.high_slope))
  size = jnp.where(slope > 0, slope * magnitude(box), 0)
  size += jnp.maximum(jnp.abs(lines.low_offset), jnp.abs(lines.high_offset))
  return given, offset, size
