"""How many of a smoothed map's top K entries no perturbation can remove.

For every perturbation of L2 norm at most rho, with `r = rho / sigma`,

    h'_i >= Phi(Phi^-1(h_i) - r)   and   h'_j <= Phi(Phi^-1(h_j) + r)

(Theorem 2 of the paper has `Phi(Phi^-1(h_i) - 2 r) > h_j` for the first to be
above the second.) So it is in L1, with the distribution function of other
`noises` in the place of `Phi`. Of entries in the order of `h`, at least `i` of
the top `K` stay if the first of `h_[i]` is above the second of `h_[2K - i +
1]`: entries of the top `i` that leave would have to give way to more entries
than there are. The certificate is `i / K` of the largest such `i <= K`; entries
beyond the last one count as beaten. What was sampled enters by its confidence
bounds, `h_i` by the lower and `h_j` by the upper one.

A map that is estimated anew at one perturbed point, from `q'` draws of their
own, has chances of its own. Of the failures allowed, half are for the bounds
`l <= h <= u` above, half for the new draws, shared out over both sides of all
`n` entries. With the half-width `c'` of Hoeffding's bound of the new draws,

    Phi(Phi^-1(l_i) - r) - Phi(Phi^-1(u_j) + r) > 2 c'

is enough. Proof: the first term is at most `h'_i` and the second at least
`h'_j`, unless a bound fails, so that `h'_i - c' > h'_j + c'`; the new means are
above the left and below the right side, or else one of `2n` events of
probability at most `(1 - p) / (4n)` has occurred. So they never tie, either.
Sums of zeros and ones are binomial, with exact quantiles in the place of `c'`.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
  Lecuyer et al., Certified robustness to adversarial examples with
  differential privacy, 2019. https://arxiv.org/abs/1802.03471
  Dwork and Roth, The algorithmic foundations of differential privacy, 2014,
  Theorem A.1. https://doi.org/10.1561/0400000042
  Balle and Wang, Improving the Gaussian mechanism for differential privacy,
  ICML 2018. https://arxiv.org/abs/1805.06530
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from typing_extensions import TypeAliasType

from saliency_jax.certificates import confidence as bounds
from saliency_jax.certificates import noises
from saliency_jax.certificates import terms
from saliency_jax.core import checks
from saliency_jax.core import types

# `(lower, upper, rho / sigma)`, of the map at the example, to `(lower, upper)`
# of that at every point of the ball.
Shift = TypeAliasType(
  'Shift',
  Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]],
)


class Certificate(NamedTuple):
  """What holds of the map at every point of the ball, and under what terms.

  Attributes:
    overlap: certified share of the top K that stays, `[num_rho, num_k]`.
    k: entries in the top, `[num_k]`.
    rho: radius of the ball, `[num_rho]`, in units of the example.
    sigma: deviation of the noise, in the same units.
    num_samples: draws `q` of the map.
    num_new_samples: draws with which the map is estimated anew at a perturbed
      point, or `None`: then the population's map is meant.
    confidence: with which all overlaps hold at once, at every point of the
      ball; of a map that is estimated anew, at any one point.
    bound: name of the confidence bound.
    norm: of the ball: 2, or 1 for noise of it.
  """

  overlap: np.ndarray
  k: np.ndarray
  rho: np.ndarray
  sigma: float
  num_samples: int
  num_new_samples: int | None
  confidence: float
  bound: str
  norm: int = 2


class Guaranteed(NamedTuple):
  """An order statistic of certificates, and an interval about it."""

  value: float
  low: float
  high: float


def gaussian_shift(
  lower: np.ndarray, upper: np.ndarray, ratio: float | int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns `Phi(Phi^-1(h) -+ ratio)`: the paper's, and the best there is."""
  return noises.GAUSSIAN.shift(lower, upper, ratio)


