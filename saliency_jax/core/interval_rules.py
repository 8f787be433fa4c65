"""What an operation that is not affine makes of intervals, entry by entry.

Each rule takes an equation and its operands as intervals, of one point where
they are constant, and returns one that holds all values of the output, rounded
outward. A truth value is an interval, too: from whether it is certain to
whether it is possible.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Elementary functions are taken to be right to 8 units in the last place.
ELEMENTARY_UNITS = 16


class Interval(NamedTuple):
  """All values between two arrays."""

  low: Float[Array, '...']
  high: Float[Array, '...']


def rounded(box: Interval, units: int) -> Interval:
  """Moves both ends outward by some units in their last places."""
  info = jnp.finfo(box.low.dtype)
  slack = lambda a: units * float(info.eps) * jnp.abs(a) + float(info.tiny)
  return Interval(box.low - slack(box.low), box.high + slack(box.high))


def _multiplied(eqn, a, b):
  del eqn
  corners = jnp.stack([x * y for x in a for y in b])
  return rounded(Interval(jnp.min(corners, 0), jnp.max(corners, 0)), 2)


def _divided(eqn, a, b):
  corners = jnp.stack([x / y for x in a for y in b])
  whole = (b.low > 0) | (b.high < 0)
  found = Interval(
    jnp.where(whole, jnp.min(corners, 0), -jnp.inf),
    jnp.where(whole, jnp.max(corners, 0), jnp.inf),
  )
  return rounded(found, 2)


def _powered(eqn, a):
  power = 2 if eqn.primitive.name == 'square' else eqn.params['y']
  if power < 0:
    raise ValueError(f'interval bounds have no rule for the power {power}')
  low, high = a.low**power, a.high**power
  if power % 2 == 0:
    most = jnp.maximum(low, high)
    low = jnp.where((a.low < 0) & (a.high > 0), 0, jnp.minimum(low, high))
    high = most
  return rounded(Interval(low, high), 2 * power)


def _absolute(eqn, a):
  del eqn
  low = jnp.maximum(jnp.maximum(a.low, -a.high), 0)
  return Interval(low, jnp.maximum(-a.low, a.high))


def _subtracted(eqn, a, b):
  del eqn
  return rounded(Interval(a.low - b.high, a.high - b.low), 2)


def _complement(eqn, a):
  del eqn
  ends = (jax.lax.erfc(a.high), jax.lax.erfc(a.low))
  return rounded(Interval(*ends), ELEMENTARY_UNITS)


def _inverse_root(eqn, a):
  del eqn
  ends = (jax.lax.rsqrt(a.high), jax.lax.rsqrt(a.low))
  found = rounded(Interval(*ends), ELEMENTARY_UNITS)
  # Of zero it is infinite, and of less it is none.
  return Interval(
    jnp.where(a.high > 0, found.low, -jnp.inf),
    jnp.where(a.low > 0, found.high, jnp.inf),
  )


def _to_power(eqn, a, b):
  del eqn
  # Of positive numbers, exp(y ln x): its ends are at those of both.
  ends = [y.astype(a.low.dtype) for y in b]
  corners = jnp.stack([jnp.power(x, y) for x in a for y in ends])
  whole = a.low > 0
  found = Interval(
    jnp.where(whole, jnp.min(corners, 0), -jnp.inf),
    jnp.where(whole, jnp.max(corners, 0), jnp.inf),
  )
  return rounded(found, ELEMENTARY_UNITS)


def _greater(eqn, a, b):
  # Possible unless it is certainly not so, as of ends that are NaN.
  if eqn.primitive.name == 'ge':
    return Interval(a.low >= b.high, ~(a.high < b.low))
  return Interval(a.low > b.high, ~(a.high <= b.low))


def _less(eqn, a, b):
  if eqn.primitive.name == 'le':
    return Interval(a.high <= b.low, ~(a.low > b.high))
  return Interval(a.high < b.low, ~(a.low >= b.high))


def _unequal(eqn, a, b):
  if eqn.invars[0] is eqn.invars[1]:
    # How a number is asked whether it is NaN.
    unknown = jnp.isnan(a.low) | jnp.isnan(a.high)
    return Interval(jnp.zeros_like(unknown), unknown)
  return Interval(
    (a.low > b.high) | (a.high < b.low),
    ~((a.low == b.high) & (a.high == b.low)),
  )


def _selected(eqn, which, *cases):
  del eqn
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


RULES = {
  'abs': _absolute,
  'div': _divided,
  'erfc': _complement,
  'ge': _greater,
  'gt': _greater,
  'integer_pow': _powered,
  'le': _less,
  'lt': _less,
  'mul': _multiplied,
  'neg': lambda eqn, a: Interval(-a.high, -a.low),
  'ne': _unequal,
  'pow': _to_power,
  'rsqrt': _inverse_root,
  'select_n': _selected,
  'square': _powered,
  # Not among the moves: its derivative is not that of its values.
  'stop_gradient': lambda eqn, a: a,
  'sub': _subtracted,
}
