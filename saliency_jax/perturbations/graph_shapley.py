"""L-Shapley and C-Shapley: Shapley values that look at neighbours alone.

On a graph of the players, with `N` those within `order` edges of player `i`,

`l_shapley`  `1/n sum_T (v(T) - v(T - i)) / C(n - 1, t - 1)`, over all sets `T`
             of `t` of the `n` players of `N`, `i` among them,
`c_shapley`  `sum_U 2 / (u (u + 1) (u + 2)) (v(U) - v(U - i))`, over the
             connected sets `U` of `u` players of `N`, `i` among them.

L-Shapley whose neighbourhoods hold everyone is exact. C-Shapley is a Myerson
value in the middle of a chain alone; neither has to sum to anything.

References:
  Chen, Song, Wainwright, Jordan, L-Shapley and C-Shapley: efficient model
    interpretation for structured data, 2019. https://arxiv.org/abs/1808.02610
  Luo, Barut, Jin, Statistically consistent saliency estimation, 2021
    (`ball_regression`: the C-Shapley of the authors' code).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax import maskers
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import graphs
from saliency_jax.core import types
from saliency_jax.perturbations import games
from saliency_jax.perturbations import neighbourhoods


class GraphShapleyInfo(NamedTuple):
  """The value of each player; nothing is drawn.

  Attributes:
    values: of the players, on their grid.
    efficiency_error: `|sum of values - (f(x) - v(nobody))|`: what neighbours do
      together with players that are farther away.
    score: `f(x)`.
    baseline_score: `v(nobody)`.
    num_calls: of the score.
  """

  values: Float[Array, '*players']
  efficiency_error: Float[Array, '']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  num_calls: Int[Array, '']


def l_shapley(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  masker: maskers.Constructor,
  edges: Any = None,
  order: int = 1,
  others_present: bool = False,
  batch_size: int | None = 16,
) -> types.Attribution:
  """Computes Shapley values among the neighbours of each player.

  A coalition that several players ask for is called once. Cells of a grid with
  4 neighbours take `2^5` coalitions each, fewer than half of them their own.

  Args:
    fn: score of one example; no gradient is taken.
    x: the example.
    key: for a baseline that draws.
    masker: the players.
    edges: which players are neighbours, `[m, 2]`: see `core/graphs.py`; `None`
      is the grid of the masker, with neighbours along its axes.
    order: edges within which players are neighbours.
    others_present: whether players beyond are present, as in the authors' code,
      or hidden, as in the paper.
    batch_size: coalitions held in memory at once; `None` holds them all.

  Returns:
    Scores as the masker spreads them, in units of `fn`.

  Raises:
    ValueError: without edges for players without order, for edges that are none
      of these players', or more coalitions than are worth listing.

  Examples:
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> from saliency_jax import maskers
    >>> fn = lambda x: x @ jnp.array([1.0, 2.0, 3.0])
    >>> found = saliency_jax.l_shapley(
    ...   fn, jnp.ones(3), masker=maskers.entries, edges=[[0, 1], [1, 2]]
    ... )
    >>> print(np.asarray(found.scores).round(3))
    [1. 2. 3.]
  """
  x = examples.arrays(x)
  game = games.of(fn, x, masker, key)
  near = neighbourhoods.reach(_neighbours(game, edges, order), order)
  terms = [neighbourhoods.local(n, i) for i, n in enumerate(near)]
  worths, values = _summed(
    game, terms, near if others_present else None, batch_size
  )
  return _attribution(x, game, worths, values)


def c_shapley(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  masker: maskers.Constructor,
  edges: Any = None,
  order: int = 1,
  others_present: bool = False,
  batch_size: int | None = 16,
) -> types.Attribution:
  """Computes Shapley values over connected sets of neighbours.

  On a chain a player takes `(order + 1)^2` coalitions with it, and as many
  without it. The weights of coalitions are those of chains: of a complete graph
  the values are no Shapley values, as those of `l_shapley` are.

  Args:
    fn: score of one example; no gradient is taken.
    x: the example.
    key: for a baseline that draws.
    masker: the players.
    edges: which players are neighbours: see `l_shapley`.
    order: edges within which players are neighbours.
    others_present: whether players beyond are present: see `l_shapley`.
    batch_size: coalitions held in memory at once; `None` holds them all.

  Returns:
    Scores as the masker spreads them, in units of `fn`.

  Raises:
    ValueError: as `l_shapley`.

  Examples:
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> from saliency_jax import maskers
    >>> fn = lambda x: x[0] * x[1] * x[2]
    >>> found = saliency_jax.c_shapley(
    ...   fn,
    ...   jnp.ones(3),
    ...   masker=maskers.entries,
    ...   edges=[[0, 1], [1, 2]],
    ...   order=2,
    ... )
    >>> found.scores.shape
    (3,)
  """
  x = examples.arrays(x)
  game = games.of(fn, x, masker, key)
  neighbours = _neighbours(game, edges, order)
  near = neighbourhoods.reach(neighbours, order)
  terms = [
    neighbourhoods.connected(n, i, neighbours) for i, n in enumerate(near)
  ]
  worths, values = _summed(
    game, terms, near if others_present else None, batch_size
  )
  return _attribution(x, game, worths, values)


def ball_regression(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  masker: maskers.Constructor,
  edges: Any = None,
  order: int = 3,
  batch_size: int | None = 16,
) -> types.Attribution:
  """Regresses scores of balls on who is in them: C-Shapley in LEG's paper.

  The balls of 0 to `order` edges about every player are all that is present: on
  a grid of 28 x 28 cells with 4 neighbours, 3136 diamonds. As in the authors'
  code the values are `(X' W X)^{-1} X' v`, with the weights `(p - 1) / (C(p, s)
  s p)` of balls of `s` of `p` players on the left alone. Single players weigh
  so much more than balls that a value is, but for a factor, the sum of the
  scores of the balls that hold a player. Scores are less the baseline's, which
  in the code they are not: where it is not 0 the border would score less, which
  fewer balls hold.

  Args:
    fn: score of one example; no gradient is taken.
    x: the example.
    key: for a baseline that draws.
    masker: the players.
    edges: which players are neighbours: see `l_shapley`.
    order: the largest radius of a ball, in edges.
    batch_size: balls held in memory at once; `None` holds them all.

  Returns:
    Scores as the masker spreads them; their order is all that they say.

  Raises:
    ValueError: as `l_shapley`.

  Examples:
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> from saliency_jax import maskers
    >>> fn = lambda x: x @ jnp.array([1.0, 2.0, 3.0])
    >>> found = saliency_jax.ball_regression(
    ...   fn,
    ...   jnp.ones(3),
    ...   masker=maskers.entries,
    ...   edges=[[0, 1], [1, 2]],
    ...   order=1,
    ... )
    >>> found.scores.shape
    (3,)
  """
  x = examples.arrays(x)
  game = games.of(fn, x, masker, key)
  neighbours = _neighbours(game, edges, order)
  balls = [
    near
    for radius in range(order + 1)
    for near in neighbourhoods.reach(neighbours, radius)
  ]
  terms = neighbourhoods.in_balls(balls, game.num)
  worths, sums = _summed(game, terms, None, batch_size)
  inverse = jnp.asarray(neighbourhoods.inverse(balls, game.num), game.dtype)
  values = jnp.matmul(inverse, sums, precision=jax.lax.Precision.HIGHEST)
  return _attribution(x, game, worths, values)


def _neighbours(game, edges, order):
  """Returns the neighbours of each player, along an edge."""
  checks.count('order', order, 0)
  if edges is None and game.grid is not None:
    edges = graphs.grid(game.grid)
  edges = graphs.known(graphs.required(edges), game.num)
  return graphs.neighbours(edges, game.num)


def _summed(game, terms, near, batch_size):
  """Returns what coalitions are worth, and the sum of each player's terms."""
  table = neighbourhoods.table(terms, game.num, near)
  worths = games.worths(
    game, table.coalition, len(table.listed), batch_size=batch_size
  )
  every = jnp.stack([worths.nobody, worths.everyone])
  every = jnp.concatenate([every, worths.of]) - worths.nobody
  weights = jnp.asarray(table.weights, game.dtype)
  return worths, jnp.sum(weights * every[table.terms], 1)


def _attribution(x, game, worths, values):
  info = GraphShapleyInfo(
    values=game.shaped(values),
    efficiency_error=jnp.abs(jnp.sum(values) - worths.total),
    score=worths.everyone,
    baseline_score=worths.nobody,
    num_calls=worths.num_calls,
  )
  return examples.attribution(x, game.spread(values), info)
