"""Rules of linear bounds: of element-wise functions, products and quotients.

Each is as `linear_steps` says; what is affine, and what is not followed, is
there. Maxima over axes are `linear_largest`'s, softmax is `linear_softmax`'s.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
import numpy as np

from saliency_jax.core import bending
from saliency_jax.core import interval_sums
from saliency_jax.core import jaxprs
from saliency_jax.core import linear_steps
from saliency_jax.core import primitives
from saliency_jax.core import relaxations
from saliency_jax.core import rounding
from saliency_jax.core import units

Interval = rounding.Interval
Step = linear_steps.Step


def _stopped(equation, inputs, outputs, cs, settings):
  """`stop_gradient` stops derivatives, and no values."""
  del equation, outputs, settings
  (c,), (box,) = cs, inputs
  return Step([c], jnp.zeros(len(c), c.dtype), [linear_steps.magnitude(box)])


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
  curves: Mapping[Any, bending.Curve],
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
    a, b = (linear_steps.repeated(box, eqn.outvars[0]) for box in inputs)
    gap = rounding.rounded(Interval(a.low - b.high, a.high - b.low), 1)
    pick = getattr(jnp, name + 'imum')
    known = _grid(lambda z: pick(z, jnp.zeros_like(z)), gap, bending.BROKEN)
    give = lambda c, given: [
      linear_steps.fitted(g, box)
      for g, box in zip((given, c - given), inputs, strict=True)
    ]
    values = Interval(*(pick(end, jnp.zeros_like(end)) for end in gap))
    rest = linear_steps.magnitude(a) + 2 * linear_steps.magnitude(b)
    return Relaxed(known, gap, values, give, rest)
  if name == 'mul' and eqn.invars[0] is eqn.invars[1]:
    (box, _), curve = inputs, bending.CURVES['square']
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
    curve = curves.get(eqn.outvars[0], bending.CURVES.get(name))
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
      linear_steps.fitted(given, a) if i == place else None
      for i, a in enumerate(inputs)
    ]

  box = linear_steps.repeated(inputs[place], eqn.outvars[0])
  known = _grid(jax.vmap(fn), box, curve, kinks)
  return Relaxed(known, box, None, give, jnp.zeros(()))


def _grid(fn, box, curve, kinks=None):
  z = relaxations.points(box, curve, kinks)
  return relaxations.grid(z, fn(z), curve)


def _power(equation, inputs):
  """Returns the curve of a power, where its exponent is one known number."""
  if equation.eqn.primitive.name == 'integer_pow':
    return bending.power(equation.eqn.params['y'])
  exponent = inputs[1]
  if isinstance(exponent, (Interval, jax.core.Tracer)) or np.ndim(exponent):
    return None
  return bending.power(float(exponent))


def elementwise(equation, inputs, outputs, cs, settings):
  """The rule of what is an element-wise function of one number."""
  known = relaxed(equation, inputs, settings.curves)
  if known is None:
    return linear_steps.constant(equation, inputs, outputs, cs, settings)
  mix = settings.mixes.get(equation.eqn.outvars[0])
  lines = relaxations.lines(known.grid, mix)
  lines = relaxations.finite(lines, known.values or outputs[0])
  given, offset, size = linear_steps.through(cs[0], lines, known.box)
  return Step(known.give(cs[0], given), offset, [size + known.rest])


def bilinear(equation, inputs, outputs, cs, settings):
  """The rule of products, linear in each of two factors (McCormick).

  With middles `m` and radii `r` of the factors `x` and `y`, `x y` differs from
  `m_x y + x m_y - m_x m_y` by at most `r_x r_y`: the mean of the two planes
  below, and of the two above.
  """
  eqn, moving = equation
  if sum(moving) == 1:
    return linear_steps.affine(equation, inputs, outputs, cs, settings)
  if relaxed(equation, inputs, settings.curves) is not None:
    return elementwise(equation, inputs, outputs, cs, settings)
  product = lambda a, b: interval_sums.precise(eqn, a, b)[0]
  (a, a_radius), (b, b_radius) = (rounding.split(box) for box in inputs)
  value, pullback = jax.vjp(product, a, b)
  given = list(jax.vmap(pullback)(cs[0]))
  spread = product(a_radius, b_radius)
  offset = -linear_steps.dot(cs[0], value) - linear_steps.dot(
    jnp.abs(cs[0]), spread
  )
  size = 4 * product(*(linear_steps.magnitude(box) for box in inputs))
  return Step(given, offset, [size])


def _quotient(equation, inputs, outputs, cs, settings):
  """The rule of division: a product with the reciprocal of the denominator."""
  if not equation.moving[1]:
    return linear_steps.affine(equation, inputs, outputs, cs, settings)
  x, y = (
    linear_steps.repeated(
      a if moves else Interval(a, a), equation.eqn.outvars[0]
    )
    for a, moves in zip(inputs, equation.moving, strict=True)
  )
  known = _grid(jnp.reciprocal, y, bending.CURVES['reciprocal'])
  inverse = relaxations.interval(known)
  (a, a_radius), (b, b_radius) = (rounding.split(box) for box in (x, inverse))
  c = cs[0]
  # A numerator that is constant is in `a` times the reciprocal already.
  offset = -linear_steps.dot(jnp.abs(c), a_radius * b_radius)
  if equation.moving[0]:
    offset -= linear_steps.dot(c, a * b)
  lines = relaxations.lines(known)
  given, shift, size = linear_steps.through(c * a[None], lines, y)
  size = linear_steps.magnitude(a) * size + 4 * linear_steps.magnitude(
    x
  ) * linear_steps.magnitude(inverse)
  whole = jnp.all((y.low > 0) | (y.high < 0))
  step = Step([c * b[None], given], offset + shift, [size])
  other = linear_steps.constant(equation, inputs, outputs, cs, settings)
  return Step(
    [
      linear_steps.fitted(jnp.where(whole, g, 0), a)
      for g, a in zip(step.given, inputs, strict=True)
    ],
    jnp.where(whole, step.offset, other.offset),
    [jnp.where(whole, step.sizes[0], other.sizes[0])],
  )


# By the names of primitives, and by roles.
RULES = {
  primitives.MOVES: linear_steps.affine,
  primitives.SUMS: linear_steps.affine,
  primitives.PRODUCTS: bilinear,
  primitives.QUOTIENTS: _quotient,
  **dict.fromkeys(
    [*bending.CURVES, 'integer_pow', 'pow', units.ACTIVATION], elementwise
  ),
  'stop_gradient': _stopped,
}
