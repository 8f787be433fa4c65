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
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.perturbations import coalitions
from saliency_jax.perturbations import games


class KernelShapInfo(NamedTuple):
  """The value of each player, and whether it can be trusted.

  Attributes:
    values: of the players, on their grid.
    stderr: standard error of each, over the pairs that were drawn; 0 where all
      sets are enumerated. With few draws it is too small: of 10 players 1.96 of
      them covered .81 at 40 samples, .92 at 100 and .94 at 400.
    efficiency_error: `|sum of values - (f(x) - v(nobody))|`: rounding.
    explained: share of what the players' differences make of the score, beyond
      an equal share for each, that the values predict: of `num_fresh` pairs
      that were not used for them, or of all sets where these are enumerated.
      Below 1 the players do not add up; below 0 it takes more draws.
    score: `f(x)`.
    baseline_score: `v(nobody)`.
    num_drawn: pairs that were drawn; the other pairs are enumerated.
    num_calls: of the score.
  """

  values: Float[Array, '*players']
  stderr: Float[Array, '*players']
  efficiency_error: Float[Array, '']
  explained: Float[Array, '']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  num_drawn: Int[Array, '']
  num_calls: Int[Array, '']


class Fit(NamedTuple):
  """The solution of least squares, and its error.

  Attributes:
    excess: `u`, the values less an equal share.
    stderr: its standard errors.
  """

  excess: Float[Array, 'p']
  stderr: Float[Array, 'p']


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
) -> types.Attribution:
  """Estimates Shapley values by weighted least squares over coalitions.

  Sizes are drawn by their total weight, one from each of `num_drawn` equal
  parts of it, and sets uniformly, none twice where there are few. The smallest
  and largest sets are enumerated as long as no more than their share of the
  calls goes to them, and single players always, without which the system may
  be singular.

  Args:
    fn: score of one example; no gradient is taken.
    x: the example.
    key: consumed; required unless all sets are enumerated.
    masker: the players.
    num_samples: coalitions beside nobody and everyone. The values are exact
      from `2^p - 2` on.
    unbiased: whether the expectation of the matrix stands in for the sample's:
      no bias for any number of draws, but more variance for players that nearly
      add up, whom the sample's matrix fits exactly.
    num_fresh: pairs that judge the fit, each two calls more.
    batch_size: coalitions held in memory at once; `None` holds them all.

  Returns:
    Scores as the masker spreads them, in units of `fn`.

  Raises:
    ValueError: without a key where one is needed, or for too few samples.
  """
  x = examples.arrays(x)
  game = games.of(fn, x, masker, key)
  plan = coalitions.plan(game, num_samples)
  sets = jnp.asarray(coalitions.enumerated(plan))
  weights = jnp.asarray(coalitions.weights(plan), game.dtype)
  unseen = None
  if plan.num_drawn:
    checks.count('num_fresh', num_fresh)
    drawn = coalitions.drawn(key, plan)
    unseen = plan.rest**2 * coalitions.unseen(plan, drawn).astype(game.dtype)
    fresh = coalitions.fresh(key, plan, num_fresh)
    sets = jnp.concatenate([sets, drawn, fresh])
  worths, pairs = games.of_pairs(game, sets, batch_size=batch_size)
  centred, delta = _pairs(sets, pairs, worths.total)
  used = slice(len(weights))
  fit = _unbiased if unbiased else _least_squares
  excess, stderr = fit(plan, centred[used], delta[used], weights, unseen)
  # Where all sets are enumerated, the fit is judged by all of them.
  judges, judged = weights, used
  if plan.num_drawn:
    judges, judged = jnp.ones(num_fresh, game.dtype), slice(len(weights), None)
  values = worths.total / game.num + excess
  info = KernelShapInfo(
    values=game.shaped(values),
    stderr=game.shaped(stderr),
    efficiency_error=jnp.abs(jnp.sum(values) - worths.total),
    explained=_explained(centred[judged], delta[judged], judges, excess),
    score=worths.everyone,
    baseline_score=worths.nobody,
    num_drawn=jnp.asarray(plan.num_drawn, jnp.int32),
    num_calls=worths.num_calls,
  )
  return examples.attribution(x, game.spread(values), info)


def _pairs(sets, pairs, total):
  """Returns `z_S` less its mean, and `delta(S)` less what equal shares give."""
  members = sets.astype(pairs.dtype)
  mean = jnp.mean(members, 1)
  delta = (pairs[:, 0] - pairs[:, 1]) / 2 - (mean - 0.5) * total
  return members - mean[:, None], delta


def _least_squares(plan, centred, delta, weights, unseen):
  """Solves with the matrix of the sample."""
  matrix = _times(centred.T * weights[None], centred)
  # Equal shares are no part of the problem, and would make it singular.
  matrix = matrix + jnp.mean(jnp.diag(matrix)) / plan.num_players
  factor = jax.scipy.linalg.cho_factor(matrix)
  directions = jax.scipy.linalg.cho_solve(factor, centred.T).T
  excess = _times(weights * delta, directions)
  # Residuals are smaller than errors by what each pair adds to its own fit.
  leverage = weights * jnp.sum(centred * directions, 1)
  own = jnp.maximum(1 - leverage, jnp.finfo(delta.dtype).eps)
  residual = (delta - _times(centred, excess)) / jnp.sqrt(own)
  return Fit(excess, _stderr(directions * residual[:, None], unseen))


def _unbiased(plan, centred, delta, weights, unseen):
  """Solves with the expected matrix, here a number times the identity."""
  terms = centred * delta[:, None] / coalitions.second_moment(plan)
  return Fit(_times(weights, terms), _stderr(terms, unseen))


def _stderr(terms, unseen):
  """Returns standard errors from the terms of the pairs that were drawn.

  Args:
    terms: of all pairs, the drawn ones last.
    unseen: the part of the variance of each drawn term that the mean has, or
      `None` where all sets are enumerated.
  """
  if unseen is None:
    return jnp.zeros_like(terms[0])
  terms = terms[-len(unseen) :]
  squares = unseen[:, None] * (terms - jnp.mean(terms, 0)[None]) ** 2
  return sampling.standard_error(jnp.mean(squares, 0), len(terms))


def _explained(centred, delta, weights, excess):
  """Returns the weighted share of squares that the fit predicts."""
  lost = jnp.sum(weights * (delta - _times(centred, excess)) ** 2)
  return 1 - completeness.ratio(lost, jnp.sum(weights * delta**2))


def _times(a, b):
  return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
