"""LIME: the linear model of a score near an example, by presence of its parts.

`argmin_{b, beta} sum_i w_i (f(hide(z_i)) - b - <z_i, beta>)^2 + alpha
|beta|^2`, with `z_i ~ Bernoulli(1/2)` a player and `w_i = exp(-D_i^2 /
width^2)` for the cosine distance `D_i = 1 - sqrt(s_i / p)` of `z_i`, where
`s_i` of `p` players are present, to the example itself.

References:
  MacKinnon, White, Some heteroskedasticity-consistent covariance matrix
    estimators with improved finite sample properties, 1985 (HC3).
    https://doi.org/10.1016/0304-4076(85)90158-7
  Ribeiro, Singh, Guestrin, "Why should I trust you?": explaining the
    predictions of any classifier, 2016. https://arxiv.org/abs/1602.04938
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
from saliency_jax.perturbations import games
from saliency_jax.perturbations import reliability


class LimeInfo(NamedTuple):
  """The weight of each player, and whether the linear model can be trusted.

  Attributes:
    values: `beta`, the weights of the players, on their grid.
    stderr: standard error of each, by what it would change if each of the draws
      were left out (the jackknife, HC3), which does not believe in the model.
      Infinite with fewer effective samples than players and one more.
    margin: half of the 95% interval of each: 1.96 standard errors. It is the
      interval of what this penalty makes of so many draws in the mean, and
      knows nothing of the pull of `alpha` towards 0: where `shrinkage` is
      large, the weights of no penalty, or of more draws, are outside.
    shrinkage: share of a weight that the penalty takes away, in the mean over
      the directions of the weights; 0 of `alpha=0`. More draws make it smaller.
    intercept: `b`.
    explained: weighted R^2 of `num_fresh` draws that the fit has not seen.
    effective_samples: as many draws of equal weight, in half of which each
      player is present: `(sum w)^2 / sum w^2`, times `4 m (1 - m)` of the
      player for whom that is least, present at a share `m` of the weight.
    score: `f(x)`.
    baseline_score: the score with every player hidden.
    num_calls: of the score.
    draws: how many coalitions they are, as `num_samples` counts them, and
      whether a tolerance is met.
    worths: what each draw is worth, with zeros behind the last: `start` goes on
      from them.
  """

  values: Float[Array, '*players']
  stderr: Float[Array, '*players']
  margin: Float[Array, '*players']
  shrinkage: Float[Array, '']
  intercept: Float[Array, '']
  explained: Float[Array, '']
  effective_samples: Float[Array, '']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  num_calls: Int[Array, '']
  draws: stopping.Draws
  worths: Float[Array, 'n']


class Fit(NamedTuple):
  """A weighted ridge regression.

  Attributes:
    slope: `beta`.
    intercept: `b`, on which there is no penalty.
    stderr: standard errors of the slope.
    shrinkage: see `LimeInfo`.
    effective_samples: see `LimeInfo`.
  """

  slope: Float[Array, 'p']
  intercept: Float[Array, '']
  stderr: Float[Array, 'p']
  shrinkage: Float[Array, '']
  effective_samples: Float[Array, '']


def lime(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  masker: maskers.Constructor,
  num_samples: int = 1000,
  width: types.Scalar = 0.25,
  alpha: types.Scalar = 1.0,
  num_fresh: int = 128,
  batch_size: int | None = 16,
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> types.Attribution:
  """Fits a linear model of which players are present.

  The authors' package takes the square root of the paper's weights: that is
  `width=0.25 * 2**0.5`.

  Args:
    fn: score of one example; no gradient is taken.
    x: the example.
    key: consumed; required.
    masker: the players.
    num_samples: draws of the fit, at least two more than players. The most of
      them with a tolerance.
    width: of the kernel, in units of the cosine distance.
    alpha: weight of the penalty, beside the sum of the weights.
    num_fresh: draws that judge the fit, 2 at least.
    batch_size: coalitions held in memory at once; `None` holds them all.
    tolerance: draws until the largest standard error is no more: see
      `core/stopping.py`.
    start: an earlier map with the same key and settings, whose draws are the
      first of these.

  Returns:
    Scores as the masker spreads them: what `fn` gains by a player's presence.

  Raises:
    ValueError: without a key, for too few samples, or a bad width or penalty.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> from saliency_jax import maskers
    >>> fn = lambda x: x @ jnp.array([1.0, 2.0, 3.0])
    >>> maps, info = saliency_jax.lime(
    ...   fn, jnp.ones(3), key=jax.random.key(0), masker=maskers.entries
    ... )
    >>> print(jnp.argsort(-maps))
    [2 1 0]
  """
  x = examples.arrays(x)
  game = games.of(fn, x, masker, key)
  games.enough('num_samples', num_samples, game.num + 2, game)
  checks.count('num_fresh', num_fresh, 2)
  checks.within('width', width, '(0, inf)')
  checks.within('alpha', alpha, '[0, inf)')

  def draw(i):
    return jax.random.bernoulli(sampling.draw_key(key, i), 0.5, (game.num,))

  if start is not None:
    info = stopping.info_of(start, LimeInfo)
    stopping.same_players(info.values, game.shaped(jnp.zeros(game.num)))
    start = stopping.Rows(info.worths[:, None], info.draws)
  room = stopping.room(num_samples, start and start.values)
  # Behind all draws that there may be, those that judge the fit.
  sets = jax.vmap(draw)(jnp.arange(room + num_fresh))
  members = sets.astype(game.dtype)
  distance = 1 - jnp.sqrt(jnp.mean(members, 1))
  weights = jnp.exp(-((distance / jnp.asarray(width, game.dtype)) ** 2))
  used, fresh = slice(room), slice(room, None)

  def fitted(values, num):
    seen = jnp.arange(room, dtype=jnp.int32) < num
    drawn = jnp.where(seen, weights[used], 0)
    penalty = jnp.asarray(alpha, game.dtype)
    return ridge(members[used], values[:, 0], drawn, penalty)

  worths, (values, draws) = games.of_draws(
    game,
    lambda i: sets[i][None],
    num_samples,
    sets[fresh],
    lambda _, values, num: fitted(values, num).stderr,
    batch_size=batch_size,
    tolerance=tolerance,
    start=start,
    least=max(stopping.LEAST, game.num + 2),
  )
  fit = fitted(values, draws.num)
  info = LimeInfo(
    values=game.shaped(fit.slope),
    stderr=game.shaped(fit.stderr),
    margin=game.shaped(reliability.margin(fit.stderr, checks.MOST)),
    shrinkage=fit.shrinkage,
    intercept=fit.intercept,
    explained=_explained(fit, members[fresh], worths.of, weights[fresh]),
    effective_samples=fit.effective_samples,
    score=worths.everyone,
    baseline_score=worths.nobody,
    num_calls=worths.num_calls,
    draws=draws,
    worths=values[:, 0],
  )
  return examples.attribution(x, game.spread(fit.slope), info)


def ridge(
  members: Float[Array, 'n p'],
  worth: Float[Array, 'n'],
  weights: Float[Array, 'n'],
  alpha: Float[Array, ''],
) -> Fit:
  """Fits a weighted ridge regression with a free intercept.

  Args:
    members: `z`.
    worth: `v`.
    weights: `w`.
    alpha: weight of the penalty.
  """
  total = jnp.sum(weights)
  middle = _times(weights, members) / total
  level = jnp.sum(weights * worth) / total
  centred = members - middle[None]
  penalty = alpha * jnp.eye(len(middle), dtype=worth.dtype)
  matrix = _times(centred.T * weights[None], centred) + penalty
  factor = lapack.cholesky(matrix)
  # What each draw adds to the slope, by a unit of its residual.
  gains = lapack.cho_solve(factor, centred.T * weights[None]).T
  slope = _times(worth - level, gains)
  residual = worth - level - _times(centred, slope)
  # What is left of each draw where the others alone are fitted.
  pull = jnp.sum(centred * gains, 1)
  own = jnp.maximum(1 - weights / total - pull, jnp.finfo(worth.dtype).eps)
  stderr = jnp.sqrt(_times((residual / own) ** 2, gains**2))
  # A player that hardly any weight goes without is as good as not drawn.
  both_ways = jnp.min(4 * middle * (1 - middle))
  num, effective = len(middle), total**2 / jnp.sum(weights**2) * both_ways
  # Fewer than the numbers that are fitted leave nothing to tell an error by.
  stderr = jnp.where(effective >= num + 1, stderr, jnp.inf)
  # The trace of what a linear score's weights are multiplied by.
  kept = jnp.clip(jnp.sum(pull) / num, 0, 1)
  intercept = level - jnp.sum(middle * slope)
  return Fit(slope, intercept, stderr, 1 - kept, effective)


def _explained(fit, members, worth, weights):
  """Returns the weighted R^2 of draws."""
  predicted = fit.intercept + _times(members, fit.slope)
  mean = jnp.sum(weights * worth) / jnp.sum(weights)
  lost = jnp.sum(weights * (worth - predicted) ** 2)
  return 1 - completeness.ratio(lost, jnp.sum(weights * (worth - mean) ** 2))


def _times(a, b):
  return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
