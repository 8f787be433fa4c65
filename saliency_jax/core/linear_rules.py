"""What a bound that is linear in an equation's outputs is in its inputs.

Each rule takes an equation with what moves in it, the intervals of its inputs
and outputs, and rows of coefficients `c [k, ...]` of its outputs; it returns
coefficients of its inputs and offsets with

    <c, outputs> >= sum_i <given_i, inputs_i> + offset

for all inputs in their intervals. This holds of the coefficients and offsets as
they are computed, up to `n eps <|c|, size>` where `n` counts the terms of sums
(see `linear_bounds`): `size` is at least the terms that make an output, all by
their absolute values, at the largest inputs.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.core import interval_sums
from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import relaxations
from saliency_jax.core import rounding
from saliency_jax.core import units

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

  curves: Mapping[Any, relaxations.Curve]
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


def _stopped(equation, inputs, outputs, cs, settings):
  """`stop_gradient` stops derivatives, and no values."""
  del equation, outputs, settings
  (c,), (box,) = cs, inputs
  return Step([c], jnp.zeros(len(c), c.dtype), [magnitude(box)])


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


class Relaxed(NamedTuple):
  """An equation that is an element-wise function of one number.

  Attributes:
    grid: the function.
    box: the interval of the number.
    values: the interval of the function; `None` is that of the output.
    give: coefficients of the inputs, from those of the output and those of the
      number.
    rest: what else makes an output, by its size.
  """

  grid: relaxations.Grid
  box: Interval
  values: Interval | None
  give: Callable[[Array, Array], list[Array | None]]
  rest: Array


def relaxed(
  equation: primitives.Equation,
  inputs: list[Any],
  curves: Mapping[Any, relaxations.Curve],
) -> Relaxed | None:
  """Returns an equation as an element-wise function, `None` where it is none.

  The larger of two that move is `b + max(a - b, 0)`, the smaller likewise; a
  product of a number with itself is its square.
  """
  eqn, moving = equation
  name = eqn.primitive.name
  if sum(moving) == 1:
    return _of_one(equation, inputs, curves)
  if name in ('max', 'min'):
    a, b = (repeated(box, eqn.outvars[0]) for box in inputs)
    gap = rounding.rounded(Interval(a.low - b.high, a.high - b.low), 1)
    pick = getattr(jnp, name + 'imum')
    known = _grid(lambda z: pick(z, jnp.zeros_like(z)), gap, relaxations.BROKEN)
    give = lambda c, given: [
      fitted(g, box) for g, box in zip((given, c - given), inputs, strict=True)
    ]
    values = Interval(*(pick(end, jnp.zeros_like(end)) for end in gap))
    rest = magnitude(a) + 2 * magnitude(b)
    return Relaxed(known, gap, values, give, rest)
  if name == 'mul' and eqn.invars[0] is eqn.invars[1]:
    (box, _), curve = inputs, relaxations.CURVES['square']
    give = lambda c, given: [given, None]
    known = _grid(jnp.square, box, curve)
    return Relaxed(known, box, None, give, jnp.zeros(()))
  return None


def _of_one(equation, inputs, curves):
  eqn, moving = equation
  name, place = eqn.primitive.name, moving.index(True)
  if name in ('integer_pow', 'pow'):
    curve = _power(equation, inputs)
  else:
    curve = curves.get(eqn.outvars[0], relaxations.CURVES.get(name))
  if curve is None or (name == 'clamp' and place != 1):
    return None
  kinks = None
  if name in ('max', 'min', 'clamp'):
    kinks = [a for i, a in enumerate(inputs) if i != place]

  def fn(z):
    args = [z if i == place else a for i, a in enumerate(inputs)]
    if name == units.ACTIVATION:
      body = eqn.params['jaxpr']
      return jaxprs.evaluate(body, *args, rule=interval_sums.precise)[0]
    return interval_sums.precise(eqn, *args)[0]

  def give(c, given):
    del c
    return [
      fitted(given, a) if i == place else None for i, a in enumerate(inputs)
    ]

  box = repeated(inputs[place], eqn.outvars[0])
  known = _grid(jax.vmap(fn), box, curve, kinks)
  return Relaxed(known, box, None, give, jnp.zeros(()))


def _grid(fn, box, curve, kinks=None):
  z = relaxations.points(box, curve, kinks)
  return relaxations.grid(z, fn(z), curve)


def _power(equation, inputs):
  """Returns the curve of a power, where its exponent is one known number."""
  if equation.eqn.primitive.name == 'integer_pow':
    return relaxations.power(equation.eqn.params['y'])
  exponent = inputs[1]
  if isinstance(exponent, (Interval, jax.core.Tracer)) or np.ndim(exponent):
    return None
  return relaxations.power(float(exponent))


def elementwise(equation, inputs, outputs, cs, settings):
  """The rule of what is an element-wise function of one number."""
  known = relaxed(equation, inputs, settings.curves)
  if known is None:
    return constant(equation, inputs, outputs, cs, settings)
  mix = settings.mixes.get(equation.eqn.outvars[0])
  lines = relaxations.lines(known.grid, mix)
  lines = relaxations.finite(lines, known.values or outputs[0])
  given, offset, size = through(cs[0], lines, known.box)
  return Step(known.give(cs[0], given), offset, [size + known.rest])


def bilinear(equation, inputs, outputs, cs, settings):
  """The rule of products, linear in each of two factors (McCormick).

  With middles `m` and radii `r` of the factors `x` and `y`, `x y` differs from
  `m_x y + x m_y - m_x m_y` by at most `r_x r_y`: the mean of the two planes
  below, and of the two above.
  """
  eqn, moving = equation
  if sum(moving) == 1:
    return affine(equation, inputs, outputs, cs, settings)
  if relaxed(equation, inputs, settings.curves) is not None:
    return elementwise(equation, inputs, outputs, cs, settings)
  product = lambda a, b: interval_sums.precise(eqn, a, b)[0]
  (a, a_radius), (b, b_radius) = (rounding.split(box) for box in inputs)
  value, pullback = jax.vjp(product, a, b)
  given = list(jax.vmap(pullback)(cs[0]))
  spread = product(a_radius, b_radius)
  offset = -dot(cs[0], value) - dot(jnp.abs(cs[0]), spread)
  size = 4 * product(*(magnitude(box) for box in inputs))
  return Step(given, offset, [size])


def _quotient(equation, inputs, outputs, cs, settings):
  """The rule of division: a product with the reciprocal of the denominator."""
  if not equation.moving[1]:
    return affine(equation, inputs, outputs, cs, settings)
  x, y = (
    repeated(a if moves else Interval(a, a), equation.eqn.outvars[0])
    for a, moves in zip(inputs, equation.moving, strict=True)
  )
  known = _grid(jnp.reciprocal, y, relaxations.CURVES['reciprocal'])
  inverse = relaxations.interval(known)
  (a, a_radius), (b, b_radius) = (rounding.split(box) for box in (x, inverse))
  c = cs[0]
  # A numerator that is constant is in `a` times the reciprocal already.
  offset = -dot(jnp.abs(c), a_radius * b_radius)
  if equation.moving[0]:
    offset -= dot(c, a * b)
  lines = relaxations.lines(known)
  given, shift, size = through(c * a[None], lines, y)
  size = magnitude(a) * size + 4 * magnitude(x) * magnitude(inverse)
  whole = jnp.all((y.low > 0) | (y.high < 0))
  step = Step([c * b[None], given], offset + shift, [size])
  other = constant(equation, inputs, outputs, cs, settings)
  return Step(
    [
      fitted(jnp.where(whole, g, 0), a)
      for g, a in zip(step.given, inputs, strict=True)
    ],
    jnp.where(whole, step.offset, other.offset),
    [jnp.where(whole, step.sizes[0], other.sizes[0])],
  )


# By the names of primitives, and by roles.
RULES = {
  primitives.MOVES: affine,
  primitives.SUMS: affine,
  primitives.PRODUCTS: bilinear,
  primitives.QUOTIENTS: _quotient,
  **dict.fromkeys(
    [*relaxations.CURVES, 'integer_pow', 'pow', units.ACTIVATION], elementwise
  ),
  'stop_gradient': _stopped,
}
