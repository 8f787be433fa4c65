"""The bound `L` of LEG-TV by what its maps predict of draws that made none.

Of some levels `K_L` the one whose map explains most of the variance of the
score over fresh draws. The first is 0, the empirical LEG, so that total
variation is asked for only where it helps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.perturbations import moves as moving

# What is chosen among.
LEVELS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
# Draws that judge, each with all of its signs.
_NUM_DRAWS = 256


class Choice(NamedTuple):
  """What held-out draws say of each level.

  Attributes:
    levels: `K_L`.
    predicted: share of the variance of the score that the map at each level
      predicts; below 0, less than a constant does.
    chosen: the index of the level that predicts most.
    num_calls: of the score.
  """

  levels: Float[Array, 'l']
  predicted: Float[Array, 'l']
  chosen: Int[Array, '']
  num_calls: Int[Array, '']


def choose(
  maps: Float[Array, 'l *cells k'],
  fn: types.ScoreFn,
  moves: moving.Moves,
  noise: Callable[[Any, Any], Float[Array, '*cells k']],
  key: Any,
  *,
  num_signs: int,
  batch_size: int | None,
) -> Choice:
  """Judges maps at `LEVELS` by draws of their own.

  Args:
    maps: one a level, on the graph of the moves.
    fn: the score.
    moves: what noise moves.
    noise: `(key, i)` to the draw `i`.
    key: of the method.
    num_signs: 2 where draws are used with both signs, or 1.
    batch_size: perturbed images held in memory at once; `None` holds all.
  """
  key = sampling.key_for(key, sampling.HELD_OUT)

  def look(i):
    """Returns the scores, and what each map predicts of a move of them."""
    z = noise(key, i)
    fits = jnp.sum(maps * z[None], range(1, maps.ndim - 1))
    if moves.num_groups == 1:
      fits = jnp.sum(fits, -1, keepdims=True)
    return moving.evaluate(fn, moves, z, num_signs)[0], fits

  size = batch_size and max(1, batch_size // (num_signs * moves.num_groups))
  scores, fits = sampling.batched_map(
    look, jnp.arange(_NUM_DRAWS), batch_size=size
  )
  if num_signs == 2:
    moved = (scores[:, 0] - scores[:, 1]) / 2
  else:
    moved = scores[:, 0] - jnp.mean(scores[:, 0], 0)
  # `d^2 - (d - <g, z>)^2`, over all groups.
  gain = jnp.mean(jnp.sum((2 * moved[:, None] - fits) * fits, -1), 0)
  variance = jnp.sum(jnp.var(scores, (0, 1)))
  known = variance > 0
  predicted = jnp.where(known, gain / jnp.where(known, variance, 1), 0)
  return Choice(
    levels=jnp.asarray(LEVELS, maps.dtype),
    predicted=predicted,
    chosen=jnp.argmax(predicted).astype(jnp.int32),
    num_calls=jnp.asarray(scores.size, jnp.int32),
  )
