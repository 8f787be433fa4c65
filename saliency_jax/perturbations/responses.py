"""What the scores of LEG's draws say: the map, its errors, its halves.

Draws are whole blocks that are independent of each other, and may be the first
of more: those behind them have scores of zero, and do not count.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from saliency_jax.core import sampling
from saliency_jax.core import stopping
from saliency_jax.perturbations import reliability


class Summed(NamedTuple):
  """What some draws say.

  Attributes:
    mean: of `d_i S^-1 z_i`, the map.
    tilt: by which the halves of the blocks differ.
    variance: of the means of the blocks.
    lost: the mean square of what pairs cancelled.
    stderr: standard error of the map, over blocks.
    own_error: the same, of what the map leaves of each draw where blocks are
      balanced: see `LegInfo.margin`.
    delta: `d_i`, for each draw and group.
    left: the number of a draw to `d_i - <g, z_i>`, on the scale of a draw that
      is not fitted.
  """

  mean: Float[Array, '*cells k']
  tilt: Float[Array, '*cells k']
  variance: Float[Array, '*cells k']
  lost: Float[Array, '']
  stderr: Float[Array, '*cells k']
  own_error: Float[Array, '*cells k']
  delta: Float[Array, 'n groups']
  left: Callable[[Any], Float[Array, 'groups']]


def summed(
  scores: Float[Array, 'n signs groups'],
  num: Int[Array, ''] | None,
  *,
  score: Float[Array, ''],
  inverse: Callable[[Any], Float[Array, '*cells k']],
  fit: Callable[[Array], Callable[[Any], Float[Array, 'groups']]],
  block_size: int,
  num_fitted: int,
  batch_size: int | None,
) -> Summed:
  """Returns what the first `num` draws say, `None` for all of them.

  Args:
    scores: of each draw with all of its signs.
    num: draws that count.
    score: `f(x)`.
    inverse: the number of a draw to `S^-1 z_i`.
    fit: a map to what it predicts of a draw, `<g, z_i>`.
    block_size: draws in a block.
    num_fitted: numbers of the map that a balanced block fits without error, or
      0 where blocks are not balanced.
    batch_size: draws held in memory at once; `None` holds all.
  """
  above = scores - score
  delta, even = above[:, 0], jnp.zeros_like(above[:, 0])
  if scores.shape[1] == 2:
    delta, even = (scores[:, 0] - scores[:, 1]) / 2, jnp.mean(above, 1)
  mean, tilt, variance, lost = _average(
    inverse, delta, even, block_size, num, batch_size
  )
  predicted = fit(mean)
  count = jnp.asarray(len(scores) if num is None else num).astype(mean.dtype)

  def left(i):
    return (delta[i] - predicted(i)) / jnp.sqrt(1 - num_fitted / count)

  blocks = stopping.drawn(num_blocks(len(scores), num, block_size))
  own_error = stderr = stopping.standard_error(variance, blocks)
  if num_fitted:
    squares = sampling.batched_mean(
      lambda i: times(left(i), inverse(i)) ** 2,
      jnp.arange(len(scores)),
      batch_size=batch_size,
      num=num,
    )
    own_error = jnp.sqrt(squares / count)
  return Summed(mean, tilt, variance, lost, stderr, own_error, delta, left)


def num_blocks(
  length: int, num: Int[Array, ''] | None, block_size: int
) -> Int[Array, ''] | int:
  """Returns how many blocks draws are, as a number if that is known.

  Args:
    length: of all draws.
    num: how many of them count; `None` is all.
    block_size: draws in a block.
  """
  return (length if num is None else num) // block_size


def times(
  numbers: Float[Array, 'groups'], grids: Float[Array, '*cells k']
) -> Float[Array, '*cells k']:
  """Multiplies each of the grids on the last axis by its number."""
  return jnp.expand_dims(numbers, range(grids.ndim - 1)) * grids


def each(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
  """Maps a function of a grid over the last axis."""
  return jax.vmap(f, in_axes=-1, out_axes=-1)


def _average(inverse, delta, even, block_size, num, size):
  """Averages `d_i S^-1 z_i` over blocks of draws that are independent.

  Args:
    inverse: the index of a draw to `S^-1 z_i`.
    delta: `d_i`, for each draw and group.
    even: the part of the score that antithetic pairs cancel, likewise.
    block_size: draws in a block.
    num: draws that count, from the first, or `None` for all.
    size: draws held in memory at once; `None` holds all.

  Returns:
    The mean; its tilt, by which the halves of the blocks differ; the variance
    over blocks; and the mean square of what the pairs cancelled.
  """
  rows = jax.tree.map(
    lambda a: a.reshape(-1, block_size, *a.shape[1:]),
    (jnp.arange(len(delta)), delta, even),
  )
  blocks = num_blocks(len(delta), num, block_size)

  def of_draw(element):
    i, delta, even = element
    direction = inverse(i)
    return times(delta, direction), times(even, direction)

  def of_block(element):
    j, rows = element
    term, even = sampling.batched_mean(of_draw, rows, batch_size=size)
    sign = reliability.half(j, blocks).astype(term.dtype)
    return term, sign * term, jnp.sum(even**2)

  (mean, tilt, lost), (variance, _, _) = sampling.batched_moments(
    of_block,
    (jnp.arange(len(rows[0])), rows),
    batch_size=None if size is None else max(1, size // block_size),
    num=None if num is None else blocks,
  )
  return mean, tilt, variance, lost
