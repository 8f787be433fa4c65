"""Tests for `quadratic.py`."""

import itertools

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saliency_jax.certificates import quadratic


def _pairs(k, n, m):
  """All pairs of sets, as the weights of their entries."""
  for top in itertools.combinations(range(k), m):
    for rest in itertools.combinations(range(k, n), m):
      u = np.zeros(n)
      u[[*top, *rest]] = 1 / m
      yield u


def _program(seed, k=4, n=11, q=30):
  rng = np.random.default_rng(seed)
  p = np.where(np.arange(n) < k, 0.6, 0.25) + rng.uniform(-0.15, 0.15, n)
  v = (rng.uniform(size=(q, n)) < p).astype(float)
  signs = np.where(np.arange(n) < k, 1, -1)
  c = np.cov(v.T, bias=True) * np.outer(signs, signs)
  return c, v.mean(0) * signs, k


class ProgramTest(parameterized.TestCase):
  @parameterized.product(seed=(0, 1, 2, 3, 4), m=(1, 2, 3, 4))
  def test_bounds_the_best_pair_closely(self, seed, m):
    c, g, k = _program(seed)
    program, slope, a = quadratic.Program(c, g, k), 0.3, 0.18
    found = [
      (a * u @ c @ u - slope * u @ g, a * u @ c @ u)
      for u in _pairs(k, g.size, m)
    ]
    best, spread = max(found)
    for steps in (1, 12):
      bound = program._most(m, slope, a, steps, best + 1e-9)
      self.assertGreaterEqual(bound, best - 1e-12)
    self.assertLess(bound, best + 0.02 * spread)

  @parameterized.product(seed=(0, 1, 2, 3, 4), m=(1, 2, 3, 4), lam=(0.2, 0.4))
  def test_never_exceeds_more_than_the_least(self, seed, m, lam):
    c, g, k = _program(seed)
    program, a = quadratic.Program(c, g, k), 0.6 * lam
    least = min(
      lam * u @ g - a * (u @ c @ u + (u @ g) ** 2) for u in _pairs(k, g.size, m)
    )
    gap = min(u @ g for u in _pairs(k, g.size, m))
    self.assertAlmostEqual(program.least_gap(m), gap)
    if gap > 0:
      self.assertFalse(program.exceeds(m, lam, a, least + 1e-9))
      # How close it comes is the test above; `a` is all of the square part.
      self.assertTrue(program.exceeds(m, lam, a, least - a))


if __name__ == '__main__':
  absltest.main()
