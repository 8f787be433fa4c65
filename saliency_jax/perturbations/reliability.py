"""How far a mean of draws can be trusted, from the draws alone.

Every estimate compares blocks of draws that are independent of each other. The
rows of one orthogonal matrix are no such blocks: two halves of one matrix see
different parts of the score, and disagree even where the map is exact.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np
from scipy import special

# Half of a 95% interval in standard errors, by degrees of freedom from 1.
_QUANTILES = special.stdtrit(np.arange(1, 1001), 0.975)


def half(
  block: Int[Array, '*n'], num_blocks: Int[Array, ''] | int
) -> Int[Array, '*n']:
  """Returns 1 for a block of the first half, and -1 for one of the second."""
  first = jnp.asarray(-(-num_blocks // 2), block.dtype)
  return jnp.where(block < first, 1, -1)


def halves(
  mean: Float[Array, '*x'],
  tilt: Float[Array, '*x'],
  num_blocks: Int[Array, ''] | int,
) -> tuple[Float[Array, '*x'], Float[Array, '*x']]:
  """Returns the means over both halves of the blocks.

  Args:
    mean: over all blocks.
    tilt: the mean of each block times its `half`.
    num_blocks: of draws.
  """
  first = -(-num_blocks // 2)
  num, one, two = (
    jnp.asarray(n).astype(mean.dtype)
    for n in (num_blocks, first, num_blocks - first)
  )
  return (mean + tilt) * (num / (2 * one)), (mean - tilt) * (num / (2 * two))


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
  """Returns the share of the score's variance that half of the draws predict.

  A map `a` leaves `E(d - <a, z>)^2 = v - 2 <a, y> + <a, S a>` of the variance
  `v` unexplained, `y = E[d z]`. Here `a` comes from one half of the draws and
  `y = S b` from the other half; the result is the mean of both ways round.

  Args:
    a: the map of one half.
    b: the map of the other.
    metric: applies `S`, the covariance of the draws.
    variance: of the score.

  Returns:
    The share; below 0, the map predicts worse than a constant does.
  """
  gain = 2 * jnp.sum(a * metric(b))
  gain = gain - (jnp.sum(a * metric(a)) + jnp.sum(b * metric(b))) / 2
  known = variance > 0
  return jnp.where(known, gain / jnp.where(known, variance, 1), 0)


def margin(
  stderr: Float[Array, '*x'], freedom: Int[Array, ''] | int
) -> Float[Array, '*x']:
  """Returns half of the 95% interval, by Student's t.

  Args:
    stderr: standard error.
    freedom: its degrees of freedom; a traced number above 1000 counts as 1000,
      which makes the interval a thousandth wider.
  """
  if isinstance(freedom, int):
    return float(special.stdtrit(freedom, 0.975)) * stderr
  quantiles = jnp.asarray(_QUANTILES, stderr.dtype)
  return quantiles[jnp.clip(freedom, 1, len(quantiles)) - 1] * stderr


def reduction(
  variance: Float[Array, ''], lost: Float[Array, ''], num_signs: int
) -> Float[Array, '']:
  """Returns how much antithetic pairs lower the variance, at equal calls.

  It is the variance without pairs over the variance with them.

  Args:
    variance: of the terms that pairs make.
    lost: what the even part of the score, which pairs cancel, would add.
    num_signs: 2 for pairs, which cost two calls, or 1.
  """
  if num_signs == 1:
    return jnp.ones_like(variance)
  known = variance > 0
  ratio = (variance + lost) / (2 * jnp.where(known, variance, 1))
  return jnp.where(known, ratio, 1)
