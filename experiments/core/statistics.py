"""Means over examples and correlations, with their intervals.

An interval of a mean is the BCa bootstrap's over examples, at 95%. It is a
little short for few examples: for the mean of 20 normal numbers it covers about
93%. What is a find is decided by `significance.py`.

References:
  Efron, Better bootstrap confidence intervals, 1987.
  https://doi.org/10.1080/01621459.1987.10478410
  Kendall and Babington Smith, The problem of m rankings, 1939.
  https://doi.org/10.1214/aoms/1177732186
"""

from typing import NamedTuple

from jaxtyping import Float, Int
import numpy as np
from scipy import stats

from experiments.core import significance

_RESAMPLES = 4999


class Interval(NamedTuple):
  """A mean, or a correlation, and the ends of its 95% interval."""

  mean: float
  low: float
  high: float
  num: int


def mean_interval(values: Float[np.ndarray, 'n']) -> Interval:
  """Returns the mean of some numbers with its bootstrap interval.

  One number says nothing of its own error: its interval is the whole line. NaN,
  the mark of what was not measured, is left out.

  Args:
    values: one an example.
  """
  values = np.asarray(values, np.float64)
  values = values[~np.isnan(values)]
  if not values.size:
    return Interval(np.nan, -np.inf, np.inf, 0)
  mean = float(values.mean())
  if values.size == 1 or not np.isfinite(mean):
    return Interval(mean, -np.inf, np.inf, values.size)
  if np.all(values == values[0]):
    # Not the mean, which rounding may have moved.
    return Interval(*[float(values[0])] * 3, values.size)
  # A seed of its own for each call: the same numbers, the same interval.
  ends = stats.bootstrap(
    (values,), np.mean, n_resamples=_RESAMPLES, rng=np.random.default_rng(0)
  ).confidence_interval
  return Interval(mean, float(ends.low), float(ends.high), values.size)


def rank_correlation(
  a: Float[np.ndarray, 'n'],
  b: Float[np.ndarray, 'n'],
  clusters: Int[np.ndarray, 'n'] | None = None,
) -> Interval:
  """Returns Spearman's correlation of paired numbers, with its interval.

  Three or fewer, or all in one order, say nothing of its error.

  Args:
    a: numbers.
    b: numbers that go with them.
    clusters: of each pair, where some depend on one another; `num` counts them.
  """
  z, error, num = significance.fisher(a, b, clusters)
  if not error:
    return Interval(float(np.tanh(z)), -np.inf, np.inf, num)
  low, high = np.tanh(z + error * stats.norm.ppf([0.025, 0.975]))
  return Interval(float(np.tanh(z)), float(low), float(high), num)


def collapse(
  values: Float[np.ndarray, 'n'], clusters: Int[np.ndarray, 'n']
) -> Float[np.ndarray, 'm']:
  """Returns the mean of each cluster, NaN left out, in the clusters' order.

  Args:
    values: numbers, some of which depend on one another.
    clusters: of each.
  """
  values = np.asarray(values, np.float64)
  known = ~np.isnan(values)
  names, ids = np.unique(clusters, return_inverse=True)
  count = np.bincount(ids, weights=known, minlength=len(names))
  total = np.bincount(
    ids, weights=np.where(known, values, 0), minlength=len(names)
  )
  with np.errstate(invalid='ignore'):
    return total / count


def kendall_w(values: Float[np.ndarray, 'm n']) -> float:
  """Returns Kendall's W: how far `m` judges put `n` things in one order.

  It is 1 where all have the same order, 0 where they have none in common, and
  NaN where no judge tells the things apart. Equal values share a rank.

  Args:
    values: of each judge, a row each, all rising or all falling with worth.
  """
  ranks = stats.rankdata(values, axis=1)
  m, n = ranks.shape
  spread = np.sum((ranks.sum(0) - m * (n + 1) / 2) ** 2)
  ties = sum(
    np.sum(count**3 - count)
    for row in ranks
    for count in [np.unique(row, return_counts=True)[1]]
  )
  most = m**2 * (n**3 - n) - m * ties
  return float(12 * spread / most) if most > 0 else np.nan
