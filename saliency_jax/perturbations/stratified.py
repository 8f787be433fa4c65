"""Shapley values by sets of every size: what they are worth with a player.

`phi_i = 1/p sum_s (E[v(S) | i in S, |S| = s + 1] - E[v(S) | i not in S, |S| =
s])`: as in stratified SVARM, the worth of a set tells of every player.

References:
  Kolpaczki, Bengs, Muschalik, Huellermeier, Approximating the Shapley value
    without marginal contributions, 2024. https://arxiv.org/abs/2302.00736
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import stopping
from saliency_jax.core import types
from saliency_jax.perturbations import games
from saliency_jax.perturbations import shapley


def stratified(
  game: games.Game,
  *,
  key: Key[Array, ''] | None,
  batch_size: int | None,
  num_orders: int = 10,
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> shapley.Estimate:
  """Averages sets with and without a player, for each size apart.

  The sets of a size are windows that cover a random order, and their
  complements; single players and their complements are enumerated. What is
  missing from the sum of all is then shared equally, which moves no
  expectation. An order takes about `2 p log(p)` calls. It is closer than
  `shapley.permutation` for games that are far from adding up; where players
  nearly do, `permutation` and `kernel_shap` are closer.

  Args:
    game: whose values are wanted.
    key: consumed; required.
    batch_size: coalitions held in memory at once; `None` holds them all.
    num_orders: 2 at least: standard errors come from their differences. The
      most of them with a tolerance.
    tolerance: draws orders until the largest standard error is no more: see
      `core/stopping.py`.
    start: an earlier map with the same key and settings, whose orders are the
      first of these.
  """
  checks.count('num_orders', num_orders, 2)
  p = game.num
  if p < 4:
    raise ValueError(
      f'stratified draws for 4 players or more, got {p}: use '
      'estimator=shapley.exact'
    )
  singles, by_window = np.eye(p, dtype=bool), _windows(p)
  whole = np.concatenate([singles, ~singles])
  table, by_place = jnp.asarray(whole), jnp.asarray(by_window)

  def term(place, windows, fixed, worths):
    """Returns the estimate of an order, from what its windows are worth."""
    drawn = shapley.times(windows - worths.nobody, _shares(by_window))
    values = drawn[place] + shapley.times(fixed - worths.nobody, _shares(whole))
    return values + (worths.total - jnp.sum(values)) / p

  if tolerance is None and start is None:
    places = shapley.random_orders(key, game, num_orders)

    def coalition(i):
      j = jnp.maximum(i - 2 * p, 0)
      drawn = by_place[j % len(by_window)][places[j // len(by_window)]]
      return jnp.where(i < 2 * p, table[jnp.minimum(i, 2 * p - 1)], drawn)

    num = 2 * p + num_orders * len(by_window)
    worths = games.worths(game, coalition, num, batch_size=batch_size)
    fixed, drawn = worths.of[: 2 * p], worths.of[2 * p :]
    terms = jax.vmap(lambda place, v: term(place, v, fixed, worths))(
      places, drawn.reshape(num_orders, -1)
    )
    return shapley.mean(terms, worths, 'stratified')
  worths = games.worths(game, lambda i: table[i], 2 * p, batch_size=batch_size)

  def draw(i):
    place = games.random_order(sampling.draw_key(key, i), p)
    drawn = sampling.batched_map(
      lambda j: game.worth(by_place[j][place]),
      jnp.arange(len(by_window)),
      batch_size=batch_size,
    )
    return term(place, drawn, worths.of, worths)

  found = stopping.moments(
    draw,
    num_orders,
    batch_size=1,
    tolerance=tolerance,
    start=shapley.restored(start, game, 'stratified'),
  )
  num = found.draws.num * len(by_window)
  worths = worths._replace(num_more=num)
  return shapley.estimate(found, worths, 'stratified')


def calls_an_order(num_players: int) -> int:
  """Returns how many coalitions an order takes."""
  return len(_windows(num_players))


def _windows(p):
  """Returns sets of places, of sizes 2 to `p - 2`, that cover all places.

  Each place is in one or two windows of a size, the last of which begins anew,
  and out of one at least; and the other way round for their complements.
  """
  sets = []
  for size in range(2, p // 2 + 1):
    starts = size * np.arange(-(-p // size))
    windows = np.zeros((len(starts), p), bool)
    np.put_along_axis(
      windows, (starts[:, None] + np.arange(size)) % p, True, axis=1
    )
    # Two halves are each other's complements.
    sets += [windows] if 2 * size == p else [windows, ~windows]
  return np.concatenate(sets)


def _shares(sets: Bool[np.ndarray, 'n p']) -> Float[np.ndarray, 'n p']:
  """Returns the share of each set in each player's value, over all sizes."""
  p = sets.shape[1]
  shares = np.zeros(sets.shape)
  size = sets.sum(1)
  for s in np.unique(size):
    rows = sets[size == s]
    shares[size == s] = np.where(
      rows, 1 / np.maximum(rows.sum(0), 1), -1 / np.maximum((~rows).sum(0), 1)
    )
  return shares / p
