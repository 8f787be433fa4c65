"""How far an example may move until the top K of its smoothed map may change.

With Gaussian noise and bounds `l <= h <= u` of the population's map, entry `i`
stays above entry `j` at every point within

    rho < sigma / 2 (Phi^-1(l_i) - Phi^-1(u_j)),

the radius at which the two sides of Theorem 2 (see `overlap.py`) are equal. So
the radii of every K, and of every entry, come without a search over rho:

  a share    the `i` of the top K that stay, `i / K` at least the share, with
             entries in the order of `h`: the radius of `h_[i]` and
             `h_[2K - i + 1]`;
  an entry   it is among the K largest while fewer than K others may be as
             large: the radius of it and the K-th largest upper bound of others;
             and it is not, while K others must be larger.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
"""

from typing import Any, NamedTuple

import numpy as np

from saliency_jax.certificates import confidence as bounds
from saliency_jax.certificates import overlap
from saliency_jax.certificates import terms
from saliency_jax.core import checks
from saliency_jax.core import types


class EntryRadii(NamedTuple):
  """How far each entry is certain to stay on its side of the top K.

  At every point of the ball of a radius, and for all radii at once, entries
  whose `inside` is larger are among the K largest of the map, and entries whose
  `outside` is larger are not.

  Attributes:
    inside: radii in units of the example, shaped as the map; 0 where nothing is
      certain.
    outside: the same, of staying out.
  """

  inside: np.ndarray
  outside: np.ndarray


def overlap_radius(
  smoothed: types.Attribution,
  k: Any,
  *,
  share: float | int = 0.5,
  confidence: float | int = 0.95,
  bound: bounds.Bound = bounds.hoeffding,
) -> np.ndarray:
  """Returns the radius within which a share of the top K stays, `[num_k]`.

  It is the least radius that `top_k_overlap` does not certify the share at, and
  holds of all K at once, beside every certificate of the same bound.

  Args:
    smoothed: map of `smoothed_maps`, which carries sigma and its draws.
    k: number of entries in the top, or several numbers.
    share: of the top K, in (0, 1], rounded up to whole entries.
    confidence: with which all radii hold at once.
    bound: one of `confidence`.

  Returns:
    Radii in units of the example; 0 where the share is not certain even of the
    example itself, infinite where there is nothing that could take a place.

  Raises:
    ValueError: as `top_k_overlap`, or for a bad share.
  """
  checks.within('share', share, '(0, 1]')
  evidence = terms.read(smoothed)
  ks = overlap.check_k(k, evidence.mean.size)
  order = np.argsort(-evidence.mean.ravel(), kind='stable')
  found = bounds.of_entries(bound(smoothed, confidence))
  lower, upper = overlap.ordered(order, *found)
  # `selection.count` of each, whose products are whole but for rounding.
  counts = np.ceil(share * ks * (1 - 4 * np.finfo(float).eps)).astype(int)
  rival = 2 * ks - counts  # The place of h_[2K - i + 1], from 0.
  beyond = rival >= lower.size
  rivals = upper[np.minimum(rival, lower.size - 1)]
  radius = _radius(lower[counts - 1], rivals, evidence)
  return np.where(beyond, np.inf, radius)


def entry_radii(
  smoothed: types.Attribution,
  k: int,
  *,
  confidence: float | int = 0.95,
  bound: bounds.Bound = bounds.hoeffding,
) -> EntryRadii:
  """Returns how far each entry is certain to stay in, or out of, the top K.

  Entries that are certain one by one are fewer than `top_k_overlap` counts: it
  says how many stay, whichever they are.

  Args:
    smoothed: map of `smoothed_maps`, which carries sigma and its draws.
    k: number of entries in the top.
    confidence: with which all radii hold at once.
    bound: one of `confidence`.

  Raises:
    ValueError: as `top_k_overlap`.
  """
  evidence = terms.read(smoothed)
  n = evidence.mean.size
  checks.count('k', k, 1, n)
  lower, upper = bounds.of_entries(bound(smoothed, confidence))
  if k == n:
    always = np.full(lower.shape, np.inf)
    return EntryRadii(always, np.zeros(lower.shape))
  # The (K + 1)-th largest upper bound is the K-th of the others for an entry
  # above it, and an entry below it has K others that may be larger.
  rival = np.partition(upper.ravel(), n - k - 1)[n - k - 1]
  last = np.partition(lower.ravel(), n - k)[n - k]
  return EntryRadii(
    _radius(lower, rival, evidence), _radius(last, upper, evidence)
  )


def _radius(low, high, evidence):
  """Returns the radius until which `low` stays above `high`, 0 for none."""
  above = low > high
  with np.errstate(invalid='ignore'):
    gap = evidence.noise.quantile(low) - evidence.noise.quantile(high)
  return np.where(above, evidence.sigma / 2 * np.where(above, gap, 0), 0)
