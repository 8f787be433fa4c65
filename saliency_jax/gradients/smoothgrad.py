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
    stderr: standard error of each score; infinite of one draw. Half of a 95%
      interval is 2.01 of them at 50 draws, and 2.26 at 10 (Student's t).
    mean_score: the mean of `f(x + z)`; far from `f(x)`, the noise is too large
      for the map to be about `x`.
    draws: how many they are, and whether a tolerance is met.
  """

  stderr: types.Example
  mean_score: Float[Array, '']
  draws: stopping.Draws


class VarGradInfo(NamedTuple):
  """How far the Monte Carlo estimate may be from its expectation.

  Attributes:
    stderr: standard error of each score.
    mean_score: the mean of `f(x + z)`: see `SmoothGradInfo`.
    draws: how many they are, and whether a tolerance is met.
    mean_grad: the mean of the gradients, about which they vary.
    third: the mean of the cubes of their distances from it, which is nothing
      where they are symmetric; `start` goes on from both.
  """

  stderr: types.Example
  mean_score: Float[Array, '']
  draws: stopping.Draws
  mean_grad: types.Example
  third: types.Example


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

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> fn = lambda x: x @ jnp.array([1.0, 2.0, 3.0])
    >>> maps, info = saliency_jax.smooth_grad(
    ...   fn, jnp.ones(3), key=jax.random.key(0)
    ... )
    >>> print(np.asarray(maps).round(3), info.stderr.shape)
    [1. 2. 3.] (3,)
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

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> fn = lambda x: x @ jnp.array([1.0, 2.0, 3.0])
    >>> found = saliency_jax.smooth_grad_squared(
    ...   fn, jnp.ones(3), key=jax.random.key(0)
    ... )
    >>> print(np.asarray(found.scores).round(3))
    [1. 4. 9.]
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
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> types.Attribution:
  """Estimates the variance of `grad fn` over Gaussian neighbours of `x`.

  The estimate is the unbiased one. Its standard error is the one of the mean of
  `(g - E[g])^2`, read off the first three moments of the draws.

  Args:
    fn: score of one example.
    x: the example.
    key: consumed; required.
    sigma: standard deviation of the noise: see `smooth_grad`.
    num_samples: draws of the noise, at least two; the most of them with a
      tolerance.
    batch_size: draws held in memory at once; `None` holds them all.
    tolerance: of the largest standard error: see `smooth_grad`.
    start: an earlier map: see `smooth_grad`.

  Raises:
    ValueError: without a key, for `sigma <= 0` or fewer than two draws.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> fn = lambda x: x[0] + x[1] ** 2
    >>> maps, _ = saliency_jax.var_grad(fn, jnp.ones(2), key=jax.random.key(0))
    >>> bool(maps[0] < 1e-6 < maps[1])  # The first gradient never varies.
    True
  """
  checks.count('num_samples', num_samples, 2)
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  # Moments about the clean gradient: about zero they would cancel.
  centre = jax.grad(fn)(wide)

  def powers(g):
    d = jax.tree.map(jnp.subtract, g, centre)
    return d, _power(d, 2), _power(d, 3)

  if start is not None:
    start = _restored(start, centre)
  average = functools.partial(
    stopping.moments,
    tolerance=tolerance,
    start=start,
    watched=lambda means, variances: _spread(means[0], variances[0]),
  )
  means, variances, score, draws = _moments(
    powers, fn, wide, key, sigma, num_samples, batch_size, average
  )
  stderr = stopping.standard_error(_spread(means, variances), draws)

  def unbiased(variance):
    num = draws.num.astype(variance.dtype)
    return variance * (num / jnp.maximum(num - 1, 1))

  info = VarGradInfo(
    stderr,
    score,
    draws,
    mean_grad=jax.tree.map(jnp.add, centre, means[0]),
    third=jax.tree.map(lambda m1, m2, m3: m3 - _lower(m1, m2), *means),
  )
  scores = jax.tree.map(unbiased, variances[0])
  return examples.attribution(x, scores, info)


def _lower(m1, m2):
  """Returns `E[d^3]` less the third central moment."""
  return 3 * m1 * m2 - 2 * m1**3


def _spread(means, variances):
  """Returns `Var[(d - E[d])^2]` from moments of `d`, `d^2` and `d^3`."""

  def at(m1, m2, m3, var, var_sq):
    # Var[d^2 - 2 E[d] d], the part that varies.
    value = var_sq - 4 * m1 * (m3 - m1 * m2) + 4 * m1**2 * var
    return jnp.maximum(value, 0)

  return jax.tree.map(at, *means, *variances[:2])


def _restored(start, centre):
  """Returns the moments, about a centre, of an earlier `var_grad`."""
  info = stopping.info_of(start, VarGradInfo)
  num = jnp.asarray(info.draws.num, jnp.int32)

  def at(centre, mean, score, stderr, third):
    count = num.astype(centre.dtype)
    m1 = mean - centre
    var = score.astype(centre.dtype) * (count - 1) / count
    m2 = var + m1**2
    m3 = third + _lower(m1, m2)
    spread = stderr**2 * (count - 1)
    var_sq = spread + 4 * m1 * (m3 - m1 * m2) - 4 * m1**2 * var
    return m1, m2, m3, var, var_sq

  found = jax.tree.map(
    at, centre, info.mean_grad, start.scores, info.stderr, info.third
  )
  m1, m2, m3, var, var_sq = jax.tree.transpose(
    jax.tree.structure(centre), jax.tree.structure((0,) * 5), found
  )
  # The variances of cubes and of scores are not used.
  rest = jax.tree.map(jnp.zeros_like, m3), jnp.zeros_like(info.mean_score)
  return stopping.Moments(
    ((m1, m2, m3), info.mean_score),
    ((var, var_sq, rest[0]), rest[1]),
    info.draws,
  )


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
    watched=lambda means, variances: variances[0],
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
