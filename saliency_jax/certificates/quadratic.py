"""The least of `lam u'g - a (u'C u + (u'g)^2)` over pairs of sets, from below.

`u` is `1 / m` on `m` entries of the top and on `m` others, `g` the means of the
entries, those outside of the top with the other sign, and `C` the covariances
with the signs of both: `u'g` is the mean of `G` in `exchange.py`, `u'C u` its
variance. With `t = u'g` in `[low, high]`, `t^2 <= (low + high) t - low high`:
the square becomes linear in each of some intervals, and what is left is

    most  a u'C u - slope u'g      over the pairs of sets,

whose Lagrangian decomposition gives every entry partners of its own choice: for
any antisymmetric `P`, and with half of the linear part in each row's hands,

    u'(M) u = sum_i u_i (M + P)_i u  <=  sum_i u_i max_w (M + P)_i w,

the maximum over sets that hold `i`. A few steps of subgradients on `P` come
within a few per cent of the best pair.

References:
  Caprara, Pisinger and Toth, Exact solution of the quadratic knapsack problem,
  INFORMS Journal on Computing 11, 1999.
  https://doi.org/10.1287/ijoc.11.2.125
"""

import itertools

import numpy as np

# Steps on the multipliers, in the interval where the best pair is; elsewhere.
_STEPS, _FEW = 12, 3
# How far a step goes of the way to the value of a pair that was found.
_LENGTH = 1.5


class Program:
  """The covariances and means of one split of the entries, the top first.

  Attributes:
    k: entries in the top.
  """

  def __init__(self, covariances: np.ndarray, gains: np.ndarray, k: int):
    self.k = k
    self._c = covariances
    self._g = gains
    self._top = np.cumsum(np.sort(gains[:k]))
    self._rest = np.cumsum(np.sort(gains[k:]))

  def least_gap(self, m: int) -> float:
    """Returns the least `u'g` over the pairs of sets."""
    return float(self._top[m - 1] + self._rest[m - 1]) / m

  def exceeds(self, m: int, lam: float, a: float, need: float) -> bool:
    """Returns whether the least is proven to be above `need`."""
    near = min(2 * self.least_gap(m), 1.0)
    if not self._within(m, lam, a, need, 0.0, near, _STEPS):
      return False
    far = np.clip([near, 2 * near, 0.2, 1], near, 1)
    for low, high in itertools.pairwise(np.sort(far)):
      middle = (low + high) / 2
      if not self._within(m, lam, a, need, low, high, _FEW) and not (
        self._within(m, lam, a, need, low, middle, _FEW)
        and self._within(m, lam, a, need, middle, high, _FEW)
      ):
        return False
    return True

  def _within(self, m, lam, a, need, low, high, steps):
    """Returns whether it is, of pairs with `low <= u'g <= high`."""
    if low >= high:
      return True
    target = a * low * high - need
    return self._most(m, lam - a * (low + high), a, steps, target) < target

  def _most(self, m, slope, a, steps, target):
    """Bounds `most a u'C u - slope u'g`, until it is below the target or not.

    Returns:
      An upper bound; once a pair of sets reaches the target, no better one.
    """
    n, k = self._g.size, self.k
    every = np.arange(n)
    # Rows hold half of the linear part, shared out over 2 m partners.
    rows = (a * self._c - slope / 4 * self._g[None]) / m**2
    own = -slope / (2 * m) * self._g
    bound = np.inf
    for _ in range(steps):
      diagonal = rows[every, every].copy()
      rows[every, every] = np.inf  # A row holds its own entry.
      partners = np.hstack(
        [_largest(rows[:, :k], m), k + _largest(rows[:, k:], m)]
      )
      rows[every, every] = diagonal
      value = np.take_along_axis(rows, partners, 1).sum(1) + own
      chosen = np.hstack([_largest(value[:k], m), k + _largest(value[k:], m)])
      bound = min(bound, value[chosen].sum())
      inside = self._c[np.ix_(chosen, chosen)].sum()
      found = a * inside / m**2 - slope / m * self._g[chosen].sum()
      if bound < target or found >= target:
        break
      held = np.zeros((n, n))
      held[chosen[:, None], partners[chosen]] = 1
      apart = held - held.T
      size = (apart**2).sum()
      if not size:
        break
      rows -= _LENGTH * (value[chosen].sum() - found) / size * apart
    return bound


def _largest(values, m):
  """Returns the places of the `m` largest along the last axis."""
  n = values.shape[-1]
  return np.argpartition(values, n - m, axis=-1)[..., n - m :]
