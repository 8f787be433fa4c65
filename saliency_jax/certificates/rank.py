"""The worst rank that an entry of a smoothed map can fall to.

Of values `v` that add up to at most `mass` in every draw, at most
`mass / h'_i` entries can be as large as entry `i`, and within a ball of radius
rho `h'_i >= Phi(Phi^-1(h_i) - rho / sigma)`.

The paper's Theorem 3 is the case of a sparsified map, `mass = ceil(tau n)`, of
an entry whose median rank is at most that, which is `h_i >= 1/2`; it allows
twice the shift, `factor=2`, of which one half is for an entry compared with.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
"""

import numpy as np

from saliency_jax.certificates import confidence as bounds
from saliency_jax.certificates import terms
from saliency_jax.core import checks
from saliency_jax.core import types


def certified_rank(
  smoothed: types.Attribution,
  *,
  rho: float | int,
  confidence: float | int = 0.95,
  bound: bounds.Bound = bounds.hoeffding,
  factor: float | int = 1.0,
) -> np.ndarray:
  """Returns the rank that each entry is certain to keep, shaped as the map.

  Args:
    smoothed: map of `smoothed_maps`, which carries sigma and mass.
    rho: radius of the ball, in units of the example; of L2, or of L1 for noise
      of it.
    confidence: with which all ranks hold at once.
    bound: one of `confidence`.
    factor: of the shift `rho / sigma`; 2 is the paper's.

  Raises:
    ValueError: for `rho < 0`, a factor below 1, or a map that a certificate
      or the bound refuses.
  """
  evidence = terms.read(smoothed)
  checks.within('rho', rho, '[0, inf)')
  checks.within('factor', factor, '[1, inf)')
  lower, _ = bounds.of_entries(bound(smoothed, confidence))
  least, _ = evidence.noise.shift(lower, lower, factor * rho / evidence.sigma)
  # Entries that are as many as `mass / least` but for rounding are as many.
  with np.errstate(divide='ignore'):
    worst = np.floor(evidence.mass / least * (1 + 1e-12))
  return np.minimum(worst, lower.size).astype(np.int64)
