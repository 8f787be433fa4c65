"""Confidence bounds on the entries of a smoothed map, all at once.

Each returns `(lower, upper)` in float64, such that with probability at least
`confidence` every one of the `n` entries of the population's map lies between
its bounds: each of the `2n` bounds fails with probability at most
`(1 - confidence) / (2n)`.

  hoeffding            h -+ c,  c = sqrt(ln(2n / (1 - p)) / (2q))
  clopper_pearson      the exact binomial bounds, for maps of zeros and ones
  empirical_bernstein  h -+ (sqrt(2 V L / q) + 7 L / (3 (q - 1))), V the draws'
                       unbiased variance, L = ln(4n / (1 - p))

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019 (Hoeffding). https://arxiv.org/abs/1905.12105
  Maurer and Pontil, Empirical Bernstein bounds and sample-variance
  penalization, COLT 2009. https://arxiv.org/abs/0907.3740
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import numpy as np
from scipy import special
from scipy import stats
from typing_extensions import TypeAliasType

from saliency_jax.certificates import terms
from saliency_jax.core import checks
from saliency_jax.core import types


class Tails(NamedTuple):
  """Bounds on how often values reach some edges: see `tails`.

  Attributes:
    lower: of the chances that values are at least an edge, `[*map, T]`.
    upper: of the same.
    edges: `[T]`, rising to 1.
  """

  lower: np.ndarray
  upper: np.ndarray
  edges: np.ndarray


# `(smoothed, confidence) -> (lower, upper)` of the entries, or `Tails`, or a
# list of both kinds, all of which hold at once.
Bound = TypeAliasType('Bound', Callable[[types.Attribution, float], Any])


def hoeffding(
  smoothed: types.Attribution, confidence: float | int = 0.95
) -> tuple[np.ndarray, np.ndarray]:
  """Bounds means of any draws in [0, 1]: the paper's."""
  mean, _, q, _ = _drawn(smoothed, confidence)
  c = _half_width(mean.size, q, confidence)
  return np.maximum(mean - c, 0), np.minimum(mean + c, 1)


def clopper_pearson(
  smoothed: types.Attribution, confidence: float | int = 0.95
) -> tuple[np.ndarray, np.ndarray]:
  """Bounds means of draws that are 0 or 1, exactly.

  Raises:
    ValueError: for a map of other draws, or means that are no multiples of
      `1 / num_samples`.
  """
  mean, _, q, binary = _drawn(smoothed, confidence)
  if not binary:
    raise ValueError(
      'clopper_pearson is for draws of 0 or 1, as of sparsified_map, and this '
      'map has others: use hoeffding or empirical_bernstein'
    )
  counts = np.rint(mean * q)
  off = np.max(np.abs(counts - mean * q))
  if off > 0.01:
    raise ValueError(
      f'expected means of {q} draws of 0 or 1, got a count that is {off:.3g} '
      'off a whole number: use hoeffding or empirical_bernstein'
    )
  return binomial(counts, q, (1 - confidence) / (2 * mean.size))


