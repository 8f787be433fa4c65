"""The worst rank that an entry of a smoothed map can fall to.

Of values `v` that add up to at most `mass` in every draw, at most
`mass / h'_i` entries can be as large as entry `i`, and within a ball of radius
rho `h'_i >= Phi(Phi^-1(h_i) - rho / sigma)`.

The paper's Theorem 3 is the case of a sparsified map, `mass = tau n`, of an
entry whose median rank is at most `tau n`, which is `h_i >= 1/2`; it allows
twice the shift, `factor=2`, of which one half is for an entry compared with.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
"""

from typing import Any

import numpy as np
from scipy import special

from saliency_jax.certificates import confidence as bounds


def certified_rank(
  smoothed: Any,
  *,
  mass: float | int,
  rho: float | int,
  sigma: float | int,
  num_samples: int,
  confidence: float | int = 0.95,
  bound: bounds.Bound = bounds.hoeffding,
  factor: float | int = 1.0,
) -> np.ndarray:
  """Returns the rank that each entry is certain to keep, shaped as the map.

  Args:
    smoothed: map with entries in [0, 1], of `smoothed_maps`.
    mass: largest sum of the entries of any one draw: `tau n` of a sparsified
      or relaxed map.
    rho: radius of the L2 ball, in units of the example.
    sigma: deviation of the noise of the map, in the same units.
    num_samples: draws of the map.
    confidence: with which all ranks hold at once.
    bound: of `confidence`, its settings bound by `functools.partial`.
    factor: of the shift `rho / sigma`; 2 is the paper's.

  Raises:
    ValueError: for `mass <= 0`, `rho < 0`, `sigma <= 0` or a map outside of
      [0, 1].
  """
  if not (mass > 0 and rho >= 0 and sigma > 0):
    raise ValueError(
      'expected mass and sigma above 0 and rho of at least 0, got '
      f'{mass}, {sigma} and {rho}'
    )
  lower, _ = bound(np.asarray(smoothed, np.float64), num_samples, confidence)
  least = special.ndtr(special.ndtri(lower) - factor * rho / sigma)
  with np.errstate(divide='ignore'):
    worst = np.floor(mass / least)
  return np.minimum(worst, lower.size).astype(np.int64)
