"""KernelSHAP: the additive game that is nearest to a game is its Shapley value.

`argmin_phi sum_S w(S) (v(S) - v(0) - sum_{i in S} phi_i)^2` under `sum phi =
v(1) - v(0)`, with `w(S) = (p - 1) / (C(p, s) s (p - s))` for a set of `s` of
`p` players. Under the constraint a set and its complement say together

`argmin_phi sum_S w(S) (delta(S) - <z_S - 1/2, phi>)^2`,

`delta(S) = (v(S) - v(not S)) / 2`, with one term for each pair of them: the
even part of the game drops out. The constraint leaves `phi = (v(1) - v(0)) / p
+ u` with `sum u = 0`, so that the mean over players is taken from `z_S` and the
problem is one of least squares for `u`.

References:
  Lundberg, Lee, A unified approach to interpreting model predictions, 2017.
    https://arxiv.org/abs/1705.07874
  Covert, Lee, Improving KernelSHAP: practical Shapley value estimation via
    linear regression, 2021. https://arxiv.org/abs/2012.01536
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax import maskers
from saliency_jax.core import checks
from saliency_jax.core import completeness
from saliency_jax.core import examples
from saliency_jax.core import lapack
from saliency_jax.core import sampling
from saliency_jax.core import stopping
from saliency_jax.core import types
from saliency_jax.perturbations import coalitions
from saliency_jax.perturbations import games
from saliency_jax.perturbations import reliability


class KernelShapInfo(NamedTuple):
  """The value of each player, and whether it can be trusted.

  Attributes:
    values: of the players, on their grid.
    stderr: standard error of each, over the pairs that were drawn: what each of
      them would change if it were left out (the jackknife, HC3). It is 0 where
      all sets are enumerated, and infinite where the pairs are too few to tell,
      with less than one degree of freedom beside the values.
    margin: half of the 95% interval of each, by Student's t with one degree of
      freedom less than `num_drawn`.
    efficiency_error: `|sum of values - (f(x) - v(nobody))|`: rounding.
    explained: share of what the players' differences make of the score, beyond
      an equal share for each, that the values predict: of `num_fresh` pairs
      that were not used for them, or of all sets where these are enumerated.
      Below 1 the players do not add up; below 0 it takes more draws.
    score: `f(x)`.
    baseline_score: `v(nobody)`.
    num_drawn: pairs that were drawn; the other pairs are enumerated.
    num_calls: of the score.
    draws: how many pairs of a set and its complement there are, half of the
      coalitions that `num_samples` counts, and whether a tolerance is met.
    worths: what each set and its complement are worth, in the order in which
      they are looked at, with zeros behind the last: `start` goes on from them.
  """

  values: Float[Array, '*players']
  stderr: Float[Array, '*players']
  margin: Float[Array, '*players']
  efficiency_error: Float[Array, '']
  explained: Float[Array, '']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  num_drawn: Int[Array, '']
  num_calls: Int[Array, '']
  draws: stopping.Draws
  worths: Float[Array, 'n 2']


class Fit(NamedTuple):
  """The solution of least squares, and its error.

  Attributes:
    excess: `u`, the values less an equal share.
    stderr: its standard errors.
  """

  excess: Float[Array, 'p']
  stderr: Float[Array, 'p']


class _Problem(NamedTuple):
  """Least squares for the excess."""

  centred: Float[Array, 'n p']  # `z_S` less its mean.
  delta: Float[Array, 'n']  # `delta(S)` less what equal shares give.
  weights: Float[Array, 'n']
  unseen: Float[Array, 'n']  # See `coalitions.unseen`.


def kernel_shap(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  masker: maskers.Constructor,
  num_samples: int = 2048,
  unbiased: bool = False,
  num_fresh: int = 64,
  batch_size: int | None = 16,
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> types.Attribution:
  """Estimates Shapley values by weighted least squares over coalitions.

  Single players come first, without whom the system may be singular, and then
  sets of all sizes by the total weight of a size: drawn uniformly, none twice
  from a size that can be listed, so that the smallest and largest sets are soon
  enumerated. Fewer samples are the first of more.

  Args:
    fn: score of one example; no gradient is taken.
    x: the example.
    key: consumed; required unless all sets are enumerated at once.
    masker: the players.
    num_samples: coalitions beside nobody and everyone. The values are exact
      from `2^p - 2` on. The most of them with a tolerance.
    unbiased: whether the expectation of the matrix stands in for the sample's:
      no bias for any number of draws, which are a few more at least, but more
      variance for players that nearly add up, whom the sample's matrix fits
      exactly.
    num_fresh: pairs that judge the fit, each two calls more.
    batch_size: coalitions held in memory at once; `None` holds them all.
    tolerance: draws until the largest standard error is no more: see
      `core/stopping.py`.
    start: an earlier map with the same key and settings, whose coalitions are
      the first of these; of fewer or more `num_samples`, as it may be.

  Returns:
    Scores as the masker spreads them, in units of `fn`.

  Raises:
    ValueError: without a key where one is needed, or for too few samples.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> from saliency_jax import maskers
    >>> fn = lambda x: x[0] * x[1] + x[2]
    >>> maps, info = saliency_jax.kernel_shap(
    ...   fn, jnp.ones(3), key=jax.random.key(0), masker=maskers.entries
    ... )
    >>> print(np.asarray(maps).round(3))  # Shapley values: all sets fit.
    [0.5 0.5 1. ]
  """
  x = examples.arrays(x)
  game = games.of(fn, x, masker, key)
  if start is not None:
    info = stopping.info_of(start, KernelShapInfo)
    stopping.same_players(info.values, game.shaped(jnp.zeros(game.num)))
    start = stopping.Rows(info.worths, info.draws)
  plan = _plan(game, num_samples, unbiased, start)
  num_pairs = min(num_samples // 2, len(plan.order))
  at_once = plan.is_whole and tolerance is None and num_pairs == len(plan.order)
  if not at_once:
    checks.count('num_fresh', num_fresh)
  if tolerance is not None or start is not None:
    sampling.draw_key(key, 0)  # The order of sets is drawn in any case.
  sets = coalitions.sets(key, plan)
  # Where all sets are enumerated, the fit is judged by all of them.
  fresh = sets[:0] if at_once else coalitions.fresh(key, plan, num_fresh)
  solve = _unbiased if unbiased else _least_squares

  def problem(worths, values, num):
    return _Problem(
      *_pairs(sets, values, worths.total),
      coalitions.weights(plan, game.dtype, num),
      coalitions.unseen(plan, game.dtype, num),
    )

  worths, (values, draws) = games.of_draws(
    game,
    lambda i: jnp.stack([sets[i], ~sets[i]]),
    num_pairs,
    jnp.stack([fresh, ~fresh], 1).reshape(-1, game.num),
    lambda *found: solve(plan, problem(*found)).stderr,
    batch_size=batch_size,
    tolerance=tolerance,
    start=start,
    least=coalitions.fewest(plan) + stopping.LEAST,
  )
  known = problem(worths, values, draws.num)
  excess, stderr = solve(plan, known)
  judges = (known.centred, known.delta, known.weights)
  if not at_once:
    judged = _pairs(fresh, worths.of.reshape(-1, 2), worths.total)
    judges = (*judged, jnp.ones(num_fresh, game.dtype))
  num_drawn = jnp.sum(known.unseen > 0)
  total = worths.total / game.num + excess
  info = KernelShapInfo(
    values=game.shaped(total),
    stderr=game.shaped(stderr),
    margin=game.shaped(reliability.margin(stderr, num_drawn - 1)),
    efficiency_error=jnp.abs(jnp.sum(total) - worths.total),
    explained=_explained(*judges, excess),
    score=worths.everyone,
    baseline_score=worths.nobody,
    num_drawn=num_drawn,
    num_calls=worths.num_calls,
    draws=draws,
    worths=values,
  )
  return examples.attribution(x, game.spread(total), info)


def _plan(game, num_samples, unbiased, start):
  """Returns the plan of all pairs for which there is room, or raises."""
  plan = coalitions.plan(game, num_samples)
  if unbiased:
    least = 2 * coalitions.fewest(plan)
    games.enough('num_samples of unbiased', num_samples, least, game)
  if start is None:
    return plan
  earlier = len(start.values)
  if earlier < len(plan.order) and not plan.goes_on:
    raise ValueError(
      f'all sets of {game.num} players are enumerated in an order that fewer '
      f'samples do not have: leave start out, or take fewer than {num_samples}'
    )
  return coalitions.plan(game, max(num_samples, 2 * earlier))


def _pairs(sets, pairs, total):
  """Returns `z_S` less its mean, and `delta(S)` less what equal shares give."""
  members = sets.astype(pairs.dtype)
  mean = jnp.mean(members, 1)
  delta = (pairs[:, 0] - pairs[:, 1]) / 2 - (mean - 0.5) * total
  return members - mean[:, None], delta


def _least_squares(plan, problem):
  """Solves with the matrix of the sample."""
  centred, delta, weights, unseen = problem
  matrix = _times(centred.T * weights[None], centred)
  # Equal shares are no part of the problem, and would make it singular.
  matrix = matrix + jnp.mean(jnp.diag(matrix)) / plan.num_players
  factor = lapack.cholesky(matrix)
  directions = lapack.cho_solve(factor, centred.T).T
  excess = _times(weights * delta, directions)
  # What is left of each pair where the others alone are fitted.
  own = 1 - weights * jnp.sum(centred * directions, 1)
  own = jnp.maximum(own, jnp.finfo(delta.dtype).eps)
  left = (delta - _times(centred, excess)) / own
  terms = (jnp.sqrt(unseen) * weights * left)[:, None] * directions
  variance = jnp.sum(terms**2, 0)
  drawn = unseen > 0
  enough = jnp.sum(jnp.where(drawn, own, 0)) >= 1
  stderr = jnp.where(enough | ~jnp.any(drawn), jnp.sqrt(variance), jnp.inf)
  return Fit(excess, stderr)


def _unbiased(plan, problem):
  """Solves with the expected matrix, here a number times the identity."""
  centred, delta, weights, unseen = problem
  terms = centred * delta[:, None] / coalitions.second_moment(plan)
  # Each term of a group stands for the same weight.
  drawn = jnp.where(unseen > 0, weights, 0)
  mean = _times(drawn, terms) / jnp.maximum(
    jnp.sum(drawn), jnp.finfo(delta.dtype).tiny
  )
  variance = _times(unseen * drawn**2, (terms - mean[None]) ** 2)
  num = jnp.sum(unseen > 0).astype(variance.dtype)
  variance = variance * num / jnp.maximum(num - 1, 1)
  stderr = jnp.where(num == 1, jnp.inf, jnp.sqrt(variance))
  return Fit(_times(weights, terms), stderr)


def _explained(centred, delta, weights, excess):
  """Returns the weighted share of squares that the fit predicts."""
  lost = jnp.sum(weights * (delta - _times(centred, excess)) ** 2)
  return 1 - completeness.ratio(lost, jnp.sum(weights * delta**2))


def _times(a, b):
  return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
