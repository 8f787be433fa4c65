"""How many of a smoothed map's top K entries no perturbation can remove.

For every perturbation of L2 norm at most rho (Theorem 2 of the paper),

    floor(h_i) = Phi(Phi^-1(h_i) - 2 rho / sigma) > h_j  implies  h'_i > h'_j

so that, of entries in the order of `h`, at least `i` of the top `K` stay if
`floor(h_[i]) > h_[2K - i + 1]`: those of the top `i` that leave would have to
give way to more entries than there are. The certificate is `i / K` of the
largest such `i <= K`; entries beyond the last one count as beaten. What was
sampled enters by its confidence bounds, below for `i` and above for `j`.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
  Lecuyer et al., Certified robustness to adversarial examples with
  differential privacy, 2019. https://arxiv.org/abs/1802.03471
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import special
from scipy import stats

from saliency_jax.certificates import confidence as bounds

# `(z, rho / sigma) -> floor(z)`.
Floor = Callable[[np.ndarray, float], np.ndarray]


class Certificate(NamedTuple):
  """What holds of the map at every point of the ball, and under what terms.

  Attributes:
    overlap: certified share of the top K that stays, `[num_rho, num_k]`.
    k: entries in the top, `[num_k]`.
    rho: radius of the L2 ball, `[num_rho]`, in units of the example.
    sigma: deviation of the noise, in the same units.
    num_samples: draws `q` of the map.
    num_new_samples: draws with which the map is estimated anew at the
      perturbed point, or `None`: then the population's map is meant.
    confidence: with which all overlaps hold at once.
    bound: name of the confidence bound.
  """

  overlap: np.ndarray
  k: np.ndarray
  rho: np.ndarray
  sigma: float
  num_samples: int
  num_new_samples: int | None
  confidence: float
  bound: str


class Guaranteed(NamedTuple):
  """An order statistic of certificates, and an interval about it."""

  value: float
  low: float
  high: float


def gaussian_floor(z: Any, ratio: float | int) -> np.ndarray:
  """Returns `Phi(Phi^-1(z) - 2 ratio)`: the paper's, and the best there is."""
  return special.ndtr(special.ndtri(z) - 2 * ratio)


def privacy_floor(z: Any, ratio: float | int) -> np.ndarray:
  """Returns what differential privacy gives, the best over its parameters.

  The Gaussian mechanism is (eps, delta)-private with
  `eps = ratio sqrt(2 ln(1.25 / delta)) <= 1`, so that `h'_i >= e^-eps (h_i -
  delta)` and `h'_j <= e^eps h_j + delta`.
  """
  delta = np.logspace(-30, 0, 301)[:-1]
  eps = ratio * np.sqrt(2 * np.log(1.25 / delta))
  delta, eps = delta[eps <= 1], eps[eps <= 1]
  best = np.full(np.shape(z), -np.inf)
  for d, e in zip(delta, eps, strict=True):
    best = np.maximum(best, np.exp(-2 * e) * (z - d * (1 + np.exp(e))))
  return best


def top_k_overlap(
  smoothed: Any,
  k: Any,
  *,
  rho: Any,
  sigma: float | int,
  num_samples: int,
  confidence: float | int = 0.95,
  bound: bounds.Bound = bounds.hoeffding,
  floor: Floor = gaussian_floor,
  num_new_samples: int | None = None,
) -> Certificate:
  """Certifies the overlap of the top K, for all K and radii at once.

  Args:
    smoothed: map with entries in [0, 1], of `smoothed_maps`.
    k: number of entries in the top, or several numbers.
    rho: radius of the L2 ball, in units of the example, or several.
    sigma: deviation of the noise of the map, in the same units.
    num_samples: draws of the map.
    confidence: with which all of it holds at once.
    bound: of `confidence`, its settings bound by `functools.partial`.
    floor: `gaussian_floor`, or `privacy_floor` to compare with.
    num_new_samples: draws of the map at the perturbed point, where that is
      estimated anew too; `confidence` then shares out between the two.

  Raises:
    ValueError: for a `k` that is not among the entries, `rho < 0`,
      `sigma <= 0`, or a map outside of [0, 1].
  """
  h = np.ravel(np.asarray(smoothed, np.float64))
  ks, rhos = np.atleast_1d(np.asarray(k)), np.atleast_1d(np.asarray(rho, float))
  if not np.issubdtype(ks.dtype, np.integer) or not np.all(
    (ks >= 1) & (ks <= h.size)
  ):
    raise ValueError(f'expected k among 1 to {h.size} entries, got {k}')
  if not np.all(rhos >= 0) or not sigma > 0:
    raise ValueError(
      f'expected rho of at least 0 and sigma above 0, got {rho} and {sigma}'
    )
  gap, level = 0.0, confidence
  if num_new_samples is not None:
    level = 1 - (1 - confidence) / 2
    # At h = 0 and any entry: the half-width of Hoeffding's bound.
    _, upper = bounds.hoeffding(np.zeros_like(h), num_new_samples, level)
    gap = 2 * float(upper[0])
  lower, upper = bound(h, num_samples, level)
  order = np.argsort(-h, kind='stable')
  # Where the bounds are not in the order of the map, the worst so far counts.
  lower = np.minimum.accumulate(lower[order])
  upper = np.maximum.accumulate(upper[order][::-1])[::-1]
  place = 1 + np.arange(h.size)
  found = []
  for radius in rhos:
    beats = floor(lower, radius / sigma) - gap
    # Entries that `i` does not beat are a head of the list; what it must beat
    # starts at 2K - i + 1. Both sides grow with i: valid i are a prefix.
    unbeaten = h.size - np.searchsorted(upper[::-1], beats, side='left')
    count = np.searchsorted(unbeaten + place, 2 * ks, side='right')
    found.append(np.minimum(count, ks) / ks)
  name = getattr(bound, 'func', bound).__name__
  return Certificate(
    overlap=np.stack(found),
    k=ks,
    rho=rhos,
    sigma=float(sigma),
    num_samples=num_samples,
    num_new_samples=num_new_samples,
    confidence=confidence,
    bound=name,
  )


def guaranteed(
  overlaps: Any, *, share: float | int = 0.6, confidence: float | int = 0.95
) -> Guaranteed:
  """Returns the overlap that a share of the images has at least.

  "60% of the images had guarantees at least this tight" is the 40th ascending
  percentile. The interval is that of order statistics: it assumes nothing but
  that the images are drawn independently.

  Args:
    overlaps: certificate of each image.
    share: of the images, strictly between 0 and 1.
    confidence: of the interval.
  """
  values = np.sort(np.ravel(np.asarray(overlaps, np.float64)))
  if not values.size or not np.isfinite(values).all():
    raise ValueError('expected at least one certificate, and no NaN')
  if not (0 < share < 1 and 0 < confidence < 1):
    raise ValueError(
      f'share and confidence must be strictly between 0 and 1, got {share} '
      f'and {confidence}'
    )
  n, p = values.size, 1 - share
  tail = (1 - confidence) / 2
  # P(fewer than i of n lie at or below the percentile) <= tail, and above.
  low = int(stats.binom.ppf(tail, n, p))
  high = int(stats.binom.ppf(1 - tail, n, p)) + 1
  return Guaranteed(
    value=float(np.quantile(values, p, method='inverted_cdf')),
    low=float(values[low - 1]) if low >= 1 else 0.0,
    high=float(values[high - 1]) if high <= n else 1.0,
  )
