"""Intervals of floating-point numbers, rounded outward.

A sum of `n` terms is off by at most `n eps / 2` times the sum of their sizes,
in whatever order it is taken.

References:
  Higham, Accuracy and stability of numerical algorithms, 2002, section 3.1.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Interval(NamedTuple):
  """All values between two arrays."""

  low: Float[Array, '...']
  high: Float[Array, '...']


def rounded(box: Interval, units: int) -> Interval:
  """Moves both ends outward by some units in their last places."""
  info = jnp.finfo(box.low.dtype)
  slack = lambda a: units * float(info.eps) * jnp.abs(a) + float(info.tiny)
  return Interval(box.low - slack(box.low), box.high + slack(box.high))


def split(box):
  """Returns a middle, and a radius that reaches both ends."""
  info = jnp.finfo(box.low.dtype)
  middle = box.low / 2 + box.high / 2
  radius = jnp.maximum(box.high - middle, middle - box.low)
  return middle, radius * (1 + 2 * float(info.eps)) + float(info.tiny)


def widened(low: Array, high: Array, num_terms: int, size: Array) -> Interval:
  """Moves both ends outward by the rounding of a sum, and by our own."""
  info = jnp.finfo(low.dtype)
  slack = (num_terms + 4) * float(info.eps) * size + float(info.tiny)
  return Interval(low - slack, high + slack)
