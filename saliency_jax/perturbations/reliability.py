"""How far a mean of draws can be trusted, from the draws alone.

All of it is taken over blocks of draws that are independent of each other.
Rows of one orthogonal matrix are not: halves of it see parts of a score that
have nothing in common, whether the map is right or noise.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def half(block: Int[Array, '*n'], num_blocks: int) -> Int[Array, '*n']:
  """Returns 1 for a block of the first half, and -1 for one of the second."""
  return jnp.where(block < -(-num_blocks // 2), 1, -1)


def halves(
  mean: Float[Array, '*x'], tilt: Float[Array, '*x'], num_blocks: int
) -> tuple[Float[Array, '*x'], Float[Array, '*x']]:
  """Returns the means of both halves, from the mean and that times `half`."""
  first = -(-num_blocks // 2)
  return (
    (mean + tilt) * (num_blocks / (2 * first)),
    (mean - tilt) * (num_blocks / (2 * (num_blocks - first))),
  )


def correlation(
  a: Float[Array, '*x'], b: Float[Array, '*x']
) -> Float[Array, '']:
  """Returns the correlation of two maps; 0 where one is constant."""
  a, b = a - jnp.mean(a), b - jnp.mean(b)
  size = jnp.sqrt(jnp.sum(a**2)) * jnp.sqrt(jnp.sum(b**2))
  return jnp.where(size > 0, jnp.sum(a * b) / jnp.where(size > 0, size, 1), 0)


def explained(
  a: Float[Array, '*x'],
  b: Float[Array, '*x'],
  metric: Callable[[Array], Array],
  variance: Float[Array, ''],
) -> Float[Array, '']:
  """Returns what each half of the draws predicts of the other, on average.

  Over draws of variance `v`, `v - E(d - <a, z>)^2 = 2 <a, y> - <a, S a>`, with
  the other half's `S b` for `y`.

  Args:
    a: the map of one half.
    b: the map of the other.
    metric: applies `S`, the covariance of the draws.
    variance: of the score.

  Returns:
    A share of the variance; below 0, less than nothing.
  """
  gain = 2 * jnp.sum(a * metric(b))
  gain = gain - (jnp.sum(a * metric(a)) + jnp.sum(b * metric(b))) / 2
  known = variance > 0
  return jnp.where(known, gain / jnp.where(known, variance, 1), 0)


def reduction(
  variance: Float[Array, ''], lost: Float[Array, ''], num_signs: int
) -> Float[Array, '']:
  """Returns the variance without pairs over that with them, a call each.

  Args:
    variance: of the terms of pairs.
    lost: what the even part of the score adds to a term's without pairs.
    num_signs: 2 for pairs, which cost two calls, or 1.
  """
  if num_signs == 1:
    return jnp.ones_like(variance)
  known = variance > 0
  ratio = (variance + lost) / (2 * jnp.where(known, variance, 1))
  return jnp.where(known, ratio, 1)
