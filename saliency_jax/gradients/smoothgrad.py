"""SmoothGrad and its kin: statistics of the gradient over Gaussian neighbours.

With `g = grad f(x + z)` and `z ~ N(0, sigma^2 I)`, the scores are

  `smooth_grad`          `E[g]`, the gradient of the Gaussian-blurred score,
  `smooth_grad_squared`  `E[g^2]`,
  `var_grad`             `E[(g - E[g])^2]`, free of the mean gradient.

The noise level of the papers and of PAIR's package is a fraction of the range
of the example: `sigma=functools.partial(of_range, fraction=0.15)` is PAIR's
`stdev_spread=0.15`.

References:
  Smilkov et al., SmoothGrad: removing noise by adding noise, 2017.
  https://arxiv.org/abs/1706.03825
  Hooker et al., A benchmark for interpretability methods in deep neural
  networks, 2019 (SmoothGrad squared). https://arxiv.org/abs/1806.10758
  Adebayo et al., Local explanation methods for deep neural networks lack
  sensitivity to parameter values, 2018 (VarGrad).
  https://arxiv.org/abs/1810.03307
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import stopping
from saliency_jax.core import types


class SmoothGradInfo(NamedTuple):
  """How far the Monte Carlo estimate may be from its expectation.

  Attributes:
    stderr: standard error of each score.
    mean_score: the mean of `f(x + z)`; far from `f(x)`, the noise is too large
      for the map to be about `x`.
    draws: how many they are, and whether a tolerance is met.
  """

  stderr: types.Example
  mean_score: Float[Array, '']
  draws: stopping.Draws


def of_range(
  x: types.Example, *, fraction: types.Scalar = 0.15
) -> Float[Array, '']:
  """Returns `fraction (max x - min x)`: PAIR's `stdev_spread`, as a `sigma`."""
  checks.within('fraction', fraction, '(0, inf)')
  leaves = jax.tree.leaves(x)
  high = jnp.max(jnp.stack([jnp.max(a) for a in leaves]))
  low = jnp.min(jnp.stack([jnp.min(a) for a in leaves]))
  return jnp.asarray(fraction, high.dtype) * (high - low)


def smooth_grad(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  sigma: types.Sigma = 0.15,
  num_samples: int = 50,
  batch_size: int | None = 8,
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> types.Attribution:
  """Averages `grad fn` over Gaussian neighbours of `x`.

  Args:
    fn: score of one example.
    x: the example.
    key: consumed; required.
    sigma: standard deviation of the noise in units of `x`, or a function of
      `x` that returns it (`of_range`).
    num_samples: draws of the noise; the most of them with a tolerance.
    batch_size: draws held in memory at once; `None` holds them all.
    tolerance: draws until the largest standard error is no more: see
      `core/stopping.py`.
    start: an earlier map with the same key and settings, whose draws are the
      first of these.

  Raises:
    ValueError: without a key, for `sigma <= 0` or fewer than one draw.
  """
  return _mean(
    lambda g: g, fn, x, key, sigma, num_samples, batch_size, tolerance, start
  )


def smooth_grad_squared(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  sigma: types.Sigma = 0.15,
  num_samples: int = 50,
  batch_size: int | None = 8,
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> types.Attribution:
  """Averages the square of `grad fn` over Gaussian neighbours of `x`.

  Args:
    fn: score of one example.
    x: the example.
    key: consumed; required.
    sigma: standard deviation of the noise: see `smooth_grad`.
    num_samples: draws of the noise; the most of them with a tolerance.
    batch_size: draws held in memory at once; `None` holds them all.
    tolerance: of the largest standard error: see `smooth_grad`.
    start: an earlier map: see `smooth_grad`.

  Raises:
    ValueError: without a key, for `sigma <= 0` or fewer than one draw.
  """
  square = lambda g: _power(g, 2)
  return _mean(
    square, fn, x, key, sigma, num_samples, batch_size, tolerance, start
  )


def var_grad(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  sigma: types.Sigma = 0.15,
  num_samples: int = 50,
  batch_size: int | None = 8,
) -> types.Attribution:
  """Estimates the variance of `grad fn` over Gaussian neighbours of `x`.

  The estimate is the unbiased one. Its standard error is the one of the mean of
  `(g - E[g])^2`, read off the first three moments of the draws.

  Args:
    fn: score of one example.
    x: the example.
    key: consumed; required.
    sigma: standard deviation of the noise: see `smooth_grad`.
    num_samples: draws of the noise, at least two.
    batch_size: draws held in memory at once; `None` holds them all.

  Raises:
    ValueError: without a key, for `sigma <= 0` or fewer than two draws.
  """
  checks.count('num_samples', num_samples, 2)
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  # Moments about the clean gradient: about zero they would cancel.
  centre = jax.grad(fn)(wide)

  def powers(g):
    d = jax.tree.map(jnp.subtract, g, centre)
    return d, _power(d, 2), _power(d, 3)

  (m1, m2, m3), (var, var_sq, _), score, draws = _moments(
    powers, fn, wide, key, sigma, num_samples, batch_size, stopping.moments
  )

  def variance_of_square(m1, m2, m3, var, var_sq):
    # Var[d^2 - 2 E[d] d], the part of (d - E[d])^2 that varies.
    value = var_sq - 4 * m1 * (m3 - m1 * m2) + 4 * m1**2 * var
    return jnp.maximum(value, 0)

  spread = jax.tree.map(variance_of_square, m1, m2, m3, var, var_sq)
  stderr = sampling.standard_error(spread, num_samples)
  unbiased = jax.tree.map(lambda v: v * (num_samples / (num_samples - 1)), var)
  return examples.attribution(x, unbiased, SmoothGradInfo(stderr, score, draws))


def _mean(
  statistic, fn, x, key, sigma, num_samples, batch_size, tolerance, start
):
  """Returns the mean of a statistic of the noisy gradient, and its error."""
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  if start is not None:
    info = stopping.info_of(start, SmoothGradInfo)
    start = stopping.restored(
      ((start.scores,), info.mean_score),
      ((info.stderr,), jnp.zeros_like(info.mean_score)),
      info.draws,
    )
  average = functools.partial(
    stopping.moments,
    tolerance=tolerance,
    start=start,
    watched=lambda variances: variances[0],
  )
  (mean,), (var,), score, draws = _moments(
    lambda g: (statistic(g),),
    fn,
    wide,
    key,
    sigma,
    num_samples,
    batch_size,
    average,
  )
  stderr = stopping.standard_error(var, draws)
  return examples.attribution(x, mean, SmoothGradInfo(stderr, score, draws))


def _moments(statistics, fn, x, key, sigma, num_samples, batch_size, average):
  """Returns the mean and variance of statistics of the noisy gradient."""

  def at(neighbour, _):
    score, grad = jax.value_and_grad(fn)(neighbour)
    return statistics(grad), score

  (means, mean_score), (variances, _), draws = sampling.over_neighbours(
    at,
    x,
    key=key,
    sigma=sigma,
    num_samples=num_samples,
    batch_size=batch_size,
    average=average,
  )
  return means, variances, mean_score, draws


def _power(tree, exponent):
  return jax.tree.map(lambda a: a**exponent, tree)
