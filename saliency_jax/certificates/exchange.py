"""How many of the selected top K stay, by asking what could take their place.

A first part of the draws selects the top `S`, `K` entries; all below is said of
the others, the second part, for which `S` is fixed. Where `m` entries of `S` or
more are not among the K largest of the map at a point `x'` within `rho`, there
are `A` in `S` and `B` outside of it, `m` entries each, with `h'_a <= h'_b` for
all of them. So of `G = mean_A v - mean_B v`, in [-1, 1], of one draw,

    E'[G] <= 0,   and   E[G] <= kappa s,   kappa^2 = exp(rho^2 / sigma^2) - 1

with `s` the standard deviation of `G` at `x`: `E'[G] - E[G] = Cov(G, L)` with
the likelihood ratio `L` of the two Gaussians, whose variance is `kappa^2`
(Cauchy and Schwarz; the bound of Hammersley, Chapman and Robbins). The right
side is about `x` alone. Call `H_m` that there is such a pair `(A, B)`.

*A test of H_m.* For fixed `lam` in (0, 1) and `eta > 0`, with `psi = -lam -
ln(1 - lam)`, `c' = lam kappa / (2 eta (1 - lam)) < 1`, `a = psi - ln(1 - c')`,
it is rejected where for *every* pair the `q` draws have

    lam mean(G) - a mean(G^2) > lam kappa eta / 2 + ln(1 / level) / q.

It is wrong with probability `level` at most: where `H_m` holds it holds of a
pair that no draw has chosen, for which the event is as rare as this. `exp(lam g
- psi g^2) <= 1 + lam g` for `g >= -1` (Fan, Grama and Liu), `exp(-c g^2) <= 1 -
c' g^2` for `c = -ln(1 - c')`, and `g^3 >= -g^2`: so

    E exp(lam G - a G^2) <= E (1 + lam G)(1 - c' G^2)
                         <= exp(lam E[G] - c' (1 - lam) E[G^2])
                         <= exp(lam kappa eta / 2),

the last by `E[G] <= kappa s <= kappa (E[G^2] / (2 eta) + eta / 2)`. The rest is
Markov's inequality for the product over the draws. No union over entries or
pairs is needed, and `lam` and `eta` may be chosen by the first part.

*All m.* They are tested from the largest on, and the first that is not rejected
ends it: an error would have to reject `H_m` of the largest `m` for which it
holds, one fixed hypothesis. For several K and radii the level is shared out.

*Every pair* is a quadratic program over sets, `most a mean(G^2) - lam mean(G)`,
bounded from above by its Lagrangian decomposition (Caprara, Pisinger and Toth):
a row for each entry, which chooses its own partners, and multipliers that make
the choices agree. Any multipliers give a valid bound.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
  Fan, Grama and Liu, Exponential inequalities for martingales with
  applications, Electronic Journal of Probability 20, 2015, Lemma 4.1.
  https://arxiv.org/abs/1311.6273
  Caprara, Pisinger and Toth, Exact solution of the quadratic knapsack problem,
  INFORMS Journal on Computing 11, 1999.
  https://doi.org/10.1287/ijoc.11.2.125
"""

from collections.abc import Callable, Iterator
import math
from typing import Any, NamedTuple

import numpy as np

from saliency_jax.certificates import overlap
from saliency_jax.certificates import quadratic
from saliency_jax.certificates import split_draws
from saliency_jax.certificates import terms
from saliency_jax.core import checks
from saliency_jax.core import selection
from saliency_jax.core import types

# The grid of lam and eta, of which the first part of the draws picks.
_LAMS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)
_ETAS = (0.7, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0)
# How much larger mean(G^2) is of the worst pair than of one picked before.
_INFLATION = 1.3
# The largest a / lam: beyond it the relaxation loses more than lam gains.
_STEEPEST = 0.9
# The next m to test, as a share of the last; and what sums in float32 may err.
_STEP, _ROUNDING = 0.97, 1e-5


class Exchange(NamedTuple):
  """What holds of the selected top at every point of the ball.

  Attributes:
    overlap: certified share of the selected top that stays, `[num_rho, num_k]`.
    top: the entries that were selected, `[num_k, *map]`.
    k: entries in the top, `[num_k]`.
    rho: radius of the L2 ball, `[num_rho]`, in units of the example.
    sigma: deviation of the noise, in the same units.
    num_samples: draws of both parts.
    num_selecting: draws that selected.
    confidence: with which all overlaps hold at once, at every point of the
      ball, whatever was selected.
  """

  overlap: np.ndarray
  top: np.ndarray
  k: np.ndarray
  rho: np.ndarray
  sigma: float
  num_samples: int
  num_selecting: int
  confidence: float