def privacy_shift(
  lower: np.ndarray, upper: np.ndarray, ratio: float | int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns what differential privacy gives, as Lecuyer et al. use it.

  By Dwork's calibration the Gaussian mechanism is (eps, delta)-private with
  `eps = ratio sqrt(2 ln(1.25 / delta)) <= 1`, so that `h'_i >= e^-eps (h_i -
  delta)` and `h'_j <= e^eps h_j + delta`: of each, the best over delta. With
  the exact `delta(eps)` of Balle and Wang, the best is `gaussian_shift`.
  """
  delta = np.logspace(-30, 0, 301)[:-1]
  eps = ratio * np.sqrt(2 * np.log(1.25 / delta))
  least, most = np.zeros(np.shape(lower)), np.ones(np.shape(upper))
  for d, e in zip(delta[eps <= 1], eps[eps <= 1], strict=True):
    least = np.maximum(least, np.exp(-e) * (lower - d))
    most = np.minimum(most, np.exp(e) * upper + d)
  return least, most


def top_k_overlap(
  smoothed: types.Attribution,
  k: Any,
  *,
  rho: Any,
  confidence: float | int = 0.95,
  bound: bounds.Bound = bounds.hoeffding,
  shift: Shift | None = None,
  num_new_samples: int | None = None,
) -> Certificate:
  """Certifies the overlap of the top K, for all K and radii at once.

  Args:
    smoothed: map of `smoothed_maps`, which carries sigma and its draws.
    k: number of entries in the top, or several numbers.
    rho: radius of the ball, in units of the example, or several; of L2, or of
      L1 for noise of it.
    confidence: with which all of it holds at once.
    bound: one of `confidence`.
    shift: `None` is the one of the map's noise; `privacy_shift` is there to
      compare with, for Gaussian noise.
    num_new_samples: draws of the map at a perturbed point, where that is
      estimated anew too; `confidence` then shares out between the two.

  Raises:
    ValueError: for a `k` that is not among the entries, `rho < 0`, or a map
      that a certificate or the bound refuses.
  """
  evidence = terms.read(smoothed)
  n = evidence.mean.size
  ks, rhos = check_k(k, n), np.atleast_1d(np.asarray(rho, float))
  for radius in rhos:
    checks.within('rho', radius, '[0, inf)')
  if shift is None:
    shift = evidence.noise.shift
  elif evidence.noise is not noises.GAUSSIAN:
    raise ValueError(
      f'{shift.__name__} is for Gaussian noise, and the map has other: leave '
      'shift out'
    )
  # Half of the failures for the draws that there are, half for new ones.
  level = confidence if num_new_samples is None else (1 + confidence) / 2
  found = bound(smoothed, level)
  order = np.argsort(-evidence.mean.ravel(), kind='stable')
  overlaps = []
  for radius in rhos:
    least, most = ordered(
      order, *bounds.within_ball(found, shift, radius / evidence.sigma)
    )
    if num_new_samples is not None:
      least, most = bounds.of_new_draws(
        least, most, num_new_samples, level, binary=evidence.binary
      )
    overlaps.append(staying(least, most, ks) / ks)
  return Certificate(
    overlap=np.stack(overlaps),
    k=ks,
    rho=rhos,
    sigma=evidence.sigma,
    num_samples=evidence.num_samples,
    num_new_samples=num_new_samples,
    confidence=confidence,
    bound=getattr(bound, 'func', bound).__name__,
    norm=evidence.noise.norm,
  )


def check_k(k: Any, n: int) -> np.ndarray:
  """Returns numbers of entries in the top, `[num_k]`.

  Raises:
    ValueError: for one that is not among 1 to n.
  """
  ks = np.atleast_1d(np.asarray(k))
  if not np.issubdtype(ks.dtype, np.integer) or not np.all(
    (ks >= 1) & (ks <= n)
  ):
    raise ValueError(f'expected k among 1 to {n} entries, got {k}')
  return ks


def ordered(
  order: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns bounds `[n]` in the order of the map, the largest entry first.

  Where the bounds are not in that order themselves, the worst so far counts:
  the first are the least lower bounds of a head of the list, the second the
  largest upper bounds of a tail.
  """
  lower = np.minimum.accumulate(lower.ravel()[order])
  upper = np.maximum.accumulate(upper.ravel()[order][::-1])[::-1]
  return lower, upper


def staying(least: np.ndarray, most: np.ndarray, ks: np.ndarray) -> np.ndarray:
  """Returns how many of the top `K` are certain to stay, `[num_k]`.

  Args:
    least: lower bounds in the order of the map, as `ordered` has them.
    most: upper bounds, likewise.
    ks: numbers of entries in the top.
  """
  # Entries that `i` does not beat are a head of the list; what it must beat
  # starts at 2K - i + 1. Both sides grow with i: valid i are a prefix.
  unbeaten = least.size - np.searchsorted(most[::-1], least, side='left')
  place = 1 + np.arange(least.size)
  return np.minimum(np.searchsorted(unbeaten + place, 2 * ks, side='right'), ks)


def guaranteed(
  overlaps: Any, *, share: float | int = 0.6, confidence: float | int = 0.95
) -> Guaranteed:
  """Returns the overlap that a share of the images has at least.

  "60% of the images had guarantees at least this tight" is the 40th ascending
  percentile. The interval is the one of order statistics: it assumes nothing
  but that the images are drawn independently.

  Args:
    overlaps: certificate of each image.
    share: of the images, strictly between 0 and 1.
    confidence: of the interval.
  """
  values = np.sort(np.ravel(np.asarray(overlaps, np.float64)))
  if not values.size or not np.isfinite(values).all():
    raise ValueError('expected at least one certificate, and no NaN')
  checks.within('share', share, '(0, 1)')
  checks.within('confidence', confidence, '(0, 1)')
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
