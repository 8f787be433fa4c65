"""What each kind of equation makes of intervals: the table of rules.

Each rule takes an equation with what moves in it, and its operands as
intervals, of one point where they are constant; it returns one that holds all
values of the output, or a list of them, rounded outward. A truth value is an
interval, too: from whether it is certain to whether it is possible.
"""

import jax
import jax.numpy as jnp

from saliency_jax.core import interval_sums
from saliency_jax.core import primitives
from saliency_jax.core import rounding

Interval = rounding.Interval
rounded = rounding.rounded

# Elementary functions are taken to be right to 8 units in the last place.
ELEMENTARY_UNITS = 16


def increasing(equation, *boxes):
  """The rule of increasing elementary functions."""
  (box,) = interval_sums.ends(equation, *boxes)
  return rounded(box, ELEMENTARY_UNITS)


def _converted(equation, *boxes):
  if not primitives.is_float(equation.eqn.outvars[0]):
    raise ValueError('interval bounds have no rule for a number made whole')
  (box,) = interval_sums.ends(equation, *boxes)
  return rounded(box, 2)


def _multiplied(equation, a, b):
  del equation
  corners = jnp.stack([x * y for x in a for y in b])
  return rounded(Interval(jnp.min(corners, 0), jnp.max(corners, 0)), 2)


def _divided(equation, a, b):
  corners = jnp.stack([x / y for x in a for y in b])
  whole = (b.low > 0) | (b.high < 0)
  bounds = Interval(
    jnp.where(whole, jnp.min(corners, 0), -jnp.inf),
    jnp.where(whole, jnp.max(corners, 0), jnp.inf),
  )
  return rounded(bounds, 2)


def _powered(equation, a):
  power = (
    2 if equation.eqn.primitive.name == 'square' else equation.eqn.params['y']
  )
  if power < 0:
    raise ValueError(f'interval bounds have no rule for the power {power}')
  low, high = a.low**power, a.high**power
  if power % 2 == 0:
    upper = jnp.maximum(low, high)
    low = jnp.where((a.low < 0) & (a.high > 0), 0, jnp.minimum(low, high))
    high = upper
  return rounded(Interval(low, high), 2 * power)


def _absolute(equation, a):
  del equation
  low = jnp.maximum(jnp.maximum(a.low, -a.high), 0)
  return Interval(low, jnp.maximum(-a.low, a.high))


def _subtracted(equation, a, b):
  del equation
  return rounded(Interval(a.low - b.high, a.high - b.low), 2)


def _complement(equation, a):
  del equation
  ends = (jax.lax.erfc(a.high), jax.lax.erfc(a.low))
  return rounded(Interval(*ends), ELEMENTARY_UNITS)


def _inverse_root(equation, a):
  del equation
  ends = (jax.lax.rsqrt(a.high), jax.lax.rsqrt(a.low))
  bounds = rounded(Interval(*ends), ELEMENTARY_UNITS)
  # Of zero it is infinite, and of less it is none.
  return Interval(
    jnp.where(a.high > 0, bounds.low, -jnp.inf),
    jnp.where(a.low > 0, bounds.high, jnp.inf),
  )


def _to_power(equation, a, b):
  del equation
  # Of positive numbers, exp(y ln x): its ends are at the ends of both.
  ends = [y.astype(a.low.dtype) for y in b]
  corners = jnp.stack([jnp.power(x, y) for x in a for y in ends])
  whole = a.low > 0
  bounds = Interval(
    jnp.where(whole, jnp.min(corners, 0), -jnp.inf),
    jnp.where(whole, jnp.max(corners, 0), jnp.inf),
  )
  return rounded(bounds, ELEMENTARY_UNITS)


def _greater(equation, a, b):
  # Possible unless it is certainly not so, as of ends that are NaN.
  if equation.eqn.primitive.name == 'ge':
    return Interval(a.low >= b.high, ~(a.high < b.low))
  return Interval(a.low > b.high, ~(a.high <= b.low))


def _less(equation, a, b):
  if equation.eqn.primitive.name == 'le':
    return Interval(a.high <= b.low, ~(a.low > b.high))
  return Interval(a.high < b.low, ~(a.low >= b.high))


def _unequal(equation, a, b):
  if equation.eqn.invars[0] is equation.eqn.invars[1]:
    # How a number is asked whether it is NaN.
    unknown = jnp.isnan(a.low) | jnp.isnan(a.high)
    return Interval(jnp.zeros_like(unknown), unknown)
  return Interval(
    (a.low > b.high) | (a.high < b.low),
    ~((a.low == b.high) & (a.high == b.low)),
  )


def _selected(equation, which, *cases):
  if primitives.role(equation) == primitives.MOVES:
    return interval_sums.ends(equation, which, *cases)
  if len(cases) != 2 or which.low.dtype != bool:
    raise ValueError('interval bounds have no rule for select_n of many cases')
  no, yes = cases
  # The hull of the cases that are possible.
  return Interval(
    jnp.where(
      which.low,
      yes.low,
      jnp.where(which.high, jnp.minimum(no.low, yes.low), no.low),
    ),
    jnp.where(
      which.low,
      yes.high,
      jnp.where(which.high, jnp.maximum(no.high, yes.high), no.high),
    ),
  )


# By the names of primitives, and by roles.
RULES = {
  primitives.MOVES: interval_sums.ends,
  primitives.SUMS: interval_sums.weighted,
  primitives.PRODUCTS: interval_sums.products,
  primitives.INCREASING: interval_sums.ends,
  **dict.fromkeys(
    'cbrt erf exp exp2 expm1 log log1p logistic sqrt tanh'.split(), increasing
  ),
  'abs': _absolute,
  'convert_element_type': _converted,
  'div': _divided,
  'erfc': _complement,
  'ge': _greater,
  'gt': _greater,
  'integer_pow': _powered,
  'le': _less,
  'lt': _less,
  'mul': _multiplied,
  'neg': lambda equation, a: Interval(-a.high, -a.low),
  'ne': _unequal,
  'pow': _to_power,
  'rsqrt': _inverse_root,
  'select_n': _selected,
  'square': _powered,
  # Not among the moves: its derivative is not the one of its values.
  'stop_gradient': lambda equation, a: a,
  'sub': _subtracted,
}