def exchange_overlap(
  split: types.Attribution,
  k: Any,
  *,
  rho: Any,
  confidence: float | int = 0.95,
) -> Exchange:
  """Certifies how many of the selected top K stay within a radius.

  Args:
    split: of `split_map`; a thousand entries take a second or two.
    k: number of entries in the top, or several numbers.
    rho: radius of the L2 ball, in units of the example, or several.
    confidence: with which all of it holds at once.

  Raises:
    ValueError: for a map of other draws, a `k` that is not among the entries,
      `rho < 0`, or a map that no certificate holds of.
  """
  evidence, info = _read(split)
  n = evidence.mean.size
  ks, rhos = overlap.check_k(k, n), np.atleast_1d(np.asarray(rho, float))
  checks.within('confidence', confidence, '(0, 1)')
  for radius in rhos:
    checks.within('rho', radius, '[0, inf)')
  level = (1 - confidence) / (ks.size * rhos.size)
  overlaps = np.zeros((rhos.size, ks.size))
  tops = []
  for j, one in enumerate(ks):
    rejects, order = _tester(info, int(one), level)
    top = np.zeros(n, bool)
    top[order[:one]] = True
    tops.append(top.reshape(evidence.mean.shape))
    for i, radius in enumerate(rhos):
      lost = _lost(rejects, int(one), n, radius / evidence.sigma)
      overlaps[i, j] = (one - lost) / one
  return Exchange(
    overlap=overlaps,
    top=np.stack(tops),
    k=ks,
    rho=rhos,
    sigma=evidence.sigma,
    num_samples=evidence.num_samples,
    num_selecting=int(info.counts[0]),
    confidence=confidence,
  )


def exchange_radius(
  split: types.Attribution,
  k: int,
  *,
  share: float | int = 0.5,
  confidence: float | int = 0.95,
  rho: Any = None,
) -> float:
  """Returns the largest radius tried within which a share of the top stays.

  One `m` is tested at one radius after the other, from the least on, until it
  is not rejected: the radii need no share of the level, by the argument for
  all m.

  Args:
    split: of `split_map`.
    k: number of entries in the top.
    share: of the selected top, in (0, 1], rounded up to whole entries.
    confidence: with which it holds.
    rho: radii to try, in units of the example; `None` tries 40 of them, from a
      hundredth of sigma on, each a tenth larger.

  Returns:
    A radius in units of the example; 0 where not even the least is certain.

  Raises:
    ValueError: as `exchange_overlap`, or for a bad share.
  """
  evidence, info = _read(split)
  n = evidence.mean.size
  checks.count('k', k, 1, n)
  checks.within('share', share, '(0, 1]')
  checks.within('confidence', confidence, '(0, 1)')
  if rho is None:
    rho = evidence.sigma * 0.01 * 1.1 ** np.arange(40)
  most = k - selection.count(share, k) + 1
  if most > n - k:
    return math.inf
  rejects, _ = _tester(info, k, 1 - confidence)
  last = 0.0
  for radius in np.sort(np.atleast_1d(np.asarray(rho, float))):
    checks.within('rho', radius, '[0, inf)')
    if not rejects(most, radius / evidence.sigma):
      break
    last = float(radius)
  return last


def _read(split):
  evidence, info = terms.read(split), split.info
  if not isinstance(info, split_draws.SplitInfo):
    raise ValueError(
      'expected a map of draws in two parts, of certificates.split_map, got '
      f'one with {type(info).__name__}'
    )
  return evidence, info


def _lost(rejects, k, n, ratio):
  """Returns the most entries of the top that may leave it."""
  lost = min(k, n - k)
  for m in _descending(lost):
    if not rejects(m, ratio):
      break
    lost = m - 1
  return lost


def _descending(m: int) -> Iterator[int]:
  while m >= 1:
    yield m
    m = min(m - 1, int(m * _STEP))


def _tester(
  info: split_draws.SplitInfo, k: int, level: float
) -> tuple[Callable[[int, float], bool], np.ndarray]:
  """Returns `(m, rho / sigma) -> whether H_m is rejected`, and the order."""
  means = np.asarray(info.means, np.float64).reshape(2, -1)
  order = np.argsort(-means[0], kind='stable')
  signs = np.where(np.arange(order.size) < k, 1, -1)
  place = np.ix_(order, order)
  covariances = []
  for mean, products in zip(means[:, order], info.products, strict=True):
    c = np.asarray(products, np.float64)[place] - np.outer(mean, mean)
    covariances.append(c * np.outer(signs, signs))
  before, c = covariances
  gains = means[1][order] * signs
  program = quadratic.Program(c, gains, k)
  cost = math.log(1 / level) / int(info.counts[1])

  def rejects(m, ratio):
    gap = program.least_gap(m)
    chosen = _parameters(before, k, m, ratio, cost)
    if gap <= 0 or chosen is None:
      return False
    lam, eta, kappa, a = chosen
    need = (lam * kappa * eta / 2 + cost) + _ROUNDING
    return program.exceeds(m, lam, a, need)

  return rejects, order


def _parameters(before, k, m, ratio, cost):
  """Picks lam and eta by the first part; returns also kappa and a."""
  kappa = math.sqrt(math.expm1(ratio**2)) if ratio < 20 else math.inf
  near = slice(k - m, k + m)
  w = max(float(before[near, near].sum()) / m**2, 1e-9) * _INFLATION
  best = None
  for lam in _LAMS:
    for factor in _ETAS:
      eta = factor * math.sqrt(w)
      c = lam * kappa / (2 * eta * (1 - lam))
      if c >= 0.95:
        continue
      a = -math.log1p(-lam) - lam - math.log1p(-c)
      if a > _STEEPEST * lam:
        continue
      need = (lam * kappa * eta / 2 + cost + a * w) / lam
      if best is None or need < best[0]:
        best = (need, (lam, eta, kappa, a))
  return None if best is None else best[1]