def binomial(
  counts: np.ndarray, q: int, level: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the exact bounds of chances, each failing as rarely as `level`.

  Args:
    counts: successes, whole but for rounding.
    q: tries.
    level: of each side of each chance.
  """
  shape = counts.shape
  # Few counts, many entries.
  counts, place = np.unique(np.rint(counts), return_inverse=True)
  with np.errstate(invalid='ignore'):
    lower = special.betaincinv(counts, q - counts + 1, level)
    upper = special.betainccinv(counts + 1, q - counts, level)
  lower = np.where(counts == 0, 0, lower)
  upper = np.where(counts == q, 1, upper)
  place = place.reshape(shape)
  return lower[place], upper[place]


def empirical_bernstein(
  smoothed: types.Attribution, confidence: float | int = 0.95
) -> tuple[np.ndarray, np.ndarray]:
  """Bounds means of draws in [0, 1] with little variance; at least two."""
  mean, variance, q, _ = _drawn(smoothed, confidence)
  checks.count('num_samples', q, least=2)
  if np.isnan(variance).any():
    raise ValueError('empirical_bernstein wants the variance of the draws')
  variance = np.maximum(variance, 0) * (q / (q - 1))
  level = math.log(4 * mean.size / (1 - confidence))
  c = np.sqrt(2 * variance * level / q) + 7 * level / (3 * (q - 1))
  return np.maximum(mean - c, 0), np.minimum(mean + c, 1)


def population(
  smoothed: types.Attribution, confidence: float | int = 1.0
) -> tuple[np.ndarray, np.ndarray]:
  """Takes a map that is known exactly at its word.

  Raises:
    ValueError: for a map of draws.
  """
  del confidence
  evidence = terms.read(smoothed)
  if evidence.num_samples:
    raise ValueError(
      f'population is for maps that are known exactly, and this one has '
      f'{evidence.num_samples} draws: use hoeffding'
    )
  return evidence.mean, evidence.mean


def best_of(*several: Bound) -> Bound:
  """Returns the bound that is the closest of several for each entry.

  Of the failures allowed, each has an equal part, so that all of them hold at
  once with the confidence, and so does the largest lower bound and the least
  upper one.

  Raises:
    ValueError: for none.
  """
  checks.count('the number of bounds', len(several))

  def closest_of(smoothed, confidence=0.95):
    checks.within('confidence', confidence, '(0, 1)')
    level = 1 - (1 - confidence) / len(several)
    found = [f(smoothed, level) for f in several]
    if any(isinstance(one, Tails) for one in found):
      return found  # Which is the closest depends on the radius.
    lower, upper = zip(*found, strict=True)
    return np.max(lower, 0), np.min(upper, 0)

  names = (getattr(f, 'func', f).__name__ for f in several)
  closest_of.__name__ = f'best of {", ".join(names)}'
  return closest_of


def closest(
  smoothed: types.Attribution, confidence: float | int = 0.95
) -> tuple[np.ndarray, np.ndarray]:
  """Bounds a map by what suits its draws.

  That is `clopper_pearson` of zeros and ones, `population` of a map that is
  known exactly, and else the best of `hoeffding` and `empirical_bernstein`,
  where there is a variance. It is chosen by the terms of the map, and never by
  its values: that would need another level.
  """
  evidence = terms.read(smoothed)
  if not evidence.num_samples:
    return population(smoothed, confidence)
  if evidence.binary:
    return clopper_pearson(smoothed, confidence)
  if evidence.num_samples < 2 or np.isnan(evidence.variance).any():
    return hoeffding(smoothed, confidence)
  return best_of(hoeffding, empirical_bernstein)(smoothed, confidence)


def of_entries(found: Any) -> tuple[np.ndarray, np.ndarray]:
  """Returns bounds of entries, where radii and ranks are read from them.

  Raises:
    ValueError: for bounds of distributions, which have values at one radius.
  """
  if not isinstance(found, tuple) or isinstance(found, Tails):
    raise ValueError(
      'expected a bound on entries, such as hoeffding, got one on the '
      'distribution of their values: it is for top_k_overlap'
    )
  return found


def within_ball(
  found: Any, shift: Callable[..., tuple[np.ndarray, np.ndarray]], ratio: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns bounds of the map at every point of a ball.

  Args:
    found: what a bound has returned.
    shift: one of `overlap`.
    ratio: `rho / sigma`.
  """
  if isinstance(found, list):
    several = [within_ball(one, shift, ratio) for one in found]
    lower, upper = zip(*several, strict=True)
    return np.max(lower, 0), np.min(upper, 0)
  if not isinstance(found, Tails):
    return shift(*found, ratio)
  least, most = shift(found.lower, found.upper, ratio)
  widths = np.diff(found.edges, prepend=0)
  # Below the first edge the chance is one at most.
  return least @ widths, widths[0] + most[..., :-1] @ widths[1:]


def of_new_draws(
  lower: np.ndarray,
  upper: np.ndarray,
  num_samples: int,
  confidence: float | int,
  *,
  binary: bool,
) -> tuple[np.ndarray, np.ndarray]:
  """Bounds the means of draws that are yet to be made, all entries at once.

  Args:
    lower: of the population's map.
    upper: of the population's map.
    num_samples: draws to be made.
    confidence: of all bounds at once.
    binary: whether the draws are 0 or 1: their sums are then binomial.

  Returns:
    Bounds `(least, most)`, for zeros and ones such that `least <= mean <= most`
    and otherwise that `least < mean < most`.
  """
  checks.count('num_new_samples', num_samples)
  checks.within('confidence', confidence, '(0, 1)')
  if not binary:
    c = _half_width(lower.size, num_samples, confidence)
    return lower - c, upper + c
  level = (1 - confidence) / (2 * lower.size)
  # P(count < k) <= level for the least k with P(count <= k) >= level.
  least = lambda p: stats.binom.ppf(level, num_samples, p) / num_samples
  return least(lower), 1 - least(1 - upper)


def _half_width(n, num_samples, confidence):
  return math.sqrt(math.log(2 * n / (1 - confidence)) / (2 * num_samples))


def _drawn(smoothed, confidence):
  """Returns mean, variance, number and kind of the draws of a map."""
  evidence = terms.read(smoothed)
  checks.within('confidence', confidence, '(0, 1)')
  if not evidence.num_samples:
    raise ValueError(
      'expected a map of draws, got one that is known exactly: use population'
    )
  return evidence.mean, evidence.variance, evidence.num_samples, evidence.binary
