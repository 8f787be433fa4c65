"""Tests for `rounding.py`."""

import fractions

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import rounding

_TINY = float(jnp.finfo(jnp.float32).tiny)
# Of all sizes and both signs, zeros, and one that is a point.
_LOW = np.float32([-3, -1e30, 0, -2e-38, 0.1, 7, -5e-7])
_HIGH = np.float32([-1, 3e30, 0, 3e-38, 0.3, 7, 1e12])


class RoundingTest(parameterized.TestCase):
  @parameterized.parameters(1, 4, 64)
  def test_rounded_moves_by_units(self, units):
    box = rounding.Interval(jnp.asarray(_LOW), jnp.asarray(_HIGH))
    got = rounding.rounded(box, units)
    eps = float(jnp.finfo(jnp.float32).eps)
    for end, moved, side in ((_LOW, got.low, -1), (_HIGH, got.high, 1)):
      by = side * (np.float64(moved) - np.float64(end))
      want = units * eps * np.abs(np.float64(end))
      self.assertTrue(np.all(by[end != 0] > 0))
      # The sum that moves an end is rounded itself; what is too small for a
      # float, nothing, is in the least that an end moves.
      room = eps * np.abs(np.float64(end)) + 1e-4 * _TINY
      np.testing.assert_array_less(np.abs(by - want - _TINY), room)

  def test_split_reaches_both_ends(self):
    box = rounding.Interval(jnp.asarray(_LOW), jnp.asarray(_HIGH))
    middle, radius = map(np.float64, rounding.split(box))
    self.assertTrue(np.all(middle - radius <= np.float64(_LOW)))
    self.assertTrue(np.all(middle + radius >= np.float64(_HIGH)))
    width = np.float64(_HIGH) - np.float64(_LOW)
    size = np.maximum(np.abs(np.float64(_LOW)), np.abs(np.float64(_HIGH)))
    self.assertTrue(np.all(2 * radius <= width + 1e-6 * size + 4 * _TINY))

  def test_split_of_the_largest_numbers_is_finite(self):
    most = jnp.finfo(jnp.float32).max
    middle, radius = rounding.split(rounding.Interval(most / 2, most))
    self.assertTrue(np.isfinite(middle) and np.isfinite(radius))

  @parameterized.parameters(3, 100, 3000)
  def test_widened_holds_a_sum_in_any_order(self, n):
    rng = np.random.default_rng(n)
    terms = np.float32(rng.normal(size=n) * 10.0 ** rng.uniform(-4, 4, n))
    exact = sum((fractions.Fraction(float(t)) for t in terms), start=0)
    size = jnp.asarray(np.float32(np.abs(np.float64(terms)).sum()))
    for _ in range(5):
      total = np.float32(0)
      for term in rng.permutation(terms):
        total = np.float32(total + term)  # One after the other: the worst.
      box = rounding.widened(jnp.asarray(total), jnp.asarray(total), n, size)
      self.assertLessEqual(fractions.Fraction(float(box.low)), exact)
      self.assertGreaterEqual(fractions.Fraction(float(box.high)), exact)
    eps = float(jnp.finfo(jnp.float32).eps)
    width = float(box.high) - float(box.low)
    self.assertLess(width, 2 * (n + 6) * eps * float(size))


if __name__ == '__main__':
  absltest.main()
