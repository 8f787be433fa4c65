"""How much element-wise functions bend: bounds of their second derivatives.

Functions are named by what is known of them: `CURVES` of JAX's primitives, and
by name what takes several of these. The bounds are analytic, but for GELU's by
tanh and mish, whose are the largest on a grid of a thousandth, raised by a
hundredth.
"""

from collections.abc import Callable
import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array


class Curve(NamedTuple):
  """What is known of an element-wise function.

  Attributes:
    second: from the ends of a cell without a kink inside to bounds of the
      second derivative on it; `None` for one that is linear on each.
    kinks: where the first derivative jumps, or the second one changes sign.
    monotone: whether it rises, or falls, everywhere.
  """

  second: Callable[[Array, Array], tuple[Array, Array]] | None = None
  kinks: tuple[float, ...] = (0.0,)
  monotone: bool = False


def _both(bound):
  """Of a second derivative of which only the size is known."""
  return lambda low, high: (-bound(low, high), bound(low, high))


def _ends(second):
  """Of a second derivative that is monotone on each cell."""

  def bounds(low, high):
    ends = second(low), second(high)
    return jnp.minimum(*ends), jnp.maximum(*ends)

  return bounds


def _sigmoidal(most):
  """Of a function that is convex up to zero, and concave from there on."""

  def bounds(low, high):
    return jnp.where(high <= 0, 0, -most), jnp.where(low >= 0, 0, most)

  return bounds


def _falling(most):
  """Of a second derivative of at most `(2 + |z|) exp(-|z|)`, and `most`."""
  falls = lambda z: jnp.minimum(most, (2 + z) * jnp.exp(-z))
  return lambda low, high: falls(_nearest(low, high))


def _nearest(low, high):
  """Returns the least absolute value in an interval."""
  return jnp.maximum(jnp.maximum(low, -high), 0)


def power(exponent: float | int) -> Curve:
  """Returns the curve of `z**exponent`; of positive `z` unless it is whole."""
  if exponent in (0, 1):
    return Curve()
  factor = exponent * (exponent - 1)
  whole = float(exponent).is_integer()
  exponent = int(exponent) if whole else exponent
  second = _ends(lambda z: factor * z ** (exponent - 2))
  return Curve(second, monotone=not whole or exponent % 2 == 1)


def elu(alpha: float | int) -> Curve:
  """Returns the curve of `z if z > 0 else alpha (exp(z) - 1)`."""

  def second(low, high):
    bend = jnp.where(low >= 0, 0, alpha * jnp.exp(jnp.minimum(high, 0)))
    return jnp.minimum(bend, 0), jnp.maximum(bend, 0)

  return Curve(second, monotone=alpha >= 0)


def swish(beta: float | int) -> Curve:
  """Returns the curve of `z sigmoid(beta z)`, with `beta = 1` SiLU."""
  bound = _falling(0.5)

  def second(low, high):
    ends = beta * low, beta * high
    return abs(beta) * bound(jnp.minimum(*ends), jnp.maximum(*ends))

  return Curve(_both(second), kinks=())


_rising = lambda second, **more: Curve(_ends(second), monotone=True, **more)

# By the names of primitives. The bounds of the second derivatives of the
# S-shaped ones are their largest values.
CURVES = {
  'abs': Curve(),
  'clamp': Curve(monotone=True),
  'erf': Curve(_sigmoidal(0.96789), monotone=True),
  'erfc': Curve(
    lambda low, high: tuple(-c for c in _sigmoidal(0.96789)(low, high)[::-1]),
    monotone=True,
  ),
  'exp': _rising(jnp.exp, kinks=()),
  'exp2': _rising(lambda z: math.log(2) ** 2 * jnp.exp2(z), kinks=()),
  'expm1': _rising(jnp.exp, kinks=()),
  'log': _rising(lambda z: -1 / z**2, kinks=()),
  'log1p': _rising(lambda z: -1 / (1 + z) ** 2, kinks=()),
  'logistic': Curve(_sigmoidal(0.09623), monotone=True),
  'max': Curve(monotone=True),
  'min': Curve(monotone=True),
  'reciprocal': _rising(lambda z: 2 / z**3, kinks=()),
  'rsqrt': _rising(lambda z: 0.75 * z**-2.5, kinks=()),
  'sqrt': _rising(lambda z: -0.25 * z**-1.5, kinks=()),
  'square': power(2),
  'tanh': Curve(_sigmoidal(0.76981), monotone=True),
}

# Of functions that are several primitives.
BROKEN = Curve()
SOFTPLUS = Curve(
  lambda low, high: (
    jnp.zeros_like(low),
    jnp.minimum(0.25, jnp.exp(-_nearest(low, high))),
  ),
  kinks=(),
  monotone=True,
)
HARD_TANH = Curve(kinks=(-1.0, 1.0), monotone=True)
HARD_SILU = Curve(
  lambda low, high: (
    jnp.zeros_like(low),
    jnp.where((low >= 3) | (high <= -3), 0, 1 / 3),
  ),
  kinks=(-3.0, 3.0),
)
GELU = Curve(
  _both(lambda low, high: 0.806 * jnp.exp(-(_nearest(low, high) ** 2) / 3)),
  kinks=(),
)
MISH = Curve(_both(_falling(0.651)), kinks=())
