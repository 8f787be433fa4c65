"""LIME: the linear model of a score near an example, by presence of its parts.

`argmin_{b, beta} sum_i w_i (f(hide(z_i)) - b - <z_i, beta>)^2 + alpha
|beta|^2`, with `z_i ~ Bernoulli(1/2)` a player and `w_i = exp(-D_i^2 /
width^2)` for the cosine distance `D_i = 1 - sqrt(s_i / p)` of `z_i`, where
`s_i` of `p` players are present, to the example itself.

References:
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
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.perturbations import games


class LimeInfo(NamedTuple):
  """The weight of each player, and whether the linear model can be trusted.

  Attributes:
    values: `beta`, the weights of the players, on their grid.
    stderr: standard error of each, by the sandwich formula, which does not
      believe in the model: around what infinitely many draws would give, but
      for the pull of `alpha` towards 0.
    intercept: `b`.
    explained: weighted R^2 of `num_fresh` draws that the fit has not seen.
    effective_samples: `(sum w)^2 / sum w^2`: as many draws of equal weight.
    score: `f(x)`.
    baseline_score: the score with every player hidden.
    num_calls: of the score.
  """

  values: Float[Array, '*players']
  stderr: Float[Array, '*players']
  intercept: Float[Array, '']
  explained: Float[Array, '']
  effective_samples: Float[Array, '']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  num_calls: Int[Array, '']


class Fit(NamedTuple):
  """A weighted ridge regression.

  Attributes:
    slope: `beta`.
    intercept: `b`, on which there is no penalty.
    stderr: standard errors of the slope.
  """

  slope: Float[Array, 'p']
  intercept: Float[Array, '']
  stderr: Float[Array, 'p']


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
) -> types.Attribution:
  """Fits a linear model of which players are present.

  The authors' package takes the square root of the paper's weights: that is
  `width=0.25 * 2**0.5`.

  Args:
    fn: score of one example; no gradient is taken.
    x: the example.
    key: consumed; required.
    masker: the players.
    num_samples: draws of the fit, at least two more than players.
    width: of the kernel, in units of the cosine distance.
    alpha: weight of the penalty, beside the sum of the weights.
    num_fresh: draws that judge the fit, 2 at least.
    batch_size: coalitions held in memory at once; `None` holds them all.

  Returns:
    Scores as the masker spreads them: what `fn` gains by a player's presence.

  Raises:
    ValueError: without a key, for too few samples, or a bad width or penalty.
  """
  x = examples.arrays(x)
  game = games.of(fn, x, masker, key)
  games.enough('num_samples', num_samples, game.num + 2, game)
  checks.count('num_fresh', num_fresh, 2)
  checks.within('width', width, '(0, inf)')
  checks.within('alpha', alpha, '[0, inf)')

  def draw(i):
    return jax.random.bernoulli(sampling.draw_key(key, i), 0.5, (game.num,))

  num = num_samples + num_fresh
  sets = jax.vmap(draw)(jnp.arange(num))
  worths = games.worths(game, lambda i: sets[i], num, batch_size=batch_size)
  members = sets.astype(game.dtype)
  distance = 1 - jnp.sqrt(jnp.mean(members, 1))
  weights = jnp.exp(-((distance / jnp.asarray(width, game.dtype)) ** 2))
  used, fresh = slice(num_samples), slice(num_samples, None)
  fit = ridge(
    members[used],
    worths.of[used],
    weights[used],
    jnp.asarray(alpha, game.dtype),
  )
  info = LimeInfo(
    values=game.shaped(fit.slope),
    stderr=game.shaped(fit.stderr),
    intercept=fit.intercept,
    explained=_explained(fit, members[fresh], worths.of[fresh], weights[fresh]),
    effective_samples=jnp.sum(weights[used]) ** 2 / jnp.sum(weights[used] ** 2),
    score=worths.everyone,
    baseline_score=worths.nobody,
    num_calls=worths.num_calls,
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
  factor = jax.scipy.linalg.cho_factor(matrix)
  # What each draw adds to the slope, by a unit of its residual.
  gains = jax.scipy.linalg.cho_solve(factor, centred.T * weights[None]).T
  slope = _times(worth - level, gains)
  residual = worth - level - _times(centred, slope)
  # Residuals are smaller than errors by what each draw adds to its own fit.
  leverage = weights / total + jnp.sum(centred * gains, 1)
  own = jnp.maximum(1 - leverage, jnp.finfo(worth.dtype).eps)
  stderr = jnp.sqrt(_times(residual**2 / own, gains**2))
  return Fit(slope, level - jnp.sum(middle * slope), stderr)


def _explained(fit, members, worth, weights):
  """Returns the weighted R^2 of draws."""
  predicted = fit.intercept + _times(members, fit.slope)
  mean = jnp.sum(weights * worth) / jnp.sum(weights)
  lost = jnp.sum(weights * (worth - predicted) ** 2)
  return 1 - completeness.ratio(lost, jnp.sum(weights * (worth - mean) ** 2))


def _times(a, b):
  return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
