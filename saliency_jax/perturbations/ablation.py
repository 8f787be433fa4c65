"""Ablation: what the score loses when a player is hidden, one at a time.

`phi_i = v(everyone) - v(everyone - i)`; or, of a player alone, `v(i) -
v(nobody)`. The two differ where players do together what none does alone, or
where one does what others do as well.

References:
  Zeiler, Fergus, Visualizing and understanding convolutional networks, 2014.
    https://arxiv.org/abs/1311.2901
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax import maskers
from saliency_jax.core import examples
from saliency_jax.core import types
from saliency_jax.perturbations import games


class AblationInfo(NamedTuple):
  """What each player is worth; nothing is drawn.

  Attributes:
    values: of the players, on their grid.
    efficiency_error: `|sum of values - (f(x) - v(nobody))|`: 0 where players
      add up.
    score: `f(x)`.
    baseline_score: `v(nobody)`.
    num_calls: of the score.
  """

  values: Float[Array, '*players']
  efficiency_error: Float[Array, '']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  num_calls: Int[Array, '']


def ablation(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  masker: maskers.Constructor,
  alone: bool = False,
  batch_size: int | None = 16,
) -> types.Attribution:
  """Hides one player at a time.

  Args:
    fn: score of one example; no gradient is taken.
    x: the example.
    key: for a baseline that draws.
    masker: the players.
    alone: whether a player is shown alone, in the place of all but it.
    batch_size: coalitions held in memory at once; `None` holds them all.

  Returns:
    Scores as the masker spreads them, in units of `fn`.

  Examples:
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> from saliency_jax import maskers
    >>> fn = lambda x: x @ jnp.array([1.0, 2.0, 3.0])
    >>> found = saliency_jax.ablation(fn, jnp.ones(3), masker=maskers.entries)
    >>> print(found.scores)
    [1. 2. 3.]
  """
  x = examples.arrays(x)
  game = games.of(fn, x, masker, key)
  worths = games.worths(
    game,
    lambda i: (jnp.arange(game.num) == i) == alone,
    game.num,
    batch_size=batch_size,
  )
  gained, lost = worths.of - worths.nobody, worths.everyone - worths.of
  values = gained if alone else lost
  info = AblationInfo(
    values=game.shaped(values),
    efficiency_error=jnp.abs(jnp.sum(values) - worths.total),
    score=worths.everyone,
    baseline_score=worths.nobody,
    num_calls=worths.num_calls,
  )
  return examples.attribution(x, game.spread(values), info)
